"""txetcd.turns: who takes a step now, and who waits."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from tests.turn_clock import TurnClock
from txetcd import turns
from txetcd.turns import Turns

# Seconds that a step takes: two are all that a turn has.
LONG = 0.6 * turns.BUDGET


class Walker:
    """Notes its steps, and lets time pass with each."""

    aborted = False

    def __init__(
        self, case: TurnsTests, name: str, then: Callable[[], None] = lambda: None, host: str = "192.0.2.1"
    ) -> None:
        self._case = case
        self._name = name
        self._then = then
        self._host = host

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", self._host, 1)

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

    def ask(self, *names: str, host: str = "192.0.2.1") -> list[Walker]:
        walkers = [Walker(self, name, host=host) for name in names]
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

    def test_addresses_take_turns(self) -> None:
        """Whoever is many waits for itself."""
        self.ask(*"aaaaaaaa")
        self.ask("b", "b", host="192.0.2.2")
        _, leaving = self.ask("c", "x", host="192.0.2.3")
        self.turns.leave(leaving)
        self.assertEqual([self.turn() for _ in range(6)], ["ab", "ca", "ba", "aa", "a", ""])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_last_of_an_address_leaves(self) -> None:
        self.ask(*"aaa")
        (leaving,) = self.ask("x", host="192.0.2.2")
        self.turns.leave(leaving)
        self.turns.leave(leaving)
        self.assertEqual([self.turn() for _ in range(2)], ["a", ""])

    def test_small_steps(self) -> None:
        """Many of them can be taken at once, until they have taken long; in the next turn they can again."""
        for _ in range(2):
            for _ in range(turns.FEW - 1):
                self.assertTrue(self.turns.at_once())
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertTrue(self.turns.at_once())
            self.clock.rightNow += 0.9 * turns.LONG
            self.assertTrue(self.turns.at_once())
            self.clock.rightNow += 0.2 * turns.LONG
            self.assertFalse(self.turns.at_once())
            self.assertFalse(self.turns.at_once())
            self.turn()

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
