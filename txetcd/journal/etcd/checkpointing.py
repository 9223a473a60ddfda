"""When checkpoints are written and by whom, and what the engine can forget after that."""

from __future__ import annotations

import random
import secrets
from collections import deque

from twisted.internet.task import deferLater
from twisted.logger import Logger

from txetcd.journal import Checkpoint
from txetcd.journal.etcd.checkpoint import settled, trim, write
from txetcd.journal.etcd.reading import Entry, Snapshot
from txetcd.journal.etcd.session import Session
from txetcd.journal.etcd.wire import EngineError, RefusedError

# Whoever did not write the last checkpoint leaves the one that did so many seconds.
HOLD = 1.0
# What the engine refuses to write is tried again after so many seconds.
RETRY = 60.0
# For how many seconds the engine is to know what rows there were.
KEEP = 300.0


class CheckpointWriter:
    """Writes checkpoints for one gateway; the others do, too."""

    log = Logger()

    def __init__(self, session: Session) -> None:
        self._session = session
        # Of this gateway as a writer of checkpoints; a gateway that never appends has no other.
        self._name = secrets.token_hex(8)
        # The engine's revisions of the batches that a checkpoint may yet end with, by their positions.
        self._revisions: dict[int, int] = {}
        # When the latest checkpoints were written here, and the engine's revisions then.
        self._written: deque[tuple[float, int]] = deque()

    def begin(self, found: Snapshot) -> None:
        """Begin with the log as it was read."""
        self._revisions = {entry.position: entry.revision for entry in found.entries}

    def note(self, entry: Entry) -> None:
        """There is another batch."""
        self._revisions[entry.position] = entry.revision

    async def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; done when it, or a later one, has been written by whomever."""
        while True:
            try:
                await self._write(checkpoint)
                break
            except RefusedError as error:
                # It has no space, say; the log is kept until it has.
                self.log.error("No checkpoint could be written: {reason}", reason=str(error))
                await deferLater(self._session.reactor, RETRY)

    async def _write(self, checkpoint: Checkpoint) -> None:
        session = self._session
        revision = self._revisions[checkpoint.position]
        _, state = await session.persist(lambda: settled(session))
        if state.position < checkpoint.position and state.writer not in ("", self._name):
            await deferLater(session.reactor, HOLD * random.uniform(1.0, 2.0))
        before = await session.persist(lambda: write(session, checkpoint, revision, self._name))
        self._revisions = {at: known for at, known in self._revisions.items() if at >= checkpoint.position}
        if before:
            await session.persist(lambda: trim(session, before))
            await self._compact(revision)

    async def _compact(self, revision: int) -> None:
        """Let the engine forget what it need not know any more."""
        now = self._session.reactor.seconds()
        self._written.append((now, revision))
        old = 0
        while self._written and self._written[0][0] <= now - KEEP:
            _, old = self._written.popleft()
        if old:
            try:
                await self._session.post("/kv/compaction", {"revision": str(old)})
            except EngineError as error:
                # Somebody else has, or it is not our business.
                self.log.debug("Not compacted: {reason}", reason=str(error))
