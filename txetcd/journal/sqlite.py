"""The embedded journal: one SQLite file in a data directory.

Each batch is one transaction, synchronised to disk before anybody hears of it, in one writer thread off the
reactor.  A checkpoint rides along with the next batch, as part of its transaction: the rows of the nodes that
changed, the recent events, and the log before it goes.  So a start reads rows and replays a short log.

Every row carries a checksum of what it says, for a disk that says something else one day must be noticed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from rpds import HashTrieMap
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads

from txetcd.auth import Auth
from txetcd.commands import decode, encode
from txetcd.events import Event
from txetcd.journal import (
    BATCH_CHARACTERS,
    Batch,
    Checkpoint,
    Deliver,
    JournalError,
    Recovered,
    StartAnew,
)
from txetcd.journal.writer import Writer
from txetcd.tree import EMPTY, Dir, File, Node, build

_T = TypeVar("_T")

FILE = "txetcd.db"
LOCK = "txetcd.lock"
# What SQLite itself puts beside the file; all of it is one.
_FILES = (FILE, FILE + "-wal", FILE + "-shm", FILE + "-journal")

# "txet": says whose file this is; the version is of the tables below.
APPLICATION_ID = 0x74786574
VERSION = 1

# What is left of SQLite's own log after a large commit, in bytes.
WAL_SIZE = 16 * 1024 * 1024

# Rows inserted by one statement; SQLite before 3.32 takes no more than 999 values.
ROWS = 100

# Expirations are text: in nanoseconds, those after the year 2262 are more than SQLite's integers hold.
_SCHEMA = """
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    cluster_id INTEGER NOT NULL, position INTEGER NOT NULL,
    store_index INTEGER NOT NULL, raft_index INTEGER NOT NULL, sum INTEGER NOT NULL
);
CREATE TABLE node (
    key BLOB PRIMARY KEY, value BLOB, created INTEGER NOT NULL, modified INTEGER NOT NULL,
    expiration TEXT, sum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE event (store_index INTEGER PRIMARY KEY, event TEXT NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE auth (id INTEGER PRIMARY KEY CHECK (id = 1), auth TEXT NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE log (position INTEGER PRIMARY KEY, commands TEXT NOT NULL, sum INTEGER NOT NULL);
"""


class SQLiteJournal:
    """A journal in a data directory, which it makes (mode 0700) if need be and locks against other processes.

    @param reactor: where results of the writer thread are delivered.
    @param directory: the data directory.
    @param fresh: remove what an earlier run has left there, once, when the journal is first opened.
    """

    batch_characters = BATCH_CHARACTERS
    # A checkpoint rides along with a batch, and whoever waits for that waits for all its rows.
    checkpoint_commands = 250
    trouble = ""

    def __init__(self, reactor: IReactorFromThreads, directory: Path, *, fresh: bool = False) -> None:
        self._reactor = reactor
        self._directory = directory
        self._fresh = fresh
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._writer: Writer | None = None
        self._deliver: Deliver = _nobody
        self._position = 0
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
        return succeed(recovered)

    def _take_lock(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"{self._directory} is in use by another running txetcd") from None

    def _remove_files(self) -> None:
        for name in _FILES:
            (self._directory / name).unlink(missing_ok=True)

    def _open(self) -> Recovered:
        # SQLite gives the files beside it the mode of the first.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._connection = connection
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        new = (application, version, tables) == (0, 0, 0)
        if not new and application != APPLICATION_ID:
            raise JournalError(f"{self.path} is not a file of txetcd's")
        if not new and version != VERSION:
            raise JournalError(f"{self.path} has format {version}, and this txetcd knows only {VERSION}")
        # Only now: this changes the file.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE}")
        if new:
            self._create(connection)
        for (finding,) in connection.execute("PRAGMA quick_check(1)"):
            if finding != "ok":
                raise ValueError(finding)
        return self._read(connection)

    @staticmethod
    def _create(connection: sqlite3.Connection) -> None:
        state = (secrets.randbits(63), 0, EMPTY.index, EMPTY.raft_index)
        connection.executescript(
            f"BEGIN; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        )
        connection.execute("INSERT INTO state VALUES (1, ?, ?, ?, ?, ?)", (*state, _sum(*state)))
        _write_auth(connection, EMPTY.auth)
        connection.execute("COMMIT")

    def _read(self, connection: sqlite3.Connection) -> Recovered:
        rows = connection.execute("SELECT cluster_id, position, store_index, raft_index, sum FROM state")
        state = next(_checked(rows, "state"), None)
        if state is None:
            raise ValueError("table state is empty")
        cluster_id, position, index, raft_index = state
        # Without its row everybody could do everything, so there always is one.
        auth = next(_checked(connection.execute("SELECT auth, sum FROM auth"), "auth"), None)
        if auth is None:
            raise ValueError("table auth is empty")
        rows = connection.execute(
            "SELECT key, value, created, modified, expiration, sum FROM node ORDER BY key"
        )
        nodes = (_node(*row) for row in _checked(rows, "node"))
        tree = build(nodes, index, raft_index, Auth.decode(*auth))
        rows = connection.execute("SELECT store_index, event, sum FROM event ORDER BY store_index")
        events = [Event.decode(text) for _, text in _checked(rows, "event")]
        first = index - len(events) + 1
        if [event.index for event in events] != list(range(first, index + 1)):
            raise ValueError("an event is missing")
        rows = connection.execute("SELECT position, commands, sum FROM log ORDER BY position")
        log = []
        for place, text in _checked(rows, "log"):
            position += 1
            if place != position:
                raise ValueError(f"batch {position} is missing")
            log.append((place, Batch("", place, tuple(decode(text)))))
        self._position = position
        return Recovered(cluster_id, tree, events, log)

    # Writing

    def append(self, batch: Batch) -> Deferred[None]:
        """See `Journal.append`."""
        position = self._position + 1
        text = encode(batch.commands)
        checkpoint = self._checkpoint
        committed = self._in_writer(self._commit, position, text, checkpoint and checkpoint[0])

        def deliver(_: None) -> None:
            self._position = position
            if checkpoint is not None:
                self._checkpoint = None
                checkpoint[1].callback(None)
            self._deliver(position, batch)

        return committed.addCallback(deliver)

    def _commit(self, position: int, text: str, checkpoint: Checkpoint | None) -> None:
        """Write one transaction.  Runs in the writer thread."""
        connection = self._connection
        assert connection is not None
        try:
            if checkpoint is not None:
                connection.execute("BEGIN IMMEDIATE")
                _write_checkpoint(connection, checkpoint)
            # Alone it is a transaction of its own, in one call: see `_insert`.
            connection.execute("INSERT INTO log VALUES (?, ?, ?)", (position, text, _sum(position, text)))
            if checkpoint is not None:
                connection.execute("COMMIT")
        except Exception as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise JournalError(f"{self.path}: {error}") from error

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


def _write_checkpoint(connection: sqlite3.Connection, checkpoint: Checkpoint) -> None:
    execute, execute_many = connection.execute, connection.executemany
    # What is below a directory lies between "/dir/" and "/dir0": "0" is what comes after "/".
    below = ((_bytes(key + "/"), _bytes(key + "0")) for key in checkpoint.dropped)
    execute_many("DELETE FROM node WHERE key > ? AND key < ?", below)
    execute_many("DELETE FROM node WHERE key = ?", ((_bytes(key),) for key in checkpoint.removed))
    _insert(connection, "INSERT OR REPLACE INTO node", map(_row, checkpoint.rows))
    events = ((event.index, event.encode()) for event in checkpoint.events)
    _insert(connection, "INSERT INTO event", ((*row, _sum(*row)) for row in events))
    execute("DELETE FROM event WHERE store_index < ?", (checkpoint.oldest_event,))
    execute("DELETE FROM log WHERE position <= ?", (checkpoint.position,))
    (cluster_id,) = execute("SELECT cluster_id FROM state").fetchone()
    state = (cluster_id, checkpoint.position, checkpoint.index, checkpoint.raft_index)
    execute("REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?)", (*state, _sum(*state)))
    if checkpoint.auth is not None:
        _write_auth(connection, checkpoint.auth)


def _insert(connection: sqlite3.Connection, statement: str, rows: Iterator[tuple[Any, ...]]) -> None:
    """Insert many rows, many at a time.

    Each call of SQLite lets go of the interpreter's lock and takes it back, which holds up the reactor.
    """
    while some := list(islice(rows, ROWS)):
        places = "(" + ",".join("?" * len(some[0])) + ")"
        values = ",".join([places] * len(some))
        connection.execute(f"{statement} VALUES {values}", tuple(chain.from_iterable(some)))


def _write_auth(connection: sqlite3.Connection, auth: Auth) -> None:
    text = auth.encode()
    connection.execute("REPLACE INTO auth VALUES (1, ?, ?)", (text, _sum(text)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _row(node: Node) -> tuple[Any, ...]:
    value = _bytes(node.value) if isinstance(node, File) else None
    expiration = None if node.expiration is None else str(node.expiration)
    row = (_bytes(node.key), value, node.created, node.modified, expiration)
    return (*row, _sum(*row))


def _node(key: bytes, value: bytes | None, created: int, modified: int, expiration: str | None) -> Node:
    path = key.decode("utf-8", "surrogateescape")
    ends = None if expiration is None else int(expiration)
    if value is None:
        return Dir(path, HashTrieMap(), created, modified, ends)
    return File(path, value.decode("utf-8", "surrogateescape"), created, modified, ends)


def _sum(*values: int | str | bytes | None) -> int:
    """A checksum of a row's values, in which bytes are not the same as text."""
    checksum = 0
    for value in values:
        data = b"=" + value if isinstance(value, bytes) else str(value).encode()
        checksum = zlib.crc32(data, checksum)
    return checksum


def _checked(rows: Iterator[tuple[Any, ...]], table: str) -> Iterator[Any]:
    """The rows without their checksums.

    @raise ValueError: for a row that does not say what was written.
    """
    for *values, found in rows:
        if _sum(*values) != found:
            raise ValueError(f"a row of table {table} does not match its checksum")
        yield values
