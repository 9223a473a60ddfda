"""The fast Site on the wire: requests one behind the other, and their bodies."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.http_harness import Conversation
from tests.site_harness import GET, Echo, SiteTestCase, answer
from tests.turn_clock import TurnClock
from txetcd import turns
from txetcd.site import Site
from txetcd.site.channel import AT_ONCE, READ_AHEAD
from txetcd.turns import BUDGET, LONG, TOGETHER


class PipelineTests(SiteTestCase):
    """One request in flight; the others wait."""

    def test_answers_in_order_in_one_write(self) -> None:
        talk = self.connect()
        data = b"".join(
            b"PUT /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d" % (i, i) for i in range(9)
        )
        self.assertEqual(talk.send(data), b"".join(answer(b"PUT /%d %d" % (i, i)) for i in range(9)))
        self.assertEqual(talk.transport.writes, 1)

    def test_cut_anywhere(self) -> None:
        chunked = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked += b"2\r\nab\r\n1;x\r\nc\r\n0\r\nA: b\r\n\r\n"
        data = GET + b"PUT /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + chunked + b"\r\n" + GET
        expected = answer(b"GET / ") + answer(b"PUT /1 abc") + answer(b"POST /c abc") + answer(b"GET / ")
        for cut in range(len(data)):
            talk = self.connect()
            self.assertEqual(talk.send(data[:cut]) + talk.send(data[cut:]), expected)
        talk = self.connect()
        self.assertEqual(b"".join(talk.send(data[i : i + 1]) for i in range(len(data))), expected)

    def test_the_next_waits_for_the_answer(self) -> None:
        talk = self.connect()
        talk.send(
            b"GET /late HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\nGET /late HTTP/1.1\r\nHo"
        )
        talk.send(b"st: x\r\n\r\nGET /4 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(self.resource.targets, [b"/late"])
        self.resource.requests[0].finish()
        self.assertEqual(self.resource.targets, [b"/late", b"/2", b"/late"])
        self.resource.requests[2].finish()
        self.assertEqual(self.resource.targets, [b"/late", b"/2", b"/late", b"/4"])

    def test_refusal_behind_an_answer(self) -> None:
        talk = self.connect()
        talk.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        self.assertEqual(talk.receive(), b"")
        self.resource.requests[0].finish()
        received = talk.receive()
        self.assertTrue(received.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertIn(b"HTTP/1.1 400 Bad Request\r\n", received)
        self.assertTrue(talk.closed)

    def test_many_do_not_recurse(self) -> None:
        talk = self.connect()
        answers = talk.send(GET * 3000)
        self.clock.advance(0)
        self.assertEqual(answers + talk.receive(), answer(b"GET / ") * 3000)

    def test_read_ahead_is_bounded(self) -> None:
        talk = self.connect()
        talk.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(READ_AHEAD // len(GET)):
            talk.send(GET)
        self.assertFalse(talk.transport.paused)
        talk.send(GET)
        self.assertTrue(talk.transport.paused)
        self.resource.requests[0].finish()
        self.clock.advance(0)
        self.assertFalse(talk.transport.paused)
        self.assertEqual(len(self.resource.requests), 2 + READ_AHEAD // len(GET))

    def test_empty_lines_before_a_request(self) -> None:
        talk = self.connect()
        self.assertEqual(talk.send(b"\r\n"), b"")
        self.assertEqual(talk.send(GET + b"\r\n" + GET + b"\r\n\r\n" + GET), answer(b"GET / ") * 3)


class SlowEcho(Echo):
    """Takes a fifth of the time that one turn has."""

    def __init__(self, clock: TurnClock) -> None:
        super().__init__()
        self.clock = clock

    def render(self, request: Any) -> Any:
        self.clock.rightNow += BUDGET / 5
        return super().render(request)


class TurnsTests(SiteTestCase):
    """Who sends many requests ahead does not hold up others."""

    clock: TurnClock

    def setUp(self) -> None:
        self.clock = TurnClock()
        self.resource = SlowEcho(self.clock)
        self.site = Site(self.resource, self.clock)

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.clock.turn()

    def test_others_have_their_turn(self) -> None:
        greedy, other = self.connect(), self.connect()
        other.send(GET)
        self.clock.rightNow += 2 * TOGETHER
        begun = greedy.send(GET * 1000)
        self.assertLess(len(self.resource.requests), 1000)
        self.assertEqual(other.send(GET), answer(b"GET / "))
        self.assertLess(len(self.resource.requests), 1000)
        self.turns(1000)
        self.assertEqual(len(self.resource.requests), 1002)
        self.assertEqual((begun + greedy.receive()).count(b"HTTP/1.1 200 OK"), 1000)

    def test_they_share_the_turns(self) -> None:
        """None has to wait until another is done."""
        talks = [self.connect() for _ in range(4)]
        answers = [talk.send(GET * 500) for talk in talks]
        self.turns(20)
        counts = [
            (before + talk.receive()).count(b"200 OK") for before, talk in zip(answers, talks, strict=True)
        ]
        self.assertGreater(min(counts), 1)
        self.assertLess(max(counts), 500)
        self.assertLessEqual(max(counts) - min(counts), 2 * AT_ONCE)

    def test_many_who_are_there_already(self) -> None:
        """A long turn ends, and who comes from elsewhere is answered in the next."""
        self.patch(turns, "FEW", 1)
        talks = [self.connect() for _ in range(200)]
        for talk in talks:
            talk.send(GET)
        other = Conversation(self.site, self.clock, IPv4Address("TCP", "192.0.2.9", 1))
        other.send(GET)
        self.turns(300)
        before = len(self.resource.requests)
        for talk in talks:
            talk.receive()
            talk.send(GET)
        self.assertLess(len(self.resource.requests), before + 1 + LONG / (BUDGET / 5) + 5)
        other.receive()
        self.assertEqual(other.send(GET), b"")
        self.turns(1)
        self.assertEqual(other.receive(), answer(b"GET / "))
        self.turns(300)
        self.assertEqual(len(self.resource.requests), before + 201)

    def test_many_who_are_new(self) -> None:
        """They take turns, and who was there before does not wait for them."""
        old = self.connect()
        old.send(GET)
        self.clock.rightNow += 2 * TOGETHER
        talks = [self.connect() for _ in range(100)]
        answered = [bool(talk.send(GET)) for talk in talks]
        self.assertEqual(answered, sorted(answered, reverse=True))
        self.assertLess(sum(answered), 10)
        self.assertEqual(old.send(GET), answer(b"GET / "))
        self.turns(1)
        self.assertLess(len(self.resource.requests), 20)
        self.turns(20)
        self.assertEqual(len(self.resource.requests), 102)

    def test_not_read_meanwhile(self) -> None:
        talk = self.connect()
        talk.send(GET * (READ_AHEAD // len(GET) + 100))
        self.assertTrue(talk.transport.paused)
        self.turns(300)
        self.assertFalse(talk.transport.paused)

    def test_client_goes(self) -> None:
        talk, other = self.connect(), self.connect()
        talk.send(GET * 500)
        other.send(GET)
        seen = len(self.resource.requests)
        talk.protocol.connectionLost(Failure(ConnectionDone()))
        self.turns(10)
        self.assertEqual(len(self.resource.requests), seen + 1)
        self.assertEqual(other.receive(), answer(b"GET / "))

    def test_client_sends_nothing_more(self) -> None:
        """All that it has asked is answered, then the connection is closed."""
        talk = self.connect()
        answers = talk.send(GET * 100)
        talk.protocol.readConnectionLost()
        self.assertFalse(talk.closed)
        self.turns(100)
        self.assertEqual(answers + talk.receive(), answer(b"GET / ") * 100)
        self.assertTrue(talk.closed)

    def test_drained(self) -> None:
        """A site that stops begins none of them."""
        talk = self.connect()
        talk.send(GET * 100)
        seen = len(self.resource.requests)
        self.site.shutdown(5.0)
        self.turns(100)
        self.assertEqual(len(self.resource.requests), seen)
        self.assertTrue(talk.closed)


class BodyTests(SiteTestCase):
    """Bodies, and what is said before they are read."""

    HEAD = b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"

    def test_continue(self) -> None:
        for framing, body in (
            (b"Content-Length: 3\r\n\r\n", b"abc"),
            (b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
        ):
            talk = self.connect()
            self.assertEqual(talk.send(self.HEAD + framing), b"HTTP/1.1 100 Continue\r\n\r\n")
            self.assertEqual(talk.send(body), answer(b"PUT / abc"))

    def test_no_continue_for_a_body_that_is_there(self) -> None:
        talk = self.connect()
        self.assertEqual(talk.send(self.HEAD + b"Content-Length: 3\r\n\r\nabc"), answer(b"PUT / abc"))

    def test_no_continue_without_a_body(self) -> None:
        self.assertEqual(self.connect().send(self.HEAD + b"\r\n"), answer(b"PUT / "))

    def test_no_continue_for_http_1_0(self) -> None:
        data = b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        self.assertEqual(self.connect().send(data), b"")

    def test_no_continue_for_a_body_that_is_refused(self) -> None:
        self.assert_refused(self.HEAD + b"Content-Length: 4\r\n\r\n", 413, body=3)

    def test_upgrades_are_ignored(self) -> None:
        data = (
            b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 3\r\n\r\nabc"
        )
        self.assertEqual(self.connect().send(data + GET), answer(b"PUT / abc") + answer(b"GET / "))

    def test_options_star(self) -> None:
        data = b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"
        self.assertEqual(self.connect().send(data), answer(b"OPTIONS * "))
        self.assertEqual((self.resource.requests[0].prepath, self.resource.requests[0].postpath), ([], []))

    def test_absolute_target(self) -> None:
        data = b"GET http://other/p?q HTTP/1.1\r\nHost: x\r\n\r\n"
        self.assertEqual(self.connect().send(data), answer(b"GET /p?q "))

    def test_eight_bit_target(self) -> None:
        self.assertEqual(
            self.connect().send(b"GET /\xff\xe2 HTTP/1.1\r\nHost: x\r\n\r\n"), answer(b"GET /\xff\xe2 ")
        )
        self.assertEqual(self.resource.requests[0].postpath, [b"\xff\xe2"])
