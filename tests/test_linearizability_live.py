"""Short histories of servers that exist, with faults."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase

from tests.cluster.histories import Kind, Outcome
from tests.cluster.members import etcd_program
from tests.cluster.workload import KNOWN, Plan, Report, run
from tests.cluster.worlds import EngineWorld, SQLiteWorld, World


class LiveTests(TestCase):
    """Real servers, with faults."""

    timeout = 120

    async def judge(self, make: Callable[[Any, Path], World], plan: Plan) -> Report:
        """Run clients against a world; there must be nothing wrong with what they see."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        world = make(reactor, Path(temporary.name))
        self.addCleanup(lambda: Deferred.fromCoroutine(world.close()))
        stop = threading.Event()
        self.addCleanup(stop.set)

        def work() -> Report:
            world.start()
            return run(world, plan, stop)

        report = await deferToThread(work)
        for breach in report.breaches:
            if KNOWN in breach.reason:
                # Then the engine says one thing and another, and nothing can be said of those who ask it.
                raise SkipTest(breach.reason)
        self.assertEqual(report.breaches, (), report)
        done = [each for each in report.history if each.outcome is Outcome.OK]
        self.assertGreater(len(done), 20)
        self.assertTrue(all(math.isfinite(each.returned) for each in done))
        return report

    async def test_sqlite(self) -> None:
        faults = ("kill-leader", "lost-answers")
        await self.judge(SQLiteWorld, Plan(1.0, faults, clients=4, patience=0.5, lasting=0.4))

    async def test_engine(self) -> None:
        faults = ("kill-leader", "lost-answers")
        await self.judge(EngineWorld, Plan(1.5, faults, clients=4, patience=0.5, lasting=0.5))

    async def test_clocks(self) -> None:
        """Gateways whose clocks differ: keys run out early by no more than that, and refreshes count."""
        make = partial(EngineWorld, clocks=(0.0, 1.5, -0.5))
        report = await self.judge(make, Plan(4.0, clients=1, keepers=10))
        refreshed = [each for each in report.history if each.done and each.kind is Kind.REFRESH]
        self.assertTrue(refreshed)

    if etcd_program() is None:
        test_clocks.skip = "there is no etcd"  # type: ignore[attr-defined]
        test_engine.skip = "there is no etcd"  # type: ignore[attr-defined]
