"""Who takes a costly step at once, and who waits for one of the reactor's next turns.

Those who wait stand in lanes, one for each address that clients come from, and the lanes take turns: whoever
has ten thousand connections holds up itself.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger

from txetcd.origin import origin

# Seconds of work in one turn; the step that reaches them is the last.
BUDGET = 0.005
# Steps that follow each other within so many seconds may be of one turn, and share its budget.
TOGETHER = 0.01
# A turn that has gone on for so many seconds is long.
LONG = 0.02
# Of so few small steps nobody need know how long they took.
FEW = 128


class Stepping(Protocol):
    """The connection that has a step to take."""

    def step(self) -> None:
        """Take it; what it raises is logged, and ends the connection."""

    def getPeer(self) -> IAddress | None:
        """Give the client's address."""

    def abortConnection(self) -> None:
        """Close at once."""


class Turns:
    """Shares out the turns of the reactor, so that steps leave it time for everything else.

    @param clock: gives the turns, and measures what steps take.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        # The lane whose turn it is comes first.  In each, those who wait in the order in which they came.
        self._lanes: OrderedDict[str, OrderedDict[Stepping, None]] = OrderedDict()
        # What steps that may be of this turn have taken, and when the last one ended.
        self._used = 0.0
        self._ended = 0.0
        self._stepping = False
        self._call: IDelayedCall | None = None
        # How many small steps there were, and when this turn had had few of them.
        self._small = 0
        self._since = 0.0

    def at_once(self) -> bool:
        """Count a small step; tell whether it can be taken at once: not if there are many, and it is late.

        Whoever cannot asks for a turn.
        """
        self._small += 1
        if self._small > FEW:
            return abs(self._clock.seconds() - self._since) < LONG
        if self._small == FEW:
            self._since = self._clock.seconds()
            self._clock.callLater(0, self._next_turn)
        return True

    def _next_turn(self) -> None:
        self._small = 0

    def ask(self, who: Stepping) -> None:
        """Let somebody take a step: now if nobody waits and there is time left, else when it is its turn.

        Whoever asks again while it waits keeps its place, for one step.
        """
        if not self._lanes and not self._stepping:
            # The clock may have been set back since.
            if abs(self._clock.seconds() - self._ended) >= TOGETHER:
                self._used = 0.0
            if self._used < BUDGET:
                self._take(who)
                return
        self._lanes.setdefault(origin(who.getPeer()), OrderedDict())[who] = None
        if self._call is None:
            self._call = self._clock.callLater(0, self._turn)

    def leave(self, who: Stepping) -> None:
        """Wait no longer, whether somebody waits or not."""
        if not self._lanes:
            return
        where = origin(who.getPeer())
        lane = self._lanes.get(where)
        if lane is None:
            return
        lane.pop(who, None)
        if not lane:
            del self._lanes[where]
        if not self._lanes and self._call is not None:
            self._call.cancel()
            self._call = None

    def _turn(self) -> None:
        self._call = None
        self._used = 0.0
        while self._lanes and self._used < BUDGET:
            where, lane = next(iter(self._lanes.items()))
            who, _ = lane.popitem(last=False)
            if lane:
                self._lanes.move_to_end(where)
            else:
                del self._lanes[where]
            self._take(who)
        if self._lanes and self._call is None:
            self._call = self._clock.callLater(0, self._turn)

    def _take(self, who: Stepping) -> None:
        began = self._clock.seconds()
        self._stepping = True
        try:
            who.step()
        except Exception:
            # As the reactor does with what comes of reading.
            self.log.failure("While {peer} had its turn", peer=who.getPeer())
            who.abortConnection()
        self._stepping = False
        self._ended = self._clock.seconds()
        self._used += abs(self._ended - began)
