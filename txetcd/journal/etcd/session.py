"""Asking the engine about our rows: transactions and readings, again when need be, and what the log says."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from txetcd.journal.etcd.client import Client
from txetcd.journal.etcd.rows import Layout
from txetcd.journal.etcd.wire import (
    JSON,
    Answer,
    Change,
    CompactedError,
    EngineError,
    Get,
    RefusedError,
    Row,
    answer,
    page,
    reading,
    rows,
    txn,
)

_T = TypeVar("_T")

# What is asked again after a failure is asked after this many seconds, then twice as many, and so on.
FIRST_DELAY = 0.05
LONGEST_DELAY = 1.0

# How many rows are read at once, at first and then at most, and of how many bytes they should be.
_FIRST_PAGE_ROWS = 10
_PAGE_ROWS = 1000
_PAGE_BYTES = 4_000_000

# Those who were answered together come back together.  The others wait for them for this part of the time
# that the engine took, and no longer than so many seconds: one question for all costs less than two for half.
_GATHERING_PART = 0.15
_LONGEST_GATHERING = 0.01


class OtherClusterError(EngineError):
    """What is known of the engine is of no use."""


class Backoff:
    """Waits between attempts, longer each time; not all who wait at once ask at once.

    @param reactor: for the time.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._delay = FIRST_DELAY

    def reset(self) -> None:
        """The last attempt went well."""
        self._delay = FIRST_DELAY

    async def wait(self) -> None:
        """Wait."""
        delay, self._delay = self._delay, min(2 * self._delay, LONGEST_DELAY)
        await deferLater(self._reactor, delay * random.uniform(0.5, 1.0))


class Session:
    """The engine, and where our rows are in it.

    @param timeout: how long a member is waited for, in seconds.
    @ivar cluster: which cluster it is; empty if it may be any.
    @ivar reason: why the engine cannot be used at present; empty if it can.
    """

    log = Logger()

    def __init__(self, reactor: IReactorTime, client: Client, layout: Layout, timeout: float) -> None:
        self.reactor = reactor
        self.client = client
        self.layout = layout
        self.timeout = timeout
        self.cluster = ""
        self.reason = ""
        self._told: set[str] = set()

    async def post(self, path: str, body: JSON) -> JSON:
        """Ask, once."""
        return await self.client.post(path, body, self.timeout)

    async def txn(
        self, conditions: Iterable[JSON], success: Iterable[Change | Get], failure: Iterable[Get] = ()
    ) -> Answer:
        """Do one thing or the other; to read only there is `get`.

        @raise OtherClusterError: when it is not the cluster any more, but one made of a backup, say.
        """
        return self._known(answer(await self.post("/kv/txn", txn(conditions, success, failure))))

    async def get(self, *keys: bytes) -> Answer:
        """Read single rows, all as they are at the answer's revision; linearizable.

        It is no transaction: etcd before 3.5.5 ends when somebody gives up one that only reads (its issue
        14110).

        @raise OtherClusterError: as `txn`.
        """
        gets: list[Row | None] = []
        first: Answer | None = None
        for key in keys:
            revision = 0 if first is None else first.revision
            found = self._known(reading(await self.post("/kv/range", page(key, b"", revision, 1))))
            first = first or found
            gets += found.gets
        assert first is not None, "there is nothing to read"
        return replace(first, gets=gets)

    def _known(self, result: Answer) -> Answer:
        if self.cluster not in ("", result.cluster):
            raise OtherClusterError("it is another cluster that answers")
        return result

    async def read(
        self,
        span: tuple[bytes, bytes],
        revision: int = 0,
        *,
        changed_from: int = 0,
        changed_to: int = 0,
        keys_only: bool = False,
    ) -> list[Row]:
        """All rows of a range as they were at a revision, in the order of their keys.

        @param revision: 0 for as they are, some perhaps as they are a little later.
        @param changed_from: only those whose last change was no earlier, and
        @param changed_to: no later; 0 for any.
        """
        start, end = span
        found: list[Row] = []
        limit, most = _FIRST_PAGE_ROWS, _PAGE_ROWS
        while True:
            request = page(
                *(start, end, revision, limit),
                changed_from=changed_from,
                changed_to=changed_to,
                keys_only=keys_only,
            )
            try:
                response = await self.post("/kv/range", request)
            except (CompactedError, RefusedError):
                raise
            except EngineError:
                # Perhaps the rows are long, and it was too much to answer in time.
                if limit == 1:
                    raise
                limit = most = max(1, limit // 10)
                continue
            some = list(rows(response))
            found += some
            if not some or not response.get("more"):
                return found
            start = some[-1].key + b"\0"
            size = sum(len(row.key) + len(row.value) for row in some)
            limit = max(1, min(most, 10 * limit, _PAGE_BYTES * len(some) // size))

    async def persist(self, attempt: Callable[[], Awaitable[_T]], backoff: Backoff | None = None) -> _T:
        """Try until the engine answers; only what it refuses for good is raised."""
        backoff = backoff or Backoff(self.reactor)
        while True:
            try:
                result = await attempt()
            except RefusedError:
                raise
            except EngineError as error:
                self.failed(str(error))
            else:
                self.worked()
                return result
            await backoff.wait()

    def gather(self, began: float) -> Deferred[None]:
        """Fires when those who were just answered had the time to come back, and can go with who waits.

        @param began: when the engine was asked what they have their answers of.
        """
        took = self.reactor.seconds() - began
        return deferLater(self.reactor, min(_GATHERING_PART * took, _LONGEST_GATHERING))

    def failed(self, reason: str) -> None:
        """Tell of a failure, each reason once until the engine can be used again."""
        self.reason = reason
        if reason not in self._told:
            self._told.add(reason)
            self.log.warn("The engine cannot be used: {reason}", reason=reason)

    def worked(self) -> None:
        """The engine can be used."""
        if self.reason:
            self.reason = ""
            self._told.clear()
            self.log.info("The engine can be used again")
