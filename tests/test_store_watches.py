"""Watches: who is told of what, from the past and from now on."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from tests.store_harness import StoreTestCase, Told
from txetcd import errors
from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.store import Store
from txetcd.watchers import Watcher


class WatchTestCase(StoreTestCase):
    """A store on a journal that answers at once."""

    def setUp(self) -> None:
        super().setUp()
        self.store = self.started()

    def set(self, *keys: str, **how: Any) -> None:
        for key in keys:
            self.done(self.store.set(key, **how))

    def stream(self, key: str, **how: Any) -> Told:
        told = Told()
        self.store.stream(key, told.notify, told.clear, **how)
        return told

    def assert_waits(self, changed: Deferred[Event]) -> None:
        """A watch has not fired; wait for it no more."""
        self.assertNoResult(changed)
        changed.cancel()
        self.failureResultOf(changed, CancelledError)

    def action(self, changed: Deferred[Event]) -> str:
        event = self.successResultOf(changed)
        return f"{event.action} {event.key}"


class LiveTests(WatchTestCase):
    """Watches for what comes."""

    def test_one_change(self) -> None:
        """A watch fires once, with the next change of its key, and is over."""
        self.set("/a")
        changed = self.store.watch("/a")
        self.set("/b")
        self.assertNoResult(changed)
        self.assertEqual(self.store.watching, 1)
        self.set("/a", "/a")
        event = self.successResultOf(changed)
        self.assertEqual((event.index, self.store.watching), (4, 0))

    def test_missing_key(self) -> None:
        changed = self.store.watch("/deep/down")
        self.set("/deep/down")
        self.assertEqual(self.action(changed), "set /deep/down")

    def test_every_kind_of_change(self) -> None:
        told = self.stream("/a")
        store = self.store
        for change in (
            lambda: store.create("/a", "1"),
            lambda: store.set("/a", "2"),
            lambda: store.update("/a", "3"),
            lambda: store.compare_and_swap("/a", "4", prev_value="3"),
            lambda: store.compare_and_delete("/a", prev_value="4"),
            lambda: store.set("/a", "5", ttl=1),
        ):
            self.done(change())
        self.clock.advance(1)
        self.turn()
        self.set("/a")
        self.done(store.delete("/a"))
        names = "create set update compareAndSwap compareAndDelete set expire set delete"
        self.assertEqual([event.action for event in told.events], names.split())
        self.assertEqual(told.indices, list(range(2, 11)))

    def test_refusals_and_refreshes_are_no_changes(self) -> None:
        self.set("/a", ttl=10)
        told, changed = self.stream("/", recursive=True), self.store.watch("/a")
        self.refused(self.store.create("/a"))
        self.done(self.store.refresh("/a", 20))
        self.assertEqual(told.events, [])
        self.assert_waits(changed)

    def test_not_recursive(self) -> None:
        """A watch on a directory sees the directory itself, never what is in it."""
        told = self.stream("/d")
        self.set("/d", dir=True)
        self.set("/d/x", "/dx")
        self.done(self.store.delete("/d/x"))
        self.done(self.store.update("/d", ttl=100))
        self.done(self.store.delete("/d", dir=True))
        self.assertEqual(told.actions, ["set /d", "update /d", "delete /d"])

    def test_recursive(self) -> None:
        """It sees its key and all below, by whole parts of the path."""
        told, root = self.stream("/d", recursive=True), self.stream("/", recursive=True)
        self.set("/d/x/y", "/dx", "/e", "/d/z")
        self.done(self.store.delete("/d", recursive=True))
        self.assertEqual(told.actions, ["set /d/x/y", "set /d/z", "delete /d"])
        self.assertEqual(len(root.events), 5)

    def test_hidden(self) -> None:
        """What is hidden below the watched key is not told, only to who names it."""
        above, named = self.stream("/d", recursive=True), self.stream("/d/_h", recursive=True)
        exact = self.stream("/d/_h/x")
        self.set("/d/_h/x", "/d/a/_b/c", "/d/a_b", "/d/_h/_i")
        self.assertEqual(above.actions, ["set /d/a_b"])
        self.assertEqual(named.actions, ["set /d/_h/x"])
        self.assertEqual(exact.actions, ["set /d/_h/x"])

    def test_directory_above_goes(self) -> None:
        """Watches on keys that were in it are told of the directory; on keys that never were, nothing."""
        self.set("/w/d/x", "/wother")
        told = {key: self.stream(key) for key in ("/w/d/x", "/w/d", "/w", "/w/none", "/wother")}
        self.done(self.store.delete("/w", recursive=True))
        heard = {key for key, listener in told.items() if listener.actions == ["delete /w"]}
        self.assertEqual(heard, {"/w/d/x", "/w/d", "/w"})
        self.assertEqual(told["/w/none"].events + told["/wother"].events, [])

    def test_directory_that_is_watched_goes(self) -> None:
        """Told once."""
        self.set("/w/x")
        told = self.stream("/w", recursive=True)
        self.done(self.store.delete("/w", recursive=True))
        self.assertEqual(told.actions, ["delete /w"])

    def test_file_above_goes(self) -> None:
        """There was nothing below a file."""
        self.set("/f")
        told = self.stream("/f/x")
        self.done(self.store.delete("/f"))
        self.assertEqual(told.events, [])

    def test_same_event_for_all(self) -> None:
        first, second = self.stream("/a"), self.stream("/", recursive=True)
        changed = self.store.watch("/a")
        self.set("/a")
        self.assertIs(first.events[0], second.events[0])
        self.assertIs(first.events[0], self.successResultOf(changed))


class HistoryTests(WatchTestCase):
    """Watches for what is past."""

    def setUp(self) -> None:
        super().setUp()
        # Indices 2 to 7.
        self.set("/a", "/b", "/a")
        self.done(self.store.refresh("/a", 1000))
        self.set("/d/x")
        self.done(self.store.delete("/d", recursive=True))

    def test_watch(self) -> None:
        """The first that fits, from the asked index on."""
        for since, index in ((1, 2), (2, 2), (3, 4), (4, 4)):
            self.assertEqual(self.successResultOf(self.store.watch("/a", since=since)).index, index)
        found = self.store.watch("/", recursive=True, since=5)
        self.assertEqual(self.action(found), "set /d/x")
        self.assertEqual(self.store.watching, 0)

    def test_watch_goes_on_live(self) -> None:
        """Nothing in the past fits: it waits."""
        changed = self.store.watch("/a", since=5)
        self.assertNoResult(changed)
        self.set("/a")
        self.assertEqual(self.successResultOf(changed).index, 8)

    def test_future(self) -> None:
        """Events before the asked index are passed over."""
        changed, told = self.store.watch("/a", since=10), self.stream("/a", since=9)
        self.set("/a", "/a")
        self.assertNoResult(changed)
        self.set("/a")
        self.assertEqual(self.successResultOf(changed).index, 10)
        self.assertEqual(told.indices, [9, 10])

    def test_far_future(self) -> None:
        changed, told = self.store.watch("/a", since=2**64 - 1), self.stream("/a", since=2**64 - 1)
        self.set("/a")
        self.assertEqual(told.events, [])
        self.assert_waits(changed)

    def test_stream_without_gaps(self) -> None:
        """All that is past and fits, at once, then what comes, each once."""
        told = self.stream("/", recursive=True, since=3)
        self.assertEqual(told.indices, [3, 4, 6, 7])
        self.set("/c")
        self.assertEqual(told.indices, [3, 4, 6, 7, 8])

    def test_directory_went(self) -> None:
        """By whole parts of the path."""
        self.assertEqual(self.action(self.store.watch("/d/x", since=7)), "delete /d")
        self.assertEqual(self.stream("/dother", since=2).events, [])

    def test_hidden(self) -> None:
        self.set("/s/_h", "/s/a")
        self.assertEqual(self.stream("/s", recursive=True, since=2).actions, ["set /s/a"])
        self.assertEqual(self.stream("/s/_h", since=2).actions, ["set /s/_h"])

    def test_cleared(self) -> None:
        """Events that are no longer kept: 401 with the oldest and the asked index, and the store's."""
        store = self.started(history_size=3)
        for number in range(5):
            self.done(store.set("/a", str(number)))
        error = EtcdError(errors.EVENT_INDEX_CLEARED, "the requested history has been cleared [4/3]", 6)
        self.assertEqual(self.refused(store.watch("/a", since=3)), error)
        told = Told()
        raised = self.assertRaises(EtcdError, store.stream, "/a", told.notify, told.clear, since=3)
        self.assertEqual((raised, store.watching), (error, 0))
        self.assertEqual(self.successResultOf(store.watch("/a", since=4)).index, 4)

    def test_young_store(self) -> None:
        """Index 1 has no event, and never had one."""
        store = self.started()
        changed = store.watch("/a", since=1)
        self.done(store.set("/a"))
        self.assertEqual(self.successResultOf(changed).index, 2)

    def test_no_history(self) -> None:
        store = self.started(history_size=0)
        self.done(store.set("/a"))
        self.assertEqual(self.refused(store.watch("/a", since=2)).code, 401)
        changed = store.watch("/a", since=3)
        self.done(store.set("/a"))
        self.assertEqual(self.successResultOf(changed).index, 3)

    def test_not_before_it_is_durable(self) -> None:
        store = self.started(self.journal)
        store.set("/a")
        self.turn()
        changed = store.watch("/a", since=1)
        self.assertNoResult(changed)
        self.journal.commit()
        self.assertEqual(self.successResultOf(changed).index, 2)


