"""Bodies as clients have them: read whole or in pieces, given up, cut short; and sent."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface.verify import verifyObject

from txetcd.bodies import BytesProducer, read, read_whole


class Response:
    """An answer whose body comes when the test says so."""

    def __init__(self) -> None:
        self.transport: Any = StringTransport()

    def deliverBody(self, protocol: Protocol) -> None:
        self.protocol = protocol
        protocol.makeConnection(self.transport)

    def receive(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.protocol.dataReceived(piece)

    def end(self, reason: Exception) -> None:
        self.protocol.connectionLost(Failure(reason))


class ReadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.response = Response()
        self.given = cast(IResponse, self.response)

    def test_whole(self) -> None:
        reading = read_whole(self.given)
        self.response.receive(b"a", b"b")
        self.assertNoResult(reading)
        self.response.end(ResponseDone())
        self.assertEqual(self.successResultOf(reading), b"ab")
        self.assertFalse(self.response.transport.disconnecting)

    def test_pieces(self) -> None:
        pieces: list[bytes] = []
        reading = read(self.given, pieces.append)
        self.response.receive(b"a", b"b")
        self.assertEqual(pieces, [b"a", b"b"])
        self.response.end(ResponseDone())
        self.successResultOf(reading)

    def test_cut_short(self) -> None:
        reading = read_whole(self.given)
        self.response.receive(b"a")
        self.response.end(ConnectionLost())
        failure = self.failureResultOf(reading, ResponseFailed)
        failure.value.reasons[0].trap(ConnectionLost)

    def test_nobody_wants_it(self) -> None:
        """What takes the pieces fails: that is told, and it gets no more."""
        pieces: list[bytes] = []

        def received(piece: bytes) -> None:
            pieces.append(piece)
            raise KeyError(piece)

        reading = read(self.given, received)
        self.response.receive(b"a", b"b")
        self.response.end(ConnectionLost())
        self.failureResultOf(reading, KeyError)
        self.assertEqual(pieces, [b"a"])
        self.assertTrue(self.response.transport.disconnecting)

    def test_cancelled(self) -> None:
        """The connection does not stay with an answer on its way."""
        reading = read_whole(self.given)
        self.response.receive(b"a")
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        self.assertTrue(self.response.transport.disconnecting)
        self.response.receive(b"b")
        self.response.end(ConnectionLost())


class SentTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        producer = BytesProducer(b"body")
        verifyObject(IBodyProducer, producer)
        transport: Any = StringTransport()
        self.successResultOf(producer.startProducing(transport))
        self.assertEqual((producer.length, transport.value()), (4, b"body"))
