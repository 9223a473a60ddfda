"""txetcd.tls.connection: handshakes take turns, and what is not begun costs little."""

from __future__ import annotations

import itertools
import ssl

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import StringTransport

from tests.certificates import CLIENT
from tests.tls_harness import MemoryClient, Recorder, TLSCase
from tests.turn_clock import TurnClock
from txetcd import turns
from txetcd.tls import connection
from txetcd.tls.connection import READ_AHEAD, Factory


class SlowClock(TurnClock):
    """More than half of what a turn has passes at each look, so that there are two steps in it at most."""

    slow = False

    def seconds(self) -> float:
        if self.slow:
            self.rightNow += 0.6 * turns.BUDGET
        return self.rightNow


class Pausable(StringTransport):
    """Keeps count of how reading is paused and resumed."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def pauseProducing(self) -> None:
        self.log.append("pause")

    def resumeProducing(self) -> None:
        self.log.append("resume")


class TurnsCase(TLSCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = SlowClock()
        self.recorder = Recorder()
        self.secure = Factory(self.keeper(clock=self.clock), self.recorder, self.clock, 10, True)
        self.client = self.context(self.ca.issue("client", purposes=[CLIENT]))

    def hello(self) -> bytes:
        """The first thing that a client says."""
        outgoing = ssl.MemoryBIO()
        tls = self.client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        self.assertRaises(ssl.SSLWantReadError, tls.do_handshake)
        return outgoing.read()

    def connect(self, transport: StringTransport) -> connection.ServerTLS:
        protocol = self.secure.buildProtocol(IPv4Address("TCP", "192.0.2.9", 1))
        protocol.makeConnection(transport)
        assert isinstance(protocol, connection.ServerTLS)
        return protocol


class HandshakeTurnsTests(TurnsCase):
    def crowd(self, size: int) -> tuple[list[connection.ServerTLS], list[StringTransport]]:
        """So many clients, who all say hello in one turn of the reactor."""
        transports = [StringTransport() for _ in range(size)]
        protocols = [self.connect(transport) for transport in transports]
        self.clock.slow = True
        for protocol in protocols:
            protocol.dataReceived(self.hello())
        return protocols, transports

    def test_few_in_a_turn_and_in_order(self) -> None:
        _, transports = self.crowd(7)
        answered = []
        for _ in range(7):
            answered.append("".join(str(int(bool(each.value()))) for each in transports))
            self.clock.turn()
        self.assertEqual(answered[0], "1100000")
        self.assertEqual(answered, sorted(answered))
        self.assertEqual(answered[-1], "1111111")
        steps = [after.count("1") - before.count("1") for before, after in itertools.pairwise(answered)]
        self.assertLessEqual(max(steps), 2)

    def test_established_connections_do_not_wait(self) -> None:
        inside = MemoryClient(self.secure, self.client, factory=self.recorder)
        self.assertEqual(inside.exchange(), b"served")
        self.crowd(7)
        inside.tls.write(b"request")
        inside.server.dataReceived(inside.outgoing.read())
        inside.incoming.write(inside.transport.value())
        self.assertEqual(inside.tls.read(100), b"served")

    def test_those_who_are_gone_leave(self) -> None:
        protocols, transports = self.crowd(5)
        heard: list[connection.ServerTLS] = []
        make = self.secure.connection

        def made(protocol: connection.ServerTLS) -> SSL.Connection:
            heard.append(protocol)
            return make(protocol)

        self.patch(self.secure, "connection", made)
        protocols[2].connectionLost(connectionDone)
        protocols[3].abortConnection()
        for _ in range(5):
            self.clock.turn()
        self.assertEqual(heard, [protocols[4]])
        self.assertEqual([bool(each.value()) for each in transports[2:4]], [False, False])

    def test_time_limit_counts_from_the_start(self) -> None:
        """One that still waits has no more time than others."""
        _, transports = self.crowd(3)
        self.clock.slow = False
        self.clock.rightNow = 10.1
        with self.logged() as lines:
            self.clock.advance(0)
        self.assertTrue(all(each.disconnecting for each in transports))
        self.assertEqual(len([line for line in lines if "took more than 10 seconds" in line]), 3)

    def test_reading_waits_with_those_who_say_too_much(self) -> None:
        self.crowd(3)
        transport = Pausable()
        protocol = self.connect(transport)
        protocol.dataReceived(self.hello())
        self.assertEqual(transport.log, [])
        for _ in range(2):
            protocol.dataReceived(bytes(READ_AHEAD))
        self.assertEqual(transport.log, ["pause"])
        for _ in range(5):
            self.clock.turn()
        self.assertEqual(transport.log, ["pause", "resume"])
        self.assertTrue(transport.disconnecting)

    def test_what_is_said_in_pieces_is_heard_as_one(self) -> None:
        self.crowd(3)
        transport = StringTransport()
        protocol = self.connect(transport)
        hello = self.hello()
        for at in range(0, len(hello), 100):
            protocol.dataReceived(hello[at : at + 100])
        for _ in range(5):
            self.clock.turn()
        self.assertEqual(transport.value()[:1], b"\x16")

    def test_protocol_that_fails(self) -> None:
        """Its connection ends, and nothing else: others have their turns."""

        class Failing(Protocol):
            def makeConnection(self, transport: object) -> None:
                raise ZeroDivisionError

        self.patch(self.recorder, "buildProtocol", lambda _: Failing())
        client = MemoryClient(self.secure, self.client)
        self.assertEqual(client.exchange(), b"")
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class NothingSaidTests(TurnsCase):
    """Connections on which nothing has been said."""

    def test_openssl_comes_with_the_first_byte(self) -> None:
        protocol = self.connect(StringTransport())
        self.assertIsNone(protocol.getHandle())
        protocol.dataReceived(self.hello()[:1])
        self.assertIsNotNone(protocol.getHandle())

    def test_not_tls(self) -> None:
        """OpenSSL never comes."""
        protocol = self.connect(StringTransport())
        protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertIsNone(protocol.getHandle())

    def test_end(self) -> None:
        for end in ("abortConnection", "loseConnection", "hurry"):
            transport = StringTransport()
            protocol = self.connect(transport)
            getattr(protocol, end)()
            self.assertEqual(transport.disconnecting, end != "hurry")
            protocol.connectionLost(connectionDone)
        self.assertEqual(self.recorder.made, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_revocation(self) -> None:
        """There is no certificate to look at."""
        self.connect(StringTransport())
        self.secure.close_revoked(lambda *_: self.fail("nobody is revoked"))

    def test_too_many_at_once(self) -> None:
        """As many go as have come, though the ends of those who go are still to be told."""
        self.patch(connection, "HANDSHAKES", 3)
        transports = [StringTransport() for _ in range(8)]
        for transport in transports:
            self.connect(transport)
        self.assertEqual([each.disconnecting for each in transports], [True] * 5 + [False] * 3)
