"""`txetcd.fanout`: everybody is told, in order, and nobody for long."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txetcd import fanout
from txetcd.commands import Set, evaluate
from txetcd.events import Event
from txetcd.fanout import Fanout
from txetcd.tree import EMPTY
from txetcd.watchers import Watcher


def event(value: str) -> Event:
    return evaluate(EMPTY, Set("/a", value, False, None, False, 0))[1][0]


class FanoutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(fanout, "TURN", 3)
        self.patch(fanout, "MOST", 10)
        self.clock = Clock()
        self.told: list[tuple[int, str]] = []
        self.fanout = Fanout(self.clock, self.tell)

    def tell(self, notify: Callable[[Event], None], event: Event) -> None:
        notify(event)

    def watchers(self, count: int) -> list[Watcher]:
        made = []
        for number in range(count):

            def notify(event: Event, number: int = number) -> None:
                node = event.to_json()
                self.told.append((number, node[node.index('"value":"') + 9]))

            watcher = Watcher("/a", False, 0, notify, lambda: None)
            watcher.active = True
            made.append(watcher)
        return made

    def test_few_are_told_at_once(self) -> None:
        self.fanout.add(self.watchers(3), event("x"))
        self.assertEqual(self.told, [(0, "x"), (1, "x"), (2, "x")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_in_turns_and_in_order(self) -> None:
        many = self.watchers(4)
        self.fanout.add(many, event("x"))
        self.fanout.add(many, event("y"))
        self.assertEqual(len(self.told), 3)
        self.clock.advance(0)
        self.assertEqual(self.told, [(n, v) for v in "xy" for n in range(4)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_has_ended_meanwhile(self) -> None:
        many = self.watchers(4)
        self.fanout.add(many, event("x"))
        many[3].active = False
        self.clock.advance(0)
        self.assertEqual(len(self.told), 3)

    def test_no_more_than_so_many_wait(self) -> None:
        many = self.watchers(9)
        self.fanout.add(many, event("x"))
        self.fanout.add(many, event("y"))
        self.assertEqual(self.told[:10], [*((n, "x") for n in range(9)), (0, "y")])
        self.assertEqual(len(self.told), 12)

    def test_drain(self) -> None:
        self.fanout.add(self.watchers(9), event("x"))
        self.fanout.drain()
        self.assertEqual([number for number, _ in self.told], list(range(9)))
        self.assertEqual(self.clock.getDelayedCalls(), [])
