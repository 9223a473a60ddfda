"""txetcd.expiry: which keys run out when."""

from __future__ import annotations

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import START, Step, histories, play, properties, rows
from txetcd.commands import Command, Delete, Expire, Set, Update, evaluate
from txetcd.expiry import Expirations
from txetcd.tree import EMPTY, SECOND, Tree


def due(tree: Tree) -> dict[str, int]:
    """When each key of a tree runs out that does, found by looking at all."""
    return {key: node.expiration for key, node in rows(tree).items() if node.expiration is not None}


class ExpirationsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tree = EMPTY
        self.expirations = Expirations()

    def do(self, command: Command) -> None:
        self.tree, events = evaluate(self.tree, command)
        for event in events:
            self.expirations.add(event, self.tree)

    def put(self, key: str, expiration: int | None) -> None:
        self.do(Set(key, "", False, expiration, False, 0))

    def size(self) -> int:
        """How many entries are kept."""
        return len(self.expirations._heap) + len(self.expirations._due)

    def test_nothing(self) -> None:
        self.assertIsNone(self.expirations.next())
        self.assertEqual(self.expirations.take(1 << 70, 10), ())

    def test_order(self) -> None:
        for key, expiration in ("/c", 3), ("/a", 1), ("/never", None), ("/b", 2):
            self.put(key, expiration)
        self.assertEqual(self.expirations.next(), 1)
        self.assertEqual(self.expirations.take(0, 10), ())
        self.assertEqual(self.expirations.take(2, 10), ("/a", "/b"))
        self.assertEqual(self.expirations.next(), 3)

    def test_limit(self) -> None:
        for number in range(5):
            self.put(f"/{number}", number)
        self.assertEqual(self.expirations.take(9, 2), ("/0", "/1"))
        self.assertEqual(self.expirations.take(9, 2), ("/2", "/3"))
        self.assertEqual(self.expirations.take(9, 2), ("/4",))
        self.assertEqual(self.expirations.take(9, 2), ())

    def test_rewritten(self) -> None:
        """Only the last ttl counts, sooner or later."""
        self.put("/a", 5)
        self.put("/a", 9)
        self.assertEqual(self.expirations.next(), 9)
        self.put("/a", 2)
        self.assertEqual(self.expirations.next(), 2)
        self.assertEqual(self.expirations.take(9, 10), ("/a",))

    def test_made_permanent_or_deleted(self) -> None:
        self.put("/a", 5)
        self.put("/b", 5)
        self.put("/a", None)
        self.do(Delete("/b", False, False, 0))
        self.assertIsNone(self.expirations.next())

    def test_taken_once(self) -> None:
        """A key is not asked for again while it goes; if it could not, `rebuild` brings it back."""
        self.put("/a", 5)
        self.assertEqual(self.expirations.take(5, 10), ("/a",))
        self.assertIsNone(self.expirations.next())
        self.expirations.rebuild()
        self.assertEqual(self.expirations.take(5, 10), ("/a",))
        self.do(Expire(("/a",), 5))
        self.expirations.forget(("/a",), self.tree)
        self.expirations.rebuild()
        self.assertIsNone(self.expirations.next())

    def test_refreshed_while_it_was_to_go(self) -> None:
        self.put("/a", 5)
        keys = self.expirations.take(5, 10)
        self.put("/a", 9)
        self.do(Expire(keys, 5))
        self.expirations.forget(keys, self.tree)
        self.assertEqual(self.expirations.next(), 9)

    def test_made_again_while_it_was_to_go(self) -> None:
        """Even with the same expiration."""
        self.put("/a", 5)
        keys = self.expirations.take(5, 10)
        self.do(Expire(keys, 5))
        self.put("/a", 5)
        self.expirations.forget(keys, self.tree)
        self.assertEqual(self.expirations.next(), 5)

    def test_gone_with_directory(self) -> None:
        """Such keys may be named when their time comes, and are forgotten then."""
        self.put("/d/a", 5)
        self.do(Delete("/d", True, True, 0))
        keys = self.expirations.take(5, 10)
        self.do(Expire(keys, 5))
        self.expirations.forget(keys, self.tree)
        self.assertEqual(self.size(), 0)

    def test_load(self) -> None:
        """All of a tree, hidden keys and directories too."""
        for key, expiration in ("/a", 3), ("/d/e/_h/k", 1), ("/never", None):
            self.put(key, expiration)
        self.do(Update("/d", "", 2, False, 0))
        expirations = Expirations()
        expirations.load(self.tree)
        self.assertEqual(expirations.take(9, 10), ("/d/e/_h/k", "/d", "/a"))

    def test_refreshed_for_ever(self) -> None:
        """It takes no more room than once, be it one key or some."""
        for number in range(3):
            self.put(f"/{number}", 1)
        for time in range(2, 5000):
            self.do(Update(f"/{time % 3}", "", time, True, 0))
            self.assertLess(self.size(), 100)
        self.assertEqual(self.expirations.take(4998, 10), ("/2", "/0"))
        self.assertEqual(self.expirations.next(), 4999)

    def test_directories_filled_and_deleted_for_ever(self) -> None:
        """What went with them is dropped long before its time."""
        largest = 0
        for number in range(100):
            for name in range(100):
                self.put(f"/d/{number}-{name}", 1000 * SECOND)
            self.do(Delete("/d", True, True, 0))
            largest = max(largest, self.size())
        self.assertLess(largest, 6000)

    def test_prune_keeps_what_is_there(self) -> None:
        for number in range(3000):
            self.put(f"/{number}", number)
        self.assertEqual(self.expirations.take(1 << 70, 5000), tuple(f"/{number}" for number in range(3000)))

    @properties
    @given(histories)
    def test_brute_force(self, steps: list[Step]) -> None:
        """What is taken is what a look at every key finds, and maybe keys that went with directories."""
        expirations = Expirations()
        tree = EMPTY
        for moment in play(steps):
            tree = moment.after
            for event in moment.events:
                expirations.add(event, tree)
            expected = due(tree)
            earliest = expirations.next()
            if expected:
                assert earliest is not None
                self.assertLessEqual(earliest, min(expected.values()))
        loaded = Expirations()
        loaded.load(tree)
        for time in START, START + 3 * SECOND, 1 << 70:
            expected = {key: expiration for key, expiration in due(tree).items() if expiration <= time}
            taken = [key for key in dict.fromkeys(expirations.take(time, 1000)) if key in due(tree)]
            self.assertEqual([due(tree)[key] for key in taken], sorted(expected.values()))
            self.assertCountEqual(taken, expected)
            self.assertCountEqual(loaded.take(time, 1000), expected)
            expirations.rebuild()
            loaded.rebuild()
