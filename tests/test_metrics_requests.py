"""Which requests are counted and timed, and as what."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http_harness import Conversation, conversation
from txetcd.observing.requests import RequestCounts
from txetcd.site import Limits, Site


class Slow(Resource):
    """Answers when the test says so."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def render(self, request: Any) -> int:
        self.asked.append(request)
        return NOT_DONE_YET


class RequestCase(SynchronousTestCase):
    """A site whose requests are counted, in front of one slow resource."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.slow = Slow()
        self.counts = RequestCounts()
        limits = Limits(body=100, connections=2)
        self.site = Site(self.slow, self.clock, limits, observers=[self.counts])

    def connect(self) -> Conversation:
        talk = conversation(self.site, self.clock)
        self.addCleanup(talk.disconnect)
        return talk

    def answered(self, method: str, target: str = "/", seconds: float = 0.0, code: int = 200) -> None:
        """A request that took so long."""
        talk = self.connect()
        talk.begin(method, target)
        self.clock.advance(seconds)
        request = self.slow.asked.pop()
        request.setResponseCode(code)
        request.finish()
        talk.disconnect()

    def codes(self) -> dict[str, dict[int, int]]:
        """How many requests there were, by verb and status."""
        return {name: dict(verb.codes) for name, verb in self.counts.verbs() if verb.codes}

    def taken(self, name: str) -> tuple[int, float]:
        """How many requests of a verb have been timed, and their seconds together."""
        histogram = dict(self.counts.verbs())[name].seconds
        return list(histogram.cumulative())[-1][1], round(histogram.sum, 6)


class RequestTests(RequestCase):
    def test_verbs_and_codes(self) -> None:
        for method, code in (("GET", 200), ("GET", 200), ("GET", 404), ("PUT", 201), ("HEAD", 200)):
            self.answered(method, code=code, seconds=0.25)
        self.assertEqual(self.codes(), {"GET": {200: 2, 404: 1}, "PUT": {201: 1}, "HEAD": {200: 1}})
        self.assertEqual(self.taken("GET"), (3, 0.75))
        self.assertEqual(self.taken("PUT"), (1, 0.25))

    def test_other_methods_are_counted_as_one(self) -> None:
        for number in range(50):
            self.answered(f"WORD{number}", code=501)
        self.assertEqual(self.codes(), {"OTHER": {501: 50}})

    def test_watches_are_not_timed(self) -> None:
        self.answered("GET", "/a?wait=true", seconds=100)
        self.assertEqual(self.codes(), {"WATCH": {200: 1}})
        self.assertEqual(self.taken("GET"), (0, 0.0))

    def test_event_source(self) -> None:
        talk = self.connect()
        talk.begin("GET", "/", [("Accept", "text/event-stream")])
        self.clock.advance(100)
        self.slow.asked.pop().finish()
        self.assertEqual(self.codes(), {"WATCH": {200: 1}})

    def test_client_gone(self) -> None:
        """Before the answer: 499.  After its head: what the head said."""
        talk = self.connect()
        talk.begin("PUT", "/")
        talk.disconnect()
        self.assertEqual(self.codes(), {"PUT": {499: 1}})
        talk = self.connect()
        talk.begin("GET", "/?wait=true")
        self.slow.asked[-1].write(b"")
        talk.disconnect()
        self.assertEqual(self.codes()["WATCH"], {200: 1})

    def test_one_behind_the_other(self) -> None:
        """Requests that wait for their turn are timed from their turn on."""
        talk = self.connect()
        talk.begin("GET", "/1")
        talk.begin("PUT", "/2")
        self.clock.advance(1)
        self.slow.asked.pop().finish()
        self.clock.advance(2)
        self.slow.asked.pop().finish()
        self.assertEqual((self.taken("GET"), self.taken("PUT")), ((1, 1.0), (1, 2.0)))

    def test_clock_set_back(self) -> None:
        talk = self.connect()
        talk.begin("GET", "/")
        self.clock.rightNow -= 3600
        self.slow.asked.pop().finish()
        self.assertEqual(self.taken("GET"), (1, 0.0))

    def test_refused(self) -> None:
        self.connect().send(b"NONSENSE\r\n\r\n")
        self.connect().begin("PUT", "/", body=b"x" * 101)
        self.assertEqual(dict(self.counts.refusals), {400: 1, 413: 1})
        self.assertEqual(self.codes(), {})

    def test_too_many_connections(self) -> None:
        talks = [self.connect() for _ in range(3)]
        self.assertEqual(dict(self.counts.refusals), {503: 1})
        self.assertEqual(self.site.connections, 2)
        for talk in talks:
            talk.disconnect()
        self.assertEqual(self.site.connections, 0)

    def test_nobody_observes(self) -> None:
        site = Site(self.slow, self.clock)
        talk = conversation(site, self.clock)
        self.addCleanup(talk.disconnect)
        talk.begin("GET", "/")
        self.slow.asked.pop().finish()
        response = talk.response()
        assert response is not None
        self.assertEqual(response.status, 200)
