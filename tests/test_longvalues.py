"""Answers with long values: the same as if they were made in one piece, and what is kept is bounded."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import server

from tests.http_harness import Text, conversation
from txetcd.events import Event
from txetcd.journal.memory import MemoryJournal
from txetcd.resources import longvalues
from txetcd.resources.keys import KeysResource
from txetcd.resources.late import COPIED
from txetcd.resources.longvalues import LONG, LongValues
from txetcd.site import Site
from txetcd.store import Store
from txetcd.tree import File, node_json

NOW = 1_700_000_000_000_000_000
# All that could be taken for the place of a value.
KEY = '/d/"value":""'


def file(value: str, index: int = 2, expiration: int | None = None) -> File:
    return File(KEY, value, index, index, expiration)


class PiecesTests(SynchronousTestCase):
    """`LongValues`"""

    def test_node(self) -> None:
        for value in ("x" * 9000, '"value":""' * 1000, "\udcff<\u4f60" * 5000):
            node = file(value, expiration=NOW + 9_000_000_000)
            pieces = LongValues().node(node, NOW)
            self.assertEqual(b"".join(pieces).decode(), f'{{"action":"get","node":{node_json(node, NOW)}}}\n')

    def test_event(self) -> None:
        """Either value may be long, short, empty or missing."""
        texts = [None, "", "short", "x" * 9000, '"value":""' * 1000]
        for value in texts:
            for before in texts:
                node = None if value is None else file(value, 7)
                prev = None if before is None else file(before)
                if node is not None or prev is not None:
                    event = Event("set", 7, NOW, node, prev)
                    self.assertEqual(b"".join(LongValues().event(event)).decode(), event.to_json() + "\n")

    def test_made_once(self) -> None:
        """The value of a write is looked at once: for its answer, for reads, and for the next write's."""
        quoted: list[int] = []

        def quote(text: str) -> str:
            quoted.append(len(text))
            return f'"{text}"'

        self.patch(longvalues, "quote", quote)
        kept = LongValues()
        first, second = file("x" * 9000), file("y" * 9001, 3)
        kept.event(Event("set", 2, NOW, first, None))
        kept.node(first, NOW)
        kept.event(Event("set", 3, NOW, second, first))
        self.assertEqual(quoted, [9000, 9001])

    def test_room(self) -> None:
        kept = LongValues(room=20_010)
        nodes = [file(char * 9998) for char in "123"]
        first = kept.node(nodes[0], NOW)[1]
        kept.node(nodes[1], NOW)
        # What was wanted lately stays.
        self.assertIs(kept.node(nodes[0], NOW)[1], first)
        kept.node(nodes[2], NOW)
        self.assertEqual(kept.size, 20_000)
        self.assertIs(kept.node(nodes[0], NOW)[1], first)
        kept.node(file("z" * 30_000), NOW)
        self.assertEqual(kept.size, 0)


class AnswerTests(SynchronousTestCase):
    """Under the site of ours."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = Store(MemoryJournal(), self.clock, now=lambda: NOW)
        self.store.startService()
        self.addCleanup(self.store.stopService)
        self.site = self.make_site(KeysResource(self.store))

    def make_site(self, resource: KeysResource) -> object:
        return Site(resource, self.clock)

    def request(self, method: str, value: str | None = None) -> tuple[int, bytes]:
        """The status and the body of an answer, whose length is as it was announced."""
        talk = conversation(self.site, self.clock)
        headers: list[tuple[Text, Text]] = []
        if value is not None:
            headers = [("Content-Type", "application/x-www-form-urlencoded")]
        talk.begin(method, "/a", headers, b"" if value is None else b"value=" + value.encode())
        self.clock.advance(0)
        talk.settle()
        response = talk.response()
        assert response is not None
        if method != "HEAD":
            self.assertEqual(response.header("Content-Length"), str(len(response.body)))
        return response.status, response.body

    def happened(self, since: int) -> bytes:
        done: Deferred[Event] = self.store.watch("/a", since=since)
        return (self.successResultOf(done).to_json() + "\n").encode()

    def test_all(self) -> None:
        """Lengths that are copied into one piece, and that are not."""
        index = self.store.tree.index
        for size in (LONG, LONG + 1, COPIED, 300_000):
            value = "x" * size
            for status in (201, 200) if size == LONG else (200,):
                index += 1
                self.assertEqual(self.request("PUT", value), (status, self.happened(index)))
            node = self.store.tree.get("/a")
            expected = f'{{"action":"get","node":{node_json(node, NOW)}}}\n'.encode()
            self.assertEqual(self.request("GET"), (200, expected))
            self.assertEqual(self.request("HEAD"), (200, b""))
        self.assertEqual(self.request("DELETE"), (200, self.happened(index + 1)))


class StockAnswerTests(AnswerTests):
    """Under Twisted's site."""

    def make_site(self, resource: KeysResource) -> object:
        return server.Site(resource, reactor=self.clock)
