"""Users and rights over HTTP, under Twisted's Site and under ours: who is asking, and what they may.

What is asked and answered in the plain case is held against the real etcd in `test_reference`.
"""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime, ISSLTransport
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import IResource
from twisted.web.server import Site as TwistedSite
from zope.interface import directlyProvides

from tests.certificates import CLIENT, Credentials
from tests.http_harness import Conversation, Response, conversation
from tests.tls_harness import MemoryClient, TLSCase
from txetcd import passwords
from txetcd.auth_commands import (
    AuthCommand,
    CreateRole,
    CreateUser,
    DeleteUser,
    DisableAuth,
    EnableAuth,
    UpdateRole,
    UpdateUser,
)
from txetcd.journal.memory import MemoryJournal
from txetcd.passwords import hash_password, verify_password
from txetcd.peer import client_name
from txetcd.resources import guard as guard_module
from txetcd.resources.api import API
from txetcd.resources.guard import Guard, Run
from txetcd.resources.keys import KeysResource
from txetcd.site import Site
from txetcd.store import Store
from txetcd.tls import client_auth_options, server_options

Headers = list[tuple[str, str]]


def basic(name: str, password: str) -> Headers:
    """The header of a user that shows a password."""
    return [("Authorization", "Basic " + b64encode(f"{name}:{password}".encode()).decode())]


def twisted_site(root: IResource, clock: Clock) -> Factory:
    return cast(Factory, TwistedSite(root, reactor=clock))


def our_site(root: IResource, clock: Clock) -> Factory:
    return Site(root, clock)


