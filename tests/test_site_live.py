"""The fast Site on real connections: lingering, TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.certificates import Authority
from tests.http_harness import Response, parse_response
from tests.site_harness import GET
from txetcd.site import Limits, Site


class LiveTestCase(TestCase):
    """Serves on a loopback port; clients are blocking sockets in threads."""

    async def serve(self, site: Any) -> int:
        port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        if isinstance(site, Site):
            self.addCleanup(site.shutdown, 1)
        return int(port.getHost().port)

    def exchange(self, port: int, *pieces: bytes, method: bytes = b"GET") -> Deferred[Response]:
        """Connect, send the pieces and read until the server closes."""

        def talk() -> Response:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                for piece in pieces:
                    connection.sendall(piece)
                received = b""
                while data := connection.recv(65536):
                    received += data
            parsed = parse_response(received, method, closed=True)
            assert parsed is not None, received
            assert parsed[1] == len(received)
            return parsed[0]

        return deferToThread(talk)

    def get(self, port: int, target: bytes, *headers: bytes, method: bytes = b"GET") -> Deferred[Response]:
        lines = [method + b" " + target + b" HTTP/1.1", b"Host: x", b"Connection: close", *headers, b"", b""]
        return self.exchange(port, b"\r\n".join(lines), method=method)


class Leaf(Resource):
    """Answers at once, to /late never."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: Deferred[Any] = Deferred()

    def render_GET(self, request: Any) -> Any:
        if request.path == b"/late":
            self.asked.callback(request)
            return NOT_DONE_YET
        return b"~" * 300_000

    def render_PUT(self, request: Any) -> bytes:
        return b"%d" % len(request.content.read())


class ConnectionTests(LiveTestCase):
    """What only a real connection shows."""

    def setUp(self) -> None:
        self.leaf = Leaf()
        self.site = Site(self.leaf, reactor, Limits(body=1_000_000))

    async def test_refusal_arrives_while_the_client_is_still_sending(self) -> None:
        port = await self.serve(self.site)
        response = await self.exchange(
            port, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n", b"x" * 1_000_001
        )
        self.assertEqual(response.status, 413)

    async def test_half_closed_after_the_request(self) -> None:
        port = await self.serve(self.site)

        def talk() -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                received = b""
                while data := connection.recv(65536):
                    received += data
                return received

        self.assertEqual((await deferToThread(talk)).count(b"~"), 300_000)

    async def test_disconnect_during_a_late_answer(self) -> None:
        port = await self.serve(self.site)
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        request = await self.leaf.asked
        self.assertTrue(request.transport.getTcpNoDelay())
        gone = request.notifyFinish()
        connection.close()
        await self.assertFailure(gone, ConnectionDone)

    async def test_shutdown_with_open_connections(self) -> None:
        port = await self.serve(self.site)
        idle = socket.create_connection(("127.0.0.1", port))
        self.addCleanup(idle.close)
        busy = socket.create_connection(("127.0.0.1", port))
        self.addCleanup(busy.close)
        busy.sendall(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.leaf.asked
        await self.site.shutdown(0.1)
        for connection in idle, busy:
            connection.settimeout(10)
            try:
                self.assertEqual(connection.recv(10), b"")
            except ConnectionResetError:
                self.assertIs(connection, busy)


class TLSTests(LiveTestCase):
    """The same channel inside TLS."""

    async def serve_tls(self, **limits: Any) -> int:
        self.authority = Authority.create("CA")
        server_side = self.authority.issue("server", hosts=["127.0.0.1"])
        options = PrivateCertificate.loadPEM(server_side.certificate_pem + server_side.key_pem).options()
        self.site = Site(Leaf(), reactor, Limits(**limits))
        server_reactor: Any = reactor
        port = server_reactor.listenSSL(0, self.site, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(self.site.shutdown, 1)
        return int(port.getHost().port)

    def connect(self, port: int) -> ssl.SSLSocket:
        context = ssl.create_default_context(cadata=self.authority.certificate_pem.decode())
        context.set_alpn_protocols(["h2", "http/1.1"])
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.addCleanup(plain.close)
        connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.addCleanup(connection.close)
        return connection

    def read(self, connection: ssl.SSLSocket) -> bytes:
        received = b""
        while data := connection.recv(65536):
            received += data
        return received

    async def test_request(self) -> None:
        port = await self.serve_tls()

        def talk() -> tuple[str | None, bytes]:
            connection = self.connect(port)
            connection.sendall(GET + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            return connection.selected_alpn_protocol(), self.read(connection)

        protocol, received = await deferToThread(talk)
        self.assertEqual(protocol, "http/1.1")
        self.assertEqual(received.count(b"~"), 600_000)

    async def test_refusal(self) -> None:
        port = await self.serve_tls(body=1000)

        def talk() -> bytes:
            connection = self.connect(port)
            connection.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n")
            connection.sendall(b"x" * 1001)
            return self.read(connection)

        self.assertTrue((await deferToThread(talk)).startswith(b"HTTP/1.1 413 "))

    async def test_client_that_never_shakes_hands(self) -> None:
        port = await self.serve_tls(idle=0.2)
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.addCleanup(connection.close)
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(await deferToThread(connection.recv, 10), b"")

    async def test_shutdown(self) -> None:
        port = await self.serve_tls()
        connection = await deferToThread(self.connect, port)
        await deferToThread(connection.sendall, GET)
        await deferToThread(connection.recv, 10)
        await self.site.shutdown(0.1)
