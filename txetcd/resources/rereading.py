"""Whether the answer to a read is what it was, for a `txetcd.site.cache.Cache`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from txetcd.store import Store
from txetcd.tree import File, Node, Tree


class Rereading:
    """Gives the answer to a read again, for as long as it holds: a `txetcd.site.request.Refresh`.

    That of a file holds until the file is written, that of a directory until anything is.

    @param node: what was read, in a store without users.
    @param body: the answer, without anything in it that time changes.
    @param headers: makes the headers that go with an index and a tree.
    """

    __slots__ = ("_answer", "_headers", "_key", "_modified", "_raft_index", "_store")

    def __init__(
        self, store: Store, node: Node, body: bytes, headers: Callable[[int, Tree], Mapping[bytes, bytes]]
    ) -> None:
        tree = store.tree
        self._store = store
        self._key = node.key
        # No two changes have one index. The file itself is not kept: a tree that is gone would stay with it.
        self._modified = node.modified if isinstance(node, File) else None
        self._headers = headers
        self._raft_index = tree.raft_index
        self._answer = (headers(tree.index, tree), body)

    def __call__(self) -> tuple[Mapping[bytes, bytes], bytes] | None:
        """The answer; None if it does not hold any more."""
        tree = self._store.tree
        if tree.raft_index != self._raft_index:
            if self._modified is None or tree.auth.enabled:
                return None
            node = tree.find(self._key)
            if not isinstance(node, File) or node.modified != self._modified:
                return None
            self._raft_index = tree.raft_index
            self._answer = (self._headers(tree.index, tree), self._answer[1])
        self._store.stats.read(True)
        return self._answer
