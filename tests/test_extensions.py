"""What goes beyond etcd's v2 API, all of it only for those who ask: under Twisted's Site and under ours."""

from __future__ import annotations

import gzip
import json
from typing import Any

from tests.test_resources import ServerTestCase, UnderOurSite, UnderTwistedsSite

EVENT_STREAM = [("Accept", "text/event-stream")]


class PagingTests:
    """Listings in part."""

    def fill(self: Any, count: int, value: str = "v") -> None:
        for number in range(count):
            self.store.set(f"/d/{number:03}", value)
        self.store.set("/d/sub/x", value)
        self.store.set("/d/_hidden", value)
        self.clock.pump([0] * 3)

    def names(self: Any, query: str) -> list[str]:
        """The children that a listing of `/d` shows."""
        node = json.loads(self.ask("GET", f"/v2/keys/d?{query}").body)["node"]
        return [child["key"] for child in node.get("nodes", [])]

    def test_limit(self: Any) -> None:
        """`limit` and `startAfter` page through the children in order; hidden ones are in no page."""
        self.fill(5)
        everything = self.names("sorted=true")
        self.assertEqual(len(everything), 6)
        self.assertEqual(self.names("limit=2"), everything[:2])
        self.assertEqual(self.names("limit=2&startAfter=001"), everything[2:4])
        self.assertEqual(self.names("limit=2&startAfter=/d/001"), everything[2:4])
        self.assertEqual(self.names("startAfter=003"), everything[4:])
        self.assertEqual(self.names("limit=9&startAfter=sub"), [])
        self.assertEqual(self.names("limit=0"), everything)

    def test_recursive(self: Any) -> None:
        """A page counts the children of the directory alone; what is below comes with them."""
        self.fill(1)
        node = json.loads(self.ask("GET", "/v2/keys/d?recursive=true&limit=1&startAfter=000").body)["node"]
        self.assertEqual([child["key"] for child in node["nodes"][0]["nodes"]], ["/d/sub/x"])

    def test_keys_only(self: Any) -> None:
        """`keysOnly` leaves the values out, everywhere."""
        self.fill(2, "secret")
        body = self.ask("GET", "/v2/keys/d?recursive=true&keysOnly=true").body
        self.assertNotIn(b"value", body)
        self.assertIn(b'{"key":"/d/000","modifiedIndex":2,"createdIndex":2}', body)
        self.assertNotIn(b"value", self.ask("GET", "/v2/keys/d/000?keysOnly=true").body)

    def test_refused(self: Any) -> None:
        """Bad arguments are refused as etcd refuses its own."""
        for query in ("limit=-1", "limit=x", "keysOnly=2", "wait=true&waitTimeout=1.5"):
            response = self.ask("GET", f"/v2/keys/d?{query}")
            name = query.rpartition("&")[2].partition("=")[0]
            self.assertEqual(
                json.loads(response.body),
                {
                    "errorCode": 209,
                    "message": "Invalid field",
                    "cause": f'invalid value for "{name}"',
                    "index": 0,
                },
            )

    def test_gzip(self: Any) -> None:
        """A listing is compressed for a client that says it reads that, in pieces or whole."""
        for count in (100, 1500):
            self.fill(count, "x" * 100)
            plain = self.ask("GET", "/v2/keys/d", headers=[("Accept-Encoding", "gzip;q=0, br")])
            self.assertIsNone(plain.header("Content-Encoding"))
            packed = self.ask("GET", "/v2/keys/d", headers=[("Accept-Encoding", "deflate, gzip")])
            self.assertEqual(packed.header("Content-Encoding"), "gzip")
            self.assertEqual(packed.header("Vary"), "Accept-Encoding")
            self.assertEqual(gzip.decompress(packed.body), plain.body)
            self.assertLess(len(packed.body), len(plain.body) / 4)

    def test_no_gzip(self: Any) -> None:
        """A single key, however long, and a short listing are not compressed."""
        self.fill(1)
        self.store.set("/long", "x" * 5000)
        self.clock.advance(0)
        for key in ("/d", "/long"):
            response = self.ask("GET", f"/v2/keys{key}", headers=[("Accept-Encoding", "gzip")])
            self.assertIsNone(response.header("Content-Encoding"))


