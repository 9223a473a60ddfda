"""Revocation lists and allowed names: in full handshakes and when a session is resumed."""

from __future__ import annotations

import datetime
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.certificates import CLIENT, Authority, Credentials, pem
from tests.tls_harness import MemoryClient, TLSCase
from txetcd.tls import TLSError, check
from txetcd.tls.policy import Policy

YEAR_2020 = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
YEAR_2030 = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)


class RevocationCase(TLSCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.ca.issue("client", purposes=[CLIENT])

    def revoke(self, *lists: x509.CertificateRevocationList) -> None:
        self.crl_file = self.file("ca.crl", b"".join(each.public_bytes(Encoding.PEM) for each in lists))


class HandshakeTests(RevocationCase):
    version = ssl.TLSVersion.TLSv1_3

    def assert_served(self, client: Credentials) -> None:
        connection = MemoryClient(self.keeper(), self.context(client, self.version))
        self.assertEqual(connection.exchange(), b"served")

    def assert_refused(
        self, client: Credentials, reason: str = "it is revoked", alert: str = "REVOKED"
    ) -> None:
        connection = MemoryClient(self.keeper(), self.context(client, self.version))
        with self.logged() as lines:
            error = self.assertRaises(ssl.SSLError, connection.exchange)
            connection.close()
        self.assertIn(f"ALERT_CERTIFICATE_{alert}", error.reason)
        self.assertEqual(connection.recorder.made, 0)
        self.assertEqual(len(lines), 1)
        self.assertIn(f": {reason}; certificate CN=", lines[0])

    def test_revoked(self) -> None:
        self.revoke(self.ca.revoke(self.client.certificate))
        self.assert_refused(self.client)
        self.assert_served(self.ca.issue("other", purposes=[CLIENT]))

    def test_der(self) -> None:
        revoked = self.ca.revoke(self.client.certificate)
        self.crl_file = self.file("ca.crl", revoked.public_bytes(Encoding.DER))
        self.assert_refused(self.client)

    def test_every_list_in_the_file_counts(self) -> None:
        other = Authority.create("other CA")
        self.file("ca.crt", pem(self.ca.certificate) + pem(other.certificate))
        self.revoke(other.revoke(), self.ca.revoke(self.client.certificate))
        self.assert_refused(self.client)

    def test_a_ca_without_a_list(self) -> None:
        other = Authority.create("other CA")
        self.file("ca.crt", pem(self.ca.certificate) + pem(other.certificate))
        self.revoke(self.ca.revoke(self.client.certificate))
        self.assert_served(other.issue("client", purposes=[CLIENT]))
        self.assert_refused(self.client)

    def test_the_same_serial_number_of_another_ca(self) -> None:
        other = Authority.create("other CA")
        self.file("ca.crt", pem(self.ca.certificate) + pem(other.certificate))
        self.revoke(other.revoke(self.client.certificate))
        self.assert_served(self.client)

    def test_out_of_date(self) -> None:
        """What it revokes stays refused; it locks nobody else out."""
        self.revoke(self.ca.revoke(self.client.certificate, end=YEAR_2020))
        self.assert_refused(self.client)
        self.assert_served(self.ca.issue("other", purposes=[CLIENT]))

    def test_list_of_an_intermediate(self) -> None:
        below = self.ca.intermediate("below")
        revoked = below.issue("client", purposes=[CLIENT])
        self.revoke(below.revoke(revoked.certificate))
        self.assert_refused(revoked)
        self.assert_served(below.issue("other", purposes=[CLIENT]))

    def test_revoked_intermediate(self) -> None:
        below = self.ca.intermediate("below")
        self.revoke(self.ca.revoke(below.certificate), below.revoke())
        self.assert_refused(below.issue("client", purposes=[CLIENT]))

    def test_list_of_an_intermediate_that_somebody_else_has_signed(self) -> None:
        below = self.ca.intermediate("below")
        self.revoke(Authority.create("else").revoke(issuer=below.certificate.subject))
        connection = MemoryClient(
            self.keeper(), self.context(below.issue("client", purposes=[CLIENT]), self.version)
        )
        with self.logged() as lines:
            error = self.assertRaises(ssl.SSLError, connection.exchange)
        self.assertIn("ALERT_DECRYPT_ERROR", error.reason)
        self.assertIn("the CRL of its issuer is signed by somebody else", lines[0])

    def test_list_from_above_the_trusted_ca(self) -> None:
        below = self.ca.intermediate("below")
        self.file("ca.crt", pem(below.certificate))
        client = below.issue("client", purposes=[CLIENT])
        self.revoke(self.ca.revoke(), below.revoke(client.certificate))
        self.assert_refused(client)
        self.assert_served(below.issue("other", purposes=[CLIENT]))

    def test_expired_and_wrong_ones_are_refused_all_the_same(self) -> None:
        self.revoke(Authority.create("other CA").revoke())
        self.assert_refused(
            self.ca.issue("client", purposes=[CLIENT], end=YEAR_2020), "it has expired", "EXPIRED"
        )


class HandshakeWithTLS12Tests(HandshakeTests):
    version = ssl.TLSVersion.TLSv1_2


class ResumptionTests(RevocationCase):
    """OpenSSL verifies nothing then."""

    version = ssl.TLSVersion.TLSv1_3

    def refused(self, before: Policy, change: str) -> str:
        """The log's line when a session that was begun under other conditions is resumed."""
        now = [YEAR_2020]
        keeper = self.keeper(policy=before, now=lambda: now[0])
        context = self.context(self.client, self.version)
        first = MemoryClient(keeper, context)
        self.assertEqual(first.exchange(), b"served")
        if change == "time":
            now[0] = YEAR_2030
        again = MemoryClient(keeper, context, session=first.tls.session)
        with self.logged() as lines:
            self.assertEqual(again.exchange(), b"")
        self.assertTrue(again.tls.session_reused)
        self.assertEqual(again.recorder.made, 0)
        [line] = lines
        return line

    def test_expired_meanwhile(self) -> None:
        # OpenSSL goes by the real time: it is valid by that.
        end = datetime.datetime(2029, 1, 1, tzinfo=datetime.timezone.utc)
        self.client = self.ca.issue("client", purposes=[CLIENT], end=end)
        self.assertIn("its certificate has expired; certificate CN=client", self.refused(Policy(), "time"))


class ResumptionWithTLS12Tests(ResumptionTests):
    version = ssl.TLSVersion.TLSv1_2


class NameTests(TLSCase):
    version = ssl.TLSVersion.TLSv1_3

    def served(self, client: Credentials, policy: Policy) -> bool:
        """Whether a client is served; if not, nothing of what it says is heard."""
        connection = MemoryClient(self.keeper(policy=policy), self.context(client, self.version))
        with self.logged() as lines:
            answer = connection.exchange()
        self.assertEqual(connection.recorder.made, 1 if answer else 0)
        if not answer:
            [line] = lines
            self.assertRegex(line, "refused .*(common name|host names).*; certificate CN=.*, issued by CN=")
        return bool(answer)

    def test_common_names(self) -> None:
        policy = Policy(common_names=("alice", "bob"))
        for name, expected in (("bob", True), ("alice", True), ("Bob", False), ("eve", False)):
            self.assertIs(self.served(self.ca.issue(name, purposes=[CLIENT]), policy), expected, name)

    def test_host_names(self) -> None:
        for hosts, allowed, expected in (
            (["a.example.org"], "a.example.org", True),
            (["b.example.org", "a.example.org"], "A.example.org", True),
            (["b.example.org"], "a.example.org", False),
            (["*.example.org"], "a.example.org", True),
            (["*.example.org"], "example.org", False),
            (["192.0.2.1"], "192.0.2.1", True),
            (["192.0.2.1"], "192.0.2.2", False),
            (["::1"], "::1", True),
            # The common name counts if there is nothing else.
            ([], "cn.example.org", True),
            ([], "example.org", False),
            (["b.example.org"], "cn.example.org", False),
        ):
            client = self.ca.issue("cn.example.org", purposes=[CLIENT], hosts=hosts)
            served = self.served(client, Policy(host_names=("x.test", allowed)))
            self.assertIs(served, expected, (hosts, allowed))

    def test_both(self) -> None:
        policy = Policy(common_names=("a",), host_names=("a.example.org",))
        for name, host, expected in (
            ("a", "a.example.org", True),
            ("a", "b.example.org", False),
            ("b", "a.example.org", False),
        ):
            client = self.ca.issue(name, purposes=[CLIENT], hosts=[host])
            self.assertIs(self.served(client, policy), expected)

    def test_the_ca_is_asked_first(self) -> None:
        client = Authority.create("other CA").issue("bob", purposes=[CLIENT])
        connection = MemoryClient(
            self.keeper(policy=Policy(common_names=("bob",))), self.context(client, self.version)
        )
        self.assertRaises(ssl.SSLError, connection.exchange)


class NameWithTLS12Tests(NameTests):
    version = ssl.TLSVersion.TLSv1_2


class FileTests(RevocationCase):
    def refusal(self, content: bytes) -> str:
        path = self.file("bad.crl", content)
        error = self.assertRaises(TLSError, check, self.cert_file, self.key_file, self.ca_file, path)
        return str(error).replace(f"{self.directory}/", "")

    def test_wrong_content(self) -> None:
        give = "; give the CRL of the CA that signs the clients"
        none = f"--client-crl-file bad.crl holds no CRL, in neither PEM nor DER form{give}"
        for content in (b"", b"\x30\x82nonsense", pem(self.ca.certificate)):
            self.assertEqual(self.refusal(content), none)
        damaged = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
        self.assertEqual(self.refusal(damaged), f"--client-crl-file bad.crl holds a damaged CRL{give}")
        cut = self.ca.revoke().public_bytes(Encoding.PEM)[:-40]
        self.assertIn("is damaged: a PEM block begins and does not end", self.refusal(cut))

    def test_signed_by_somebody_else(self) -> None:
        false = Authority.create("test CA").revoke()
        self.assertIn(
            "holds a CRL that is not signed by its issuer CN=test CA,O=txetcd",
            self.refusal(false.public_bytes(Encoding.PEM)),
        )

    def test_two_cas_of_one_name(self) -> None:
        twin = Authority.create("test CA")
        self.file("ca.crt", pem(self.ca.certificate) + pem(twin.certificate))
        self.revoke(self.ca.revoke(), twin.revoke())
        check(self.cert_file, self.key_file, self.ca_file, self.crl_file)

    def test_delta(self) -> None:
        delta = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.ca.certificate.subject)
            .last_update(YEAR_2020)
            .next_update(YEAR_2030)
            .add_extension(x509.DeltaCRLIndicator(1), critical=True)
        ).sign(self.ca.key, hashes.SHA256())
        self.assertIn("holds a delta CRL", self.refusal(delta.public_bytes(Encoding.DER)))

    def test_alone(self) -> None:
        self.revoke(self.ca.revoke())
        for pair in ((self.cert_file, self.key_file), (None, None)):
            error = self.assertRaises(TLSError, check, *pair, None, self.crl_file)
            self.assertIn("--client-crl-file", str(error))
            self.assertIn("give --ca-file too", str(error))
