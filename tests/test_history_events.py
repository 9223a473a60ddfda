"""The judge of histories, on what watches have seen and on keys that have expired."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.events import Event, Watched, check_events
from tests.cluster.histories import Answer, Kind, Operation, Outcome, Request
from tests.history_harness import operation, refused, wrote


class EventTests(SynchronousTestCase):
    """What watches have seen."""

    first = wrote(0, 1, "a", 5)
    second = operation(Kind.DELETE, 2, 3, "", 6, [("a", 5)])
    third = operation(Kind.APPEND, 4, 5, "b", 8, key="/d")
    history = first, second, third
    seen = (
        Event(5, "set", "/k", "a"),
        Event(6, "delete", "/k", ""),
        Event(8, "create", "/d/00000000000000000008", "b"),
    )

    def breaches(self, *others: Watched, history: Sequence[Operation] | None = None) -> list[str]:
        watched = {f"s{number}": other for number, other in enumerate([Watched([*self.seen]), *others])}
        return [each.reason for each in check_events(watched, history or self.history, 5, 8)]

    def test_the_same_everywhere(self) -> None:
        self.assertEqual(self.breaches(Watched([*self.seen])), [])

    def test_skipped(self) -> None:
        self.assertEqual(
            self.breaches(Watched([*self.seen[:2]])),
            ["s1 has not shown create /d/00000000000000000008 = b @8"],
        )
        self.assertEqual(len(self.breaches(Watched([self.seen[0], self.seen[2]]))), 1)

    def test_skipped_and_said_so(self) -> None:
        self.assertEqual(self.breaches(Watched([self.seen[0], self.seen[2]], [(6, 7)])), [])

    def test_twice(self) -> None:
        self.assertEqual(len(self.breaches(Watched([self.seen[0], *self.seen]))), 1)

    def test_out_of_order(self) -> None:
        self.assertEqual(len(self.breaches(Watched([self.seen[1], self.seen[0], self.seen[2]]))), 1)

    def test_different(self) -> None:
        other = Event(5, "set", "/k", "x")
        self.assertNotEqual(self.breaches(Watched([other, *self.seen[1:]])), [])

    def test_acknowledged_but_never_shown(self) -> None:
        more = wrote(6, 7, "c", 7)
        self.assertEqual(self.breaches(history=[*self.history, more]), ["no watch has shown"])

    def test_shown_otherwise(self) -> None:
        self.assertNotEqual(self.breaches(history=[wrote(0, 1, "x", 5), self.second, self.third]), [])

    def test_done_twice(self) -> None:
        again = Watched([*self.seen[:2], Event(7, "set", "/k", "a"), self.seen[2]])
        self.assertIn("done twice: set /k = a @5 and set /k = a @7", self.breaches(again))

    def test_refused_and_done_all_the_same(self) -> None:
        history = [
            refused(Kind.SWAP, 0, 1, 4, 101, "[x != y]", previous="x", value="a"),
            self.second,
            self.third,
        ]
        self.assertEqual(self.breaches(history=history), ["done all the same: set /k = a @5"])


class ExpiryTests(SynchronousTestCase):
    """What watches have seen of keys with a ttl of two seconds."""

    passing = Operation("c", "s", Request(Kind.CREATE, "/p", "a", ttl=2), 0, 1, Outcome.OK, Answer(5, ()))
    created = Event(5, "create", "/p", "a")
    history = passing, wrote(8, 9, "b", 9)
    last = Event(9, "set", "/k", "b")

    def breaches(self, *expiries: Event, at: float = 2.1, gaps: Sequence[tuple[int, int]] = ()) -> list[str]:
        events = sorted([self.created, *expiries, self.last], key=lambda event: event.index)
        watched = Watched(events, [*gaps], {event.key: at for event in expiries})
        return [each.reason for each in check_events({"s": watched}, self.history, 5, 9)]

    def test_once(self) -> None:
        self.assertEqual(self.breaches(Event(6, "expire", "/p", "")), [])

    def test_never(self) -> None:
        self.assertEqual(self.breaches(), ["has never run out"])
        self.assertEqual(self.breaches(gaps=[(6, 7)]), [])

    def test_twice(self) -> None:
        found = self.breaches(Event(6, "expire", "/p", ""), Event(7, "expire", "/p", ""))
        self.assertEqual(found, ["expire /p @6 and expire /p @7"])

    def test_too_early(self) -> None:
        (found,) = self.breaches(Event(6, "expire", "/p", ""), at=1.9)
        self.assertTrue(found.startswith("too early"), found)

    def test_without_ttl(self) -> None:
        found = self.breaches(Event(6, "expire", "/p", ""), Event(7, "expire", "/k", ""))
        self.assertEqual(found, ["nobody asked for expire /k @7"])
