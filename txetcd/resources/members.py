"""Who serves the key space: `/v2/members`, `/v2/machines`, `/v2/leader`, and the members they tell of."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import ClassVar

from twisted.web.resource import IResource
from twisted.web.server import Request

from txetcd.member import Member
from txetcd.resources.endpoint import TEXT, Endpoint
from txetcd.resources.guard import Guard, Guarded
from txetcd.store import Store


class Roster:
    """The members of a store's key space, of which this server is one.

    @param own: this server.
    @param listed: gives all servers that are there now, the one that leads first; this one need not be among
        them.
    """

    def __init__(self, store: Store, own: Member, listed: Callable[[], Sequence[Member]]) -> None:
        self._store = store
        self._own = own
        self._listed = listed

    def members(self) -> dict[str, Member]:
        """All members by their ids, the one that leads first."""
        listed = self._listed()
        found: dict[str, Member] = {}
        for member in listed if self._own in listed else (*listed, self._own):
            id = self._id(member.name)
            if id in found:
                id = self._id(f"{member.name} {','.join(member.client_urls)}")
            found[id] = member
        return found

    def _id(self, name: str) -> str:
        """An id in hexadecimal; the same as long as name and cluster are."""
        return sha1(f"{self.cluster_id:x}/{name}".encode()).hexdigest()[:16]

    @property
    def cluster_id(self) -> int:
        """The key space's own id, which is known once the store is open."""
        return self._store.cluster_id

    def own(self) -> tuple[str, Member]:
        """This server's id, and itself."""
        return next(each for each in self.members().items() if each[1] == self._own)

    def leader(self) -> tuple[str, Member]:
        """The id of the one that leads, and itself.

        All of them take writes; this is the one that all name when they are asked who leads.
        """
        return next(iter(self.members().items()))


def to_json(id: str, member: Member) -> str:
    """A member as the v2 API prints it.  It has no peers to speak of."""
    fields = {"id": id, "name": member.name, "peerURLs": [], "clientURLs": list(member.client_urls)}
    return json.dumps(fields, separators=(",", ":"))


class Members(Guarded):
    """`/v2/members`: the list of them, and `/v2/members/leader`.  It cannot be changed here."""

    methods: ClassVar[tuple[bytes, ...]] = (b"GET", b"POST", b"DELETE", b"PUT")
    open_methods: ClassVar[tuple[bytes, ...]] = (b"GET",)

    def __init__(self, store: Store, guard: Guard, roster: Roster) -> None:
        super().__init__(store, guard)
        self._roster = roster

    def getChild(self, path: bytes, request: Request) -> IResource:
        """The leader, the list again behind a trailing slash, or whatever member is asked for."""
        if not request.postpath:
            if path == b"":
                return self
            if path == b"leader" and request.method == b"GET":
                return Leader(self._roster)
        id = b"/".join([path, *(request.postpath or [])])
        return Missing(self._store, self._guard, id)

    def body(self, request: Request) -> str:
        """The members, or that they stay as they are."""
        if request.method != b"GET":
            request.setResponseCode(403)
            return '{"message":"the members of this server cannot be changed"}'
        members = ",".join(to_json(id, member) for id, member in self._roster.members().items())
        return f'{{"members":[{members}]}}\n'


class Leader(Endpoint):
    """`/v2/members/leader`: the member that leads."""

    def __init__(self, roster: Roster) -> None:
        super().__init__()
        self._roster = roster

    def body(self, request: Request) -> str:
        """The member."""
        request.setHeader(b"x-etcd-cluster-id", b"%x" % self._roster.cluster_id)
        return to_json(*self._roster.leader()) + "\n"


class Missing(Guarded):
    """A member that there is not."""

    isLeaf = True
    methods: ClassVar[tuple[bytes, ...]] = Members.methods
    open_methods: ClassVar[tuple[bytes, ...]] = Members.open_methods

    def __init__(self, store: Store, guard: Guard, id: bytes) -> None:
        super().__init__(store, guard)
        self._id = id.decode("utf-8", "replace")

    def body(self, request: Request) -> str:
        """That it is not."""
        request.setResponseCode(404)
        if request.method == b"GET":
            return '{"message":"Not found"}'
        return json.dumps({"message": f"No such member: {self._id}"}, separators=(",", ":"))


class Machines(Endpoint):
    """`/v2/machines`: where clients reach the members, as old clients ask for it."""

    methods: ClassVar[tuple[bytes, ...]] = (b"GET", b"HEAD")
    content_type: ClassVar[bytes] = TEXT

    def __init__(self, roster: Roster) -> None:
        super().__init__()
        self._roster = roster

    def body(self, request: Request) -> str:
        """The URLs."""
        members = self._roster.members().values()
        return ", ".join(dict.fromkeys(url for member in members for url in member.client_urls))


class LeaderURL(Machines):
    """`/v2/leader`: where the leader is reached, as etcd 0.x told it."""

    def body(self, request: Request) -> str:
        """The URL."""
        _, leader = self._roster.leader()
        return leader.client_urls[0]
