"""txetcd.ca.diagnosis: what is said of which certificate, and what of it ends a start."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import CLIENT, LOOPBACK, SERVER, Authority, self_signed
from txetcd.ca import certificates
from txetcd.ca.diagnosis import Finding, diagnose_authorities, diagnose_server

UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = datetime.timedelta(days=1)
CA = Authority.create("test CA")
OURS = certificates.Authority.create("our CA", 3650, NOW)


def texts(findings: Sequence[Finding]) -> list[str]:
    """The findings as an operator reads them after the option and the file."""
    return [f"{'error' if finding.is_error else 'warning'}: {finding}" for finding in findings]


class DiagnosisCase(SynchronousTestCase):
    def assert_found(self, findings: Sequence[Finding], *expected: str) -> None:
        """There are these findings and no others; what is expected are their beginnings."""
        said = texts(findings)
        self.assertEqual(len(said), len(expected), said)
        for text, beginning in zip(said, expected, strict=True):
            self.assertTrue(text.startswith(beginning), text)
            self.assertIn("; ", text)


class ServerTests(DiagnosisCase):
    def diagnose(
        self, *chain: x509.Certificate, advertised: Sequence[str] = (), now: datetime.datetime = NOW
    ) -> list[Finding]:
        return diagnose_server(chain, advertised, now)

    def lasting(self, begin: datetime.datetime, end: datetime.datetime) -> x509.Certificate:
        return CA.issue("s", purposes=[SERVER], hosts=LOOPBACK, begin=begin, end=end).certificate

    def test_nothing_to_say(self) -> None:
        for purposes in ([SERVER], [SERVER, CLIENT], [], [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]):
            self.assert_found(self.diagnose(CA.issue("s", purposes=purposes, hosts=LOOPBACK).certificate))
        self.assert_found(self.diagnose(OURS.issue_server(["a"], 60, NOW).certificate, OURS.certificate))

    def test_expired(self) -> None:
        certificate = self.lasting(NOW - 30 * DAY, NOW - DAY)
        self.assert_found(self.diagnose(certificate), "error: has expired on 2026-04-30; give")

    def test_not_yet_valid(self) -> None:
        certificate = self.lasting(NOW + DAY, NOW + 300 * DAY)
        expected = (
            "error: is not valid before 2026-05-02 12:00 UTC; set this machine's clock, which says 2026-05-01"
        )
        self.assert_found(self.diagnose(certificate), expected)

    def test_days_left(self) -> None:
        second = datetime.timedelta(seconds=1)
        for left, says in (
            (datetime.timedelta(), "warning: expires in less than a day, on 2026-05-01; give"),
            (DAY, "warning: expires in one day, on 2026-05-02; give"),
            (30 * DAY - second, "warning: expires in 29 days, on 2026-05-31; give"),
            (30 * DAY, None),
        ):
            found = self.diagnose(self.lasting(NOW - DAY, NOW + left))
            self.assert_found(found, *([] if says is None else [says]))

    def test_for_clients_only(self) -> None:
        certificate = CA.issue("s", purposes=[CLIENT], hosts=LOOPBACK).certificate
        self.assert_found(
            self.diagnose(certificate), "error: is not for servers: its extended key usages lack"
        )

    def test_no_host(self) -> None:
        found = self.diagnose(CA.issue("s", purposes=[SERVER]).certificate, advertised=["127.0.0.1"])
        self.assert_found(found, "warning: names no host (subjectAltName), so that most clients")

    def test_certificate_of_a_ca(self) -> None:
        expected = "error: is the certificate of a CA: its key usage lacks digitalSignature; give"
        self.assert_found(self.diagnose(OURS.certificate), expected, "warning: names no host")

    def test_ca_that_may_serve(self) -> None:
        # As `openssl req -x509 -addext subjectAltName=…` makes them: a CA without any key usage.
        self.assert_found(self.diagnose(anything_goes(ca=True)), "warning: is the certificate of a CA; give")

    def test_advertised(self) -> None:
        hosts = ["etcd.lan", "*.example.org", "10.0.0.5", "2001:db8::5"]
        certificate = CA.issue("s", purposes=[SERVER], hosts=hosts).certificate
        fits = [
            *("etcd.lan", "ETCD.LAN", "etcd.lan.", "a.example.org", "10.0.0.5", "2001:DB8:0::5"),
            *("0.0.0.0", "::", ""),
        ]
        self.assert_found(self.diagnose(certificate, advertised=fits))
        others = ["lan", "a.etcd.lan", "example.org", "a.b.example.org", "10.0.0.6", "::1"]
        found = self.diagnose(certificate, advertised=[*fits, *others, *others])
        is_for = f"warning: is for {', '.join(hosts)} and not for"
        self.assert_found(found, *(f"{is_for} {host}, where clients are sent to; give" for host in others))

    def test_an_address_is_no_pattern_and_no_name(self) -> None:
        certificate = CA.issue("s", purposes=[SERVER], hosts=["*.0.0.1"]).certificate
        self.assert_found(
            self.diagnose(certificate, advertised=["127.0.0.1"]), "warning: is for *.0.0.1 and not for"
        )

    def test_chain(self) -> None:
        leaf = CA.issue("s", purposes=[SERVER], hosts=LOOPBACK).certificate
        self.assert_found(self.diagnose(leaf, CA.intermediate("below").certificate))
        old = certificates.Authority.create("old CA", 10, NOW - 20 * DAY).certificate
        found = self.diagnose(leaf, old, self_signed("other").certificate)
        self.assert_found(
            found,
            "warning: sends 'old CA' along, which has expired on 2026-04-21; give",
            "warning: sends 'other' along, which is not a CA; leave",
        )

    def test_all_at_once(self) -> None:
        certificate = CA.issue("s", purposes=[CLIENT], end=NOW - DAY).certificate
        self.assert_found(
            self.diagnose(certificate),
            "error: has expired",
            "error: is not for servers",
            "warning: names no host",
        )

    def test_extensions_that_cannot_be_read(self) -> None:
        found = self.diagnose(anything_goes(ca=False, garbage=True))
        self.assert_found(found, "warning: names no host")


class AuthorityTests(DiagnosisCase):
    old = certificates.Authority.create("old CA", 10, NOW - 20 * DAY).certificate
    leaf = CA.issue("s", purposes=[SERVER], hosts=LOOPBACK).certificate

    def diagnose(self, *authorities: x509.Certificate, now: datetime.datetime = NOW) -> list[Finding]:
        return diagnose_authorities(authorities, now)

    def test_nothing_to_say(self) -> None:
        self.assert_found(
            self.diagnose(CA.certificate, OURS.certificate, CA.intermediate("below").certificate)
        )
        self.assert_found(self.diagnose(anything_goes(ca=True)))

    def test_no_ca(self) -> None:
        for certificate, name in (
            (self.leaf, "s"),
            (self_signed("own").certificate, "own"),
            (anything_goes(ca=None), "any"),
        ):
            self.assert_found(self.diagnose(certificate), f"error: holds {name!r}, which is not a CA; give")

    def test_expired(self) -> None:
        self.assert_found(
            self.diagnose(self.old),
            "error: holds 'old CA', which has expired on 2026-04-21; give the CA's new",
        )

    def test_not_yet_valid(self) -> None:
        found = self.diagnose(OURS.certificate, now=NOW - DAY)
        self.assert_found(found, "error: holds 'our CA', which is not valid before 2026-05-01 11:00 UTC; set")

    def test_days_left(self) -> None:
        found = self.diagnose(OURS.certificate, now=NOW + 3630 * DAY)
        self.assert_found(found, "warning: holds 'our CA', which expires in 19 days, on 2036-04-28; give")

    def test_beside_one_of_use(self) -> None:
        found = self.diagnose(self.old, OURS.certificate, self.leaf)
        self.assert_found(
            found, "warning: holds 'old CA', which has expired", "warning: holds 's', which is not a CA"
        )

    def test_none_of_use(self) -> None:
        found = self.diagnose(self.old, self.leaf)
        self.assert_found(
            found, "error: holds 'old CA', which has expired", "error: holds 's', which is not a CA"
        )


def anything_goes(*, ca: bool | None, garbage: bool = False) -> x509.Certificate:
    """A self-signed certificate with no more than basic constraints, if `ca` is not None, and a host.

    With `garbage` the host is something that is none.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "any")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 300 * DAY)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    names = x509.SubjectAlternativeName([x509.DNSName("any")])
    unreadable = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"garbage")
    builder = builder.add_extension(unreadable if garbage else names, critical=False)
    return builder.sign(key, hashes.SHA256())
