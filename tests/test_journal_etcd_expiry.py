"""Keys that run out at stores that share an engine and whose clocks differ: when, how often, and by whom."""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.etcd_harness import ENGINE, EngineTestCase
from tests.fake_engine import Link
from tests.store_harness import EPOCH, Told
from txetcd.commands import Expire
from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.expirer import PATIENCE, QUIET
from txetcd.journal import Batch
from txetcd.journal.etcd import EtcdJournal
from txetcd.store import Store
from txetcd.tree import SECOND

# By how many seconds the clocks of three stores are ahead of the true time.
AHEAD = (0.0, 2.5, -1.5)


class Shared:
    """A store on a link of its own, with a clock of its own.

    @ivar ahead: by how many seconds that is ahead.
    @ivar told: all events that it shows.
    @ivar asked: the expiries that it has asked for.
    """

    def __init__(self, case: SharedCase, ahead: float) -> None:
        self.ahead = ahead
        self.link = Link(case.engine)
        self.journal = EtcdJournal(case.clock, ENGINE, client=self.link)
        self.store = Store(self.journal, case.clock, now=lambda: case.now() + round(ahead * SECOND))
        self.told = Told()
        self.asked: list[Expire] = []
        append = self.journal.append

        def listen(batch: Batch) -> Deferred[None]:
            self.asked += [command for command in batch.commands if isinstance(command, Expire)]
            return append(batch)

        case.patch(self.journal, "append", listen)


