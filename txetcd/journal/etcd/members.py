"""Which gateways there are: each puts a row that tells of it, and reads those of all.

The row hangs on a lease of its own.  A gateway that is cut off for a while is to keep its place in the log,
but clients are to hear soon that it is of no use.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from txetcd.journal.etcd.lease import Lease
from txetcd.journal.etcd.session import Session
from txetcd.journal.etcd.task import Task
from txetcd.journal.etcd.wire import Put, RefusedError, Row
from txetcd.member import Member

# For how many seconds a gateway counts that is not heard of.
LEASE = 10
# How often it is heard of, and hears of the others, in seconds.
BEAT = 2.0


class Registry:
    """Keeps one gateway in the list of all.

    @param own: the gateway.
    @ivar members: all of them as far as is known, the one that has been there for longest first.
    """

    log = Logger()

    def __init__(self, session: Session, own: Member) -> None:
        self._session = session
        self._own = own
        self._value = encode(own)
        self._key = session.layout.member(self._value)
        self._lease = Lease(session, LEASE)
        self._namesakes: set[Member] = set()
        self._refused = ""
        self._running: Task[None] | None = None
        self.members: list[Member] = [own]

    def start(self) -> None:
        """Be in the list from now on."""
        self._running = Task.endless(self._session.reactor, self._run())

    async def _run(self) -> None:
        while True:
            try:
                await self._session.persist(self._beat)
                self._refused = ""
            except RefusedError as error:
                self._not_listed(str(error))
            await deferLater(self._session.reactor, BEAT)

    async def _beat(self) -> None:
        """Say that the gateway is there, and see who else is."""
        session = self._session
        if not self._lease.id or not await self._lease.keep():
            await self._lease.take()
            await self._put()
        rows = await session.read(session.layout.members, 0)
        if self._key not in (row.key for row in rows):
            # Somebody has removed it.
            await self._put()
        self._see(rows)

    async def _put(self) -> None:
        """Have the row on the lease; it may be there on that of an earlier run, which is about to end."""
        await self._session.txn((), [Put(self._key, self._value, self._lease.id)])

    def _see(self, rows: Iterable[Row]) -> None:
        found = [decode(row.value) for row in sorted(rows, key=lambda row: row.created)]
        members = [member for member in found if member is not None]
        self.members = members if self._own in members else [*members, self._own]
        namesakes = {member for member in members if member.name == self._own.name} - {self._own}
        for member in namesakes - self._namesakes:
            self.log.warn(
                "Another server is listed as {name}, too, at {urls}: give each a --name of its own",
                name=member.name,
                urls=", ".join(member.client_urls),
            )
        self._namesakes = namesakes

    def _not_listed(self, reason: str) -> None:
        if reason != self._refused:
            self.log.warn("Clients are not told of this server by others: {reason}", reason=reason)
        self._refused = reason

    def close(self) -> Deferred[None]:
        """Be in the list no more; fires when the engine knows, or does not answer."""
        if self._running is not None:
            self._running.stop()
        return self._lease.give_back()


def encode(member: Member) -> bytes:
    """The value of a member's row."""
    fields = {"name": member.name, "clientURLs": list(member.client_urls)}
    return json.dumps(fields, separators=(",", ":")).encode()


def decode(value: bytes) -> Member | None:
    """What `encode` made the value of; None when it is none of its."""
    try:
        fields = json.loads(value)
        name, urls = fields["name"], fields["clientURLs"]
    except (ValueError, TypeError, KeyError):
        return None
    texts = isinstance(urls, list) and bool(urls) and all(isinstance(text, str) for text in (name, *urls))
    return Member(name, tuple(urls)) if texts else None
