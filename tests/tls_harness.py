"""What the TLS tests share: files, and Python's own TLS client connected in memory to a Twisted server."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.certificates import LOOPBACK, SERVER, Authority, Credentials, pem
from txetcd.tls.connection import Factory as SecureFactory
from txetcd.tls.files import files
from txetcd.tls.keeper import Keeper
from txetcd.tls.policy import Policy

T = TypeVar("T")
PEER = IPv4Address("TCP", "192.0.2.7", 50000)


@implementer(IProtocolNegotiationFactory)
class Recorder(Factory):
    """Answers whatever arrives with `served`, keeps it in `received`, and says when it is `closed`."""

    noisy = False

    def __init__(self) -> None:
        self.received = b""
        self.closed: Deferred[None] = Deferred()
        self.made = 0

    def buildProtocol(self, addr: object) -> Protocol:
        recorder = self
        self.made += 1

        class Answer(Protocol):
            def dataReceived(self, data: bytes) -> None:
                recorder.received += data
                assert self.transport is not None
                self.transport.write(b"served")

            def connectionLost(self, reason: Failure = connectionDone) -> None:
                recorder.closed.callback(None)

        return Answer()

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]


class _Transport(StringTransport):
    """With what sites ask of a socket."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass


class MemoryClient:
    """A TLS client connected in memory to a server that has `options`, a keeper of certificates, or all."""

    def __init__(
        self,
        options: CertificateOptions | Keeper | SecureFactory,
        context: ssl.SSLContext,
        host: str = "localhost",
        session: ssl.SSLSession | None = None,
        factory: Factory | None = None,
    ) -> None:
        self.recorder = Recorder()
        self.clock = Clock()
        self.transport = _Transport()
        factory = factory or self.recorder
        self.factory: TLSMemoryBIOFactory
        if isinstance(options, SecureFactory):
            self.factory = options
            assert isinstance(options.clock, Clock)
            self.clock = options.clock
        elif isinstance(options, Keeper):
            self.factory = SecureFactory(options, factory, self.clock, 10, True)
        else:
            self.factory = TLSMemoryBIOFactory(options, False, factory, self.clock)
        self.server = self.factory.buildProtocol(PEER)
        self.server.makeConnection(self.transport)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host, session=session)

    def exchange(self, request: bytes = b"request") -> bytes:
        """Shake hands, send a request, and return the answer; raises ssl.SSLError with the server's alert."""
        self.shake_hands()
        self.tls.write(request)
        return self._until_done(lambda: self.tls.read(65536))

    def shake_hands(self) -> None:
        """Do the handshake, as far as the client can tell; raises ssl.SSLError with the server's alert."""
        self._until_done(self.tls.do_handshake)

    def send(self, data: bytes) -> None:
        """Send something as it is, TLS or not, and take in what the server says to that."""
        self.server.dataReceived(data)
        self.clock.advance(0)

    def close(self, reason: Exception | None = None) -> None:
        """The connection is gone, as the server's transport would tell."""
        self.server.connectionLost(Failure(reason or ConnectionDone()))

    def _until_done(self, step: Callable[[], T]) -> T:
        for _ in range(20):
            try:
                return step()
            except ssl.SSLWantReadError:
                self._pump()
        raise AssertionError("client and server wait for each other")

    def _pump(self) -> None:
        data = self.outgoing.read()
        if data and not self.transport.disconnecting:
            self.server.dataReceived(data)
        self.clock.advance(0)
        self.incoming.write(self.transport.value())
        self.transport.clear()


class TLSCase(SynchronousTestCase):
    """A directory, a CA in `ca.crt`, and a server's `server.crt` and `server.key`."""

    ca = Authority.create("test CA")
    server = ca.issue("server", purposes=[SERVER], hosts=LOOPBACK)

    def setUp(self) -> None:
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)
        self.cert_file, self.key_file = self.server.write(self.directory, "server")
        self.ca_file = self.file("ca.crt", pem(self.ca.certificate))
        self.crl_file: Path | None = None

    def file(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path

    def keeper(self, *, clock: Clock | None = None, **more: Any) -> Keeper:
        """A keeper of the files, with `ca_file` and if there is one `crl_file`."""
        policy = more.pop("policy", Policy())
        named = files(self.cert_file, self.key_file, self.ca_file, self.crl_file)
        return Keeper(named, policy, clock or Clock(), **more)

    @contextmanager
    def logged(self) -> Iterator[list[str]]:
        """What the log says meanwhile, a line each."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        try:
            yield lines
        finally:
            globalLogPublisher.removeObserver(observe)

    def context(
        self, client: Credentials | None = None, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """A client that trusts `ca` alone, shows `client`, however weak, and speaks `version` alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=pem(self.ca.certificate).decode())
        if client is not None:
            context.load_cert_chain(*client.write(self.directory, "client"))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context
