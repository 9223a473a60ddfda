"""Stores that share an engine: one tree, the same indices and events, whatever becomes of the links."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.etcd_harness import ENGINE, EngineTestCase
from tests.fake_engine import Link
from tests.store_harness import EPOCH, Told
from txetcd.errors import EVENT_INDEX_CLEARED, WATCHER_CLEARED, EtcdError
from txetcd.events import Event
from txetcd.journal.etcd import EtcdJournal
from txetcd.store import Store
from txetcd.tree import SECOND, File


class StoresTests(EngineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(EPOCH)
        self.links: dict[Store, Link] = {}

    def store(self, history_size: int = 1000) -> Store:
        """A store that has started."""
        link = Link(self.engine)
        journal = EtcdJournal(self.clock, ENGINE, client=link)
        journal.checkpoint_commands = 1000
        store = Store(journal, self.clock, history_size=history_size, now=self.now)
        self.links[store] = link
        store.startService()
        self.addCleanup(self.stopped, store)
        self.done(store.ready())
        return store

    def stopped(self, store: Store) -> None:
        self.links[store].heal()
        self.done(store.stopService(), 5)

    def now(self) -> int:
        return round(self.clock.seconds() * 1000) * (SECOND // 1000)

    def refused(self, result: Deferred[Event], seconds: float = 0.0) -> EtcdError:
        self.turn()
        self.pass_time(seconds)
        error = self.failureResultOf(result, EtcdError).value
        assert isinstance(error, EtcdError)
        return error

    def test_same_events(self) -> None:
        """A stream at each sees the same, in the same order; who writes sees it at once at its own."""
        one, two = self.store(), self.store()
        told = [Told(), Told()]
        for store, reader in zip((one, two), told, strict=True):
            store.stream("/", reader.notify, reader.clear, recursive=True)
        writes = [store.set(f"/{number}") for number in range(5) for store in (one, two)]
        for write in writes:
            self.done(write)
        self.assertEqual(told[0].events, told[1].events)
        self.assertEqual(told[0].indices, list(range(2, 12)))

    def test_compare_and_swap(self) -> None:
        """Of two that want the same, one gets it, and the other is told what there is."""
        one, two = self.store(), self.store()
        self.done(one.set("/a", "0"))
        swaps = [store.compare_and_swap("/a", "1", prev_value="0") for store in (one, two)]
        self.done(swaps[0])
        self.assertEqual(self.refused(swaps[1]).cause, "[0 != 1]")

    def test_expiry(self) -> None:
        """All ask for it, and it happens once."""
        stores = [self.store() for _ in range(3)]
        self.done(stores[0].set("/a", ttl=10))
        self.pass_time(11)
        self.assertEqual([store.tree.index for store in stores], [3, 3, 3])
        self.assertEqual([store.tree.find("/a") for store in stores], [None] * 3)

    def test_expiry_while_all_are_down(self) -> None:
        store = self.store()
        self.done(store.set("/a", ttl=10))
        self.done(store.stopService(), 1)
        self.pass_time(20)
        again = self.store()
        self.assertIsNone(again.tree.find("/a"))
        self.assertEqual(again.tree.index, 3)

    def test_quorum(self) -> None:
        one, two = self.store(), self.store()
        self.links[two].shows = False
        self.done(one.set("/a", "1"))
        self.assertIsNone(two.tree.find("/a"))
        node = self.done(two.get("/a", quorum=True), 2)
        assert isinstance(node, File)
        self.assertEqual(node.value, "1")

    def test_cut_off(self) -> None:
        """Writes and quorum reads fail with 300, and the rest goes on."""
        store = self.store()
        self.done(store.set("/a", "1"))
        self.links[store].cut()
        write, read = store.set("/a", "2"), store.get("/a", quorum=True)
        self.assertEqual(self.refused(write, 5.1).code, 300)
        self.assertEqual(self.failureResultOf(read, EtcdError).value.code, 300)
        node = self.done(store.get("/a"))
        assert isinstance(node, File)
        self.assertEqual(node.value, "1")

    def test_large_values(self) -> None:
        """A batch holds no more than fits in a row; a value that does not fit alone is refused alone."""
        store = self.store()
        values = ["x" * 400_000] * 6 + ["x" * 1_600_000]
        *fitting, long = [store.set(f"/{number}", value) for number, value in enumerate(values)]
        for write in fitting:
            self.done(write)
        self.assertIn("more than the engine takes", self.refused(long).cause)

    def test_start_anew(self) -> None:
        """Watches are ended, for nobody can tell what they have missed; new ones see what is known."""
        one, two = self.store(), self.store(history_size=10)
        told = Told()
        two.stream("/", told.notify, told.clear, recursive=True)
        waiting = two.watch("/a")
        self.links[two].cut()
        for number in range(2500):
            one.set("/x", str(number))
            if number % 10 == 9:
                self.turn()
        self.pass_time(2)
        self.assertEqual(two.tree.index, 1)
        self.links[two].heal()
        self.pass_time(2)
        self.assertEqual(two.tree.index, one.tree.index)
        self.assertTrue(two.tree.root == one.tree.root)
        self.assertEqual((told.events, told.cleared), ([], 1))
        self.assertEqual(self.refused(waiting).code, WATCHER_CLEARED)
        self.assertEqual(self.refused(two.watch("/x", since=3)).code, EVENT_INDEX_CLEARED)
        self.assertEqual(self.done(two.watch("/x", since=one.tree.index)).index, one.tree.index)
        # All goes on from there.
        self.done(two.set("/y"))
        self.pass_time(1)
        self.assertTrue(two.tree.root == one.tree.root)
