"""Stores under a clock that the test moves, on journals that answer when the test says so.

self.store.set("/a", "1"); self.turn(); self.journal.commit()
"""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.journal import Batch, Deliver, Journal, JournalError, Recovered, StartAnew
from txetcd.journal.memory import MemoryJournal
from txetcd.store import Store
from txetcd.tree import SECOND, File, Node

_T = TypeVar("_T")

# When the clocks of tests begin, in seconds since the epoch.
EPOCH = 1_700_000_000


class HeldJournal(MemoryJournal):
    """A journal in memory that holds each batch until it is told what becomes of it.

    @ivar held: the batch in flight, if there is one.
    @ivar closed: how often it was closed.
    @ivar broken: why it cannot be opened, if it cannot.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Batch] = []
        self.closed = 0
        self.broken = ""
        self._answer: Deferred[None] = Deferred()

    def load(self, deliver: Deliver, start_anew: StartAnew | None = None) -> Deferred[Recovered]:
        return fail(JournalError(self.broken)) if self.broken else super().load(deliver, start_anew)

    def append(self, batch: Batch) -> Deferred[None]:
        assert not self.held, "one at a time"
        self.held.append(batch)
        self._answer = Deferred()
        return self._answer

    def commit(self) -> None:
        """Give the batch in flight its place."""
        answer = self._answer
        super().append(self.held.pop())
        answer.callback(None)

    def refuse(self, reason: str) -> None:
        """Let the batch in flight fail."""
        self.held.clear()
        self._answer.errback(JournalError(reason))

    def others(self, batch: Batch) -> None:
        """Give the batch of another store its place."""
        super().append(batch)

    def close(self) -> Deferred[None]:
        self.closed += 1
        return super().close()


class StoreTestCase(SynchronousTestCase):
    """Stores whose wall clock and timers are one `Clock`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(EPOCH)
        self.journal = HeldJournal()
        # Registered first, done last: when all stores have been stopped, no timer is left.
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def now(self) -> int:
        return round(self.clock.seconds() * 1000) * (SECOND // 1000)

    def started(self, journal: Journal | None = None, history_size: int = 1000) -> Store:
        """A store that was started; on a journal that answers at once, unless one is given."""
        journal = MemoryJournal() if journal is None else journal
        store = Store(journal, self.clock, history_size=history_size, now=self.now)
        store.startService()
        self.addCleanup(self.stopped, store)
        return store

    def stopped(self, store: Store) -> None:
        """Stop a store, if it runs."""
        stopping = store.stopService()
        while self.journal.held:
            self.journal.commit()
        self.successResultOf(stopping)

    def turn(self) -> None:
        """One turn of the reactor."""
        self.clock.advance(0)

    def done(self, result: Deferred[_T]) -> _T:
        """What a write on a journal that answers at once comes to."""
        self.turn()
        return self.successResultOf(result)

    def refused(self, result: Deferred[_T]) -> EtcdError:
        """The error that a Deferred has failed with."""
        self.turn()
        error = self.failureResultOf(result, EtcdError).value
        assert isinstance(error, EtcdError)
        return error

    def value(self, store: Store, key: str) -> str | None:
        """The value of a key; None if there is none."""
        node: Node | None = store.tree.find(key)
        return node.value if isinstance(node, File) else None


class Told:
    """A stream reader that remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.cleared = 0

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def clear(self) -> None:
        self.cleared += 1

    @property
    def indices(self) -> list[int]:
        return [event.index for event in self.events]

    @property
    def actions(self) -> list[str]:
        return [f"{event.action} {event.key}" for event in self.events]
