"""Who serves the key space: `/v2/members`, `/v2/machines`, `/v2/leader`, and the member they tell of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha1
from typing import ClassVar

from twisted.web.resource import IResource
from twisted.web.server import Request

from txetcd.resources.endpoint import TEXT, Endpoint
from txetcd.resources.guard import Guard, Guarded
from txetcd.store import Store


@dataclass(frozen=True, slots=True)
class Member:
    """One server of a key space.

    @ivar name: its name.
    @ivar client_urls: where clients reach it.
    @ivar cluster_id: of the key space that it serves.
    """

    name: str
    client_urls: tuple[str, ...]
    cluster_id: int

    @property
    def id(self) -> str:
        """Its id in hexadecimal; the same as long as name and cluster are."""
        return sha1(f"{self.cluster_id:x}/{self.name}".encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """The member as the v2 API prints it.  It has no peers to speak of."""
        fields = {"id": self.id, "name": self.name, "peerURLs": [], "clientURLs": list(self.client_urls)}
        return json.dumps(fields, separators=(",", ":"))


MemberNow = Callable[[], Member]
"""Gives the member as it is now: its cluster's id is known once the store is open."""


class Members(Guarded):
    """`/v2/members`: the list of them, and `/v2/members/leader`.  It cannot be changed here."""

    methods: ClassVar[tuple[bytes, ...]] = (b"GET", b"POST", b"DELETE", b"PUT")
    open_methods: ClassVar[tuple[bytes, ...]] = (b"GET",)

    def __init__(self, store: Store, guard: Guard, member: MemberNow) -> None:
        super().__init__(store, guard)
        self._member = member

    def getChild(self, path: bytes, request: Request) -> IResource:
        """The leader, the list again behind a trailing slash, or whatever member is asked for."""
        if not request.postpath:
            if path == b"":
                return self
            if path == b"leader" and request.method == b"GET":
                return Leader(self._member)
        id = b"/".join([path, *(request.postpath or [])])
        return Missing(self._store, self._guard, id)

    def body(self, request: Request) -> str:
        """The members, or that they stay as they are."""
        if request.method != b"GET":
            request.setResponseCode(403)
            return '{"message":"the members of this server cannot be changed"}'
        return f'{{"members":[{self._member().to_json()}]}}\n'


class Leader(Endpoint):
    """`/v2/members/leader`: the one member that puts writes in order."""

    def __init__(self, member: MemberNow) -> None:
        super().__init__()
        self._member = member

    def body(self, request: Request) -> str:
        """The member."""
        request.setHeader(b"x-etcd-cluster-id", b"%x" % self._member().cluster_id)
        return self._member().to_json() + "\n"


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

    def __init__(self, member: MemberNow) -> None:
        super().__init__()
        self._member = member

    def body(self, request: Request) -> str:
        """The URLs."""
        return ", ".join(self._member().client_urls)


class LeaderURL(Machines):
    """`/v2/leader`: where the leader is reached, as etcd 0.x told it."""

    def body(self, request: Request) -> str:
        """The URL."""
        return self._member().client_urls[0]
