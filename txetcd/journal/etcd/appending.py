"""Appending batches to the log, each once, however often that has to be said.

A gateway has a row of its own, and every transaction that appends puts it, on the condition that its version
is as the gateway knows it.  So of all transactions with the same version only one can ever be done: one whose
answer was lost can be sent again, and one that was given up dies with the next.  The row hangs on a lease: it
goes when the gateway does, and one that comes back late finds itself a stranger and takes another name.
"""

from __future__ import annotations

import secrets
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from txetcd.journal import Batch
from txetcd.journal.etcd.following import Follower
from txetcd.journal.etcd.lease import Lease
from txetcd.journal.etcd.reading import Entry
from txetcd.journal.etcd.session import Backoff, Session
from txetcd.journal.etcd.task import Task
from txetcd.journal.etcd.wire import Answer, EngineError, Get, Put, version_is

# For how many seconds the engine remembers a gateway that it does not hear of.
LEASE = 60


class Appender:
    """Appends the batches of one gateway, one at a time.

    @param follower: tells when a batch has been received here.
    @ivar name: of this gateway, as the engine knows it; empty until there is something to append, and when
        the engine has forgotten it.
    """

    def __init__(self, session: Session, follower: Follower) -> None:
        self._session = session
        self._follower = follower
        self.name = ""
        self._lease = Lease(session, LEASE)
        # Of the gateway's row.
        self._version = 0
        self._keeping: Task[None] | None = None

    async def append(self, batch: Batch, value: bytes) -> None:
        """Append a batch.

        It is done when the batch has its place and was received.  Cancel it when it is received before that,
        or when nobody waits any more; then the batch may still get a place, before the next one or never.

        @param value: of the batch's row, which encodes it.
        @raise RefusedError: when the engine will not have it.
        """
        backoff = Backoff(self._session.reactor)
        self._follower.expect(value, batch)
        while True:
            if not self.name:
                await self._session.persist(self._register, backoff)
            name, version = self.name, self._version
            # Whatever was received meanwhile, it is the same that is sent again.
            answer = await self._session.persist(partial(self._send, name, version, value), backoff)
            head, *counts = answer.gets
            position = 0 if head is None else head.version - 1
            if answer.succeeded and head is not None:
                self._version = version + 1
                self._follower.offer(Entry(position, head.revision, name, version, batch))
            # If it was done before and the answer was lost, that comes to light now.
            await self._follower.reach(position)
            if answer.succeeded:
                return
            (count,) = counts
            if count is None:
                self._forget()
            else:
                self._version = count.version

    def received(self, entry: Entry) -> None:
        """A batch has been received; if it is of this gateway, that may be quicker than the answer."""
        if entry.gateway == self.name:
            self._version = entry.number + 1

    async def _send(self, name: str, version: int, value: bytes) -> Answer:
        layout = self._session.layout
        row = layout.gateway(name)
        puts = [
            Put(row, b"", keep_lease=True),
            Put(layout.batch(name, version), value),
            Put(layout.head, row),
        ]
        head = Get(layout.head)
        return await self._session.txn([version_is(row, version)], [*puts, head], [head, Get(row)])

    # Being known

    async def _register(self) -> None:
        """Take a name."""
        await self._lease.take()
        name = secrets.token_hex(8)
        row = self._session.layout.gateway(name)
        await self._session.txn([version_is(row, 0)], [Put(row, b"", self._lease.id)])
        self.name, self._version = name, 1
        self._keeping = Task.endless(self._session.reactor, self._keep())

    async def _keep(self) -> None:
        """Keep the lease alive."""
        while True:
            await deferLater(self._session.reactor, LEASE / 4)
            try:
                await self._lease.keep()
            except EngineError as error:
                self._session.failed(str(error))

    def _forget(self) -> None:
        self.name = ""
        if self._keeping is not None:
            self._keeping.stop()
            self._keeping = None

    def close(self) -> Deferred[None]:
        """Be known no more; fires when the engine knows, or does not answer."""
        self._forget()
        return self._lease.give_back()
