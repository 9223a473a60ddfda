"""Keeping a copy up to date by watching its source, until the cut-over.

Refreshes of a ttl are told to no watch; a comparison at the cut-over puts right what they have left behind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from txetcd.moving.applying import Applying
from txetcd.moving.client import LostError
from txetcd.moving.fill import Target
from txetcd.moving.lines import Node, has_expired
from txetcd.moving.listing import Change, is_below
from txetcd.moving.watch import PAUSE, Watch

# So many changes are applied at a time.  With more, the watch would have its turn too seldom to keep up.
CONCURRENCY = 4


class Follower:
    """Applies to a target what changes at its source below one key.

    @param key: the key.
    @param watch: sees all changes since the moment that the target shows.
    @param compare: makes the target the same as the source is below a key, and returns a watch of all that
        changes since.
    @param say: told, in a line, what else happens.
    @ivar key: as given.
    @ivar applied: how many changes have been.
    """

    def __init__(
        self,
        target: Target,
        key: str,
        watch: Watch,
        compare: Callable[[str], Awaitable[Watch]],
        say: Callable[[str], None],
    ) -> None:
        self.key = key
        self.applied = 0
        self._target = target
        self._watch = watch
        self._compare = compare
        self._say = say
        self._applying = Applying(CONCURRENCY)
        self._running: Deferred[None] | None = None
        self._stopped = False

    @property
    def index(self) -> int:
        """Every change up to here has been applied."""
        oldest = self._applying.oldest
        if oldest is None:
            oldest = next((change.index for change in self._watch.changes), self._watch.seen + 1)
        return oldest - 1

    @property
    def behind(self) -> int:
        """How many of the source's indices are still to be applied, as far as is known."""
        return max(self._watch.known - self.index, 0)

    def run(self, until: int | None = None) -> Deferred[None]:
        """Follow until `stop` is called.

        @param until: or until every change up to this index has been applied.
        @return: fires then.  Fails with `MovingError` when a server refuses, but not while one is away.
        """
        self._running = Deferred.fromCoroutine(self._run(until))
        return self._running

    def stop(self) -> None:
        """Follow no more."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()

    async def _run(self, until: int | None) -> None:
        try:
            while not self._stopped and (until is None or self.index < until or self._applying.oldest):
                await self._step(until)
            await self._applying.drain()
        except CancelledError:
            if not self._stopped:
                raise
        finally:
            self._watch.stop()

    async def _step(self, until: int | None) -> None:
        """Begin to apply the next change, or wait for it."""
        watch = self._watch
        if watch.changes:
            change = watch.changes[0]
            if until is not None and change.index > until:
                await self._applying.drain()
                return
            await self._begin(change)
            watch.changes.popleft()
        elif watch.failure is not None:
            watch.failure.raiseException()
        elif watch.forgotten:
            self._say(f"the source has forgotten what came after index {watch.seen}; comparing all keys")
            await self._applying.drain()
            self._watch = await self._compare(self.key)
        elif until is not None and watch.seen >= until:
            await self._applying.drain()
        else:
            await watch.news()

    async def _begin(self, change: Change) -> None:
        # A directory above it may have gone, and this with it.
        key = change.key if is_below(change.key, self.key) else self.key
        await self._applying.add(change.index, key, lambda: self._apply(key, change.node))

    async def _apply(self, key: str, node: Node | None) -> None:
        """Apply a change, again and again while the target is away."""
        while not self._stopped:
            try:
                # A watch for what is past tells of nodes that have run out since.
                if node is None or has_expired(node, self._target.now()):
                    await self._target.delete(key)
                else:
                    await self._target.put(node)
                self.applied += 1
                return
            except LostError as error:
                self._say(f"{error}; trying again")
                await deferLater(self._target.client.reactor, PAUSE)
