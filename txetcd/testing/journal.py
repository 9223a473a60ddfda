"""A journal in memory that can be told to fail, or to let writes wait."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail

from txetcd.journal import Batch, JournalError
from txetcd.journal.memory import MemoryJournal


class FaultyJournal(MemoryJournal):
    """A `MemoryJournal` whose batches come to what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self._failures: list[str] = []
        self._holding = False
        self._held: tuple[Batch, Deferred[None]] | None = None

    def append(self, batch: Batch) -> Deferred[None]:
        """See `Journal.append`."""
        if self._failures:
            return fail(JournalError(self._failures.pop(0)))
        if self._holding:
            self._held = batch, Deferred()
            return self._held[1]
        return super().append(batch)

    def fail_next(self, reason: str) -> None:
        """Let the next batch have no place in the order."""
        self._failures.append(reason)

    def hold(self) -> None:
        """Let batches wait from now on."""
        self._holding = True

    def release(self) -> None:
        """Give the batch that waits its place, and let none wait any more."""
        self._holding = False
        if self._held is not None:
            (batch, answer), self._held = self._held, None
            super().append(batch).chainDeferred(answer)
