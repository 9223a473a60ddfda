"""`WSGIResource`, with real threads, under `txetcd.site.Site` as under `twisted.web.server.Site`."""

from __future__ import annotations

import socket
import sys
import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.wsgi import WSGIResource

from tests.site_cases import NO_BODY, LivePair, wire

PLAIN = [("Content-Type", "text/plain")]


class WSGITests(TestCase):
    """Applications, each below /app"""

    async def serve(self, application: Any) -> LivePair:
        """Serve the application at /app, with threads of its own."""
        pool = ThreadPool(1, 4)
        pool.start()
        self.addCleanup(pool.stop)

        def make() -> Resource:
            root = Resource()
            root.putChild(b"app", WSGIResource(reactor, pool, application))
            return root

        self.pair = await LivePair.serve(self, make)
        return self.pair

    async def test_environ(self) -> None:
        """All that is neither an object nor the number of a port is the same, and is what WSGI asks for."""

        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", PLAIN)
            ports = {environ.pop("REMOTE_PORT"), environ.pop("SERVER_PORT")}
            told = {name: value for name, value in environ.items() if isinstance(value, str | bool | tuple)}
            return [repr((sorted(told.items()), len(ports))).encode()]

        pair = await self.serve(application)
        headers = ["X-One: 1", "X-One: 2", "X-Two: caf\xe9", "Content-Type: text/plain; charset=x"]
        for target in "/app", "/app/", "/app/a%20b%2F/%E2%98%83//c?d=e&f=%20", "/app?", "/app/%FF":
            response = await pair.request("GET", target, *headers)
            self.assertEqual(response.status, 200)
        told = (
            await pair.request("PUT", "/app/a%20b?c=d", "X-One: 1", "X-One: 2", body=b"body")
        ).body.decode()
        for item in (
            ("CONTENT_LENGTH", "4"),
            ("HTTP_X_ONE", "1,2"),
            ("PATH_INFO", "/a b"),
            ("QUERY_STRING", "c=d"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("REQUEST_METHOD", "PUT"),
            ("SCRIPT_NAME", "/app"),
            ("SERVER_NAME", "example.org"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("wsgi.url_scheme", "http"),
        ):
            self.assertIn(repr(item), told)

    async def test_input(self) -> None:
        """The body, read in every way there is; a chunked one too."""

        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", PLAIN)
            body = environ["wsgi.input"]
            told = [
                body.read(3),
                body.readline(),
                body.readline(2),
                list(body)[:1],
                body.read(),
                body.readlines(),
            ]
            return [repr(told).encode()]

        pair = await self.serve(application)
        content = b"one two\nthree\nfour\n" + b"x" * 300_000
        response = await pair.request("POST", "/app", body=content)
        self.assertEqual(response.body, b"[b'one', b' two\\n', b'th', [b'ree\\n'], b'', []]")
        chunked = b"8\r\none two\n\r\n6\r\nthree\n\r\n0\r\n\r\n"
        head = wire("POST", "/app", "Transfer-Encoding: chunked")
        for answer in await pair.ask(head + chunked, "POST"):
            self.assertEqual(answer.body, b"[b'one', b' two\\n', b'th', [b'ree\\n'], b'', []]")

    async def test_large_answer(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            write = start_response("201 Made", [*PLAIN, ("X-Many", "1"), ("X-Many", "2")])
            write(b"written ")
            for _ in range(20):
                yield b""
                yield bytes(range(256)) * 1000

        response = await (await self.serve(application)).request("GET", "/app")
        self.assertEqual((response.status, response.reason), (201, b"Made"))
        self.assertEqual(response.headers.getRawHeaders("X-Many"), ["1", "2"])
        self.assertEqual(response.body == b"written " + bytes(range(256)) * 20_000, True)

    async def test_answer_of_known_length(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [*PLAIN, ("Content-Length", "6"), ("Date", "never"), ("Server", "mine")])
            return [b"abc", b"def"]

        pair = await self.serve(application)
        self.assertEqual((await pair.request("GET", "/app")).body, b"abcdef")
        self.assertEqual((await pair.request("HEAD", "/app")).header("Content-Length"), "6")
        self.assertNotEqual((await pair.request("GET", "/app")).header("Date"), "never")

    async def test_answers_without_a_body(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            start_response(environ["QUERY_STRING"].replace("_", " "), [])
            return []

        pair = await self.serve(application)
        for status in 204, 304, 200, 404:
            response = await pair.request("GET", f"/app?{status}_So_so", apart=NO_BODY)
            self.assertEqual((response.status, response.reason, response.body), (status, b"So so", b""))

    async def test_closed_whatever_happens(self) -> None:
        closed: list[str] = []

        class Answer:
            def __iter__(self) -> Any:
                yield b"body"

            def close(self) -> None:
                closed.append(threading.current_thread().name)

        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", PLAIN)
            return Answer()

        await (await self.serve(application)).request("GET", "/app")
        self.assertEqual(len(closed), 2)
        self.assertNotIn(threading.main_thread().name, closed)

    async def test_error_before_the_answer(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", PLAIN)
            raise ZeroDivisionError

        pair = await self.serve(application)
        response = await pair.request("GET", "/app", apart=NO_BODY)
        self.assertEqual((response.status, response.body), (500, b""))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    async def test_bad_start_response(self) -> None:
        bad: Any = {"status": (200, PLAIN), "headers": ("200 OK", 5), "value": ("200 OK", [("X-Mine", 1)])}

        def application(environ: Any, start_response: Any) -> Any:
            start_response(*bad[environ["QUERY_STRING"]])
            return [b"body"]

        pair = await self.serve(application)
        for kind in bad:
            response = await pair.request("GET", f"/app?{kind}", apart=NO_BODY)
            self.assertEqual((response.status, response.body), (500, b""), kind)
            self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2, kind)

    async def test_error_replaces_what_was_to_be_said(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", PLAIN)
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                start_response("503 Not now", PLAIN, sys.exc_info())
            return [b"sorry"]

        response = await (await self.serve(application)).request("GET", "/app")
        self.assertEqual((response.status, response.body), (503, b"sorry"))

    async def test_error_in_the_answer(self) -> None:
        """What has begun is cut off: nobody takes it for whole."""

        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", PLAIN)
            yield b"begun"
            raise ZeroDivisionError

        def talk(port: int) -> bytes:
            received = b""
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(wire("GET", "/app", close=False))
                while data := connection.recv(1 << 16):
                    received += data
            return received

        pair = await self.serve(application)
        for port in pair.ports:
            received = await deferToThread(talk, port)
            self.assertTrue(received.endswith(b"\r\n\r\n5\r\nbegun\r\n"), received)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    async def test_pipeline(self) -> None:
        """Threads that answer one request after the other, in order, on one connection."""

        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", PLAIN)
            return [environ["PATH_INFO"].encode() * 10_000]

        pair = await self.serve(application)
        asked = [("GET", f"/app/{number}") for number in range(6)]
        data = b"".join(wire(*one, close=False) for one in asked) + wire("GET", "/app/last")
        expected = [target.removeprefix("/app").encode() * 10_000 for _, target in asked] + [
            b"/last" * 10_000
        ]
        for responses in await pair.converse(data, ["GET"] * 7):
            self.assertEqual([response.body for response in responses] == expected, True)

    async def test_client_goes_away(self) -> None:
        """An endless answer ends when nobody reads it any more."""
        ended = [threading.Event(), threading.Event()]
        waiting = iter(ended)

        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", PLAIN)
            return endless(next(waiting))

        def endless(event: threading.Event) -> Any:
            try:
                while True:
                    yield b"x" * 1000
            finally:
                event.set()

        def talk(port: int, event: threading.Event) -> bool:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(wire("GET", "/app"))
                connection.recv(10)
            return event.wait(10)

        pair = await self.serve(application)
        for port, event in zip(pair.ports, ended, strict=True):
            self.assertTrue(await deferToThread(talk, port, event))
