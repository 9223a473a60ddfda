"""txetcd.watchers: which live watches an event is for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import KEYS, Step, histories, play, properties
from txetcd.commands import Command, Delete, Set, Update, evaluate
from txetcd.events import Event, concerns, is_below
from txetcd.tree import EMPTY, Tree
from txetcd.watchers import Watcher, Watchers

WATCHED = ["/", "/gone", "/a/x/y/z", "/a/_h/x", *dict.fromkeys(KEYS)]


def unexpected(*_: object) -> None:
    raise AssertionError("the core tells nobody; the store does")


def watcher(key: str, recursive: bool = False, since: int = 0) -> Watcher:
    return Watcher(key, recursive, since, unexpected, unexpected)


def do(tree: Tree, command: Command) -> tuple[Tree, Event]:
    after, (event,) = evaluate(tree, command)
    return after, event


def put(tree: Tree, key: str) -> tuple[Tree, Event]:
    return do(tree, Set(key, "v", False, None, False, 0))


class WatchersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.watchers = Watchers()

    def add(self, key: str, recursive: bool = False, since: int = 0) -> Watcher:
        added = watcher(key, recursive, since)
        self.watchers.add(added)
        return added

    def test_add_and_remove(self) -> None:
        one = watcher("/a")
        self.assertFalse(one.active)
        self.watchers.add(one)
        two = self.add("/a")
        self.assertTrue(one.active)
        self.assertEqual(len(self.watchers), 2)
        _, event = put(EMPTY, "/a")
        self.assertEqual(self.watchers.concerned(event, EMPTY), [one, two])
        self.watchers.remove(one)
        self.assertFalse(one.active)
        self.assertEqual(self.watchers.concerned(event, EMPTY), [two])
        self.watchers.remove(one)
        self.assertEqual(len(self.watchers), 1)
        self.watchers.remove(two)
        self.assertEqual((len(self.watchers), self.watchers.concerned(event, EMPTY)), (0, []))

    def test_remove_what_was_never_added(self) -> None:
        self.watchers.remove(watcher("/a"))
        self.assertEqual(len(self.watchers), 0)

    def test_clear(self) -> None:
        added = [self.add("/a"), self.add("/b"), self.add("/a", recursive=True)]
        self.assertCountEqual(self.watchers.clear(), added)
        self.assertEqual(len(self.watchers), 0)
        self.assertEqual([watch.active for watch in added], [False] * 3)
        for watch in added:
            self.watchers.remove(watch)
        self.assertEqual(len(self.watchers), 0)
        self.assertEqual(self.watchers.clear(), [])

    def test_above(self) -> None:
        root, directory = self.add("/", recursive=True), self.add("/d", recursive=True)
        self.add("/", recursive=False)
        self.add("/d", recursive=False)
        self.add("/dd", recursive=True)
        own = self.add("/d/k")
        _, event = put(EMPTY, "/d/k")
        self.assertEqual(self.watchers.concerned(event, EMPTY), [own, directory, root])

    def test_future_index(self) -> None:
        """Events below the index that was asked for are passed over."""
        now, later = self.add("/a", since=2), self.add("/a", since=3)
        tree, event = put(EMPTY, "/a")
        self.assertEqual(self.watchers.concerned(event, EMPTY), [now])
        _, event = put(tree, "/a")
        self.assertEqual(self.watchers.concerned(event, tree), [now, later])

    def test_directory_gone(self) -> None:
        """Those on keys in it are told; those on keys that never were are not."""
        tree, _ = put(EMPTY, "/w/a/k")
        tree, _ = put(tree, "/w/_h")
        below = [self.add("/w/a"), self.add("/w/a/k"), self.add("/w/a", recursive=True), self.add("/w/_h")]
        above = [self.add("/", recursive=True), self.add("/w")]
        for key in "/w/gone", "/w/a/k/x", "/wother", "/":
            self.add(key)
        _, event = do(tree, Delete("/w", True, True, 0))
        self.assertCountEqual(self.watchers.concerned(event, tree), below + above)

    def test_refresh(self) -> None:
        self.add("/a")
        self.add("/", recursive=True)
        tree, _ = put(EMPTY, "/a")
        _, event = do(tree, Update("/a", "", 99, True, 0))
        self.assertEqual(self.watchers.concerned(event, tree), [])

    @properties
    @given(
        histories,
        st.lists(st.tuples(st.sampled_from(WATCHED), st.booleans(), st.integers(0, 30)), max_size=20),
    )
    def test_brute_force(self, steps: list[Step], watches: list[tuple[str, bool, int]]) -> None:
        """Asking each watch in turn gives the same."""
        self.watchers.clear()
        added = [self.add(*watch) for watch in watches]
        for moment in play(steps):
            if len(moment.events) > 1:
                continue  # `before` would be that of the first event only
            for event in moment.events:
                expected = []
                for watch in added:
                    key = watch.key
                    was_there = not is_below(key, event.key) or moment.before.find(key) is not None
                    if was_there and watch.since <= event.index and concerns(event, key, watch.recursive):
                        expected.append(watch)
                concerned = self.watchers.concerned(event, moment.before)
                self.assertEqual(len(concerned), len(set(concerned)))
                self.assertCountEqual(concerned, expected)
