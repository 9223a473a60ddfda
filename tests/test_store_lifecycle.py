"""The store's start and stop: what is refused before and after, what is finished, and what is left of it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred

from tests.journal_contract import content
from tests.store_harness import HeldJournal, StoreTestCase, Told
from txetcd import errors
from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.journal import JournalError
from txetcd.journal.memory import MemoryJournal
from txetcd.store import Store
from txetcd.tree import EMPTY

NOT_RUNNING = "the store is not running"


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

            def stop(_: Event, store: Store = store, stopping: list[Deferred[None]] = stopping) -> None:
                stopping.append(store.stopService())

            first = store.set("/a").addCallback(stop)
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
