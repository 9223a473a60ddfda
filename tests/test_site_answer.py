"""What a resource says and what goes over the wire, under `txetcd.site.Site` as under Twisted's."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http_harness import Response, conversation
from tests.site_cases import FORM, Answers, FastSite, SiteCase, StockSite
from txetcd.site import Site


class AnswerTests:
    """What a resource says, and what goes over the wire."""

    ask: Any
    connect: Any
    response: Response
    assertEqual: Any
    assertIsNone: Any
    assertIn: Any
    assertTrue: Any
    assertFalse: Any
    assertLess: Any
    assertNoResult: Any
    successResultOf: Any
    failureResultOf: Any
    flushLoggedErrors: Any
    clock: Clock

    def test_bytes(self) -> None:
        self.ask(lambda r: r.setHeader(b"X-Mine", b"1"))
        response = self.response
        self.assertEqual((response.version, response.status, response.reason), (b"HTTP/1.1", 200, b"OK"))
        self.assertEqual(response.body, b"body")
        self.assertEqual(response.header("Content-Length"), "4")
        self.assertEqual(response.header("Content-Type"), "text/html")
        self.assertEqual(response.header("X-Mine"), "1")
        self.assertIsNone(response.header("Connection"))
        self.assertIsNone(response.header("Transfer-Encoding"))
        self.assertTrue(response.header("Date"))

    def test_code(self) -> None:
        self.ask(lambda r: r.setResponseCode(201))
        self.assertEqual((self.response.status, self.response.reason), (201, b"Created"))

    def test_code_with_message(self) -> None:
        self.ask(lambda r: r.setResponseCode(299, b"So so"))
        self.assertEqual((self.response.status, self.response.reason), (299, b"So so"))

    def test_headers_set_in_many_ways(self) -> None:
        def headers(request: Any) -> None:
            request.setHeader("content-type", "text/plain")
            request.setHeader(b"Content-TYPE", b"application/json")
            request.responseHeaders.addRawHeader(b"x-many", b"1")
            request.responseHeaders.addRawHeader(b"X-Many", b"2")
            request.setHeader(b"x-text", "\N{SNOWMAN}")
            request.setHeader(b"etag", b"e")

        self.ask(headers)
        self.assertEqual(self.response.header("Content-Type"), "application/json")
        self.assertEqual(self.response.headers.getRawHeaders(b"X-Many"), [b"1", b"2"])
        self.assertEqual(self.response.header(b"X-Text"), "\N{SNOWMAN}".encode())
        self.assertEqual(self.response.header("ETag"), "e")

    def test_line_breaks_in_headers(self) -> None:
        def headers(request: Any) -> None:
            request.setHeader(b"X-One", b"a\r\nX-Evil: 1")
            request.setHeader("X-Two", "b\nX-Evil: 1")
            request.responseHeaders.addRawHeader(b"X-Three", b"c\rX-Evil: 1")

        self.ask(headers)
        self.assertFalse(self.response.headers.hasHeader("X-Evil"))
        self.assertEqual(self.response.header("X-One"), "a X-Evil: 1")
        self.assertEqual(self.response.header("X-Three"), "c X-Evil: 1")

    def test_no_default_content_type(self) -> None:
        def none(request: Any) -> None:
            request.defaultContentType = None

        self.ask(none)
        self.assertIsNone(self.response.header("Content-Type"))

    def test_empty_body(self) -> None:
        response = self.connect(Answers(lambda r: b"")).request("GET", "/")
        self.assertEqual((response.header("Content-Length"), response.header("Content-Type")), ("0", None))

    def test_no_content(self) -> None:
        def empty(request: Any) -> Any:
            request.setResponseCode(204)
            request.finish()
            return NOT_DONE_YET

        talk = self.connect(Answers(empty))
        for _ in range(2):
            response = talk.request("GET", "/")
            self.assertEqual((response.status, response.body), (204, b""))
            self.assertIsNone(response.header("Transfer-Encoding"))

    def test_chunks(self) -> None:
        def write(request: Any) -> Any:
            request.write(b"one")
            request.write(b"")
            request.write(b"three")
            request.finish()
            return NOT_DONE_YET

        talk = self.connect(Answers(write))
        for _ in range(2):
            response = talk.request("GET", "/")
            self.assertEqual(response.header("Transfer-Encoding"), "chunked")
            self.assertEqual(response.chunks, (b"one", b"three"))

    def test_own_content_length(self) -> None:
        def write(request: Any) -> Any:
            request.setHeader(b"content-length", b"6")
            request.write(b"abc")
            request.write(b"def")
            request.finish()
            return NOT_DONE_YET

        response = self.connect(Answers(write)).request("GET", "/")
        self.assertEqual((response.header("Content-Length"), response.body), ("6", b"abcdef"))

    def test_late_answer(self) -> None:
        resource = Answers(lambda r: NOT_DONE_YET)
        talk = self.connect(resource)
        talk.begin("GET", "/")
        self.assertEqual(talk.receive(), b"")
        resource.request.write(b"")
        self.assertIn(b"Transfer-Encoding: chunked", talk.receive())
        resource.request.write(b"x")
        self.assertEqual(talk.receive(), b"1\r\nx\r\n")
        resource.request.finish()
        self.assertEqual(talk.receive(), b"0\r\n\r\n")
        self.assertFalse(talk.closed)

    def test_head_of_get(self) -> None:
        talk = self.connect(Answers(lambda r: b"body"))
        for _ in range(2):
            response = talk.request("HEAD", "/")
            self.assertEqual((response.status, response.body), (200, b""))
            self.assertEqual(response.header("Content-Length"), "4")

    def test_head_without_render_head(self) -> None:
        class GetOnly(Resource):
            isLeaf = True

            def render(self, request: Any) -> bytes:
                if request.method != b"GET":
                    raise UnsupportedMethod([b"GET"])
                return b"body"

        talk = self.connect(GetOnly())
        for _ in range(2):
            response = talk.request("HEAD", "/")
            self.assertEqual((response.status, response.header("Content-Length")), (200, "4"))

    def test_unsupported_method(self) -> None:
        class GetOnly(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                return b""

        talk = self.connect(GetOnly())
        response = talk.request("POST", "/", FORM, b"a=1")
        self.assertEqual(response.status, 405)
        self.assertEqual(sorted((response.header("Allow") or "").split(", ")), ["GET", "HEAD"])
        self.assertEqual(talk.request("DELETE", "/").status, 501)
        self.assertEqual(talk.request("FOO", "/").status, 501)
        self.assertEqual(talk.request("get", "/").status, 501)

    def test_unknown_methods_reach_the_resource(self) -> None:
        class Odd(Resource):
            isLeaf = True

            def render_PATCH(self, request: Any) -> bytes:
                return request.method  # type: ignore[no-any-return]

            render_get = render_PATCH

        talk = self.connect(Odd())
        self.assertEqual(talk.request("PATCH", "/").body, b"PATCH")
        self.assertEqual(talk.request("get", "/").body, b"get")

    def test_exception(self) -> None:
        def fail(request: Any) -> Any:
            request.setHeader(b"Content-Type", b"application/json")
            raise ZeroDivisionError("never shown to clients")

        talk = self.connect(Answers(fail))
        for _ in range(2):
            response = talk.request("GET", "/")
            self.assertEqual(response.status, 500)
            self.assertFalse(b"ZeroDivision" in response.body or b"never shown" in response.body)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_exception_in_traversal(self) -> None:
        class Broken(Resource):
            def getChild(self, path: bytes, request: Any) -> Any:
                raise ZeroDivisionError

        self.assertEqual(self.connect(Broken()).request("GET", "/a").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_notify_finish(self) -> None:
        resource = Answers(lambda r: NOT_DONE_YET)
        talk = self.connect(resource)
        talk.begin("GET", "/")
        finished = resource.request.notifyFinish()
        self.assertNoResult(finished)
        resource.request.finish()
        self.assertIsNone(self.successResultOf(finished))

    def test_notify_disconnect(self) -> None:
        resource = Answers(lambda r: NOT_DONE_YET)
        talk = self.connect(resource)
        talk.begin("GET", "/")
        finished = resource.request.notifyFinish()
        talk.disconnect()
        self.failureResultOf(finished)
        resource.request.write(b"late")

    def test_lose_connection(self) -> None:
        resource = Answers(lambda r: NOT_DONE_YET)
        talk = self.connect(resource)
        talk.begin("GET", "/")
        resource.request.write(b"x")
        resource.request.loseConnection()
        self.assertTrue(talk.closed)
        self.assertTrue(talk.receive().endswith(b"\r\n\r\n1\r\nx\r\n"))

    def test_last_modified(self) -> None:
        headers = [("If-Modified-Since", "Thu, 01 Jan 1970 01:00:00 GMT")]

        def modified(request: Any) -> Any:
            return b"" if request.setLastModified(3600) else b"new"

        talk = self.connect(Answers(modified))
        response = talk.request("GET", "/", headers)
        self.assertEqual((response.status, response.body), (304, b""))
        self.assertEqual(response.header("Last-Modified"), "Thu, 01 Jan 1970 01:00:00 GMT")
        self.assertEqual(talk.request("GET", "/").body, b"new")

    def test_etag(self) -> None:
        def tagged(request: Any) -> Any:
            return b"" if request.setETag(b'"x"') else b"new"

        talk = self.connect(Answers(tagged))
        response = talk.request("GET", "/", [("If-None-Match", '"x"')])
        self.assertEqual((response.status, response.body, response.header("ETag")), (304, b"", '"x"'))
        self.assertEqual(talk.request("POST", "/", [("If-None-Match", '"x"')], b"").status, 412)
        self.assertEqual(talk.request("GET", "/").body, b"new")

    def test_cookies_sent(self) -> None:
        def cookies(request: Any) -> None:
            request.addCookie("a", "1", path="/", httpOnly=True)
            request.addCookie(b"b", b"2;\r\n3")

        self.ask(cookies)
        self.assertEqual(
            self.response.headers.getRawHeaders(b"Set-Cookie"), [b"a=1; Path=/; HttpOnly", b"b=2  3"]
        )

    def test_session(self) -> None:
        resource = Answers(lambda r: r.getSession().uid)
        talk = self.connect(resource)
        first = talk.request("GET", "/")
        cookie = (first.header("Set-Cookie") or "").partition(";")[0]
        second = talk.request("GET", "/", [("Cookie", cookie)])
        self.assertEqual(first.body, second.body)
        self.assertIsNone(second.header("Set-Cookie"))
        resource.request.site.sessions[first.body].expire()
        self.assertFalse(talk.request("GET", "/", [("Cookie", cookie)]).body == first.body)

    def test_push_producer(self) -> None:
        class Ticker:
            def __init__(self) -> None:
                self.said: list[str] = []

            def pauseProducing(self) -> None:
                self.said.append("pause")

            def resumeProducing(self) -> None:
                self.said.append("resume")

            def stopProducing(self) -> None:
                self.said.append("stop")

        ticker = Ticker()
        resource = Answers(lambda r: r.registerProducer(ticker, True) or NOT_DONE_YET)
        talk = self.connect(resource)
        talk.transport.client_reads = False
        talk.begin("GET", "/")
        resource.request.write(b"x" * 200_000)
        self.assertEqual(ticker.said[-1:], ["pause"])
        while talk.transport.unsent:
            talk.transport.read()
            if "resume" in ticker.said:
                # There is room, if not for all.
                self.assertLess(len(talk.transport.unsent), 65_536)
        self.assertEqual(ticker.said[-1:], ["resume"])
        talk.disconnect()
        self.assertEqual(ticker.said[-1:], ["stop"])

    def test_not_bytes(self) -> None:
        response = self.connect(Answers(lambda r: "text")).request("GET", "/")
        self.assertEqual(response.status, 500)
        self.flushLoggedErrors(TypeError)


class AnswerStockTests(StockSite, AnswerTests, SiteCase):
    """Twisted's Site"""


