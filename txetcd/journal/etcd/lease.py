"""Leases: what hangs on one is there for as long as a gateway is."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from txetcd.journal.etcd.session import Session
from txetcd.journal.etcd.wire import EngineError


class Lease:
    """A lease of one gateway's.

    @param seconds: how long the engine keeps it, and the rows on it, without hearing of the gateway.
    @ivar id: by which rows name it; 0 while there is none.
    """

    def __init__(self, session: Session, seconds: int) -> None:
        self._session = session
        self._seconds = seconds
        self.id = 0

    async def take(self) -> None:
        """Have one, another if need be."""
        granted = await self._session.post("/lease/grant", {"TTL": str(self._seconds)})
        self.id = int(granted["ID"])

    async def keep(self) -> bool:
        """Have it for longer; false when the engine has it no more."""
        kept = await self._session.post("/lease/keepalive", {"ID": str(self.id)})
        return "TTL" in kept.get("result", ())

    def give_back(self) -> Deferred[None]:
        """Let the rows go at once; fires when the engine has heard of it, or does not answer."""
        if not self.id:
            return succeed(None)
        lease, self.id = self.id, 0
        session = self._session
        revoking = session.client.post("/lease/revoke", {"ID": str(lease)}, session.timeout)
        return revoking.addCallbacks(lambda _: None, lambda failure: failure.trap(EngineError) and None)
