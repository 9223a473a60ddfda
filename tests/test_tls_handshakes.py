"""txetcd.tls, its handshakes: who is served and who is refused, in memory and on a few loopback sockets."""

from __future__ import annotations

import datetime
import socket
import ssl
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL, crypto
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import serverFromString, wrapServerTLS
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase

from tests.certificates import CLIENT, LOOPBACK, SERVER, Authority, Credentials, pem, self_signed
from tests.tls_harness import MemoryClient, Recorder, TLSCase
from txetcd.tls import client_auth_options, server_options
from txetcd.tls.endpoints import server_endpoint_description

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "ca"
YEAR_2020 = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
YEAR_2068 = datetime.datetime(2068, 1, 1, tzinfo=datetime.timezone.utc)


class ClientAuthenticationTests(TLSCase):
    """With TLS 1.3, where the client has sent its request before it hears of the refusal."""

    version = ssl.TLSVersion.TLSv1_3
    no_certificate = "CERTIFICATE_REQUIRED"

    def connect(self, client: Credentials | None, ca_file: Path | None = None) -> MemoryClient:
        self.ca_file = ca_file or self.ca_file
        return MemoryClient(self.keeper(), self.context(client, self.version))

    def assert_served(self, client: Credentials, ca_file: Path | None = None) -> None:
        connection = self.connect(client, ca_file)
        self.assertEqual(connection.exchange(), b"served")
        self.assertEqual(connection.recorder.received, b"request")

    def assert_refused(self, client: Credentials | None, alert: str, reason: str, name: str = "") -> None:
        """The client gets an alert, the log one line with the reason and the certificate of that name, and no
        protocol is even made.
        """
        connection = self.connect(client)
        with self.logged() as lines:
            error = self.assertRaises(ssl.SSLError, connection.exchange)
            self.assertIn(f"ALERT_{alert}", error.reason)
            self.assertTrue(connection.transport.disconnecting)
            self.assertEqual(connection.recorder.received, b"")
            self.assertEqual(connection.recorder.made, 0)
            connection.close()
        [line] = lines
        self.assertTrue(line.startswith(f"TLS: refused 192.0.2.7:50000: {reason}"), line)
        if name:
            self.assertIn(f"; certificate CN={name},O=txetcd, issued by CN=", line)

    def test_for_clients(self) -> None:
        self.assert_served(self.ca.issue("client", purposes=[CLIENT]))
        self.assert_served(self.ca.issue("client", purposes=[SERVER, CLIENT]))

    def test_without_extended_key_usage(self) -> None:
        self.assert_served(self.ca.issue("client"))

    def test_for_servers_only(self) -> None:
        self.assert_refused(
            self.ca.issue("client", purposes=[SERVER]),
            "UNSUPPORTED_CERTIFICATE",
            "it is not for clients",
            "client",
        )

    def test_no_certificate(self) -> None:
        self.assert_refused(None, self.no_certificate, "it has shown no certificate")

    def test_self_signed(self) -> None:
        self.assert_refused(
            self_signed("client", purposes=[CLIENT]), "UNKNOWN_CA", "it is self-signed", "client"
        )

    def test_other_ca_and_one_of_the_same_name(self) -> None:
        for name in ("test CA", "other CA"):
            client = Authority.create(name).issue("client", purposes=[CLIENT])
            self.assert_refused(client, "UNKNOWN_CA", "its issuer is no trusted CA", "client")

    def test_intermediate_that_is_no_ca(self) -> None:
        leaf = self.ca.issue("client", purposes=[CLIENT])
        false_ca = Authority(leaf.certificate, leaf.key, (leaf.certificate,))
        self.assert_refused(
            false_ca.issue("friend", purposes=[CLIENT]),
            "UNKNOWN_CA",
            "it has issued another, and is no CA",
            "client",
        )

    def test_expired(self) -> None:
        client = self.ca.issue("client", purposes=[CLIENT], end=YEAR_2020)
        self.assert_refused(client, "CERTIFICATE_EXPIRED", "it has expired", "client")

    def test_not_yet_valid(self) -> None:
        client = self.ca.issue("client", purposes=[CLIENT], begin=YEAR_2068)
        self.assert_refused(client, "BAD_CERTIFICATE", "it is not valid yet", "client")

    def test_intermediate_sent_by_the_client(self) -> None:
        self.assert_served(self.ca.intermediate("below").issue("client", purposes=[CLIENT]))

    def test_intermediate_not_sent(self) -> None:
        client = self.ca.intermediate("below").issue("client", purposes=[CLIENT])
        alone = Credentials(client.certificate, client.key)
        self.assert_refused(
            alone, "UNKNOWN_CA", "its issuer is no trusted CA, or an intermediate CA is missing", "client"
        )

    def test_broken_chain(self) -> None:
        client = self.ca.intermediate("below").issue("client", purposes=[CLIENT])
        other = self.ca.intermediate("below")
        broken = Credentials(client.certificate, client.key, (other.certificate,))
        self.assert_refused(broken, "UNKNOWN_CA", "its issuer is no trusted CA", "client")

    def test_intermediate_that_has_expired(self) -> None:
        client = self.ca.intermediate("below", end=YEAR_2020).issue("client", purposes=[CLIENT])
        self.assert_refused(client, "CERTIFICATE_EXPIRED", "it has expired", "below")

    def test_intermediate_beyond_the_path_length(self) -> None:
        below = self.ca.intermediate("first", path_length=0).intermediate("second")
        client = below.issue("client", purposes=[CLIENT])
        self.assert_refused(client, "UNKNOWN_CA", "it is a CA with more CAs below it", "first")

    def test_weak_signature(self) -> None:
        client = self.ca.issue("client", purposes=[CLIENT])
        # cryptography does not sign with SHA-1 any more.
        signed = crypto.X509.from_cryptography(client.certificate)
        signed.sign(crypto.PKey.from_cryptography_key(self.ca.key), "sha1")
        weak = Credentials(signed.to_cryptography(), client.key)
        self.assert_refused(weak, "BAD_CERTIFICATE", "its signature algorithm is too weak", "client")

    def test_weak_key(self) -> None:
        client = self.ca.issue("client", purposes=[CLIENT], key=rsa.generate_private_key(65537, 1024))
        self.assert_refused(client, "BAD_CERTIFICATE", "its key is too weak", "client")

    def test_twenty_intermediates(self) -> None:
        authority = self.ca
        for depth in range(20):
            authority = authority.intermediate(f"intermediate {depth}")
        self.assert_served(authority.issue("client", purposes=[CLIENT]))

    def test_ca_file_with_an_intermediate_alone(self) -> None:
        below = self.ca.intermediate("below")
        client = below.issue("client", purposes=[CLIENT])
        ca_file = self.file("below.crt", pem(below.certificate))
        self.assert_served(Credentials(client.certificate, client.key), ca_file)
        self.assertRaises(ssl.SSLError, self.connect(self.ca.issue("client"), ca_file).exchange)

    def test_every_ca_in_the_file_counts(self) -> None:
        others = [Authority.create(f"CA {number}") for number in range(3)]
        content = b"".join(b"a comment\n" + pem(ca.certificate) for ca in (*others, self.ca, self.ca))
        ca_file = self.file("bundle.crt", content)
        for authority in (*others, self.ca):
            self.assert_served(authority.issue("client", purposes=[CLIENT]), ca_file)

    def test_offered_session_is_not_resumed(self) -> None:
        """A client that keeps its session is served all the same, and its certificate verified again."""
        options = client_auth_options(self.cert_file, self.key_file, self.ca_file)
        context = self.context(self.ca.issue("client", purposes=[CLIENT]), self.version)
        first = MemoryClient(options, context)
        first.exchange()
        again = MemoryClient(options, context, session=first.tls.session)
        self.assertEqual(again.exchange(), b"served")
        self.assertFalse(again.tls.session_reused)

    def test_ca_names_are_advertised(self) -> None:
        other = Authority.create("other CA")
        content = b"".join(pem(ca.certificate) for ca in (self.ca, other, self.ca))
        ca_file = self.file("two.crt", content)
        options = client_auth_options(self.cert_file, self.key_file, ca_file)
        connection = SSL.Connection(options.getContext())
        connection.set_accept_state()
        self.assertEqual([name.CN for name in connection.get_client_ca_list()], ["test CA", "other CA"])


