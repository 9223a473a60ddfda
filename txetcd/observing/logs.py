"""The access log, a line for each request, and the audit log, a line for each write: who asked what.

Neither has values or passwords in it: of a request's target only the path is told, of its body nothing, and
of a refusal the message alone, since its cause may quote a value.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import ILogObserver, Logger
from twisted.web.server import Request

from txetcd.errors import AuthError, EtcdError, RefusedError
from txetcd.events import Event
from txetcd.observing.files import LineFile
from txetcd.observing.lines import Fields, Render, readable
from txetcd.observing.requests import is_watch, status_of
from txetcd.peer import client_certificate
from txetcd.settings.values import MAIN_LOG
from txetcd.tls.refusals import address_text, name
from txetcd.tls.rules import common_name

# Bytes of a path that are told; a key has 4096 at most, each of them three when it is escaped.
PATH = 3 * 4096 + 64


class Lines:
    """Where lines go: through `twisted.logger`, with their fields, and as text in the event's `line`.

    @param namespace: of the events.
    @param render: makes the text.
    @param clock: tells the time of day, as a reactor's does.
    @param observer: gets the events; None for the log of the whole process.
    """

    def __init__(
        self, namespace: str, render: Render, clock: IReactorTime, observer: ILogObserver | None = None
    ) -> None:
        self._log = Logger(namespace, observer=observer)
        self._render = render
        self._clock = clock

    def add(self, fields: Fields) -> None:
        """Write a line, with the time in front."""
        line = self._render({"time": _stamp(self._clock.seconds()), **fields})
        self._log.info("{line}", line=line, **fields)


class Client(NamedTuple):
    """Who is at the other end of a connection, by the certificate that was verified, if there is one."""

    name: str | None
    subject: str | None


class Clients:
    """Knows who the clients of connections are; each certificate is looked at once."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, Client] = WeakKeyDictionary()

    def of(self, transport: Any) -> Client:
        """Who a connection's client is."""
        client = self._known.get(transport)
        if client is None:
            certificate = client_certificate(transport)
            if certificate is None:
                client = Client(None, None)
            else:
                client = Client(common_name(certificate), name(certificate.subject))
            self._known[transport] = client
        return client


class Logs:
    """The logs that were asked for.

    @param access: the file of the access log, or `MAIN_LOG`; None for no such log.
    @param audit: likewise.
    @param render: makes the text of lines.
    @param clock: tells the time of day, as a reactor's does.
    @ivar access: the access log, if there is one.
    @ivar audit: the audit log, if there is one.
    @ivar files: the files that they go to, by their names.
    """

    def __init__(self, access: Path | None, audit: Path | None, render: Render, clock: IReactorTime) -> None:
        self.files: dict[str, LineFile] = {}
        clients = Clients()

        def lines(name: str, path: Path) -> Lines:
            if path != MAIN_LOG:
                self.files[name] = LineFile(path, clock)
            return Lines(f"txetcd.{name}", render, clock, self.files.get(name))

        self.access = None if access is None else AccessLog(lines("access", access), clients)
        self.audit = None if audit is None else AuditLog(lines("audit", audit), clients)

    def close(self) -> None:
        """Let go of the files."""
        for file in self.files.values():
            file.close()


class AccessLog:
    """A line for each request when it is over: an observer of a `txetcd.site.Site`."""

    def __init__(self, lines: Lines, clients: Clients) -> None:
        self._lines = lines
        self._clients = clients

    def answered(self, request: Request, seconds: float) -> None:
        """Tell of a request that is over."""
        watch = request.method == b"GET" and is_watch(request)
        self._lines.add(
            {
                "address": address_text(request.client),
                "cn": self._clients.of(request.transport).name,
                "verb": "WATCH" if watch else request.method.decode("ascii", "backslashreplace"),
                "path": _path(request),
                "status": status_of(request),
                "bytes": request.sentLength,
                "ms": round(seconds * 1000, 3),
            }
        )

    def refused(self, peer: IAddress | None, status: int) -> None:
        """Tell of what no resource got to see: a malformed request, or a connection too many."""
        self._lines.add({"address": address_text(peer), "status": status})


class AuditLog:
    """A line for each write, and for each that was refused, when that is known.

    It is told by resources; see `txetcd.resources.guard.Audit`.
    """

    def __init__(self, lines: Lines, clients: Clients) -> None:
        self._lines = lines
        self._clients = clients

    def __call__(self, request: Request, user: str | None, outcome: Event | RefusedError | None) -> None:
        """Tell of a write.

        @param user: the name that came with a password, if users matter.
        @param outcome: its event, or why it was refused; None for a change of something else than keys.
        """
        action = key = error = None
        index: int | None = None
        status = request.code
        if isinstance(outcome, Event):
            action, index = outcome.action, outcome.index
            key = _shown(outcome.key)
            status = 201 if outcome.created else 200
        elif outcome is not None:
            status = outcome.status
            if isinstance(outcome, EtcdError):
                index = outcome.index
                error = f"{outcome.code} {outcome.message}"
            elif isinstance(outcome, AuthError):
                error = outcome.message
        self._lines.add(
            {
                "address": address_text(request.client),
                "subject": self._clients.of(request.transport).subject,
                "user": None if user is None else _shown(user),
                "verb": request.method.decode("ascii", "backslashreplace"),
                "path": _path(request),
                "key": key,
                "action": action,
                "index": index,
                "status": status,
                "error": error,
            }
        )


def _path(request: Request) -> str:
    """The path alone: in a query there may be values."""
    return readable(request.uri.partition(b"?")[0], PATH)


def _shown(text: str) -> str:
    """Text with surrogate escapes in it as bytes that are not UTF-8."""
    return readable(text.encode("utf-8", "surrogateescape"), PATH)


def _stamp(seconds: float) -> str:
    """A moment in UTC, to the millisecond."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03}Z"
