"""The bodies of HTTP as its clients have them: sent out of memory, and read as they come.

Twisted's own serve less well: `FileBodyProducer` writes only while a reactor runs, and when `readBody` is
cancelled, the connection of an `Agent` stays, with an answer on its way.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer


def read(response: IResponse, received: Callable[[bytes], object]) -> Deferred[None]:
    """Read the body of an answer.

    @param received: called with each piece; what it raises ends the reading.
    @return: fires when the body is whole.  Fails with `ResponseFailed` when the connection is lost before,
        with what `received` raises otherwise.  Cancel it to close the connection.
    """
    reader = _Reader(received)
    response.deliverBody(reader)
    return reader.done


def read_whole(response: IResponse) -> Deferred[bytes]:
    """Read the body of an answer into memory.

    @return: fires with it, and fails as `read` does.
    """
    pieces: list[bytes] = []
    return read(response, pieces.append).addCallback(lambda _: b"".join(pieces))


class _Reader(Protocol):
    """Hands on a body until it ends, or nobody wants more of it."""

    def __init__(self, received: Callable[[bytes], object]) -> None:
        self._received = received
        self.done: Deferred[None] = Deferred(lambda _: self._give_up(CancelledError()))

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        if self.done.called:
            return
        try:
            self._received(data)
        except Exception as error:
            self._give_up(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(None)
        else:
            self.done.errback(Failure(ResponseFailed([reason])))

    def _give_up(self, error: Exception) -> None:
        self.done.errback(Failure(error))
        if self.transport is not None:
            self.transport.loseConnection()


@implementer(IBodyProducer)
class BytesProducer:
    """The body of a request, written at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See `IBodyProducer`."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """See `IBodyProducer`."""

    def resumeProducing(self) -> None:
        """See `IBodyProducer`."""

    def stopProducing(self) -> None:
        """See `IBodyProducer`."""
