"""Keys that run out: when, in what order, and what happens when the journal fails or the store was down."""

from __future__ import annotations

from tests.store_harness import StoreTestCase, Told
from txetcd.commands import Expire
from txetcd.expirer import EXPIRE_KEYS, LONGEST_SLEEP, RETRY
from txetcd.journal import Batch
from txetcd.journal.memory import MemoryJournal
from txetcd.store import Store
from txetcd.tree import SECOND, Dir


class ExpiryTests(StoreTestCase):
    """On a journal that answers at once."""

    def setUp(self) -> None:
        super().setUp()
        self.store = self.started()
        self.told = Told()
        self.store.stream("/", self.told.notify, self.told.clear, recursive=True)

    def after(self, seconds: float) -> list[str]:
        """What has run out when so many more seconds have passed."""
        self.clock.pump([seconds / 2, seconds / 2, 0, 0])
        found = [action for action in self.told.actions if action.startswith("expire ")]
        self.told.events.clear()
        return [action.removeprefix("expire ") for action in found]

    def test_in_time(self) -> None:
        """Not before, and not later."""
        self.done(self.store.set("/a", "1", ttl=5))
        self.assertEqual(self.after(4.998), [])
        self.assertEqual(self.value(self.store, "/a"), "1")
        self.assertEqual(self.after(0.002), ["/a"])
        self.assertIsNone(self.value(self.store, "/a"))
        self.assertEqual((self.store.tree.index, self.store.stats.expired), (3, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_event(self) -> None:
        node = self.done(self.store.set("/a", "1", ttl=5)).node
        changed = self.store.watch("/a")
        self.after(5)
        event = self.successResultOf(changed)
        self.assertEqual((event.action, event.node, event.prev), ("expire", None, node))
        self.assertEqual((event.index, event.time), (3, self.now()))

    def test_order(self) -> None:
        """Those that run out first go first, however they came."""
        for key, ttl in (("/c", 30), ("/a", 10), ("/b", 20)):
            self.done(self.store.set(key, ttl=ttl))
        self.assertEqual([self.after(10) for _ in range(3)], [["/a"], ["/b"], ["/c"]])

    def test_ttl_0(self) -> None:
        self.done(self.store.set("/a", ttl=0))
        self.assertEqual(self.after(0), ["/a"])

    def test_postponed(self) -> None:
        """A refresh, an update or a new value gives more time, or less; without a ttl, all the time."""
        self.done(self.store.set("/a", ttl=5))
        self.done(self.store.refresh("/a", 10))
        self.assertEqual(self.after(9), [])
        self.done(self.store.update("/a", "2", ttl=10))
        self.assertEqual(self.after(9), [])
        self.done(self.store.set("/a", "3", ttl=100))
        self.done(self.store.refresh("/a", 2))
        self.assertEqual(self.after(2), ["/a"])
        self.done(self.store.set("/a", ttl=5))
        self.done(self.store.set("/a"))
        before = self.store.tree
        self.assertEqual(self.after(1000), [])
        self.assertIs(self.store.tree, before)

    def test_deleted(self) -> None:
        """There is nothing to run out any more, and no command for it."""
        self.done(self.store.set("/a", ttl=5))
        self.done(self.store.delete("/a"))
        before = self.store.tree
        self.assertEqual(self.after(5), [])
        self.assertIs(self.store.tree, before)

    def test_directory(self) -> None:
        """It goes with all that is in it, as one event; what was in it does not run out again."""
        self.done(self.store.set("/d", dir=True, ttl=5))
        for number in range(10):
            self.done(self.store.set(f"/d/x/{number}", ttl=7))
        index = self.store.tree.index
        self.assertEqual(self.after(5), ["/d"])
        self.assertIsNone(self.store.tree.find("/d"))
        self.assertEqual(self.after(100), [])
        self.assertEqual((self.store.tree.index, self.clock.getDelayedCalls()), (index + 1, []))

    def test_directory_is_kept(self) -> None:
        """A key that runs out leaves its directory."""
        self.done(self.store.set("/d/x", ttl=5))
        self.assertEqual(self.after(5), ["/d/x"])
        self.assertIsInstance(self.store.tree.find("/d"), Dir)

    def test_made_again(self) -> None:
        """A key that went with its directory and came back for ever does not run out."""
        self.done(self.store.set("/d/x", ttl=5))
        self.done(self.store.delete("/d", recursive=True))
        self.done(self.store.set("/d/x", "new"))
        self.assertEqual(self.after(10), [])
        self.assertEqual(self.value(self.store, "/d/x"), "new")

    def test_wall_clock_set_forward(self) -> None:
        """It is noticed before long, though the timers do not know of it."""
        offset = [0]
        store = Store(MemoryJournal(), self.clock, now=lambda: self.now() + offset[0])
        store.startService()
        self.done(store.set("/a", ttl=3600))
        offset[0] = 3600 * SECOND
        self.clock.pump([LONGEST_SLEEP, 0])
        self.assertIsNone(store.tree.find("/a"))
        self.stopped(store)

    def test_wall_clock_set_back(self) -> None:
        """Nothing is lost or goes early; it takes as much longer."""
        offset = [0]
        store = Store(MemoryJournal(), self.clock, now=lambda: self.now() - offset[0])
        store.startService()
        self.done(store.set("/a", ttl=10))
        offset[0] = 5 * SECOND
        self.clock.pump([10, 0, 4.9, 0])
        self.assertIsNotNone(store.tree.find("/a"))
        self.clock.pump([0.1, 0])
        self.assertIsNone(store.tree.find("/a"))
        self.stopped(store)

    def test_one_timer(self) -> None:
        """However many keys wait."""
        for ttl in (50, 30, 40, 10, 20):
            self.done(self.store.set(f"/{ttl}", ttl=ttl))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_stop(self) -> None:
        self.done(self.store.set("/a", ttl=5))
        self.successResultOf(self.store.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class HeldExpiryTests(StoreTestCase):
    """On a journal that answers when the test says so."""

    def setUp(self) -> None:
        super().setUp()
        self.store = self.started(self.journal)

    def set(self, key: str, ttl: int) -> None:
        self.store.set(key, ttl=ttl)
        self.turn()
        self.journal.commit()

    def commands(self) -> list[object]:
        """What is in flight."""
        return [command for batch in self.journal.held for command in batch.commands]

    def advance(self, seconds: float) -> None:
        self.clock.pump([seconds, 0])

    def test_nothing_before_it_is_durable(self) -> None:
        self.set("/a", 5)
        changed = self.store.watch("/a")
        self.advance(5)
        self.assertEqual(self.commands(), [Expire(("/a",), self.now())])
        self.assertIsNotNone(self.store.tree.find("/a"))
        self.assertNoResult(changed)
        self.journal.commit()
        self.assertIsNone(self.store.tree.find("/a"))
        self.assertEqual(self.successResultOf(changed).action, "expire")

    def test_refresh_that_was_first(self) -> None:
        """A refresh that is in order before the expiry wins, and the key has the time that it gives."""
        self.set("/a", 5)
        self.advance(4)
        self.store.refresh("/a", 10)
        self.turn()
        self.advance(1)
        self.journal.commit()
        self.turn()
        self.assertEqual(self.commands(), [Expire(("/a",), self.now())])
        self.journal.commit()
        self.assertEqual(self.store.tree.index, 3)
        self.advance(9)
        self.journal.commit()
        self.assertIsNone(self.store.tree.find("/a"))

    def test_refresh_that_was_late(self) -> None:
        """It finds nothing any more."""
        self.set("/a", 5)
        self.advance(5)
        late = self.store.refresh("/a", 10)
        self.journal.commit()
        self.turn()
        self.journal.commit()
        self.assertEqual(self.refused(late).code, 100)

    def test_expired_by_another_store(self) -> None:
        """Its expiry comes first: ours is a no-op that takes no index."""
        self.set("/a", 5)
        self.advance(5)
        self.journal.others(Batch("other", 1, (Expire(("/a",), self.now()),)))
        self.assertEqual(self.store.tree.index, 3)
        self.journal.commit()
        self.assertEqual(self.store.tree.index, 3)
        self.advance(100)
        self.assertEqual(self.commands(), [])

    def test_retried(self) -> None:
        """What could not be made durable is tried again, until it can."""
        self.set("/a", 5)
        self.set("/b", 100)
        self.advance(5)
        for _ in range(3):
            self.journal.refuse("disk full")
            self.advance(RETRY / 2)
            self.assertEqual(self.commands(), [])
            self.assertIsNotNone(self.store.tree.find("/a"))
            self.advance(RETRY / 2)
        self.assertEqual(self.commands(), [Expire(("/a",), self.now())])
        self.journal.commit()
        self.assertIsNone(self.store.tree.find("/a"))
        self.advance(91.5)
        self.advance(0.5)
        self.assertEqual(self.commands(), [Expire(("/b",), self.now())])

    def test_stopped_before_the_retry(self) -> None:
        self.set("/a", 5)
        self.advance(5)
        self.journal.refuse("disk full")
        self.successResultOf(self.store.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_while_in_flight(self) -> None:
        for answer in (self.journal.commit, lambda: self.journal.refuse("disk full")):
            self.store.startService()
            self.set("/a", 5)
            self.advance(5)
            stopping = self.store.stopService()
            answer()
            self.successResultOf(stopping)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_at_once(self) -> None:
        """They go in commands of bounded size, one after the other, with room for writes between them."""
        count = 10_000
        for number in range(count):
            self.store.set(f"/{number % 100}/{number}", ttl=5)
        self.turn()
        while self.journal.held:
            self.journal.commit()
            self.turn()
        told, index = Told(), self.store.tree.index
        self.store.stream("/", told.notify, told.clear, recursive=True)
        self.advance(5)
        write = self.store.set("/w")
        batches = 0
        while self.journal.held:
            (batch,) = self.journal.held
            expiries = [command for command in batch.commands if isinstance(command, Expire)]
            self.assertTrue(all(len(command.keys) <= EXPIRE_KEYS for command in expiries))
            self.assertLessEqual(len(expiries), 1)
            batches += 1
            self.journal.commit()
            self.clock.advance(0)
            self.clock.advance(0)
            if batches == 2:
                self.successResultOf(write)
        self.assertEqual(len(told.events), count + 1)
        self.assertEqual(told.indices, list(range(index + 1, index + count + 2)))
        self.assertEqual(batches, count // EXPIRE_KEYS)
        self.assertEqual(self.store.stats.expired, count)


class OverdueTests(StoreTestCase):
    """What ran out while the store was down."""

    def filled(self, count: int) -> None:
        """Leave so many keys that run out, and one that does not, in the journal."""
        store = self.started(self.journal)
        for number in range(count):
            store.set(f"/{number}", ttl=5)
        store.set("/for/ever", ttl=100_000)
        stopping = store.stopService()
        while self.journal.held:
            self.journal.commit()
        self.successResultOf(stopping)

    def test_before_ready(self) -> None:
        """All of them go before anybody is let in, as events with indices of their own."""
        self.filled(2 * EXPIRE_KEYS + 1)
        self.clock.advance(3600)
        store = self.started(self.journal)
        ready = store.ready()
        self.turn()
        for _ in range(3):
            self.assertNoResult(ready)
            self.assertFalse(store.accepting)
            self.journal.commit()
            self.turn()
        self.successResultOf(ready)
        self.assertEqual(list(store.tree.root.children), ["for"])
        self.assertEqual(store.tree.index, 1 + 2 * (2 * EXPIRE_KEYS + 1) + 1)
        self.assertEqual(store.stats.expired, 2 * EXPIRE_KEYS + 1)
        past = self.successResultOf(store.watch("/", recursive=True, since=store.tree.index))
        self.assertEqual((past.action, past.time), ("expire", self.now()))

    def test_at_once(self) -> None:
        """With a journal that answers at once, it takes no more than a few turns."""
        journal = MemoryJournal()
        store = self.started(journal)
        self.done(store.set("/a", ttl=5))
        self.successResultOf(store.stopService())
        self.clock.advance(10)
        store = self.started(journal)
        self.done(store.ready())
        self.assertIsNone(store.tree.find("/a"))

    def test_not_yet(self) -> None:
        """What has time left keeps it."""
        self.filled(1)
        self.clock.advance(3)
        store = self.started(self.journal)
        self.successResultOf(store.ready())
        self.assertIsNotNone(store.tree.find("/0"))
        self.clock.pump([2, 0])
        self.journal.commit()
        self.assertIsNone(store.tree.find("/0"))

    def test_failing(self) -> None:
        """A journal that cannot write does not keep the store from answering; it is tried again."""
        self.filled(1)
        self.clock.advance(3600)
        store = self.started(self.journal)
        self.turn()
        self.journal.refuse("disk full")
        self.successResultOf(store.ready())
        self.clock.pump([RETRY, 0])
        self.journal.commit()
        self.assertIsNone(store.tree.find("/0"))
