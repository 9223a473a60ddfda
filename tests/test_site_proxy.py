"""`ReverseProxyResource` under `txetcd.site.Site` as under Twisted's own, in front of either."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.trial.unittest import TestCase
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http_harness import Response
from tests.site_cases import NO_BODY, LivePair


class Backend(Resource):
    """Tells what it was asked, but for the address of the connection."""

    isLeaf = True

    def render(self, request: Any) -> Any:
        headers = sorted(
            (name, values) for name, values in request.requestHeaders.getAllRawHeaders() if name != b"Host"
        )
        request.setResponseCode(int(request.args.get(b"status", [b"200"])[0]))
        request.setHeader(b"X-Mine", b"1")
        request.addCookie(b"a", b"1")
        request.addCookie(b"b", b"2")
        told = repr((request.method, request.uri, headers, request.content.read())).encode()
        if b"pieces" not in request.args:
            return told
        for _ in range(20):
            request.write(told * 100)
        request.finish()
        return NOT_DONE_YET


class Canned(Protocol):
    """A server that sends the same bytes to everyone."""

    def connectionMade(self) -> None:
        self.transport.write(self.factory.answer)  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


class ProxyTests(TestCase):
    """A proxy under each kind of site; behind it is either kind, too."""

    async def serve(self, port: int) -> None:
        self.proxy = await LivePair.serve(self, lambda: ReverseProxyResource("127.0.0.1", port, b"/base"))

    async def request(self, method: str, target: str, *headers: str, body: bytes = b"") -> Response:
        """Ask both proxies. The backend's `Connection: close` is said once by ours, twice by Twisted's."""
        apart = (
            b"Connection",
            *(NO_BODY if method == "HEAD" or "=204" in target or "=304" in target else ()),
        )
        return await self.proxy.request(method, target, *headers, body=body, apart=apart)

    async def test_requests(self) -> None:
        for port in (await LivePair.serve(self, Backend)).ports:
            await self.serve(port)
            for method, target, body in (
                ("GET", "/", b""),
                ("GET", "/a%20b/c?d=e&f", b""),
                ("GET", "/?pieces", b""),
                ("POST", "/form", b"a=1"),
                ("PUT", "/", bytes(range(256)) * 1000),
                ("DELETE", "/x", b""),
                ("OPTIONS", "/x", b""),
                ("GET", "/?status=404", b""),
            ):
                response = await self.request(method, target, "X-One: 1", "X-One: 2", body=body)
                self.assertEqual(response.header("X-Mine"), "1")
                self.assertEqual(response.headers.getRawHeaders("Set-Cookie"), ["a=1", "b=2"])
                self.assertIn(repr(body).encode()[:-1], response.body)

    async def test_answers_without_a_body(self) -> None:
        for port in (await LivePair.serve(self, Backend)).ports:
            await self.serve(port)
            for status in 200, 404:
                response = await self.request("HEAD", f"/?status={status}")
                self.assertEqual((response.status, response.body), (status, b""))
            for status in 204, 304:
                response = await self.request("GET", f"/?status={status}")
                self.assertEqual((response.status, response.body), (status, b""))

    async def test_nobody_there(self) -> None:
        listening: Any = reactor.listenTCP(0, ServerFactory(), interface="127.0.0.1")
        port = listening.getHost().port
        await listening.stopListening()
        await self.serve(port)
        response = await self.proxy.request("GET", "/")
        self.assertEqual((response.status, response.reason), (501, b"Gateway error"))

    async def canned(self, answer: bytes) -> None:
        factory: Any = ServerFactory.forProtocol(Canned)
        factory.answer = answer
        listening: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        await self.serve(listening.getHost().port)

    async def test_answer_until_the_end(self) -> None:
        await self.canned(b"HTTP/1.0 200 Fine\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 100_000)
        response = await self.proxy.request("GET", "/")
        self.assertEqual((response.reason, response.body == b"x" * 100_000), (b"Fine", True))