class SharedCase(EngineTestCase):
    """Stores that share an engine."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(EPOCH)

    def now(self) -> int:
        return round(self.clock.seconds() * 1000) * (SECOND // 1000)

    def shared(self, *ahead: float) -> list[Shared]:
        """Stores that have started, one for each clock."""
        made = [Shared(self, each) for each in ahead]
        for each in made:
            each.store.startService()
            self.addCleanup(self.stopped, each)
            self.done(each.store.ready())
            each.store.stream("/", each.told.notify, each.told.clear, recursive=True)
        return made

    def stopped(self, each: Shared) -> None:
        each.link.heal()
        self.done(each.store.stopService(), 5)

    def assert_same(self, stores: list[Shared]) -> None:
        """All have shown the same events, and have the same tree."""
        self.pass_time(0.1)
        first = stores[0]
        for each in stores[1:]:
            self.assertEqual(each.told.events, first.told.events)
            self.assertTrue(each.store.tree.root == first.store.tree.root)
            self.assertEqual(each.store.tree.index, first.store.tree.index)

    def expired(self, each: Shared) -> list[str]:
        return [event.key for event in each.told.events if event.action == "expire"]


class ClocksTests(SharedCase):
    """Clocks that differ."""

    def setUp(self) -> None:
        super().setUp()
        self.stores = self.shared(*AHEAD)
        self.true, self.fast, self.slow = self.stores

    def test_early_by_the_difference(self) -> None:
        """The fastest clock says when, and whoever took the write how long: never earlier than that."""
        for writer in self.stores:
            self.done(writer.store.set("/a", ttl=10))
            lasts = 10 - (self.fast.ahead - writer.ahead)
            self.pass_time(lasts - 0.1)
            self.assertTrue(all(each.store.tree.find("/a") for each in self.stores))
            self.pass_time(0.2)
            self.assertFalse(any(each.store.tree.find("/a") for each in self.stores))
        self.assertEqual(self.expired(self.slow), ["/a"] * 3)
        self.assert_same(self.stores)

    def test_written_before_the_expiry_is_in_order(self) -> None:
        """An expiry that was decided before the key was given more time does nothing to it."""

        def recreate(key: str) -> Deferred[Event]:
            self.done(self.true.store.delete(key, recursive=True))
            return self.true.store.create(key, "new")

        writes: list[tuple[Callable[[str], Deferred[Event]], bool]] = [
            (lambda key: self.true.store.refresh(key, 10), True),
            (lambda key: self.slow.store.refresh(key, 10), True),
            (lambda key: self.true.store.update(key, ttl=10), True),
            (lambda key: self.true.store.update(key), False),
            (lambda key: self.slow.store.set(key, "new"), False),
            (lambda key: self.true.store.set(key, "new", ttl=10), True),
            (recreate, False),
        ]
        for number, (write, runs_out) in enumerate(writes):
            key = f"/{number}"
            self.outlives(key, write, runs_out)

    def test_directories(self) -> None:
        """The same; what is in a directory stays with it, and goes with it as one event."""
        self.outlives("/0", lambda key: self.true.store.update(key, ttl=10), True, dir=True)
        self.outlives("/1", lambda key: self.slow.store.update(key), False, dir=True)

    def outlives(
        self, key: str, write: Callable[[str], Deferred[Event]], runs_out: bool, *, dir: bool = False
    ) -> None:
        """Write to a key while the expiry that the fast clock has asked for is on its way."""
        self.done(self.true.store.set(key, dir=dir, ttl=6))
        if dir:
            self.done(self.true.store.set(f"{key}/below"))
        self.fast.link.holds = b"/log/"
        self.pass_time(6.1 - self.fast.ahead)
        self.assertEqual(self.fast.asked[-1].keys, (key,))
        self.assertTrue(self.fast.link.held)
        self.done(write(key))
        self.fast.link.holds = b""
        for send in self.fast.link.held:
            send()
        self.fast.link.held.clear()
        self.pass_time(1)
        for each in self.stores:
            self.assertIsNotNone(each.store.tree.find(f"{key}/below" if dir else key), key)
        self.pass_time(20)
        self.assertEqual(self.expired(self.slow).count(key), int(runs_out), key)
        self.assertEqual(self.true.store.tree.find(key) is None, runs_out, key)
        self.assert_same(self.stores)

    def test_warning(self) -> None:
        """Whoever sees that another's clock is ahead says so, and not again with each write."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.done(self.slow.store.set("/a", "1"))
        self.assertEqual(lines, [])
        for number in range(3):
            self.done(self.true.store.set("/a", str(number)))
        (line,) = lines
        self.assertIn("1.5 s ahead of this one", line)
        self.done(self.fast.store.set("/a", "2"))
        self.assertIn("2.5 s ahead", lines[1])
        self.assertEqual(len(lines), 2)
        self.clock.advance(QUIET)
        self.done(self.fast.store.set("/a", "3"))
        self.assertEqual(len(lines), 4)
        self.assertIn("4.0 s ahead", "".join(lines[2:]))

    def test_the_fastest_is_gone(self) -> None:
        """The next says when."""
        self.done(self.true.store.set("/a", ttl=10))
        self.fast.link.cut()
        self.pass_time(9.9)
        self.assertIsNotNone(self.true.store.tree.find("/a"))
        self.pass_time(0.2)
        self.assertIsNone(self.true.store.tree.find("/a"))
        self.fast.link.heal()
        self.pass_time(10)
        self.assert_same(self.stores)

    def test_at_random(self) -> None:
        """Whatever is written where: nothing goes earlier than its ttl less the difference, or stays on."""
        for seed in range(4):
            play = _Play(self, random.Random(seed), f"/{seed}")
            for _ in range(300):
                play.step()
            play.settle()
        self.assert_same(self.stores)
        self.assertGreater(len(self.expired(self.true)), 100)


