"""Twisted's TLS, with a short way for what nearly everything is: a record comes in, and one goes out.

It knows nothing of certificates and of who may come in.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from txetcd.sockets import send_at_once
from txetcd.tls.records import CAPACITY, OVERHEAD, Records

# Bytes asked of OpenSSL at a time.
_PIECE = 32_768


class Nothing:
    """Stands for OpenSSL's part of a connection until the client has said something.

    That takes much memory, which a client should not get for connecting.
    """

    def set_accept_state(self) -> None:
        """It will be the server's end."""

    def set_app_data(self, data: object) -> None:
        """Nobody calls back."""

    def do_handshake(self) -> None:
        """Wait for the client."""
        raise SSL.WantReadError

    def recv(self, size: int) -> bytes:
        """Give nothing, for nothing has come."""
        raise SSL.WantReadError

    def bio_read(self, size: int) -> bytes:
        """Give nothing, for there is nothing to send."""
        raise SSL.WantReadError

    def bio_shutdown(self) -> None:
        """Nothing more will come."""

    def shutdown(self) -> bool:
        """Say no goodbye: there is no TLS to end."""
        return False


NOTHING = Nothing()


class PromptTLS(TLSMemoryBIOProtocol):
    """A server's end of TLS that does little for each record.

    Twisted's own asks OpenSSL for more until an exception says that there is nothing, puts off what is
    written to the next turn of the reactor, and lets the transport wait until the socket can be written to.
    Once a connection is `established`, none of that is done for a record that arrives alone: what the
    protocol above writes meanwhile is sent together when it returns, and at once.  Everything else, messages
    of TLS itself and the end among it, goes Twisted's way.

    @ivar established: the handshake is done, there will be no other, and the protocol above is the one that
        the client came for.
    """

    established = False
    # The transport, where it is TCP and nothing else.
    _tcp: Connection | None = None
    # Bytes that OpenSSL may yet keep back for more to be sent with them.
    _patience = 0

    def __init__(self, factory: Any, wrappedProtocol: Any, _connectWrapped: bool = True) -> None:
        super().__init__(factory, wrappedProtocol, _connectWrapped)
        self._records = Records()

    def getHandle(self) -> Any:
        """OpenSSL's part, if there is one yet."""
        connection: Any = self._tlsConnection
        return None if connection is NOTHING else connection

    def makeConnection(self, transport: Any) -> None:
        if isinstance(transport, Connection) and not transport.TLS:
            self._tcp = transport
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """Decrypt what has arrived and give it to the protocol above."""
        if not self._records.is_one(data) or not self.established:
            super().dataReceived(data)
            return
        connection = self._tlsConnection
        connection.bio_write(data)
        try:
            # What is encrypted is never shorter.
            text = connection.recv(len(data))
        except (SSL.WantReadError, SSL.ZeroReturnError):
            # It was a message of TLS.
            self._flushReceiveBIO()
        except SSL.Error:
            self._tlsShutdownFinished(Failure())
        else:
            self._patience = CAPACITY
            try:
                self.wrappedProtocol.dataReceived(text)
            finally:
                written = CAPACITY - self._patience
                self._patience = 0
                if written and self.established:
                    self._send_encrypted(written + OVERHEAD)

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if not self.established or not 0 < len(data) <= CAPACITY:
            super().write(data)
            return
        try:
            self._tlsConnection.send(data)
        except SSL.Error:
            # It fails again there, and is seen to.
            super().write(data)
            return
        self._patience = max(0, self._patience - len(data))
        self._flushSendBIO()

    def loseConnection(self) -> None:
        """Close when everything is sent."""
        self._patience = 0
        super().loseConnection()

    def abortConnection(self) -> None:
        """Close at once."""
        self.established = False
        self._patience = 0
        super().abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.established = False
        super().connectionLost(reason)

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        """TLS has come to its end, for a reason whose traceback leads back here.

        Without that there is no cycle to keep the connection in memory until a collection.
        """
        if reason is not None:
            reason.cleanFailure()
        super()._tlsShutdownFinished(reason)

    def _flushSendBIO(self) -> None:
        """Send what OpenSSL has encrypted, all of it; Twisted calls this too, after whatever it does."""
        if self._patience <= 0:
            self._send_encrypted(_PIECE)

    def _send_encrypted(self, likely: int) -> None:
        """Send what OpenSSL has encrypted, which is a little less than so many bytes, or any number."""
        try:
            while True:
                data = self._tlsConnection.bio_read(likely)
                self._hand_over(data)
                if len(data) < likely:
                    break
                likely = _PIECE
        except SSL.WantReadError:
            # There was nothing.
            pass

    def _hand_over(self, data: bytes) -> None:
        """Send at once what the kernel takes at once, and leave the rest to the transport.

        That would wait for the socket to become writable first.  Nothing goes past what it already has, and
        long pieces are left to it, which joins them.
        """
        tcp = self._tcp
        if (
            tcp is not None
            and len(data) < CAPACITY
            and tcp.connected
            and not (tcp.dataBuffer or tcp._tempDataBuffer)
        ):
            rest = send_at_once(tcp.getHandle(), data)
            if not rest:
                return
            data = bytes(rest)
        transport: Any = self.transport
        transport.write(data)
