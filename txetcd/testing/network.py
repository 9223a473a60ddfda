"""A network in memory, on a Clock: connections, the endpoint that makes them, and an Agent on top of that.

What is written arrives in a later turn of the Clock, as on sockets.  Code from outside (a request, a client's
write) has the Clock turned before it gets back control, so that nobody has to pump.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    NoProtocol,
)
from twisted.internet.interfaces import (
    IConsumer,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

# Bytes on their way above which a producer is paused, as in a TCP transport.
BUFFER = 65_536

CLIENT = IPv4Address("TCP", "127.0.0.1", 50_000)
SERVER = IPv4Address("TCP", "127.0.0.1", 4001)


class Turns:
    """Lets what is due on a Clock happen: once, however deep the calls that ask for it are in each other."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._busy = False

    @contextmanager
    def within(self) -> Iterator[None]:
        """Let nothing more happen in the block than the block does: whoever runs it sees to what follows."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    @contextmanager
    def after(self) -> Iterator[None]:
        """Let what is due happen when the block is left, and not before."""
        outermost = not self._busy
        with self.within():
            yield
            if outermost:
                self.clock.advance(0)

    def turn(self) -> None:
        """Let what is due happen now."""
        with self.after():
            pass


@implementer(ITransport, IConsumer, IPushProducer)
class Side:
    """One side of a connection in memory.

    @param is_client: whether it is the one to which things are done from outside.
    """

    protocol: Any
    other: Side

    def __init__(self, turns: Turns, host: IPv4Address, peer: IPv4Address, is_client: bool) -> None:
        self._turns = turns
        self._is_client = is_client
        self._host = host
        self._peer = peer
        self._incoming = bytearray()
        self._ended: Exception | None = None
        self._paused = False
        self._scheduled = False
        self._lost = False
        self._producer: Any = None
        self._producer_paused = False
        self.disconnecting = False

    # What the protocol on this side asks for.

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._gone:
            return
        other = self.other
        other._incoming += data
        other._wake()
        if self._producer is not None and not self._producer_paused and len(other._incoming) > BUFFER:
            self._producer_paused = True
            self._producer.pauseProducing()
        self._turn()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send bytes."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close when the other side has read everything."""
        self.disconnecting = True
        self._finish()
        self._turn()

    def abortConnection(self) -> None:
        """Close at once; what is on its way is lost."""
        if self._gone:
            return
        self.disconnecting = True
        self.other._incoming.clear()
        self._end(ConnectionAborted(), ConnectionLost())
        self._turn()

    def getHost(self) -> IPv4Address:
        """The address of this side."""
        return self._host

    def getPeer(self) -> IPv4Address:
        """The address of the other side."""
        return self._peer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pace a push producer."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if not streaming:
            raise ValueError("a connection in memory takes push producers only")
        self._producer = producer
        self._producer_paused = False

    def unregisterProducer(self) -> None:
        """There is no more to pace."""
        self._producer = None
        self._finish()

    def pauseProducing(self) -> None:
        """Let what arrives wait."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Read again."""
        self._paused = False
        self._wake()
        self._turn()

    def stopProducing(self) -> None:
        """Read no more."""
        self.loseConnection()

    # What happens between the sides.

    @property
    def _gone(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._lost or self._ended is not None

    def _turn(self) -> None:
        if self._is_client:
            self._turns.turn()

    def _finish(self) -> None:
        """Close, if that is wanted and everything has been read."""
        done = self.disconnecting and self._producer is None and not self.other._incoming
        if done and self._ended is None:
            self._end(ConnectionDone(), ConnectionDone())

    def _end(self, mine: Exception, others: Exception) -> None:
        """The connection is over; the other side hears of it when it has read what there is."""
        self._incoming.clear()
        self._paused = False
        for side, reason in ((self, mine), (self.other, others)):
            if side._ended is None:
                side._ended = reason
            side._wake()

    def _wake(self) -> None:
        if not self._scheduled and not self._lost:
            self._scheduled = True
            self._turns.clock.callLater(0, self._receive)

    def _receive(self) -> None:
        """Give the protocol what has arrived, and tell it of the end when that is all."""
        self._scheduled = False
        if self._lost or self._paused:
            return
        with self._turns.within():
            if self._incoming:
                data = bytes(self._incoming)
                self._incoming.clear()
                self.protocol.dataReceived(data)
                self.other._taken()
            if self._ended is not None and not self._incoming:
                self._lost = True
                producer, self._producer = self._producer, None
                if producer is not None:
                    producer.stopProducing()
                self.protocol.connectionLost(Failure(self._ended))

    def _taken(self) -> None:
        """The other side has read everything."""
        if self._producer_paused:
            self._producer_paused = False
            if self._producer is not None:
                self._producer.resumeProducing()
        self._finish()


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """Connects to a server in memory.

    @param turns: of the Clock by which things arrive.
    @param accept: makes the server's protocol for a client; None if there is no server.
    """

    def __init__(self, turns: Turns, accept: Callable[[IPv4Address], IProtocol | None]) -> None:
        self._turns = turns
        self._accept = accept

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`; fails with `ConnectionRefusedError` when there is no server."""
        with self._turns.after():
            serving = self._accept(CLIENT)
            if serving is None:
                return fail(ConnectionRefusedError())
            connecting = protocolFactory.buildProtocol(SERVER)
            if connecting is None:
                return fail(NoProtocol())
            near = Side(self._turns, CLIENT, SERVER, is_client=True)
            far = Side(self._turns, SERVER, CLIENT, is_client=False)
            near.other, far.other = far, near
            near.protocol, far.protocol = connecting, serving
            serving.makeConnection(far)
            connecting.makeConnection(near)
            return succeed(connecting)


@implementer(IAgent, IAgentEndpointFactory)
class MemoryAgent:
    """An HTTP client whose requests reach one server, whatever host they name, each by its own connection."""

    def __init__(self, turns: Turns, endpoint: MemoryEndpoint) -> None:
        self._turns = turns
        self._endpoint = endpoint
        pool = HTTPConnectionPool(turns.clock, persistent=False)
        self._agent = Agent.usingEndpointFactory(turns.clock, self, pool)

    def endpointForURI(self, uri: URI) -> MemoryEndpoint:
        """See `IAgentEndpointFactory`."""
        if uri.scheme != b"http":
            raise SchemeNotSupported(f"there is no TLS in memory: {uri.scheme!r}; use LiveServer for that")
        return self._endpoint

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See `IAgent`."""
        with self._turns.after():
            answer: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
            return answer
