"""HTTP conversations with a Site in memory: no sockets, no reactor, no waiting.

    talk = conversation(site)
    response = talk.request("GET", "/v2/keys/foo?recursive=true", [("Accept", "*/*")])
    response.status, response.header("X-Etcd-Index"), response.body

It works with `txetcd.site.Site` and `twisted.web.server.Site` alike. Time is `talk.clock`, the one the site
was made with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, AnyStr

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

Text = str | bytes

# Where the client is.
PEER = IPv4Address("TCP", "192.0.2.1", 54321)


@implementer(ITransport, IConsumer, IPushProducer)
class MemoryTransport:
    """A server's transport whose client is the test.

    While `client_reads` is False, output piles up as in a TCP transport: its producer is paused above 64 KiB,
    and resumed when the client has read everything.
    """

    BUFFER = 65_536

    def __init__(self) -> None:
        self.received = bytearray()
        self.unsent = bytearray()
        self.writes = 0
        self.client_reads = True
        self.paused = False
        self.disconnecting = False
        self.aborted = False
        self.producer: Any = None
        self._producer_paused = False

    def write(self, data: bytes) -> None:
        if self.aborted:
            return
        self.writes += 1
        if self.client_reads:
            self.received += data
            return
        self.unsent += data
        if self.producer is not None and len(self.unsent) > self.BUFFER:
            self._producer_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def read(self) -> None:
        """Let the client read all that waits for it now."""
        self.received += self.unsent
        self.unsent.clear()
        if self._producer_paused and self.producer is not None:
            self._producer_paused = False
            self.producer.resumeProducing()

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.aborted = True
        self.unsent.clear()

    def getPeer(self) -> IPv4Address:
        return PEER

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.2", 4001)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError("a producer is registered already")
        assert streaming, "only push producers are used here"
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.loseConnection()


@dataclass(frozen=True)
class Response:
    """A complete answer; `body` is decoded from chunks."""

    version: bytes
    status: int
    reason: bytes
    headers: Headers
    body: bytes
    chunks: tuple[bytes, ...] = ()

    def header(self, name: AnyStr) -> AnyStr | None:
        """Give the only value of a header, None if it is absent; str for a str, bytes for bytes."""
        values = self.headers.getRawHeaders(name, [])
        assert len(values) < 2, f"{name!r} came {len(values)} times"
        return values[0] if values else None


class Conversation:
    """One connection to a site, seen from the client."""

    def __init__(self, factory: Any, clock: Clock, peer: object = PEER) -> None:
        self.clock = clock
        self.transport = MemoryTransport()
        self.protocol = factory.buildProtocol(peer)
        self.connected = self.protocol is not None
        self._methods: list[bytes] = []
        if self.connected:
            self.protocol.makeConnection(self.transport)
            self.settle()

    @property
    def closed(self) -> bool:
        """Whether the server has closed or aborted the connection, or refused it, or the client has gone."""
        self.settle()
        return not self.connected

    def send(self, data: bytes) -> bytes:
        """Send raw bytes; return what has come back and was not taken before."""
        if self.connected and not self.transport.disconnecting:
            self.protocol.dataReceived(data)
        return self.receive()

    def receive(self) -> bytes:
        """Take the raw bytes that have come back."""
        self.settle()
        data = bytes(self.transport.received)
        self.transport.received.clear()
        return data

    def begin(
        self, method: Text, target: Text, headers: Iterable[tuple[Text, Text]] = (), body: bytes | None = None
    ) -> None:
        """Send a request, with Host and Content-Length where they are needed; `response` takes the answer."""
        lines = [b"%b %b HTTP/1.1" % (_bytes(method), _bytes(target))]
        names = {_bytes(name).lower() for name, _ in headers}
        if b"host" not in names:
            lines.append(b"Host: 127.0.0.1:4001")
        lines += [b"%b: %b" % (_bytes(name), _bytes(value)) for name, value in headers]
        if body is not None and not names & {b"content-length", b"transfer-encoding"}:
            lines.append(b"Content-Length: %d" % len(body))
        self._methods.append(_bytes(method))
        if self.connected:
            self.protocol.dataReceived(b"\r\n".join([*lines, b"", body or b""]))
        self.settle()

    def response(self) -> Response | None:
        """Take the next answer to what `begin` sent; None if it is not complete."""
        self.settle()
        method = self._methods[0] if self._methods else b"GET"
        parsed = parse_response(bytes(self.transport.received), method, closed=not self.connected)
        if parsed is None:
            return None
        response, size = parsed
        del self.transport.received[:size]
        del self._methods[:1]
        return response

    def so_far(self) -> Response | None:
        """Give what there is of an answer, complete or not, without taking it; None before its head ends."""
        self.settle()
        method = self._methods[0] if self._methods else b"GET"
        parsed = parse_response(bytes(self.transport.received), method, closed=True, partial=True)
        return parsed and parsed[0]

    def request(
        self, method: Text, target: Text, headers: Iterable[tuple[Text, Text]] = (), body: bytes | None = None
    ) -> Response:
        """Send a request and take its answer, which must come at once."""
        self.begin(method, target, headers, body)
        response = self.response()
        assert response is not None, f"no complete answer: {bytes(self.transport.received)!r}"
        return response

    def disconnect(self, reason: Exception | None = None) -> None:
        """Go away without a word."""
        self._lose(reason or ConnectionDone())

    def settle(self) -> None:
        """Let the transport do what a reactor would have done by now."""
        if self.connected and self.transport.aborted:
            self._lose(ConnectionAborted())
        elif self.connected and self.transport.disconnecting and not self.transport.unsent:
            self._lose(ConnectionDone())

    def _lose(self, reason: Exception) -> None:
        if self.connected:
            self.connected = False
            producer = self.transport.producer
            if producer is not None:
                self.transport.unregisterProducer()
                producer.stopProducing()
            self.protocol.connectionLost(Failure(reason))


def conversation(factory: Any, clock: Clock | None = None) -> Conversation:
    """Connect to a site in memory. The clock is the site's own if it is not given."""
    if clock is None:
        clock = factory.clock if hasattr(factory, "clock") else factory.reactor
    return Conversation(factory, clock)


