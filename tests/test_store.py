"""The store: its Python API, what is visible when, what happens when the journal fails, start and stop."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from tests.journal_contract import content, put
from tests.store_harness import EPOCH, HeldJournal, StoreTestCase, Told
from txetcd import errors
from txetcd.commands import Set
from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.journal import Batch, JournalError
from txetcd.journal.memory import MemoryJournal
from txetcd.store import Store
from txetcd.tree import EMPTY, SECOND, Dir, File

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


class StartTests(StoreTestCase):
    def test_ready(self) -> None:
        store = Store(self.journal, self.clock, now=self.now)
        waiting = [store.ready(), store.ready()]
        self.assertNoResult(waiting[0])
        store.startService()
        for ready in (*waiting, store.ready()):
            self.successResultOf(ready)
        self.assertEqual((store.tree.index, store.accepting), (EMPTY.index, True))
        self.assertGreater(store.cluster_id, 0)
        self.stopped(store)

    def test_before_start(self) -> None:
        self.assert_not_running(Store(self.journal, self.clock, now=self.now))

    def assert_not_running(self, store: Store) -> None:
        """All that can be asked is refused with 300."""
        self.assertFalse(store.accepting)
        self.assertRaises(EtcdError, lambda: store.tree)
        asks: list[Callable[[], object]] = [
            lambda: store.set("/a"),
            lambda: store.get("/a"),
            lambda: store.get("/a", quorum=True),
            lambda: store.watch("/a"),
            lambda: store.watch("/a", since=1),
            store.barrier,
        ]
        for ask in asks:
            answer = ask()
            assert isinstance(answer, Deferred)
            self.assertEqual(self.refused(answer), EtcdError(errors.RAFT_INTERNAL, NOT_RUNNING, 0))
        for since in (0, 1):
            error = self.assertRaises(
                EtcdError, store.stream, "/a", lambda event: None, lambda: None, since=since
            )
            self.assertEqual(error, EtcdError(errors.RAFT_INTERNAL, NOT_RUNNING, 0))
        self.assertEqual((store.watching, self.clock.getDelayedCalls()), (0, []))

    def test_journal_that_cannot_be_opened(self) -> None:
        """ready() fails with the reason, before and after, and all is refused; the next start may work."""
        self.journal.broken = "/data is in use"
        store = Store(self.journal, self.clock, now=self.now)
        waiting = store.ready()
        store.startService()
        for ready in (waiting, store.ready()):
            failure = self.failureResultOf(ready, JournalError)
            self.assertEqual(failure.getErrorMessage(), "/data is in use")
        self.assert_not_running(store)
        self.successResultOf(store.stopService())
        self.journal.broken = ""
        store.startService()
        self.successResultOf(store.ready())
        self.stopped(store)

    def test_as_a_service(self) -> None:
        parent = MultiService()
        store = Store(MemoryJournal(), self.clock, now=self.now)
        store.setServiceParent(parent)
        parent.startService()
        self.done(store.set("/a"))
        self.successResultOf(parent.stopService())
        self.assert_not_running(store)

    def test_stopped_while_starting(self) -> None:
        """A store that is stopped while keys run out at its start takes no writes any more."""
        first = self.started(self.journal)
        first.set("/a", ttl=5)
        self.turn()
        self.journal.commit()
        self.successResultOf(first.stopService())
        self.clock.advance(10)
        store = Store(self.journal, self.clock, now=self.now)
        store.startService()
        accepting: list[bool] = []
        store.ready().addBoth(lambda _: accepting.append(store.accepting))
        self.turn()
        stopping = store.stopService()
        while self.journal.held:
            self.journal.commit()
        self.successResultOf(stopping)
        self.assertNotIn(True, accepting)
        self.assert_not_running(store)


class StopTests(StoreTestCase):
    def test_order(self) -> None:
        """No more writes, watches end, what is pending is finished, then the journal is closed."""
        store, told = self.started(self.journal), Told()
        store.set("/t", ttl=100)
        self.turn()
        self.journal.commit()
        store.stream("/", told.notify, told.clear, recursive=True)
        changed = store.watch("/a")
        in_flight = store.set("/a", "1")
        self.turn()
        pending = store.set("/b", "2")
        stopping = store.stopService()
        self.assertEqual(self.failureResultOf(changed, EtcdError).value, EtcdError(errors.WATCHER_CLEARED))
        self.assertEqual((told.cleared, store.watching), (1, 0))
        late = self.failureResultOf(store.set("/late"), EtcdError).value
        self.assertEqual(late, EtcdError(errors.RAFT_INTERNAL, NOT_RUNNING, 2))
        self.journal.commit()
        self.successResultOf(in_flight)
        self.assertEqual(self.value(store, "/a"), "1")
        self.assertEqual(self.journal.closed, 0)
        self.assertNoResult(stopping)
        self.journal.commit()
        self.assertEqual(self.successResultOf(pending).index, 4)
        self.successResultOf(stopping)
        self.assertEqual((self.journal.closed, told.events, told.cleared), (1, [], 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits_for_the_journal(self) -> None:
        journal = SlowToClose()
        store = Store(journal, self.clock, now=self.now)
        store.startService()
        stopping = [store.stopService(), store.stopService()]
        self.assertNoResult(stopping[0])
        for closing in journal.closing:
            closing.callback(None)
        for stopped in stopping:
            self.successResultOf(stopped)

    def test_never_started(self) -> None:
        store = Store(self.journal, self.clock, now=self.now)
        self.successResultOf(store.stopService())
        self.successResultOf(store.stopService())

    def test_twice(self) -> None:
        """The second waits as the first does."""
        store = self.started(self.journal)
        answer = store.set("/a")
        stopping = [store.stopService(), store.stopService()]
        self.assertNoResult(stopping[1])
        self.journal.commit()
        self.successResultOf(answer)
        for stopped in stopping:
            self.successResultOf(stopped)
        self.successResultOf(store.stopService())

    def test_pending_that_fails(self) -> None:
        store = self.started(self.journal)
        answer = store.set("/a")
        stopping = store.stopService()
        self.journal.refuse("disk full")
        self.refused(answer)
        self.successResultOf(stopping)

    def test_many_pending(self) -> None:
        """All of them, on a journal that answers at once too."""
        journal = MemoryJournal()
        store = self.started(journal)
        answers = [store.set(f"/{number}") for number in range(2000)]
        self.successResultOf(store.stopService())
        self.assertEqual(self.successResultOf(answers[-1]).index, 2001)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.started(journal).tree.root.children), 2000)

    def test_in_an_answer(self) -> None:
        """Stopped by whom it answers, in the midst of a batch: the others are answered all the same."""
        for journal in (self.journal, MemoryJournal()):
            store = self.started(journal)
            stopping: list[Deferred[None]] = []
            first = store.set("/a").addCallback(lambda _, s=store, d=stopping: d.append(s.stopService()))
            second = store.set("/b")
            self.turn()
            if isinstance(journal, HeldJournal):
                journal.commit()
            self.successResultOf(first)
            self.assertEqual(self.successResultOf(second).index, 3)
            self.successResultOf(stopping[0])

    def test_in_a_watch(self) -> None:
        """Stopped by a watcher: the write that it was told of is answered."""
        store, told = self.started(), Told()
        stopping: list[Deferred[None]] = []
        store.stream("/a", lambda event: stopping.append(store.stopService()), told.clear)
        answer = store.set("/a")
        self.done(answer)
        self.successResultOf(stopping[0])
        self.assertEqual(told.cleared, 1)

    def test_asked_when_told_of_the_end(self) -> None:
        """Whoever is told that a watch has ended finds the store closed: for writes, and for new watches."""
        store = self.started(self.journal)
        answers: list[Deferred[Event]] = []
        store.stream("/a", lambda event: None, lambda: answers.append(store.set("/a")))
        store.stream("/a", lambda event: None, lambda: answers.append(store.watch("/a")))
        store.set("/a")
        stopping = store.stopService()
        self.assertEqual([self.refused(answer).code for answer in answers], [300, 300])
        self.assertEqual(store.watching, 0)
        self.journal.commit()
        self.successResultOf(stopping)

    def test_start_again(self) -> None:
        """Nothing is left of the first run but what the journal kept."""
        store = self.started(self.journal)
        store.set("/a", "1", ttl=100)
        store.set("/b", "2")
        self.turn()
        self.journal.commit()
        before, cluster_id = content(store.tree), store.cluster_id
        self.successResultOf(store.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        store.startService()
        self.successResultOf(store.ready())
        self.assertEqual((content(store.tree), store.cluster_id), (before, cluster_id))
        self.assertEqual(sum(store.stats.counts.values()), 0)
        answer = store.set("/b", "3")
        self.turn()
        self.journal.commit()
        self.assertEqual(self.successResultOf(answer).index, 4)

    def test_independent(self) -> None:
        """Two stores in one process have nothing in common."""
        one, two = self.started(), self.started()
        self.done(one.set("/a", "1"))
        self.assertEqual((one.tree.index, two.tree.index), (2, 1))
        self.assertNotEqual(one.cluster_id, two.cluster_id)


class SlowToClose(MemoryJournal):
    """A journal that is closed when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.closing: list[Deferred[None]] = []

    def close(self) -> Deferred[None]:
        self.closing.append(Deferred())
        return self.closing[-1]


class ClockTests(StoreTestCase):
    def test_wall_clock(self) -> None:
        """Without one of its own a store takes the system's, in nanoseconds."""
        store = Store(MemoryJournal(), Clock())
        self.assertGreater(store.time(), EPOCH * SECOND)
