"""Rights over HTTP, under Twisted's Site and under ours: who may do what.

What is asked and answered in the plain case is held against the real etcd in `test_reference`.
"""

from __future__ import annotations

import json
from typing import Any

from tests.auth_harness import Headers, UsersTestCase, basic, our_site, twisted_site
from tests.http_harness import Response
from txetcd.auth_commands import (
    CreateRole,
    CreateUser,
    DeleteUser,
    DisableAuth,
)
from txetcd.passwords import hash_password
from txetcd.resources.api import API


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


class TwistedSiteRightsTests(_RightsTests, UsersTestCase):
    make_site = staticmethod(twisted_site)


class SiteRightsTests(_RightsTests, UsersTestCase):
    make_site = staticmethod(our_site)


class TwistedSiteEndpointTests(_EndpointTests, UsersTestCase):
    make_site = staticmethod(twisted_site)


class SiteEndpointTests(_EndpointTests, UsersTestCase):
    make_site = staticmethod(our_site)
