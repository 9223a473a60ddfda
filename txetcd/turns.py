"""Who takes a costly step in this turn of the reactor, and who waits for one of the next."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

# Seconds of work in one turn; the step that reaches them is the last.
BUDGET = 0.005


class Stepping(Protocol):
    """Whoever has a step to take."""

    def step(self) -> None:
        """Take it; raises nothing."""


class Turns:
    """Shares out the turns of the reactor, so that steps leave it time for everything else.

    @param clock: gives the turns, and measures what steps take.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        # In the order in which they came.
        self._waiting: OrderedDict[Stepping, None] = OrderedDict()
        self._used = 0.0
        self._call: IDelayedCall | None = None

    def ask(self, who: Stepping) -> None:
        """Let somebody take a step: now if nobody waits and there is time left, else when it is its turn.

        Whoever asks again while it waits keeps its place, for one step.
        """
        if self._call is None:
            self._call = self._clock.callLater(0, self._turn)
        if self._waiting or self._used >= BUDGET:
            self._waiting[who] = None
        else:
            self._take(who)

    def leave(self, who: Stepping) -> None:
        """Wait no longer, whether somebody waits or not."""
        self._waiting.pop(who, None)

    def _turn(self) -> None:
        self._used = 0.0
        while self._waiting and self._used < BUDGET:
            self._take(self._waiting.popitem(last=False)[0])
        # What was used counts for this turn alone.
        again = self._waiting or self._used
        self._call = self._clock.callLater(0, self._turn) if again else None

    def _take(self, who: Stepping) -> None:
        # Whoever asks meanwhile waits.
        used, self._used = self._used, BUDGET
        began = self._clock.seconds()
        who.step()
        # The clock may have been set back since.
        self._used = used + abs(self._clock.seconds() - began)
