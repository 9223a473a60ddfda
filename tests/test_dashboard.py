"""The page as it is served: its files and their headers, who looks at it, and what other pages may not do.

How it behaves in a browser is for `test_dashboard_browser` and its companions.
"""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site as TwistedSite

from tests.auth_harness import basic
from tests.certificates import CLIENT
from tests.http_harness import Response, conversation
from tests.tls_harness import MemoryClient, TLSCase
from txetcd import passwords
from txetcd.auth_commands import AuthCommand, CreateRole, CreateUser, EnableAuth
from txetcd.dashboard.resource import STATIC, Dashboard
from txetcd.journal.memory import MemoryJournal
from txetcd.passwords import hash_password
from txetcd.resources.api import API
from txetcd.resources.guard import Guard
from txetcd.site import Site
from txetcd.store import Store
from txetcd.tls import client_auth_options

Headers = list[tuple[str, str]]

FORM = ("Content-Type", "application/x-www-form-urlencoded")
LONGEST = 300


def site_of_ours(root: Resource, clock: Clock) -> Any:
    return Site(root, clock)


def site_of_twisteds(root: Resource, clock: Clock) -> Any:
    return TwistedSite(root, reactor=clock)


SITES = (site_of_ours, site_of_twisteds)


class DashboardCase(SynchronousTestCase):
    """A store in memory, and an API with the page."""

    def setUp(self) -> None:
        self.patch(passwords, "LOG_N", 4)
        self.clock = Clock()
        self.store = Store(MemoryJournal(), self.clock)
        self.store.startService()
        self.addCleanup(self.store.stopService)
        self.api = self.make_api(dashboard=True)

    def make_api(self, **options: Any) -> API:
        return API(self.store, name="machine0", client_urls=("http://127.0.0.1:4001",), **options)

    def ask(
        self,
        method: str,
        target: str,
        headers: Headers | None = None,
        body: bytes | None = None,
        root: Resource | None = None,
    ) -> Response:
        """What both Sites answer to a request; of what changes something, what ours does."""
        answers = []
        for make_site in SITES if method in ("GET", "HEAD") else SITES[:1]:
            talk = conversation(make_site(root or self.api, self.clock), self.clock)
            talk.begin(method, target, headers or [], body)
            self.clock.advance(0)
            answer = talk.response()
            assert answer is not None
            talk.disconnect()
            answers.append(answer)
        first, last = answers[0], answers[-1]
        self.assertEqual((first.status, first.body), (last.status, last.body))
        return first

    def change(self, *commands: AuthCommand) -> None:
        for command in commands:
            changed = self.store.change_auth(command)
            self.clock.advance(0)
            self.successResultOf(changed)

    def add_users(self) -> None:
        self.change(
            CreateUser("root", hash_password(b"pw"), None),
            CreateUser("alice", hash_password(b"a"), ("app", "gone")),
            CreateRole("app", ("/app/*", "/log"), ("/app/*",)),
            CreateRole("guest", ("/open/*",), None),
            EnableAuth(),
        )


