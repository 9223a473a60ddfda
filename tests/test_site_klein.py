"""klein applications under `txetcd.site.Site` as under `twisted.web.server.Site`."""

from __future__ import annotations

from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.static import Data
from twisted.web.template import Element, TagLoader, renderer, tags
from werkzeug.exceptions import Forbidden

from tests.site_cases import FORM, NO_BODY, Pair


class Greeting(Element):
    """A page."""

    loader = TagLoader(tags.p(render="greeting"))

    @renderer
    def greeting(self, request: Any, tag: Any) -> Any:
        return tag("hello & welcome")


class Application:
    """Routes of every kind; `waiting` are the answers to /later."""

    app = Klein()

    def __init__(self, waiting: list[Deferred[Any]]) -> None:
        self.waiting = waiting

    @app.route("/")
    def index(self, request: Any) -> str:
        return "index \N{SNOWMAN}"

    @app.route("/item/<int:number>", methods=["GET", "PUT"])
    def item(self, request: Any, number: int) -> str:
        request.setHeader("Content-Type", "application/json")
        return f'[{number}, "{request.method.decode()}", {len(request.content.read())}]'

    @app.route("/item/<int:number>", methods=["DELETE"])
    def delete(self, request: Any, number: int) -> None:
        request.setResponseCode(204)

    @app.route("/form", methods=["POST"])
    def form(self, request: Any) -> bytes:
        return repr(sorted(request.args.items())).encode()

    @app.route("/deferred")
    def deferred(self, request: Any) -> Deferred[bytes]:
        return succeed(b"fired")

    @app.route("/later")
    def later(self, request: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.waiting.append(answer)
        return answer

    @app.route("/coroutine")
    async def coroutine(self, request: Any) -> bytes:
        return b"awaited " + await succeed(b"it")

    @app.route("/page")
    def page(self, request: Any) -> Element:
        return Greeting()

    @app.route("/streamed")
    def streamed(self, request: Any) -> bytes:
        request.write(b"first ")
        return b"last"

    @app.route("/branch/", branch=True)
    def branch(self, request: Any) -> Resource:
        root = Resource()
        root.putChild(b"data", Data(b"below", "text/plain"))
        return root

    @app.route("/redirect")
    def redirect(self, request: Any) -> None:
        request.redirect(b"/")

    @app.route("/error")
    def error(self, request: Any) -> None:
        raise ZeroDivisionError

    @app.route("/late-error")
    def late_error(self, request: Any) -> Deferred[None]:
        return fail(ZeroDivisionError())

    @app.route("/forbidden")
    def forbidden(self, request: Any) -> None:
        raise Forbidden("not yours")

    @app.route("/handled")
    def handled(self, request: Any) -> None:
        raise KeyError("key")

    @app.handle_errors(KeyError)
    def no_such_key(self, request: Any, failure: Any) -> str:
        request.setResponseCode(410)
        return f"no such {failure.value.args[0]}"

    with app.subroute("/sub") as app:

        @app.route("/x")
        def below(self, request: Any) -> bytes:
            return repr((request.prepath, request.postpath)).encode()


class KleinTests(SynchronousTestCase):
    """An application as the root, and below other resources."""

    def setUp(self) -> None:
        self.waiting: list[Deferred[Any]] = []

    def make(self) -> Resource:
        resource: Resource = Application(self.waiting).app.resource()
        return resource

    def pair(self) -> Pair:
        return Pair(self, self.make)

    def test_routes(self) -> None:
        talk = self.pair()
        for target, body in (
            ("/", b"index \xe2\x98\x83"),
            ("/item/12?q=1", b'[12, "GET", 0]'),
            ("/deferred", b"fired"),
            ("/coroutine", b"awaited it"),
            ("/page", b"<!DOCTYPE html>\n<p>hello &amp; welcome</p>"),
            ("/streamed", b"first last"),
            ("/branch/data", b"below"),
            ("/sub/x", b"([b'sub', b'x'], [])"),
        ):
            response = talk.request("GET", target)
            self.assertEqual((response.status, response.body), (200, body), target)

    def test_methods(self) -> None:
        talk = self.pair()
        self.assertEqual(talk.request("PUT", "/item/1", (), b"x" * 9).body, b'[1, "PUT", 9]')
        self.assertEqual(talk.request("DELETE", "/item/1").status, 204)
        self.assertEqual(
            talk.request("POST", "/form", FORM, b"a=1&b=2").body, b"[(b'a', [b'1']), (b'b', [b'2'])]"
        )
        self.assertEqual(talk.request("HEAD", "/item/1").body, b"")
        self.assertEqual(talk.request("PATCH", "/item/1").status, 405)

    def test_no_route(self) -> None:
        talk = self.pair()
        for target in "/nothing", "/item/x", "/branch/nothing", "/%FF", "/item/1/":
            self.assertIn(talk.request("GET", target).status, (400, 404), target)
        self.flushLoggedErrors(UnicodeDecodeError)

    def test_redirects(self) -> None:
        talk = self.pair()
        self.assertEqual(talk.request("GET", "/redirect", apart=NO_BODY).header("Location"), "/")
        self.assertEqual(talk.request("GET", "/branch").status, 308)

    def test_errors(self) -> None:
        talk = self.pair()
        self.assertEqual(talk.request("GET", "/forbidden").status, 403)
        response = talk.request("GET", "/handled")
        self.assertEqual((response.status, response.body), (410, b"no such key"))

    def test_unhandled_errors(self) -> None:
        for target in "/error", "/late-error":
            for talk in self.pair().talks:
                response = talk.request("GET", target)
                self.assertEqual(response.status, 500)
                self.assertNotIn(b"ZeroDivision", response.body)
                self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_late_answer(self) -> None:
        talk = self.pair()
        talk.begin("GET", "/later")
        self.assertEqual([one.receive() for one in talk.talks], [b"", b""])
        for waiting in self.waiting:
            waiting.callback("now")
        self.assertEqual(talk.response().body, b"now")
        self.assertEqual(talk.request("GET", "/").status, 200)

    def test_client_goes_away(self) -> None:
        talk = self.pair()
        talk.begin("GET", "/later")
        for one, waiting in zip(talk.talks, self.waiting, strict=True):
            one.disconnect(ConnectionDone())
            # klein cancels what nobody waits for any more.
            self.assertTrue(waiting.called)

    def test_below_another_resource(self) -> None:
        def make() -> Resource:
            root = Resource()
            root.putChild(b"app", self.make())
            return root

        talk = Pair(self, make)
        self.assertEqual(talk.request("GET", "/app/item/7").body, b'[7, "GET", 0]')
        self.assertEqual(talk.request("GET", "/app/branch/data").body, b"below")
        self.assertEqual(talk.request("GET", "/app/sub/x").body, b"([b'app', b'sub', b'x'], [])")
