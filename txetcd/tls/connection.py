"""One TLS connection of a server, until the client has been let in and at its end.

`Gate` is what TLS talks to during the handshake; the protocol that the client came for does not exist before
it has passed.  `ServerTLS` is the TLS transport, with an eye for clients that do not speak TLS at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast
from typing import Protocol as TypingProtocol

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from txetcd.tls.refusals import Refusals, objection_to, reason_of
from txetcd.tls.transport import NOTHING, PromptTLS
from txetcd.turns import Turns

# Handshakes at a time: one more, and the oldest has to go.
HANDSHAKES = 1000
# Bytes that a client may say while it waits for its turn; then reading waits, too.
READ_AHEAD = 16_384

# The first byte of every TLS connection: a handshake record.
_HANDSHAKE = b"\x16"
_HTTP = re.compile(rb"[A-Z]{1,20}( |\Z)")
_BAD_REQUEST = b"This port speaks HTTPS: write https:// in front of the address.\n"
PLAIN_HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(_BAD_REQUEST), _BAD_REQUEST)
)


class Doorkeeper(TypingProtocol):
    """What a connection asks of whoever knows the certificates; `txetcd.tls.keeper.Keeper` is one."""

    refusals: Refusals

    def connection(self, ask_clients: bool) -> SSL.Connection:
        """A new connection, of the present context."""

    def objection(self, certificate: x509.Certificate | None) -> str | None:
        """Why a client with this certificate is to be refused now, if it is."""

    def revoked(self, connection: SSL.Connection) -> x509.Certificate | None:
        """The certificate of a connection's client, or one in its chain, that has been revoked since."""

    def counted(self, welcome: bool) -> None:
        """A handshake has come to its end."""

    def opened(self, factory: Factory) -> None:
        """There is one more to tell of changes."""

    def closed(self, factory: Factory) -> None:
        """There is one less."""


@implementer(IHandshakeListener)
class Gate(Protocol):
    """What is above TLS until the client has shown who it is."""

    transport: Any

    def __init__(self, factory: Factory, address: IAddress | None) -> None:
        self._factory = factory
        self._address = address
        self._timer: IDelayedCall | None = None
        self._refused = False

    def connectionMade(self) -> None:
        self._timer = self._factory.clock.callLater(self._factory.timeout, self._time_out)
        self._factory.begun(self)

    def refuse(self, reason: str, certificate: x509.Certificate | None = None) -> None:
        """Say why the client does not come in; the first reason counts."""
        if not self._refused:
            self._refused = True
            self._factory.keeper.refusals.tell(self._address, reason, certificate)

    def handshakeCompleted(self) -> None:
        """Let the client in, or say goodbye before anything of what it says is heard."""
        certificate = None
        try:
            certificate = self.transport.getHandle().get_peer_certificate(as_cryptography=True)
            objection = self._factory.objection(certificate)
        except ValueError as error:
            # An extension that OpenSSL passed over and nobody can read.
            objection = f"its certificate is malformed: {error}"
        if objection is not None:
            self.refuse(objection, certificate)
            self.transport.turn_away()
            return
        self._over(True)
        protocol: Any = self._factory.wrappedFactory.buildProtocol(self._address)
        if protocol is None:
            self.transport.abortConnection()
            return
        self.transport.let_in(protocol)
        if IHandshakeListener.providedBy(protocol):
            protocol.handshakeCompleted()

    def dataReceived(self, data: bytes) -> None:
        """Whatever a refused client says."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is None:
            return
        if isinstance(reason.value, SSL.Error):
            because = reason_of(reason.value)
            if because is not None:
                self.refuse(because)
        self._over(False)

    def drop(self, reason: str | None = None) -> None:
        """Close the connection at once, whatever it is at."""
        if reason is not None:
            self.refuse(reason)
        self.transport.abortConnection()

    def _time_out(self) -> None:
        self.drop(f"its handshake took more than {self._factory.timeout:g} seconds")

    def _over(self, welcome: bool) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._factory.ended(self, welcome)


class ServerTLS(PromptTLS):
    """The server's end of TLS.

    What the client says during the handshake costs signatures: it is heard when it is the connection's turn.
    """

    factory: Factory
    _begun = False
    _deaf = False
    # What has been said since the last turn, and whether reading waits for the next.
    _said = b""
    _paused = False

    def dataReceived(self, data: bytes) -> None:
        """Look at the first byte: what is not TLS never gets to OpenSSL."""
        if self.established:
            super().dataReceived(data)
            return
        if self._deaf:
            return
        if not self._begun:
            self._begun = True
            if data[:1] != _HANDSHAKE:
                self._refuse_what_is_not_tls(data)
                return
        self._said += data
        self.factory.turns.ask(self)
        if len(self._said) > READ_AHEAD and not self._paused:
            self._paused = True
            self._reading().pauseProducing()

    def step(self) -> None:
        """Go on with the handshake."""
        said, self._said = self._said, b""
        if self._paused:
            self._paused = False
            self._reading().resumeProducing()
        if self.getHandle() is None:
            self._tlsConnection = self.factory.connection(self)
        super().dataReceived(said)

    def _reading(self) -> IPushProducer:
        return cast(IPushProducer, self.transport)

    def abortConnection(self) -> None:
        """Close at once."""
        self._hear_no_more()
        super().abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._hear_no_more()
        super().connectionLost(reason)

    def _hear_no_more(self) -> None:
        self._deaf = True
        self._said = b""
        self.factory.turns.leave(self)

    def _refuse_what_is_not_tls(self, data: bytes) -> None:
        self._deaf = True
        gate: Any = self.wrappedProtocol
        if _HTTP.match(data):
            gate.refuse("it speaks plain HTTP")
            transport: Any = self.transport
            transport.write(PLAIN_HTTP_ANSWER)
        else:
            gate.refuse("it does not speak TLS")
        self._hang_up()

    def let_in(self, protocol: IProtocol) -> None:
        """From now on the client talks to this protocol."""
        self.wrappedProtocol = protocol
        self.established = True
        protocol.makeConnection(self)

    def turn_away(self) -> None:
        """End the connection of a client that has come through the handshake: TLS says goodbye, and the
        gate's timer sees to it that it goes.
        """
        self._deaf = True
        self.loseConnection()
        self._hang_up()

    def objected(self, certificate: x509.Certificate | None, error: int) -> None:
        """OpenSSL refuses the client for this certificate."""
        gate: Any = self.wrappedProtocol
        gate.refuse(objection_to(error), certificate)

    def loseConnection(self) -> None:
        """Close when everything is sent; while the server stops, without waiting for the client's goodbye."""
        super().loseConnection()
        if self.factory.stopping:
            self.hurry()

    def unregisterProducer(self) -> None:
        """The last of the output has been written, perhaps."""
        super().unregisterProducer()
        if self.factory.stopping:
            self.hurry()

    def hurry(self) -> None:
        """Close the connection if our own goodbye is on its way.

        Nobody has to wait for the other's, and a client that keeps an idle connection open sends none.
        """
        connection: Any = self.getHandle()
        if self.disconnecting and connection is not None and connection.get_shutdown() & SSL.SENT_SHUTDOWN:
            transport: Any = self.transport
            transport.loseConnection()

    def _hang_up(self) -> None:
        transport: Any = self.transport
        if ITCPTransport.providedBy(transport):
            # The client may still be sending.  Closing now would reset the connection, and it would miss the
            # answer.
            transport.loseWriteConnection()
        else:
            transport.loseConnection()


