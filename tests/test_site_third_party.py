"""What Twisted has for web applications, in memory: `txetcd.site.Site` answers as `twisted.web.server.Site`.

Files, uploads, WSGI applications, proxies and klein have modules of their own.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import guard
from twisted.web.resource import EncodingResourceWrapper, IResource, Resource
from twisted.web.rewrite import RewriterResource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory
from twisted.web.template import Element, TagLoader, renderElement, renderer, tags
from twisted.web.util import DeferredResource, ParentRedirect, Redirect
from twisted.web.vhost import NameVirtualHost, VHostMonsterResource
from zope.interface import implementer

from tests.http_harness import Conversation
from tests.site_cases import NO_BODY, Answers, Pair


class PairTestCase(SynchronousTestCase):
    """Makes pairs."""

    def pair(self, make: Any) -> Pair:
        return Pair(self, make)

    def answers(self, answer: Any) -> Pair:
        """Both sites answer with what `answer(request)` gives."""
        return self.pair(lambda: Answers(answer))


class GzipTests(PairTestCase):
    """`EncodingResourceWrapper` with `GzipEncoderFactory`"""

    def wrapped(self, answer: Any) -> Pair:
        return self.pair(lambda: EncodingResourceWrapper(Answers(answer), [GzipEncoderFactory()]))

    def test_accepted_encodings(self) -> None:
        talk = self.wrapped(lambda r: b"x" * 1000)
        for accepted, encoding in (
            ("gzip", "gzip"),
            ("deflate, gzip", "gzip"),
            ("br", None),
            ("gzip;q=0", None),
            ("identity", None),
        ):
            response = talk.request("GET", "/", [("Accept-Encoding", accepted)])
            self.assertEqual(response.header("Content-Encoding"), encoding, accepted)
            body = gzip.decompress(response.body) if encoding else response.body
            self.assertEqual(body, b"x" * 1000)

    def test_in_pieces(self) -> None:
        def write(request: Any) -> Any:
            request.setHeader(b"Content-Length", b"300000")
            for _ in range(3):
                request.write(bytes(range(250)) * 400)
            request.finish()
            return NOT_DONE_YET

        response = self.wrapped(write).request("GET", "/", [("Accept-Encoding", "gzip")])
        self.assertEqual(gzip.decompress(response.body), bytes(range(250)) * 1200)

    def test_nothing(self) -> None:
        headers = [("Accept-Encoding", "gzip")]
        response = self.wrapped(lambda r: b"").request("GET", "/", headers, apart=NO_BODY)
        self.assertEqual(gzip.decompress(response.body), b"")

    def test_head(self) -> None:
        talk = self.wrapped(lambda r: b"x" * 1000)
        self.assertEqual(talk.request("HEAD", "/", [("Accept-Encoding", "gzip")], apart=NO_BODY).body, b"")
        self.assertEqual(talk.request("HEAD", "/").header("Content-Length"), "1000")


@implementer(IRealm)
class Realm:
    """Everyone gets a greeting."""

    def __init__(self) -> None:
        self.left: list[bytes] = []

    def requestAvatar(self, avatar: Any, mind: Any, *interfaces: Any) -> Any:
        return IResource, Answers(lambda r: b"hello " + avatar), lambda: self.left.append(avatar)


class GuardTests(PairTestCase):
    """`guard.HTTPAuthSessionWrapper`"""

    def guarded(self, factory: Any) -> Pair:
        self.realm = Realm()
        checker = InMemoryUsernamePasswordDatabaseDontUse(root=b"secret")
        return self.pair(lambda: guard.HTTPAuthSessionWrapper(Portal(self.realm, [checker]), [factory()]))

    def test_basic(self) -> None:
        talk = self.guarded(lambda: guard.BasicCredentialFactory(b"realm"))
        for authorization, status in (
            ("", 401),
            ("Basic " + base64.b64encode(b"root:secret").decode(), 200),
            ("Basic " + base64.b64encode(b"root:wrong").decode(), 401),
            ("Basic " + base64.b64encode(b"root").decode(), 401),
            ("Basic nonsense!", 401),
            ("Bearer token", 401),
        ):
            for method in "GET", "HEAD":
                headers = [("Authorization", authorization)] if authorization else []
                response = talk.request(method, "/a/b", headers)
                self.assertEqual(response.status, status, authorization)
                challenge = 'basic realm="realm"' if status == 401 else None
                self.assertEqual(response.header("WWW-Authenticate"), challenge)
        self.assertEqual(self.realm.left, [b"root"] * 4)

    def test_digest(self) -> None:
        talk = self.guarded(lambda: guard.DigestCredentialFactory(b"md5", b"realm"))
        for one in talk.talks:
            challenge = one.request("GET", "/a?b").header("WWW-Authenticate") or ""
            for password, status in ("secret", 200), ("wrong", 401):
                headers = [("Authorization", self.credentials(challenge, "GET", "/a?b", password))]
                response = one.request("GET", "/a?b", headers)
                self.assertEqual((response.status, b"hello root" in response.body), (status, status == 200))
        self.assertEqual(self.realm.left, [b"root", b"root"])

    def credentials(self, challenge: str, method: str, uri: str, password: str) -> str:
        """The answer to a digest challenge, as RFC 2617 has it without qop."""
        self.assertTrue(challenge.startswith("digest "), challenge)
        said = dict(re.findall(r'(\w+)="([^"]*)"', challenge))

        def md5(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        secret, asked = md5(f"root:{said['realm']}:{password}"), md5(f"{method}:{uri}")
        fields = {
            "username": "root",
            "realm": said["realm"],
            "nonce": said["nonce"],
            "uri": uri,
            "opaque": said["opaque"],
            "response": md5(f"{secret}:{said['nonce']}:{asked}"),
        }
        return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items())


class SessionTests(PairTestCase):
    """Sessions and cookies"""

    def test_session_goes_on_until_it_expires(self) -> None:
        def count(request: Any) -> bytes:
            session = request.getSession()
            session.seen = getattr(session, "seen", 0) + 1
            return b"%d" % session.seen

        pair = self.answers(count)
        for talk in pair.talks:
            first = talk.request("GET", "/")
            cookie = first.header("Set-Cookie") or ""
            self.assertRegex(cookie, r"^TWISTED_SESSION=[0-9a-f]{64}; Path=/$")
            headers = [("Cookie", "other=1; " + cookie.partition(";")[0])]
            second = talk.request("GET", "/", headers)
            self.assertEqual((second.body, second.header("Set-Cookie")), (b"2", None))
        pair.clock.advance(901)
        for talk in pair.reconnect():
            self.assertEqual(talk.request("GET", "/", headers).body, b"1")

    def test_session_below_a_directory(self) -> None:
        root = Resource()
        root.putChild(b"sub", Answers(lambda r: r.getSession().uid))
        for talk in self.pair(lambda: root).talks:
            cookie = talk.request("GET", "/sub/x").header("Set-Cookie") or ""
            self.assertTrue(cookie.startswith("TWISTED_SESSION="), cookie)

    def test_cookies(self) -> None:
        def answer(request: Any) -> bytes:
            request.addCookie("a", "1", domain="example.org", max_age="60", secure=True, sameSite="lax")
            request.addCookie(b"b", b"x; y", expires=b"Thu, 01 Jan 1970 00:00:00 GMT", comment=b"c")
            return repr(sorted(request.received_cookies.items())).encode()

        talk = self.answers(answer)
        for cookie in "", "a=1", "a=1; b=2;c = 3; d", "=; ;;", 'a="x;y"', "a=b=c; a=d":
            response = talk.request("GET", "/", [("Cookie", cookie)])
            self.assertEqual(len(response.headers.getRawHeaders("Set-Cookie", [])), 2)
        headers = [("Cookie", "a=1"), ("Cookie", "b=2")]
        self.assertEqual(talk.request("GET", "/", headers).body, b"[(b'a', b'1'), (b'b', b'2')]")


def place(request: Any) -> bytes:
    """Where a resource finds itself."""
    return b"%r %r %r %r %r" % (
        request.prepath,
        request.postpath,
        request.path,
        request.prePathURL(),
        request.getRequestHostname(),
    )


class PlaceTests(PairTestCase):
    """Resources that lead to other resources"""

    def test_virtual_hosts(self) -> None:
        def hosts() -> NameVirtualHost:
            root = NameVirtualHost()
            site = Resource()
            site.putChild(b"a", Answers(place))
            root.addHost(b"example.org", site)
            root.addHost(b"leaf.example.org", Answers(place))
            return root

        talk = self.pair(hosts)
        for host, target, status in (
            ("example.org", "/a/b%20c", 200),
            ("EXAMPLE.org:4001", "/a", 200),
            ("example.org", "/b", 404),
            ("leaf.example.org", "/x/y", 200),
            ("leaf.example.org", "/", 200),
            ("unknown", "/", 404),
            ("[::1]:4001", "/", 404),
        ):
            self.assertEqual(talk.request("GET", target, [("Host", host)]).status, status, (host, target))

    def test_virtual_host_behind_a_proxy(self) -> None:
        root = Resource()
        root.putChild(b"vhost", VHostMonsterResource())
        root.putChild(b"a", Answers(place))
        body = self.pair(lambda: root).request("GET", "/vhost/http/example.org:8080/a/b").body
        self.assertIn(b"http://example.org:8080/", body)

    def test_rewrite(self) -> None:
        def rule(request: Any) -> None:
            if request.postpath[:1] == [b"old"]:
                request.postpath[:1] = [b"new", b"place"]
                request.path = b"/" + b"/".join(request.prepath + request.postpath)

        root = Resource()
        root.putChild(b"new", Answers(place))
        talk = self.pair(lambda: RewriterResource(root, rule))
        self.assertIn(b"[b'place', b'x']", talk.request("GET", "/old/x").body)
        self.assertIn(b"[b'x']", talk.request("GET", "/new/x").body)

    def test_redirects(self) -> None:
        root = Resource()
        root.putChild(b"away", Redirect(b"http://example.org/a?b=<c>"))
        root.putChild(b"up", ParentRedirect())
        talk = self.pair(lambda: root)
        self.assertEqual(talk.request("GET", "/away").status, 302)
        self.assertEqual(talk.request("HEAD", "/away").status, 302)
        self.assertEqual(talk.request("GET", "/up").header("Location"), "http://127.0.0.1:4001/")

    def test_children(self) -> None:
        class Growing(Resource):
            def getChild(self, path: bytes, request: Any) -> Resource:
                return Growing() if path else Answers(place)

        talk = self.pair(Growing)
        for target in "/", "//", "/a/b//", "/%2F/%00/", "/a/?b", "/a;p/", "/%FF/", "/../a/./":
            self.assertEqual(talk.request("GET", target).status, 200, target)

    def test_deferred_resource(self) -> None:
        waiting: list[Deferred[Any]] = []

        class Slow(Resource):
            def getChild(self, path: bytes, request: Any) -> Resource:
                waiting.append(Deferred())
                return DeferredResource(waiting[-1])

        talk = self.pair(Slow)
        talk.begin("GET", "/a/b")
        for deferred in waiting:
            deferred.callback(Answers(place))
        self.assertIn(b"[b'a'] [b'b']", talk.response().body)

    def test_deferred_resource_that_fails(self) -> None:
        later: list[Deferred[Any]] = []

        def make() -> DeferredResource:
            later.append(Deferred())
            return DeferredResource(later[-1])

        pair = self.pair(make)
        pair.begin("GET", "/")
        for deferred in later:
            deferred.errback(ZeroDivisionError())
        self.assertEqual([self.status(talk) for talk in pair.talks], [500, 500])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def status(self, talk: Conversation) -> int:
        response = talk.response()
        assert response is not None
        return response.status


class PageTests(PairTestCase):
    """`twisted.web.template`"""

    def page(self, later: Any, doctype: bytes | None = b"<!DOCTYPE html>") -> Pair:
        class Page(Element):
            loader = TagLoader(tags.html(tags.body(tags.p("<&>\N{SNOWMAN}"), tags.div(render="part"))))

            @renderer
            def part(self, request: Any, tag: Any) -> Any:
                return tag(later())

        return self.answers(lambda request: renderElement(request, Page(), doctype))

    def test_at_once(self) -> None:
        talk = self.page(lambda: ["x" * 100_000, tags.b("y", title='"')])
        for _ in range(2):
            body = talk.request("GET", "/").body
            self.assertTrue(body.startswith(b"<!DOCTYPE html>\n<html><body><p>&lt;&amp;&gt;\xe2\x98\x83</p>"))
            self.assertTrue(body.endswith(b'x<b title="&quot;">y</b></div></body></html>'))

    def test_head(self) -> None:
        self.assertEqual(self.page(lambda: "x").request("HEAD", "/").body, b"")

    def test_late_parts(self) -> None:
        waiting: list[Deferred[Any]] = []

        def later() -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        talk = self.page(later, None)
        talk.begin("GET", "/")
        for deferred in waiting:
            deferred.callback(tags.b("late"))
        self.assertIn(b"<div><b>late</b></div>", talk.response().body)

    def test_failure(self) -> None:
        def fail() -> Any:
            raise ZeroDivisionError

        self.assertIn(b"An error occurred", self.page(fail).request("GET", "/").body)
        self.assertEqual(len(self.flushLoggedErrors()), 2)


class StreamTests(PairTestCase):
    """Answers that go on, as server-sent events do"""

    def setUp(self) -> None:
        self.requests: list[Any] = []

    def begin(self) -> Pair:
        """A browser's EventSource has connected to both."""

        def render(request: Any) -> Any:
            request.setHeader(b"Content-Type", b"text/event-stream")
            request.setHeader(b"Cache-Control", b"no-cache")
            self.requests.append(request)
            request.write(b"retry: 1000\n\n")
            return NOT_DONE_YET

        pair = self.answers(render)
        pair.begin("GET", "/events", [("Accept", "text/event-stream")])
        return pair

    def test_events(self) -> None:
        pair = self.begin()
        for number in range(3):
            for request, talk in zip(self.requests, pair.talks, strict=True):
                request.write(b"id: %d\ndata: x\n\n" % number)
                so_far = talk.so_far()
                assert so_far is not None
                self.assertTrue(talk.transport.received.endswith(b"id: %d\ndata: x\n\n\r\n" % number))
        for request in self.requests:
            request.finish()
        response = pair.response()
        self.assertEqual(response.header("Content-Type"), "text/event-stream")
        self.assertEqual(len(response.chunks), 4)
        pair.begin("GET", "/events")
        self.assertEqual(len(self.requests), 4)

    def test_reader_goes_away(self) -> None:
        pair = self.begin()
        for request, talk in zip(self.requests, pair.talks, strict=True):
            gone = request.notifyFinish()
            talk.disconnect()
            self.failureResultOf(gone, ConnectionDone)
            request.write(b"data: unread\n\n")
            self.assertNotIn(b"unread", talk.receive())

    def test_pipelined_request_waits(self) -> None:
        pair = self.begin()
        pair.begin("GET", "/events")
        self.assertEqual(len(self.requests), 2)
        for request in self.requests[:2]:
            request.finish()
        self.assertEqual(len(self.requests), 4)
