"""The whole of the API as one resource tree, and around it what pages of other origins may do with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from txetcd.dashboard.resource import Dashboard, Door
from txetcd.member import Member
from txetcd.resources.auth import AuthResource
from txetcd.resources.endpoint import JSON, SAFE, Directory, Options, answer
from txetcd.resources.guard import Audit, Guard
from txetcd.resources.keys import MAX_BODY, KeysResource
from txetcd.resources.members import LeaderURL, Machines, Members, Roster
from txetcd.resources.status import Health, StatsLeader, StatsSelf, StatsStore, Version
from txetcd.store import Store

_EXPOSED = b"X-Etcd-Cluster-Id, X-Etcd-Index, X-Raft-Index, X-Raft-Term"


class API(Directory):
    """The root of a server: `/v2/keys` and its companions.

    @param store: a running `Store`.
    @param name: of this server, as its members list tells it.
    @param client_urls: where clients reach this server; at least one.
    @param members: gives all servers of the key space that are there now, the one that leads first; without
        it this one is alone.
    @param cors: the origins whose pages may use the API; `*` for any.
    @param max_body: how many bytes a form may have.
    @param audit: is told of each write.
    @param dashboard: have the page for browsers, at `/dashboard`.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        client_urls: tuple[str, ...],
        members: Callable[[], Sequence[Member]] = tuple,
        cors: tuple[str, ...] = (),
        max_body: int = MAX_BODY,
        audit: Audit | None = None,
        dashboard: bool = False,
    ) -> None:
        super().__init__()
        self._origins = {origin.encode() for origin in cors}
        roster = Roster(store, Member(name, client_urls), members)
        guard = Guard(store, audit=audit)
        stats = Directory()
        stats.putChild(b"self", StatsSelf(store, roster, store.time()))
        stats.putChild(b"leader", StatsLeader(roster))
        stats.putChild(b"store", StatsStore(store))
        v2 = Directory()
        v2.putChild(b"keys", KeysResource(store, max_body=max_body, guard=guard))
        v2.putChild(b"auth", AuthResource(store, guard))
        v2.putChild(b"members", Members(store, guard, roster))
        v2.putChild(b"machines", Machines(roster))
        v2.putChild(b"leader", LeaderURL(roster))
        v2.putChild(b"stats", stats)
        self.putChild(b"v2", v2)
        self.putChild(b"version", Version())
        self.putChild(b"health", Health(store))
        self._door: Door | None = None
        if dashboard:
            self._door = Door()
            self.putChild(b"dashboard", Dashboard(store, guard))

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """Every request comes by here: allow what CORS allows, and answer OPTIONS whatever the path."""
        if self._origins:
            self._allow_origin(request)
        if request.method == b"OPTIONS":
            return Options()
        if request.method not in SAFE and self._is_foreign(request):
            return Foreign()
        child: IResource = super().getChildWithDefault(path, request)
        return child

    def getChild(self, path: bytes, request: Request) -> IResource:
        """The way to the page, if there is one, at the root itself."""
        if path == b"" and not request.postpath and self._door is not None:
            return self._door
        return super().getChild(path, request)

    def render(self, request: Request) -> bytes:
        """Answer what names no part of the path, such as `OPTIONS *`."""
        answer: bytes = self.getChildWithDefault(b"", request).render(request)
        return answer

    def _is_foreign(self, request: Request) -> bool:
        """Whether a browser sends this for a page of another origin, one that CORS does not allow.

        Such a page could not read the answer, but a browser that has a client certificate would show it for
        the page.  Browsers name the origin of what changes something; other clients name none.  Where a proxy
        has changed the host, what the browser says of the two counts.
        """
        origin = request.getHeader(b"origin")
        if origin is not None and (b"*" in self._origins or origin in self._origins):
            return False
        site = request.getHeader(b"sec-fetch-site")
        if site is not None:
            return site not in (b"same-origin", b"none")
        return origin is not None and origin.partition(b"://")[2] != request.getHeader(b"host")

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


class Foreign(Resource):
    """What a page of another origin finds where it would change something."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Answer 403."""
        return answer(request, 403, JSON, b'{"message":"The page\'s origin is not allowed: see --cors"}\n')
