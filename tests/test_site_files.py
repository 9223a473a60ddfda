"""`twisted.web.static.File` on real connections, under `txetcd.site.Site` as under Twisted's own Site.

Twisted's Site paces a file by the reactor, so that these tests need one.
"""

from __future__ import annotations

import os
import re
import socket
import time
from typing import IO, Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.static import ASISProcessor, File

from tests.http_harness import Response
from tests.site_cases import LivePair, wire

CONTENT = bytes(range(256)) * 1000


class FileTestCase(TestCase):
    """A directory of files."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.write("data.txt", CONTENT)
        self.write("empty.bin", b"")
        self.write("page.html", b"<p>")
        self.write("packed.tar.gz", b"packed")
        self.write("a b\N{SNOWMAN}", b"odd name")
        self.write("as-is.asis", b"HTTP/1.1 203 So so\r\nContent-Length: 2\r\n\r\nok")
        os.mkdir(os.path.join(self.directory, "sub"))
        os.mkdir(os.path.join(self.directory, "front"))
        self.write("front/index.html", b"the index")

    def write(self, name: str, content: bytes) -> None:
        with open(os.path.join(self.directory, name), "wb") as file:
            file.write(content)

    def make(self) -> Resource:
        root = File(self.directory)
        root.processors = {".asis": ASISProcessor}  # type: ignore[dict-item]
        return root


class FileTests(FileTestCase):
    """What clients ask of files"""

    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        self.pair = await LivePair.serve(self, self.make)

    async def get(self, target: str, *headers: str, method: str = "GET", apart: Any = ()) -> Response:
        return await self.pair.request(method, target, *headers, apart=apart)

    async def test_whole(self) -> None:
        for target, body, kind, encoding in (
            ("/data.txt", CONTENT, "text/plain", None),
            ("/data.txt?query", CONTENT, "text/plain", None),
            ("/empty.bin", b"", "application/octet-stream", None),
            ("/page.html", b"<p>", "text/html", None),
            ("/packed.tar.gz", b"packed", "application/x-tar", "gzip"),
            ("/a%20b%E2%98%83", b"odd name", "text/html", None),
            ("/front/", b"the index", "text/html", None),
        ):
            response = await self.get(target)
            self.assertEqual((response.status, response.body == body), (200, True), target)
            self.assertEqual(response.header("Content-Length"), str(len(body)))
            self.assertEqual(
                (response.header("Content-Type"), response.header("Content-Encoding")), (kind, encoding)
            )

    async def test_head(self) -> None:
        for target in "/data.txt", "/empty.bin", "/front/", "/sub/", "/nothing", "/front":
            self.assertEqual((await self.get(target, method="HEAD")).body, b"")

    async def test_listing(self) -> None:
        self.assertIn(b'<a href="empty.bin">', (await self.get("/")).body)
        self.assertEqual((await self.get("/sub/")).status, 200)

    async def test_elsewhere(self) -> None:
        for target, status in (
            ("/front", 302),
            ("/nothing", 404),
            ("/data.txt/x", 404),
            ("/../secret", 404),
            ("/%2e%2e%2fsecret", 404),
            ("/sub/nothing/", 404),
        ):
            self.assertEqual((await self.get(target)).status, status, target)

    async def test_method_not_allowed(self) -> None:
        statuses = [response.status for response in await self.pair.ask(wire("POST", "/data.txt"), "POST")]
        self.assertEqual(statuses, [405, 405])

    async def test_one_range(self) -> None:
        size = len(CONTENT)
        for asked, status, body in (
            ("0-0", 206, CONTENT[:1]),
            ("10-19", 206, CONTENT[10:20]),
            (f"{size - 1}-", 206, CONTENT[-1:]),
            ("-5", 206, CONTENT[-5:]),
            (f"100-{size * 2}", 206, CONTENT[100:]),
            (f"{size}-", 416, b""),
            ("-0", 416, b""),
        ):
            response = await self.get("/data.txt", f"Range: bytes={asked}")
            self.assertEqual((response.status, response.body == body), (status, True), asked)

    async def test_ranges_that_are_none(self) -> None:
        for asked in "bytes=5-1", "bytes=x", "lines=1-2", "bytes":
            self.assertEqual((await self.get("/data.txt", f"Range: {asked}")).status, 200, asked)

    async def test_several_ranges(self) -> None:
        answers = await self.pair.ask(wire("GET", "/data.txt", "Range: bytes=0-1, 200000-220000, -3"))
        told = []
        for response in answers:
            kind = response.header("Content-Type") or ""
            match = re.fullmatch('multipart/byteranges; boundary="([0-9a-f]+)"', kind)
            assert match is not None, kind
            length = int(response.header("Content-Length") or "-1")
            self.assertEqual((response.status, length), (206, len(response.body)))
            told.append(response.body.replace(match[1].encode(), b"boundary"))
        self.assertEqual(told[0] == told[1], True)
        self.assertIn(CONTENT[200000:220001], told[0])
        self.assertEqual(told[0].count(b"Content-range: bytes "), 3)

    async def test_modified(self) -> None:
        stamp = (await self.get("/data.txt")).header("Last-Modified")
        for since, status in (
            (stamp, 304),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 304),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
            ("yesterday", 200),
        ):
            for method in "GET", "HEAD":
                response = await self.get("/data.txt", f"If-Modified-Since: {since}", method=method)
                self.assertEqual(response.status, status, since)

    async def test_as_is(self) -> None:
        """A resource that says it has begun writes the whole answer itself."""
        response = await self.get("/as-is.asis")
        self.assertEqual((response.status, response.body), (203, b"ok"))

    async def test_pipeline(self) -> None:
        """Producers of one request after the other, on one connection."""
        asked = [
            ("GET", "/data.txt"),
            ("HEAD", "/data.txt"),
            ("GET", "/sub/"),
            ("GET", "/empty.bin"),
            ("GET", "/data.txt"),
        ]
        data = b"".join(wire(*one, close=False) for one in asked) + wire("GET", "/page.html")
        for responses in await self.pair.converse(data, [method for method, _ in asked] + ["GET"]):
            sizes = [len(response.body) for response in responses]
            self.assertEqual((sizes[:2], sizes[3:]), ([len(CONTENT), 0], [0, len(CONTENT), 3]))


class Watched(File):
    """A file, and how far it has been read."""

    read = 0
    open_files = 0

    def openForReading(self) -> IO[bytes]:
        file = open(self.path, "rb", buffering=0)  # noqa: SIM115 - who asked for it closes it
        return Reading(file, self)  # type: ignore[return-value]


class Reading:
    """A file object that tells its `Watched` what it does."""

    def __init__(self, file: Any, watched: Watched) -> None:
        self._file = file
        self._watched = watched
        watched.open_files += 1

    def read(self, size: int) -> bytes:
        data: bytes = self._file.read(size)
        self._watched.read += len(data)
        return data

    def seek(self, offset: int) -> None:
        self._file.seek(offset)

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()
            self._watched.open_files -= 1


class SlowReaderTests(FileTestCase):
    """A file of 32 MiB and clients with little room."""

    SIZE = 32 * 1024 * 1024
    # More than the kernel keeps for a loopback connection of which one end has a small buffer.
    AHEAD = 16 * 1024 * 1024

    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        self.path = os.path.join(self.directory, "large")
        with open(self.path, "wb") as file:
            file.truncate(self.SIZE)
        self.files: list[Watched] = []
        self.pair = await LivePair.serve(self, self.make_large)

    def make_large(self) -> Resource:
        self.files.append(Watched(self.path))
        self.files[-1].isLeaf = True
        return self.files[-1]

    def connect(self, port: int) -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", port))
        connection.sendall(wire("GET", "/"))
        return connection

    async def test_no_more_is_read_than_sent(self) -> None:
        def talk(port: int, file: Watched) -> tuple[int, int]:
            received = most = 0
            with self.connect(port) as connection:
                while data := connection.recv(1 << 20):
                    received += len(data)
                    most = max(most, file.read - received)
            return received, most

        for port, file in zip(self.pair.ports, self.files, strict=True):
            received, most = await deferToThread(talk, port, file)
            self.assertEqual(received > self.SIZE, True)
            self.assertTrue(most < self.AHEAD, most)
            self.assertEqual((file.read, file.open_files), (self.SIZE, 0))

    async def test_client_goes_away(self) -> None:
        def talk(port: int, file: Watched) -> None:
            with self.connect(port) as connection:
                connection.recv(1)
            patience = time.monotonic() + 10
            while file.open_files and time.monotonic() < patience:
                time.sleep(0.005)

        for port, file in zip(self.pair.ports, self.files, strict=True):
            await deferToThread(talk, port, file)
            self.assertEqual((file.open_files, file.read < self.SIZE), (0, True))
