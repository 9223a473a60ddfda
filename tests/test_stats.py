"""txetcd.stats: what is counted under which name."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txetcd.commands import Command, CompareAndDelete, CompareAndSwap, Create, Delete, Expire, Set, Update
from txetcd.stats import StoreStats

COMMANDS: list[tuple[str, Command]] = [
    ("sets", Set("/a", "", False, None, False, 0)),
    ("create", Create("/a", "", False, None, False, 0)),
    ("create", Create("/a", "", False, None, True, 0)),
    ("update", Update("/a", "", None, False, 0)),
    ("compareAndSwap", CompareAndSwap("/a", "", "1", 0, None, False, 0)),
    ("delete", Delete("/a", False, False, 0)),
    ("compareAndDelete", CompareAndDelete("/a", "1", 0, 0)),
]

NAMES = {
    "getsSuccess",
    "getsFail",
    "setsSuccess",
    "setsFail",
    "deleteSuccess",
    "deleteFail",
    "updateSuccess",
    "updateFail",
    "createSuccess",
    "createFail",
    "compareAndSwapSuccess",
    "compareAndSwapFail",
    "compareAndDeleteSuccess",
    "compareAndDeleteFail",
}


class StoreStatsTests(SynchronousTestCase):
    def assert_counted(self, stats: StoreStats, **counts: int) -> None:
        self.assertEqual({name: count for name, count in stats.counts.items() if count}, counts)

    def test_new(self) -> None:
        stats = StoreStats()
        self.assertEqual(stats.counts, dict.fromkeys(NAMES, 0))
        self.assertEqual(stats.expired, 0)

    def test_reads(self) -> None:
        stats = StoreStats()
        for found in True, True, False:
            stats.read(found)
        self.assert_counted(stats, getsSuccess=2, getsFail=1)

    def test_writes(self) -> None:
        """A command that made no event was refused."""
        for name, command in COMMANDS:
            stats = StoreStats()
            for events in 1, 1, 0:
                stats.write(command, events)
            self.assert_counted(stats, **{f"{name}Success": 2, f"{name}Fail": 1})
            self.assertEqual(stats.expired, 0)

    def test_expiry(self) -> None:
        """Each key counts; a command that found nothing to do is no failure."""
        stats = StoreStats()
        for events in 3, 0, 2:
            stats.write(Expire(("/a",), 0), events)
        self.assert_counted(stats)
        self.assertEqual(stats.expired, 5)
