"""What the tests share that run under both `txetcd.site.Site` and `twisted.web.server.Site`.

A test class for both sites is written once, without a base class, and run as two: with `StockSite` and with
`FastSite`, and says what it expects. Where what to expect is whatever Twisted's own Site does, a `Pair` asks
both and compares their answers; a `LivePair` does so on real connections.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web import server
from twisted.web.resource import IResource, Resource

from tests.http_harness import Conversation, Response, conversation, parse_response
from txetcd.site import Site

# The headers that differ where there is no body: ours says then that it has no bytes, not that chunks follow,
# and has no type for nothing.
NO_BODY = (b"Content-Length", b"Transfer-Encoding", b"Content-Type")
FORM = [("Content-Type", "application/x-www-form-urlencoded")]


class Answers(Resource):
    """Answers with what `answer(request)` gives, and remembers the request."""

    isLeaf = True

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer
        self.request: Any = None

    def render_GET(self, request: Any) -> Any:
        self.request = request
        return self.answer(request)

    render_POST = render_GET


class StockSite:
    """The tests run against Twisted's own Site."""

    def connect(self, resource: IResource) -> Conversation:
        return conversation(server.Site(resource, reactor=self.clock))  # type: ignore[attr-defined]


class FastSite:
    """The tests run against ours."""

    def connect(self, resource: IResource) -> Conversation:
        return conversation(Site(resource, self.clock))  # type: ignore[attr-defined]


class SiteCase(SynchronousTestCase):
    """What each test needs; `connect` comes from one of the classes above."""

    connect: Any

    def setUp(self) -> None:
        self.clock = Clock()

    def ask(
        self, answer: Any, method: str = "GET", target: str = "/", headers: Any = (), body: Any = None
    ) -> Any:
        """Make one request of a resource that answers so; give what `answer` returned besides."""
        seen: list[Any] = []

        def render(request: Any) -> bytes:
            seen.append(answer(request))
            return b"body"

        self.response: Response = self.connect(Answers(render)).request(method, target, headers, body)
        return seen[0]


Telling = tuple[int, bytes, list[tuple[bytes, list[bytes]]], bytes]


def telling(response: Response, apart: Iterable[bytes] = ()) -> Telling:
    """What of an answer has to be the same under both sites: all but Date, Server and the headers `apart`."""
    skipped = {b"Date", b"Server", *apart}
    headers = sorted((name, [*values]) for name, values in response.headers.getAllRawHeaders())
    return (
        response.status,
        response.reason,
        [(name, values) for name, values in headers if name not in skipped],
        response.body,
    )


class Pair:
    """A connection to the same resource under each of the two sites, in memory."""

    def __init__(self, test: SynchronousTestCase, make: Callable[[], IResource]) -> None:
        self.clock = Clock()
        self._sites = (Site(make(), self.clock), server.Site(make(), reactor=self.clock))
        self._test = test
        self.reconnect()

    def reconnect(self) -> tuple[Conversation, Conversation]:
        """Go on with new connections; give that to ours and that to Twisted's."""
        fast, stock = self._sites
        self.talks = conversation(fast), conversation(stock)
        return self.talks

    def request(
        self,
        method: str,
        target: str,
        headers: Any = (),
        body: bytes | None = None,
        apart: Iterable[bytes] = (),
    ) -> Response:
        """Ask both, which have to give the same answer at once; give it."""
        self.begin(method, target, headers, body)
        return self.response(apart)

    def begin(self, method: str, target: str, headers: Any = (), body: bytes | None = None) -> None:
        """Ask both; `response` takes the answer."""
        for talk in self.talks:
            talk.begin(method, target, headers, body)

    def response(self, apart: Iterable[bytes] = ()) -> Response:
        """Take the answer, which has to be there and the same."""
        fast, stock = (talk.response() for talk in self.talks)
        assert fast is not None and stock is not None, f"ours: {fast}, Twisted's: {stock}"
        self._test.assertEqual(telling(fast, apart), telling(stock, apart))
        self._test.assertEqual(*(talk.closed for talk in self.talks))
        return fast


def wire(method: str, target: str, *headers: str, body: bytes = b"", close: bool = True) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {target} HTTP/1.1", "Host: example.org", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class LivePair:
    """The same resource under each of the two sites, on real connections whose clients run in threads."""

    def __init__(self, test: TestCase, ports: list[int]) -> None:
        self.ports = ports
        self._test = test

    @classmethod
    async def serve(cls, test: TestCase, make: Callable[[], IResource]) -> LivePair:
        """Serve on loopback ports until the test ends; `ports` are ours and that of Twisted's."""
        ports = []
        fast = Site(make(), reactor)
        sites: list[Any] = [fast, server.Site(make())]
        for site in sites:
            listening: Any = reactor.listenTCP(0, site, interface="127.0.0.1")
            test.addCleanup(listening.stopListening)
            ports.append(listening.getHost().port)
        test.addCleanup(fast.shutdown, 1)
        return cls(test, ports)

    async def request(
        self, method: str, target: str, *headers: str, body: bytes = b"", apart: Iterable[bytes] = ()
    ) -> Response:
        """Ask both, which have to give the same answer; give it."""
        fast, stock = await self.ask(wire(method, target, *headers, body=body), method)
        self._test.assertEqual(telling(fast, apart), telling(stock, apart))
        return fast

    async def ask(self, data: bytes, method: str = "GET") -> list[Response]:
        """Send one request to both; give both answers."""
        return [response for (response,) in await self.converse(data, [method])]

    async def converse(self, data: bytes, methods: list[str]) -> list[list[Response]]:
        """Send requests with those methods to both, the last of which closes; give the answers of each."""
        return [_responses(await deferToThread(_exchange, port, data), methods) for port in self.ports]


def _exchange(port: int, data: bytes) -> bytes:
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        while piece := connection.recv(1 << 20):
            received += piece
    return received


def _responses(data: bytes, methods: list[str]) -> list[Response]:
    found = []
    for method in methods:
        parsed = parse_response(data, method.encode(), closed=True)
        assert parsed is not None, f"no answer to {method} in {data[:1000]!r}"
        found.append(parsed[0])
        data = data[parsed[1] :]
    assert not data, f"{data[:1000]!r} is left over"
    return found