class Factory(TLSMemoryBIOFactory):
    """Puts TLS, and a gate, in front of what another factory makes.

    @param keeper: knows the certificates.
    @param wrapped: makes the protocols of clients that have come in.
    @param clock: measures time.
    @param timeout: seconds that a handshake may take.
    @param ask_clients: whether they need certificates, where the keeper has CAs.
    """

    protocol = ServerTLS

    def __init__(
        self,
        keeper: Doorkeeper,
        wrapped: IProtocolFactory,
        clock: IReactorTime,
        timeout: float,
        ask_clients: bool,
    ) -> None:
        super().__init__(_Creator(), False, wrapped, clock)
        self.keeper = keeper
        self.clock = clock
        self.timeout = timeout
        self.stopping = False
        self.turns = Turns(clock)
        self._ask_clients = ask_clients
        # In the order in which they came.
        self._gates: dict[Gate, None] = {}

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Make the TLS of a new connection."""
        return self.protocol(self, Gate(self, addr))

    def connection(self, protocol: ServerTLS) -> SSL.Connection:
        """OpenSSL's part of a connection, of the keeper's present context."""
        connection = self.keeper.connection(self._ask_clients)
        connection.set_accept_state()
        connection.set_app_data(protocol)
        return connection

    def startFactory(self) -> None:
        """The first port listens."""
        self.stopping = False
        self.keeper.opened(self)

    def stopFactory(self) -> None:
        """The last port is closed: nobody is waited for any longer."""
        self.stopping = True
        self.keeper.closed(self)
        for gate in list(self._gates):
            gate.drop()
        for protocol in list(self.protocols):
            protocol.hurry()

    def objection(self, certificate: x509.Certificate | None) -> str | None:
        """Why a client with this certificate is to be refused, if it is."""
        return self.keeper.objection(certificate) if self._ask_clients else None

    def begun(self, gate: Gate) -> None:
        """A client has connected."""
        self._gates[gate] = None
        if len(self._gates) > HANDSHAKES:
            oldest = next(iter(self._gates))
            # It ends in a later turn, and more may have begun by then.
            del self._gates[oldest]
            oldest.drop("there are too many handshakes, and its was the oldest")

    def ended(self, gate: Gate, welcome: bool) -> None:
        """A client has come in or has not."""
        self._gates.pop(gate, None)
        self.keeper.counted(welcome)

    def close_revoked(self, tell: Callable[[object, x509.Certificate], None]) -> None:
        """Close the connections of clients whose certificates are revoked by now, and tell of each."""
        for protocol in list(self.protocols):
            connection: Any = protocol.getHandle()
            certificate = None if connection is None else self.keeper.revoked(connection)
            if certificate is not None:
                tell(protocol.getPeer(), certificate)
                protocol.abortConnection()


@implementer(IOpenSSLServerConnectionCreator)
class _Creator:
    """Makes nothing of OpenSSL's before the client has said something."""

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Called by Twisted for each new connection."""
        return cast(SSL.Connection, NOTHING)
