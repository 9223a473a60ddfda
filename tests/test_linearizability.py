"""The judge of histories, on histories made by hand."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.histories import Breach, Kind, Operation, Outcome, Request, Seen
from tests.cluster.linearizability import check
from tests.history_harness import listed, looked, operation, read, refused, swapped, unanswered, wrote


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
