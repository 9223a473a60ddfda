"""Which keys run out when."""

from __future__ import annotations

import heapq

from txetcd.events import Event
from txetcd.tree import Dir, Node, Tree


class Expirations:
    """The keys with a ttl, in the order in which they run out.

    Entries that a later write made void are dropped when they are met, or when they begin to outnumber the
    others: refreshing one key for ever takes no more room than once.
    """

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._prune_at = 1024

    def load(self, tree: Tree) -> None:
        """Take in all keys of a tree that have a ttl."""
        nodes: list[Node] = [tree.root]
        while nodes:
            node = nodes.pop()
            if node.expiration is not None:
                self._due[node.key] = node.expiration
            if isinstance(node, Dir):
                nodes.extend(node.children.values())
        self.rebuild()

    def add(self, event: Event, tree: Tree) -> None:
        """Note what an event means for its key.

        @param tree: the store after it.
        """
        node = event.node
        if node is None or node.expiration is None:
            if self._due:
                self._due.pop(event.key, None)
            return
        self._due[node.key] = node.expiration
        heapq.heappush(self._heap, (node.expiration, node.key))
        if len(self._due) > self._prune_at:
            self._prune(tree)
        if len(self._heap) > 2 * len(self._due) + 64:
            self.rebuild()

    def next(self) -> int | None:
        """When the next key runs out, in nanoseconds since the epoch; None if none will."""
        while self._heap:
            expiration, key = self._heap[0]
            if self._due.get(key) == expiration:
                return expiration
            heapq.heappop(self._heap)
        return None

    def take(self, now: int, limit: int) -> tuple[str, ...]:
        """The keys that have run out by `now`, the earliest first, `limit` at most.

        Each is given once; after `rebuild` all that are still there are given again.
        """
        keys: list[str] = []
        while len(keys) < limit and (expiration := self.next()) is not None and expiration <= now:
            keys.append(heapq.heappop(self._heap)[1])
        return tuple(keys)

    def rebuild(self) -> None:
        """Put every key back in its place."""
        self._heap = [(expiration, key) for key, expiration in self._due.items()]
        heapq.heapify(self._heap)

    def forget(self, keys: tuple[str, ...], tree: Tree) -> None:
        """Drop those of the keys that have no ttl in the tree; they went with a directory above them."""
        for key in keys:
            node = tree.find(key)
            if node is None or node.expiration is None:
                self._due.pop(key, None)

    def _prune(self, tree: Tree) -> None:
        """Drop what went with a directory above it."""
        self.forget(tuple(self._due), tree)
        self._prune_at = 2 * len(self._due) + 1024
