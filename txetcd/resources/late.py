"""Answers that are not ready at once: of writes, of watches, and of listings too long for one piece.

A client may go away at any time; nothing is written to a request after that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import cast

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from txetcd.events import Event
from txetcd.query import Watch
from txetcd.resources.endpoint import set_headers
from txetcd.store import Store
from txetcd.watchers import Watcher

# A stream whose reader lets this many bytes of new events pile up is closed: better than to leave it deaf.
STREAM_BACKLOG = 1024 * 1024

# Below so many bytes it is cheaper to make one piece of several than to send each.
COPIED = 64 * 1024


def json_line(event: Event) -> bytes:
    """An event as the v2 API sends it."""
    return (event.to_json() + "\n").encode()


def server_sent_event(event: Event) -> bytes:
    """An event as a browser's `EventSource` reads it; its id is the event's index."""
    return f"id: {event.index}\ndata: {event.to_json()}\n\n".encode()


class Late:
    """A request that is answered later.

    @param gone: called when the client goes away before that.
    """

    log = Logger()

    def __init__(self, request: Request, gone: Callable[[], None] | None = None) -> None:
        self.request = request
        self._done = False
        if gone is not None:
            request.notifyFinish().addErrback(lambda _: gone())

    @property
    def alive(self) -> bool:
        """Whether there is still somebody to be answered: a request loses its channel with its client."""
        return not self._done and self.request.channel is not None

    def answer(self, body: bytes) -> None:
        """Send the whole body, and be done."""
        set_headers(self.request, {b"Content-Length": b"%d" % len(body)})
        self.end(body)

    def answer_in_pieces(self, pieces: list[bytes]) -> None:
        """Send the whole body, and be done; a long one is not copied for that."""
        size = sum(map(len, pieces))
        if size < COPIED:
            self.answer(b"".join(pieces))
        elif self.alive:
            set_headers(self.request, {b"Content-Length": b"%d" % size})
            for piece in pieces:
                self.request.write(piece)
            self.end()

    def rendered(self, body: bytes | int) -> None:
        """Send what a `render` has returned; NOT_DONE_YET means that it sends the answer itself."""
        if isinstance(body, bytes):
            self.answer(body)

    def end(self, rest: bytes = b"") -> None:
        """Send the rest of the body, and be done."""
        if self.alive:
            self._done = True
            conclude = getattr(self.request, "conclude", None) if rest else None
            if conclude is not None:
                # A request of `txetcd.site`.
                conclude(rest)
                return
            if rest:
                self.request.write(rest)
            self.request.finish()

    def fail(self, failure: Failure) -> None:
        """Something went wrong that should not have."""
        self.log.failure("While answering {uri!r}", failure, uri=self.request.uri)
        self.request.setResponseCode(500)
        self.end()


@implementer(IPushProducer)
class Listing(Late):
    """A listing in pieces: one in each turn of the reactor, as long as the client takes them.

    @param pieces: each is made when it is asked for; those that are empty only stand for work done.
    """

    def __init__(self, request: Request, pieces: Iterator[bytes], reactor: IReactorTime) -> None:
        super().__init__(request, self._stop)
        self._pieces = pieces
        self._reactor = reactor
        self._paused = False
        self._call: IDelayedCall | None = None
        request.registerProducer(self, True)
        self.resumeProducing()

    def _produce(self) -> None:
        """Send the next piece, which may pause this."""
        self._call = None
        piece = next(self._pieces, None)
        if piece is None:
            self.request.unregisterProducer()
            self.end()
            return
        if piece:
            self.request.write(piece)
        if not self._paused:
            self.resumeProducing()

    def resumeProducing(self) -> None:
        """Send more, from the next turn on."""
        self._paused = False
        if self.alive and self._call is None:
            self._call = self._reactor.callLater(0, self._produce)

    def pauseProducing(self) -> None:
        """Send nothing for now."""
        self._paused = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def stopProducing(self) -> None:
        """Send no more."""
        self._done = True
        self._stop()

    def _stop(self) -> None:
        self.pauseProducing()
        self._pieces = iter(())


@implementer(IPushProducer)
class Streaming(Late):
    """A watch for all events, past ones first, sent as fast as the client reads.

    @param encode: makes the bytes of an event.
    @raise EtcdError: 401, when the first of them is too old to be known.
    """

    def __init__(
        self, request: Request, store: Store, query: Watch, encode: Callable[[Event], bytes]
    ) -> None:
        super().__init__(request, self._unwatch)
        self._store = store
        self._encode = encode
        self._timeout: IDelayedCall | None = None
        self._queue: deque[Event] = deque()
        self._paused = True
        self._live = False
        self._backlog = 0
        self._watcher: Watcher | None = None
        self._watcher = store.stream(
            query.key, self._notify, self._ended, recursive=query.recursive, since=query.since
        )
        if query.timeout:
            self._timeout = store.reactor.callLater(query.timeout, self._ended)
        self._live = True
        request.registerProducer(self, True)
        request.write(b"")
        self.resumeProducing()

    def _notify(self, event: Event) -> None:
        self._queue.append(event)
        if not self._paused:
            self.resumeProducing()
        elif self._live:
            self._backlog += len(event.to_json())
            if self._backlog > STREAM_BACKLOG:
                self.log.info("A stream of {uri!r} is closed: its reader is too slow", uri=self.request.uri)
                self._unwatch()
                cast(ITCPTransport, self.request.channel.transport).abortConnection()

    def resumeProducing(self) -> None:
        """The client can take more."""
        self._paused = False
        while self._queue and not self._paused and self.alive:
            self.request.write(self._encode(self._queue.popleft()))
        if not self._queue:
            self._backlog = 0

    def pauseProducing(self) -> None:
        """The client cannot take more for now."""
        self._paused = True

    def stopProducing(self) -> None:
        """The client will take no more."""
        self._done = True
        self._unwatch()

    def _unwatch(self) -> None:
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()
        if self._watcher is not None:
            self._store.unwatch(self._watcher)
        self._queue.clear()

    def _ended(self) -> None:
        """End the answer: the store is stopped, or the reader too slow."""
        self._unwatch()
        if self.alive:
            self.request.unregisterProducer()
            self.end()