class PageTests(DashboardCase):
    def test_page(self) -> None:
        response = self.ask("GET", "/dashboard/")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.header("Content-Type"), "text/html; charset=utf-8")
        self.assertEqual(response.body, (STATIC / "index.html").read_bytes())

    def test_every_file(self) -> None:
        kinds = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
        for path in STATIC.iterdir():
            if path.suffix in kinds:
                response = self.ask("GET", f"/dashboard/{path.name}")
                self.assertEqual(response.header("Content-Type"), kinds[path.suffix])
                self.assertEqual(response.body, path.read_bytes())

    def test_headers(self) -> None:
        """Nothing but the page's own files runs, is asked or is shown, and nobody else can use them."""
        for target in ("/dashboard/", "/dashboard/main.js", "/dashboard/whoami"):
            response = self.ask("GET", target)
            policy = (response.header("Content-Security-Policy") or "").split("; ")
            for directive in (
                "default-src 'none'",
                "script-src 'self'",
                "connect-src 'self'",
                "form-action 'none'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
            ):
                self.assertIn(directive, policy)
            self.assertNotIn("unsafe", " ".join(policy))
            self.assertEqual(response.header("X-Content-Type-Options"), "nosniff")
            self.assertEqual(response.header("Referrer-Policy"), "no-referrer")
            self.assertEqual(response.header("Cross-Origin-Opener-Policy"), "same-origin")
            self.assertEqual(response.header("Cross-Origin-Resource-Policy"), "same-origin")

    def test_unchanged(self) -> None:
        """A browser that has a file already is told that it is still the same."""
        tag = self.ask("GET", "/dashboard/main.js").header("ETag")
        assert tag is not None
        response = self.ask("GET", "/dashboard/main.js", [("If-None-Match", tag)])
        self.assertEqual((response.status, response.body), (304, b""))
        self.assertEqual(self.ask("GET", "/dashboard/main.js", [("If-None-Match", '"other"')]).status, 200)

    def test_redirects(self) -> None:
        """They are relative: what stands in front of the path, a proxy's prefix for one, stays there."""
        response = self.ask("GET", "/dashboard")
        self.assertEqual((response.status, response.header("Location")), (302, "dashboard/"))
        browser = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")]
        response = self.ask("GET", "/", browser)
        self.assertEqual((response.status, response.header("Location")), (302, "dashboard/"))
        elsewhere = Resource()
        elsewhere.putChild(b"look", Dashboard(self.store, Guard(self.store)))
        response = self.ask("GET", "/look", root=elsewhere)
        self.assertEqual((response.status, response.header("Location")), (302, "look/"))

    def test_root_for_others(self) -> None:
        """Whoever does not ask for a page finds what etcd has there: nothing."""
        for headers in ([], [("Accept", "*/*")]):
            response = self.ask("GET", "/", headers)
            self.assertEqual((response.status, response.body), (404, b"404 page not found\n"))

    def test_methods(self) -> None:
        for target in ("/dashboard", "/dashboard/", "/dashboard/main.js", "/dashboard/whoami"):
            self.assertEqual(self.ask("POST", target, [FORM], b"").status, 405, target)
        response = self.ask("HEAD", "/dashboard/main.js")
        self.assertEqual((response.status, response.body), (200, b""))

    def test_nothing_else(self) -> None:
        for target in ("/dashboard/nope", "/dashboard/../main.js", "/dashboard/main.js/x", "/main.js"):
            self.assertEqual(self.ask("GET", target).status, 404, target)

    def test_api_is_as_it_was(self) -> None:
        """With the page and without it, all else is answered alike."""
        without = self.make_api()
        self.ask("PUT", "/v2/keys/a", [FORM], b"value=1")
        for target in ("/v2/keys/a", "//v2//keys/a", "/./version", "/v2", "/nope", "/", "/health", "//"):
            one, other = self.ask("GET", target), self.ask("GET", target, root=without)
            self.assertEqual((one.status, one.body), (other.status, other.body), target)

    def test_off(self) -> None:
        api = self.make_api()
        for target in ("/dashboard", "/dashboard/", "/dashboard/main.js", "/dashboard/whoami", "/"):
            self.assertEqual(self.ask("GET", target, [("Accept", "text/html")], root=api).status, 404, target)


class WhoAmITests(DashboardCase):
    def who(self, headers: Headers | None = None) -> Any:
        response = self.ask("GET", "/dashboard/whoami", headers)
        self.assertEqual(response.header("Cache-Control"), "no-store")
        return response.status, json.loads(response.body)

    def test_nobody(self) -> None:
        expected = {
            "address": "192.0.2.1",
            "certificate": None,
            "auth": False,
            "user": None,
            "read": ["/*"],
        }
        self.assertEqual(self.who(), (200, expected))

    def test_users(self) -> None:
        self.add_users()
        for headers, user, readable in (
            ([], None, ["/open/*"]),
            (basic("alice", "a"), "alice", ["/app/*", "/log"]),
            (basic("root", "pw"), "root", ["/*"]),
        ):
            status, told = self.who(headers)
            self.assertEqual(
                (status, told["auth"], told["user"], told["read"]), (200, True, user, readable), user
            )

    def test_wrong_password(self) -> None:
        self.add_users()
        for headers in (basic("alice", "b"), basic("nobody", "a"), [("Authorization", "Bearer x")]):
            self.assertEqual(self.who(headers), (401, {"message": "Insufficient credentials"}))

    def test_gone(self) -> None:
        """A browser that goes away before it is known who it is does no harm."""
        self.add_users()
        waiting: list[Deferred[Any]] = []

        def run(function: Any, *arguments: object) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        guard = Guard(self.store, run)
        root = Resource()
        root.putChild(b"dashboard", Dashboard(self.store, guard))
        talk = conversation(site_of_ours(root, self.clock), self.clock)
        talk.begin("GET", "/dashboard/whoami", basic("alice", "a"))
        talk.disconnect()
        (password,) = waiting
        password.callback(True)


