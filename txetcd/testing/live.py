"""A server on a free port of the loopback interface, in the process of the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, cast

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgent
from zope.interface import implementer

from txetcd.server import IServerReactor
from txetcd.store import Store
from txetcd.testing import http
from txetcd.testing.base import BaseServer, advance, wall_clock
from txetcd.testing.certificates import Certificates, Files
from txetcd.testing.http import Response
from txetcd.testing.journal import FaultyJournal
from txetcd.tls.endpoints import server_endpoint
from txetcd.tls.files import files
from txetcd.tls.keeper import Keeper
from txetcd.tls.policy import Policy

HOST = "127.0.0.1"

# Seconds that clients have for their last answers.
GRACE = 2.0


class LiveServer(BaseServer):
    """A v2 server on sockets, for clients of any kind.

    @param reactor: a real one.
    @param clock: by which keys run out, if not by real time; see `advance`.
    @param certificates: serve HTTPS, and only clients with a certificate of their CA.
    @param history_size: how many of the latest events can be asked for after the fact.
    @ivar agent: an `IAgent` that trusts the server, shows `certificates.client` and keeps no connections.
    @ivar files: the certificates as files, while it runs; for other clients than Twisted's.
    """

    files: Files

    def __init__(
        self,
        reactor: IServerReactor,
        *,
        clock: Clock | None = None,
        certificates: Certificates | None = None,
        history_size: int = 1000,
    ) -> None:
        self.clock = clock
        self.certificates = certificates
        self._real = reactor
        journal = FaultyJournal()
        if clock is None:
            store = Store(journal, reactor, history_size=history_size)
        else:
            time = MixedTime(reactor, clock)
            store = Store(journal, time, history_size=history_size, now=wall_clock(clock))
        super().__init__(reactor, journal, store, history_size)
        policy = {} if certificates is None else {"contextFactory": certificates.policy()}
        self.agent: IAgent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False), **policy)
        self._number = 0
        self._port: Any = None
        self._directory: TemporaryDirectory[str] | None = None

    @property
    def port(self) -> int:
        """The number of its port; the same after another start.

        @raise ValueError: it has never been started.
        """
        if not self._number:
            raise ValueError("a server has no port before it is started")
        return self._number

    @property
    def url(self) -> str:
        """Where it is served, without a slash at the end."""
        return f"http{'s' if self.certificates else ''}://{HOST}:{self.port}"

    def start(self) -> None:
        """Begin to serve; again, on the same port and with the same data, after `stop`.

        @raise CannotListenError: another has taken the port meanwhile.
        """
        self._site = self._new_site()
        try:
            self._port = self._listen()
        except BaseException:
            self._forget_files()
            raise
        self._number = self._port.getHost().port
        self._serve()

    def stop(self) -> Deferred[None]:
        """End watches, finish what is under way, close all connections.

        @return: fires when no connection is left; at once when it is not running.
        """
        if self._port is None:
            return succeed(None)
        port, self._port = self._port, None
        self._journal.release()
        closing: list[Deferred[Any]] = [maybeDeferred(port.stopListening)]
        closing += [self._site.shutdown(GRACE), self.store.stopService()]
        return gatherResults(closing).addCallback(lambda _: self._forget_files())

    async def __aenter__(self) -> LiveServer:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def advance(self, seconds: float) -> None:
        """Let time pass for keys with a ttl and for watches with a timeout; what comes of it takes real time.

        @raise ValueError: the server was not given a clock.
        """
        if self.clock is None:
            raise ValueError("real time cannot be advanced; give the server a clock")
        advance(self.clock, seconds)

    def request(self, method: str, path: str, **form: object) -> Deferred[Response]:
        """Ask for something over HTTP.

        @param path: from `/v2` on.
        @param form: the arguments, such as `value="1"`; True and False are told as etcd spells them.
        @return: fires with the whole answer.
        """
        return http.request(self.agent, method, self.url + path, form)

    def _listen(self) -> Any:
        """The port; there is nobody on it before the reactor's next turn."""
        outcome: list[Any] = []
        # Listening on an address takes no time.
        self._endpoint().listen(self._site).addBoth(outcome.append)
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]

    def _endpoint(self) -> IStreamServerEndpoint:
        if self.certificates is None:
            endpoint = serverFromString(self._real, f"tcp:{self._number}:interface={HOST}")
            return cast(IStreamServerEndpoint, endpoint)
        self._directory = TemporaryDirectory(prefix="txetcd-")
        self.files = self.certificates.write(Path(self._directory.name))
        named = files(self.files.server_cert_file, self.files.server_key_file, self.files.ca_file)
        keeper = Keeper(named, Policy(), self._real)
        return server_endpoint(self._real, keeper, HOST, self._number, ask_clients=True)

    def _forget_files(self) -> None:
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None


@implementer(IReactorTime)
class MixedTime:
    """The time of a Clock, but what is to happen at once happens without anybody turning it.

    @param reactor: calls what is due in its next turn.
    @param clock: calls all else.
    """

    def __init__(self, reactor: IReactorTime, clock: Clock) -> None:
        self._reactor = reactor
        self._clock = clock

    def seconds(self) -> float:
        """See `IReactorTime`."""
        return float(self._clock.seconds())

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> IDelayedCall:
        """See `IReactorTime`."""
        time = self._clock if delay > 0 else self._reactor
        return time.callLater(delay, callable, *args, **kw)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """See `IReactorTime`."""
        return self._clock.getDelayedCalls()
