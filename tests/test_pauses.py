"""Nothing holds up the reactor: how much is done in one turn, counted in steps and not in seconds."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from unittest.mock import patch

from rpds import HashTrieMap
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from tests.store_harness import StoreTestCase
from txetcd import tree as tree_module
from txetcd.changes import Changes
from txetcd.commands import Expire, Set, evaluate
from txetcd.dismantler import NODES, Dismantler
from txetcd.events import Event
from txetcd.expirer import EXPIRE_KEYS
from txetcd.expiry import STEPS, SWEPT_EACH, Expirations
from txetcd.journal import CHECKPOINT_COMMANDS, Checkpoint
from txetcd.journal.memory import MemoryJournal
from txetcd.resources.late import Listing
from txetcd.tree import (
    EMPTY,
    NAMES,
    SECOND,
    SLICE,
    Dir,
    File,
    Node,
    Page,
    Tree,
    build,
    listing_json,
    to_entry,
)
from txetcd.watchers import Watcher, Watchers

MANY = 10 * NAMES


def full(key: str, count: int, prefix: str = "") -> Iterator[Node]:
    """A directory with that many files, as rows."""
    yield Dir(key, HashTrieMap(), 2, 2)
    for number in range(count):
        yield File(f"{key}/{prefix}{number:06}", "v", 2, 2)


def removed(*rows: Node) -> Dir:
    """The directory `/d` of such rows, which nothing else holds."""
    directory = build(map(to_entry, rows), 2, 2).find("/d")
    assert isinstance(directory, Dir)
    return directory


class CountingTree(Tree):
    """A tree that counts how often something is looked up in it."""

    __slots__ = ("finds",)

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree.root, tree.index, tree.raft_index, tree.auth)
        self.finds = 0

    def find(self, key: str) -> Node | None:
        self.finds += 1
        return super().find(key)


class Turns(Clock):
    """A clock whose reactor makes one turn at a time: what is called later in one is done in the next."""

    def turn(self) -> bool:
        """Do one; tell whether there was anything to do."""
        calls, self.calls = self.calls, []
        for call in calls:
            call.called = 1
            call.func(*call.args, **call.kw)
        return bool(calls)


class ListingTests(SynchronousTestCase):
    """A slice of a listing is little work, whatever there is to list."""

    def names_ordered(self, node: Node, recursive: bool = False) -> list[int]:
        """How many names were put in order for each piece."""
        counted: list[int] = []
        ordered = []

        def in_order(names: Iterable[str], page: Page | None) -> list[str]:
            names = list(names)
            ordered.append(len(names))
            return in_order_really(names, page)

        in_order_really = tree_module._in_order
        with patch.object(tree_module, "_in_order", in_order):
            for piece in listing_json(node, 0, recursive):
                self.assertLess(len(piece), SLICE + 200)
                counted.append(sum(ordered))
                ordered.clear()
        return counted

    def test_large_directory(self) -> None:
        counted = self.names_ordered(removed(*full("/d", MANY)))
        self.assertEqual(sum(counted), MANY)
        self.assertLessEqual(max(counted), NAMES)

    def test_hidden_children(self) -> None:
        """Those that are not shown are work too."""
        rows = [*full("/d", 0)]
        for number in range(10):
            rows += full(f"/d/{number}", NAMES // 2, "_")
        counted = self.names_ordered(removed(*rows), recursive=True)
        self.assertLessEqual(max(counted), NAMES + 10)


class Channel(DummyChannel):
    """A client that takes what it is sent, and tells what came in each turn."""

    def take(self) -> bytes:
        data: bytes = self.transport.written.getvalue()
        self.transport.written.seek(0)
        self.transport.written.truncate()
        return data


class ListingAnswerTests(SynchronousTestCase):
    """A listing is sent one piece a turn."""

    def setUp(self) -> None:
        self.turns = Turns()
        self.channel = Channel()
        self.request = Request(self.channel, False)
        self.request.clientproto = b"HTTP/1.0"
        self.request.method = b"GET"
        self.made = 0

    def pieces(self, *pieces: bytes) -> Iterator[bytes]:
        for piece in pieces:
            self.made += 1
            yield piece

    def test_one_piece_a_turn(self) -> None:
        Listing(self.request, self.pieces(b"a", b"", b"", b"b"), self.turns)
        for made in range(1, 5):
            self.assertTrue(self.turns.turn())
            self.assertEqual(self.made, made)
        self.assertFalse(self.request.finished)
        self.assertTrue(self.turns.turn())
        self.assertTrue(self.request.finished)
        self.assertTrue(self.channel.take().endswith(b"\r\n\r\nab"))
        self.assertFalse(self.turns.turn())

    def test_paused(self) -> None:
        """Nothing is made while the client takes nothing."""
        listing = Listing(self.request, self.pieces(b"a", b"b"), self.turns)
        self.turns.turn()
        listing.pauseProducing()
        self.assertFalse(self.turns.turn())
        self.assertEqual(self.made, 1)
        listing.resumeProducing()
        listing.resumeProducing()
        self.turns.turn()
        self.assertEqual(self.made, 2)
        self.turns.turn()
        self.assertTrue(self.request.finished)

    def test_client_gone(self) -> None:
        """No more is made, and the directory is let go."""
        pieces = self.pieces(b"a", b"b")
        listing = Listing(self.request, pieces, self.turns)
        self.turns.turn()
        listing.stopProducing()
        self.assertFalse(self.turns.turn())
        self.assertEqual(gc.get_referrers(pieces).count(listing.__dict__), 0)


class DismantlerTests(SynchronousTestCase):
    """Removed directories are freed a little at a time."""

    def setUp(self) -> None:
        self.turns = Turns()
        self.dismantler = Dismantler(self.turns)

    def test_slices(self) -> None:
        """Each turn frees so many and no more, below as well."""
        gone: list[int] = []

        class Counted(str):
            __slots__ = ()

            def __del__(self) -> None:
                gone.append(1)

        rows = [*full("/d", 0)]
        for number in range(5):
            rows.append(Dir(f"/d/{number}", HashTrieMap(), 2, 2))
            rows += [File(f"/d/{number}/{name}", Counted("v"), 2, 2) for name in range(NODES - 10)]
        directory = removed(*rows)
        del rows
        self.dismantler.add(directory)
        del directory
        freed = []
        while self.turns.turn():
            freed.append(len(gone))
            gone.clear()
        self.assertEqual(sum(freed), 5 * (NODES - 10))
        self.assertLessEqual(max(freed), NODES + 1)
        self.assertEqual(len(freed), 5)

    def test_several(self) -> None:
        """What comes while there is work is taken in."""
        for _ in range(3):
            self.dismantler.add(removed(*full("/d", NODES)))
        turns = 0
        while self.turns.turn():
            turns += 1
        self.assertEqual(turns, 4)

    def test_empty(self) -> None:
        """There is nothing to do for an empty directory."""
        self.dismantler.add(removed(*full("/d", 0)))
        self.assertFalse(self.turns.turn())

    def test_stop(self) -> None:
        self.dismantler.add(removed(*full("/d", 5)))
        self.dismantler.stop()
        self.assertFalse(self.turns.turn())
        self.dismantler.stop()


class ExpirationsCostTests(SynchronousTestCase):
    """No step of the expirations takes longer because there are more keys."""

    def setUp(self) -> None:
        self.expirations = Expirations()
        self.tree = CountingTree(EMPTY)

    def put(self, key: str, expiration: int, before: int | None = None) -> int:
        """Note a key that is not, or not any more, in the tree; give the number of look-ups."""
        prev = None if before is None else File(key, "", 2, 2, before)
        finds = self.tree.finds
        self.expirations.add(Event("set", 2, 0, File(key, "", 2, 2, expiration), prev), self.tree)
        return self.tree.finds - finds

    def test_void_entries(self) -> None:
        """Adding, looking and taking among any number of them."""
        for number in range(MANY):
            self.assertLessEqual(self.put(f"/{number}", number), SWEPT_EACH)
        self.assertGreater(len(self.expirations), 10 * STEPS)
        for call in (
            lambda: self.expirations.next(self.tree),
            lambda: self.expirations.take(1 << 70, STEPS, self.tree),
        ):
            self.tree.finds = 0
            call()
            self.assertEqual(self.tree.finds, STEPS)

    def test_refresh(self) -> None:
        """Giving a key more time looks at nothing."""
        self.put("/a", 5)
        self.assertEqual(self.put("/a", 6, before=5), 0)
        self.assertEqual(len(self.expirations), 1)


class WatchersCostTests(SynchronousTestCase):
    def test_directory_gone(self) -> None:
        """Watches elsewhere are not looked at when a directory goes."""
        watchers = Watchers()

        def nothing(*_: object) -> None:
            """Nobody is told here."""

        for number in range(1000):
            watchers.add(Watcher(f"/other/{number}", False, 0, nothing, nothing))
        inside = Watcher("/d/000001", False, 0, nothing, nothing)
        watchers.add(inside)
        before = CountingTree(build(map(to_entry, full("/d", 5)), 2, 2))
        event = Event("delete", 3, 0, None, Dir("/d", HashTrieMap(), 2, 2))
        self.assertEqual(watchers.concerned(event, before), [inside])
        self.assertEqual(before.finds, 1)
        watchers.remove(inside)
        self.assertEqual(watchers.concerned(event, before), [])
        self.assertEqual(before.finds, 1)


class CheckpointCostTests(SynchronousTestCase):
    def test_expiry_counts(self) -> None:
        """Keys that run out together are as many changes."""
        changes = Changes()
        changes.count(Expire(tuple("abc"), 0))
        self.assertEqual(changes.commands, 3)


class StoreTests(StoreTestCase):
    def test_storm(self) -> None:
        """Keys that run out in the same second go some at a time, and others write in between."""
        checkpoints: list[int] = []

        class Counting(MemoryJournal):
            def checkpoint(self, checkpoint: Checkpoint) -> Deferred[None]:
                checkpoints.append(len(checkpoint.removed))
                return super().checkpoint(checkpoint)

        store = self.started(Counting())
        for number in range(3 * EXPIRE_KEYS + 1):
            store.set(f"/d/{number}", ttl=10)
        self.turn()
        seen = []
        store.stream("/d", lambda event: seen.append(event), lambda: None, recursive=True)

        def write() -> None:
            left.append(len(store.tree.find("/d").children))  # type: ignore[union-attr]
            if left[-1]:
                store.set("/x").addCallback(lambda _: write())

        left: list[int] = []
        self.clock.advance(9)
        write()
        self.clock.advance(1)
        self.assertEqual(len(seen), 3 * EXPIRE_KEYS + 1)
        self.assertGreaterEqual(len(set(left)), 4)
        self.assertLessEqual(max(checkpoints), CHECKPOINT_COMMANDS + EXPIRE_KEYS)

    def test_removed_directory_is_taken_apart(self) -> None:
        """Over several turns, and stopping the store does not wait for it."""
        store = self.started()
        for number in range(30):
            store.set(f"/d/{number}", ttl=5 if number == 29 else None)
        store.create("/e", dir=True, ttl=5)
        store.set("/e/a")
        self.turn()
        added: list[Dir] = []
        self.patch(Dismantler, "add", lambda _, directory: added.append(directory))
        self.done(store.delete("/d", recursive=True))
        self.clock.advance(6)
        self.assertEqual([directory.key for directory in added], ["/d", "/e"])
        self.assertEqual([len(directory.children) for directory in added], [30, 1])

    def test_stop_with_something_to_free(self) -> None:
        self.clock = turns = Turns()
        store = self.started()
        store.set("/d/a")
        store.delete("/d", recursive=True)
        turns.turn()
        self.assertIsNone(store.tree.find("/d"))
        self.assertEqual(len(turns.getDelayedCalls()), 1)
        self.stopped(store)
        self.assertEqual(turns.getDelayedCalls(), [])


class CollectorTests(SynchronousTestCase):
    def test_keys_are_nothing_to_the_garbage_collector(self) -> None:
        """Once it has seen them; it looks at as many objects with them as without."""
        gc.collect()
        before = len(gc.get_objects())
        tree = EMPTY
        for number in range(1000):
            tree, _ = evaluate(tree, Set(f"/d/{number}", "v", False, 9 * SECOND, False, 0))
        again = build(map(to_entry, full("/d", 1000)), 2, 2)
        gc.collect()
        self.assertLess(len(gc.get_objects()) - before, 100)
        self.assertEqual((len(tree.get("/d").children), len(again.get("/d").children)), (1000, 1000))  # type: ignore[union-attr]
