"""The resources over HTTP, under Twisted's Site and under ours: watches, long listings, companions, CORS.

Plain requests and their answers are held against the real etcd's in `test_reference`.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site as TwistedSite

from tests.http_harness import Conversation, Response, conversation
from txetcd.journal.memory import MemoryJournal
from txetcd.resources.api import API
from txetcd.resources.keys import KeysResource
from txetcd.resources.late import STREAM_BACKLOG
from txetcd.site import Site
from txetcd.store import Store

ORIGINS = ("https://a.example", "https://b.example:8443")
FORM = [("Content-Type", "application/x-www-form-urlencoded")]


class ServerTestCase(SynchronousTestCase):
    """A store in memory behind a site; the subclasses say which."""

    cors: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = Store(MemoryJournal(), self.clock, now=lambda: round(self.clock.seconds() * 1e9))
        self.store.startService()
        self.api = API(
            self.store,
            name="machine0",
            client_urls=("https://127.0.0.1:4001",),
            cors=self.cors,
            max_body=1000,
        )

    def make_site(self, root: Any) -> Any:
        raise NotImplementedError

    def connect(self, root: Any = None) -> Conversation:
        return conversation(self.make_site(root or self.api), self.clock)

    def ask(self, method: str, target: str, body: str | None = None, headers: Any = ()) -> Response:
        """One request on a connection of its own, answered once the store has been."""
        talk = self.connect()
        talk.begin(
            method,
            target,
            [*headers, *(FORM if body is not None else [])],
            None if body is None else body.encode(),
        )
        self.clock.advance(0)
        response = talk.response()
        assert response is not None, talk.transport.received
        talk.disconnect()
        return response

    def put(self, key: str, value: str = "") -> None:
        """Write from another client."""
        self.assertIn(self.ask("PUT", f"/v2/keys{key}", f"value={value}").status, (200, 201))

    def watch(self, target: str) -> Conversation:
        """Begin a watch; its headers must be there at once."""
        talk = self.connect()
        talk.begin("GET", f"/v2/keys{target}")
        self.assertIn(b"200 OK", bytes(talk.transport.received))
        self.assertNotIn(b"action", bytes(talk.transport.received))
        return talk


class WatchTests:
    """Watches; for each kind of site."""

    def test_one_event(self: Any) -> None:
        """A watch is answered with the next event, and X-Etcd-Index is that of its beginning."""
        self.put("/a", "1")
        talk = self.watch("/a?wait=true")
        self.assertIsNone(talk.response())
        self.put("/b")
        self.assertIsNone(talk.response())
        self.put("/a", "2")
        response = talk.response()
        self.assertEqual(json.loads(response.body)["node"]["value"], "2")
        self.assertTrue(response.body.endswith(b"}\n"))
        self.assertEqual(response.header("X-Etcd-Index"), "2")
        self.assertEqual(self.store.watching, 0)

    def test_connection_goes_on(self: Any) -> None:
        """After a watch the connection serves the next request."""
        talk = self.watch("/a?wait=true")
        self.put("/a")
        self.assertEqual(talk.response().status, 200)
        self.assertEqual(talk.request("GET", "/v2/keys/a").status, 200)

    def test_past(self: Any) -> None:
        """An event of the past answers at once."""
        self.put("/a", "1")
        self.put("/a", "2")
        response = self.ask("GET", "/v2/keys/a?wait=true&waitIndex=2")
        self.assertEqual(json.loads(response.body)["node"]["value"], "1")
        self.assertEqual(response.header("X-Etcd-Index"), "3")

    def test_too_old(self: Any) -> None:
        """An index that is no longer known is refused with 400 and code 401, streams too."""
        for number in range(1001):
            self.store.set("/a", str(number))
        self.clock.pump([0] * 5)
        for stream in ("", "&stream=true"):
            response = self.ask("GET", f"/v2/keys/a?wait=true&waitIndex=2{stream}")
            self.assertEqual(response.status, 400)
            self.assertEqual(
                json.loads(response.body),
                {
                    "errorCode": 401,
                    "message": "The event in requested index is outdated and cleared",
                    "cause": "the requested history has been cleared [3/2]",
                    "index": 1002,
                },
            )
            self.assertIsNone(response.header("X-Raft-Index"))
        self.assertEqual(self.store.watching, 0)

    def test_client_goes(self: Any) -> None:
        """A watch is forgotten as soon as its client has gone."""
        for target in ("/a?wait=true", "/a?wait=true&stream=true"):
            talk = self.watch(target)
            self.assertEqual(self.store.watching, 1)
            talk.disconnect()
            self.assertEqual(self.store.watching, 0)
            self.put("/a")

    def test_client_goes_before_write(self: Any) -> None:
        """A write whose client went away is done all the same, and nobody stumbles over the answer."""
        talk = self.connect()
        talk.begin("PUT", "/v2/keys/a", FORM, b"value=1")
        talk.disconnect()
        self.clock.advance(0)
        self.assertEqual(self.ask("GET", "/v2/keys/a").status, 200)

    def test_stream(self: Any) -> None:
        """A stream sends every event as a line of its own, past ones first."""
        self.put("/d/a", "1")
        talk = self.connect()
        talk.begin("GET", "/v2/keys/d?wait=true&stream=true&recursive=true&waitIndex=2")
        self.put("/d/b", "2")
        self.put("/e", "0")
        self.put("/d/_hidden", "0")
        self.put("/d/a", "3")
        self.successResultOf(self.stop())
        response = talk.response()
        values = [json.loads(line)["node"]["value"] for line in response.body.splitlines()]
        self.assertEqual(values, ["1", "2", "3"])
        self.assertEqual(len(response.chunks), 3)

    def stop(self: Any) -> Any:
        stopping = self.store.stopService()
        self.clock.advance(0)
        return stopping

    def test_store_stops(self: Any) -> None:
        """When the store stops, waiting answers end, a poll's with an empty body."""
        poll, stream = self.watch("/a?wait=true"), self.watch("/a?wait=true&stream=true")
        self.successResultOf(self.stop())
        self.assertEqual(poll.response().body, b"")
        self.assertEqual(stream.response().body, b"")

    def test_slow_reader(self: Any) -> None:
        """A stream waits for a slow reader, and is cut off rather than left deaf when too much piles up."""
        talk = self.watch("/a?wait=true&stream=true")
        talk.transport.client_reads = False
        value = "x" * 900
        behind = 0
        while not talk.closed:
            self.store.set("/a", value)
            self.clock.advance(0)
            behind += 1
            self.assertLess(behind * 1000, 4 * STREAM_BACKLOG)
        self.assertGreater(behind * 900, STREAM_BACKLOG / 3)
        self.assertEqual(self.store.watching, 0)

    def test_slow_reader_catches_up(self: Any) -> None:
        """What waited for a slow reader reaches it in order."""
        talk = self.watch("/a?wait=true&stream=true")
        talk.transport.client_reads = False
        for number in range(300):
            self.store.set("/a", f"{number:01000}")
            self.clock.advance(0)
        self.assertLess(len(talk.transport.unsent), 200_000)
        talk.transport.client_reads = True
        for _ in range(10):
            talk.transport.read()
        self.successResultOf(self.stop())
        lines = talk.response().body.splitlines()
        self.assertEqual([int(json.loads(line)["node"]["value"]) for line in lines], list(range(300)))

    def test_long_listing(self: Any) -> None:
        """A long listing comes in pieces, made as the client takes them."""
        for number in range(400):
            self.store.set(f"/d/{number:04}", "x" * 900)
        self.clock.pump([0] * 5)
        talk = self.connect()
        talk.transport.client_reads = False
        talk.begin("GET", "/v2/keys/d")
        self.assertLess(len(talk.transport.unsent), 300_000)
        # The pieces are of the moment at which the listing was asked for.
        self.store.delete("/d", recursive=True)
        self.clock.advance(0)
        talk.transport.client_reads = True
        for _ in range(20):
            talk.transport.read()
            self.clock.advance(1)
        body = talk.response().body
        nodes = json.loads(body)["node"]["nodes"]
        self.assertEqual([node["key"] for node in nodes], [f"/d/{number:04}" for number in range(400)])
        self.assertTrue(body.endswith(b"}\n"))

    def test_quorum(self: Any) -> None:
        """A quorum read answers as a plain one does when nobody else writes."""
        self.put("/a", "1")
        response = self.ask("GET", "/v2/keys/a?quorum=true")
        self.assertEqual(json.loads(response.body)["node"]["value"], "1")
        self.assertEqual(self.ask("GET", "/v2/keys/b?quorum=true").status, 404)

    def test_body_too_large(self: Any) -> None:
        """A body over the limit is refused with the v2 error; nothing is written."""
        response = self.ask("PUT", "/v2/keys/a", "value=" + "x" * 1000)
        self.assertEqual(response.status, 400)
        self.assertEqual(json.loads(response.body)["errorCode"], 210)
        self.assertEqual(self.ask("GET", "/v2/keys/a").status, 404)

    def test_stopped(self: Any) -> None:
        """Without a running store, everything is refused with code 300, and /health tells."""
        self.assertEqual(self.ask("GET", "/health").body, b'{"health":"true"}')
        self.successResultOf(self.stop())
        for method, target, body in (
            ("GET", "/a", None),
            ("GET", "/a?quorum=true", None),
            ("GET", "/a?wait=true", None),
            ("GET", "/a?wait=true&stream=true", None),
            ("PUT", "/a", "value=1"),
        ):
            response = self.ask(method, f"/v2/keys{target}", body)
            self.assertEqual((response.status, json.loads(response.body)["errorCode"]), (500, 300), target)
        health = self.ask("GET", "/health")
        self.assertEqual((health.status, health.body), (503, b'{"health":"false"}'))


