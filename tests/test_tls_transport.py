"""txetcd.tls.transport: what an established connection does with what comes and goes."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any
from unittest import mock

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from tests.test_tls_records import record
from tests.tls_harness import MemoryClient
from tests.transport_harness import TransportCase
from txetcd.tls.connection import Factory
from txetcd.tls.records import CAPACITY


class EstablishedTests(TransportCase):
    """With TLS 1.3."""

    def test_record_alone(self) -> None:
        """It takes one call of OpenSSL to read it, and one piece of output to answer."""
        client = self.connected()
        [data] = self.encrypted(client, b"request")
        with (
            mock.patch.object(SSL.Connection, "recv", autospec=True, side_effect=SSL.Connection.recv) as recv,
            mock.patch.object(client.transport, "write", side_effect=client.transport.write) as write,
        ):
            client.server.dataReceived(data)
        self.assertEqual((recv.call_count, write.call_count), (1, 1))
        self.assertEqual((self.app.heard, self.said(client)), ([b"request"], b"answer"))

    def test_any_cut(self) -> None:
        """Records that come together, in pieces, or byte by byte."""
        for size in (1, 7, 30, 50, 100_000):
            client = self.connected()
            stream = b"".join(self.encrypted(client, b"one", b"two" * 5000, b"three", b"four"))
            for at in range(0, len(stream), size):
                client.server.dataReceived(stream[at : at + size])
            self.assertEqual(self.app.heard, [b"one", b"two" * 5000, b"three", b"four"])
            self.assertEqual(self.said(client), b"answer" * 4)

    def test_message_of_tls_in_a_record_alone(self) -> None:
        """As with new keys: there is nothing for the protocol, and OpenSSL may have an answer."""
        client = self.connected()
        [data] = self.encrypted(client, b"request")
        client.server.getHandle().send(b"reply")
        with mock.patch.object(SSL.Connection, "recv", side_effect=SSL.WantReadError):
            client.server.dataReceived(data)
        self.assertEqual((self.app.heard, self.said(client)), ([], b"reply"))

    def test_half_a_record_behind_one(self) -> None:
        client = self.connected()
        one, two, three = self.encrypted(client, b"one", b"two", b"three")
        for data in (one + two[:3], two[3:], three):
            client.server.dataReceived(data)
        self.assertEqual(self.app.heard, [b"one", b"two", b"three"])

    def test_several_writes_leave_together(self) -> None:
        def react(data: bytes) -> None:
            for piece in (b"a", b"", b"b", b"c"):
                self.app.transport.write(piece)
            self.app.transport.writeSequence([b"d", b"e"])

        client = self.connected()
        self.patch(self.app, "react", react)
        [data] = self.encrypted(client, b"request")
        with mock.patch.object(client.transport, "write", side_effect=client.transport.write) as write:
            client.server.dataReceived(data)
        self.assertEqual((self.said(client), write.call_count), (b"abcde", 1))

    def test_much_is_not_kept_back(self) -> None:
        """A producer can be told to pause before it has written everything."""
        sizes = []

        def react(data: bytes) -> None:
            for _ in range(100):
                self.app.transport.write(b"x" * 1000)
                sizes.append(len(client.transport.value()))

        client = self.connected()
        self.patch(self.app, "react", react)
        [data] = self.encrypted(client, b"request")
        client.server.dataReceived(data)
        self.assertEqual(sizes[10], 0)
        self.assertTrue(sizes[20] > 0)
        self.assertEqual(self.said(client), b"x" * 100_000)

    def test_many_tiny_pieces(self) -> None:
        """However much larger they have become."""
        client = self.connected()
        self.patch(self.app, "react", lambda data: [self.app.transport.write(b"x") for _ in range(5000)])
        [data] = self.encrypted(client, b"request")
        client.server.dataReceived(data)
        self.assertEqual(self.said(client), b"x" * 5000)

    def test_write_at_any_other_time(self) -> None:
        """It does not wait for the reactor."""
        client = self.connected()
        self.app.transport.write(b"event")
        self.assertEqual(self.said(client), b"event")

    def test_nothing_written(self) -> None:
        client = self.connected()
        self.patch(self.app, "react", lambda data: None)
        for data in self.encrypted(client, b"one", b"two"):
            client.server.dataReceived(data)
        self.assertEqual(client.transport.value(), b"")
        self.app.transport.write(b"later")
        self.assertEqual(self.said(client), b"later")

    def test_long_and_short_in_order(self) -> None:
        long = bytes(range(256)) * 4096

        def react(data: bytes) -> None:
            for piece in (b"short", long, b"x" * CAPACITY, b"short"):
                self.app.transport.write(piece)

        client = self.connected()
        self.patch(self.app, "react", react)
        [data] = self.encrypted(client, b"request")
        client.server.dataReceived(data)
        self.assertEqual(self.said(client), b"short" + long + b"x" * CAPACITY + b"short")

    def test_long_request(self) -> None:
        client = self.connected()
        self.patch(self.app, "react", lambda data: None)
        [data] = self.encrypted(client, b"x" * 1_000_000)
        for at in range(0, len(data), 65536):
            client.server.dataReceived(data[at : at + 65536])
        self.assertEqual(b"".join(self.app.heard), b"x" * 1_000_000)

    def test_producer(self) -> None:
        """It is paused and resumed as the transport says."""
        client = self.connected()
        producer = mock.Mock(spec=["pauseProducing", "resumeProducing", "stopProducing"])
        self.app.transport.registerProducer(producer, True)
        below: Any = client.transport.producer
        below.pauseProducing()
        below.resumeProducing()
        self.assertEqual(producer.method_calls, [mock.call.pauseProducing(), mock.call.resumeProducing()])
        self.assertRaises(RuntimeError, self.app.transport.registerProducer, producer, True)

    def test_stock_site(self) -> None:
        root = Resource()
        root.putChild(b"", Data(b"body", "text/plain"))
        site = Site(root, reactor=Clock())
        secure = Factory(self.keeper(), site, Clock(), 10, False)
        client = MemoryClient(secure, self.context(None, self.version))
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for _ in range(3):
            answer = client.exchange(request) + self.said(client)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
            self.assertTrue(answer.endswith(b"\r\n\r\nbody"), answer)


class EndTests(TransportCase):
    """With TLS 1.3."""

    def closing(self, client: MemoryClient) -> bytes:
        """The client's goodbye, as it sends it."""
        self.assertRaises(ssl.SSLWantReadError, client.tls.unwrap)
        return client.outgoing.read()

    def test_answer_and_goodbye_leave_together(self) -> None:
        def react(data: bytes) -> None:
            self.app.transport.write(b"answer")
            self.app.transport.loseConnection()
            self.app.transport.write(b"too late")

        client = self.connected()
        self.patch(self.app, "react", react)
        [data] = self.encrypted(client, b"request")
        with mock.patch.object(client.transport, "write", side_effect=client.transport.write) as write:
            client.server.dataReceived(data)
        self.assertEqual(write.call_count, 1)
        client.incoming.write(client.transport.value())
        self.assertEqual(client.tls.read(100), b"answer")
        self.assertEqual(client.tls.read(100), b"")

    def test_goodbye_for_an_answer(self) -> None:
        client = self.connected()
        self.patch(self.app, "react", lambda data: self.app.transport.loseConnection())
        [data] = self.encrypted(client, b"request")
        client.server.dataReceived(data)
        client.incoming.write(client.transport.value())
        self.assertEqual(client.tls.read(100), b"")

    def test_openssl_takes_nothing_more(self) -> None:
        """Whatever the reason, that is the end of the connection, and what the protocol is told."""
        client = self.connected()
        reason = SSL.Error([("", "", "out of order")])
        with mock.patch.object(SSL.Connection, "send", side_effect=reason):
            self.app.transport.write(b"answer")
        self.assertTrue(client.transport.disconnecting)
        client.close()
        assert self.app.lost is not None
        self.assertIs(self.app.lost.value, reason)

    def test_close_with_a_producer(self) -> None:
        """What has been written does not wait for it, and it may go on until it is done."""

        def react(data: bytes) -> None:
            self.app.transport.write(b"head,")
            self.app.transport.registerProducer(mock.Mock(), True)
            self.app.transport.loseConnection()

        client = self.connected()
        self.patch(self.app, "react", react)
        [data] = self.encrypted(client, b"request")
        client.server.dataReceived(data)
        self.assertEqual(self.said(client), b"head,")
        self.app.transport.write(b"body")
        self.assertEqual(self.said(client), b"body")
        self.app.transport.unregisterProducer()
        client.incoming.write(client.transport.value())
        self.assertEqual(client.tls.read(100), b"")

    def test_goodbye_of_the_client(self) -> None:
        for before in (False, True):
            client = self.connected()
            data = b"".join(self.encrypted(client, b"request")) if before else b""
            client.server.dataReceived(data + self.closing(client))
            self.assertTrue(client.transport.disconnecting)
            self.app.transport.write(b"too late")
            self.assertEqual(self.said(client), b"answer" if before else b"")
            # The server's own goodbye has been said.
            client.tls.unwrap()
            client.server.dataReceived(record(23, 30))
            client.close()
            assert self.app.lost is not None
            self.app.lost.trap(ConnectionDone)

    def test_damaged_record(self) -> None:
        """It ends the connection, with an alert and the reason that OpenSSL gives."""
        client = self.connected()
        damaged, after = self.encrypted(client, b"request", b"another")
        client.server.dataReceived(damaged[:-1] + bytes((damaged[-1] ^ 1,)))
        self.assertTrue(client.transport.disconnecting)
        client.server.dataReceived(after)
        self.assertEqual(self.app.heard, [])
        error = self.assertRaises(ssl.SSLError, self.said, client)
        self.assertIn("BAD_RECORD_MAC", error.reason)
        client.close()
        assert self.app.lost is not None
        self.assertIn("bad record mac", str(self.app.lost.value))

    def test_gone_without_goodbye(self) -> None:
        client = self.connected()
        client.close(ConnectionLost())
        assert self.app.lost is not None
        self.app.lost.trap(ConnectionLost)

    def test_abort_while_answering(self) -> None:
        def react(data: bytes) -> None:
            self.app.transport.write(b"answer")
            self.app.transport.abortConnection()
            client.close()

        client = self.connected()
        self.patch(self.app, "react", react)
        [data] = self.encrypted(client, b"request")
        client.server.dataReceived(data)
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(self.app.heard, [b"request"])
        self.app.transport.write(b"too late")
        self.app.transport.loseConnection()

    def test_nothing_after_abort(self) -> None:
        client = self.connected()
        [data] = self.encrypted(client, b"request")
        self.app.transport.abortConnection()
        client.server.dataReceived(data)
        self.assertEqual(self.app.heard, [])


class EstablishedWithTLS12Tests(EstablishedTests):
    version = ssl.TLSVersion.TLSv1_2


class EndWithTLS12Tests(EndTests):
    version = ssl.TLSVersion.TLSv1_2

    def test_renegotiation_is_refused(self) -> None:
        """The client is told so, and is served on."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        connection = SSL.Connection(context, None)
        connection.set_connect_state()
        client = MemoryClient(self.secure(), self.context())

        def pump() -> None:
            with contextlib.suppress(SSL.WantReadError):
                client.server.dataReceived(connection.bio_read(65536))
            if client.transport.value():
                connection.bio_write(client.transport.value())
                client.transport.clear()

        for _ in range(2):
            self.assertRaises(SSL.WantReadError, connection.do_handshake)
            pump()
        connection.do_handshake()
        connection.send(b"before")
        pump()
        self.assertEqual(connection.recv(100), b"answer")
        connection.renegotiate()
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        pump()
        self.assertEqual(client.server.getHandle().total_renegotiations(), 0)
        error = self.assertRaises(SSL.Error, connection.do_handshake)
        self.assertIn("no renegotiation", str(error))
        self.assertEqual(self.app.heard, [b"before"])
