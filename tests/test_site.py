"""The fast Site on the wire: one request at a time, framing, refusals, to the byte."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IRequest
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory
from zope.interface.verify import verifyObject

from tests.http_harness import Conversation, conversation
from txetcd.site import Limits, Refusal, Site
from txetcd.site.channel import READ_AHEAD

DATE = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Echo(Resource):
    """Answers with method, target and body; to /late when the test calls `finish`."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def render(self, request: Any) -> Any:
        self.requests.append(request)
        request.defaultContentType = None
        if request.path == b"/late":
            return NOT_DONE_YET
        return b"%b %b %b" % (request.method, request.uri, request.content.read())

    @property
    def targets(self) -> list[bytes]:
        return [request.uri for request in self.requests]


def answer(body: bytes, connection: bytes = b"") -> bytes:
    """What goes over the wire for a resource that returned `body`."""
    if connection:
        connection = b"Connection: " + connection + b"\r\n"
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b%b\r\n%b" % (len(body), connection, DATE, body)


class SiteTestCase(SynchronousTestCase):
    """A site of `Echo`, and connections to it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.resource = Echo()
        self.site = Site(self.resource, self.clock)

    def connect(self, **limits: Any) -> Conversation:
        if limits:
            self.site = Site(self.resource, self.clock, Limits(**limits))
        return conversation(self.site)

    def assert_refused(self, data: bytes, status: int, **limits: Any) -> None:
        """`data` is answered with that status, unseen by any resource, and the connection is closed."""
        before = len(self.resource.requests)
        talk = self.connect(**limits)
        talk._methods.append(b"GET")
        talk.send(b"")
        talk.protocol.dataReceived(data)
        response = talk.response()
        assert response is not None, data
        self.assertEqual(response.status, status, data)
        self.assertEqual(response.header("Connection"), "close")
        self.assertEqual(response.header("Content-Type"), "text/plain; charset=utf-8")
        self.assertTrue(talk.closed, data)
        self.assertEqual(talk.receive(), b"")
        self.assertEqual(self.resource.requests[before:], [])


class AnswerTests(SiteTestCase):
    """What a request gets, byte for byte."""

    def test_bytes_in_one_write(self) -> None:
        talk = self.connect()
        self.assertEqual(talk.send(GET), answer(b"GET / "))
        self.assertEqual(talk.transport.writes, 1)

    def test_write_and_finish_in_one_write(self) -> None:
        class Writes(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> int:
                request.defaultContentType = None
                request.write(b"a")
                request.write(b"bc")
                request.finish()
                return NOT_DONE_YET

        talk = conversation(Site(Writes(), self.clock))
        self.assertEqual(
            talk.send(GET),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
            + DATE
            + b"\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
        )
        self.assertEqual(talk.transport.writes, 1)

    def test_finish_alone(self) -> None:
        talk = self.connect()
        talk.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        self.resource.requests[0].finish()
        self.assertEqual(talk.receive(), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + DATE + b"\r\n")

    def test_late_answer_in_one_write(self) -> None:
        talk = self.connect()
        talk.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        request = self.resource.requests[0]
        request.setHeader(b"Content-Length", b"2")
        request.write(b"ok")
        request.finish()
        self.assertEqual(talk.receive(), answer(b"ok"))
        self.assertEqual(talk.transport.writes, 1)

    def test_empty_write_sends_the_head(self) -> None:
        talk = self.connect()
        talk.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        self.resource.requests[0].write(b"")
        self.assertEqual(
            talk.receive(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + DATE + b"\r\n"
        )

    def test_date_follows_the_clock(self) -> None:
        talk = self.connect()
        self.clock.advance(1.9)
        self.assertIn(b"Date: Thu, 01 Jan 1970 00:00:01 GMT\r\n", talk.send(GET))
        self.clock.advance(0.1)
        self.assertIn(b"Date: Thu, 01 Jan 1970 00:00:02 GMT\r\n", talk.send(GET))

    def test_close(self) -> None:
        talk = self.connect()
        data = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + GET
        self.assertEqual(talk.send(data), answer(b"GET / ", b"close"))
        self.assertTrue(talk.closed)
        self.assertEqual(len(self.resource.requests), 1)

    def test_close_by_the_resource(self) -> None:
        talk = self.connect()
        talk.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        request = self.resource.requests[0]
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])
        request.finish()
        self.assertIn(b"Connection: close\r\n", talk.receive())
        self.assertTrue(talk.closed)

    def test_http_1_0(self) -> None:
        talk = self.connect()
        self.assertEqual(talk.send(b"GET / HTTP/1.0\r\n\r\n"), answer(b"GET / ", b"close"))
        self.assertTrue(talk.closed)

    def test_http_1_0_kept_alive(self) -> None:
        talk = self.connect()
        for _ in range(2):
            self.assertEqual(
                talk.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
                answer(b"GET / ", b"keep-alive"),
            )
        self.assertFalse(talk.closed)

    def test_http_1_0_delimited_by_close(self) -> None:
        talk = self.connect()
        talk.send(b"GET /late HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.resource.requests[0].write(b"a")
        self.resource.requests[0].write(b"b")
        self.resource.requests[0].finish()
        self.assertEqual(talk.receive(), b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + DATE + b"\r\nab")
        self.assertTrue(talk.closed)

    def test_wrong_content_length_ends_the_connection(self) -> None:
        for body in b"a", b"abc":
            talk = self.connect()
            talk.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
            request = self.resource.requests[-1]
            request.setHeader(b"Content-Length", b"2")
            request.write(body)
            request.finish()
            self.assertTrue(talk.closed)

    def test_own_transfer_encoding_is_ignored(self) -> None:
        talk = self.connect()
        talk.begin("GET", "/late")
        request = self.resource.requests[0]
        request.setHeader(b"Transfer-Encoding", b"gzip")
        request.setHeader(b"Content-Length", b"1")
        request.write(b"a")
        request.finish()
        self.assertEqual(talk.receive(), answer(b"a"))

    def test_own_date_is_ignored(self) -> None:
        talk = self.connect()
        talk.begin("GET", "/late")
        self.resource.requests[0].setHeader(b"Date", b"never")
        self.resource.requests[0].finish()
        self.assertEqual(talk.receive(), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + DATE + b"\r\n")

    def test_line_break_in_a_header(self) -> None:
        talk = self.connect()
        talk.begin("GET", "/late")
        self.resource.requests[0].setHeader(b"X-Mine", b"a\r\nX-Evil: 1\rb\nc")
        self.resource.requests[0].finish()
        self.assertIn(b"\r\nX-Mine: a X-Evil: 1 b c\r\n", talk.receive())

    def test_no_body_for_204_and_304(self) -> None:
        for code in 204, 304:
            talk = self.connect()
            talk.begin("GET", "/late")
            request = self.resource.requests[-1]
            request.setResponseCode(code)
            request.setHeader(b"Content-Length", b"8")
            request.write(b"not sent")
            request.finish()
            received = talk.receive()
            self.assertTrue(received.endswith(b"\r\n\r\n"))
            self.assertEqual(b"Content-Length" in received, code == 304)
            self.assertFalse(talk.closed)

    def test_message_with_line_break(self) -> None:
        talk = self.connect()
        talk.begin("GET", "/late")
        self.resource.requests[0].setResponseCode(200, b"OK\r\nX-Evil: 1")
        self.resource.requests[0].finish()
        self.assertTrue(talk.receive().startswith(b"HTTP/1.1 200 OK X-Evil: 1\r\n"))

    def test_exception(self) -> None:
        class Broken(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                request.setHeader(b"Content-Encoding", b"gzip")
                request.addCookie(b"a", b"b")
                raise ZeroDivisionError

        talk = conversation(Site(Broken(), self.clock))
        self.assertEqual(
            talk.send(GET),
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: 22\r\n" + DATE + b"\r\nInternal Server Error\n",
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(talk.closed)

    def test_exception_behind_an_encoder(self) -> None:
        class Broken(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                request.responseHeaders.addRawHeader(b"X-Half", b"done")
                raise ZeroDivisionError

        wrapped = EncodingResourceWrapper(Broken(), [GzipEncoderFactory()])
        response = conversation(Site(wrapped, self.clock)).request("GET", "/", [("Accept-Encoding", "gzip")])
        self.assertEqual((response.status, response.body), (500, b"Internal Server Error\n"))
        self.assertFalse(
            response.headers.hasHeader("Content-Encoding") or response.headers.hasHeader("X-Half")
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_exception_in_the_middle_of_an_answer(self) -> None:
        class Broken(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                request.write(b"half")
                raise ZeroDivisionError

        talk = conversation(Site(Broken(), self.clock))
        self.assertNotIn(b"\r\n0\r\n", talk.send(GET))
        self.assertTrue(talk.closed)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_interfaces(self) -> None:
        talk = self.connect()
        talk.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        verifyObject(IRequest, self.resource.requests[0])
        verifyObject(IProtocolNegotiationFactory, self.site)
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])


class EndTests(SiteTestCase):
    """What happens to an answer that comes too late."""

    def late(self) -> tuple[Conversation, Any]:
        talk = self.connect()
        talk.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        return talk, self.resource.requests[-1]

    def test_after_disconnect(self) -> None:
        talk, request = self.late()
        talk.disconnect()
        request.write(b"x")
        request.finish()
        request.finish()
        request.loseConnection()
        request.unregisterProducer()
        self.assertEqual(talk.receive(), b"")

    def test_producer_after_disconnect_is_stopped(self) -> None:
        class Producer:
            stopped = False

            def stopProducing(self) -> None:
                self.stopped = True

        talk, request = self.late()
        talk.disconnect()
        producer = Producer()
        request.registerProducer(producer, True)
        self.assertTrue(producer.stopped)

    def test_after_finish(self) -> None:
        talk, request = self.late()
        request.write(b"x")
        request.finish()
        talk.receive()
        request.write(b"y")
        request.finish()
        self.assertEqual(talk.receive(), b"")
        self.assertEqual(talk.send(GET), answer(b"GET / "))
        request.write(b"y")
        self.assertEqual(talk.receive(), b"")

    def test_producer_that_was_not_unregistered(self) -> None:
        class Producer:
            def stopProducing(self) -> None:
                pass

        talk, request = self.late()
        request.registerProducer(Producer(), True)
        request.finish()
        talk.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        self.resource.requests[-1].registerProducer(Producer(), True)

    def test_closing_connection_asks_for_no_more(self) -> None:
        class Endless:
            asked = 0
            stopped = False

            def resumeProducing(self) -> None:
                self.asked += 1
                if self.asked < 100:
                    request.write(b"x" * 10_000)

            def stopProducing(self) -> None:
                self.stopped = True

        talk, request = self.late()
        request.loseConnection()
        endless = Endless()
        request.registerProducer(endless, False)
        self.assertLess(endless.asked, 10)
        self.assertTrue(talk.closed)
        self.assertTrue(endless.stopped)

    def test_notification_asked_for_late(self) -> None:
        talk, request = self.late()
        talk.disconnect()
        self.failureResultOf(request.notifyFinish())
        _, request = self.late()
        request.finish()
        self.assertIsNone(self.successResultOf(request.notifyFinish()))

    def test_failure_after_disconnect(self) -> None:
        class GoesAway(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                talk.disconnect()
                raise ZeroDivisionError

        talk = conversation(Site(GoesAway(), self.clock))
        talk.send(GET)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_half_close_when_all_is_answered(self) -> None:
        talk = self.connect()
        self.assertEqual(talk.send(GET), answer(b"GET / "))
        talk.protocol.readConnectionLost()
        self.assertTrue(talk.closed)

    def test_half_close_is_a_disconnect_for_a_request_being_answered(self) -> None:
        talk, request = self.late()
        gone = request.notifyFinish()
        talk.protocol.readConnectionLost()
        self.assertTrue(talk.closed)
        self.failureResultOf(gone)


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
        self.assertEqual(talk.send(GET * 3000), answer(b"GET / ") * 3000)

    def test_read_ahead_is_bounded(self) -> None:
        talk = self.connect()
        talk.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(READ_AHEAD // len(GET)):
            talk.send(GET)
        self.assertFalse(talk.transport.paused)
        talk.send(GET)
        self.assertTrue(talk.transport.paused)
        self.resource.requests[0].finish()
        self.assertFalse(talk.transport.paused)
        self.assertEqual(len(self.resource.requests), 2 + READ_AHEAD // len(GET))

    def test_empty_lines_before_a_request(self) -> None:
        talk = self.connect()
        self.assertEqual(talk.send(b"\r\n"), b"")
        self.assertEqual(talk.send(GET + b"\r\n" + GET + b"\r\n\r\n" + GET), answer(b"GET / ") * 3)


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


class RefusalTests(SiteTestCase):
    """What no resource gets to see."""

    def test_malformed(self) -> None:
        for data in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET / HTTP/1.1\nHost: x\n\n",
            b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
            b"\x00\x01\x02\x03",
            b"hello\r\n",
        ):
            self.assert_refused(data, 400)

    def test_tls_on_a_plain_port(self) -> None:
        self.assert_refused(bytes.fromhex("16030100f8010000f40303"), 400)

    def test_http_2(self) -> None:
        self.assert_refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)

    def test_connect(self) -> None:
        self.assert_refused(b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 405)

    def test_nothing_behind_a_refusal_is_served(self) -> None:
        self.assert_refused(b"GET / HTTP/1.1\r\n\r\n" + GET, 400)

    def test_default_answer(self) -> None:
        body = b"the request has no Host header\n"
        self.assertEqual(
            self.connect().send(b"GET / HTTP/1.1\r\n\r\n"),
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n%b\r\n%b" % (len(body), DATE, body),
        )

    def test_answer_of_the_owner(self) -> None:
        asked: list[tuple[int, str]] = []

        def refusal(status: int, reason: str) -> Refusal:
            asked.append((status, reason))
            return Refusal(400, b"{}\n", b"application/json")

        site = Site(self.resource, self.clock, Limits(body=1), refusal)
        talk = conversation(site)
        response = talk.request("PUT", "/", body=b"ab")
        self.assertEqual(
            (response.status, response.header("Content-Type"), response.body),
            (400, "application/json", b"{}\n"),
        )
        self.assertEqual(asked, [(413, "the request body is too large")])
        self.assertTrue(talk.closed)

    def test_owner_fails(self) -> None:
        def refusal(status: int, reason: str) -> Refusal:
            raise ZeroDivisionError

        talk = conversation(Site(self.resource, self.clock, refusal=refusal))
        self.assertTrue(talk.send(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 "))
        self.assertTrue(talk.closed)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class GarbageTests(SiteTestCase):
    """Whatever a client sends, there is no traceback, and nothing but answers and refusals."""

    WORDS = (
        *(b"GET ", b"PUT / HTTP/1.1\r\n", b"/", b" HTTP/1.1", b" HTTP/2.0", b"\r\n", b"\r\n\r\n", GET),
        *(
            b"Host: x\r\n",
            b"Content-Length: 3\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: close\r\n",
        ),
        *(b"Expect: 100-continue\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"abc", b"\x16\x03\x01"),
        *(b"\x00", b"\n", b"\r", b":", b" ", b"%", b"\xff", b"*"),
    )

    @given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=5), max_size=12))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        talk = conversation(Site(Echo(), Clock(), Limits(body=5)))
        received = b"".join(talk.send(piece) for piece in pieces)
        self.assertEqual(self.flushLoggedErrors(), [])
        whole = conversation(Site(Echo(), Clock(), Limits(body=5)))
        served = whole.send(b"".join(pieces)).count(b"HTTP/1.1 200 OK")
        self.assertEqual(served, received.count(b"HTTP/1.1 200 OK"))
        self.assertEqual(whole.closed, talk.closed)
