"""Output that goes straight to the socket: no faster than others have their turn."""

from __future__ import annotations

from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from txetcd.site.sending import BURST, PIECE, Sender


class Socket:
    """Takes everything at once."""

    def __init__(self) -> None:
        self.taken = 0

    def send(self, data: bytes) -> int:
        self.taken += len(data)
        return len(data)


class Transport:
    """Keeps what is left to it."""

    TLS = False
    producerPaused = False

    def __init__(self) -> None:
        self.left = b""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """There is only one."""

    def write(self, data: bytes) -> None:
        self.left += data


class BurstTests(SynchronousTestCase):
    """A peer that takes everything, and a producer that always has more."""

    def setUp(self) -> None:
        self.sender = cast(Any, Sender())
        self.transport = Transport()
        self.sender.transport = self.transport
        self.sender.connectionMade()
        self.socket = Socket()
        self.sender._socket = self.socket

    def resumeProducing(self) -> None:
        self.sender.write(b"x" * PIECE)

    def stopProducing(self) -> None:
        """There is nothing to stop."""

    def assert_a_burst(self) -> None:
        self.assertLess(self.socket.taken, BURST)
        self.assertEqual(self.socket.taken + len(self.transport.left), BURST)
        self.assertTrue(self.transport.producerPaused)

    def test_pull_producer(self) -> None:
        self.sender.registerProducer(self, False)
        self.assert_a_burst()
        self.transport.left, self.socket.taken = b"", 0
        self.sender.resumeProducing()
        self.assert_a_burst()

    def test_many_writes(self) -> None:
        for _ in range(2 * BURST // PIECE):
            self.sender.write(b"x" * PIECE)
        self.assert_a_burst()
