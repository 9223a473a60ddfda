"""The fast Site on the wire: answers and their framing, to the byte, and their end."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.web.iweb import IRequest
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory
from zope.interface.verify import verifyObject

from tests.http_harness import Conversation, conversation
from tests.site_harness import DATE, GET, SiteTestCase, answer
from txetcd.site import Site


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
