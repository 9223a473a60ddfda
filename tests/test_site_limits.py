"""The limits of the fast Site: sizes, connections and time."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tests.http_harness import Conversation, conversation
from tests.site_harness import GET, LATE, SiteTestCase
from txetcd.site import SWEEP, Limits, Site
from txetcd.site.channel import BACKLOG, LINGER, READ_AHEAD, STALLED
from txetcd.site.sending import PIECE


class SizeTests(SiteTestCase):
    """How large requests may be."""

    def test_body(self) -> None:
        put = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        self.assert_refused(put % 6, 413, body=5)
        self.assert_refused(put % (10**18), 413)
        self.assertTrue(self.connect(body=5).send(put % 5 + b"12345").endswith(b"PUT / 12345"))

    def test_chunked_body(self) -> None:
        put = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        self.assert_refused(put + b"3\r\n", 413, body=5)
        self.assertTrue(self.connect(body=6).send(put + b"3\r\ndef\r\n0\r\n\r\n").endswith(b"PUT / abcdef"))

    def test_default_body(self) -> None:
        talk = self.connect()
        self.assertEqual(talk.request("PUT", "/", body=b"x" * 1_572_864).status, 200)
        self.assertEqual(talk.request("PUT", "/", body=b"x" * 1_572_865).status, 413)

    def test_headers(self) -> None:
        head = b"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\n"
        self.assert_refused(head, 431, headers=1)
        self.assert_refused(head, 431, header_bytes=len(head) - 1)
        self.assert_refused(head[:-5], 431, header_bytes=len(head) - 5)
        self.assertTrue(
            self.connect(headers=2, header_bytes=len(head)).send(head).startswith(b"HTTP/1.1 200 ")
        )

    def test_default_headers(self) -> None:
        self.assert_refused(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 65_536, 431)
        self.assert_refused(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431)

    def test_head_that_is_longer_than_what_is_read_ahead(self) -> None:
        talk = self.connect(header_bytes=4 * READ_AHEAD)
        talk.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2 * READ_AHEAD)
        self.assertFalse(talk.transport.paused)
        self.assertTrue(talk.send(b"y\r\n\r\n").startswith(b"HTTP/1.1 200 "))

    def test_request_line(self) -> None:
        self.assert_refused(b"GET /" + b"a" * 65_536, 414)

    def test_requests_that_follow_do_not_count(self) -> None:
        talk = self.connect(header_bytes=len(GET))
        self.assertEqual(talk.send(GET * 3).count(b"HTTP/1.1 200 OK"), 3)


class ConnectionLimitTests(SiteTestCase):
    """How many connections there may be."""

    def test_one_too_many(self) -> None:
        first = self.connect(connections=2)
        second = conversation(self.site)
        third = conversation(self.site)
        self.assertTrue(third.receive().startswith(b"HTTP/1.1 503 Service Unavailable\r\n"))
        self.assertTrue(third.closed)
        self.assertTrue(second.send(GET).startswith(b"HTTP/1.1 200"))
        first.disconnect()
        self.assertTrue(conversation(self.site).send(GET).startswith(b"HTTP/1.1 200"))

    def test_refused_ones_do_not_count(self) -> None:
        first = self.connect(connections=1)
        refused = conversation(self.site)
        refused.transport.client_reads = False
        first.disconnect()
        self.assertTrue(conversation(self.site).send(GET).startswith(b"HTTP/1.1 200"))

    def test_any_number(self) -> None:
        self.connect(connections=0)
        self.assertFalse(conversation(self.site).closed)


class AddressLimitTests(SiteTestCase):
    """How many connections there may be from one address."""

    def serve(self, most: int = 2) -> None:
        self.site = Site(self.resource, self.clock, Limits(connections_per_address=most))

    def come(self, address: object) -> Conversation:
        """A client from there; it is still connected if it was let in."""
        talk = Conversation(self.site, self.clock, address)
        if talk.closed:
            answer = talk.receive()
            self.assertTrue(answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n"), answer)
            self.assertTrue(answer.endswith(b"there are too many connections from your address\n"), answer)
        return talk

    def come_in(self, *hosts: str) -> list[bool]:
        """Connect from each of these, one after the other; tell which were let in."""
        kinds = [IPv6Address if ":" in host else IPv4Address for host in hosts]
        return [not self.come(kind("TCP", host, 5)).closed for kind, host in zip(kinds, hosts, strict=True)]

    def test_one_too_many(self) -> None:
        self.serve()
        self.assertEqual(self.come_in(*["192.0.2.1"] * 3, "192.0.2.2"), [True, True, False, True])

    def test_those_that_are_gone_do_not_count(self) -> None:
        self.serve()
        here = IPv4Address("TCP", "192.0.2.1", 5)
        first, second, third = (self.come(here) for _ in range(3))
        self.assertEqual([talk.closed for talk in (first, second, third)], [False, False, True])
        first.disconnect()
        self.assertFalse(self.come(here).closed)
        self.assertTrue(self.come(here).closed)

    def test_network_of_ipv6(self) -> None:
        self.serve()
        hosts = "2001:db8::1", "2001:db8::ffff:2", "2001:db8::3", "2001:db8:0:1::1", "fe80::1%lo", "fe80::2"
        self.assertEqual(self.come_in(*hosts), [True, True, False, True, True, True])
        self.assertEqual(self.come_in("fe80::3"), [False])

    def test_ipv4_in_ipv6(self) -> None:
        self.serve()
        hosts = "::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"
        self.assertEqual(self.come_in(*hosts), [True, True, False, True])

    def test_same_machine(self) -> None:
        self.serve(1)
        self.assertEqual(self.come_in(*["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] * 2), [True] * 8)
        for address in (UNIXAddress(b"/run/socket"), UNIXAddress(None), None):
            self.assertEqual([self.come(address).closed for _ in range(2)], [False] * 2)

    def test_any_number(self) -> None:
        self.serve(0)
        self.assertEqual(self.come_in(*["192.0.2.1"] * 9), [True] * 9)

    def test_the_limit_for_all_comes_first(self) -> None:
        self.site = Site(self.resource, self.clock, Limits(connections=1, connections_per_address=1))
        here = IPv4Address("TCP", "192.0.2.1", 5)
        first = self.come(here)
        refused = Conversation(self.site, self.clock, here)
        self.assertIn(b"\r\n\r\nthere are too many connections\n", refused.receive())
        first.disconnect()
        self.assertFalse(self.come(here).closed)


class TimeTests(SiteTestCase):
    """How long things may take."""

    def after(self, talk: Conversation, seconds: float) -> bool:
        """Let time pass in small steps; tell whether the connection is closed then."""
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)
        return talk.closed

    def test_no_request(self) -> None:
        talk = self.connect()
        self.assertFalse(self.after(talk, 59))
        self.assertTrue(self.after(talk, 1 + SWEEP))
        self.assertEqual(talk.receive(), b"")

    def test_between_requests(self) -> None:
        talk = self.connect()
        self.after(talk, 50)
        talk.send(GET)
        self.assertFalse(self.after(talk, 59))
        self.assertTrue(self.after(talk, 1 + SWEEP))

    def test_half_sent_head(self) -> None:
        talk = self.connect()
        self.after(talk, 30)
        talk.send(GET[:10])
        self.assertFalse(self.after(talk, 30))
        talk.send(GET[10:20])
        self.assertFalse(self.after(talk, 29))
        self.assertTrue(self.after(talk, 1 + SWEEP))
        self.assertEqual(self.resource.requests, [])

    def test_empty_lines_are_no_sign_of_life(self) -> None:
        talk = self.connect()
        self.after(talk, 59)
        talk.send(b"\r\n")
        self.assertTrue(self.after(talk, 1 + SWEEP))

    def test_half_sent_body(self) -> None:
        talk = self.connect()
        self.after(talk, 20)
        talk.send(b"PUT / HTTP/1.1\r\n")
        self.after(talk, 20)
        talk.send(b"Host: x\r\nContent-Length: 3\r\n\r\na")
        self.assertFalse(self.after(talk, 59))
        self.assertTrue(self.after(talk, 1 + SWEEP))
        self.assertEqual(self.resource.requests, [])

    def test_a_request_being_answered_may_take_for_ever(self) -> None:
        talk = self.connect()
        talk.send(LATE)
        self.assertFalse(self.after(talk, 500))
        self.resource.requests[0].write(b"")
        self.assertFalse(self.after(talk, 500))
        self.resource.requests[0].finish()
        self.assertFalse(self.after(talk, 59))
        self.assertTrue(self.after(talk, 1 + SWEEP))

    def test_another_limit(self) -> None:
        talk = self.connect(idle=4)
        self.assertFalse(self.after(talk, 3.5))
        self.assertTrue(self.after(talk, 1.5))

    def test_client_does_not_read(self) -> None:
        talk = self.connect()
        talk.transport.client_reads = False
        talk.send(LATE)
        self.resource.requests[0].write(b"x" * PIECE * 2)
        self.assertFalse(self.after(talk, 59))
        self.assertTrue(self.after(talk, 1 + SWEEP))
        self.assertTrue(talk.transport.aborted)

    def test_client_reads_slowly(self) -> None:
        talk = self.connect()
        talk.transport.client_reads = False
        talk.send(LATE)
        self.resource.requests[0].write(b"x" * PIECE * 20)
        self.resource.requests[0].finish()
        while talk.transport.unsent:
            self.assertFalse(self.after(talk, 9))
            talk.transport.read()
        self.assertFalse(talk.closed)
        self.assertEqual(talk.receive().count(b"x" * PIECE), 20)

    def test_stream_that_nobody_reads(self) -> None:
        talk = self.connect()
        talk.transport.client_reads = False
        talk.send(LATE)
        request = self.resource.requests[0]
        gone = request.notifyFinish()
        for _ in range(BACKLOG // 1000 + 200):
            request.write(b"x" * 1000)
        self.assertFalse(self.after(talk, STALLED - 1))
        self.assertTrue(self.after(talk, 1 + SWEEP))
        self.failureResultOf(gone)

    def test_closed_connection_that_lingers(self) -> None:
        talk = self.connect()
        talk.transport.client_reads = False
        talk.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(talk.transport.disconnecting)
        self.assertFalse(self.after(talk, LINGER - 1))
        self.assertTrue(self.after(talk, 1 + SWEEP))
        self.assertTrue(talk.transport.aborted)

    def test_one_timer(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        talks = [conversation(self.site) for _ in range(5)]
        for talk in talks:
            talk.send(GET)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for talk in talks:
            talk.disconnect()
        self.assertEqual(self.clock.getDelayedCalls(), [])
