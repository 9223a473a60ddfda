"""Waiting for all that is there: what a quorum read does."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred

from txetcd.journal import JournalError
from txetcd.journal.etcd.following import Follower
from txetcd.journal.etcd.session import Backoff, OtherClusterError, Session
from txetcd.journal.etcd.task import Task
from txetcd.journal.etcd.wire import EngineError

_T = TypeVar("_T")


class Barrier:
    """Asks the engine how long the log is, once for all who wait.

    @param follower: tells when a batch has been received here.
    """

    def __init__(self, session: Session, follower: Follower) -> None:
        self._session = session
        self._follower = follower
        self._all: list[Deferred[None]] = []
        self._waiting: list[Deferred[None]] = []
        self._asking: Task[None] | None = None

    def wait(self) -> Deferred[None]:
        """Fires when every batch that is in the log now has been received here; it can be cancelled."""
        waiting: Deferred[None] = Deferred()
        self._all.append(waiting)
        self._waiting.append(waiting)

        def over(result: _T) -> _T:
            self._all.remove(waiting)
            return result

        if self._asking is None or self._asking.done.called:
            self._asking = Task.endless(self._session.reactor, self._ask())
        return waiting.addBoth(over)

    async def _ask(self) -> None:
        reactor = self._session.reactor
        backoff = Backoff(reactor)
        while self._waiting:
            # Those who come while the engine answers may know of more than it tells.
            asking, self._waiting = self._waiting, []
            began = reactor.seconds()
            try:
                position = await self._length()
            except EngineError as error:
                self._session.failed(str(error))
                self._waiting = [each for each in asking if not each.called] + self._waiting
                await backoff.wait()
                continue
            self._session.worked()
            for each in asking:
                self._let_go(each, position)
            if len(asking) > 1:
                await self._session.gather(began)

    async def _length(self) -> int:
        """The position of the last batch."""
        before = self._follower.mark
        try:
            (head,) = (await self._session.get(self._session.layout.head)).gets
            if head is None or head.version - 1 < before.position:
                raise OtherClusterError("the engine does not have the log that was there before")
        except OtherClusterError:
            self._follower.look()
            raise
        return head.version - 1

    def _let_go(self, waiting: Deferred[None], position: int) -> None:
        def reached(_: None) -> None:
            if not waiting.called:
                waiting.callback(None)

        self._follower.reach(position).addCallbacks(reached, lambda failure: failure.trap(CancelledError))

    def close(self) -> None:
        """Ask no more."""
        for each in list(self._all):
            each.errback(JournalError("the journal is closed"))
        if self._asking is not None:
            self._asking.stop()
