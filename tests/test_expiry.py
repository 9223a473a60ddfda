"""txetcd.expiry: which keys run out when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import START, Step, histories, play, properties, rows
from txetcd.commands import Command, Delete, Expire, Set, Update, evaluate
from txetcd.expiry import Expirations
from txetcd.tree import EMPTY, SECOND, Tree, survey


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

    def next(self) -> int | None:
        return self.expirations.next(self.tree)

    def take(self, now: int, limit: int = 10) -> tuple[str, ...]:
        return self.expirations.take(now, limit, self.tree)

    def test_nothing(self) -> None:
        self.assertIsNone(self.next())
        self.assertEqual(self.take(1 << 70), ())

    def test_order(self) -> None:
        for key, expiration in ("/c", 3), ("/a", 1), ("/never", None), ("/b", 2):
            self.put(key, expiration)
        self.assertEqual(self.next(), 1)
        self.assertEqual(self.take(0), ())
        self.assertEqual(self.take(2), ("/a", "/b"))
        self.assertEqual(self.next(), 3)

    def test_loaded_anew(self) -> None:
        """What was known before is known no more, so that it does not pile up."""
        for number in range(5):
            self.put(f"/{number}", number)
        for _ in range(10):
            self.expirations.load(survey(self.tree)[1])
        self.assertEqual(len(self.expirations), 5)
        self.assertEqual(self.take(9), tuple(f"/{number}" for number in range(5)))

    def test_limit(self) -> None:
        for number in range(5):
            self.put(f"/{number}", number)
        self.assertEqual(self.take(9, 2), ("/0", "/1"))
        self.assertEqual(self.take(9, 2), ("/2", "/3"))
        self.assertEqual(self.take(9, 2), ("/4",))
        self.assertEqual(self.take(9, 2), ())

    def test_rewritten(self) -> None:
        """Only the last ttl counts, sooner or later."""
        self.put("/a", 5)
        self.put("/a", 9)
        self.assertEqual(self.next(), 9)
        self.put("/a", 2)
        self.assertEqual(self.next(), 2)
        self.assertEqual(self.take(9), ("/a",))

    def test_made_permanent_or_deleted(self) -> None:
        self.put("/a", 5)
        self.put("/b", 5)
        self.put("/a", None)
        self.do(Delete("/b", False, False, 0))
        self.assertIsNone(self.next())

    def test_taken_once(self) -> None:
        """A key is not asked for again while it goes; if it could not, it is given back."""
        self.put("/a", 5)
        self.assertEqual(self.take(5), ("/a",))
        self.assertIsNone(self.next())
        self.expirations.give_back(("/a",), self.tree)
        self.assertEqual(self.take(5), ("/a",))
        self.do(Expire(("/a",), 5))
        self.expirations.give_back(("/a",), self.tree)
        self.assertIsNone(self.next())

    def test_refreshed_while_it_was_to_go(self) -> None:
        self.put("/a", 5)
        keys = self.take(5)
        self.put("/a", 9)
        self.do(Expire(keys, 5))
        self.expirations.give_back(keys, self.tree)
        self.assertEqual(self.next(), 9)

    def test_made_again_while_it_was_to_go(self) -> None:
        """Even with the same expiration."""
        self.put("/a", 5)
        keys = self.take(5)
        self.do(Expire(keys, 5))
        self.put("/a", 5)
        self.expirations.give_back(keys, self.tree)
        self.assertEqual(self.next(), 5)

    def test_gone_with_directory(self) -> None:
        """Such keys are forgotten when their time comes."""
        self.put("/d/a", 5)
        self.do(Delete("/d", True, True, 0))
        self.assertEqual(self.take(5), ())
        self.assertEqual(len(self.expirations), 0)

    def test_load(self) -> None:
        """All of a tree, hidden keys and directories too."""
        for key, expiration in ("/a", 3), ("/d/e/_h/k", 1), ("/never", None):
            self.put(key, expiration)
        self.do(Update("/d", "", 2, False, 0))
        expirations = Expirations()
        expirations.load(survey(self.tree)[1])
        self.assertEqual(expirations.take(9, 10, self.tree), ("/d/e/_h/k", "/d", "/a"))

    def test_refreshed_for_ever(self) -> None:
        """It takes no more room than once, be it one key or some."""
        for number in range(3):
            self.put(f"/{number}", 1)
        for time in range(2, 5000):
            self.do(Update(f"/{time % 3}", "", time, True, 0))
        self.assertEqual(len(self.expirations), 3)
        self.assertEqual(self.take(4998), ("/2", "/0"))
        self.assertEqual(self.next(), 4999)

    def test_earlier_and_later_for_ever(self) -> None:
        """Each time earlier needs an entry; those that are the same in the end become one."""
        for time in range(1, 50):
            self.put("/a", 1000 - time)
            self.put("/a", 1000)
        self.assertEqual(len(self.expirations), 49)
        self.assertEqual(self.next(), 1000)
        self.assertEqual(self.take(1000, 100), ("/a",))
        self.assertEqual(len(self.expirations), 0)

    def test_made_and_deleted_for_ever(self) -> None:
        """Void entries are swept out, however far off their time."""
        for number in range(5):
            self.put(f"/{number}", 1000 * SECOND)
        for time in range(20_000):
            self.put("/lock", 500 * SECOND + time)
            self.do(Delete("/lock", False, False, 0))
            self.assertLess(len(self.expirations), 2200)
        self.assertEqual(len(self.take(1000 * SECOND, 50_000)), 5)

    def test_directories_filled_and_deleted_for_ever(self) -> None:
        """What went with them is dropped long before its time."""
        largest = 0
        for number in range(100):
            for name in range(100):
                self.put(f"/d/{number}-{name}", 1000 * SECOND)
            self.do(Delete("/d", True, True, 0))
            largest = max(largest, len(self.expirations))
        self.assertLess(largest, 6000)

    def test_sweeping_keeps_what_is_there(self) -> None:
        """In order, in the midst of it too."""
        keys = tuple(f"/{number}" for number in range(3000))
        for time, key in enumerate(keys):
            self.put(key, time)
        self.assertEqual(self.take(9, 3), keys[:3])
        self.expirations.give_back(keys[:3], self.tree)
        self.assertEqual(self.take(1 << 70, 5000), keys)

    @properties
    @given(histories, st.booleans())
    def test_brute_force(self, steps: list[Step], sweeping: bool) -> None:
        """What is taken is what a look at every key finds, be there sweeps all the time or none."""
        expirations = Expirations()
        if sweeping:
            expirations._sweep_at = 0
        tree = EMPTY
        for moment in play(steps):
            tree = moment.after
            for event in moment.events:
                expirations.add(event, tree)
            expected = due(tree)
            self.assertEqual(expirations.next(tree), min(expected.values(), default=None))
        loaded = Expirations()
        loaded.load(survey(tree)[1])
        for time in START, START + 3 * SECOND, 1 << 70:
            expected = {key: expiration for key, expiration in due(tree).items() if expiration <= time}
            taken = expirations.take(time, 1000, tree)
            self.assertEqual([due(tree)[key] for key in taken], sorted(expected.values()))
            self.assertCountEqual(taken, expected)
            self.assertCountEqual(loaded.take(time, 1000, tree), expected)
            expirations.give_back(taken, tree)
            loaded.give_back(taken, tree)
