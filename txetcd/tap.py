"""The twistd plugin: its `Options` and `makeService`.

Here the outside comes in: the environment, the files that options name, this machine's name and the reactor.
Whatever the operator got wrong ends the process with one line on stderr and status 1.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NoReturn, cast

from twisted.application.service import Service
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from twisted.python import usage

from txetcd import __version__, pages, tls
from txetcd.heap import tend
from txetcd.journal.etcd.credentials import Credentials
from txetcd.notify import notifier
from txetcd.pages import with_page
from txetcd.server import IServerReactor, Server, StartError
from txetcd.settings import Settings, build, options
from txetcd.settings.sources import Given, SettingsError, parse_arguments, parse_environment, parse_file
from txetcd.settings.usage import usage_text
from txetcd.settings.values import within_https

log = Logger()

_STOP = (signal.SIGINT, signal.SIGTERM)


class Options(usage.Options):
    """The command line after `twistd txetcd`, read as etcd's is.

    @ivar settings: what was asked for, once `parseOptions` has returned.
    """

    settings: Settings

    # Only for the shell's completion; the command line is read by `txetcd.settings.sources`.
    optFlags: ClassVar = [
        [o.name, None, o.help] for o in options.TABLE if not o.kind.metavar and o is not options.HELP
    ]
    optParameters: ClassVar = [[o.name, None, None, o.help] for o in options.TABLE if o.kind.metavar]

    def parseOptions(self, arguments: Sequence[str] | None = None) -> None:
        """Make `settings` of the command line, the environment and the configuration file.

        Ends the process when that cannot be done, and after --help and --version.
        """
        try:
            given = gather(sys.argv[1:] if arguments is None else arguments, os.environ)
            if given.need(options.HELP):
                self._say(usage_text())
            if given.need(options.VERSION):
                self._say(f"txetcd {__version__}\n")
            self.settings = with_user(build(given, socket.gethostname(), Path.cwd()))
            check(self.settings)
        except (SettingsError, tls.TLSError) as error:
            raise SystemExit(f"txetcd: {with_page(error, error.page)}") from None

    def _say(self, text: str) -> NoReturn:
        sys.stdout.write(text)
        raise SystemExit(0)


def gather(arguments: Sequence[str], environment: Mapping[str, str]) -> Given:
    """Collect the options from the command line, the environment and the file that one of them names."""
    given = parse_arguments(arguments).over(parse_environment(environment))
    config = given.get(options.CONFIG)
    if config is None or given.need(options.HELP) or given.need(options.VERSION):
        return given
    label = given.label(options.CONFIG)
    try:
        text = config.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{label} {config}: {error.strerror}; name a file of options in TOML") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{label} {config}: is not text in UTF-8, as TOML must be") from None
    return given.over(parse_file(text, str(config)))


def with_user(settings: Settings) -> Settings:
    """The same, with whom to be for the engine out of the file that is named for that.

    @raise SettingsError: when there is no such user in it.
    """
    engine, file = settings.engine, settings.engine_user_file
    if engine is None or file is None:
        return settings
    label, remedy = f"--engine-user-file {file}", "write NAME:PASSWORD on its first line"
    try:
        user, colon, password = file.read_text("utf-8").partition("\n")[0].partition(":")
    except OSError as error:
        raise SettingsError(f"{label}: {error.strerror}; {remedy}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{label}: is not text in UTF-8; {remedy}") from None
    if not user or not colon:
        raise SettingsError(f"{label}: has no user and password in it; {remedy}")
    return replace(settings, engine=replace(engine, user=user, password=password))


def check(settings: Settings) -> None:
    """Try out what can be tried before a start.

    @raise SettingsError: when it would fail,
    @raise TLSError: for the same reason.
    """
    tls.check(settings.cert_file, settings.key_file, settings.ca_file, settings.crl_file, settings.policy)
    for endpoint in settings.listen:
        inner = within_https(endpoint) or endpoint
        try:
            # The endpoint is only made, and needs the reactor no sooner than it listens.
            serverFromString(None, inner)
        except tls.TLSError as error:
            raise SettingsError(f"--listen: {error}") from None
        except Exception as error:
            if inner.startswith("systemd:") and isinstance(error, LookupError):
                raise SettingsError(
                    f"--listen {endpoint}: systemd has handed over no such socket; start the socket unit "
                    "that goes with this service"
                ) from None
            reason = " ".join(str(error).split())
            raise SettingsError(f"--listen {endpoint}: is no endpoint that Twisted knows: {reason}") from None
    if settings.engine is None:
        _check_data_dir(settings.data_dir)
    else:
        Credentials(settings.engine)


def _check_data_dir(data_dir: Path) -> None:
    # What is not there yet will be made in the nearest directory that is.
    there = next(path for path in (data_dir, *data_dir.parents) if os.path.lexists(path))
    remedy = "name a directory that can be written to"
    if not there.is_dir():
        raise SettingsError(f"--data-dir {data_dir}: {there} is not a directory; {remedy}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SettingsError(f"--data-dir {data_dir}: {there} cannot be written to; {remedy}")


def makeService(config: Options) -> Service:
    """Make the server for twistd."""
    from twisted.internet import reactor as running

    reactor = cast(IServerReactor, running)
    for warning in config.settings.warnings:
        log.warn("{warning}", warning=warning)
    log.info("What warnings and errors in this log mean, and what to do: {page}", page=pages.LOG)
    server = Server(reactor, config.settings, __version__, notifier(os.environ))
    starter = Starter(reactor, server, config.parent or {}, server.reload)
    server.ready, server.failed = partial(tend, reactor), starter.give_up
    return starter


class Starter(Service):
    """Starts and stops the server; a start that fails ends the process with one line and status 1.

    @param reactor: the one that runs once everything is started.
    @param server: the server, whose start may raise `StartError`.
    @param twistd: twistd's own options, of which there may be none.
    @param reload: called when a SIGHUP comes, which would end twistd.
    """

    def __init__(
        self,
        reactor: IServerReactor,
        server: Service,
        twistd: Mapping[str, object],
        reload: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._reload = reload
        self._before: Any = signal.SIG_DFL
        self._pid_file = twistd.get("pidfile")
        self._in_background = not twistd.get("nodaemon", True)
        self._tell = _tell_launcher() if self._in_background else _tell_stderr

    def privilegedStartService(self) -> None:
        """Start what may need privileges, before twistd gives them up.

        From here on the signals to stop wait for the reactor, which stops the server in order.  Before that
        they would end or interrupt a start that is half done.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
        self._reactor.callWhenRunning(signal.pthread_sigmask, signal.SIG_UNBLOCK, _STOP)
        # A handler only notes what the reactor is to do, as it runs between any two instructions.
        self._before = signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._reload))
        self._try(self._server.privilegedStartService)

    def startService(self) -> None:
        """Start the rest."""
        self._try(self._server.startService)
        self._tell("")
        super().startService()

    def give_up(self, error: StartError) -> None:
        """End the process: what was started cannot serve after all."""
        line = with_page(error, error.page)
        log.critical("{line}", line=line)
        _tell_stderr(f"txetcd: {line}\n")
        # twistd knows no other end than a good one, or a signal.
        atexit.register(os._exit, 1)
        self._reactor.stop()

    def stopService(self) -> object:
        """Stop the server; a Deferred fires when it has stopped."""
        super().stopService()
        # Until then a SIGHUP would end the process in the middle of it.
        return maybeDeferred(self._server.stopService).addBoth(self._stopped)

    def _stopped(self, result: object) -> object:
        signal.signal(signal.SIGHUP, self._before)
        return result

    def _try(self, start: Callable[[], object]) -> None:
        try:
            start()
        except StartError as error:
            line = with_page(error, error.page)
            if self._in_background:
                log.critical("{line}", line=line)
            self._tell(f"txetcd: {line}\n")
            # twistd removes it after any other exception, but would log that one's traceback.
            if isinstance(self._pid_file, str):
                with contextlib.suppress(OSError):
                    os.unlink(self._pid_file)
            raise SystemExit(1) from None


def _tell_stderr(message: str) -> None:
    # Not through sys.stderr, which twistd has turned into a part of the log.
    os.write(2, message.encode())


def _tell_launcher() -> Callable[[str], None]:
    """Let this process, once twistd has forked the daemon, wait for the daemon's word and say it on stderr.

    twistd itself only shows the first bytes of an exception's repr there.

    @return: what the daemon calls once, with a message when the start has failed, else with "".
    """
    launcher = os.getpid()
    reading, writing = os.pipe()

    def listen() -> None:
        # The daemon's parent is another fork, and has nothing to wait for.
        if os.getpid() != launcher:
            return
        os.close(writing)
        with open(reading, "rb") as pipe:
            message = pipe.read()
        if message:
            os.write(2, message)
            os._exit(1)

    def tell(message: str) -> None:
        os.write(writing, message.encode())
        os.close(writing)
        os.close(reading)

    os.register_at_fork(after_in_parent=listen)
    return tell