class EndTests(WatchTestCase):
    """How watches end, and that one never harms another."""

    def test_cancel(self) -> None:
        changed = self.store.watch("/a")
        changed.cancel()
        self.failureResultOf(changed, CancelledError)
        self.assertEqual(self.store.watching, 0)
        self.set("/a")

    def test_unwatch(self) -> None:
        told = Told()
        watcher = self.store.stream("/a", told.notify, told.clear)
        self.set("/a")
        for _ in range(2):
            self.store.unwatch(watcher)
        self.set("/a")
        self.assertEqual((told.indices, told.cleared, self.store.watching), ([2], 0, 0))

    def test_unwatch_in_a_callback(self) -> None:
        """A watcher that ends itself, and one that ends others that were to be told of the same event."""
        told = [Told(), Told(), Told()]
        watchers: list[Watcher] = []

        def end_all(event: Event) -> None:
            told[1].notify(event)
            for watcher in watchers:
                self.store.unwatch(watcher)

        for listener, notify in zip(told, (told[0].notify, end_all, told[2].notify), strict=True):
            watchers.append(self.store.stream("/a", notify, listener.clear))
        self.set("/a", "/a")
        self.assertEqual([listener.indices for listener in told], [[2], [2], []])
        self.assertEqual(self.store.watching, 0)

    def test_watch_in_a_callback(self) -> None:
        """A new watch begins after the event that it was made in."""
        again: list[Deferred[Event]] = []
        self.store.watch("/a").addCallback(lambda _: again.append(self.store.watch("/a")))
        self.set("/a")
        self.assertNoResult(again[0])
        self.set("/a")
        self.assertEqual(self.successResultOf(again[0]).index, 3)

    def test_failing_watcher(self) -> None:
        """It is logged; the write is answered, others are told, and it is told of the next all the same."""
        calls: list[int] = []

        def fail(event: Event) -> None:
            calls.append(event.index)
            raise RuntimeError("oops")

        self.store.stream("/a", fail, lambda: None)
        told, changed = self.stream("/a"), self.store.watch("/a")
        self.set("/a", "/a")
        self.assertEqual((calls, told.indices), ([2, 3], [2, 3]))
        self.successResultOf(changed)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_failing_at_the_end(self) -> None:
        """One that fails when told of the end does not keep the store from stopping, nor past events."""

        def fail(*_: object) -> None:
            raise RuntimeError("oops")

        self.set("/a")
        self.store.stream("/a", fail, fail, since=1)
        told = self.stream("/a")
        self.successResultOf(self.store.stopService())
        self.assertEqual(told.cleared, 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_many_come_and_go(self) -> None:
        store: Store = self.store
        watches = [store.watch(f"/{number % 100}", recursive=bool(number % 2)) for number in range(5000)]
        self.assertEqual(store.watching, 5000)
        self.set("/7")
        self.assertEqual(store.watching, 4950)
        for watch in watches:
            watch.addErrback(lambda failure: failure.trap(CancelledError))
            watch.cancel()
        self.assertEqual((store.watching, store._watchers._by_key), (0, {}))
