"""Frees the memory of removed directories a little at a time.

It would be freed when the last reference to a directory is dropped, all of it there and then: a directory of
a million keys goes in one write, and must not keep everybody else waiting.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txetcd.tree import Dir, Entry

# How many nodes are freed in one turn of the reactor.
NODES = 2000
# In bytes, what counts as large to any allocator.
LARGE = 64 * 1024


class Dismantler:
    """Takes removed directories apart over as many turns of the reactor as it needs.

    @param reactor: gives the turns.
    @ivar files: how many files have been freed.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self.files = 0
        # What is left of each directory that has begun, those in it behind it.
        self._begun: list[Iterator[Entry]] = []
        self._call: IDelayedCall | None = None

    def add(self, directory: Dir) -> None:
        """Take in a directory that is no longer in the store; the caller is to forget it."""
        if not directory.children:
            return
        # The iterator of a persistent map owns what it has not yet given, and nothing else.
        self._begun.append(iter(directory.children.values()))
        if self._call is None:
            self._call = self._reactor.callLater(0, self._take_apart)

    def stop(self) -> None:
        """Drop what is left at once."""
        self._begun.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _take_apart(self) -> None:
        self._call = None
        # glibc joins small pieces that were freed when somebody wants a large one, all of them in one go.
        bytearray(LARGE)
        begun = self._begun
        for _ in range(NODES):
            entry = next(begun[-1], None)
            if isinstance(entry, Dir):
                begun.append(iter(entry.children.values()))
            elif entry is None:
                begun.pop()
                if not begun:
                    return
            else:
                self.files += 1
        self._call = self._reactor.callLater(0, self._take_apart)
