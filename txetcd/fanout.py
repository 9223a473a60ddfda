"""Tells watches of events, in order, not too many in one turn of the reactor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txetcd.events import Event
from txetcd.watchers import Watcher

# How many are told in one turn.
TURN = 1000
# How many may be still to be told; beyond that nobody else has a turn before they are.
MOST = 50_000


class Fanout:
    """What watches are still to be told.

    @param reactor: gives the turns.
    @param tell: calls a watch with an event, and raises nothing.
    """

    def __init__(self, reactor: IReactorTime, tell: Callable[[Callable[[Event], None], Event], None]) -> None:
        self._reactor = reactor
        self._tell = tell
        self._queue: deque[tuple[Watcher, Event]] = deque()
        self._call: IDelayedCall | None = None

    def add(self, watchers: Sequence[Watcher], event: Event) -> None:
        """Tell these watches: at once if they are not many and nobody waits, else in their turn."""
        if len(self._queue) + len(watchers) > MOST:
            self.drain()
        self._queue.extend((watcher, event) for watcher in watchers)
        if self._call is None:
            self._run()

    def drain(self) -> None:
        """Tell all who are still to be told."""
        if self._call is not None:
            self._call.cancel()
        while self._queue:
            self._tell_next()
        self._call = None

    def _run(self) -> None:
        self._call = None
        for _ in range(min(TURN, len(self._queue))):
            self._tell_next()
        if self._queue and self._call is None:
            self._call = self._reactor.callLater(0, self._run)

    def _tell_next(self) -> None:
        watcher, event = self._queue.popleft()
        # One that was told before may have ended it.
        if watcher.active:
            self._tell(watcher.notify, event)
