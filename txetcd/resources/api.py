"""The whole of the API as one resource tree, and CORS around it."""

from __future__ import annotations

from twisted.web.resource import IResource
from twisted.web.server import Request

from txetcd.resources.auth import AuthResource
from txetcd.resources.endpoint import Directory, Options
from txetcd.resources.guard import Guard
from txetcd.resources.keys import MAX_BODY, KeysResource
from txetcd.resources.members import LeaderURL, Machines, Member, Members
from txetcd.resources.status import Health, StatsLeader, StatsSelf, StatsStore, Version
from txetcd.store import Store

_EXPOSED = b"X-Etcd-Cluster-Id, X-Etcd-Index, X-Raft-Index, X-Raft-Term"


class API(Directory):
    """The root of a server: `/v2/keys` and its companions.

    @param store: a running `Store`.
    @param name: of this server, as its members list tells it.
    @param client_urls: where clients reach this server; at least one.
    @param cors: the origins whose pages may read the answers; `*` for any.
    @param max_body: how many bytes a form may have.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        client_urls: tuple[str, ...],
        cors: tuple[str, ...] = (),
        max_body: int = MAX_BODY,
    ) -> None:
        super().__init__()
        self._origins = {origin.encode() for origin in cors}

        def member() -> Member:
            return Member(name, client_urls, store.cluster_id)

        guard = Guard(store)
        stats = Directory()
        stats.putChild(b"self", StatsSelf(store, member, store.time()))
        stats.putChild(b"leader", StatsLeader(member))
        stats.putChild(b"store", StatsStore(store))
        v2 = Directory()
        v2.putChild(b"keys", KeysResource(store, max_body=max_body, guard=guard))
        v2.putChild(b"auth", AuthResource(store, guard))
        v2.putChild(b"members", Members(store, guard, member))
        v2.putChild(b"machines", Machines(member))
        v2.putChild(b"leader", LeaderURL(member))
        v2.putChild(b"stats", stats)
        self.putChild(b"v2", v2)
        self.putChild(b"version", Version())
        self.putChild(b"health", Health(store))

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """Every request comes by here: allow what CORS allows, and answer OPTIONS whatever the path."""
        if self._origins:
            self._allow_origin(request)
        if request.method == b"OPTIONS":
            return Options()
        child: IResource = super().getChildWithDefault(path, request)
        return child

    def render(self, request: Request) -> bytes:
        """Answer what names no part of the path, such as `OPTIONS *`."""
        answer: bytes = self.getChildWithDefault(b"", request).render(request)
        return answer

    def _allow_origin(self, request: Request) -> None:
        origin = request.getHeader(b"origin")
        if b"*" in self._origins:
            allowed = b"*"
        elif origin in self._origins:
            allowed = origin
            request.setHeader(b"vary", b"Origin")
        else:
            return
        request.setHeader(b"access-control-allow-origin", allowed)
        request.setHeader(b"access-control-allow-methods", b"POST, GET, OPTIONS, PUT, DELETE")
        request.setHeader(b"access-control-allow-headers", b"accept, content-type, authorization")
        request.setHeader(b"access-control-expose-headers", _EXPOSED)