class CompanionTests:
    """What is beside the keys; for each kind of site."""

    def test_members(self: Any) -> None:
        """The members list tells name and client URLs, and the cluster's id goes with it."""
        response = self.ask("GET", "/v2/members")
        (member,) = json.loads(response.body)["members"]
        self.assertEqual(member["name"], "machine0")
        self.assertEqual(member["clientURLs"], ["https://127.0.0.1:4001"])
        self.assertEqual(response.header("X-Etcd-Cluster-Id"), f"{self.store.cluster_id:x}")
        self.assertEqual(self.ask("GET", "/v2/members/").body, response.body)
        leader = json.loads(self.ask("GET", "/v2/members/leader").body)
        self.assertEqual(leader, member)
        self.assertEqual(json.loads(self.ask("GET", "/v2/stats/leader").body)["leader"], member["id"])
        myself = json.loads(self.ask("GET", "/v2/stats/self").body)
        self.assertEqual((myself["id"], myself["leaderInfo"]["leader"]), (member["id"], member["id"]))

    def test_members_stay(self: Any) -> None:
        """Members cannot be changed."""
        for method, target in (
            ("POST", "/v2/members"),
            ("PUT", "/v2/members/x"),
            ("DELETE", "/v2/members/x"),
        ):
            response = self.ask(method, target, "{}")
            self.assertIn(response.status, (403, 404))
            self.assertIn("message", json.loads(response.body))
        self.assertEqual(self.ask("HEAD", "/v2/members").status, 405)

    def test_addresses(self: Any) -> None:
        """Old clients find the server by /v2/machines and /v2/leader."""
        for path in ("/v2/machines", "/v2/leader"):
            response = self.ask("GET", path)
            self.assertEqual(response.body, b"https://127.0.0.1:4001")
            self.assertEqual(response.header("Content-Type"), "text/plain; charset=utf-8")

    def test_stats(self: Any) -> None:
        """The store's counters count."""
        self.put("/a", "1")
        self.ask("GET", "/v2/keys/a")
        self.ask("GET", "/v2/keys/nope")
        self.ask("DELETE", "/v2/keys/nope")
        self.watch("/a?wait=true")
        figures = json.loads(self.ask("GET", "/v2/stats/store").body)
        found = {name: count for name, count in figures.items() if count}
        self.assertEqual(
            found, {"getsSuccess": 1, "getsFail": 1, "setsSuccess": 1, "deleteFail": 1, "watchers": 1}
        )

    def test_elsewhere(self: Any) -> None:
        """What is not of the API is a plain 404; OPTIONS is answered whatever the path."""
        for path in ("/", "/v2", "/v2/", "/v2/stats", "/v2/machines/", "/health/", "/V2/keys", "/x/v2/keys"):
            response = self.ask("GET", path)
            self.assertEqual((response.status, response.body), (404, b"404 page not found\n"), path)
            self.assertEqual(self.ask("OPTIONS", path).status, 200)
        self.assertEqual(self.ask("GET", "/version").header("Content-Type"), "application/json")

    def test_no_cors(self: Any) -> None:
        """Nothing is allowed to other origins unless asked for."""
        response = self.ask("GET", "/version", headers=[("Origin", "https://a.example")])
        self.assertIsNone(response.header("Access-Control-Allow-Origin"))

    def test_mounted_elsewhere(self: Any) -> None:
        """The keys can be mounted anywhere, also where the path needs escapes."""
        root = Resource()
        root.putChild(b"my store", KeysResource(self.store))
        self.put("/a", "1")
        response = self.connect(root).request("GET", "/my%20store/a")
        self.assertEqual(json.loads(response.body)["node"]["key"], "/a")
        self.assertEqual(self.connect(root).request("GET", "/my%20store").status, 200)


