"""Changes that are applied several at a time, each after those before it that it has to do with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Applying:
    """What is under way.

    Changes of one key, or of a key and one below it, are applied in their order; all others may overtake.

    @param most: how many may be under way.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: dict[int, str] = {}
        # The keys under way, and how many of these are each key's own or below it.
        self._busy: set[str] = set()
        self._below: Counter[str] = Counter()
        self._failure: Failure | None = None
        self._waiting: Deferred[None] | None = None

    @property
    def oldest(self) -> int | None:
        """The index of the first one; None if there is none."""
        return next(iter(self._keys), None)

    async def add(self, index: int, key: str, work: Callable[[], Awaitable[None]]) -> None:
        """Begin one, as soon as it may; fails as one that was added before has failed.

        @param index: greater than those before.
        """
        path = lineage(key)
        while len(self._keys) >= self._most or key in self._below or not self._busy.isdisjoint(path):
            await self._one_ends()
        self._raise()
        self._keys[index] = key
        self._busy.add(key)
        self._below.update(path)
        Deferred.fromCoroutine(self._work(work)).addBoth(self._ended, index)

    async def drain(self) -> None:
        """Wait until nothing is under way; fails as one has failed."""
        while self._keys:
            await self._one_ends()
        self._raise()

    @staticmethod
    async def _work(work: Callable[[], Awaitable[None]]) -> None:
        await work()

    def _ended(self, result: Failure | None, index: int) -> None:
        key = self._keys.pop(index)
        self._busy.remove(key)
        for above in lineage(key):
            self._below[above] -= 1
            if not self._below[above]:
                del self._below[above]
        self._failure = self._failure or result
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def _one_ends(self) -> None:
        self._waiting = Deferred(self._forget)
        await self._waiting

    def _forget(self, _: object) -> None:
        self._waiting = None

    def _raise(self) -> None:
        if self._failure is not None:
            self._failure.raiseException()


def lineage(key: str) -> list[str]:
    """The key and all keys above it but the root."""
    names = key[1:].split("/")
    return ["/" + "/".join(names[:depth]) for depth in range(1, len(names) + 1)]
