"""Checkpoints of the journal in an etcd v3 cluster: by many gateways, interrupted anywhere."""

from __future__ import annotations

import random

from twisted.internet.defer import Deferred

from tests.etcd_harness import EngineTestCase, Gateway
from tests.fake_engine import FakeEngine
from tests.journal_contract import content, put
from txetcd.commands import AnyCommand, Delete


class CheckpointTests(EngineTestCase):
    """Checkpoints by many, interrupted anywhere."""

    def fill(self, gateway: Gateway, count: int) -> None:
        """Make a checkpoint of that long: many rows, and directories that were there before."""
        commands: list[AnyCommand] = [put("/old/x"), put("/old/y"), put("/f")]
        self.done(gateway.append(*commands))
        self.done(gateway.journal.checkpoint(gateway.checkpoint(gateway.delivered[-1][0])), 3)
        commands = [Delete("/old", True, True, 2), put("/old/z"), Delete("/f", False, False, 2), put("/f/g")]
        commands += [put(f"/many/{number}", str(number)) for number in range(count)]
        self.done(gateway.append(*commands))

    def test_interrupted_anywhere(self) -> None:
        """After any number of transactions the writer is gone: whoever starts finds everything."""
        steps = 0
        while True:
            self.engine = FakeEngine(self.clock)
            one = self.gateway()
            self.fill(one, 250)
            expected = content(one.tree)
            done = one.journal.checkpoint(one.checkpoint(one.delivered[-1][0]))
            one.link.left = steps
            self.pass_time(0.1)
            finished = done.called
            one.link.cut()
            two = self.gateway()
            self.assertTrue(content(two.tree) == expected, f"after {steps} steps")
            self.assertEqual(two.events(), one.events())
            one.journal.close()
            two.journal.close()
            self.turn()
            if finished:
                break
            steps += 1
        self.assertGreater(steps, 6)
        self.assertEqual(self.engine.keys("/stage/"), [])

    def test_done_when_another_has_written_it(self) -> None:
        one, two = self.gateway(), self.gateway()
        for number in range(3):
            self.done(one.write(f"/{number}"))
        checkpoints = [gateway.journal.checkpoint(gateway.checkpoint(3)) for gateway in (one, two)]
        for checkpoint in checkpoints:
            self.done(checkpoint, 3)
        self.assert_agreed(one, two)

    def test_log_is_trimmed(self) -> None:
        """One checkpoint later, so that nobody need start anew for having been a little late."""
        one, two = self.gateway(), self.gateway()
        left = []
        for number in range(8):
            self.done((one, two)[number % 2].write(f"/{number}"))
            if number % 2:
                self.done(one.journal.checkpoint(one.checkpoint(number + 1)), 3)
                left.append(len(self.engine.keys("/log/")) - 1)
        self.assertEqual(left, [2, 2, 2, 2])
        self.assert_agreed(one, two)

    def test_left_to_the_last_writer(self) -> None:
        """Also if that has never appended anything; in time others do it."""
        one, two = self.gateway(), self.gateway()
        self.done(one.write("/1"))
        self.done(two.journal.checkpoint(two.checkpoint(1)))
        self.done(one.write("/2"))
        left = one.journal.checkpoint(one.checkpoint(2))
        self.turn()
        self.assertNoResult(left)
        self.done(left, 3)
        self.assert_agreed(one, two)

    def test_trimmed_when_the_moment_is_forgotten(self) -> None:
        """A gateway may be stopped between the checkpoint and the trimming for any time."""
        one = self.gateway()
        for number in range(2):
            self.done(one.write(f"/{number}"))
            checkpoint = one.journal.checkpoint(one.checkpoint(number + 1))
            if number:
                one.link.left = 1
            self.turn()
        self.assertNoResult(checkpoint)
        self.engine.handle("/kv/compaction", {"revision": str(self.engine.revision)})
        one.link.left = None
        one.link.heal()
        self.done(checkpoint, 5)
        self.assertEqual(len(self.engine.keys("/log/")), 2)

    def test_lands_late(self) -> None:
        """A checkpoint that was on its way while others were written does no harm."""
        one, two = self.gateway(), self.gateway()
        self.done(one.write("/a", "1"))
        one.link.holds = b"/checkpoint"
        one.journal.checkpoint(one.checkpoint(1))
        self.turn()
        for number in range(2, 5):
            self.done(two.write("/a", str(number)))
            self.done(two.journal.checkpoint(two.checkpoint(number)), 0.5)
        self.assertTrue(one.link.held)
        for land in one.link.held:
            land()
        one.link.holds = b""
        self.assert_agreed(one, two)

    def test_engine_restored(self) -> None:
        """A checkpoint of what is no more is not written over what is there instead."""
        one = self.gateway()
        self.done(one.write("/kept"))
        revision = self.engine.revision
        self.done(one.write("/gone"))
        checkpoint = one.checkpoint(2)
        self.engine.restore(revision)
        one.journal.checkpoint(checkpoint)
        self.pass_time(5)
        self.assertEqual(one.anew, 1)
        self.done(one.write("/a"))
        self.assert_agreed(one)
        self.assertIsNone(self.gateway().tree.find("/gone"))

    def test_no_space(self) -> None:
        """What cannot be written now is written later; until then the log is kept."""
        one = self.gateway()
        self.done(one.write("/1"))
        self.engine.full = True
        done = one.journal.checkpoint(one.checkpoint(1))
        self.pass_time(5)
        self.assertNoResult(done)
        self.engine.full = False
        self.done(done, 60)
        self.assert_agreed(one)

    def test_compaction(self) -> None:
        """The engine is let forget what is some minutes old."""
        one = self.gateway()
        for number in range(8):
            self.done(one.write(f"/{number}"))
            revision = self.engine.revision
            self.done(one.journal.checkpoint(one.checkpoint(number + 1)), 3)
            self.pass_time(100)
        self.assertGreater(self.engine.compacted, 0)
        self.assertLess(self.engine.compacted, revision)

    def test_random(self) -> None:
        """Whoever writes which checkpoint when, and is cut off when, everybody comes to the same."""
        for seed in range(20):
            self.engine = FakeEngine(self.clock)
            self._random(random.Random(seed))

    def _random(self, rng: random.Random) -> None:
        gateways = [self.gateway() for _ in range(3)]
        pending: dict[str, Deferred[None]] = {}
        acknowledged: list[str] = []
        for _ in range(60):
            gateway = rng.choice(gateways)
            gateway.link.lag = rng.choice([0.0, 0.01])
            what = rng.random()
            if what < 0.5:
                key = rng.choice(["/a", "/b/c", "/b/d", "/b", "/c/d/e", "/c"])
                command = Delete(key, True, True, 2) if rng.random() < 0.3 else put(key, str(rng.random()))
                mark = f"/n/{rng.random()}"
                appended = gateway.append(command, put(mark))
                appended.addCallbacks(lambda _, mark=mark: acknowledged.append(mark), lambda _: None)
            elif what < 0.75:
                done = pending.get(gateway.name)
                if gateway.delivered and (done is None or done.called):
                    position = gateway.delivered[-1][0]
                    pending[gateway.name] = gateway.journal.checkpoint(gateway.checkpoint(position))
            elif what < 0.85:
                gateway.link.left = rng.randrange(6)
            else:
                for each in gateways:
                    each.link.left = None
                    each.link.heal()
            self.pass_time(rng.choice([0.05, 0.3, 6.0]))
        for each in gateways:
            each.link.left = None
            each.link.heal()
        self.pass_time(10)
        self.assert_agreed(*gateways)
        for mark in acknowledged:
            node = gateways[0].tree.find(mark)
            self.assertIsNotNone(node, f"{mark} is lost")
        for each in gateways:
            delivered = each.written
            self.assertEqual(len(set(delivered[1::2])), len(delivered[1::2]), "a batch came twice")
        for each in self.gateways:
            each.journal.close()
        self.pass_time(1)
        self.gateways.clear()