class AnswerFastTests(FastSite, AnswerTests, SiteCase):
    """Our Site"""


class WriteTests(SynchronousTestCase):
    """What a resource writes that it should not."""

    def test_writing_text_is_answered(self) -> None:
        """A programmer's mistake before anything was sent is a 500, not a connection cut without a word."""
        site = Site(Answers(lambda r: r.write("text")), Clock())
        self.assertEqual(conversation(site).request("GET", "/").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)


class ConcludeTests(SynchronousTestCase):
    """`Request.conclude`, which only our requests have."""

    def setUp(self) -> None:
        self.resource = Answers(lambda r: NOT_DONE_YET)
        self.talk = conversation(Site(self.resource, Clock()))
        self.sent: list[bytes] = []
        send = self.talk.transport.write

        def write(data: bytes) -> None:
            self.sent.append(data)
            send(data)

        self.patch(self.talk.transport, "write", write)

    def test_in_one_go(self) -> None:
        """Even behind a head that has been sent, and the next request has its turn."""
        self.talk.begin("GET", "/")
        first = self.resource.request
        first.write(b"")
        del self.sent[:]
        self.talk.begin("GET", "/next")
        first.conclude(b"event")
        self.assertEqual(self.sent, [b"5\r\nevent\r\n0\r\n\r\n"])
        self.assertEqual(self.resource.request.uri, b"/next")

    def test_client_gone(self) -> None:
        self.talk.begin("GET", "/")
        self.talk.disconnect()
        self.resource.request.conclude(b"event")
        self.assertEqual(self.sent, [])

    def test_last_answer(self) -> None:
        self.talk.begin("GET", "/", [("Connection", "close")])
        self.resource.request.conclude(b"event")
        self.assertEqual(b"".join(self.sent).count(b"event"), 1)
        self.assertTrue(self.talk.transport.disconnecting)
