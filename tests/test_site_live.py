"""The fast Site on real connections: threads, files, lingering, TLS."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import tempfile
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase
from twisted.web import server
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import File
from twisted.web.wsgi import WSGIResource

from tests.certificates import Authority
from tests.http_harness import Response, parse_response
from tests.test_site import GET
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


class ResourceTests:
    """Resources that need threads or a reactor."""

    make: Any
    serve: Any
    get: Any
    exchange: Any
    assertEqual: Any
    addCleanup: Any
    flushLoggedErrors: Any

    async def test_file(self) -> None:
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        content = bytes(range(256)) * 8192
        with open(os.path.join(directory, "data.txt"), "wb") as file:
            file.write(content)
        port = await self.serve(self.make(File(directory)))
        response = await self.get(port, b"/data.txt")
        self.assertEqual((response.status, response.header("Content-Length")), (200, str(len(content))))
        self.assertEqual(response.header("Content-Type"), "text/plain")
        self.assertEqual(response.body == content, True)
        response = await self.get(port, b"/data.txt", b"Range: bytes=10-19")
        self.assertEqual((response.status, response.body), (206, content[10:20]))
        response = await self.get(port, b"/data.txt", b"Range: bytes=0-1,100000-100002")
        self.assertEqual((response.status, response.body.count(b"Content-range: bytes")), (206, 2))
        response = await self.get(port, b"/data.txt", method=b"HEAD")
        self.assertEqual((response.header("Content-Length"), response.body), (str(len(content)), b""))
        modified = b"If-Modified-Since: " + (response.header(b"Last-Modified") or b"")
        self.assertEqual((await self.get(port, b"/data.txt", modified)).status, 304)
        self.assertEqual((await self.get(port, b"/nothing")).status, 404)

    def wsgi(self, application: Any) -> Any:
        pool = ThreadPool(1, 1)
        pool.start()
        self.addCleanup(pool.stop)
        return self.make(WSGIResource(reactor, pool, application))

    async def test_wsgi(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            body = environ["wsgi.input"].read()
            start_response("201 Made", [("Content-Type", "text/plain"), ("X-Query", environ["QUERY_STRING"])])
            yield environ["PATH_INFO"].encode() + b" "
            yield body
            yield b"x" * 3_000_000

        port = await self.serve(self.wsgi(application))
        response = await self.exchange(
            port,
            b"POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbo",
            b"dy",
        )
        self.assertEqual(
            (response.status, response.reason, response.header("X-Query")), (201, b"Made", "c=d")
        )
        self.assertEqual(response.body == b"/a b body" + b"x" * 3_000_000, True)

    async def test_wsgi_error(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            raise ZeroDivisionError

        port = await self.serve(self.wsgi(application))
        self.assertEqual((await self.get(port, b"/")).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ResourceStockTests(ResourceTests, LiveTestCase):
    """Twisted's Site"""

    def make(self, resource: IResource) -> Any:
        return server.Site(resource)


class ResourceFastTests(ResourceTests, LiveTestCase):
    """Our Site"""

    def make(self, resource: IResource) -> Any:
        return Site(resource, reactor)


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
