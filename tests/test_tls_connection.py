"""txetcd.tls.connection: what a connection is before the client has come in, and how it ends."""

from __future__ import annotations

import ssl

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from tests.certificates import CLIENT, self_signed
from tests.tls_harness import MemoryClient, Recorder, TLSCase
from txetcd.tls import connection
from txetcd.tls.connection import PLAIN_HTTP_ANSWER, Factory
from txetcd.tls.refusals import LINES, PERIOD


class ConnectionCase(TLSCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.recorder = Recorder()
        self.secure = Factory(self.keeper(clock=self.clock), self.recorder, self.clock, 10, True)
        self.client = self.ca.issue("client", purposes=[CLIENT])

    def connect(self, *said: bytes) -> StringTransport:
        """A connection on which this has been said."""
        transport = StringTransport()
        protocol = self.secure.buildProtocol(IPv4Address("TCP", "192.0.2.9", 1))
        protocol.makeConnection(transport)
        for data in said:
            protocol.dataReceived(data)
        return transport


class HandshakeTests(ConnectionCase):
    """With TLS 1.3."""

    version = ssl.TLSVersion.TLSv1_3

    def test_no_protocol_before_the_handshake(self) -> None:
        client = MemoryClient(self.keeper(), self.context(self.client, self.version))
        self.assertEqual(client.recorder.made, 0)
        client.shake_hands()
        client.exchange()
        self.assertEqual(client.recorder.made, 1)
        self.assertEqual(client.clock.getDelayedCalls(), [])

    def test_handshake_listener(self) -> None:
        told = []

        @implementer(IHandshakeListener)
        class Listener(Protocol):
            def handshakeCompleted(self) -> None:
                told.append(self.transport is not None)

        factory = Recorder()
        self.patch(factory, "buildProtocol", lambda _: Listener())
        client = MemoryClient(self.keeper(), self.context(self.client, self.version), factory=factory)
        self.assertRaises(AssertionError, client.exchange)
        self.assertEqual(told, [True])

    def test_factory_that_makes_nothing(self) -> None:
        factory = Recorder()
        self.patch(factory, "buildProtocol", lambda _: None)
        client = MemoryClient(self.keeper(), self.context(self.client, self.version), factory=factory)
        self.assertEqual(client.exchange(), b"")
        self.assertTrue(client.transport.disconnecting)

    def test_request_in_the_segment_of_a_refused_handshake(self) -> None:
        """Not a byte of it is heard."""
        client = MemoryClient(self.keeper(), self.context(self_signed("x"), self.version))
        self.assertRaises(ssl.SSLError, client.exchange)
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual((client.recorder.made, client.recorder.received), (0, b""))

    def test_sessions_of_a_context_without_client_authentication(self) -> None:
        """A session from where no certificate is asked for is worth nothing where one is."""
        keeper = self.keeper()
        context = self.context(None, self.version)
        first = MemoryClient(Factory(keeper, Recorder(), Clock(), 10, False), context)
        self.assertEqual(first.exchange(), b"served")
        again = MemoryClient(keeper, context, session=first.tls.session)
        self.assertRaises(ssl.SSLError, again.exchange)
        self.assertEqual(again.recorder.made, 0)


class HandshakeWithTLS12Tests(HandshakeTests):
    version = ssl.TLSVersion.TLSv1_2


class NoHandshakeTests(ConnectionCase):
    """Those who connect and do not get as far as a handshake."""

    def test_timeout(self) -> None:
        for said in ([], [b"\x16\x03\x01"]):
            transport = self.connect(*said)
            self.clock.advance(9.9)
            self.assertFalse(transport.disconnecting)
            with self.logged() as lines:
                self.clock.advance(0.2)
            self.assertTrue(transport.disconnecting)
            self.assertEqual(lines, ["TLS: refused 192.0.2.9:1: its handshake took more than 10 seconds"])

    def test_plain_http(self) -> None:
        for request in (b"GET / HTTP/1.1\r\n", b"PUT", b"G"):
            with self.logged() as lines:
                transport = self.connect(request, b"\x16" + request)
            self.assertEqual(transport.value(), PLAIN_HTTP_ANSWER)
            self.assertTrue(transport.disconnecting)
            self.assertEqual(lines, ["TLS: refused 192.0.2.9:1: it speaks plain HTTP"])

    def test_garbage(self) -> None:
        for garbage in (b"\0", b"\x80\x2e\x01\x03\x01", b"SSH-2.0-x\r\n", b"\xff" * 100_000, b"get / "):
            with self.logged() as lines:
                transport = self.connect(garbage)
            self.assertEqual(transport.value(), b"")
            self.assertTrue(transport.disconnecting)
            self.assertEqual(lines, ["TLS: refused 192.0.2.9:1: it does not speak TLS"])

    def test_garbage_that_begins_as_tls(self) -> None:
        for garbage in (b"\x16" * 100, b"\x16\x03\x01\x00\x05hello" * 10, b"\x16\x03\x01\xff\xff"):
            transport = self.connect(garbage)
            self.clock.advance(11)
            self.assertTrue(transport.disconnecting)
        self.assertEqual(self.recorder.made, 0)

    def test_those_who_just_go_are_no_news(self) -> None:
        client = MemoryClient(self.keeper(), self.context(self.client))
        with self.logged() as lines:
            client.close()
        self.assertEqual(lines, [])
        self.assertEqual(client.clock.getDelayedCalls(), [])

    def test_too_many(self) -> None:
        """The oldest has to go."""
        self.patch(connection, "HANDSHAKES", 3)
        transports = [self.connect() for _ in range(4)]
        self.assertEqual([each.disconnecting for each in transports], [True, False, False, False])


class RefusalTests(ConnectionCase):
    def test_rate(self) -> None:
        with self.logged() as lines:
            for _ in range(LINES + 5):
                self.connect(b"\0")
            self.assertEqual(len(lines), LINES)
            self.clock.advance(PERIOD)
            self.assertEqual(lines[LINES:], ["TLS: refused 5 more within 60 seconds"])
            self.connect(b"\0")
            self.assertEqual(len(lines), LINES + 2)
            self.clock.advance(PERIOD)
            self.assertEqual(len(lines), LINES + 2)

    def test_names_that_are_made_to_confuse(self) -> None:
        """A client has chosen its name."""
        client = MemoryClient(self.keeper(), self.context(self_signed("x\nTLS: all is well" + "y" * 20)))
        with self.logged() as lines:
            self.assertRaises(ssl.SSLError, client.exchange)
        [line] = lines
        self.assertTrue(line.isprintable(), line)

    def test_client_that_does_not_trust_the_server(self) -> None:
        context = ssl.create_default_context()
        client = MemoryClient(self.keeper(), context)
        self.assertRaises(ssl.SSLError, client.exchange)
        with self.logged() as lines:
            client.send(client.outgoing.read())
            client.close()
        [line] = lines
        self.assertIn("it ended the handshake itself: ", line)
        self.assertIn("alert unknown ca", line)


class CloseTests(ConnectionCase):
    def client_at(self) -> MemoryClient:
        client = MemoryClient(self.keeper(), self.context(self.client))
        client.exchange()
        return client

    def test_close_waits_for_the_client(self) -> None:
        client = self.client_at()
        client.server.loseConnection()
        self.assertFalse(client.transport.disconnecting)

    def test_nobody_is_waited_for_while_the_server_stops(self) -> None:
        """They get the goodbye of TLS, and are closed."""
        for before in (True, False):
            client = self.client_at()
            client.factory.doStart()
            if before:
                client.server.loseConnection()
            client.factory.doStop()
            if not before:
                self.assertFalse(client.transport.disconnecting)
                client.server.loseConnection()
            self.assertTrue(client.transport.disconnecting)
            self.assertTrue(client.server.getHandle().get_shutdown() & SSL.SENT_SHUTDOWN)
            client.incoming.write(client.transport.value())
            self.assertEqual(client.tls.read(1), b"")

    def test_handshakes_end_when_the_server_stops(self) -> None:
        self.secure.doStart()
        transport = self.connect()
        with self.logged() as lines:
            self.secure.doStop()
        self.assertTrue(transport.disconnecting)
        self.assertEqual([line for line in lines if "refused" in line], [])
        self.assertFalse(self.recorder.made)
