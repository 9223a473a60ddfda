"""The members of a key space over HTTP: one server or several, who leads, and whether writes are taken."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.http_harness import Response, conversation
from txetcd.journal.memory import MemoryJournal
from txetcd.member import Member
from txetcd.observing.metrics import Sources, exposition
from txetcd.observing.requests import RequestCounts
from txetcd.resources.api import API
from txetcd.site import Site
from txetcd.store import Store

ONE = Member("one", ("http://one:1", "http://one:2"))
TWO = Member("two", ("http://two:1",))


class MembersCase(SynchronousTestCase):
    """A server, "two", whose key space the servers in `listed` serve."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.journal = MemoryJournal()
        self.store = Store(self.journal, self.clock)
        self.store.startService()
        self.listed: list[Member] = []
        api = API(self.store, name=TWO.name, client_urls=TWO.client_urls, members=lambda: self.listed)
        self.site = Site(api, self.clock)

    def ask(self, path: str) -> Response:
        response = conversation(self.site, self.clock).request("GET", path)
        assert response is not None
        return response

    def json(self, path: str) -> Any:
        return json.loads(self.ask(path).body)

    def members(self) -> list[tuple[str, list[str]]]:
        """The names and URLs in the list."""
        return [(each["name"], each["clientURLs"]) for each in self.json("/v2/members")["members"]]

    def ids(self) -> list[str]:
        return [each["id"] for each in self.json("/v2/members")["members"]]


class MembersTests(MembersCase):
    def test_alone(self) -> None:
        """A server is among the members even while it is not listed."""
        self.assertEqual(self.members(), [("two", ["http://two:1"])])
        self.assertEqual(self.json("/v2/stats/self")["state"], "StateLeader")
        self.assertEqual(self.json("/v2/stats/leader"), {"leader": self.ids()[0], "followers": {}})

    def test_several(self) -> None:
        self.listed = [ONE, TWO]
        self.assertEqual(
            self.members(), [("one", ["http://one:1", "http://one:2"]), ("two", ["http://two:1"])]
        )
        self.assertEqual(self.ask("/v2/machines").body, b"http://one:1, http://one:2, http://two:1")

    def test_not_listed(self) -> None:
        """One that the others do not know comes after them."""
        self.listed = [ONE]
        self.assertEqual([name for name, _ in self.members()], ["one", "two"])

    def test_leader(self) -> None:
        """It is the first, for everybody."""
        self.listed = [ONE, TWO]
        leader, follower = self.ids()
        response = self.ask("/v2/members/leader")
        self.assertEqual(json.loads(response.body), self.json("/v2/members")["members"][0])
        self.assertEqual(response.header("X-Etcd-Cluster-Id"), f"{self.store.cluster_id:x}")
        self.assertEqual(self.ask("/v2/leader").body, b"http://one:1")
        stats = self.json("/v2/stats/leader")
        self.assertEqual((stats["leader"], list(stats["followers"])), (leader, [follower]))
        self.assertEqual(stats["followers"][follower]["counts"], {"fail": 0, "success": 0})
        myself = self.json("/v2/stats/self")
        self.assertEqual((myself["id"], myself["state"]), (follower, "StateFollower"))
        self.assertEqual(myself["leaderInfo"]["leader"], leader)

    def test_ids_last(self) -> None:
        """They depend on name and cluster alone."""
        self.listed = [ONE, TWO]
        one, two = self.ids()
        self.listed = [TWO, Member("one", ("http://elsewhere:1",))]
        self.assertEqual(self.ids(), [two, one])

    def test_namesakes(self) -> None:
        """Those that have one name are told apart, this one from the others too."""
        self.listed = [Member("two", ("http://other:1",)), TWO]
        first, second = self.ids()
        self.assertNotEqual(first, second)
        self.assertEqual(self.json("/v2/stats/self")["id"], second)

    def test_shared_urls(self) -> None:
        """What several have in common, such as a balancer before them, is listed once."""
        self.listed = [Member("one", TWO.client_urls), TWO]
        self.assertEqual(self.ask("/v2/machines").body, b"http://two:1")


class HealthTests(MembersCase):
    def test_trouble(self) -> None:
        """While the journal knows that it can write nothing, so do those who ask."""
        self.journal.trouble = "the engine is gone"
        self.assertEqual(self.store.trouble, "the engine is gone")
        response = self.ask("/health")
        self.assertEqual((response.status, response.body), (503, b'{"health":"false"}'))
        self.assertEqual(self.ask("/v2/keys/").status, 200)
        self.assertIn("\ntxetcd_accepting_writes 0.0\n", self.figures())
        self.journal.trouble = ""
        self.assertEqual(self.ask("/health").status, 200)
        self.assertIn("\ntxetcd_accepting_writes 1.0\n", self.figures())

    def figures(self) -> str:
        """What /metrics says."""
        return exposition(Sources("0", "two", "memory", RequestCounts(), lambda: 0, self.store, None, {}))()