class CORSTests:
    """CORS; for each kind of site."""

    def test_allowed(self: Any) -> None:
        """A page of an allowed origin may read answers and their headers."""
        origin = [("Origin", "https://b.example:8443")]
        for response in (
            self.ask("GET", "/v2/keys/nope", headers=origin),
            self.ask("OPTIONS", "/v2/keys/a", headers=origin),
        ):
            self.assertEqual(response.header("Access-Control-Allow-Origin"), "https://b.example:8443")
            self.assertIn("X-Etcd-Index", response.header("Access-Control-Expose-Headers"))
            self.assertEqual(response.header("Vary"), "Origin")

    def test_other(self: Any) -> None:
        """A page of another origin may not."""
        response = self.ask("GET", "/v2/keys/nope", headers=[("Origin", "https://c.example")])
        self.assertIsNone(response.header("Access-Control-Allow-Origin"))


class UnderTwistedsSite:
    """Served by twisted.web itself."""

    def make_site(self: Any, root: Any) -> Any:
        return TwistedSite(root, reactor=self.clock)


class UnderOurSite:
    """Served by `txetcd.site`."""

    def make_site(self: Any, root: Any) -> Any:
        return Site(root, self.clock)


class WatchesUnderTwistedsSite(WatchTests, UnderTwistedsSite, ServerTestCase):
    """Watches, served by twisted.web."""


class WatchesUnderOurSite(WatchTests, UnderOurSite, ServerTestCase):
    """Watches, served by our site."""


class CompanionsUnderTwistedsSite(CompanionTests, UnderTwistedsSite, ServerTestCase):
    """Companions, served by twisted.web."""


class CompanionsUnderOurSite(CompanionTests, UnderOurSite, ServerTestCase):
    """Companions, served by our site."""


class CORSUnderTwistedsSite(CORSTests, UnderTwistedsSite, ServerTestCase):
    """CORS, served by twisted.web."""

    cors = ORIGINS


class CORSUnderOurSite(CORSTests, UnderOurSite, ServerTestCase):
    """CORS, served by our site."""

    cors = ORIGINS
