"""Clients that come and go leave nothing that only the garbage collector could find.

10,000 watches that are dropped would otherwise stay in memory until it comes, which may be never.
"""

from __future__ import annotations

import gc

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.http_harness import conversation
from txetcd.journal.memory import MemoryJournal
from txetcd.resources.api import API
from txetcd.site import Site
from txetcd.store import Store


class GarbageTests(SynchronousTestCase):
    def left_by(self, target: str) -> list[object]:
        """What a client leaves that asks for this and goes away."""
        clock = Clock()
        store = Store(MemoryJournal(), clock)
        store.startService()
        clock.advance(0)
        site = Site(API(store, name="x", client_urls=("http://x",)), clock)
        other = conversation(site)

        def come_and_go() -> None:
            talk = conversation(site)
            talk.begin("GET", target)
            talk.disconnect()
            clock.advance(1)

        # What is made once stays.
        come_and_go()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            come_and_go()
            gc.collect()
            return list(gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            other.disconnect()
            self.successResultOf(store.stopService())

    def test_requests(self) -> None:
        self.assertEqual(self.left_by("/v2/keys/"), [])

    def test_long_polls(self) -> None:
        self.assertEqual(self.left_by("/v2/keys/a?wait=true"), [])

    def test_streams(self) -> None:
        self.assertEqual(self.left_by("/v2/keys/a?wait=true&stream=true"), [])