class CertificateTests(TLSCase, DashboardCase):
    """Over TLS with client certificates."""

    def setUp(self) -> None:
        TLSCase.setUp(self)
        DashboardCase.setUp(self)

    def test_certificate(self) -> None:
        alice = self.ca.issue("alice", purposes=[CLIENT])
        self.add_users()
        options = client_auth_options(self.cert_file, self.key_file, self.ca_file)
        connection = MemoryClient(options, self.context(alice), factory=site_of_ours(self.api, self.clock))
        answer = connection.exchange(b"GET /dashboard/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.server.connectionLost(Failure(ConnectionDone()))
        told = json.loads(answer.partition(b"\r\n\r\n")[2])
        certificate = told["certificate"]
        self.assertEqual(
            (told["user"], certificate["subject"]), ("alice", alice.certificate.subject.rfc4514_string())
        )
        self.assertEqual(certificate["issuer"], self.ca.certificate.subject.rfc4514_string())
        self.assertEqual(certificate["expires"], alice.certificate.not_valid_after_utc.isoformat())


class OriginTests(DashboardCase):
    """What a page of another origin can have a browser send changes nothing."""

    def allowed(self, *headers: tuple[str, str], method: str = "PUT", api: API | None = None) -> bool:
        """Whether a write that carries these headers is let through."""
        response = self.ask(method, "/v2/keys/a", [FORM, *headers], b"value=1", root=api)
        if response.status != 403:
            return True
        self.assertEqual(
            (response.header("Content-Type"), json.loads(response.body)),
            ("application/json", {"message": "The page's origin is not allowed: see --cors"}),
        )
        return False

    def test_clients(self) -> None:
        """Clients that are no browsers name no origin."""
        for method in ("PUT", "POST", "DELETE"):
            self.assertTrue(self.allowed(method=method))

    def test_own_page(self) -> None:
        for origin in ("http://127.0.0.1:4001", "https://127.0.0.1:4001"):
            self.assertTrue(self.allowed(("Origin", origin)))
        self.assertTrue(self.allowed(("Origin", "http://127.0.0.1:4001"), ("Sec-Fetch-Site", "same-origin")))
        self.assertTrue(self.allowed(("Sec-Fetch-Site", "none")))

    def test_behind_a_proxy(self) -> None:
        """Where a proxy has changed the host, the browser still knows."""
        self.assertTrue(self.allowed(("Origin", "https://keys.example"), ("Sec-Fetch-Site", "same-origin")))

    def test_other_pages(self) -> None:
        for origin in (
            "https://evil.example",
            "http://127.0.0.1",
            "http://127.0.0.1:4002",
            "http://127.0.0.1:4001.evil.example",
            "http://evil.example/127.0.0.1:4001",
            "null",
            "",
        ):
            for method in ("PUT", "POST", "DELETE"):
                self.assertFalse(self.allowed(("Origin", origin), method=method), (method, origin))
        for site in ("cross-site", "same-site", "unheard-of"):
            self.assertFalse(self.allowed(("Sec-Fetch-Site", site)))
            self.assertFalse(self.allowed(("Origin", "http://127.0.0.1:4001"), ("Sec-Fetch-Site", site)))
        self.assertEqual(self.store.tree.index, 1)

    def test_users_and_members(self) -> None:
        evil = [("Origin", "https://evil.example")]
        for method, target in (
            ("PUT", "/v2/auth/enable"),
            ("PUT", "/v2/auth/users/root"),
            ("POST", "/v2/members"),
            ("DELETE", "//v2/keys/a"),
        ):
            self.assertEqual(self.ask(method, target, evil).status, 403, target)

    def test_reading(self) -> None:
        """What changes nothing is answered: a browser does not let the page see it."""
        evil = [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]
        self.assertEqual(self.ask("GET", "/v2/keys/", evil).status, 200)
        self.assertEqual(self.ask("OPTIONS", "/v2/keys/", evil).status, 200)

    def test_cors(self) -> None:
        """Pages of the origins that may use the API may write too."""
        good, evil = ("Origin", "https://good.example"), ("Origin", "https://evil.example")
        foreign = ("Sec-Fetch-Site", "cross-site")
        api = self.make_api(cors=("https://good.example",))
        self.assertTrue(self.allowed(good, api=api))
        self.assertTrue(self.allowed(good, foreign, api=api))
        self.assertFalse(self.allowed(evil, api=api))
        self.assertTrue(self.allowed(evil, foreign, api=self.make_api(cors=("*",))))


class FileTests(SynchronousTestCase):
    """The files themselves: what they must not have in them."""

    def setUp(self) -> None:
        self.texts = {path.name: path.read_text("utf-8") for path in STATIC.iterdir()}
        self.scripts = {name: text for name, text in self.texts.items() if name.endswith(".js")}

    def test_no_html_from_texts(self) -> None:
        """Nothing that the server tells can become an element, a script or a style."""
        dangerous = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\.style\b"
        for name, text in self.scripts.items():
            self.assertNotRegex(text, dangerous, name)

    def test_nothing_inline(self) -> None:
        page = self.texts["index.html"]
        self.assertNotRegex(page, r"<style|\sstyle=|\son[a-z]+=|javascript:")
        self.assertEqual(re.findall(r"<script[^>]*>([^<]*)</script>", page), [""])

    def test_no_other_hosts(self) -> None:
        for name, text in self.texts.items():
            urls = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)) - {"http://www.w3.org"}
            self.assertEqual(urls, set(), name)

    def test_modules_are_there(self) -> None:
        for name, text in self.scripts.items():
            for imported in re.findall(r'from "\./([^"]+)"', text):
                self.assertIn(imported, self.scripts, name)
        for linked in re.findall(r'(?:src|href)="([^"]+)"', self.texts["index.html"]):
            self.assertIn(linked, self.texts)

    def test_ids(self) -> None:
        page = self.texts["index.html"]
        ids = re.findall(r'\sid="([^"]+)"', page)
        self.assertEqual(len(ids), len(set(ids)))
        for name, text in self.scripts.items():
            for used in re.findall(r'byId\("([^"]+)"\)', text):
                self.assertIn(used, ids, name)

    def test_short(self) -> None:
        for name, text in self.scripts.items():
            self.assertLess(text.count("\n"), LONGEST, name)
