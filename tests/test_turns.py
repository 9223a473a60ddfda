"""txetcd.turns: who takes a step now, and who waits."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.turn_clock import TurnClock
from txetcd import turns
from txetcd.turns import Turns

# Seconds that a step takes: two are all that a turn has.
LONG = 0.6 * turns.BUDGET


class Walker:
    """Notes its steps, and lets time pass with each."""

    aborted = False

    def __init__(self, case: TurnsTests, name: str, then: Callable[[], None] = lambda: None) -> None:
        self._case = case
        self._name = name
        self._then = then

    def getPeer(self) -> None:
        """It has no address."""

    def abortConnection(self) -> None:
        self.aborted = True

    def step(self) -> None:
        self._case.took.append(self._name)
        self._case.clock.rightNow += self._case.long
        self._then()


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.turns = Turns(self.clock)
        self.took: list[str] = []
        self.long = LONG

    def ask(self, *names: str) -> list[Walker]:
        walkers = [Walker(self, name) for name in names]
        for walker in walkers:
            self.turns.ask(walker)
        return walkers

    def turn(self) -> str:
        """The steps that the reactor's next turn brings."""
        before = len(self.took)
        self.clock.turn()
        return "".join(self.took[before:])

    def test_budget(self) -> None:
        """What there is time for is done at once, and no more than that in any turn."""
        self.ask(*"abcdefg")
        self.assertEqual(self.took, ["a", "b"])
        self.assertEqual([self.turn() for _ in range(4)], ["cd", "ef", "g", ""])

    def test_turn_that_is_used_up(self) -> None:
        """Whoever asks in a turn whose time went to those who waited waits in turn."""
        self.ask(*"abcd")
        self.assertEqual(self.turn(), "cd")
        self.ask("e")
        self.assertEqual(self.took[4:], [])
        self.assertEqual(self.turn(), "e")

    def test_nobody_overtakes(self) -> None:
        self.ask(*"abcde")
        self.turn()
        self.ask("f")
        self.assertEqual(self.turn(), "ef")

    def test_at_least_one_step(self) -> None:
        self.long = 10 * turns.BUDGET
        self.ask(*"abc")
        self.assertEqual(self.took, ["a"])
        self.assertEqual((self.turn(), self.turn()), ("b", "c"))

    def test_later(self) -> None:
        """What was used counts for those who come soon after, not for others; no call is made to tell."""
        self.ask("a", "b")
        self.clock.rightNow += turns.TOGETHER / 2
        self.ask("c")
        self.assertEqual(self.took, ["a", "b"])
        self.assertEqual(self.turn(), "c")
        self.ask("d")
        self.clock.rightNow += 2 * turns.TOGETHER
        self.ask("e")
        self.assertEqual(self.took[3:], ["d", "e"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failure(self) -> None:
        """A step that fails is told, and the end of its connection alone."""

        def fail() -> None:
            raise ZeroDivisionError

        self.ask("a", "b")
        failing = Walker(self, "f", fail)
        self.turns.ask(failing)
        self.ask("c")
        self.assertFalse(failing.aborted)
        self.assertEqual(self.turn(), "fc")
        self.assertTrue(failing.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_leaving(self) -> None:
        _, _, third, _ = self.ask(*"abcd")
        self.turns.leave(third)
        self.turns.leave(third)
        self.assertEqual(self.turn(), "d")

    def test_asking_twice(self) -> None:
        """is for one step, at the place of the first."""
        _, _, third, _ = self.ask(*"abcd")
        self.turns.ask(third)
        self.assertEqual([self.turn(), self.turn()], ["cd", ""])

    def test_asking_in_a_step(self) -> None:
        """Whoever asks again when it has had its step goes to the end."""
        eager = Walker(self, "e", lambda: self.turns.ask(eager))
        self.ask("a", "b")
        self.turns.ask(eager)
        self.ask("c", "d")
        self.assertEqual([self.turn() for _ in range(3)], ["ec", "de", "ee"])

    def test_clock_that_is_set_back(self) -> None:
        self.long = -3600.0
        self.ask("a", "b")
        self.assertEqual(self.took, ["a"])
        self.clock.rightNow = 0.0
        self.assertEqual(self.turn(), "b")

    def test_nothing_is_left(self) -> None:
        self.ask("a", "b", "c")
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        _, waiting = self.ask("d", "e")
        self.turns.leave(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])
