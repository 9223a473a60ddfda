"""txetcd.heap: what the garbage collector need not look at, and what the system gets back."""

from __future__ import annotations

import ctypes
import gc
import os
from unittest import skipIf

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.hostile.vitals import UNKNOWN, vitals
from txetcd.heap import EVERY, settle, tend

NO_TRIM = "" if hasattr(ctypes.CDLL(None), "malloc_trim") else "only the GNU C library can be asked"


class HeapTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)


class SettleTests(HeapTests):
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


@skipIf(UNKNOWN or NO_TRIM, UNKNOWN or NO_TRIM)
class TendTests(HeapTests):
    """What is free goes back to the system, though there is something in use behind it."""

    def memory(self) -> int:
        """Resident bytes of this process."""
        return vitals(os.getpid()).memory

    def test_again_and_again(self) -> None:
        clock = Clock()
        tend(clock)
        for _ in range(2):
            values = [b"%d" % number * 250 for number in range(50_000)]
            kept = values[::1000]
            full = self.memory()
            del values
            clock.advance(EVERY)
            self.assertLess(self.memory(), full - 20_000_000)
            self.assertEqual(len(kept), 50)
