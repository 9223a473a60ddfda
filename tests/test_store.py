"""The store: its Python API, what is visible when, and what happens when the journal fails."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from tests.journal_contract import put
from tests.store_harness import EPOCH, StoreTestCase, Told
from txetcd import errors
from txetcd.commands import Set
from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.journal import Batch, JournalError
from txetcd.journal.memory import MemoryJournal
from txetcd.store import Store
from txetcd.tree import SECOND, Dir, File

NOT_RUNNING = "the store is not running"


class WriteTests(StoreTestCase):
    """The Python API on a journal that answers at once."""

    def setUp(self) -> None:
        super().setUp()
        self.store = self.started()

    def do(self, result: Deferred[Event]) -> tuple[str, File | Dir | None, File | Dir | None]:
        """What happened: action, node and previous node."""
        event = self.done(result)
        self.assertEqual((event.index, event.time), (self.store.tree.index, self.now()))
        return event.action, event.node, event.prev

    def codes(self, *results: Deferred[Event]) -> list[int]:
        return [self.refused(result).code for result in results]

    def test_set(self) -> None:
        first, second = File("/a/b", "1", 2, 2), File("/a/b", "2", 3, 3, self.now() + 5 * SECOND)
        self.assertEqual(self.do(self.store.set("/a/b", "1")), ("set", first, None))
        self.assertEqual(self.do(self.store.set("/a/b", "2", ttl=5)), ("set", second, first))
        self.assertEqual(self.do(self.store.set("/c")), ("set", File("/c", "", 4, 4), None))
        self.assertEqual(self.successResultOf(self.store.get("/a/b")), second)

    def test_set_directory(self) -> None:
        _, node, _ = self.do(self.store.set("/d", dir=True, ttl=5))
        assert isinstance(node, Dir)
        self.assertEqual((node.key, node.expiration), ("/d", self.now() + 5 * SECOND))

    def test_set_refused(self) -> None:
        self.done(gatherResults([self.store.set("/f"), self.store.set("/d/x")]))
        results = self.store.set("/f/x"), self.store.set("/d"), self.store.set("/")
        self.assertEqual(self.codes(*results), [104, 102, 107])

    def test_create(self) -> None:
        self.assertEqual(self.do(self.store.create("/a", "1")), ("create", File("/a", "1", 2, 2), None))
        self.assertEqual(self.codes(self.store.create("/a")), [105])
        _, node, _ = self.do(self.store.create("/d", dir=True))
        self.assertIsInstance(node, Dir)

    def test_create_in_order(self) -> None:
        keys = [self.done(self.store.create_in_order(key, "x")).key for key in ("/q", "/q", "/")]
        self.assertEqual(keys, [f"/q/{2:020d}", f"/q/{3:020d}", f"/{4:020d}"])

    def test_update(self) -> None:
        self.do(self.store.set("/a", "1", ttl=5))
        before, after = self.store.tree.get("/a"), File("/a", "2", 2, 3)
        self.assertEqual(self.do(self.store.update("/a", "2")), ("update", after, before))
        self.assertEqual(self.codes(self.store.update("/b", "2")), [100])

    def test_refresh(self) -> None:
        """The value stays, the index moves, and no watch is told."""
        told = Told()
        self.do(self.store.set("/a", "1"))
        self.store.stream("/a", told.notify, told.clear)
        node = File("/a", "1", 2, 3, self.now() + 9 * SECOND)
        self.assertEqual(self.do(self.store.refresh("/a", 9)), ("update", node, File("/a", "1", 2, 2)))
        self.assertEqual((self.codes(self.store.refresh("/b", 9)), told.events), ([100], []))

    def test_compare_and_swap(self) -> None:
        first = File("/a", "1", 2, 2)
        self.do(self.store.set("/a", "1"))
        swap = self.store.compare_and_swap
        refused = swap("/a", "2", prev_value="0"), swap("/a", "2", prev_index=9), swap("/b", "", prev_index=1)
        self.assertEqual(self.codes(*refused), [101, 101, 100])
        second = File("/a", "2", 2, 3, self.now() + SECOND)
        outcome = "compareAndSwap", second, first
        self.assertEqual(self.do(swap("/a", "2", prev_value="1", prev_index=2, ttl=1)), outcome)
        self.do(swap("/a", "3", prev_index=3))

    def test_delete(self) -> None:
        self.done(
            gatherResults([self.store.set("/a", "1"), self.store.set("/d/x"), self.store.set("/e", dir=True)])
        )
        self.assertEqual(self.do(self.store.delete("/a")), ("delete", None, File("/a", "1", 2, 2)))
        refused = self.store.delete("/a"), self.store.delete("/d"), self.store.delete("/d", dir=True)
        self.assertEqual(self.codes(*refused), [100, 102, 108])
        self.do(self.store.delete("/d", recursive=True))
        self.do(self.store.delete("/e", dir=True))
        self.assertEqual(len(self.store.tree.root.children), 0)

    def test_compare_with_nothing(self) -> None:
        """A comparison needs something to compare with."""
        self.assertRaises(ValueError, self.store.compare_and_swap, "/a", "1")
        self.assertRaises(ValueError, self.store.compare_and_delete, "/a", prev_value="")

    def test_compare_and_delete(self) -> None:
        self.do(self.store.set("/a", "1"))
        self.assertEqual(self.codes(self.store.compare_and_delete("/a", prev_value="0")), [101])
        outcome = self.do(self.store.compare_and_delete("/a", prev_value="1", prev_index=2))
        self.assertEqual(outcome, ("compareAndDelete", None, File("/a", "1", 2, 2)))

    def test_keys_are_cleaned(self) -> None:
        self.assertEqual(self.done(self.store.set("a//b/./c/../d/")).key, "/a/b/d")
        self.assertEqual(self.successResultOf(self.store.get("a/b/d")).key, "/a/b/d")
        self.assertEqual(self.codes(self.store.set("/a\0"), self.store.delete("/../x")), [209, 209])
        self.assertEqual(self.refused(self.store.get("/../x")).code, 209)
        self.assertEqual(self.refused(self.store.watch("/../x")).code, 209)

    def test_text_that_is_none(self) -> None:
        """Bytes that are not UTF-8 are welcome; a lone surrogate is refused, for no journal can write it."""
        self.done(self.store.set("/\udcff", "\udc80"))
        results = self.store.set("/\ud800"), self.store.set("/a", "\udfff"), self.store.delete("/\udc7f")
        self.assertEqual(self.codes(*results), [209, 209, 209])
        self.assertEqual((self.store.tree.index, self.store.tree.raft_index), (2, 1))

    def test_get(self) -> None:
        """A directory holds all that is below it, and never changes."""
        self.done(self.store.set("/d/x", "1"))
        directory = self.successResultOf(self.store.get("/d"))
        self.done(self.store.set("/d/y", "2"))
        assert isinstance(directory, Dir)
        self.assertEqual(list(directory.children), ["x"])
        self.assertEqual(self.refused(self.store.get("/z")), EtcdError(errors.KEY_NOT_FOUND, "/z", 3))
        self.assertEqual(self.successResultOf(self.store.get("/d/y", quorum=True)), File("/d/y", "2", 3, 3))


class VisibilityTests(StoreTestCase):
    """Nothing is seen before it is durable."""

    def setUp(self) -> None:
        super().setUp()
        self.store = self.started(self.journal)

    def test_nothing_before_delivery(self) -> None:
        """Neither by reads, nor the index, nor watches, nor answers, nor refusals, nor counters."""
        told = Told()
        self.store.stream("/", told.notify, told.clear, recursive=True)
        before, counts = self.store.tree, dict(self.store.stats.counts)
        answers = [self.store.set("/a", "1"), self.store.create("/a"), self.store.delete("/zzz")]
        changed = self.store.watch("/a")
        for step in (self.turn, lambda: None):
            self.assertIs(self.store.tree, before)
            self.assertEqual((told.events, self.store.stats.counts), ([], counts))
            for answer in (*answers, changed):
                self.assertNoResult(answer)
            step()
        self.journal.commit()
        self.assertEqual(self.value(self.store, "/a"), "1")
        self.assertEqual((self.store.tree.index, self.store.tree.raft_index), (2, 3))
        event = self.successResultOf(answers[0])
        self.assertEqual([event], told.events)
        self.assertIs(self.successResultOf(changed), event)
        self.assertEqual(self.refused(answers[1]), EtcdError(errors.KEY_EXISTS, "/a", 2))
        self.assertEqual(self.refused(answers[2]), EtcdError(errors.KEY_NOT_FOUND, "/zzz", 2))

    def test_answered_in_turn(self) -> None:
        """Whoever is answered sees the store right after their write, and not the next one's."""
        seen: list[tuple[int, int]] = []
        for number in range(3):
            answer = self.store.set("/a", str(number))
            answer.addCallback(lambda event: seen.append((event.index, self.store.tree.index)))
        self.turn()
        self.journal.commit()
        self.assertEqual(seen, [(2, 2), (3, 3), (4, 4)])

    def test_watch_before_answer(self) -> None:
        order: list[str] = []
        self.store.stream("/a", lambda event: order.append("watch"), lambda: None)
        self.store.set("/a").addCallback(lambda _: order.append("answer"))
        self.turn()
        self.journal.commit()
        self.assertEqual(order, ["watch", "answer"])

    def test_one_batch_a_turn(self) -> None:
        for number in range(20):
            self.store.set(f"/{number}")
        self.turn()
        self.assertEqual([len(batch.commands) for batch in self.journal.held], [20])

    def test_time_of_asking(self) -> None:
        """A ttl counts from when the write was asked for, however long the journal takes."""
        answer = self.store.set("/a", ttl=10)
        asked = self.now()
        self.turn()
        self.clock.advance(3)
        self.journal.commit()
        node = self.successResultOf(answer).node
        assert node is not None
        self.assertEqual(node.expiration, asked + 10 * SECOND)

    def test_other_stores(self) -> None:
        """Their batches are evaluated in order with ours, their refusals too, and answer nobody here."""
        told = Told()
        self.store.stream("/a", told.notify, told.clear)
        ours = self.store.create("/a", "ours")
        self.turn()
        number = self.journal.held[0].number
        self.journal.others(
            Batch("other", number, (put("/a", "theirs"), Set("/", "", False, None, False, 1)))
        )
        self.assertNoResult(ours)
        self.assertEqual((self.value(self.store, "/a"), self.store.tree.raft_index), ("theirs", 2))
        self.journal.commit()
        self.assertEqual(self.refused(ours), EtcdError(errors.KEY_EXISTS, "/a", 2))
        self.assertEqual(told.indices, [2])

    def test_barrier(self) -> None:
        self.successResultOf(self.store.barrier())
        journal = BrokenBarrier()
        store = self.started(journal)
        for result in (store.barrier(), store.get("/", quorum=True)):
            error = self.failureResultOf(result, EtcdError).value
            self.assertEqual(error, EtcdError(errors.RAFT_INTERNAL, "no quorum", 1))
        self.successResultOf(store.get("/"))


