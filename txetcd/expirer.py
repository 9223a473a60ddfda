"""Takes keys away when they have run out: the timer, and the command that it asks for.

Stores that share a journal all do, so that it is done whichever of them is there.  One of them is enough at a
time: one that finds that another was first gives it some time from then on, and goes first itself again when
that time was not enough.  What decides is each one's clock; that clocks differ is seen from the times of what
was written, and told.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txetcd.commands import Expire
from txetcd.committer import Committer, Outcome
from txetcd.events import Event
from txetcd.expiry import Expirations
from txetcd.tree import SECOND, Tree

# How many keys one command lets expire.
EXPIRE_KEYS = 500
# How late a clock set forward is noticed at the latest, in seconds.
LONGEST_SLEEP = 60.0
# After how many seconds a failed expiry is tried again.
RETRY = 1.0
# How many seconds, at least and at most, a store leaves to the one that was first.
PATIENCE = (0.5, 1.0)
# By how many nanoseconds clocks may differ, and for how many seconds nothing more is said of it.
TOLERANCE = SECOND
QUIET = 600.0


class Expirer:
    """Knows which keys of a store run out when, and has them removed in order with all other writes.

    @param now: the wall clock, in nanoseconds since the epoch.
    @param tree: gives the store as it is now.
    @param committer: puts the removals in order.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        now: Callable[[], int],
        tree: Callable[[], Tree],
        committer: Committer,
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._tree = tree
        self._committer = committer
        self._expirations = Expirations()
        self._call: IDelayedCall | None = None
        self._asking = False
        # The keys whose removal was asked for and has not been seen.
        self._taken: dict[str, None] = {}
        # Whether keys were removed while this store asked for it; by itself or by another.
        self._removed = False
        # Nanoseconds.
        self._patience = 0
        self._told = -QUIET
        self._started = False
        self._stopped = False

    def load(self, expiring: Iterable[tuple[int, str]]) -> None:
        """See `Expirations.load`."""
        self._expirations.load(expiring)

    def add(self, event: Event, tree: Tree) -> None:
        """Note what an event means for its key; call `schedule` when there are no more."""
        self._expirations.add(event, tree)
        if self._asking and event.action == "expire":
            self._removed = True
            self._taken.pop(event.key, None)
        ahead = event.time - self._now()
        if ahead > TOLERANCE:
            self._tell(ahead)

    def _tell(self, ahead: int) -> None:
        """Warn of another's clock that is ahead, or of this one, which was set back."""
        now = self._reactor.seconds()
        if now - self._told >= QUIET:
            self._told = now
            self.log.warn(
                "Something was written by a clock that is {seconds:.1f} s ahead of this one: keys with a ttl"
                " run out too early or too late by that; set the clocks of all servers (NTP)",
                seconds=ahead / SECOND,
            )

    def remove_overdue(self) -> Deferred[None]:
        """Fires when all that has run out by now is gone, or cannot be removed for the time being."""

        def go_on(removed: bool) -> Deferred[None]:
            while removed and self._overdue():
                asked = self._ask()
                if asked is not None:
                    return asked.addCallback(go_on)
            return succeed(None)

        return go_on(True)

    def start(self) -> None:
        """Remove keys in time from now on."""
        self._started = True
        self.schedule()

    def stop(self) -> None:
        """Remove no more."""
        self._started, self._stopped = False, True
        if self._call is not None and self._call.active():
            self._call.cancel()

    def schedule(self) -> None:
        """See to it that the next key that runs out is removed in time."""
        if self._asking or not self._started:
            return
        due = self._expirations.next(self._tree())
        if due is None:
            return
        delay = min(max(0.0, (due - self._cutoff()) / SECOND), LONGEST_SLEEP)
        call = self._call
        if call is not None and call.active():
            if call.getTime() <= self._reactor.seconds() + delay:
                return
            call.cancel()
        self._call = self._reactor.callLater(delay, self._ask)

    def _overdue(self) -> bool:
        """Whether there may be something to remove."""
        due = self._expirations.next(self._tree())
        return due is not None and due <= self._cutoff()

    def _cutoff(self) -> int:
        """What runs out up to then is to be removed now."""
        return self._now() - self._patience

    def _ask(self) -> Deferred[bool] | None:
        """Ask for the removal of what has run out.

        @return: fires when that is done, with whether it could be; None if there is nothing.
        """
        cutoff = self._cutoff()
        keys = self._expirations.take(cutoff, EXPIRE_KEYS, self._tree())
        if not keys:
            self.schedule()
            return None
        self._asking, self._removed = True, False
        self._taken = dict.fromkeys(keys)

        def expired(outcome: Outcome) -> bool:
            self._asking = False
            self._take_turns(first=outcome is not None)
            self._expirations.give_back(self._taken, self._tree())
            self.schedule()
            return True

        def failed(_: Failure) -> bool:
            self._asking = False
            self._expirations.give_back(self._taken, self._tree())
            if not self._stopped:
                self._call = self._reactor.callLater(RETRY, self._ask)
            return False

        return self._committer.add(Expire(keys, cutoff)).addCallbacks(expired, failed)

    def _take_turns(self, *, first: bool) -> None:
        """Be the one that removes keys, or leave it to another for the time being.

        @param first: whether this store has just removed some.
        """
        if first:
            self._patience = 0
        elif self._removed and self._started:
            # At a start everything goes that has run out, whoever else is there.
            self._patience = round(random.uniform(*PATIENCE) * SECOND)
