"""What goes on in the background until it is done or stopped."""

from __future__ import annotations

from collections.abc import Coroutine
from inspect import CORO_RUNNING, getcoroutinestate
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

_T = TypeVar("_T")


class Task(Generic[_T]):
    """A coroutine that can be stopped from anywhere, from what it calls itself too.

    @ivar done: fires with what it comes to; fails with `CancelledError` when it is stopped.
    """

    def __init__(self, reactor: IReactorTime, coroutine: Coroutine[Deferred[Any], Any, _T]) -> None:
        self._reactor = reactor
        self._coroutine = coroutine
        self.done: Deferred[_T] = Deferred.fromCoroutine(coroutine)

    @classmethod
    def endless(cls, reactor: IReactorTime, coroutine: Coroutine[Deferred[Any], Any, _T]) -> Task[_T]:
        """A task of which nobody wants to know how it ends, since only a stop ends it."""
        task = cls(reactor, coroutine)
        task.done.addErrback(lambda failure: failure.trap(CancelledError))
        return task

    def stop(self) -> None:
        """Stop it; harmless when it is done."""
        if getcoroutinestate(self._coroutine) == CORO_RUNNING:
            self._reactor.callLater(0, self.done.cancel)
        else:
            self.done.cancel()