class Held:
    """Runs what takes long when the test says so.

    @ivar asked: how often it was asked to.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._waiting: list[Callable[[], None]] = []

    def __call__(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        self.asked += 1
        done: Deferred[Any] = Deferred()
        self._waiting.append(lambda: done.callback(function(*arguments)))
        return done

    def run(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()


class UsersTestCase(SynchronousTestCase):
    """A store with users: alice may do everything below /app, guests may read below /open."""

    make_site: Callable[[IResource, Clock], Factory]

    def setUp(self) -> None:
        self.patch(passwords, "LOG_N", 4)
        self.clock = Clock()
        self.store = Store(MemoryJournal(), self.clock, now=lambda: round(self.clock.seconds() * 1e9))
        self.store.startService()
        self.addCleanup(self.store.stopService)
        self.held = Held()
        self.guard = Guard(self.store, cast(Run, self.held))
        self.change(
            CreateUser("root", hash_password(b"pw"), None),
            CreateUser("alice", hash_password(b"a"), ("app",)),
            CreateRole("app", ("/app/*",), ("/app/*",)),
            CreateRole("guest", ("/open/*",), None),
            EnableAuth(),
        )

    def change(self, *commands: AuthCommand) -> None:
        """Make changes, as another client would."""
        for command in commands:
            changed = self.store.change_auth(command)
            self.clock.advance(0)
            self.successResultOf(changed)

    def connect(self, root: IResource | None = None) -> Conversation:
        """A connection to keys whose guard is held."""
        root = root or KeysResource(self.store, guard=self.guard)
        return conversation(type(self).make_site(root, self.clock), self.clock)

    def status(self, target: str, headers: Headers | None = None, method: str = "GET") -> int:
        """The status of an answer that comes once what takes long has run."""
        talk = self.connect()
        talk.begin(method, target, headers or [])
        self.held.run()
        self.clock.advance(0)
        response = talk.response()
        assert response is not None
        talk.disconnect()
        return response.status


class _PasswordTests:
    """How a password is checked, and when."""

    def test_allowed(self: Any) -> None:
        self.assertEqual(self.status("/app/x", basic("alice", "a")), 404)
        self.assertEqual(self.status("/app/x?value=1", basic("alice", "a"), "PUT"), 201)
        self.assertEqual(self.status("/other", basic("alice", "a")), 401)
        self.assertEqual(self.status("/open/x"), 404)
        self.assertEqual(self.status("/app/x"), 401)

    def test_nothing_happens_before(self: Any) -> None:
        """Not before the password was found to be right is anything done."""
        talk = self.connect()
        talk.begin("PUT", "/app/x?value=1", basic("alice", "a"))
        self.clock.advance(1)
        self.assertIsNone(talk.so_far())
        self.assertIsNone(self.store.tree.find("/app/x"))
        self.held.run()
        self.clock.advance(0)
        self.assertEqual(talk.response().status, 201)

    def test_remembered(self: Any) -> None:
        """The next time costs nothing, on any connection."""
        for _ in range(3):
            self.assertEqual(self.status("/app/x", basic("alice", "a")), 404)
        self.assertEqual(self.held.asked, 1)

    def test_wrong_is_not_remembered(self: Any) -> None:
        for _ in range(2):
            self.assertEqual(self.status("/app/x", basic("alice", "b")), 401)
        self.assertEqual(self.held.asked, 2)

    def test_together(self: Any) -> None:
        """Those who came with the same before the first was found right are right too, without more ado."""
        talks = [self.connect() for _ in range(3)]
        for talk in talks:
            talk.begin("GET", "/app/x", basic("alice", "a"))
        verified: list[str] = []

        def verify(password: bytes, kept: str) -> bool:
            verified.append(kept)
            return verify_password(password, kept)

        self.patch(guard_module, "verify_password", verify)
        self.held.run()
        self.assertEqual([talk.response().status for talk in talks], [404, 404, 404])
        self.assertEqual(len(verified), 1)

    def test_few_are_remembered(self: Any) -> None:
        self.patch(guard_module, "REMEMBERED", 1)
        for name, password in [("alice", "a"), ("root", "pw"), ("alice", "a"), ("alice", "a")]:
            self.assertEqual(self.status("/app/x", basic(name, password)), 404)
        self.assertEqual(self.held.asked, 3)

    def test_another_password(self: Any) -> None:
        """The one before is worth nothing from then on."""
        self.assertEqual(self.status("/app/x", basic("alice", "a")), 404)
        self.change(UpdateUser("alice", hash_password(b"b"), (), ()))
        self.assertEqual(self.status("/app/x", basic("alice", "a")), 401)
        self.assertEqual(self.status("/app/x", basic("alice", "b")), 404)

    def test_same_password_of_another(self: Any) -> None:
        self.change(CreateUser("bob", hash_password(b"b"), ("app",)))
        self.assertEqual(self.status("/app/x", basic("alice", "a")), 404)
        self.assertEqual(self.status("/app/x", basic("bob", "a")), 401)

    def test_nobody(self: Any) -> None:
        """A name that is none takes as long."""
        self.assertEqual(self.status("/open/x", basic("mallory", "a")), 401)
        self.assertEqual(self.held.asked, 1)

    def test_no_colon_no_name(self: Any) -> None:
        for text in ("alice", "", ":", ":a", "alice:", "\xff:a"):
            header = "Basic " + b64encode(text.encode("latin-1")).decode()
            self.assertEqual(self.status("/open/x", [("Authorization", header)]), 401, text)

    def test_colon_in_password(self: Any) -> None:
        self.change(UpdateUser("alice", hash_password("p:\u00e4:".encode()), (), ()))
        self.assertEqual(self.status("/app/x", basic("alice", "p:\u00e4:")), 404)
        self.assertEqual(self.status("/app/x", basic("alice", "p")), 401)

    def meanwhile(self: Any, *commands: AuthCommand) -> int:
        """The status when something changes while a password is checked."""
        talk = self.connect()
        talk.begin("GET", "/app/x", basic("alice", "a"))
        self.change(*commands)
        self.held.run()
        status: int = talk.response().status
        return status

    def test_password_changed_meanwhile(self: Any) -> None:
        self.assertEqual(self.meanwhile(UpdateUser("alice", hash_password(b"b"), (), ())), 401)

    def test_deleted_meanwhile(self: Any) -> None:
        self.assertEqual(self.meanwhile(DeleteUser("alice")), 401)

    def test_rights_revoked_meanwhile(self: Any) -> None:
        self.assertEqual(self.meanwhile(UpdateRole("app", (), (), ("/app/*",), ())), 401)

    def test_disabled_meanwhile(self: Any) -> None:
        self.assertEqual(self.meanwhile(DisableAuth()), 404)

    def test_gone_meanwhile(self: Any) -> None:
        """Nothing is done for a client that has gone."""
        talk = self.connect()
        talk.begin("PUT", "/app/x?value=1", basic("alice", "a"))
        talk.disconnect()
        self.held.run()
        self.clock.advance(0)
        self.assertIsNone(self.store.tree.find("/app/x"))


class _RightsTests:
    """What rights mean for requests."""

    def test_detours(self: Any) -> None:
        """No way of writing a path gets round the rights to its key."""
        for target in (
            "/open/../app/x",
            "/open/%2e%2e/app/x",
            "/open/..%2Fapp/x",
            "//app/x",
            "/open/./../app/x",
            "/app//x",
            "/app%2Fx",
        ):
            self.assertEqual(self.status(target), 401, target)
        self.assertEqual(self.status("/app/../open/x"), 404)

    def test_form_and_query(self: Any) -> None:
        """`recursive` counts wherever it stands."""
        self.change(CreateRole("one", ("/one",), ("/one",)), CreateUser("u", hash_password(b"u"), ("one",)))
        user = basic("u", "u")
        self.assertEqual(self.status("/one", user), 404)
        self.assertEqual(self.status("/one?recursive=true", user), 401)
        self.assertEqual(self.status("/one?recursive=true", user, "DELETE"), 401)
        self.assertEqual(self.status("/one?recursive=true", [*user, ("Accept", "text/event-stream")]), 401)
        self.assertEqual(self.status("/one", user, "DELETE"), 404)

    def test_a_watch_goes_on(self: Any) -> None:
        """With the rights that it began with."""
        talk = self.connect()
        talk.begin("GET", "/app/x?wait=true&stream=true", basic("alice", "a"))
        self.held.run()
        self.assertIn(b"200 OK", bytes(talk.transport.received))
        self.change(DeleteUser("alice"))
        self.store.set("/app/x", "1")
        self.clock.advance(0)
        self.assertIn(b'"value":"1"', bytes(talk.transport.received))
        talk.disconnect()

    def test_refused_watch(self: Any) -> None:
        """It is not begun."""
        talk = self.connect()
        talk.begin("GET", "/app/x?wait=true")
        self.assertEqual(talk.response().status, 401)
        self.assertEqual(self.store.watching, 0)

    def test_disabled_asks_nobody(self: Any) -> None:
        """Not even a password is looked at then."""
        self.change(DisableAuth())
        self.assertEqual(self.status("/app/x", basic("alice", "wrong")), 404)
        self.assertEqual(self.held.asked, 0)


class _EndpointTests:
    """/v2/auth and the companions of the keys."""

    def ask(
        self: Any, method: str, target: str, headers: Headers | None = None, body: Any = None
    ) -> Response:
        """One request to the whole API, answered once the store has been."""
        api = API(self.store, name="machine0", client_urls=("http://127.0.0.1:4001",))
        talk = self.connect(api)
        talk.begin(method, target, headers or [], None if body is None else json.dumps(body).encode())
        self.clock.advance(0)
        response: Response = talk.response()
        talk.disconnect()
        return response

    def test_open(self: Any) -> None:
        """What anybody may see."""
        for path in (
            "/version",
            "/health",
            "/v2/machines",
            "/v2/leader",
            "/v2/members",
            "/v2/members/leader",
            "/v2/stats/self",
            "/v2/stats/store",
            "/v2/stats/leader",
            "/v2/auth/enable",
        ):
            self.assertEqual(self.ask("GET", path).status, 200, path)

    def test_members(self: Any) -> None:
        """Members are for root to change, if anybody could."""
        for method in ("POST", "PUT", "DELETE"):
            for path in ("/v2/members", "/v2/members/123"):
                self.assertEqual(self.ask(method, path).status, 401)
                self.assertEqual(self.ask(method, path, basic("alice", "a")).status, 401)
                self.assertIn(self.ask(method, path, basic("root", "pw")).status, (403, 404))

    def test_refusal(self: Any) -> None:
        response = self.ask("GET", "/v2/auth/users")
        self.assertEqual((response.status, response.header("X-Etcd-Cluster-Id")), (401, None))
        self.assertEqual(response.body, b'{"message":"Insufficient credentials"}')

    def test_change(self: Any) -> None:
        """What root changes counts at once."""
        root, bob = basic("root", "pw"), basic("bob", "b")
        body = {"user": "bob", "password": "b", "roles": ["app"]}
        self.assertEqual(self.ask("GET", "/v2/keys/app/x", bob).status, 401)
        response = self.ask("PUT", "/v2/auth/users/bob", root, body)
        self.assertEqual((response.status, response.body), (200, b'{"user":"bob","roles":["app"]}\n'))
        self.assertEqual(self.ask("GET", "/v2/keys/app/x", bob).status, 404)
        self.assertEqual(self.ask("DELETE", "/v2/auth/roles/app", root).status, 200)
        self.assertEqual(self.ask("GET", "/v2/keys/app/x", bob).status, 401)
        self.assertEqual(self.ask("DELETE", "/v2/auth/enable", root).status, 200)
        self.assertEqual(self.ask("GET", "/v2/keys/app/x").status, 404)

    def test_no_index(self: Any) -> None:
        """Changes of users take no index, and no watch is told."""
        index, raft_index = self.store.tree.index, self.store.tree.raft_index
        body = {"user": "bob", "password": "b"}
        self.assertEqual(self.ask("PUT", "/v2/auth/users/bob", basic("root", "pw"), body).status, 201)
        tree = self.store.tree
        self.assertEqual((tree.index, tree.raft_index), (index, raft_index + 1))
        counts = self.store.stats.counts
        self.assertEqual([name for name, count in counts.items() if count], [])

    def test_two_at_once(self: Any) -> None:
        """Two who make the same user at once: one is told that it is there already."""
        self.change(DisableAuth())
        api = API(self.store, name="machine0", client_urls=("http://127.0.0.1:4001",))
        talks = [self.connect(api) for _ in range(2)]
        for talk in talks:
            talk.begin("PUT", "/v2/auth/users/bob", (), b'{"user":"bob","password":"b"}')
        self.clock.advance(0)
        self.assertEqual([talk.response().status for talk in talks], [201, 409])

    def test_not_running(self: Any) -> None:
        """A store that is stopped can tell nothing of users."""
        self.store.stopService()
        for method, path in (("GET", "users"), ("PUT", "enable"), ("GET", "enable"), ("DELETE", "roles/x")):
            response = self.ask(method, f"/v2/auth/{path}", basic("root", "pw"))
            self.assertEqual((response.status, json.loads(response.body)["errorCode"]), (500, 300), path)
        self.assertEqual(self.ask("GET", "/v2/keys/app/x").status, 500)

    def test_no_challenge(self: Any) -> None:
        """As with etcd, a browser is not made to ask for a password."""
        self.assertIsNone(self.ask("GET", "/v2/keys/app/x").header("WWW-Authenticate"))


class TwistedSitePasswordTests(_PasswordTests, UsersTestCase):
    make_site = staticmethod(twisted_site)


class SitePasswordTests(_PasswordTests, UsersTestCase):
    make_site = staticmethod(our_site)


class TwistedSiteRightsTests(_RightsTests, UsersTestCase):
    make_site = staticmethod(twisted_site)


class SiteRightsTests(_RightsTests, UsersTestCase):
    make_site = staticmethod(our_site)


class TwistedSiteEndpointTests(_EndpointTests, UsersTestCase):
    make_site = staticmethod(twisted_site)


class SiteEndpointTests(_EndpointTests, UsersTestCase):
    make_site = staticmethod(our_site)


class CertificateTests(UsersTestCase, TLSCase):
    """The name in a client's certificate."""

    make_site = staticmethod(our_site)
    alice = TLSCase.ca.issue("alice", purposes=[CLIENT])
    mallory = TLSCase.ca.issue("mallory", purposes=[CLIENT])

    def setUp(self) -> None:
        TLSCase.setUp(self)
        UsersTestCase.setUp(self)

    def answers(
        self, client: Credentials, *requests: tuple[str, Headers], options: CertificateOptions | None = None
    ) -> list[int]:
        """The statuses of answers on one connection, the same under both Sites."""
        options = options or client_auth_options(self.cert_file, self.key_file, self.ca_file)
        told = []
        for make_site in (twisted_site, our_site):
            site = make_site(KeysResource(self.store), self.clock)
            connection = MemoryClient(options, self.context(client), factory=site)
            statuses = []
            for target, headers in requests:
                lines = [
                    f"GET {target} HTTP/1.1",
                    "Host: localhost",
                    *(": ".join(h) for h in headers),
                    "",
                    "",
                ]
                statuses.append(int(connection.exchange("\r\n".join(lines).encode())[9:12]))
            told.append(statuses)
            connection.server.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(told[0], told[1])
        return told[0]

    def test_user(self) -> None:
        """It is the user's, on all of the connection."""
        self.assertEqual(
            self.answers(self.alice, ("/app/x", []), ("/other", []), ("/app/y", [])), [404, 401, 404]
        )

    def test_unknown(self) -> None:
        """A name that is no user's is the guest's."""
        self.assertEqual(self.answers(self.mallory, ("/app/x", []), ("/open/x", [])), [401, 404])

    def test_password_first(self) -> None:
        """A password counts more, right or wrong."""
        self.assertEqual(
            self.answers(
                self.alice,
                ("/other", basic("root", "pw")),
                ("/app/x", basic("alice", "wrong")),
                ("/app/x", basic("mallory", "")),
                ("/app/x", [("Authorization", "Bearer x")]),
                ("/app/x", []),
            ),
            [404, 401, 401, 401, 404],
        )

    def test_root(self) -> None:
        root = self.ca.issue("root", purposes=[CLIENT])
        self.assertEqual(self.answers(root, ("/other", [])), [404])

    def test_leaf_only(self) -> None:
        """A CA called like a user makes nobody that user."""
        intermediate = self.ca.intermediate("alice")
        client = intermediate.issue("mallory", purposes=[CLIENT])
        self.assertEqual(self.answers(client, ("/app/x", [])), [401])

    def test_deleted(self) -> None:
        """A certificate that is still good is the guest's when its user has gone."""
        self.change(DeleteUser("alice"))
        self.assertEqual(self.answers(self.alice, ("/app/x", []), ("/open/x", [])), [401, 404])

    def test_not_verified(self) -> None:
        """Where clients are not asked for certificates, the name is nobody's."""
        options = server_options(self.cert_file, self.key_file)
        self.assertEqual(self.answers(self.alice, ("/app/x", []), options=options), [401])

    def test_shown_but_not_verified(self) -> None:
        """A certificate that a connection has not verified can be anybody's."""
        certificate = self.alice.certificate
        for mode, name in ((SSL.VERIFY_NONE, None), (SSL.VERIFY_PEER, "alice")):
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_verify(mode)
            connection = SimpleNamespace(
                get_context=lambda context=context: context, get_peer_certificate=lambda **_: certificate
            )
            transport = SimpleNamespace(getHandle=lambda connection=connection: connection)
            directlyProvides(transport, ISSLTransport)
            self.assertEqual(client_name(transport), name)

    def test_headers_do_not_count(self) -> None:
        headers = [("X-Client-CN", "alice"), ("X-SSL-Client-S-DN", "CN=alice"), ("Forwarded", "for=alice")]
        self.assertEqual(self.answers(self.mallory, ("/app/x", headers)), [401])


class ThreadTests(TestCase):
    """What takes long is done elsewhere."""

    async def test_in_a_thread(self) -> None:
        """With a real reactor, in its threads."""
        store = Store(MemoryJournal(), IReactorTime(reactor))
        threads: list[int] = []

        def note(*arguments: object) -> bool:
            threads.append(threading.get_ident())
            return True

        self.patch(guard_module, "verify_password", note)
        self.patch(guard_module, "hash_password", note)
        guard = Guard(store)
        await guard.hash("secret")
        await guard._check(b"a:b", "kept")
        self.assertEqual(len(threads), 2)
        self.assertNotIn(threading.get_ident(), threads)
