"""HTTP/1.1 as a client: what comes of an answer's bytes, and of a connection that ends anywhere in them."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txetcd.journal.etcd.connection import HEAD_BYTES, Connection, Exchange, ResponseReader
from txetcd.journal.etcd.wire import EngineError

COUNTED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 404 Not Found\r\ntransfer-encoding: Chunked\r\n\r\n"
    b"3\r\nhel\r\n2;why=not\r\nlo\r\n0\r\nA-Trailer: x\r\n\r\n"
)
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\nhello"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Reading:
    """Reads one response."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.pieces: list[bytes] = []
        self.reader = ResponseReader(self.statuses.append, self.pieces.append)

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


class ResponseReaderTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """However it is cut."""
        for response, status, body in (
            (COUNTED, 200, b"hello"),
            (CHUNKED, 404, b"hello"),
            (EMPTY, 200, b""),
        ):
            for size in (1, 2, 3, 7, len(response)):
                read = Reading()
                for start in range(0, len(response), size):
                    self.assertFalse(read.reader.ended)
                    read.reader.feed(response[start : start + size])
                self.assertTrue(read.reader.ended)
                self.assertTrue(read.reader.lasting)
                self.assertEqual((read.statuses, read.body), ([status], body))

    def test_until_it_is_closed(self) -> None:
        read = Reading()
        read.reader.feed(UNTIL_CLOSED)
        self.assertFalse(read.reader.ended)
        read.reader.close()
        self.assertTrue(read.reader.ended)
        self.assertFalse(read.reader.lasting)
        self.assertEqual(read.body, b"hello")

    def test_the_last(self) -> None:
        """Whoever says that it ends the connection is believed, and HTTP/1.0 always does."""
        for response in (
            COUNTED.replace(b"Content-Type", b"connection: Close\r\nX"),
            COUNTED.replace(b"1.1", b"1.0"),
        ):
            read = Reading()
            read.reader.feed(response)
            self.assertTrue(read.reader.ended)
            self.assertFalse(read.reader.lasting)

    def test_not_whole(self) -> None:
        for response in (COUNTED, CHUNKED, UNTIL_CLOSED[:-6]):
            for end in range(len(response)):
                read = Reading()
                read.reader.feed(response[:end])
                self.assertRaises(EngineError, read.reader.close)

    def test_pieces_come_at_once(self) -> None:
        """A stream's answers are not kept back."""
        read = Reading()
        read.reader.feed(CHUNKED[: CHUNKED.index(b"2;")])
        self.assertEqual(read.pieces, [b"hel"])

    def test_no_http(self) -> None:
        for response in (
            b"\x15\x03\x03\r\n\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            CHUNKED.replace(b"2;", b"z;"),
            CHUNKED.replace(b"2;", b"-2;"),
            CHUNKED.replace(b"2;", b"1;"),
            COUNTED + b"more",
            b"x" * (HEAD_BYTES + 1),
            CHUNKED[: CHUNKED.index(b"3\r\n")] + b"0" * (HEAD_BYTES + 1),
        ):
            self.assertRaisesRegex(EngineError, "no etcd v3", Reading().reader.feed, response)


class Transport(StringTransport):
    """A transport that tells its protocol when it is let go of."""

    protocol: Connection
    gone = False

    def abortConnection(self) -> None:
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost()


class ConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.free: list[Connection] = []
        self.connection = Connection(self.free.append)
        self.transport = Transport()
        self.transport.protocol = self.connection
        self.connection.makeConnection(self.transport)
        self.pieces: list[bytes] = []

    def ask(self) -> Exchange:
        return self.connection.ask(b"request", self.pieces.append)

    def assert_gone(self) -> None:
        self.assertTrue(self.transport.gone)
        self.successResultOf(self.connection.closed)
        self.assertEqual(self.free, [])

    def test_one_after_the_other(self) -> None:
        for response, status in ((COUNTED, 200), (CHUNKED, 404)):
            exchange = self.ask()
            self.assertEqual(self.transport.value(), b"request")
            self.transport.clear()
            self.connection.dataReceived(response[:-1])
            self.assertEqual(self.successResultOf(exchange.begun), status)
            self.assertNoResult(exchange.ended)
            self.connection.dataReceived(response[-1:])
            self.successResultOf(exchange.ended)
            self.assertEqual(self.free.pop(), self.connection)
        self.assertEqual(b"".join(self.pieces), b"hellohello")
        self.assertFalse(self.transport.gone)

    def test_the_last(self) -> None:
        exchange = self.ask()
        self.connection.dataReceived(COUNTED.replace(b"1.1", b"1.0"))
        self.successResultOf(exchange.ended)
        self.assert_gone()

    def test_lost(self) -> None:
        """Before the head, and after it."""
        reason = Failure(ConnectionDone())
        exchange = self.ask()
        self.connection.connectionLost(reason)
        self.failureResultOf(exchange.begun, ConnectionDone)
        self.setUp()
        exchange = self.ask()
        self.connection.dataReceived(COUNTED[:-1])
        self.successResultOf(exchange.begun)
        self.connection.connectionLost(reason)
        self.failureResultOf(exchange.ended, ConnectionDone)
        self.successResultOf(self.connection.closed)

    def test_closed_at_the_end(self) -> None:
        exchange = self.ask()
        self.connection.dataReceived(UNTIL_CLOSED)
        self.assertNoResult(exchange.ended)
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(exchange.ended)
        self.assertEqual(b"".join(self.pieces), b"hello")

    def test_no_http(self) -> None:
        exchange = self.ask()
        self.connection.dataReceived(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.failureResultOf(exchange.begun, EngineError)
        self.assert_gone()

    def test_nobody_has_asked(self) -> None:
        self.connection.dataReceived(COUNTED)
        self.assert_gone()

    def test_a_piece_is_refused(self) -> None:
        """The exchange ends with the reason, and no more is handed on."""

        def refuse(piece: bytes) -> None:
            self.pieces.append(piece)
            raise KeyError(piece)

        exchange = self.connection.ask(b"request", refuse)
        self.connection.dataReceived(CHUNKED)
        self.failureResultOf(exchange.ended, KeyError)
        self.assertEqual(self.pieces, [b"hel"])
        self.assert_gone()

    def test_cancelled(self) -> None:
        for begun in (False, True):
            self.setUp()
            exchange = self.ask()
            if begun:
                self.connection.dataReceived(COUNTED[:-5])
            waiting = exchange.ended if begun else exchange.begun
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
            self.assert_gone()

    def test_cancelled_by_who_gets_a_piece(self) -> None:
        def cancel(piece: bytes) -> None:
            self.pieces.append(piece)
            exchange.ended.cancel()

        exchange = self.connection.ask(b"request", cancel)
        self.connection.dataReceived(CHUNKED)
        self.failureResultOf(exchange.ended, CancelledError)
        self.assertEqual(self.pieces, [b"hel"])
        self.assert_gone()
