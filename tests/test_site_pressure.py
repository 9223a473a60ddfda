"""The fast Site and clients that do not read."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http_harness import Conversation, conversation
from tests.site_harness import GET
from txetcd.site import Site
from txetcd.site.sending import PIECE


class PressureTests(SynchronousTestCase):
    """Clients that do not read."""

    def setUp(self) -> None:
        self.clock = Clock()

    def connect(self, render: Any) -> Conversation:
        class Any_(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> Any:
                return render(request)

        talk = conversation(Site(Any_(), self.clock))
        talk.transport.client_reads = False
        return talk

    def test_pipelining_client_does_not_read(self) -> None:
        rendered: list[Any] = []

        def render(request: Any) -> bytes:
            rendered.append(request)
            return b"x" * 10_000

        talk = self.connect(render)
        for _ in range(1000):
            if not talk.transport.paused:
                talk.send(GET * 100)
        self.assertTrue(talk.transport.paused)
        self.assertLess(len(talk.transport.unsent), 3 * PIECE)
        self.assertLess(len(rendered), 30)
        talk.transport.read()
        self.assertGreater(len(rendered), 10)
        while talk.transport.unsent:
            talk.transport.read()
        self.assertFalse(talk.transport.paused)
        received = talk.receive()
        self.assertEqual(received.count(b"HTTP/1.1 200 OK"), len(rendered))

    def test_large_answer_is_handed_over_in_pieces(self) -> None:
        talk = self.connect(lambda request: b"~" * 5_000_000)
        talk.send(GET)
        self.assertLess(len(talk.transport.unsent), 3 * PIECE)
        while talk.transport.unsent:
            self.assertLess(len(talk.transport.unsent), 3 * PIECE)
            talk.transport.read()
        self.assertEqual(talk.receive().count(b"~"), 5_000_000)

    def test_pull_producer(self) -> None:
        class Numbers:
            def __init__(self, request: Any) -> None:
                self.request = request
                self.left = 400
                self.stopped = False

            def resumeProducing(self) -> None:
                self.left -= 1
                self.request.write(b"%1000d" % self.left)
                if not self.left:
                    self.request.unregisterProducer()
                    self.request.finish()

            def stopProducing(self) -> None:
                self.stopped = True

        producers: list[Numbers] = []

        def render(request: Any) -> int:
            producers.append(Numbers(request))
            request.registerProducer(producers[-1], False)
            return NOT_DONE_YET

        talk = self.connect(render)
        talk.send(GET)
        self.assertGreater(producers[0].left, 300)
        while talk.transport.unsent:
            talk.transport.read()
        self.assertEqual(producers[0].left, 0)
        talk._methods.append(b"GET")
        response = talk.response()
        assert response is not None
        self.assertEqual(len(response.chunks), 400)
        talk.send(GET)
        talk.disconnect()
        self.assertTrue(producers[1].stopped)

    def test_pull_producer_that_pauses_for_thought(self) -> None:
        class Silent:
            asked = 0

            def resumeProducing(self) -> None:
                self.asked += 1

            def stopProducing(self) -> None:
                pass

        silent = Silent()
        talk = self.connect(lambda request: request.registerProducer(silent, False) or NOT_DONE_YET)
        talk.send(GET)
        self.assertLess(silent.asked, 3)

    def test_second_producer(self) -> None:
        requests: list[Any] = []

        def render(request: Any) -> int:
            requests.append(request)
            return NOT_DONE_YET

        talk = self.connect(render)
        talk.send(GET)

        class Producer:
            paused = False

            def pauseProducing(self) -> None:
                self.paused = True

            def stopProducing(self) -> None:
                pass

        requests[0].write(b"x" * 3 * PIECE)
        producer = Producer()
        requests[0].registerProducer(producer, True)
        self.assertTrue(producer.paused)
        self.assertRaises(RuntimeError, requests[0].registerProducer, Producer(), True)

    def test_close_after_everything_is_sent(self) -> None:
        talk = self.connect(lambda request: b"~" * 1_000_000)
        talk.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while talk.transport.unsent:
            self.assertFalse(talk.closed)
            talk.transport.read()
        self.assertTrue(talk.closed)
        self.assertEqual(talk.receive().count(b"~"), 1_000_000)
