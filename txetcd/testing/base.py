"""What servers for tests have in common: an API on a store in memory, time, and what can go wrong."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from txetcd.resources.api import API
from txetcd.server import refuse
from txetcd.site import Site
from txetcd.store import Store
from txetcd.testing.journal import FaultyJournal
from txetcd.tree import SECOND

# The wall clock when a Clock is at zero: the first second of 2020.
EPOCH = 1_577_836_800

# A hidden key, for events that are nobody's.
LOST = "/_lost"


def wall_clock(clock: Clock) -> Callable[[], int]:
    """The time of day that goes with a Clock, in nanoseconds since the epoch."""
    # To the millisecond: what runs out after some seconds must not do so a rounding error later.
    return lambda: (EPOCH * 1000 + round(clock.seconds() * 1000)) * (SECOND // 1000)


def advance(clock: Clock, seconds: float) -> None:
    """Let time pass, and whatever is due on the way happen each at its own time.

    `Clock.advance` moves the time first, so that everything seems to be late.
    """
    end = clock.seconds() + seconds
    while True:
        due = min((call.getTime() for call in clock.getDelayedCalls()), default=end)
        if due >= end:
            break
        clock.advance(max(0.0, due - clock.seconds()))
    clock.advance(max(0.0, end - clock.seconds()))


class DroppingSite(Site):
    """A site that can lose all its connections at once."""

    def drop(self) -> None:
        """Abort all connections."""
        for channel in list(self._channels):
            channel.abortConnection()


class BaseServer:
    """A v2 server whose data last as long as the object, through any number of stops and starts.

    @param reactor: the time by which connections live.
    @param journal: where the store is kept.
    @param store: what is served.
    @param history_size: of the store.
    @ivar store: what is served: the same from Python.
    """

    def __init__(
        self, reactor: IReactorTime, journal: FaultyJournal, store: Store, history_size: int
    ) -> None:
        self.store = store
        self._reactor = reactor
        self._journal = journal
        self._history_size = history_size
        self._site = self._new_site()

    @property
    def url(self) -> str:
        """Where it is served, without a slash at the end."""
        raise NotImplementedError

    def _serve(self) -> None:
        """Start the store, and let the site serve it, now that it is known where."""
        self.store.startService()
        self._site.resource = API(self.store, name="txetcd", client_urls=(self.url,))

    def _new_site(self) -> DroppingSite:
        return DroppingSite(Resource(), self._reactor, refusal=refuse)

    # What can go wrong.

    def fail_next_write(self, reason: str = "the disk is full") -> None:
        """Refuse the next write, and those that are asked for in the same turn, with code 300.

        Can be called several times, for as many writes in a row.
        """
        self._journal.fail_next(reason)

    def hold_writes(self) -> None:
        """Let writes wait for their answer, from now on and until `release_writes`; reads are answered."""
        self._journal.hold()

    def release_writes(self) -> None:
        """Answer the writes that wait, and all others as usual."""
        self._journal.release()

    def lose_history(self) -> Deferred[None]:
        """Have as many other events as the history keeps: a watch for what was before is refused with 401.

        @return: fires when they have happened.  The index has grown; a hidden key was written and deleted.
        """
        writes = [self.store.set(LOST) for _ in range(self._history_size)]
        return gatherResults([*writes, self.store.delete(LOST)]).addCallback(lambda _: None)

    def drop_connections(self) -> None:
        """Abort all connections, those of watches too, without a word."""
        self._site.drop()
