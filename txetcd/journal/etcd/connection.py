"""A connection to a member: HTTP/1.1, one request at a time, and its answer as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from txetcd.journal.etcd.wire import EngineError

# How long the head of an answer, or a line between the chunks of one, may be, in bytes.
HEAD_BYTES = 65_536

Receive = Callable[[bytes], None]
Free = Callable[["Connection"], None]


class ResponseReader:
    """Understands the bytes of one response.

    @param begun: called with the status when the head is there.
    @param receive: called with each piece of the body.
    @ivar ended: whether it is whole.
    @ivar lasting: whether another can follow on the same connection.
    """

    def __init__(self, begun: Callable[[int], None], receive: Receive) -> None:
        self._begun = begun
        self.receive = receive
        self.ended = False
        self.lasting = True
        self._data = bytearray()
        self._read: Callable[[], bool] = self._head
        # How much of the body is still to come, if it was said how long it is.
        self._left = 0

    def feed(self, data: bytes) -> None:
        """Take in what came.

        @raise EngineError: when it is no HTTP.
        """
        self._data += data
        while not self.ended and self._read():
            pass
        if self.ended and self._data:
            raise EngineError(_NO_HTTP)

    def close(self) -> None:
        """No more comes.

        @raise EngineError: when something is missing.
        """
        if not self.ended and self._read != self._rest:
            raise EngineError("the connection was closed before the answer was whole")
        self.ended = True

    # Each of these reads one part if it is there, and says whether it was.

    def _head(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return self._more()
        line, *fields = bytes(self._data[:end]).split(b"\r\n")
        del self._data[: end + 4]
        version, _, rest = line.partition(b" ")
        try:
            status = int(rest[:3])
        except ValueError:
            raise EngineError(_NO_HTTP) from None
        if not version.startswith(b"HTTP/1."):
            raise EngineError(_NO_HTTP)
        headers = {}
        for field in fields:
            name, _, text = field.partition(b":")
            headers[name.lower()] = text.strip().lower()
        self.lasting = version == b"HTTP/1.1" and headers.get(b"connection") != b"close"
        if headers.get(b"transfer-encoding") == b"chunked":
            self._read = self._chunk
        elif b"content-length" in headers:
            self._left = _number(headers[b"content-length"], 10)
            self._read = self._counted
        else:
            self.lasting = False
            self._read = self._rest
        self._begun(status)
        return True

    def _counted(self) -> bool:
        if len(self._data) < self._left:
            self._left -= len(self._data)
            return self._rest()
        self._take(0, self._left)
        self.ended = True
        return True

    def _rest(self) -> bool:
        if self._data:
            self._take(0, len(self._data))
        return False

    def _chunk(self) -> bool:
        end = self._data.find(b"\r\n")
        if end < 0:
            return self._more()
        size = _number(bytes(self._data[:end]).partition(b";")[0].strip(), 16)
        start = end + 2
        if not size:
            del self._data[:start]
            self._read = self._trailer
        elif len(self._data) < start + size + 2:
            return False
        elif self._data[start + size : start + size + 2] != b"\r\n":
            raise EngineError(_NO_HTTP)
        else:
            self._take(start, start + size, 2)
        return True

    def _trailer(self) -> bool:
        end = self._data.find(b"\r\n")
        if end < 0:
            return self._more()
        del self._data[: end + 2]
        self.ended = end == 0
        return True

    def _more(self) -> bool:
        if len(self._data) > HEAD_BYTES:
            raise EngineError(_NO_HTTP)
        return False

    def _take(self, start: int, end: int, behind: int = 0) -> None:
        """Hand on a part of what is there, and forget all up to so many bytes behind it."""
        piece = bytes(self._data[start:end])
        del self._data[: end + behind]
        self.receive(piece)


class Exchange:
    """A request and its answer.

    @ivar begun: fires with the status; if it fails, nothing comes of `ended`.
    @ivar ended: fires when the answer is whole.  Cancel either to want no more of it: the connection goes.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self.begun: Deferred[int] = Deferred(lambda _: cancel())
        self.ended: Deferred[None] = Deferred(lambda _: cancel())

    def failed(self, failure: Failure) -> None:
        """There is no answer, or not all of it; what was said before stands."""
        waiting: Deferred[Any] = self.ended if self.begun.called else self.begun
        if not waiting.called:
            waiting.errback(failure)


class Connection(Protocol):
    """A connection that lasts.

    @param free: called when another request can be made.
    @ivar closed: fires when it is no more.
    """

    def __init__(self, free: Free) -> None:
        self._free = free
        self.closed: Deferred[None] = Deferred()
        self._exchange: Exchange | None = None
        self._reader: ResponseReader | None = None

    def ask(self, request: bytes, receive: Receive) -> Exchange:
        """Make a request.

        @param receive: called with each piece of the body; what it raises ends the exchange, and the
            connection.
        """
        assert self._exchange is None and self.transport is not None
        exchange = self._exchange = Exchange(self.abort)
        self._reader = ResponseReader(exchange.begun.callback, receive)
        self.transport.write(request)
        return exchange

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        reader, exchange = self._reader, self._exchange
        if reader is None or exchange is None:
            # Nobody has asked.
            self.abort()
            return
        try:
            reader.feed(data)
        except Exception:
            self.abort()
            exchange.failed(Failure())
            return
        # Whoever got a piece may want no more.
        if reader.ended and reader is self._reader:
            self._over()
            if reader.lasting:
                self._free(self)
            else:
                self.abort()
            exchange.ended.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        reader, exchange = self._reader, self._exchange
        self._over()
        self.closed.callback(None)
        if reader is None or exchange is None:
            return
        try:
            reader.close()
        except EngineError:
            exchange.failed(reason)
        else:
            exchange.ended.callback(None)

    def _over(self) -> None:
        self._reader = self._exchange = None

    def abort(self) -> None:
        """Let go of it at once: to say goodbye would take a member that listens."""
        if self._reader is not None:
            self._reader.receive = _ignore
        self._over()
        transport: Any = self.transport
        transport.abortConnection()


_NO_HTTP = "this is no etcd v3 that answers"


def _number(text: bytes, base: int) -> int:
    # int() takes signs and underscores, too.
    if not text.isalnum():
        raise EngineError(_NO_HTTP)
    try:
        return int(text, base)
    except ValueError:
        raise EngineError(_NO_HTTP) from None


def _ignore(data: bytes) -> None:
    """For what comes too late."""
