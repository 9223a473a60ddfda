"""What is in the SQLite file: its tables, the rows of a store in them, written and read.

Every row carries a checksum of what it says, for a disk that says something else one day must be noticed.
Whoever calls this sees to transactions.
"""

from __future__ import annotations

import secrets
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from rpds import HashTrieMap

from txetcd.auth import Auth
from txetcd.commands import decode
from txetcd.events import Event
from txetcd.journal import Batch, Checkpoint, Recovered
from txetcd.journal.values import LONG, LongValues
from txetcd.tree import EMPTY, Dir, Entry, File, Node, build

# Rows inserted or deleted by one statement; SQLite before 3.32 takes no more than 999 values.
ROWS = 100

# For files of the first version, which have all but this.
VALUE_TABLE = "CREATE TABLE value (id INTEGER PRIMARY KEY, value BLOB NOT NULL, sum INTEGER NOT NULL);"
# Where the value of a node, an event or a command is long, there is its number in the table of values.
# Expirations are text: in nanoseconds, those after the year 2262 are more than SQLite's integers hold.
SCHEMA = f"""
{VALUE_TABLE}
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


def read(connection: sqlite3.Connection) -> tuple[Recovered, int, LongValues]:
    """What is in the tables.

    @return: the store, the position of the last batch, and the long values.
    @raise ValueError: when something is missing or does not match its checksum.
    """
    rows = connection.execute("SELECT cluster_id, position, store_index, raft_index, sum FROM state")
    cluster_id, position, index, raft_index = _only(rows, "state")
    # Without its row everybody could do everything, so there always is one.
    auth = _only(connection.execute("SELECT auth, sum FROM auth"), "auth")
    rows = connection.execute("SELECT id, value, sum FROM value")
    values = LongValues({number: _text(value) for number, value in _checked(rows, "value")})
    rows = connection.execute("SELECT key, value, created, modified, expiration, sum FROM node ORDER BY key")
    tree = build(_nodes(rows, values), index, raft_index, Auth.decode(*auth))
    rows = connection.execute("SELECT store_index, event, sum FROM event ORDER BY store_index")
    events = [
        Event.decode(text, values.restoring(("event", number))) for number, text in _checked(rows, "event")
    ]
    first = index - len(events) + 1
    if [event.index for event in events] != list(range(first, index + 1)):
        raise ValueError("an event is missing")
    rows = connection.execute("SELECT position, commands, sum FROM log ORDER BY position")
    log = []
    for place, text in _checked(rows, "log"):
        position += 1
        if place != position:
            raise ValueError(f"batch {position} is missing")
        commands = decode(text, values.restoring(("log", place)))
        log.append((place, Batch("", place, tuple(commands))))
    values.commit([])
    return Recovered(cluster_id, tree, events, log), position, values


def create(connection: sqlite3.Connection) -> None:
    """Put the rows of an empty store into empty tables."""
    state = (secrets.randbits(63), 0, EMPTY.index, EMPTY.raft_index)
    connection.execute("INSERT INTO state VALUES (1, ?, ?, ?, ?, ?)", (*state, _sum(*state)))
    _write_auth(connection, EMPTY.auth)


def write_batch(connection: sqlite3.Connection, position: int, text: str) -> None:
    """Write the row of a batch."""
    connection.execute("INSERT INTO log VALUES (?, ?, ?)", (position, text, _sum(position, text)))


def write_checkpoint(connection: sqlite3.Connection, checkpoint: Checkpoint, values: LongValues) -> None:
    """Write what has changed, and remove the log before it.  Long values are not yet written."""
    execute, execute_many = connection.execute, connection.executemany
    if values:
        _release(connection, checkpoint, values)
    execute_many("DELETE FROM node WHERE key > ? AND key < ?", map(_below, checkpoint.dropped))
    _delete(connection, "node", "key", [_bytes(key) for key in checkpoint.removed])
    rows = (_row(node, values) for node in checkpoint.rows)
    _insert(connection, "INSERT OR REPLACE INTO node", rows)
    events = (
        (event.index, event.encode(values.replacing(("event", event.index)))) for event in checkpoint.events
    )
    _insert(connection, "INSERT INTO event", ((*row, _sum(*row)) for row in events))
    execute("DELETE FROM event WHERE store_index < ?", (checkpoint.oldest_event,))
    execute("DELETE FROM log WHERE position <= ?", (checkpoint.position,))
    ((cluster_id,),) = execute("SELECT cluster_id FROM state")
    state = (cluster_id, checkpoint.position, checkpoint.index, checkpoint.raft_index)
    execute("REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?)", (*state, _sum(*state)))
    if checkpoint.auth is not None:
        _write_auth(connection, checkpoint.auth)


def _release(connection: sqlite3.Connection, checkpoint: Checkpoint, values: LongValues) -> None:
    """Let go of the long values of all rows that a checkpoint removes or writes anew."""
    for key in checkpoint.dropped:
        query = "SELECT key FROM node WHERE key > ? AND key < ? AND typeof(value) = 'integer'"
        for (row,) in connection.execute(query, _below(key)):
            values.release(("node", _text(row)))
    for key in (*checkpoint.removed, *(node.key for node in checkpoint.rows)):
        values.release(("node", key))
    query = "SELECT store_index FROM event WHERE store_index < ?"
    for (index,) in connection.execute(query, (checkpoint.oldest_event,)):
        values.release(("event", index))
    query = "SELECT position FROM log WHERE position <= ?"
    for (position,) in connection.execute(query, (checkpoint.position,)):
        values.release(("log", position))


def write_values(connection: sqlite3.Connection, values: LongValues, unused: list[int]) -> None:
    """Write the values that are new, and delete those of which the numbers are given."""
    _delete(connection, "value", "id", unused)
    rows = ((number, _bytes(text)) for number, text in values.added())
    _insert(connection, "INSERT INTO value", ((*row, _sum(*row)) for row in rows))


def _below(key: str) -> tuple[bytes, bytes]:
    """Between what is all that lies below a directory: "0" is what comes after "/"."""
    return _bytes(key + "/"), _bytes(key + "0")


def _delete(connection: sqlite3.Connection, table: str, column: str, keys: Sequence[int | bytes]) -> None:
    """Delete many rows, many at a time: see `_insert`."""
    for at in range(0, len(keys), ROWS):
        some = keys[at : at + ROWS]
        connection.execute(f"DELETE FROM {table} WHERE {column} IN ({','.join('?' * len(some))})", some)


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


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _row(node: Node, values: LongValues) -> tuple[Any, ...]:
    value: bytes | int | None = None
    if isinstance(node, File):
        long = len(node.value) > LONG
        value = values.number(node.value, ("node", node.key)) if long else _bytes(node.value)
    expiration = None if node.expiration is None else str(node.expiration)
    row = (_bytes(node.key), value, node.created, node.modified, expiration)
    return (*row, _sum(*row))


def _nodes(rows: Iterator[tuple[Any, ...]], values: LongValues) -> Iterator[Entry]:
    """The nodes of their rows.  There may be millions.

    @raise ValueError: for a row that does not say what was written.
    """
    for key, value, created, modified, expiration, found in rows:
        # A short value without a ttl, as most have it: its `_sum`.
        if type(value) is bytes and expiration is None:
            if zlib.crc32(b"=%b=%b%d%dNone" % (key, value, created, modified)) != found:
                raise _damaged("node")
            yield (_text(key), _text(value), created, modified, None)
            continue
        if _sum(key, value, created, modified, expiration) != found:
            raise _damaged("node")
        path = _text(key)
        ends = None if expiration is None else int(expiration)
        if value is None:
            yield Dir(path, HashTrieMap(), created, modified, ends)
        else:
            text = _text(value) if isinstance(value, bytes) else values.text(value, ("node", path))
            yield (path, text, created, modified, ends)


def _sum(*values: int | str | bytes | None) -> int:
    """A checksum of a row's values, in which bytes are not the same as text."""
    return zlib.crc32(
        b"".join([b"=" + value if isinstance(value, bytes) else str(value).encode() for value in values])
    )


def _checked(rows: Iterator[tuple[Any, ...]], table: str) -> Iterator[Any]:
    """The rows without their checksums.

    @raise ValueError: for a row that does not say what was written.
    """
    for *values, found in rows:
        if _sum(*values) != found:
            raise _damaged(table)
        yield values


def _damaged(table: str) -> ValueError:
    return ValueError(f"a row of table {table} does not match its checksum")


def _only(rows: Iterator[tuple[Any, ...]], table: str) -> Any:
    """The one row of a table, without its checksum.

    @raise ValueError: when there is none, or it does not say what was written.
    """
    found = list(_checked(rows, table))
    if not found:
        raise ValueError(f"table {table} is empty")
    return found[0]
