"""Resources of every kind behave the same under `txetcd.site.Site` and `twisted.web.server.Site`."""

from __future__ import annotations

import base64
import gzip
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import guard, server
from twisted.web.error import UnsupportedMethod
from twisted.web.pages import notFound
from twisted.web.resource import EncodingResourceWrapper, IResource, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory
from twisted.web.static import Data
from twisted.web.util import DeferredResource, Redirect, redirectTo
from zope.interface import implementer

from tests.http_harness import Conversation, Response, conversation
from txetcd.site import Site

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


class Common(SynchronousTestCase):
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


class RequestTests:
    """What a resource learns from the request."""

    ask: Any
    connect: Any
    response: Response
    assertEqual: Any
    assertIsNone: Any
    assertTrue: Any
    assertFalse: Any

    def test_line(self) -> None:
        seen = self.ask(lambda r: (r.method, r.uri, r.path, r.clientproto), "GET", "/a%20b/c?d=e")
        self.assertEqual(seen, (b"GET", b"/a%20b/c?d=e", b"/a%20b/c", b"HTTP/1.1"))

    def test_query_arguments(self) -> None:
        self.assertEqual(
            self.ask(lambda r: r.args, "GET", "/?a=1&a=2&b=&c=%20x+y&d"),
            {b"a": [b"1", b"2"], b"b": [b""], b"c": [b" x y"]},
        )

    def test_form_replaces_query(self) -> None:
        seen = self.ask(lambda r: r.args, "POST", "/?a=1&b=2", FORM, b"b=3&c=4")
        self.assertEqual(seen, {b"a": [b"1"], b"b": [b"3"], b"c": [b"4"]})

    def test_form_content_type_with_parameter(self) -> None:
        headers = [("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=utf-8")]
        self.assertEqual(self.ask(lambda r: r.args, "POST", "/", headers, b"b=3"), {b"b": [b"3"]})

    def test_multipart_form(self) -> None:
        body = (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x\r\n'
            b'Content-Disposition: form-data; name="b"; filename="f"\r\nContent-Type: image/png\r\n\r\n'
            b"\x00\xff\r\n--x--\r\n"
        )
        seen = self.ask(
            lambda r: r.args, "POST", "/?q=1", [("Content-Type", "multipart/form-data; boundary=x")], body
        )
        self.assertEqual(seen, {b"q": [b"1"], b"a": [b"1"], b"b": [b"\x00\xff"]})

    def test_other_bodies_are_not_arguments(self) -> None:
        headers = [("Content-Type", "application/json")]
        self.assertEqual(self.ask(lambda r: r.args, "POST", "/?a=1", headers, b"b=3"), {b"a": [b"1"]})

    def test_content(self) -> None:
        self.assertEqual(self.ask(lambda r: r.content.read(), "POST", "/", FORM, b"b=3"), b"b=3")

    def test_no_content(self) -> None:
        self.assertEqual(self.ask(lambda r: r.content.read()), b"")

    def test_headers(self) -> None:
        headers = [("X-One", "1"), ("x-one", "2"), ("X-Two", "3")]
        seen = self.ask(
            lambda r: (
                r.getHeader(b"X-One"),
                r.getHeader("x-one"),
                r.requestHeaders.getRawHeaders(b"x-oNe"),
                r.getHeader(b"x-one"),
                r.getHeader("absent"),
                r.getHeader(b"absent"),
                r.getAllHeaders(),
            ),
            headers=headers,
        )
        everything = {b"host": b"127.0.0.1:4001", b"x-one": b"2", b"x-two": b"3"}
        self.assertEqual(seen, (b"2", "2", [b"1", b"2"], b"2", None, None, everything))

    def test_segments(self) -> None:
        root, child = Resource(), Answers(lambda r: b"%r %r" % (r.prepath, r.postpath))
        root.putChild(b"a b", child)
        self.assertEqual(
            self.connect(root).request("GET", "/a%20b/c%2Fd//e").body, b"[b'a b'] [b'c/d', b'', b'e']"
        )

    def test_addresses(self) -> None:
        seen = self.ask(lambda r: (r.getClientAddress().host, r.getHost().port, r.isSecure()))
        self.assertEqual(seen, ("192.0.2.1", 4001, False))

    def test_set_host(self) -> None:
        def behind_proxy(request: Any) -> Any:
            request.setHost(b"example.org", 443, ssl=1)
            return request.isSecure(), request.getHeader(b"host"), request.prePathURL()

        self.assertEqual(self.ask(behind_proxy), (True, b"example.org", b"https://example.org/"))

    def test_urls(self) -> None:
        def urls(request: Any) -> Any:
            request.rememberRootURL()
            return (
                request.prePathURL(),
                str(request.URLPath()),
                request.getRootURL(),
                request.childLink(b"x"),
                request.sibLink(b"x"),
                request.getRequestHostname(),
            )

        self.assertEqual(
            self.ask(urls, "GET", "/a/b"),
            (
                b"http://127.0.0.1:4001/",
                "http://127.0.0.1:4001/",
                b"http://127.0.0.1:4001/",
                b"../x",
                b"../../x",
                b"127.0.0.1",
            ),
        )

    def test_basic_authentication(self) -> None:
        headers = [("Authorization", "Basic " + base64.b64encode(b"root:secret").decode())]
        self.assertEqual(
            self.ask(lambda r: (r.getUser(), r.getPassword()), headers=headers), (b"root", b"secret")
        )

    def test_cookies_received(self) -> None:
        headers = [("Cookie", "a=1; b=2")]
        seen = self.ask(lambda r: (r.getCookie(b"a"), r.getCookie(b"c"), r.received_cookies), headers=headers)
        self.assertEqual(seen, (b"1", None, {b"a": b"1", b"b": b"2"}))

    def test_components(self) -> None:
        def components(request: Any) -> Any:
            request.setComponent(IRealm, "realm")
            return request.getComponent(IRealm)

        self.assertEqual(self.ask(components), "realm")


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
            self.assertEqual("resume" in ticker.said, not talk.transport.unsent)
        self.assertEqual(ticker.said[-1:], ["resume"])
        talk.disconnect()
        self.assertEqual(ticker.said[-1:], ["stop"])

    def test_not_bytes(self) -> None:
        response = self.connect(Answers(lambda r: "text")).request("GET", "/")
        self.assertEqual(response.status, 500)
        self.flushLoggedErrors(TypeError)


