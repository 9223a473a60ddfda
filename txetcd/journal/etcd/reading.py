"""Reading what is there: everything at a start, and the batches that were missed later."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from txetcd.auth import Auth
from txetcd.journal import Batch, Recovered
from txetcd.journal.etcd.checkpoint import settled
from txetcd.journal.etcd.rows import DamagedError, Layout, State, decode_batch, to_bytes, to_text
from txetcd.journal.etcd.session import OtherClusterError, Session
from txetcd.journal.etcd.wire import CompactedError, Put, Row, version_is
from txetcd.tree import EMPTY, build


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch in its place.

    @ivar position: its number in the order, from 1.
    @ivar revision: the engine's.
    @ivar gateway: whose it is, and
    @ivar number: which of that gateway's.
    """

    position: int
    revision: int
    gateway: str
    number: int
    batch: Batch

    @classmethod
    def of(cls, layout: Layout, row: Row, position: int, batch: Batch | None = None) -> Entry:
        """The batch of a row.

        @param batch: what the row's value is known to be the encoding of.
        """
        gateway, number = layout.named(row.key)
        return cls(position, row.revision, gateway, number, batch or decode_batch(row.value))


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to where the log is known: the last batch's position and revision."""

    position: int
    revision: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows at one revision.

    @ivar entries: the log in `recovered`, and whose batches those are.
    @ivar mark: the last of them.
    """

    recovered: Recovered
    entries: list[Entry]
    mark: Mark


async def snapshot(session: Session) -> Snapshot:
    """Read everything; the first rows are made if there are none."""
    layout = session.layout
    session.cluster = ""
    while True:
        try:
            answer = await session.get(layout.checkpoint, layout.head, layout.auth)
        except CompactedError:
            continue
        session.cluster = answer.cluster
        if not any(answer.gets):
            await _create(session)
            continue
        checkpoint, head, auth = answer.gets
        if checkpoint is None or head is None or auth is None:
            raise DamagedError("one of the rows /checkpoint, /log/head and /auth is missing")
        state = State.decode(checkpoint.value)
        if state.stage:
            await settled(session)
            continue
        mark = Mark(head.version - 1, head.revision)
        try:
            return await _read(session, state, auth, mark, answer.revision)
        except CompactedError:
            # It took so long that the engine has forgotten that moment.
            continue


async def _create(session: Session) -> None:
    """Make the first rows, unless another gateway does."""
    layout = session.layout
    state = State(
        cluster_id=secrets.randbits(63),
        position=0,
        revision=0,
        index=EMPTY.index,
        raft_index=EMPTY.raft_index,
        oldest_event=EMPTY.index + 1,
        writer="",
    )
    rows = {layout.checkpoint: state.encode(), layout.head: b"", layout.auth: to_bytes(EMPTY.auth.encode())}
    puts = [Put(key, value) for key, value in rows.items()]
    await session.txn([version_is(key, 0) for key in rows], puts)


async def _read(session: Session, state: State, auth: Row, mark: Mark, revision: int) -> Snapshot:
    layout = session.layout
    nodes = await session.read(layout.nodes, revision)
    events = await session.read(layout.events, revision)
    log = await session.read(layout.log, revision, changed_from=state.revision + 1)
    entries = _entries(session, log, state.position)
    if (entries[-1].position if entries else state.position) != mark.position:
        raise DamagedError(f"there are {len(entries)} batches after {state.position}, up to {mark.position}")
    try:
        users = Auth.decode(to_text(auth.value))
        tree = build(map(layout.to_entry, nodes), state.index, state.raft_index, users)
    except ValueError as error:
        raise DamagedError(str(error)) from None
    recovered = Recovered(
        state.cluster_id,
        tree,
        layout.to_events(events, state.oldest_event, state.index),
        [(entry.position, entry.batch) for entry in entries],
    )
    return Snapshot(recovered, entries, mark)


async def missed(session: Session, mark: Mark) -> tuple[list[Entry], int] | None:
    """The batches after a mark.

    @return: they, and the engine's revision that this was at; None when not all are there any more, or the
        log is not the one that the mark is of.
    """
    try:
        answer = await session.get(session.layout.head)
    except OtherClusterError:
        return None
    (head,) = answer.gets
    if head is None:
        return None
    entries: list[Entry] = []
    last = mark.position, mark.revision
    if last != (head.version - 1, head.revision):
        found = await session.read(session.layout.log, answer.revision, changed_from=mark.revision + 1)
        entries = _entries(session, found, mark.position)
        last = (entries[-1].position, entries[-1].revision) if entries else last
    return (entries, answer.revision) if last == (head.version - 1, head.revision) else None


def _entries(session: Session, rows: Iterable[Row], position: int) -> list[Entry]:
    """Batches out of rows of the log, which begin after a position."""
    layout = session.layout
    rows = sorted((row for row in rows if layout.is_batch(row.key)), key=lambda row: row.revision)
    return [Entry.of(layout, row, place) for place, row in enumerate(rows, position + 1)]