class TimeoutTests:
    """Watches that give up."""

    def test_nothing(self: Any) -> None:
        """After `waitTimeout` seconds the answer is empty, with the index to go on from."""
        talk = self.connect()
        talk.begin("GET", "/v2/keys/a?wait=true&waitTimeout=5")
        self.put("/b")
        self.clock.advance(4.9)
        self.assertIsNone(talk.response())
        self.clock.advance(0.1)
        response = talk.response()
        self.assertEqual((response.status, response.body), (200, b""))
        self.assertEqual(response.header("X-Etcd-Index"), "2")
        self.assertEqual(self.store.watching, 0)

    def test_event(self: Any) -> None:
        """An event in time is the answer, and no timer is left."""
        talk = self.connect()
        talk.begin("GET", "/v2/keys/a?wait=true&waitTimeout=5")
        self.put("/a", "1")
        self.assertEqual(json.loads(talk.response().body)["node"]["value"], "1")
        talk.disconnect()
        self.assertEqual(self.own_timers(), [])

    def test_client_goes(self: Any) -> None:
        """No timer outlives its client."""
        for stream in ("", "&stream=true"):
            talk = self.connect()
            talk.begin("GET", f"/v2/keys/a?wait=true&waitTimeout=50{stream}")
            talk.disconnect()
            self.assertEqual(self.own_timers(), [])

    def test_stream(self: Any) -> None:
        """A stream ends after that time."""
        talk = self.watch("/a?wait=true&stream=true&waitTimeout=5")
        self.put("/a", "1")
        self.clock.advance(5)
        self.assertEqual(len(talk.response().body.splitlines()), 1)
        self.assertEqual(self.store.watching, 0)

    def own_timers(self: Any) -> list[Any]:
        """Timers at the time-outs of these tests; sites have others of their own."""
        return [call for call in self.clock.getDelayedCalls() if call.getTime() in (5.0, 50.0)]


class EventSourceTests:
    """Server-sent events."""

    def test_stream(self: Any) -> None:
        """Each event is a message whose id is its index."""
        talk = self.connect()
        talk.begin("GET", "/v2/keys/d?recursive=true", EVENT_STREAM)
        head = bytes(talk.transport.received)
        self.assertIn(b"Content-Type: text/event-stream\r\n", head)
        self.assertIn(b"Cache-Control: no-store\r\n", head)
        self.put("/d/a", "1")
        self.put("/d/b", "2")
        self.store.stopService()
        body = talk.response().body
        self.assertEqual(
            body,
            b'id: 2\ndata: {"action":"set","node":{"key":"/d/a","value":"1",'
            b'"modifiedIndex":2,"createdIndex":2}}\n\n'
            b'id: 3\ndata: {"action":"set","node":{"key":"/d/b","value":"2",'
            b'"modifiedIndex":3,"createdIndex":3}}\n\n',
        )

    def test_resumes(self: Any) -> None:
        """After a break, Last-Event-ID resumes behind the last event that was seen."""
        for value in "123":
            self.put("/a", value)
        talk = self.connect()
        talk.begin("GET", "/v2/keys/a", [*EVENT_STREAM, ("Last-Event-ID", "3")])
        self.store.stopService()
        messages = talk.response().body.split(b"\n\n")
        self.assertEqual([message.partition(b"\n")[0] for message in messages], [b"id: 4", b""])

    def test_bad_id(self: Any) -> None:
        """A Last-Event-ID that is no index is refused."""
        response = self.ask("GET", "/v2/keys/a", headers=[*EVENT_STREAM, ("Last-Event-ID", "x")])
        self.assertEqual((response.status, json.loads(response.body)["errorCode"]), (400, 203))

    def test_value_with_line_ends(self: Any) -> None:
        """A value cannot break out of its message."""
        talk = self.connect()
        talk.begin("GET", "/v2/keys/a", EVENT_STREAM)
        self.put("/a", "x%0A%0Aid: 99%0Adata: y")
        self.store.stopService()
        self.assertEqual(talk.response().body.count(b"\n"), 3)


class PagingUnderTwistedsSite(PagingTests, UnderTwistedsSite, ServerTestCase):
    """Paging, served by twisted.web."""


class PagingUnderOurSite(PagingTests, UnderOurSite, ServerTestCase):
    """Paging, served by our site."""


class TimeoutsUnderTwistedsSite(TimeoutTests, UnderTwistedsSite, ServerTestCase):
    """Time-outs, served by twisted.web."""


class TimeoutsUnderOurSite(TimeoutTests, UnderOurSite, ServerTestCase):
    """Time-outs, served by our site."""


class EventSourceUnderTwistedsSite(EventSourceTests, UnderTwistedsSite, ServerTestCase):
    """Server-sent events, served by twisted.web."""


class EventSourceUnderOurSite(EventSourceTests, UnderOurSite, ServerTestCase):
    """Server-sent events, served by our site."""
