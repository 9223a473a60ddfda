"""Who waits for what: the live watches of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from txetcd.events import Event, concerns
from txetcd.tree import Tree


class Watcher:
    """One watch.

    @ivar since: the first index that is wanted.
    @ivar active: whether it has not ended.
    @ivar notify: called with each event, until the watch is removed.
    @ivar cleared: called once if the store ends the watch.
    """

    __slots__ = ("active", "cleared", "key", "notify", "recursive", "since")

    def __init__(
        self,
        key: str,
        recursive: bool,
        since: int,
        notify: Callable[[Event], None],
        cleared: Callable[[], None],
    ) -> None:
        self.active = False
        self.key = key
        self.recursive = recursive
        self.since = since
        self.notify = notify
        self.cleared = cleared


class Watchers:
    """All live watches, found by the key that they watch."""

    def __init__(self) -> None:
        self._by_key: dict[str, dict[Watcher, None]] = {}
        # For each directory that has watched keys in it, those keys.
        self._below: dict[str, dict[str, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, watcher: Watcher) -> None:
        """Let a watch begin."""
        watcher.active = True
        self._count += 1
        watchers = self._by_key.get(watcher.key)
        if watchers is not None:
            watchers[watcher] = None
            return
        self._by_key[watcher.key] = {watcher: None}
        for directory in _above(watcher.key):
            self._below.setdefault(directory, {})[watcher.key] = None

    def remove(self, watcher: Watcher) -> None:
        """Let a watch end; harmless when it has ended."""
        if not watcher.active:
            return
        watcher.active = False
        # Whoever is told mostly knows the watch, too: that cycle would keep both until a collection.
        watcher.notify = watcher.cleared = _nobody
        self._count -= 1
        watchers = self._by_key[watcher.key]
        del watchers[watcher]
        if watchers:
            return
        del self._by_key[watcher.key]
        for directory in _above(watcher.key):
            below = self._below[directory]
            del below[watcher.key]
            if not below:
                del self._below[directory]

    def clear(self) -> list[Watcher]:
        """End all watches.

        @return: the watches that there were.
        """
        watchers = [watcher for group in self._by_key.values() for watcher in group]
        for watcher in watchers:
            watcher.active = False
        self._by_key, self._below, self._count = {}, {}, 0
        return watchers

    def concerned(self, event: Event, before: Tree) -> list[Watcher]:
        """The watches that an event is for.

        @param before: the store before the event.  When a directory goes, only watches on keys that were in
            it are told; on keys that never were, nothing happened.
        """
        if not self._by_key:
            return []
        return [
            watcher
            for key in self._keys(event, before)
            for watcher in self._by_key.get(key, ())
            if watcher.since <= event.index and concerns(event, watcher.key, watcher.recursive)
        ]

    def _keys(self, event: Event, before: Tree) -> Iterator[str]:
        """The keys at which a watch could be concerned: the event's own, those above and, maybe, below."""
        key = event.key
        yield key
        if event.removes_dir:
            for watched in self._below.get(key, ()):
                if before.find(watched) is not None:
                    yield watched
        yield from _above(key)


def _nobody(*_: object) -> None:
    """Is told of an event, or of the end, when nobody is."""


def _above(key: str) -> Iterator[str]:
    """The directories above a key, the nearest first."""
    while key != "/":
        key = key[: key.rindex("/")] or "/"
        yield key