class _Play:
    """Writes to a few keys at random, and judges when they run out."""

    def __init__(self, case: ClocksTests, rng: random.Random, root: str) -> None:
        self.case = case
        self.rng = rng
        self.keys = [f"{root}/{number}" for number in range(6)]
        # When each may run out at the earliest, by the true time; only of those that are to.
        self.earliest: dict[str, float] = {}
        self.seen = len(case.true.told.events)

    def step(self) -> None:
        """Write once, or let some time pass."""
        case, rng = self.case, self.rng
        if rng.random() < 0.5:
            case.pass_time(rng.choice((0.05, 0.3, 1.0)))
            self.judge()
            return
        each, key = rng.choice(case.stores), rng.choice(self.keys)
        ttl = rng.choice((None, 1, 3, 5, 8))
        write = rng.choice((each.store.set, each.store.update, each.store.create))
        written = write(key, ttl=ttl)
        if ttl is not None and rng.random() < 0.3:
            written.addErrback(lambda failure: failure.trap(EtcdError))
            written = each.store.refresh(key, ttl)
        outcome: list[Event | Failure] = []
        written.addBoth(outcome.append)
        case.turn()
        (done,) = outcome
        if isinstance(done, Failure):
            done.trap(EtcdError)
            self.judge()
            return
        # What ran out before was there before.
        self.judge(done.index)
        self.earliest.pop(key, None)
        if ttl is not None:
            self.earliest[key] = case.clock.seconds() + ttl - (max(AHEAD) - each.ahead)
        self.judge()

    def judge(self, end: int | None = None) -> None:
        """Look at what has run out since, before the event of that index."""
        case = self.case
        for event in case.true.told.events[self.seen :]:
            if end is not None and event.index > end:
                return
            self.seen += 1
            if event.action == "expire":
                case.assertIn(event.key, self.earliest, event)
                case.assertGreaterEqual(case.clock.seconds() + 1e-3, self.earliest.pop(event.key), event)

    def settle(self) -> None:
        """Wait until all that runs out has."""
        self.case.pass_time(8 + max(AHEAD) - min(AHEAD))
        self.judge()
        self.case.assertEqual(self.earliest, {})


class TurnsTests(SharedCase):
    """Who removes keys when all clocks agree."""

    def setUp(self) -> None:
        super().setUp()
        self.stores = self.shared(0.0, 0.0, 0.0)

    def run_out(self, count: int) -> None:
        """Let so many keys run out, one after the other."""
        for number in range(count):
            self.done(self.stores[number % 3].store.set(f"/{number}", ttl=2))
            self.pass_time(0.2)
        self.pass_time(4)

    def test_one_at_a_time(self) -> None:
        """Once each has found that another was first, the work is not done three times."""
        self.run_out(20)
        self.assertEqual(self.expired(self.stores[0]), [f"/{number}" for number in range(20)])
        self.assertEqual(sorted(len(each.asked) for each in self.stores), [1, 1, 20])
        self.assert_same(self.stores)

    def test_the_next(self) -> None:
        """Another takes over when that one cannot be reached, and keys run out hardly later."""
        self.run_out(3)
        (first,) = (each for each in self.stores if len(each.asked) > 1)
        others = [each for each in self.stores if each is not first]
        first.link.cut()
        self.done(others[0].store.set("/a", ttl=2))
        self.pass_time(2.1)
        self.assertIsNotNone(others[1].store.tree.find("/a"))
        self.pass_time(PATIENCE[1])
        self.assertIsNone(others[1].store.tree.find("/a"))
        # The next one goes in time.
        self.done(others[1].store.set("/b", ttl=2))
        self.pass_time(2.1)
        self.assertIsNone(others[0].store.tree.find("/b"))
        first.link.heal()
        self.pass_time(7)
        self.assert_same(self.stores)
        for each in self.stores:
            each.asked.clear()
        self.run_out(10)
        self.assertLessEqual(sum(len(each.asked) for each in self.stores), 12)

    def test_refreshed_as_it_runs_out(self) -> None:
        """A removal that comes to nothing since the key has more time says nothing of other stores."""
        store = self.stores[0]
        for each in self.stores[1:]:
            each.link.cut()
        self.done(store.store.set("/a", ttl=2))
        store.link.holds = b"/log/"
        self.pass_time(1)
        refreshed = store.store.refresh("/a", 2)
        self.pass_time(1.05)
        store.link.holds = b""
        for send in store.link.held:
            send()
        self.done(refreshed)
        self.pass_time(0.5)
        self.assertEqual(len(store.asked), 1)
        self.assertIsNotNone(store.store.tree.find("/a"))
        self.pass_time(0.6)
        self.assertIsNone(store.store.tree.find("/a"))
