"""The judge of histories, on histories made by hand; then short histories of what exists, with faults."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.cluster.events import Event, Watched, check_events
from tests.cluster.histories import Answer, Breach, Kind, Operation, Outcome, Request, Seen
from tests.cluster.linearizability import check
from tests.cluster.members import etcd_program
from tests.cluster.workload import Plan, Report, run
from tests.cluster.worlds import EngineWorld, SQLiteWorld, World

Shown = tuple[str, int]


def operation(
    kind: Kind,
    began: float,
    ended: float,
    value: str = "",
    index: int = 0,
    shown: Sequence[Shown] = (),
    *,
    previous: str | int | None = None,
    key: str = "/k",
    server: str = "s",
) -> Operation:
    """One that was done."""
    answer = Answer(index, tuple(Seen(*each) for each in shown))
    return Operation("c", server, Request(kind, key, value, previous), began, ended, Outcome.OK, answer)


def wrote(began: float, ended: float, value: str, index: int, *replaced: Shown, **more: Any) -> Operation:
    """A set."""
    return operation(Kind.SET, began, ended, value, index, replaced, **more)


def read(began: float, ended: float, index: int, *shown: Shown, **more: Any) -> Operation:
    """A quorum read of a file."""
    return operation(Kind.GET, began, ended, "", index, shown, **more)


def looked(began: float, ended: float, index: int, *shown: Shown, **more: Any) -> Operation:
    """A plain read of a file."""
    return operation(Kind.LOOK, began, ended, "", index, shown, **more)


def listed(began: float, ended: float, index: int, *shown: Shown) -> Operation:
    """A quorum read of a directory."""
    return operation(Kind.LIST, began, ended, "", index, shown)


def swapped(
    began: float, ended: float, previous: str | int, value: str, index: int, *replaced: Shown
) -> Operation:
    """A compareAndSwap that succeeded."""
    return operation(Kind.SWAP, began, ended, value, index, replaced, previous=previous)


def refused(
    kind: Kind,
    began: float,
    ended: float,
    index: int,
    code: int,
    cause: str = "",
    *,
    previous: str | int | None = None,
    value: str = "",
) -> Operation:
    """One that was refused."""
    request = Request(kind, "/k", value, previous)
    answer = Answer(index, code=code, cause=cause)
    return Operation("c", "s", request, began, ended, Outcome.REFUSED, answer)


def unanswered(kind: Kind, began: float, value: str = "", previous: str | int | None = None) -> Operation:
    """One that was never answered."""
    return Operation("c", "s", Request(kind, "/k", value, previous), began)


class HistoryCase(SynchronousTestCase):
    def accept(self, *history: Operation) -> None:
        """That may happen."""
        self.assertEqual(check(history), [], "\n".join(map(str, check(history))))

    def reject(self, *history: Operation) -> list[Breach]:
        """That may not."""
        found = check(history)
        self.assertNotEqual(found, [])
        return found


class FileTests(HistoryCase):
    """One file, every outcome known."""

    def test_one_after_the_other(self) -> None:
        self.accept(
            wrote(0, 1, "a", 5),
            read(2, 3, 5, ("a", 5)),
            swapped(4, 5, "a", "b", 7, ("a", 5)),
            swapped(6, 7, 7, "c", 8, ("b", 7)),
            refused(Kind.SWAP, 8, 9, 8, 101, "[b != c]", previous="b", value="x"),
            refused(Kind.SWAP, 8, 9, 8, 101, "[7 != 8]", previous=7, value="y"),
            refused(Kind.CREATE, 10, 11, 8, 105, "/k", value="z"),
            operation(Kind.DELETE, 12, 13, "", 9, [("c", 8)]),
            refused(Kind.GET, 14, 15, 9, 100, "/k"),
            refused(Kind.DELETE, 14, 15, 9, 100, "/k"),
            operation(Kind.CREATE, 16, 17, "d", 10),
        )

    def test_at_the_same_time(self) -> None:
        """The order is that of the indices, whoever began or ended first."""
        self.accept(
            wrote(0, 10, "a", 6, ("b", 5)),
            wrote(1, 9, "b", 5),
            read(2, 8, 6, ("a", 6)),
            read(2, 8, 5, ("b", 5)),
        )

    def test_stale_read(self) -> None:
        self.reject(wrote(0, 1, "a", 5), wrote(2, 3, "b", 6, ("a", 5)), read(4, 5, 5, ("a", 5)))

    def test_stale_read_with_a_new_index(self) -> None:
        self.reject(wrote(0, 1, "a", 5), wrote(2, 3, "b", 6, ("a", 5)), read(4, 5, 6, ("a", 5)))

    def test_reads_that_contradict(self) -> None:
        """What one read has shown the next cannot take back, though the write goes on."""
        first = wrote(0, 1, "a", 5)
        second = wrote(2, 9, "b", 6, ("a", 5))
        self.accept(first, second, read(3, 4, 5, ("a", 5)), read(5, 6, 6, ("b", 6)))
        self.reject(first, second, read(3, 4, 6, ("b", 6)), read(5, 6, 5, ("a", 5)))

    def test_read_from_the_future(self) -> None:
        self.reject(read(0, 1, 5, ("a", 5)), wrote(2, 3, "a", 5))

    def test_lost_write(self) -> None:
        first, second = wrote(0, 1, "a", 5), wrote(2, 3, "b", 6, ("a", 5))
        self.reject(first, second, swapped(4, 5, 5, "c", 7, ("a", 5)))
        self.reject(first, refused(Kind.GET, 2, 3, 5, 100, "/k"))
        self.reject(first, operation(Kind.CREATE, 2, 3, "b", 6))

    def test_value_of_nobody(self) -> None:
        self.reject(wrote(0, 1, "a", 5), read(2, 3, 5, ("x", 5)))

    def test_wrong_modified_index(self) -> None:
        self.reject(wrote(0, 1, "a", 5), wrote(0, 1, "b", 6, key="/other"), read(2, 3, 6, ("a", 6)))

    def test_swap_that_should_have_failed(self) -> None:
        first, second = wrote(0, 1, "a", 5), wrote(2, 3, "b", 6, ("a", 5))
        self.reject(first, second, swapped(4, 5, "a", "c", 7, ("b", 6)))
        self.reject(first, second, swapped(4, 5, 5, "c", 7, ("b", 6)))

    def test_both_swaps_win(self) -> None:
        first = wrote(0, 1, "a", 5)
        self.reject(first, swapped(2, 4, "a", "b", 6, ("a", 5)), swapped(2, 4, "a", "c", 7, ("a", 5)))

    def test_refusal_without_reason(self) -> None:
        first = wrote(0, 1, "a", 5)
        self.reject(first, refused(Kind.SWAP, 2, 3, 5, 101, "[a != a]", previous="a", value="b"))
        self.reject(first, refused(Kind.SWAP, 2, 3, 5, 101, "[x != b]", previous="x", value="b"))
        self.reject(first, refused(Kind.SWAP, 2, 3, 5, 101, "[5 != 5]", previous=5, value="b"))
        self.reject(refused(Kind.CREATE, 2, 3, 5, 105, value="b"))
        self.reject(first, refused(Kind.SET, 2, 3, 5, 102, value="b"))

    def test_refusal_by_an_old_state(self) -> None:
        self.reject(
            wrote(0, 1, "a", 5),
            wrote(2, 3, "b", 6, ("a", 5)),
            refused(Kind.SWAP, 4, 5, 5, 101, "[b != a]", previous="b", value="c"),
        )


class IndexTests(HistoryCase):
    def test_twice(self) -> None:
        self.reject(wrote(0, 5, "a", 5), wrote(1, 4, "b", 5, key="/other"))

    def test_going_back(self) -> None:
        """For other keys too."""
        self.accept(wrote(0, 2, "a", 6), wrote(1, 3, "b", 5, key="/other"))
        (breach,) = self.reject(wrote(0, 1, "a", 6), wrote(2, 3, "b", 5, key="/other"))
        self.assertEqual(breach.reason, "the index goes back")
        self.reject(wrote(0, 1, "a", 6), refused(Kind.DELETE, 2, 3, 5, 100))
        self.reject(wrote(0, 1, "a", 6, key="/other"), refused(Kind.DELETE, 2, 3, 5, 100))

    def test_plain_reads_go_back_at_one_server(self) -> None:
        written = wrote(0, 1, "a", 5), wrote(2, 3, "b", 6, ("a", 5))
        new, old = looked(4, 5, 6, ("b", 6), server="s"), looked(6, 7, 5, ("a", 5), server="t")
        self.accept(*written, new, old)
        (breach,) = self.reject(*written, new, looked(6, 7, 5, ("a", 5), server="s"))
        self.assertEqual(breach.reason, "the index goes back at s")

    def test_plain_read_does_not_show_ones_own_write(self) -> None:
        self.reject(wrote(0, 1, "a", 5), wrote(2, 3, "b", 6, ("a", 5)), looked(4, 5, 5, ("a", 5)))


class PlainReadTests(HistoryCase):
    written = wrote(0, 1, "a", 5), wrote(2, 3, "b", 6, ("a", 5))

    def test_the_past(self) -> None:
        self.accept(*self.written, looked(8, 9, 5, ("a", 5), server="t"))

    def test_the_future(self) -> None:
        self.reject(*self.written, looked(1, 1.5, 6, ("b", 6), server="t"))

    def test_what_never_was(self) -> None:
        self.reject(*self.written, looked(8, 9, 6, ("a", 5), server="t"))


class DirectoryTests(HistoryCase):
    @staticmethod
    def appended(began: float, ended: float, value: str, index: int) -> Operation:
        return operation(Kind.APPEND, began, ended, value, index)

    def test_in_order(self) -> None:
        self.accept(
            refused(Kind.LIST, 0, 1, 3, 100, "/k"),
            self.appended(2, 3, "a", 5),
            self.appended(4, 6, "b", 7),
            self.appended(4, 6, "c", 6),
            listed(4, 6, 5, ("a", 5)),
            listed(7, 8, 7, ("a", 5), ("c", 6), ("b", 7)),
        )

    def test_doubled_append(self) -> None:
        self.reject(self.appended(0, 1, "a", 5), listed(2, 3, 6, ("a", 5), ("a", 6)))
        self.reject(unanswered(Kind.APPEND, 0, "a"), listed(2, 3, 6, ("a", 5), ("a", 6)))

    def test_lost_append(self) -> None:
        self.reject(self.appended(0, 1, "a", 5), self.appended(2, 3, "b", 6), listed(4, 5, 6, ("b", 6)))

    def test_order_of_appends(self) -> None:
        self.reject(
            self.appended(0, 1, "a", 5), self.appended(2, 3, "b", 6), listed(4, 5, 6, ("b", 6), ("a", 5))
        )

    def test_unanswered(self) -> None:
        """However many there are."""
        lost = [unanswered(Kind.APPEND, 2, f"lost{number}") for number in range(30)]
        first, last = self.appended(0, 1, "a", 5), self.appended(3, 4, "b", 9)
        self.accept(first, *lost, last, listed(5, 6, 9, ("a", 5), ("lost7", 6), ("lost3", 8), ("b", 9)))
        self.reject(first, *lost, last, listed(5, 6, 9, ("a", 5), ("lost7", 6), ("other", 8), ("b", 9)))
        self.reject(
            first,
            *lost,
            last,
            listed(5, 6, 9, ("a", 5), ("lost7", 6), ("b", 9)),
            listed(7, 8, 9, ("a", 5), ("b", 9)),
        )


class UnansweredTests(HistoryCase):
    first = wrote(0, 1, "a", 5)

    def test_done(self) -> None:
        self.accept(self.first, unanswered(Kind.SET, 2, "b"), read(3, 4, 6, ("b", 6)))

    def test_not_done(self) -> None:
        self.accept(self.first, unanswered(Kind.SET, 2, "b"), read(3, 4, 5, ("a", 5)))

    def test_done_later(self) -> None:
        lost = unanswered(Kind.SET, 2, "b")
        self.accept(self.first, lost, read(3, 4, 5, ("a", 5)), read(5, 6, 6, ("b", 6)))

    def test_done_before_it_was_asked(self) -> None:
        self.reject(self.first, read(2, 3, 6, ("b", 6)), unanswered(Kind.SET, 4, "b"))

    def test_done_and_undone(self) -> None:
        lost = unanswered(Kind.SET, 2, "b")
        self.reject(self.first, lost, read(3, 4, 6, ("b", 6)), read(5, 6, 6, ("a", 5)))

    def test_done_twice(self) -> None:
        lost = unanswered(Kind.SET, 2, "b")
        self.reject(
            self.first,
            lost,
            read(3, 4, 6, ("b", 6)),
            wrote(5, 6, "c", 7, ("b", 6)),
            read(7, 8, 8, ("b", 8)),
        )

    def test_index_below_what_it_follows(self) -> None:
        self.reject(self.first, unanswered(Kind.SET, 2, "b"), read(3, 4, 5, ("b", 4)))

    def test_overwritten(self) -> None:
        lost = unanswered(Kind.SET, 2, "b")
        self.accept(self.first, lost, wrote(3, 4, "c", 7, ("b", 6)))

    def test_delete(self) -> None:
        lost = unanswered(Kind.DELETE, 2)
        self.accept(self.first, lost, refused(Kind.GET, 3, 4, 6, 100, "/k"))
        self.accept(self.first, lost, operation(Kind.CREATE, 3, 4, "c", 7))
        self.reject(self.first, refused(Kind.GET, 3, 4, 6, 100, "/k"), unanswered(Kind.DELETE, 5))

    def test_seen_by_its_refusals_alone(self) -> None:
        """Nobody has read it: it must be searched for."""
        lost = unanswered(Kind.SET, 2, "b")
        failed = refused(Kind.SWAP, 3, 4, 7, 101, "[x != b]", previous="x", value="y")
        self.accept(self.first, unanswered(Kind.SET, 2, "z"), lost, failed)
        self.reject(self.first, failed)
        self.accept(lost, refused(Kind.CREATE, 3, 4, 7, 105, value="y"))
        self.accept(
            self.first,
            unanswered(Kind.DELETE, 2),
            unanswered(Kind.CREATE, 2, "b"),
            unanswered(Kind.SWAP, 2, "c", previous="b"),
            refused(Kind.SWAP, 3, 4, 9, 101, "[x != c]", previous="x", value="y"),
        )
        self.reject(
            self.first,
            unanswered(Kind.SWAP, 2, "c", previous="b"),
            refused(Kind.SWAP, 3, 4, 9, 101, "[x != c]", previous="x", value="y"),
        )

    def test_never_done(self) -> None:
        """One that has failed for certain explains nothing."""
        failed = Operation("c", "s", Request(Kind.SET, "/k", "b"), 2, 3, Outcome.FAILED)
        self.accept(self.first, failed, read(4, 5, 5, ("a", 5)))
        self.reject(self.first, failed, read(4, 5, 6, ("b", 6)))


class ReportTests(HistoryCase):
    def test_shortest(self) -> None:
        """Of a long history, what shows that it is wrong."""
        history = [wrote(0, 1, "v0", 5)]
        for number in range(1, 20):
            began = 10.0 * number
            history.append(wrote(began, began + 1, f"v{number}", 5 + number, (f"v{number - 1}", 4 + number)))
            history.append(read(began + 2, began + 3, 5 + number, (f"v{number}", 5 + number)))
        stale = read(104, 105, 15, ("v9", 14))
        (breach,) = self.reject(*history, stale)
        self.assertIn(stale, breach.operations)
        self.assertLessEqual(len(breach.operations), 2)
        text = str(breach)
        self.assertIn("v9@14, at 15", text)
        self.assertLessEqual(len(text.splitlines()), 6, text)

    def test_random_histories(self) -> None:
        """What one store does one after the other is accepted, however the clients' times overlap."""
        for seed in range(30):
            self.accept(*store_history(random.Random(seed)))

    def test_random_histories_with_one_lie(self) -> None:
        """A read that shows what had been overwritten is found in each."""
        for seed in range(30):
            rng = random.Random(seed)
            history = store_history(rng)
            overwritten = min(each.index for each in history if each.done and each.index > 1)
            true = rng.choice(
                [each for each in history if each.kind is Kind.GET and each.index > overwritten]
            )
            history.remove(true)
            self.reject(*history, read(true.invoked, true.returned, true.index, ("v0", 1)))


