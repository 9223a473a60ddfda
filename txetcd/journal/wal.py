"""SQLite's own log (WAL), which every commit makes longer: its pages go into the file beside the commits.

Left to itself SQLite moves them within a commit now and then, and all who wait for that wait for the disk.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.logger import Logger
from twisted.python.failure import Failure

from txetcd.journal.writer import Writer

# Checkpoints of a store after which the pages are moved.
EVERY = 4
# Pages in the log from which it is to start at its beginning again.
LONG = 4096


class LogMover:
    """Moves the pages in a thread of its own.

    While that goes on, commits add more, and SQLite begins the log anew only when nothing is left of it.  So
    when it has become long, the few that came meanwhile are moved between two commits.

    @param path: of the file, which is there.
    @param beside: a thread that has nothing else to do; it is stopped by `stop`.
    @param between: the thread that commits.
    """

    log = Logger()

    def __init__(self, path: Path, beside: Writer, between: Writer) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = FULL").close()
        self._beside = beside
        self._between = between
        self._checkpoints = 0
        self._moving = False
        self._stopped = False
        self._pages = 0

    def checkpointed(self) -> None:
        """A checkpoint was committed."""
        self._checkpoints += 1
        if self._checkpoints >= EVERY and not self._moving:
            self._checkpoints = 0
            self._moving = True
            self._beside.do(self._move).addCallbacks(self._moved, self._failed)

    def stop(self) -> None:
        """Move no more; returns when the thread has ended."""
        self._stopped = True
        self._beside.stop()
        self._connection.close()

    def _move(self) -> None:
        # Passive: commits are not held up, and are not waited for.
        ((_, self._pages, _),) = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _moved(self, _: None) -> None:
        if self._pages < LONG or self._stopped:
            self._moving = False
        else:
            self._between.do(self._move).addCallbacks(self._finished, self._failed)

    def _finished(self, _: None) -> None:
        self._moving = False

    def _failed(self, failure: Failure) -> None:
        self._moving = False
        self.log.warn(
            "{path}: {reason}; what is written stays in the log beside it until that is mended",
            path=str(self._path),
            reason=failure.getErrorMessage(),
        )
