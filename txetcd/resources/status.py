"""How the server is: `/version`, `/health` and `/v2/stats`."""

from __future__ import annotations

import json
from typing import ClassVar

from twisted.web.server import Request

from txetcd.jsontext import rfc3339
from txetcd.resources.endpoint import TEXT, Endpoint
from txetcd.resources.members import MemberNow
from txetcd.store import Store
from txetcd.tree import SECOND

# The etcd whose v2 API this is.  Clients choose their dialect by it.
VERSION = '{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}'


class Version(Endpoint):
    """`/version`: which etcd this speaks like."""

    def body(self, request: Request) -> str:
        """The versions, as etcd 2.1 and later print them."""
        return VERSION


class Health(Endpoint):
    """`/health`: whether writes are taken; the status is 503 when not."""

    content_type: ClassVar[bytes] = TEXT

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def body(self, request: Request) -> str:
        """The word, a string as etcd has it."""
        if self._store.accepting:
            return '{"health":"true"}'
        request.setResponseCode(503)
        return '{"health":"false"}'


class StatsSelf(Endpoint):
    """`/v2/stats/self`: who the server is and since when.

    @param started: when it was, in nanoseconds since the epoch.
    """

    def __init__(self, store: Store, member: MemberNow, started: int) -> None:
        super().__init__()
        self._store = store
        self._member = member
        self._started = started

    def body(self, request: Request) -> str:
        """The figures; those of replication are nought."""
        member, started = self._member(), rfc3339(self._started)
        uptime = (self._store.time() - self._started) / SECOND
        figures = {
            "name": member.name,
            "id": member.id,
            "state": "StateLeader",
            "startTime": started,
            "leaderInfo": {"leader": member.id, "uptime": f"{uptime:.9f}s", "startTime": started},
            "recvAppendRequestCnt": 0,
            "sendAppendRequestCnt": 0,
        }
        return json.dumps(figures, separators=(",", ":"))


class StatsLeader(Endpoint):
    """`/v2/stats/leader`: who leads, and that nobody follows."""

    def __init__(self, member: MemberNow) -> None:
        super().__init__()
        self._member = member

    def body(self, request: Request) -> str:
        """The figures."""
        return f'{{"leader":"{self._member().id}","followers":{{}}}}'


class StatsStore(Endpoint):
    """`/v2/stats/store`: what the store was asked for since the start."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def body(self, request: Request) -> str:
        """The figures."""
        stats = self._store.stats
        figures = {**stats.counts, "expireCount": stats.expired, "watchers": self._store.watching}
        return json.dumps(figures, separators=(",", ":"))