def store_history(rng: random.Random) -> list[Operation]:
    """What a store that does one operation after the other answers to clients whose times overlap."""
    history = [wrote(-2, -1, "v0", 1)]
    index, current = 1, Seen("v0", 1)
    for number in range(1, 60):
        began, ended = number - rng.uniform(0, 4), number + rng.uniform(0, 4)
        lost = rng.random() < 0.2
        if rng.random() < 0.5:
            history.append(read(began, ended, index, current))
            continue
        index += rng.randint(1, 3)
        value = f"v{number}"
        done = wrote(began, ended, value, index, current)
        history.append(unanswered(Kind.SET, began, value) if lost else done)
        current = Seen(value, index)
    return history


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


class LiveTests(TestCase):
    """Real servers, with faults."""

    timeout = 120

    async def judge(self, make: Callable[[Any, Path], World], plan: Plan) -> Report:
        """Run clients against a world; there must be nothing wrong with what they see."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        world = make(reactor, Path(temporary.name))
        self.addCleanup(lambda: Deferred.fromCoroutine(world.close()))
        stop = threading.Event()
        self.addCleanup(stop.set)

        def work() -> Report:
            world.start()
            return run(world, plan, stop)

        report = await deferToThread(work)
        self.assertEqual(report.breaches, (), report)
        done = [each for each in report.history if each.outcome is Outcome.OK]
        self.assertGreater(len(done), 20)
        self.assertTrue(all(math.isfinite(each.returned) for each in done))
        return report

    async def test_sqlite(self) -> None:
        faults = ("kill-leader", "lost-answers")
        await self.judge(SQLiteWorld, Plan(1.0, faults, clients=4, patience=0.5, lasting=0.4))

    async def test_engine(self) -> None:
        faults = ("kill-leader", "lost-answers")
        await self.judge(EngineWorld, Plan(1.5, faults, clients=4, patience=0.5, lasting=0.5))

    if etcd_program() is None:
        test_engine.skip = "there is no etcd"  # type: ignore[attr-defined]
