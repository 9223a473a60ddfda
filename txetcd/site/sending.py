"""The sending half of a connection: what has been written and what the peer has not yet taken.

`Sender` is a consumer on top of a transport. It hands output over in pieces, so that it sees the peer taking
it, pushes back on the producer behind it (push or pull), and can tell how much waits. It knows nothing of
HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable
from socket import socket
from typing import Any, cast

from twisted.internet.interfaces import IConsumer, IPullProducer, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from zope.interface import implementer

from txetcd.sockets import send_at_once

# Bytes given to the transport at a time.
PIECE = 65_536
# Bytes sent in one go, before others have their turn.
BURST = 1_048_576


@implementer(IConsumer, IPushProducer)
class Sender(Protocol):
    """A protocol that sends no faster than its peer reads.

    It is the transport's push producer for its whole life, and the consumer of at most one producer at a
    time. Subclasses say what happens when there is room (`_ready`) and when the peer has taken something
    (`_moved`).
    """

    # A transport with everything that TCP and TLS have in common; Twisted has no interface for that.
    transport: Any

    def __init__(self) -> None:
        self._unsent: list[bytes | memoryview] = []
        self._unsent_size = 0
        self._blocked = False
        self._corked = False
        self._wrote = False
        self._producer: IPushProducer | IPullProducer | None = None
        self._pulls = False
        # Where the transport is TCP and nothing else.
        self._socket: socket | None = None
        # Bytes that may still go past the transport before it has its turn, and with it everybody else.
        self._burst = BURST

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        if isinstance(self.transport, Connection) and not self.transport.TLS:
            self._socket = self.transport.getHandle()

    def write(self, data: bytes) -> None:
        """Send `data` as soon as there is room for it."""
        self._wrote = True
        self._collect(data)
        if not self._corked:
            self._flush()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send `pieces` one behind the other."""
        self._wrote = True
        for data in pieces:
            self._collect(data)
        if not self._corked:
            self._flush()

    def _collect(self, data: bytes) -> None:
        if len(data) <= PIECE:
            self._unsent.append(data)
        else:
            view = memoryview(data)
            self._unsent.extend(view[at : at + PIECE] for at in range(0, len(data), PIECE))
        self._unsent_size += len(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Take output from `producer` at the pace of the peer.

        A pull producer is asked for more as long as there is room; it has to write something each time or
        finish.

        @raise RuntimeError: another producer is still registered.
        """
        if self._producer is not None:
            raise RuntimeError(f"{producer!r} cannot produce while {self._producer!r} is registered")
        self._producer = producer
        self._pulls = not streaming
        if self._pulls:
            self._pull()
        elif self._blocked:
            cast(IPushProducer, producer).pauseProducing()

    def unregisterProducer(self) -> None:
        """Take nothing more from the registered producer, if there is one."""
        self._producer = None

    def pauseProducing(self) -> None:
        """Called by the transport when it is full."""
        if not self._blocked:
            self._blocked = True
            self._moved()
            if self._producer is not None and not self._pulls:
                cast(IPushProducer, self._producer).pauseProducing()

    def resumeProducing(self) -> None:
        """Called by the transport when it has sent everything it had."""
        self._blocked = False
        self._burst = BURST
        self._moved()
        self._flush()
        if self._blocked:
            return
        if self._pulls:
            self._pull()
        elif self._producer is not None:
            self._producer.resumeProducing()
        self._ready()

    def stopProducing(self) -> None:
        """Called by the transport when the connection is gone: so is the producer's reason to produce."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()

    def _flush(self) -> None:
        unsent = self._unsent
        while unsent and not self._blocked:
            count = len(unsent)
            if self._unsent_size > PIECE:
                count = size = 0
                while size < PIECE:
                    size += len(unsent[count])
                    count += 1
            data = b"".join(unsent[:count]) if count > 1 else unsent[0]
            del unsent[:count]
            self._unsent_size -= len(data)
            if self._socket is not None:
                self._burst -= len(data)
                if self._burst > 0:
                    data = send_at_once(self._socket, data)
            if data:
                self._hand_over(data)

    def _hand_over(self, data: bytes | memoryview) -> None:
        """Leave `data` to the transport."""
        if self._socket is not None:
            # Nothing goes past what the transport has: it says when it has sent that.
            self.transport.producerPaused = True
            self.pauseProducing()
        self.transport.write(bytes(data))

    def _pull(self) -> None:
        """Ask a pull producer for more while there is room, or until it writes nothing."""
        self._wrote = True
        while (
            self._wrote and self._pulls and self._producer is not None and not (self._blocked or self._corked)
        ):
            self._wrote = False
            self._producer.resumeProducing()

    def _drop_output(self) -> None:
        self._unsent.clear()
        self._unsent_size = 0

    def _moved(self) -> None:
        """The peer has taken some output, or stopped taking it just now."""

    def _ready(self) -> None:
        """There is room for more output."""