class BrokenBarrier(MemoryJournal):
    """A journal that has lost touch with the others."""

    def barrier(self) -> Deferred[None]:
        answer: Deferred[None] = Deferred()
        answer.errback(JournalError("no quorum"))
        return answer


class FailureTests(StoreTestCase):
    """A journal that cannot keep a batch."""

    def test_refused(self) -> None:
        """Code 300, nothing evaluated, reads and watches go on, and later writes succeed."""
        store, told = self.started(self.journal), Told()
        store.stream("/", told.notify, told.clear, recursive=True)
        first = store.set("/a", "1")
        self.turn()
        self.journal.commit()
        self.successResultOf(first)
        before = store.tree
        answers = [store.set("/a", "2"), store.create("/a"), store.delete("/a")]
        self.turn()
        self.journal.refuse("disk full")
        for answer in answers:
            self.assertEqual(self.refused(answer), EtcdError(errors.RAFT_INTERNAL, "disk full", 2))
        self.assertIs(store.tree, before)
        self.assertEqual(self.successResultOf(store.get("/a")), File("/a", "1", 2, 2))
        later = store.set("/a", "3")
        self.turn()
        self.journal.commit()
        self.assertEqual(self.successResultOf(later).index, 3)
        self.assertEqual((told.indices, told.cleared), ([2, 3], 0))

    def test_landed_after_all(self) -> None:
        """A batch that was given up and turns up in the order is evaluated, and nobody is answered twice."""
        store = self.started(self.journal)
        answer = store.set("/a", "1")
        self.turn()
        (lost,) = self.journal.held
        self.journal.refuse("no answer")
        self.refused(answer)
        self.journal.others(lost)
        self.assertEqual(self.value(store, "/a"), "1")


class ClockTests(StoreTestCase):
    def test_wall_clock(self) -> None:
        """Without one of its own a store takes the system's, in nanoseconds."""
        store = Store(MemoryJournal(), Clock())
        self.assertGreater(store.time(), EPOCH * SECOND)
