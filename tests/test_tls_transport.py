"""txetcd.tls.transport and records: what an established connection does with what comes and goes."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import ssl
import subprocess
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory as PlainFactory
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from tests.tls_harness import PEER, MemoryClient, TLSCase
from txetcd.tls.connection import Factory, ServerTLS
from txetcd.tls.endpoints import SecureEndpoint
from txetcd.tls.records import CAPACITY, Records


def record(kind: int, size: int) -> bytes:
    return bytes((kind, 3, 3, size >> 8, size & 255)) + bytes(size)


class RecordsTests(SynchronousTestCase):
    def answers(self, *pieces: bytes) -> list[bool]:
        records = Records()
        return [records.is_one(piece) for piece in pieces]

    def test_one_at_a_time(self) -> None:
        self.assertEqual(self.answers(record(23, 30), record(23, 1), record(23, 16_400)), [True] * 3)

    def test_messages_of_tls(self) -> None:
        """They are followed, and are not what is asked for."""
        self.assertEqual(self.answers(record(22, 30), record(21, 2), record(23, 9)), [False, False, True])

    def test_several_together(self) -> None:
        self.assertEqual(self.answers(record(23, 30) * 2, record(23, 30)), [False, True])

    def test_what_looks_like_a_record_within_another(self) -> None:
        self.assertEqual(self.answers(record(23, 70)[:10], record(23, 30)), [False, False])

    @given(st.lists(st.tuples(st.sampled_from((20, 21, 22, 23)), st.integers(0, 40))), st.data())
    def test_any_pieces(self, kinds: list[tuple[int, int]], data: st.DataObject) -> None:
        """However a stream is cut, those pieces are told that are a record of data."""
        stream = b"".join(record(*kind) for kind in kinds)
        starts = [sum(5 + size for _, size in kinds[:n]) for n in range(len(kinds) + 1)]
        whole = {(starts[n], starts[n + 1]) for n, (kind, size) in enumerate(kinds) if kind == 23 and size}
        cuts = {0, len(stream), *data.draw(st.lists(st.sampled_from(starts)))}
        cuts.update(data.draw(st.lists(st.integers(0, len(stream)))))
        ends = sorted(cuts)
        records = Records()
        for begin, end in itertools.pairwise(ends):
            self.assertEqual(records.is_one(stream[begin:end]), (begin, end) in whole)


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
            mock.patch.object(self.tcp, "writeSomeData") as direct,
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
