"""Which keys run out when."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from txetcd.events import Event
from txetcd.tree import Tree

# How many entries that say nothing true any more are put right in one go.
STEPS = 100
# How many entries are looked at for each that comes while void ones are swept out.
SWEPT_EACH = 4

_Entry = tuple[int, str]


class Expirations:
    """The keys with a ttl, in the order in which they run out.

    For each key there is an entry with a time that is not after the key's own; a key that has been given more
    time since is put in its place when that time comes, so that refreshing it costs nothing.  What an entry
    is worth the tree tells.  No call takes longer because there are more keys, except `load`.
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        # While void entries are swept out: those that are good or have come since, and the keys of the good.
        self._swept: list[_Entry] = []
        self._seen: set[str] = set()
        self._sweeping = False
        self._sweep_at = 1024

    def __len__(self) -> int:
        """How many entries there are, void ones too."""
        return len(self._entries) + len(self._swept)

    def load(self, expiring: Iterable[tuple[int, str]]) -> None:
        """Take in all keys that have a ttl, in place of what there was before.

        @param expiring: when each runs out, and what it is called.
        """
        self._entries, self._swept, self._seen, self._sweeping = list(expiring), [], set(), False
        heapq.heapify(self._entries)
        self._sweep_at = 1024 + 2 * len(self._entries)

    def add(self, event: Event, tree: Tree) -> None:
        """Note what an event means for its key.

        @param tree: the store after it.
        """
        node, prev = event.node, event.prev
        if node is None or node.expiration is None:
            return
        if prev is not None and prev.expiration is not None and prev.expiration <= node.expiration:
            # The entry that it has will do.
            return
        self._push(node.expiration, node.key)
        if self._sweeping:
            self._sweep(tree)
        elif len(self._entries) > self._sweep_at:
            self._sweeping = True

    def next(self, tree: Tree) -> int | None:
        """When to look again, in nanoseconds since the epoch; None if never.

        No key runs out before that.

        @param tree: the store now.
        """
        for _ in range(STEPS):
            entries = self._earliest()
            if not entries or _is_good(entries, tree):
                break
        entries = self._earliest()
        return entries[0][0] if entries else None

    def take(self, now: int, limit: int, tree: Tree) -> tuple[str, ...]:
        """Keys that have run out by `now`, the earliest first, `limit` at most.

        There may be more, even if there are none here, unless `next` is after `now`.  Give them back when
        they should be gone.

        @param tree: the store now.
        """
        keys: list[str] = []
        for _ in range(limit):
            entries = self._earliest()
            if not entries or entries[0][0] > now:
                break
            if _is_good(entries, tree):
                _, key = heapq.heappop(entries)
                # There may be two of the same.
                if keys[-1:] != [key]:
                    keys.append(key)
        return tuple(keys)

    def give_back(self, keys: Iterable[str], tree: Tree) -> None:
        """Put those of the keys that were taken and are still there in their places.

        @param tree: the store now.
        """
        for key in keys:
            node = tree.find(key)
            if node is not None and node.expiration is not None:
                self._push(node.expiration, key)

    def _push(self, time: int, key: str) -> None:
        heapq.heappush(self._swept if self._sweeping else self._entries, (time, key))

    def _earliest(self) -> list[_Entry]:
        """The heap with the earliest entry."""
        if self._swept and (not self._entries or self._swept[0] < self._entries[0]):
            return self._swept
        return self._entries

    def _sweep(self, tree: Tree) -> None:
        """Look at some entries, and keep one of each key."""
        for _ in range(SWEPT_EACH):
            if not self._entries:
                self._entries, self._swept, self._seen = self._swept, [], set()
                self._sweeping = False
                self._sweep_at = 1024 + 2 * len(self._entries)
                return
            # The last of a heap can be taken away as it is.
            _, key = self._entries.pop()
            node = tree.find(key)
            if node is not None and node.expiration is not None and key not in self._seen:
                self._seen.add(key)
                heapq.heappush(self._swept, (node.expiration, key))


def _is_good(entries: list[_Entry], tree: Tree) -> bool:
    """Whether the key of the first entry runs out at its time; if not, that entry is put right."""
    first = time, key = entries[0]
    node = tree.find(key)
    expiration = None if node is None else node.expiration
    if expiration == time:
        return True
    while entries and entries[0] == first:
        heapq.heappop(entries)
    # A key that runs out earlier has an entry that says so.
    if expiration is not None and expiration > time:
        heapq.heappush(entries, (expiration, key))
    return False