def parse_response(
    data: bytes, method: bytes, closed: bool, partial: bool = False
) -> tuple[Response, int] | None:
    """Parse the first answer in `data` (after 100 Continue) and tell its length; None if incomplete."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.split(b"\r\n")
    version, status, reason = (first + b" ").split(b" ", 2)
    if status == b"100":
        rest = parse_response(body, method, closed, partial)
        return rest and (rest[0], rest[1] + len(head) + 4)
    headers = Headers()
    for line in lines:
        name, _, value = line.partition(b": ")
        headers.addRawHeader(name, value)
    size: int | None
    chunks: list[bytes] = []
    length = headers.getRawHeaders(b"Content-Length")
    if method == b"HEAD" or status in (b"204", b"304"):
        size = 0
    elif headers.hasHeader(b"Transfer-Encoding"):
        assert length is None, "both Content-Length and Transfer-Encoding"
        size = _read_chunks(body, chunks)
    elif length is not None:
        size = int(length[0]) if len(body) >= int(length[0]) else None
    else:
        size = len(body) if closed else None
    if size is None:
        if not partial:
            return None
        size = len(body)
    content = b"".join(chunks) if chunks or headers.hasHeader(b"Transfer-Encoding") else body[:size]
    response = Response(version, int(status), reason.rstrip(b" "), headers, content, tuple(chunks))
    return response, len(head) + 4 + size


def _read_chunks(body: bytes, chunks: list[bytes]) -> int | None:
    at = 0
    while True:
        end = body.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(body[at:end], 16)
        start, at = end + 2, end + 2 + size + 2
        if len(body) < at:
            return None
        assert body[at - 2 : at] == b"\r\n", "a chunk without its end"
        if size == 0:
            return at
        chunks.append(body[start : at - 2])


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
