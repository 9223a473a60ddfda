"""One connection of a `txetcd.site.Site`: it reads a request, has it answered, and only then reads the next.

How requests read is in `http1`, how output is paced in `sending`, what resources see in `request`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES
from zope.interface import implementer

from txetcd.site.cache import REQUEST, Cache
from txetcd.site.http1 import (
    ChunkedBody,
    Head,
    HeadReader,
    Refused,
    SizedBody,
    end_of_empty_lines,
    find_head_end,
)
from txetcd.site.request import Request
from txetcd.site.sending import PIECE, Sender
from txetcd.turns import Turns

# Bytes of further requests that are read ahead while one is being answered.
READ_AHEAD = 65_536
# Requests sent ahead that are answered in one go, when they have their turn.
AT_ONCE = 16
# Unsent bytes of output above which the peer has `STALLED` seconds to take some, instead of the idle time.
BACKLOG = 1_048_576
STALLED = 10.0
# Seconds that a closed connection may take to get its last bytes out before it is aborted.
LINGER = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one Site takes from its clients.

    @param body: bytes of a request's body.
    @param header_bytes: bytes of the request line and all headers together.
    @param headers: number of headers.
    @param connections: number of connections served at a time; 0 for any number.
    @param connections_per_address: number of those that may come from one IPv4 address, or one IPv6 network
        of 64 bits; 0 for any number. Clients on the same machine are not counted.
    @param idle: seconds that a connection may be without a request, that the head of a request may take to
        arrive, and then its body, and that output may wait without the client taking any of it. A request
        that is being answered may take for ever.
    """

    body: int = 1_572_864
    header_bytes: int = 65_536
    headers: int = 100
    connections: int = 10_000
    connections_per_address: int = 5_000
    idle: float = 60.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that no resource gets to see."""

    status: int
    body: bytes
    content_type: bytes = b"text/plain; charset=utf-8"


class Observer(Protocol):
    """Is told how each request ended, and must not raise."""

    def answered(self, request: Request, seconds: float) -> None:
        """An answer is complete, or the client has gone before it was.

        @param seconds: since the request had been read and its turn had come.
        """

    def refused(self, peer: IAddress | None, status: int) -> None:
        """A request, or a connection, was refused before any resource was asked."""


class Owner(Protocol):
    """What a channel asks of its site."""

    clock: IReactorTime
    limits: Limits
    turns: Turns
    observers: Sequence[Observer]
    cache: Cache | None

    def opened(self, channel: Channel) -> str | None:
        """There is a new connection; say why it may not stay, None if it may."""

    def gone(self, channel: Channel) -> None:
        """A connection is no more."""

    def refuse(self, status: int, reason: str) -> Refusal:
        """Make the answer to a request that no resource gets to see."""

    def date(self) -> bytes:
        """Give the present time as HTTP writes it."""


@implementer(IHalfCloseableProtocol)
class Channel(Sender):
    """One connection.

    `_request` is the request being answered, `_body` (with `_head`) what reads the body of the next one,
    `_buffer` what has arrived and is not used yet. While `_request` is set, output waits, or other
    connections have their turn (`_waits`), the buffer is left alone; reading from the network goes on, so
    that a disconnect is noticed, until more than `READ_AHEAD` bytes wait.
    """

    host: IAddress

    def __init__(self, site: Owner, peer: IAddress | None) -> None:
        super().__init__()
        self.site = site
        self.factory: Any = site
        self.peer = peer
        # Whether the connection may stay open after the present request.
        self.persistent = True
        # Whether this is one of the connections that the limits count.
        self.counted = False
        self._buffer = b""
        self._seen = 0
        self._heads = HeadReader(site.limits.headers)
        self._head: Head | None = None
        self._body: SizedBody | ChunkedBody | None = None
        self._request: Request | None = None
        self._paused = False
        # Whether nothing has come yet.
        self._new = True
        # Whether there are requests whose turn has not come.
        self._waits = False
        # Whether the client has said that it sends nothing more.
        self._ended = False
        self._closing = False
        self._closed = False
        self._lingers = False
        self._since = 0.0
        self._observers = site.observers
        self._cache = site.cache
        # The bytes of the present request, if its answer may be kept.
        self._raw = b""
        # When the present request had been read, if anybody wants to know.
        self._began = 0.0

    # What the transport tells.

    def connectionMade(self) -> None:
        super().connectionMade()
        self.host = self.transport.getHost()
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self._moved()
        reason = self.site.opened(self)
        if reason is not None:
            self._refuse(503, reason)

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        if self._buffer:
            self._buffer += data
        else:
            self._buffer = data
        if self._new or not self.site.turns.at_once():
            # Nobody is to wait for all who come at once.
            self._new = False
            self._waits = True
            self.site.turns.ask(self)
            self._settle()
        else:
            self._advance()

    def readConnectionLost(self) -> None:
        """The client will send nothing more, which looks the same whether it waits for an answer or has gone
        away.

        What has been answered is still sent, and requests that wait for their turn are answered; one that is
        being answered is treated as disconnected, as a watch has to be.
        """
        if self._closed:
            self.transport.loseConnection()
        elif self._waits:
            self._ended = True
        else:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our own half of a lingering close is done."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closing = self._closed = True
        self.site.turns.leave(self)
        self._buffer = b""
        self._head = self._body = None
        self._drop_output()
        self.stopProducing()
        request, self._request = self._request, None
        if request is not None:
            request.connectionLost(reason)
            self._tell(request, self.site.clock.seconds())
        self.site.gone(self)

    # What requests ask for.

    def isSecure(self) -> bool:
        """Tell whether the connection is a TLS one."""
        return bool(ISSLTransport.providedBy(self.transport))

    def getPeer(self) -> IAddress | None:
        """Give the client's address."""
        return self.peer

    def getHost(self) -> IAddress:
        """Give the address that the client connected to."""
        return self.host

    def answered(self, keeps_open: bool) -> None:
        """The answer is complete: it is the next request's turn, or the end of the connection."""
        request, self._request = self._request, None
        self._moved()
        if request is not None:
            if self._observers:
                self._tell(request, self._since)
            if request.may_be_kept and keeps_open and self._cache is not None:
                self._cache.keep(self._raw, request)
        self._producer = None
        if keeps_open and self.persistent:
            self._advance()
        else:
            self.loseConnection()

    def loseConnection(self) -> None:
        """Read nothing more, send what has been written and close."""
        if not self._closing:
            self._closing = True
            self._buffer = b""
            self._head = self._body = None
            self._settle()

    def abortConnection(self) -> None:
        """Close without sending what has been written."""
        self._closing = self._closed = self._blocked = True
        self._drop_output()
        self._moved()
        self.transport.abortConnection()

    # What the site asks for.

    def drain(self) -> None:
        """Begin no further request; close as soon as none is being answered."""
        self.persistent = False
        if self._request is None:
            self.loseConnection()

    def check(self, now: float) -> None:
        """Close or abort the connection if it has been inactive for too long at the time `now`."""
        allowed = self.site.limits.idle
        if self._closed:
            allowed = LINGER
        elif self._blocked:
            if self._unsent_size > BACKLOG:
                allowed = min(allowed, STALLED)
        elif self._request is not None:
            return
        if now - self._since >= allowed:
            if self._closed or self._blocked:
                self.abortConnection()
            else:
                self.loseConnection()

    # One request at a time.

    def step(self) -> None:
        """It is this connection's turn to have further requests answered."""
        self._waits = False
        self._advance(AT_ONCE)
        if self._ended and not self._waits:
            self.loseConnection()

    def _advance(self, most: int = 1) -> None:
        """Have requests answered, one after the other, as long as they are there, answered at once and their
        answers find room.

        Output is collected meanwhile and sent in one go.

        @param most: how many; those behind them wait for their turn.
        """
        if self._corked:
            return
        self._corked = True
        try:
            while self._buffer and self._request is None and not (self._blocked or self._waits):
                if not most:
                    self._waits = True
                    break
                most -= 1
                cache = self._cache
                if self._body is not None or len(self._buffer) > REQUEST:
                    # It is not looked up: what waits may be long, and nothing that long is kept.
                    cache = None
                if cache is not None and self._answer_again(cache):
                    continue
                self._request = request = self._read_request() if cache is None else self._read_to_keep(cache)
                if request is None:
                    break
                if self._observers:
                    self._began = self.site.clock.seconds()
                request.process()
                if self._unsent_size >= PIECE:
                    self._flush()
        except Refused as refused:
            self._lingers = True
            self._refuse(refused.status, refused.reason)
        finally:
            self._corked = False
        if self._unsent:
            self._flush()
        if self._pulls:
            self._pull()
        self._settle()
        if self._waits:
            self.site.turns.ask(self)

    def _answer_again(self, cache: Cache) -> bool:
        """Answer the request that is all of the buffer, if the same was answered before and that holds."""
        cached = cache.kept.get(self._buffer)
        if cached is None:
            return False
        if not cached.holds(self.site.date()):
            cache.drop(self._buffer)
            return False
        self._buffer = b""
        self._seen = 0
        self.writeSequence(cached.pieces)
        self._moved()
        if self._observers:
            self._began = self._since
            request = cached.request
            request.client, request.transport = self.peer, self.transport
            self._tell(request, self._since)
            request.transport = None
        return True

    def _read_to_keep(self, cache: Cache) -> Request | None:
        """Take the next request from the buffer, if it is complete; say whether its answer may be kept."""
        raw = self._buffer
        request = self._read_request()
        if (
            request is not None
            and not self._buffer
            and request.method == b"GET"
            and cache.is_again(raw)
            # No password is kept.
            and request.getHeader(b"authorization") is None
        ):
            self._raw = raw
            request.may_be_kept = True
        return request

    def _read_request(self) -> Request | None:
        """Take the next request from the buffer, if it is complete."""
        body, head = self._body, self._head
        if body is None or head is None:
            head = self._read_head()
            if head is None:
                return None
            limit = self.site.limits.body
            length = head.fields.length
            if length == 0:
                return Request(self, head, b"")
            if length is None:
                body = ChunkedBody(limit)
            elif length > limit:
                raise Refused(413, "the request body is too large")
            elif length <= len(self._buffer):
                content, self._buffer = self._buffer[:length], self._buffer[length:]
                return Request(self, head, content)
            else:
                body = SizedBody(length)
            if not self._feed(body):
                self._head, self._body = head, body
                self._moved()
                if head.fields.expects_continue:
                    self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return None
        elif not self._feed(body):
            return None
        self._head = self._body = None
        return Request(self, head, bytes(body.content))

    def _read_head(self) -> Head | None:
        """Take the next head from the buffer, if it is complete."""
        if self._buffer.startswith(b"\r\n"):
            self._buffer = self._buffer[end_of_empty_lines(self._buffer) :]
            if not self._buffer:
                return None
        end = find_head_end(self._buffer, self._seen, self.site.limits.header_bytes)
        if end < 0:
            if not self._seen:
                self._moved()
            self._seen = len(self._buffer)
            return None
        head = self._heads.read(self._buffer[:end])
        self._seen = 0
        self._buffer = self._buffer[end + 4 :]
        return head

    def _feed(self, body: SizedBody | ChunkedBody) -> bool:
        """Move bytes from the buffer into a body; tell whether it is complete."""
        taken = body.feed(self._buffer)
        self._buffer = self._buffer[taken:]
        return body.done

    def _refuse(self, status: int, reason: str) -> None:
        """Give the answer that no resource is asked for, and close."""
        refusal = self.site.refuse(status, reason)
        head = (
            b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n"
            b"Connection: close\r\nDate: %b\r\n\r\n"
        ) % (
            refusal.status,
            RESPONSES.get(refusal.status, b"Refused"),
            refusal.content_type,
            len(refusal.body),
            self.site.date(),
        )
        self.write(head + refusal.body)
        for observer in self._observers:
            observer.refused(self.peer, refusal.status)
        self.loseConnection()

    def _tell(self, request: Request, now: float) -> None:
        """Tell those who observe how a request ended."""
        seconds = now - self._began
        if seconds < 0.0:
            # The clock was set back meanwhile.
            seconds = 0.0
        for observer in self._observers:
            observer.answered(request, seconds)

    # Pace, and the end.

    def _moved(self) -> None:
        self._since = self.site.clock.seconds()

    def _ready(self) -> None:
        self._advance()

    def _settle(self) -> None:
        """Read or not, according to how much waits; close if it is time to."""
        if self._corked or self._closed:
            return
        full = len(self._buffer) > READ_AHEAD
        pause = full and (self._request is not None or self._blocked or self._waits)
        if pause != self._paused:
            self._paused = pause
            if pause:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()
        if self._closing and not self._unsent:
            # Nothing more goes to the transport: it would have no way to say that it is full.
            self._closed = self._blocked = True
            self._moved()
            self.transport.unregisterProducer()
            if self._lingers and ITCPTransport.providedBy(self.transport) and not self.isSecure():
                # The client may still be sending. Closing now would reset the connection, and it would miss
                # the answer.
                self.transport.loseWriteConnection()
            else:
                self.transport.loseConnection()
