"""Takes keys away when they have run out: the timer, and the command that it asks for."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
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


class Expirer:
    """Knows which keys of a store run out when, and has them removed in order with all other writes.

    @param now: the wall clock, in nanoseconds since the epoch.
    @param tree: gives the store as it is now.
    @param committer: puts the removals in order.
    """

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
        self._started = False
        self._stopped = False

    def load(self, tree: Tree) -> None:
        """Take in all keys of a tree that have a ttl."""
        self._expirations.load(tree)

    def add(self, event: Event, tree: Tree) -> None:
        """Note what an event means for its key; call `schedule` when there are no more."""
        self._expirations.add(event, tree)

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
        delay = min(max(0.0, (due - self._now()) / SECOND), LONGEST_SLEEP)
        call = self._call
        if call is not None and call.active():
            if call.getTime() <= self._reactor.seconds() + delay:
                return
            call.cancel()
        self._call = self._reactor.callLater(delay, self._ask)

    def _overdue(self) -> bool:
        """Whether there may be something that has run out."""
        due = self._expirations.next(self._tree())
        return due is not None and due <= self._now()

    def _ask(self) -> Deferred[bool] | None:
        """Ask for the removal of what has run out.

        @return: fires when that is done, with whether it could be; None if there is nothing.
        """
        now = self._now()
        keys = self._expirations.take(now, EXPIRE_KEYS, self._tree())
        if not keys:
            self.schedule()
            return None
        self._asking = True

        def expired(_: Outcome) -> bool:
            self._asking = False
            self._expirations.give_back(keys, self._tree())
            self.schedule()
            return True

        def failed(_: Failure) -> bool:
            self._asking = False
            self._expirations.give_back(keys, self._tree())
            if not self._stopped:
                self._call = self._reactor.callLater(RETRY, self._ask)
            return False

        return self._committer.add(Expire(keys, now)).addCallbacks(expired, failed)