class ReadyMadeTests:
    """Twisted's own resources."""

    connect: Any
    clock: Clock
    assertEqual: Any
    assertIsNone: Any
    assertIn: Any
    assertTrue: Any

    def test_data(self) -> None:
        root = Resource()
        root.putChild(b"data", Data(b"data", "text/plain"))
        talk = self.connect(root)
        response = talk.request("GET", "/data")
        self.assertEqual((response.body, response.header("Content-Type")), (b"data", "text/plain"))
        response = talk.request("HEAD", "/data")
        self.assertEqual((response.body, response.header("Content-Length")), (b"", "4"))

    def test_missing(self) -> None:
        root = Resource()
        root.putChild(b"gone", notFound())
        self.assertEqual(self.connect(root).request("GET", "/gone").status, 404)
        self.assertEqual(self.connect(root).request("GET", "/nothing").status, 404)

    def test_redirect(self) -> None:
        response = self.connect(Redirect(b"/elsewhere")).request("GET", "/")
        self.assertEqual((response.status, response.header("Location")), (302, "/elsewhere"))
        response = self.connect(Answers(lambda r: redirectTo(b"/x", r))).request("GET", "/")
        self.assertEqual((response.status, response.header("Location")), (302, "/x"))

    def test_deferred_resource(self) -> None:
        later: Deferred[IResource] = Deferred()
        talk = self.connect(DeferredResource(later))
        talk.begin("GET", "/")
        self.assertIsNone(talk.response())
        later.callback(Answers(lambda r: b"now"))
        self.assertEqual(talk.response().body, b"now")

    def test_gzip(self) -> None:
        talk = self.connect(EncodingResourceWrapper(Answers(lambda r: b"x" * 1000), [GzipEncoderFactory()]))
        for _ in range(2):
            response = talk.request("GET", "/", [("Accept-Encoding", "gzip")])
            self.assertEqual(response.header("Content-Encoding"), "gzip")
            self.assertIsNone(response.header("Content-Length"))
            self.assertEqual(gzip.decompress(response.body), b"x" * 1000)
        response = talk.request("GET", "/")
        self.assertEqual((response.header("Content-Encoding"), response.body), (None, b"x" * 1000))

    def test_guard(self) -> None:
        @implementer(IRealm)
        class Realm:
            def requestAvatar(self, avatar: Any, mind: Any, *interfaces: Any) -> Any:
                return IResource, Answers(lambda r: b"hello " + avatar), lambda: out.append(avatar)

        out: list[bytes] = []
        checker = InMemoryUsernamePasswordDatabaseDontUse(root=b"secret")
        factories = [guard.BasicCredentialFactory(b"realm"), guard.DigestCredentialFactory(b"md5", b"realm")]
        talk = self.connect(guard.HTTPAuthSessionWrapper(Portal(Realm(), [checker]), factories))
        response = talk.request("GET", "/")
        self.assertEqual(response.status, 401)
        self.assertEqual(len(response.headers.getRawHeaders(b"WWW-Authenticate")), 2)
        authorization = "Basic " + base64.b64encode(b"root:secret").decode()
        response = talk.request("GET", "/", [("Authorization", authorization)])
        self.assertEqual((response.body, out), (b"hello root", [b"root"]))
        self.assertEqual(
            talk.request(
                "GET", "/", [("Authorization", "Basic " + base64.b64encode(b"root:x").decode())]
            ).status,
            401,
        )


class RequestStockTests(StockSite, RequestTests, Common):
    pass


class RequestFastTests(FastSite, RequestTests, Common):
    pass


class AnswerStockTests(StockSite, AnswerTests, Common):
    pass


class AnswerFastTests(FastSite, AnswerTests, Common):
    pass


class ReadyMadeStockTests(StockSite, ReadyMadeTests, Common):
    pass


class ReadyMadeFastTests(FastSite, ReadyMadeTests, Common):
    pass