class ClientAuthenticationWithTLS12Tests(ClientAuthenticationTests):
    """The same with TLS 1.2, where the refusal comes before the client's handshake is done."""

    version = ssl.TLSVersion.TLSv1_2
    no_certificate = "HANDSHAKE_FAILURE"


class ProtocolTests(TLSCase):
    """What holds with and without client certificates."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.ca.issue("client", purposes=[CLIENT])
        self.both = [
            server_options(self.cert_file, self.key_file),
            client_auth_options(self.cert_file, self.key_file, self.ca_file),
        ]

    def test_any_client_is_served_without_a_ca(self) -> None:
        for client in (None, self.client, self_signed("client")):
            self.assertEqual(MemoryClient(self.both[0], self.context(client)).exchange(), b"served")

    def test_alpn(self) -> None:
        """HTTP/1.1 is agreed where it is offered; a client that offers nothing of ours is served too."""
        for offered, agreed in [
            (["h2", "http/1.1"], "http/1.1"),
            (["http/1.1"], "http/1.1"),
            (["h2"], None),
            ([], None),
        ]:
            for options in self.both:
                context = self.context(self.client)
                if offered:
                    context.set_alpn_protocols(offered)
                connection = MemoryClient(options, context)
                self.assertEqual(connection.exchange(), b"served")
                self.assertEqual(connection.tls.selected_alpn_protocol(), agreed)

    def test_version_compression_and_renegotiation(self) -> None:
        for options in self.both:
            self.assertTrue(options.getContext().set_options(0) & SSL.OP_NO_RENEGOTIATION)
            connection = MemoryClient(options, self.context(self.client))
            connection.exchange()
            self.assertEqual(connection.tls.version(), "TLSv1.3")
            self.assertEqual(connection.tls.compression(), None)

    def test_tls_1_1_is_refused(self) -> None:
        for options in self.both:
            context = self.context(self.client)
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = ssl.TLSVersion.TLSv1_1
            error = self.assertRaises(ssl.SSLError, MemoryClient(options, context).exchange)
            self.assertIn("ALERT_PROTOCOL_VERSION", error.reason)
        self.flushWarnings()

    def test_ciphers_of_tls_1_2(self) -> None:
        """Forward secrecy and authenticated encryption, or no connection."""
        pair = self.ca.issue("rsa", hosts=LOOPBACK, key=rsa.generate_private_key(65537, 2048)).write(
            self.directory, "rsa"
        )
        options = server_options(*pair)
        for cipher, served in [
            ("ECDHE-RSA-AES128-GCM-SHA256", True),
            ("ECDHE-RSA-CHACHA20-POLY1305", True),
            ("ECDHE-RSA-AES128-SHA", False),
            ("ECDHE-RSA-AES256-SHA384", False),
            ("AES128-GCM-SHA256", False),
            ("AES128-SHA", False),
            ("DHE-RSA-AES128-GCM-SHA256", False),
        ]:
            context = self.context(version=ssl.TLSVersion.TLSv1_2)
            context.set_ciphers(cipher)
            connection = MemoryClient(options, context)
            if served:
                self.assertEqual(connection.exchange(), b"served")
            else:
                error = self.assertRaises(ssl.SSLError, connection.exchange)
                self.assertIn("ALERT_HANDSHAKE_FAILURE", error.reason)

    def test_chain_is_sent(self) -> None:
        below = self.ca.intermediate("first").intermediate("second")
        pair = below.issue("server", purposes=[SERVER], hosts=LOOPBACK).write(self.directory, "below")
        for options in (server_options(*pair), client_auth_options(*pair, self.ca_file)):
            self.assertEqual(MemoryClient(options, self.context(self.client)).exchange(), b"served")


class LoopbackTests(TestCase):
    """The certificates of fixtures/ca over real sockets, to a strict client that checks the host name."""

    pair = (FIXTURES / "server.crt", FIXTURES / "server.key.insecure")

    def setUp(self) -> None:
        self.recorder = Recorder()
        self.context = ssl.create_default_context(cafile=str(FIXTURES / "server-chain.pem"))
        self.context.verify_flags |= ssl.VERIFY_X509_STRICT

    async def exchange(self, endpoint: IStreamServerEndpoint, name: str = "127.0.0.1") -> bytes:
        """Listen, and return what a client gets that knows the server as `name`."""
        port = await endpoint.listen(self.recorder)
        self.addCleanup(port.stopListening)
        address = port.getHost()
        assert isinstance(address, (IPv4Address, IPv6Address))

        def talk() -> bytes:
            with (
                socket.create_connection((address.host, address.port), timeout=10) as connection,
                self.context.wrap_socket(connection, server_hostname=name) as tls,
            ):
                tls.sendall(b"request")
                return tls.recv(100)

        try:
            return await deferToThread(talk)
        finally:
            await self.recorder.closed

    def with_ca(self) -> IStreamServerEndpoint:
        from twisted.internet import reactor

        options = client_auth_options(*self.pair, FIXTURES / "ca.crt")
        return wrapServerTLS(options, serverFromString(reactor, "tcp:0:interface=127.0.0.1"), reactor)

    def without_ca(self, host: str) -> IStreamServerEndpoint:
        from twisted.internet import reactor

        endpoint: IStreamServerEndpoint = serverFromString(
            reactor, server_endpoint_description(host, 0, *self.pair)
        )
        return endpoint

    async def test_server_certificate(self) -> None:
        self.assertEqual(await self.exchange(self.without_ca("127.0.0.1")), b"served")

    async def test_server_certificate_by_name(self) -> None:
        self.assertEqual(await self.exchange(self.without_ca("127.0.0.1"), "localhost"), b"served")

    async def test_server_certificate_on_ipv6(self) -> None:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            raise SkipTest("this machine has no IPv6 loopback") from None
        self.assertEqual(await self.exchange(self.without_ca("::1"), "::1"), b"served")

    async def test_client_certificate(self) -> None:
        self.context.load_cert_chain(FIXTURES / "server2.crt", FIXTURES / "server2.key.insecure")
        self.assertEqual(await self.exchange(self.with_ca()), b"served")

    async def test_certificate_for_servers_only(self) -> None:
        self.context.load_cert_chain(*self.pair)
        with self.assertRaises(ssl.SSLError) as caught:
            await self.exchange(self.with_ca())
        self.assertIn("ALERT_UNSUPPORTED_CERTIFICATE", caught.exception.reason)
        self.assertEqual(self.recorder.received, b"")

    async def test_no_client_certificate(self) -> None:
        with self.assertRaises(ssl.SSLError) as caught:
            await self.exchange(self.with_ca())
        self.assertIn("ALERT_CERTIFICATE_REQUIRED", caught.exception.reason)
        self.assertEqual(self.recorder.received, b"")
