"""A journal that keeps nothing beyond its own life: for tests, and for stores that need not last."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from twisted.internet.defer import Deferred, succeed

from txetcd.events import Event
from txetcd.journal import (
    BATCH_CHARACTERS,
    CHECKPOINT_COMMANDS,
    Batch,
    Checkpoint,
    Deliver,
    Recovered,
    StartAnew,
)
from txetcd.tree import EMPTY, Entry, build, to_entry


class MemoryJournal:
    """A journal in memory.

    Opening it again after `close` gives what was appended, as a file would.
    """

    batch_characters = BATCH_CHARACTERS
    checkpoint_commands = CHECKPOINT_COMMANDS
    trouble = ""

    def __init__(self) -> None:
        self._cluster_id = secrets.randbits(63)
        self._deliver: Deliver | None = None
        self._position = 0
        self._log: list[tuple[int, Batch]] = []
        # The rows, by the directories that they are in.
        self._rows: dict[str, dict[str, Entry]] = {}
        self._events: list[Event] = []
        self._index = EMPTY.index
        self._raft_index = EMPTY.raft_index
        self._auth = EMPTY.auth

    def load(self, deliver: Deliver, start_anew: StartAnew | None = None) -> Deferred[Recovered]:
        """See `Journal.load`."""
        self._deliver = deliver
        tree = build(self._parents_first(), self._index, self._raft_index, self._auth)
        return succeed(Recovered(self._cluster_id, tree, list(self._events), list(self._log)))

    def append(self, batch: Batch) -> Deferred[None]:
        """See `Journal.append`."""
        assert self._deliver is not None
        self._position += 1
        self._log.append((self._position, batch))
        self._deliver(self._position, batch)
        return succeed(None)

    def checkpoint(self, checkpoint: Checkpoint) -> Deferred[None]:
        """See `Journal.checkpoint`."""
        for key in checkpoint.dropped:
            self._drop(key)
        for key in checkpoint.removed:
            self._rows.get(_directory(key), {}).pop(key, None)
        for node in checkpoint.rows:
            self._rows.setdefault(_directory(node.key), {})[node.key] = to_entry(node)
        self._events.extend(checkpoint.events)
        self._events = [event for event in self._events if event.index >= checkpoint.oldest_event]
        self._index, self._raft_index = checkpoint.index, checkpoint.raft_index
        if checkpoint.auth is not None:
            self._auth = checkpoint.auth
        self._log = [entry for entry in self._log if entry[0] > checkpoint.position]
        return succeed(None)

    def _drop(self, key: str) -> None:
        """Remove what is below a key."""
        dropped = [key]
        while dropped:
            dropped += self._rows.pop(dropped.pop(), ())

    def _parents_first(self) -> Iterator[Entry]:
        directories = [""]
        while directories:
            children = self._rows.get(directories.pop(), {})
            yield from children.values()
            directories += children

    def barrier(self) -> Deferred[None]:
        """See `Journal.barrier`."""
        return succeed(None)

    def close(self) -> Deferred[None]:
        """See `Journal.close`."""
        self._deliver = None
        return succeed(None)


def _directory(key: str) -> str:
    """The key of the directory that a key is in; "" for the root."""
    return key[: key.rindex("/")]
