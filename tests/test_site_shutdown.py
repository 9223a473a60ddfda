"""The end of the fast Site: what is finished, and what is not waited for."""

from __future__ import annotations

from tests.site_harness import GET, LATE, SiteTestCase
from txetcd.site import Limits
from txetcd.site.sending import PIECE


class ShutdownTests(SiteTestCase):
    """`Site.shutdown`"""

    def test_nothing_to_do(self) -> None:
        self.assertIsNone(self.successResultOf(self.site.shutdown(3)))
        self.assertIsNone(self.site.buildProtocol(None))

    def test_idle_connections_are_closed(self) -> None:
        talks = [self.connect() for _ in range(3)]
        talks[0].send(GET)
        talks[1].send(GET[:10])
        done = self.site.shutdown(3)
        self.assertNoResult(done)
        for talk in talks:
            self.assertTrue(talk.closed)
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_busy_connections_are_closed_after_the_answer(self) -> None:
        talk = self.connect()
        talk.begin("GET", "/late")
        talk.begin("GET", "/never")
        done = self.site.shutdown(3)
        self.assertFalse(talk.closed)
        self.resource.requests[0].write(b"x")
        self.resource.requests[0].finish()
        response = talk.response()
        assert response is not None
        self.assertEqual((response.header("Connection"), response.body), ("close", b"x"))
        self.assertTrue(talk.closed)
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual(len(self.resource.requests), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answer_that_has_begun(self) -> None:
        talk = self.connect()
        talk.begin("GET", "/late")
        self.resource.requests[0].write(b"x")
        done = self.site.shutdown(3)
        self.resource.requests[0].finish()
        self.assertTrue(talk.closed)
        self.assertIsNone(self.successResultOf(done))

    def test_grace(self) -> None:
        talk = self.connect()
        talk.begin("GET", "/late")
        gone = self.resource.requests[0].notifyFinish()
        done = self.site.shutdown(3)
        again = self.site.shutdown(10)
        self.clock.advance(2.9)
        self.assertFalse(talk.closed)
        self.clock.advance(0.1)
        self.assertTrue(talk.closed)
        self.assertTrue(talk.transport.aborted)
        self.failureResultOf(gone)
        self.assertIsNone(self.successResultOf(done))
        self.assertIsNone(self.successResultOf(again))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_client_that_does_not_read(self) -> None:
        talk = self.connect()
        talk.transport.client_reads = False
        talk.send(LATE)
        self.resource.requests[0].write(b"x" * 10 * PIECE)
        self.resource.requests[0].finish()
        done = self.site.shutdown(3)
        self.clock.advance(3)
        self.assertTrue(talk.closed)
        self.assertIsNone(self.successResultOf(done))

    def test_sessions(self) -> None:
        self.site.makeSession()
        self.successResultOf(self.site.shutdown(3))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_limits_are_a_choice(self) -> None:
        self.assertEqual(Limits(), Limits(1_572_864, 65_536, 100, 10_000, 5_000, 60.0))
