"""Group commit: the writes that wait, and the one batch of them that the journal has in hand."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txetcd.auth import Auth
from txetcd.commands import AnyCommand, characters
from txetcd.errors import EtcdError, RefusedError
from txetcd.events import Event
from txetcd.journal import Batch, Journal
from txetcd.stats import CommitStats

# A batch is bounded so that neither its commit nor its evaluation takes long.
BATCH_COMMANDS = 512
# Seconds after which a batch waits for no more writes, though each turn of the reactor brings some.
GATHERING = 0.001
# Seconds in which failures are told of once.
QUIET = 10.0

Outcome = Event | Auth | RefusedError | None
"""What a command came to: its event, the users and roles after a change of those, or why it was refused; None
for an expiry that found nothing to do."""


Answer = Callable[[Outcome], None]
"""Is told what a command came to."""


def _fire(done: Deferred[Outcome], outcome: Outcome) -> None:
    if isinstance(outcome, RefusedError):
        done.errback(outcome)
    else:
        done.callback(outcome)


class Committer:
    """Gathers commands into batches, one in flight at a time, and answers those who wait for them.

    @param journal: an open journal.
    @param refusal: makes the error for a batch that could not be made durable, of the journal's reason.
    @ivar stats: counts the batches.
    """

    log = Logger()

    def __init__(self, journal: Journal, reactor: IReactorTime, refusal: Callable[[str], EtcdError]) -> None:
        self._journal = journal
        self._reactor = reactor
        self._refusal = refusal
        self.stats = CommitStats()
        # In a shared journal this tells our batches from others', and from those of our earlier runs.
        self._origin = secrets.token_hex(8)
        self._number = 0
        self._pending: list[tuple[AnyCommand, Answer]] = []
        self._flush_call: IDelayedCall | None = None
        # How many the batch that is gathered had at the last look, and when it was begun.
        self._gathered = 0
        self._since = 0.0
        self._in_flight: Deferred[None] | None = None
        self._waiting: dict[int, list[Answer]] = {}
        self._began = 0.0
        # Of writes that failed: how many the log has not told of yet, and when it last told of any.
        self._untold = 0
        self._told = -QUIET

    def unfinished(self) -> int:
        """How many commands are not yet durable."""
        return len(self._pending) + sum(len(answers) for answers in self._waiting.values())

    def add(self, command: AnyCommand) -> Deferred[Outcome]:
        """Put a command in order.

        @return: fires with its outcome, or fails with the error that it was refused with.
        """
        done: Deferred[Outcome] = Deferred()
        self.submit(command, lambda outcome: _fire(done, outcome))
        return done

    def submit(self, command: AnyCommand, answer: Answer) -> None:
        """Put a command in order, without the cost of a Deferred.

        @param answer: is called with the outcome, and must not raise anything.
        """
        self._pending.append((command, answer))
        if self._in_flight is None and self._flush_call is None:
            # Not at once: the other writes of this turn of the reactor come along in the same commit.
            self._gather(1)

    def waiting_for(self, batch: Batch) -> list[Answer]:
        """Those who wait for a batch that the journal has delivered, one for each of its commands.

        Nobody does when it is not ours, or was given up.
        """
        if batch.origin != self._origin:
            return []
        return self._waiting.pop(batch.number, [])

    def drain(self) -> Deferred[None]:
        """Fires when nothing is pending any more."""
        # With a journal that answers at once, one batch is over before the next.
        while self._flush_call is not None:
            self._flush_call.cancel()
            self._flush()
        if self._in_flight is None:
            return succeed(None)
        drained: Deferred[None] = Deferred()
        self._in_flight.addCallback(lambda _: self.drain().chainDeferred(drained))
        return drained

    def _gather(self, count: int) -> None:
        """Begin a batch, which waits for another turn of the reactor if it then has more than `count`."""
        self._gathered = count
        self._since = self._reactor.seconds()
        self._flush_call = self._reactor.callLater(0, self._flush_or_wait)

    def _flush_or_wait(self) -> None:
        """Hand the batch over, unless this turn of the reactor has brought more, and the next one may.

        One commit for all who write at about the same time costs hardly more than one for some of them, and
        the fewer there are, the less their thread contends with the reactor for the interpreter.
        """
        count = len(self._pending)
        waited = abs(self._reactor.seconds() - self._since)
        if self._gathered < count < BATCH_COMMANDS and waited < GATHERING:
            self._gathered = count
            self._flush_call = self._reactor.callLater(0, self._flush_or_wait)
        else:
            self._flush()

    def _flush(self) -> None:
        """Hand the journal the next batch."""
        self._flush_call = None
        count = size = 0
        for command, _ in self._pending[:BATCH_COMMANDS]:
            size += characters(command)
            if count and size > self._journal.batch_characters:
                break
            count += 1
        taken, self._pending = self._pending[:count], self._pending[count:]
        self._number += 1
        batch = Batch(self._origin, self._number, tuple(command for command, _ in taken))
        self._waiting[batch.number] = [answer for _, answer in taken]
        # Set before: a journal may deliver the batch, and its callers write more or stop, within append.
        flushed: Deferred[None] = Deferred()
        self._in_flight = flushed
        self._began = self._reactor.seconds()
        appending = self._journal.append(batch)
        appending.addCallbacks(self._durable, self._failed, callbackArgs=(batch,), errbackArgs=(batch,))
        appending.addCallback(self._flushed, flushed)

    def _durable(self, _: None, batch: Batch) -> None:
        self.stats.commands.add(len(batch.commands))
        # A clock that was set back has no say in it.
        self.stats.seconds.add(max(0.0, self._reactor.seconds() - self._began))

    def _flushed(self, _: None, flushed: Deferred[None]) -> None:
        self._in_flight = None
        if self._pending:
            # Those who were just answered may be about to write again.
            self._gather(0)
        flushed.callback(None)

    def _failed(self, failure: Failure, batch: Batch) -> None:
        reason = failure.getErrorMessage()
        self.stats.failed += 1
        self._untold += len(batch.commands)
        now = self._reactor.seconds()
        if now - self._told >= QUIET:
            self.log.error(
                "{count} writes could not be made durable: {reason}", count=self._untold, reason=reason
            )
            self._untold, self._told = 0, now
        for answer in self.waiting_for(batch):
            answer(self._refusal(reason))
