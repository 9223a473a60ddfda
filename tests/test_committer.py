"""Group commit: what goes into a batch, that one is in flight at a time, and who is answered when."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.journal_contract import put
from tests.store_harness import HeldJournal
from txetcd import errors
from txetcd.commands import Command, Delete, Set
from txetcd.committer import BATCH_COMMANDS, GATHERING, QUIET, Committer, Outcome
from txetcd.errors import EtcdError
from txetcd.journal import BATCH_CHARACTERS, Batch, Journal
from txetcd.journal.memory import MemoryJournal


def refusal(reason: str) -> EtcdError:
    return EtcdError(errors.RAFT_INTERNAL, reason, 7)


class TurningClock(Clock):
    """A clock whose turns are a reactor's: what is put off in one comes in the next."""

    def turn(self) -> None:
        for call in list(self.calls):
            if call.getTime() <= self.seconds():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)

    def advance(self, amount: float) -> None:
        self.rightNow += amount


class CommitterTestCase(SynchronousTestCase):
    """A committer whose batches, once delivered, are answered with what is in `outcomes`: one each."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.delivered: list[Batch] = []
        self.use(HeldJournal())

    def use(self, journal: Journal) -> None:
        self.committer = Committer(journal, self.clock, refusal)
        self.successResultOf(journal.load(self.deliver))
        if isinstance(journal, HeldJournal):
            self.journal = journal

    def deliver(self, position: int, batch: Batch) -> None:
        self.delivered.append(batch)
        for answer in self.committer.waiting_for(batch):
            answer(None)

    def add(self, *keys: str) -> list[Deferred[Outcome]]:
        return [self.committer.add(put(key)) for key in keys]

    def turn(self) -> None:
        """One turn of the reactor."""
        self.clock.advance(0)

    def keys(self, batch: Batch) -> str:
        return " ".join(command.key for command in batch.commands if isinstance(command, Set | Delete))


class BatchTests(CommitterTestCase):
    def test_one_turn_one_batch(self) -> None:
        """The writes of one turn share a batch, in their order, and nothing goes out before its end."""
        self.add("/b", "/a")
        self.committer.add(Delete("/b", False, False, 1))
        self.assertEqual(self.journal.held, [])
        self.turn()
        self.assertEqual([self.keys(batch) for batch in self.journal.held], ["/b /a /b"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_gathers_while_turns_bring_more(self) -> None:
        """A batch waits for the turn that brings nothing, or until it has waited long enough."""
        clock = self.clock = TurningClock()
        self.use(HeldJournal())
        self.add("/a")
        clock.turn()
        self.assertEqual([self.keys(batch) for batch in self.journal.held], ["/a"])
        self.add("/b")
        self.journal.commit()
        clock.turn()
        self.assertEqual(self.journal.held, [])
        for key in ("/c", "/d"):
            self.add(key)
            clock.turn()
            self.assertEqual(self.journal.held, [])
        clock.turn()
        self.assertEqual([self.keys(batch) for batch in self.journal.held], ["/b /c /d"])

    def test_gathers_for_a_short_time(self) -> None:
        clock = self.clock = TurningClock()
        self.use(HeldJournal())
        turns = 0
        while not self.journal.held:
            self.add("/a", "/b")
            clock.turn()
            turns += 1
            clock.advance(GATHERING / 4)
        self.assertEqual(turns, 5)

    def test_gathers_no_more_than_a_batch(self) -> None:
        clock = self.clock = TurningClock()
        self.use(HeldJournal())
        self.add("/a")
        self.add(*["/b"] * (BATCH_COMMANDS - 2))
        clock.turn()
        self.assertEqual(self.journal.held, [])
        self.add("/c")
        clock.turn()
        self.assertEqual([len(batch.commands) for batch in self.journal.held], [BATCH_COMMANDS])

    def test_one_in_flight(self) -> None:
        """What comes meanwhile waits, and goes out together."""
        self.add("/a")
        self.turn()
        for key in ("/b", "/c"):
            self.add(key)
            self.turn()
        self.assertEqual([self.keys(batch) for batch in self.journal.held], ["/a"])
        self.journal.commit()
        self.turn()
        self.assertEqual([self.keys(batch) for batch in self.journal.held], ["/b /c"])

    def test_numbers(self) -> None:
        """Each batch says whose it is and which; no two committers have the same name."""
        for key in ("/a", "/b"):
            self.add(key)
            self.turn()
            self.journal.commit()
        first, second = self.delivered
        self.assertEqual((first.origin, first.number + 1), (second.origin, second.number))
        self.use(HeldJournal())
        self.add("/c")
        self.turn()
        self.assertNotEqual(self.journal.held[0].origin, first.origin)

    def test_limit_of_commands(self) -> None:
        self.add(*(f"/{number}" for number in range(2 * BATCH_COMMANDS + 1)))
        sizes = []
        for _ in range(3):
            self.turn()
            sizes.append(len(self.journal.held[0].commands))
            self.journal.commit()
        self.turn()
        self.assertEqual((sizes, self.journal.held), ([BATCH_COMMANDS, BATCH_COMMANDS, 1], []))

    def test_limit_of_characters(self) -> None:
        """No batch is longer than its journal's limit, but for one with a single command."""
        value = "x" * (BATCH_CHARACTERS // 2)
        for size in (value, value, "y", value + value + value, "z"):
            self.committer.add(put("/a", size))
        sizes = []
        for _ in range(4):
            self.turn()
            sizes.append(len(self.journal.held[0].commands))
            self.journal.commit()
        self.assertEqual(sizes, [2, 1, 1, 1])

    def test_others_are_not_ours(self) -> None:
        """A batch of another origin with the number of ours answers nobody."""
        (answer,) = self.add("/a")
        self.turn()
        self.journal.others(Batch("other", self.journal.held[0].number, (put("/x"),)))
        self.assertNoResult(answer)
        self.journal.commit()
        self.successResultOf(answer)


class AnswerTests(CommitterTestCase):
    def test_answered_when_delivered(self) -> None:
        answers = self.add("/a", "/b")
        self.turn()
        for answer in answers:
            self.assertNoResult(answer)
        self.journal.commit()
        for answer in answers:
            self.successResultOf(answer)

    def test_failure(self) -> None:
        """A batch that has no place is refused, each of its commands, and the next one goes out."""
        answers = self.add("/a", "/b")
        self.turn()
        (later,) = self.add("/c")
        self.journal.refuse("disk full")
        for answer in answers:
            error = self.failureResultOf(answer, EtcdError).value
            self.assertEqual(error, EtcdError(errors.RAFT_INTERNAL, "disk full", 7))
        self.turn()
        self.journal.commit()
        self.successResultOf(later)
        self.assertEqual([self.keys(batch) for batch in self.delivered], ["/c"])

    def test_failures_are_told_of_now_and_then(self) -> None:
        """A disk that stays full for long does not fill the log, too."""
        said: list[LogEvent] = []
        observer = cast(ILogObserver, said.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for keys in (["/a"], ["/b", "/c"], ["/d"]):
            for failed in self.fail_all(*keys):
                self.failureResultOf(failed, EtcdError)
        self.assertEqual([event["count"] for event in said], [1])
        self.clock.advance(QUIET)
        for failed in self.fail_all("/e"):
            self.failureResultOf(failed, EtcdError)
        self.assertEqual([event["count"] for event in said], [1, 4])

    def fail_all(self, *keys: str) -> list[Deferred[Outcome]]:
        added = self.add(*keys)
        self.turn()
        self.journal.refuse("full")
        return added

    def test_given_up(self) -> None:
        """A refused batch that turns up in the order after all answers nobody again."""
        (answer,) = self.add("/a")
        self.turn()
        lost = self.journal.held[0]
        self.journal.refuse("no answer")
        self.failureResultOf(answer, EtcdError)
        self.journal.others(lost)
        self.assertEqual(self.delivered, [lost])

    def test_write_in_an_answer(self) -> None:
        """It goes into the next batch; no batch is empty."""
        self.write_in_an_answer()

    def test_write_in_an_answer_at_once(self) -> None:
        """The same where the journal delivers within append."""
        self.use(MemoryJournal())
        self.write_in_an_answer()

    def write_in_an_answer(self) -> None:
        answers: list[Deferred[Outcome]] = []
        for answer in self.add("/a", "/b"):
            answer.addCallback(lambda _: answers.extend(self.add("/next")))
        for _ in range(3):
            self.turn()
            if self.journal.held:
                self.journal.commit()
        self.assertEqual([self.keys(batch) for batch in self.delivered], ["/a /b", "/next /next"])
        self.assertEqual(len([self.successResultOf(answer) for answer in answers]), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_write_after_a_refusal(self) -> None:
        """One that is made in an answer of a batch that failed."""
        (answer,) = self.add("/a")
        again: list[Deferred[Outcome]] = []
        answer.addErrback(lambda _: again.extend(self.add("/a")))
        self.turn()
        self.journal.refuse("disk full")
        self.turn()
        self.journal.commit()
        self.successResultOf(again[0])

    def test_journal_that_answers_at_once(self) -> None:
        self.use(MemoryJournal())
        answers = self.add(*(f"/{number}" for number in range(BATCH_COMMANDS + 1)))
        self.turn()
        self.turn()
        for answer in answers:
            self.successResultOf(answer)
        self.assertEqual([len(batch.commands) for batch in self.delivered], [BATCH_COMMANDS, 1])


class DrainTests(CommitterTestCase):
    def test_nothing_pending(self) -> None:
        self.successResultOf(self.committer.drain())

    def test_pending(self) -> None:
        """What waits for the end of the turn goes out at once, and all is answered before it fires."""
        (answer,) = self.add("/a")
        drained = self.committer.drain()
        self.assertNoResult(drained)
        self.journal.commit()
        self.successResultOf(answer)
        self.successResultOf(drained)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_in_flight_and_pending(self) -> None:
        self.add("/a")
        self.turn()
        (answer,) = self.add("/b")
        drained = self.committer.drain()
        self.journal.commit()
        self.assertNoResult(drained)
        self.journal.commit()
        self.successResultOf(answer)
        self.successResultOf(drained)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failure(self) -> None:
        """What fails meanwhile is answered too."""
        answers = self.add("/a")
        self.turn()
        answers += self.add("/b")
        drained = self.committer.drain()
        self.journal.refuse("disk full")
        self.journal.refuse("disk full")
        for answer in answers:
            self.failureResultOf(answer, EtcdError)
        self.successResultOf(drained)

    def test_more_than_a_batch(self) -> None:
        """All of it, also when the journal answers at once."""
        commands: list[Command] = [put(f"/{number}") for number in range(2 * BATCH_COMMANDS + 1)]
        for journal in (HeldJournal(), MemoryJournal()):
            self.use(journal)
            answers = [self.committer.add(command) for command in commands]
            drained = self.committer.drain()
            while isinstance(journal, HeldJournal) and journal.held:
                journal.commit()
            self.successResultOf(drained)
            for answer in answers:
                self.successResultOf(answer)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_in_an_answer(self) -> None:
        """It fires only when the batch whose answer it was called in is done with."""
        self.drain_in_an_answer()

    def test_in_an_answer_at_once(self) -> None:
        """The same where the journal delivers within append."""
        self.use(MemoryJournal())
        self.drain_in_an_answer()

    def drain_in_an_answer(self) -> None:
        drained: list[Deferred[None]] = []
        first, second = self.add("/a", "/b")
        first.addCallback(lambda _: drained.append(self.committer.drain()))
        first.addCallback(lambda _: self.assertNoResult(drained[0]))
        self.turn()
        if self.journal.held:
            self.journal.commit()
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(drained[0])
