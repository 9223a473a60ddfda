"""What the TLS tests share: files, and Python's own TLS client connected in memory to a Twisted server."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.certificates import LOOPBACK, SERVER, Authority, Credentials, pem

T = TypeVar("T")


@implementer(IProtocolNegotiationFactory)
class Recorder(Factory):
    """Answers whatever arrives with `served`, keeps it in `received`, and says when it is `closed`."""

    def __init__(self) -> None:
        self.received = b""
        self.closed: Deferred[None] = Deferred()

    def buildProtocol(self, addr: object) -> Protocol:
        recorder = self

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


class MemoryClient:
    """A TLS client connected in memory to a server that has `options`."""

    def __init__(
        self,
        options: CertificateOptions,
        context: ssl.SSLContext,
        host: str = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.recorder = Recorder()
        self.clock = Clock()
        self.transport = StringTransport()
        self.server = TLSMemoryBIOFactory(options, False, self.recorder, self.clock).buildProtocol(None)
        self.server.makeConnection(self.transport)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host, session=session)

    def exchange(self) -> bytes:
        """Shake hands, send a request, and return the answer; raises ssl.SSLError with the server's alert."""
        self._until_done(self.tls.do_handshake)
        self.tls.write(b"request")
        return self._until_done(lambda: self.tls.read(100))

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

    def file(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path

    def context(
        self, client: Credentials | None = None, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """A client that trusts `ca` alone, shows `client`, and speaks `version` alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=pem(self.ca.certificate).decode())
        if client is not None:
            context.load_cert_chain(*client.write(self.directory, "client"))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context
