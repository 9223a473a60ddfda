"""txetcd.ca: the names it takes and the certificates it makes, in memory, and handshakes with them."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto
from twisted.internet.ssl import Certificate as TwistedCertificate
from twisted.internet.ssl import CertificateOptions, PrivateCertificate, trustRootFromCertificates
from twisted.trial.unittest import SynchronousTestCase

from tests.tls_harness import MemoryClient
from txetcd.ca import CAError
from txetcd.ca.certificates import Authority, Pair, common_name, hosts
from txetcd.ca.names import check_client_name, check_common_name, host_file_name, parse_host

# In whole seconds, as certificates have it.
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)


class NamesTests(SynchronousTestCase):
    def test_hosts(self) -> None:
        for text, name in (
            ("localhost", "localhost"),
            ("Etcd-1.Example.ORG", "etcd-1.example.org"),
            ("my_service", "my_service"),
            ("*.example.org", "*.example.org"),
            ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ):
            self.assertEqual(parse_host(text), x509.DNSName(name))
        for text in ("127.0.0.1", "::1", "2001:DB8:0::1"):
            self.assertEqual(parse_host(text), x509.IPAddress(ipaddress.ip_address(text)))

    def test_no_hosts(self) -> None:
        for text in (
            *(
                "",
                " ",
                ".",
                "a..b",
                "a.",
                "-a",
                "a-",
                "a b",
                "a/b",
                "a:4001",
                "https://a",
                "[::1]",
                "*",
                "a.*",
            ),
            *(
                "*.*.a",
                "f*.a",
                "1.2.3",
                "300.1.1.1",
                "127.0.0.1:4001",
                "fe80::1%eth0",
                "10.0.0.0/8",
                "münchen.de",
            ),
            *("a" * 64, ".".join(["a" * 50] * 5), "a\n", "a\0", "--force", "\uff11.2.3.4"),
        ):
            error = self.assertRaises(CAError, parse_host, text)
            self.assertIn("is neither a host name nor an IP address; give", str(error))

    def test_file_names_of_hosts(self) -> None:
        for host, name in (("a.b", "a.b"), ("*.a.b", "_wildcard.a.b"), ("::1", "__1")):
            self.assertEqual(host_file_name(host), name)

    def test_clients(self) -> None:
        for name in ("alice", "Alice B", "alice@example.org", "a.b-c_d", "Zoë", "a" * 64, "é" * 32):
            check_client_name(name)

    def test_no_clients(self) -> None:
        for name in ("../a", "a/b", ".a", "..", "-a", "a:b", "a\\b"):
            self.assertIn("name of a file", str(self.assertRaises(CAError, check_client_name, name)))

    def test_no_common_names(self) -> None:
        for name in ("", " ", "a\n", "a\0b", " a", "a ", "a" * 65, "é" * 33, "\udcff", "a\u202eb"):
            for check in (check_client_name, check_common_name):
                self.assertIn("fit into a certificate", str(self.assertRaises(CAError, check, name)))


class AuthorityTests(SynchronousTestCase):
    ca = Authority.create("my CA", 3650, NOW)
    server = ca.issue_server(["Etcd1.lan", "10.0.0.5", "::1", "etcd1.lan"], 825, NOW)
    client = ca.issue_client("alice", 10, NOW)

    def usages(self, pair: Pair) -> list[str]:
        usage = pair.certificate.extensions.get_extension_for_class(x509.KeyUsage)
        self.assertTrue(usage.critical)
        names = (
            "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
            "key_cert_sign crl_sign"
        )
        return [name for name in names.split() if getattr(usage.value, name)]

    def assert_constraints(self, pair: Pair, ca: bool, path_length: int | None) -> None:
        constraints = pair.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertEqual(constraints.value, x509.BasicConstraints(ca, path_length))
        self.assertTrue(constraints.critical)

    def test_ca(self) -> None:
        certificate = self.ca.certificate
        self.assertEqual(certificate.subject.rfc4514_string(), "CN=my CA")
        self.assertEqual(certificate.issuer, certificate.subject)
        self.assert_constraints(self.ca, True, 0)
        self.assertEqual(self.usages(self.ca), ["key_cert_sign", "crl_sign"])
        self.assertTrue(self.ca.has_signed(certificate))

    def test_leaves(self) -> None:
        serials = set()
        for pair, purpose in (
            (self.server, ExtendedKeyUsageOID.SERVER_AUTH),
            (self.client, ExtendedKeyUsageOID.CLIENT_AUTH),
        ):
            self.assert_constraints(pair, False, None)
            self.assertEqual(self.usages(pair), ["digital_signature"])
            extended = pair.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
            self.assertEqual((list(extended.value), extended.critical), ([purpose], False))
            self.assertTrue(self.ca.has_signed(pair.certificate))
            self.assertFalse(Authority.create("my CA", 10, NOW).has_signed(pair.certificate))
            serials.add(pair.certificate.serial_number)
        self.assertEqual(len(serials), 2)

    def test_key_identifiers(self) -> None:
        of_ca = x509.SubjectKeyIdentifier.from_public_key(self.ca.key.public_key()).digest
        for pair in (self.ca, self.server, self.client):
            extensions = pair.certificate.extensions
            own = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            self.assertEqual(own, x509.SubjectKeyIdentifier.from_public_key(pair.key.public_key()))
            issuer = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
            self.assertEqual(issuer, x509.AuthorityKeyIdentifier(of_ca, None, None))
            self.assertIsInstance(pair.key.curve, ec.SECP256R1)

    def test_names(self) -> None:
        self.assertEqual(common_name(self.server.certificate), "etcd1.lan")
        self.assertEqual(hosts(self.server.certificate), ["etcd1.lan", "10.0.0.5", "::1"])
        self.assertEqual(self.client.certificate.subject.rfc4514_string(), "CN=alice")
        self.assertEqual(hosts(self.client.certificate), [])

    def test_first_name_too_long(self) -> None:
        long = ".".join(["a" * 40] * 2)
        self.assertEqual(hosts(self.ca.issue_server(["a", long], 10, NOW).certificate), ["a", long])
        error = self.assertRaises(CAError, self.ca.issue_server, [long, "a"], 10, NOW)
        self.assertIn("give a shorter one first", str(error))
        self.assertRaises(CAError, self.ca.issue_server, [], 10, NOW)

    def test_validity(self) -> None:
        for pair, days in ((self.ca, 3650), (self.server, 825), (self.client, 10)):
            begin, end = pair.certificate.not_valid_before_utc, pair.certificate.not_valid_after_utc
            self.assertEqual(begin, NOW - HOUR)
            self.assertEqual(end - begin, days * DAY - datetime.timedelta(seconds=1))

    def test_no_longer_than_the_ca(self) -> None:
        ca = Authority.create("my CA", 5, NOW)
        for pair in (ca.issue_server(["a"], 825, NOW), ca.issue_client("a", 825, NOW + DAY)):
            self.assertEqual(pair.certificate.not_valid_after_utc, ca.end)
        late = NOW + 5 * DAY
        for act in (
            lambda: ca.issue_client("a", 1, late),
            lambda: ca.issue_server(["a"], 1, late),
            lambda: ca.sign_crl(None, [], late),
        ):
            self.assertIn("the CA has expired on", str(self.assertRaises(CAError, act)))

    def test_crl(self) -> None:
        empty = self.ca.sign_crl(None, [], NOW)
        first = self.ca.sign_crl(empty, [self.client.certificate], NOW)
        second = self.ca.sign_crl(first, [self.server.certificate], NOW + DAY)
        for number, (crl, pairs) in enumerate(
            ((empty, []), (first, [self.client]), (second, [self.client, self.server])), 1
        ):
            self.assertTrue(crl.is_signature_valid(self.ca.key.public_key()))
            self.assertEqual(crl.issuer, self.ca.certificate.subject)
            self.assertEqual([e.serial_number for e in crl], [p.certificate.serial_number for p in pairs])
            self.assertEqual(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number, number)
            self.assertEqual(crl.next_update_utc, self.ca.end)
            identifier = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
            own = self.ca.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
            self.assertEqual(identifier, own)
        self.assertEqual([entry.revocation_date_utc for entry in second], [NOW, NOW + DAY])


class HandshakeTests(SynchronousTestCase):
    """OpenSSL with X509_STRICT on the client's side, and a server that checks the list of revoked ones."""

    ca = Authority.create("my CA", 10, NOW)
    server = ca.issue_server(["localhost", "127.0.0.1", "::1", "*.example.org"], 10, NOW)
    client = ca.issue_client("alice", 10, NOW)

    def setUp(self) -> None:
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)

    def connect(self, client: Pair, host: str = "localhost", revoked: tuple[Pair, ...] = ()) -> MemoryClient:
        server_options = PrivateCertificate.loadPEM(self.server.key_pem + self.server.certificate_pem)
        trusted = trustRootFromCertificates([TwistedCertificate.loadPEM(self.ca.certificate_pem)])
        options = CertificateOptions(
            privateKey=server_options.privateKey.original,
            certificate=server_options.original,
            trustRoot=trusted,
        )
        store = options.getContext().get_cert_store()
        assert store is not None
        crl = self.ca.sign_crl(None, [pair.certificate for pair in revoked], NOW)
        store.add_crl(crl)
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.X509_STRICT)
        pem = self.directory / "client.pem"
        pem.write_bytes(client.certificate_pem + client.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=self.ca.certificate_pem.decode())
        context.load_cert_chain(pem)
        return MemoryClient(options, context, host)

    def test_served(self) -> None:
        for host in ("localhost", "127.0.0.1", "::1", "etcd1.example.org"):
            self.assertEqual(self.connect(self.client, host).exchange(), b"served")

    def test_other_host(self) -> None:
        for host in ("example.org", "127.0.0.2"):
            error = self.assertRaises(ssl.SSLCertVerificationError, self.connect(self.client, host).exchange)
            self.assertIn(host, error.verify_message)

    def assert_refused(self, client: Pair, alert: str, revoked: tuple[Pair, ...] = ()) -> None:
        error = self.assertRaises(ssl.SSLError, self.connect(client, revoked=revoked).exchange)
        self.assertIn(f"ALERT_{alert}", error.reason)

    def test_revoked(self) -> None:
        self.assert_refused(self.client, "CERTIFICATE_REVOKED", (self.client,))
        other = self.ca.issue_client("alice", 10, NOW)
        self.assertEqual(self.connect(other, revoked=(self.client,)).exchange(), b"served")

    def test_not_for_clients(self) -> None:
        self.assert_refused(self.server, "UNSUPPORTED_CERTIFICATE")

    def test_other_ca_of_the_same_name(self) -> None:
        other = Authority.create("my CA", 10, NOW)
        self.assert_refused(other.issue_client("alice", 10, NOW), "UNKNOWN_CA")
