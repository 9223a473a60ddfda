"""Writing checkpoints: which rows change, and how that is done as a whole however many they are.

A checkpoint is what has changed between two places in the order.  It can be written over the rows of any
place between those two, for it says how each key is at its end; so it does not matter which gateway writes
which, as long as the row `/checkpoint` is still as it was found.  All transactions here have that condition.

What is too much for one transaction is first put aside, in rows below `/stage`, then with the row
`/checkpoint` declared valid, then done, in as many transactions as it takes.  Whoever finds that it has not
been done does it; again does no harm.  Nobody reads rows before.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice

from txetcd.journal import Checkpoint
from txetcd.journal.etcd.rows import DamagedError, Layout, State, decode_changes, encode_change, to_bytes
from txetcd.journal.etcd.session import Session
from txetcd.journal.etcd.wire import OPERATIONS, Change, Put, Remove, Row, below, fits, groups, unchanged

# How many bytes of changes are put aside in one row, if it is more than one change.
STAGE_BYTES = 65_536


def plan(layout: Layout, state: State, checkpoint: Checkpoint) -> Iterator[Change]:
    """What to change of the rows, in order; made one by one, for all at once would take long.

    @param state: the place that they are at, which the checkpoint begins no later than.
    """
    for directory in checkpoint.dropped:
        yield Remove(*below(layout.node(directory)))
    for key in checkpoint.removed:
        yield Remove(layout.node(key))
    yield layout.remove_events(checkpoint.oldest_event)
    yield from map(layout.put_node, checkpoint.rows)
    yield from layout.put_events([event for event in checkpoint.events if event.index > state.index])
    if checkpoint.auth is not None:
        yield Put(layout.auth, to_bytes(checkpoint.auth.encode()))


async def settled(session: Session) -> tuple[Row, State]:
    """The row `/checkpoint` and what it says, when the rows are at its place."""
    while True:
        answer = await session.get(session.layout.checkpoint)
        (row,) = answer.gets
        if row is None:
            raise DamagedError("the row /checkpoint is missing")
        state = State.decode(row.value)
        if not state.stage:
            return row, state
        await _finish(session, row, state, answer.revision)


async def write(session: Session, checkpoint: Checkpoint, revision: int, writer: str) -> int:
    """Write a checkpoint, unless others have written that or more.

    @param revision: the engine's, of the checkpoint's last batch.
    @param writer: this gateway's name as such.
    @return: the revision of the last batch of the checkpoint before it; 0 if it was not written here.
    """
    before = 0
    while True:
        row, state = await settled(session)
        if state.position >= checkpoint.position:
            return before
        changes = plan(session.layout, state, checkpoint)
        after = State(
            cluster_id=state.cluster_id,
            position=checkpoint.position,
            revision=revision,
            index=checkpoint.index,
            raft_index=checkpoint.raft_index,
            oldest_event=max(checkpoint.oldest_event, state.oldest_event),
            writer=writer,
        )
        first = list(islice(changes, OPERATIONS + 1))
        if fits(first):
            put = Put(row.key, after.encode())
            written = (await session.txn([unchanged(row)], [*first, put])).succeeded
        else:
            written = await _stage(session, row, after, chain(first, changes))
        before = state.revision if written else 0


async def _stage(session: Session, row: Row, after: State, changes: Iterable[Change]) -> bool:
    """Put changes aside, and declare them valid; false if another gateway was quicker."""
    stage = secrets.token_hex(8)
    start, _ = below(session.layout.stage(stage))
    for place, value in enumerate(_aside(changes)):
        if not (await session.txn([unchanged(row)], [Put(start + b"%06d" % place, value)])).succeeded:
            return False
    valid = Put(row.key, replace(after, stage=stage).encode())
    return (await session.txn([unchanged(row)], [valid])).succeeded


def _aside(changes: Iterable[Change]) -> Iterator[bytes]:
    """The values of rows that keep changes for later."""
    parts: list[bytes] = []
    size = 0
    for part in map(encode_change, changes):
        if parts and size + len(part) > STAGE_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    yield b"".join(parts)


async def _finish(session: Session, row: Row, state: State, revision: int) -> None:
    """Do what was put aside, unless another gateway has done it."""
    layout = session.layout
    found = await session.read(below(layout.stage(state.stage)), revision)
    done: list[Change] = [Put(row.key, replace(state, stage="").encode()), Remove(*layout.stages)]
    changes = (change for each in found for change in decode_changes(each.value))
    for group in chain(groups(changes), [done]):
        if not (await session.txn([unchanged(row)], group)).succeeded:
            return


async def trim(session: Session, upto: int) -> None:
    """Remove batches from the log, those up to a revision of the engine's."""
    layout = session.layout
    # As they are: of a moment that is past nothing may be known any more, and no such batch is ever added.
    found = await session.read(layout.log, changed_to=upto, keys_only=True)
    # A gateway's batches are in order, so what is to go is a range for each.
    spans: dict[bytes, tuple[bytes, bytes]] = {}
    for row in found:
        if layout.is_batch(row.key):
            gateway = row.key.rpartition(b"/")[0]
            first, _ = spans.get(gateway, (row.key, b""))
            spans[gateway] = first, row.key + b"\0"
    for group in groups([Remove(*span) for span in spans.values()]):
        await session.txn((), group)
