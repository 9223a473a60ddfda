"""The embedded journal: one SQLite file in a data directory.

Each batch is one transaction, synchronised to disk before anybody hears of it, in one writer thread off the
reactor.  A checkpoint rides along with the next batch, as part of its transaction: the rows of the nodes that
changed, the recent events, and the log before it goes.  So a start reads rows and replays a short log.

What is in the file is told in `txetcd.journal.tables`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from txetcd.commands import characters, encode
from txetcd.journal import (
    BATCH_CHARACTERS,
    Batch,
    Checkpoint,
    Deliver,
    JournalError,
    Recovered,
    StartAnew,
    tables,
)
from txetcd.journal.values import LONG, LongValues
from txetcd.journal.wal import LogMover
from txetcd.journal.writer import Writer

_T = TypeVar("_T")

FILE = "txetcd.db"
LOCK = "txetcd.lock"
# What SQLite itself puts beside the file; all of it is one.
_FILES = (FILE, FILE + "-wal", FILE + "-shm", FILE + "-journal")

# "txet": says whose file this is; the version is of its tables.  A file of version 1 has no table of values:
# it gets one when it is opened, and the long values that it has stay where they are.
APPLICATION_ID = 0x74786574
VERSION = 2

# What is left of SQLite's own log after a large commit, in bytes.
WAL_SIZE = 16 * 1024 * 1024


class SQLiteJournal:
    """A journal in a data directory, which it makes (mode 0700) if need be and locks against other processes.

    @param reactor: where results of the writer thread are delivered.
    @param directory: the data directory.
    @param fresh: remove what an earlier run has left there, once, when the journal is first opened.
    """

    log = Logger()
    batch_characters = BATCH_CHARACTERS
    # A checkpoint rides along with a batch, and whoever waits for that waits for all its rows.
    checkpoint_commands = 125
    trouble = ""

    def __init__(self, reactor: IReactorFromThreads, directory: Path, *, fresh: bool = False) -> None:
        self._reactor = reactor
        self._directory = directory
        self._fresh = fresh
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._writer: Writer | None = None
        self._mover: LogMover | None = None
        self._deliver: Deliver = _nobody
        self._position = 0
        # While a batch is written the writer thread alone uses it, otherwise the reactor alone.
        self._values = LongValues({})
        self._checkpoint: tuple[Checkpoint, Deferred[None]] | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self._directory / FILE

    # Opening

    def load(self, deliver: Deliver, start_anew: StartAnew | None = None) -> Deferred[Recovered]:
        """See `Journal.load`.  It is done when this returns."""
        self._deliver = deliver
        try:
            self._take_lock()
            if self._fresh:
                self._fresh = False
                self._remove_files()
            recovered = self._open()
        except JournalError:
            self._let_go()
            return fail()
        except OSError as error:
            self._let_go()
            return fail(JournalError(f"{self._directory}: {error.strerror or error}"))
        except sqlite3.OperationalError as error:
            self._let_go()
            return fail(JournalError(f"{self.path}: {error}"))
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError) as error:
            self._let_go()
            remedy = "restore a backup of it, or start anew with --force"
            return fail(JournalError(f"{self.path} is damaged: {error}; {remedy}"))
        self._writer = Writer(self._reactor, "txetcd journal")
        self._mover = LogMover(self.path, Writer(self._reactor, "txetcd journal log"), self._writer)
        return succeed(recovered)

    def _take_lock(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"{self._directory} is in use by another running txetcd") from None

    def _remove_files(self) -> None:
        found = [path for path in (self._directory / name for name in _FILES) if path.exists()]
        for path in found:
            path.unlink()
        if found:
            self.log.warn("The data in {directory} have been removed", directory=str(self._directory))

    def _open(self) -> Recovered:
        # SQLite gives the files beside it the mode of the first.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._connection = connection
        ((application,),) = connection.execute("PRAGMA application_id")
        ((version,),) = connection.execute("PRAGMA user_version")
        ((count,),) = connection.execute("SELECT count(*) FROM sqlite_master")
        new = (application, version, count) == (0, 0, 0)
        if not new and application != APPLICATION_ID:
            raise JournalError(f"{self.path} is not a file of txetcd's")
        if not new and not 1 <= version <= VERSION:
            raise JournalError(f"{self.path} has format {version}, and this txetcd knows only {VERSION}")
        # Only now: this changes the file.
        connection.execute("PRAGMA journal_mode = WAL").close()
        connection.execute("PRAGMA synchronous = FULL")
        # See `txetcd.journal.wal`.
        connection.execute("PRAGMA wal_autocheckpoint = 0").close()
        # Some builds of SQLite overwrite with zeros what is deleted: each long value would be written twice.
        connection.execute("PRAGMA secure_delete = OFF").close()
        connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE}").close()
        if new:
            self._create(connection)
        elif version == 1:
            connection.executescript(f"BEGIN; {tables.VALUE_TABLE} PRAGMA user_version = {VERSION}; COMMIT;")
        for (finding,) in connection.execute("PRAGMA quick_check(1)"):
            if finding != "ok":
                raise ValueError(finding)
        recovered, self._position, self._values = tables.read(connection)
        return recovered

    @staticmethod
    def _create(connection: sqlite3.Connection) -> None:
        named = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        connection.executescript(f"BEGIN; {tables.SCHEMA} {named}")
        tables.create(connection)
        connection.execute("COMMIT")

    # Writing

    def append(self, batch: Batch) -> Deferred[None]:
        """See `Journal.append`."""
        position = self._position + 1
        text = self._encode(position, batch)
        checkpoint = self._checkpoint
        committed = self._in_writer(self._commit, position, text, checkpoint and checkpoint[0])

        def deliver(_: None) -> None:
            self._position = position
            if checkpoint is not None:
                self._checkpoint = None
                checkpoint[1].callback(None)
                if self._mover is not None:
                    self._mover.checkpointed()
            self._deliver(position, batch)

        return committed.addCallback(deliver)

    def _encode(self, position: int, batch: Batch) -> str:
        """The batch as its row has it; long values are noted to be written."""
        if all(characters(command) <= LONG for command in batch.commands):
            return encode(batch.commands)
        return encode(batch.commands, self._values.replacing(("log", position)))

    def _commit(self, position: int, text: str, checkpoint: Checkpoint | None) -> None:
        """Write one transaction.  Runs in the writer thread."""
        connection, values = self._connection, self._values
        assert connection is not None
        # Alone the row is a transaction of its own, in one call: see `tables`.
        several = checkpoint is not None or bool(values.added())
        unused: list[int] = []
        try:
            if several:
                connection.execute("BEGIN IMMEDIATE")
            if checkpoint is not None:
                tables.write_checkpoint(connection, checkpoint, values)
                unused = values.unused()
            if several:
                tables.write_values(connection, values, unused)
            tables.write_batch(connection, position, text)
            if several:
                connection.execute("COMMIT")
        except Exception as error:
            values.roll_back()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise JournalError(f"{self.path}: {error}") from error
        values.commit(unused)

    def checkpoint(self, checkpoint: Checkpoint) -> Deferred[None]:
        """See `Journal.checkpoint`.  It is written with the next batch."""
        done: Deferred[None] = Deferred()
        self._checkpoint = (checkpoint, done)
        return done

    def barrier(self) -> Deferred[None]:
        """See `Journal.barrier`.  Nobody else writes here, and what is durable has been delivered."""
        return succeed(None)

    # Closing

    def close(self) -> Deferred[None]:
        """See `Journal.close`."""
        if self._writer is None:
            return succeed(None)
        if self._mover is not None:
            self._mover.stop()
            self._mover = None
        return self._in_writer(self._let_go).addBoth(self._closed, self._writer)

    def _closed(self, result: _T, writer: Writer) -> _T:
        # Of several who close it at once, the first has done this.
        if self._writer is writer:
            writer.stop()
            self._writer = None
            self._checkpoint = None
        return result

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _in_writer(self, function: Callable[..., None], *arguments: Any) -> Deferred[None]:
        assert self._writer is not None
        return self._writer.do(function, *arguments)


def _nobody(position: int, batch: Batch) -> None:
    """Whom batches go to before the journal is opened: there are none."""
