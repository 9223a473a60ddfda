"""What the tests of established TLS connections share: one, and what both sides say."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

from twisted.internet.protocol import Factory as PlainFactory
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.tls_harness import MemoryClient, TLSCase
from txetcd.tls.connection import Factory


class App(Protocol):
    """Keeps what happens to it, and does with data what `react` says."""

    transport: Any

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.lost: Failure | None = None

    def react(self, data: bytes) -> None:
        self.transport.write(b"answer")

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)
        self.react(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class TransportCase(TLSCase):
    version = ssl.TLSVersion.TLSv1_3

    def setUp(self) -> None:
        super().setUp()
        self.app = App()

    def secure(self) -> Factory:
        """Puts TLS in front of `app`."""
        factory = PlainFactory()
        factory.noisy = False
        self.patch(factory, "buildProtocol", lambda _: self.app)
        return Factory(self.keeper(), factory, Clock(), 10, False)

    def connected(self) -> MemoryClient:
        """A client that has been let in, with all that either side says at first behind it."""
        client = MemoryClient(self.secure(), self.context(None, self.version))
        client.exchange(b"first")
        self.app.heard.clear()
        return client

    def encrypted(self, client: MemoryClient, *texts: bytes) -> list[bytes]:
        """The records of these, one each."""
        records = []
        for text in texts:
            client.tls.write(text)
            records.append(client.outgoing.read())
        return records

    def said(self, client: MemoryClient) -> bytes:
        """What the server has said, decrypted."""
        client.incoming.write(client.transport.value())
        client.transport.clear()
        text = b""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while piece := client.tls.read(65536):
                text += piece
        return text
