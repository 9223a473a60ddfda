"""The judge of keys that were kept alive: whether they ran out when they should."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.events import Event, Watched
from tests.cluster.histories import Answer, Kind, Operation, Outcome, Request
from tests.cluster.lifetimes import check_lifetimes

# By how many seconds the clocks differ, and the index of the end.
APART = 1.0
LAST = 99


def done(kind: Kind, began: float, index: int, ttl: int | None = None) -> Operation:
    """A write that was acknowledged."""
    return Operation("c", "s", Request(kind, "/k", ttl=ttl), began, began + 0.1, Outcome.OK, Answer(index))


def refused(kind: Kind, began: float, index: int) -> Operation:
    answer = Answer(index, code=100, cause="/k")
    return Operation("c", "s", Request(kind, "/k", ttl=2), began, began + 0.1, Outcome.REFUSED, answer)


def unanswered(kind: Kind, began: float, ttl: int | None = None) -> Operation:
    return Operation("c", "s", Request(kind, "/k", ttl=ttl), began, math.inf)


class LifetimesTests(SynchronousTestCase):
    # It is made at 0 and refreshed at 2, for 4 seconds each.
    made = done(Kind.CREATE, 0, 5, 4)
    kept = done(Kind.REFRESH, 2, 7, 4)

    def breaches(
        self, *history: Operation, ends: tuple[tuple[int, float], ...] = (), gaps: bool = False
    ) -> list[str]:
        """What is wrong when the key was shown to run out at these indices and times."""
        watched = Watched([Event(index, "expire", "/k", "") for index, _ in ends])
        for _, at in ends[:1]:
            watched.expired["/k"] = at
        if gaps:
            watched.gaps.append((3, 4))
        return [each.reason for each in check_lifetimes({"s": watched}, history, LAST, APART)]

    def test_in_time(self) -> None:
        """By the clock that is ahead of all others, at the earliest."""
        for at in 5.0, 6.0, 60.0:
            self.assertEqual(self.breaches(self.made, self.kept, ends=((9, at),)), [])
        (found,) = self.breaches(self.made, self.kept, ends=((9, 4.9),))
        self.assertEqual(found, "/k has run out 2.900 s after the latest write")

    def test_refreshed_before(self) -> None:
        """It may not run out by the former ttl, though its time has come; after it has, it may."""
        self.assertEqual(len(self.breaches(self.made, self.kept, ends=((9, 4.0),))), 1)
        late = refused(Kind.REFRESH, 4.2, 6)
        self.assertEqual(self.breaches(self.made, late, ends=((6, 4.0),)), [])

    def test_for_ever(self) -> None:
        """Without a ttl it stays until it is deleted."""
        stays, gone = done(Kind.UPDATE, 2, 7), done(Kind.DELETE, 9, 12)
        self.assertEqual(self.breaches(self.made, stays), [])
        self.assertEqual(self.breaches(self.made, stays, gone), [])
        self.assertEqual(len(self.breaches(self.made, stays, ends=((9, 60.0),))), 1)
        self.assertEqual(len(self.breaches(self.made, gone, ends=((13, 60.0),))), 1)

    def test_unknown(self) -> None:
        """A write without an answer may have been done, or not."""
        maybe = unanswered(Kind.UPDATE, 2, 1)
        for ends in (), ((9, 4.0),), ((9, 3.0),):
            self.assertEqual(self.breaches(self.made, maybe, ends=ends), [])
        self.assertEqual(len(self.breaches(self.made, maybe, ends=((9, 1.9),))), 1)
        self.assertEqual(self.breaches(done(Kind.UPDATE, 1, 6), maybe, ends=((9, 2.5),)), [])
        self.assertEqual(len(self.breaches(self.made, unanswered(Kind.UPDATE, 2), ends=((9, 2.5),))), 1)

    def test_never(self) -> None:
        self.assertEqual(self.breaches(self.made, self.kept), ["/k has never run out"])
        self.assertEqual(self.breaches(self.made, self.kept, gaps=True), [])
        self.assertEqual(self.breaches(done(Kind.CREATE, 0, LAST + 1, 4)), [])

    def test_twice(self) -> None:
        self.assertEqual(self.breaches(self.made, ends=((9, 4.0), (11, 9.0))), ["/k has run out 2 times"])

    def test_of_its_own(self) -> None:
        self.assertEqual(self.breaches(ends=((9, 4.0),)), ["nobody asked for /k, and it has run out"])

    def test_refused_while_it_is_there(self) -> None:
        early = refused(Kind.REFRESH, 2, 7)
        self.assertEqual(self.breaches(self.made, early, ends=((9, 4.0),)), ["/k has run out at 9"])
        self.assertEqual(self.breaches(done(Kind.UPDATE, 0, 5), early), ["/k has not run out"])

    def test_done_when_it_is_gone(self) -> None:
        late = done(Kind.REFRESH, 5, 11, 4)
        self.assertEqual(self.breaches(self.made, late, ends=((9, 4.0),)), ["/k has run out at 9"])
