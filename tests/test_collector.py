"""txetcd.collector: what the garbage collector of a serving process need not look at."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from txetcd.collector import settle


class SettleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(gc.unfreeze)

    def test_what_is_there(self) -> None:
        """It is left out of later collections."""
        before = gc.get_freeze_count()
        there: list[list[int]] = [[]]
        settle()
        self.assertGreater(gc.get_freeze_count(), before)
        self.assertFalse(any(there is tracked for tracked in gc.get_objects()))

    def test_what_comes(self) -> None:
        """It is collected as ever."""
        settle()
        gone: list[int] = []

        class Cycle:
            def __init__(self) -> None:
                self.itself = self

            def __del__(self) -> None:
                gone.append(1)

        Cycle()
        gc.collect()
        self.assertEqual(gone, [1])
