"""How the server is: `/version`, `/health` and `/v2/stats`."""

from __future__ import annotations

import json
from typing import ClassVar

from twisted.web.server import Request

from txetcd.jsontext import rfc3339
from txetcd.resources.endpoint import TEXT, Endpoint
from txetcd.resources.members import Roster
from txetcd.store import Store
from txetcd.tree import SECOND

# The etcd whose v2 API this is.  Clients choose their dialect by it.
VERSION = '{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}'

# What etcd tells of replication to a follower.
_NOT_REPLICATED = {
    "latency": {"current": 0, "average": 0, "standardDeviation": 0, "minimum": 0, "maximum": 0},
    "counts": {"fail": 0, "success": 0},
}


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
        if self._store.accepting and not self._store.trouble:
            return '{"health":"true"}'
        request.setResponseCode(503)
        return '{"health":"false"}'


class StatsSelf(Endpoint):
    """`/v2/stats/self`: who the server is and since when.

    @param started: when it was, in nanoseconds since the epoch.
    """

    def __init__(self, store: Store, roster: Roster, started: int) -> None:
        super().__init__()
        self._store = store
        self._roster = roster
        self._started = started

    def body(self, request: Request) -> str:
        """The figures; those of replication are nought."""
        (id, member), (leader, _) = self._roster.own(), self._roster.leader()
        started = rfc3339(self._started)
        uptime = (self._store.time() - self._started) / SECOND
        figures = {
            "name": member.name,
            "id": id,
            "state": "StateLeader" if id == leader else "StateFollower",
            "startTime": started,
            "leaderInfo": {"leader": leader, "uptime": f"{uptime:.9f}s", "startTime": started},
            "recvAppendRequestCnt": 0,
            "sendAppendRequestCnt": 0,
        }
        return json.dumps(figures, separators=(",", ":"))


class StatsLeader(Endpoint):
    """`/v2/stats/leader`: who leads, and the others; any of them tells it."""

    def __init__(self, roster: Roster) -> None:
        super().__init__()
        self._roster = roster

    def body(self, request: Request) -> str:
        """The figures; those of replication are nought."""
        leader, *followers = self._roster.members()
        figures = {"leader": leader, "followers": dict.fromkeys(followers, _NOT_REPLICATED)}
        return json.dumps(figures, separators=(",", ":"))


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
