"""txetcd.tls.transport on top of TCP: what goes past Twisted's own buffers, and new keys."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
from typing import Any
from unittest import mock

from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory as PlainFactory
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase

from tests.tls_harness import PEER, TLSCase
from tests.transport_harness import App, TransportCase
from txetcd.tls import transport
from txetcd.tls.connection import ServerTLS
from txetcd.tls.endpoints import SecureEndpoint


class Connected(Connection):
    """A TCP connection, as a port would have made it."""

    connected = True

    def getPeer(self) -> IPv4Address:
        return PEER

    getHost = getPeer


class DirectTests(TransportCase):
    """On top of TCP, whose reactor does nothing by itself."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryReactor()
        ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.theirs.settimeout(10)
        self.protocol: ServerTLS = self.secure().buildProtocol(PEER)
        self.addCleanup(ours.close)
        self.tcp = Connected(ours, self.protocol, self.reactor)
        self.protocol.makeConnection(self.tcp)
        self.tls = self.client()
        for _ in range(2):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
            self.theirs.sendall(self.outgoing.read())
            self.tcp.doRead()
            self.incoming.write(self.theirs.recv(65536))

    def client(self) -> ssl.SSLObject:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return self.context().wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def read(self, size: int) -> bytes:
        """This many bytes of what the server says."""
        text = b""
        while len(text) < size:
            try:
                text += self.tls.read(65536)
            except ssl.SSLWantReadError:
                if self.tcp in self.reactor.getWriters():
                    self.tcp.doWrite()
                self.incoming.write(self.theirs.recv(65536))
        return text

    def test_at_once(self) -> None:
        """Not even the handshake has asked the reactor for anything."""
        self.tls.write(b"request")
        self.theirs.sendall(self.outgoing.read())
        self.tcp.doRead()
        self.assertEqual(self.reactor.getWriters(), [])
        self.assertEqual(self.read(6), b"answer")

    def test_nothing_goes_past_what_waits(self) -> None:
        for tried_again in (False, True):
            said = b""
            while self.tcp not in self.reactor.getWriters():
                said += b"x" * 5000
                self.protocol.write(b"x" * 5000)
            if tried_again:
                self.assertIsNone(self.tcp.doWrite())
            # There is room again, but not for these yet.
            self.incoming.write(self.theirs.recv(65536))
            for word in (b"one", b"two"):
                self.protocol.write(word)
            self.assertEqual(self.read(len(said) + 6), said + b"onetwo")
            self.assertEqual(self.reactor.getWriters(), [])

    def test_long_output_is_left_to_the_transport(self) -> None:
        said = bytes(range(256)) * 100
        self.protocol.write(said)
        self.protocol.write(b"end")
        self.assertIn(self.tcp, self.reactor.getWriters())
        self.assertEqual(self.read(len(said) + 3), said + b"end")

    def test_broken(self) -> None:
        """The transport finds out; who writes does not have to know."""
        self.theirs.close()
        self.protocol.write(b"one")
        self.protocol.write(b"two")
        self.assertIsNone(self.app.lost)
        self.assertIn(self.tcp, self.reactor.getWriters())
        self.tcp.connectionLost(Failure(self.tcp.doWrite()))
        self.assertIsNotNone(self.app.lost)
        self.protocol.write(b"three")

    def test_lost_with_something_to_say(self) -> None:
        self.protocol.getHandle().send(b"answer")
        self.tcp.connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(self.app.lost)

    def test_transport_that_speaks_tls_itself(self) -> None:
        """Only it can send."""
        protocol = self.secure().buildProtocol(PEER)
        self.tcp.TLS = True
        protocol.makeConnection(self.tcp)
        self.assertRaises(ssl.SSLWantReadError, self.client().do_handshake)
        with (
            mock.patch.object(transport, "send_at_once") as direct,
            mock.patch.object(self.tcp, "write") as write,
        ):
            protocol.dataReceived(self.outgoing.read())
        self.assertEqual((direct.called, write.called), (False, True))


class KeyUpdateTests(TLSCase, TestCase):
    """With the one client at hand that asks for new keys."""

    async def test_key_updates(self) -> None:
        from twisted.internet import reactor

        openssl = shutil.which("openssl")
        if openssl is None:
            raise SkipTest("there is no openssl command")
        factory = PlainFactory.forProtocol(App)
        factory.noisy = False
        inner: Any = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
        keeper = self.keeper(clock=Clock())
        self.client = self.ca.issue("client")
        pair = self.client.write(self.directory, "client")
        port = await SecureEndpoint(inner, keeper, reactor).listen(factory)
        self.addCleanup(port.stopListening)
        address: Any = port.getHost()
        command = [openssl, "s_client", "-tls1_3", "-connect", f"127.0.0.1:{address.port}"]
        command += ["-cert", str(pair[0]), "-key", str(pair[1])]

        def talk() -> bytes:
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            ) as process:
                assert process.stdin is not None and process.stdout is not None
                output = b""
                for line, until in (
                    (b"hello\n", b"answer"),
                    (b"K\n", b"KEYUPDATE"),
                    (b"hello\n", b"answer"),
                    (b"k\n", b"KEYUPDATE"),
                    (b"hello\n", b"answer"),
                ):
                    seen = output.count(until)
                    process.stdin.write(line)
                    process.stdin.flush()
                    while output.count(until) == seen:
                        read = process.stdout.read1(4096)  # type: ignore[attr-defined]
                        if not read:
                            return output
                        output += read
                process.stdin.write(b"Q\n")
                process.stdin.flush()
            return output

        output = await deferToThread(talk)
        self.assertEqual(output.count(b"answer"), 3, output)
