"""A thread that does one thing after the other, and tells the reactor how each went.

It is a thread pool of one without what a pool needs: each commit waits for the way there and back.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

_Task = tuple[Callable[..., None], tuple[Any, ...], "Deferred[None]"]


class Writer:
    """A thread of that kind, running from the start.

    A program that ends without `stop` ends all the same.

    @param reactor: where Deferreds are fired.
    @param name: of the thread.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._reactor = reactor
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, function: Callable[..., None], *arguments: Any) -> Deferred[None]:
        """Call `function` there.

        @return: fires with None when it has returned, and fails with what it raised.
        """
        done: Deferred[None] = Deferred()
        self._tasks.put((function, arguments, done))
        return done

    def stop(self) -> None:
        """End the thread when everything before is done; returns after that."""
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            function, arguments, done = task
            try:
                function(*arguments)
            except BaseException:
                self._reactor.callFromThread(done.errback, Failure())
            else:
                self._reactor.callFromThread(done.callback, None)
            # Nothing is held while there is nothing to do.
            del task, function, arguments, done
