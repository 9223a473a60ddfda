"""A CA and what it signs: certificates of servers, clients and an engine, and the list of those revoked.

Pure: the time is an argument, and what comes of it is in memory.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from txetcd.ca import CAError
from txetcd.ca.names import MAX_COMMON_NAME, check_client_name, check_common_name, host_text, parse_host

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)

# Days.  Apple's systems refuse a server's certificate that lasts longer than 825.
CA_DAYS = 3650
LEAF_DAYS = 825

# Clocks differ: what is valid from now on would not be valid yet on a machine whose clock is behind.
CLOCK_TOLERANCE = datetime.timedelta(hours=1)
_SERVER_PURPOSES = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
_SECOND = datetime.timedelta(seconds=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM form."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key in PEM form (PKCS #8), not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


class Authority(Pair):
    """A CA, a root, with what it signs."""

    @classmethod
    def create(cls, name: str, days: int, now: datetime.datetime) -> Authority:
        """Make a CA called `name` that is valid for so many days and signs no other CAs.

        Raises `CAError` for a name that does not fit into a certificate.
        """
        check_common_name(name)
        key = _new_key()
        begin = _begin(now)
        subject = _common_name(name)
        builder = _builder(subject, key.public_key(), subject, key.public_key(), begin, _end(begin, days))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(ca=True), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @property
    def end(self) -> datetime.datetime:
        """The last second of its validity."""
        return self.certificate.not_valid_after_utc

    def issue_server(self, hosts: Sequence[str], days: int, now: datetime.datetime) -> Pair:
        """Make a server's certificate for host names and IP addresses; the first is its common name.

        It is valid for so many days, but no longer than the CA.  Raises `CAError` for no hosts, and for
        text that is no host.
        """
        first, alternatives = _alternatives(hosts)
        return self._issue(_common_name(first), [ExtendedKeyUsageOID.SERVER_AUTH], [alternatives], days, now)

    def issue_client(self, name: str, days: int, now: datetime.datetime) -> Pair:
        """Make a client's certificate whose common name is `name`.

        It is valid for so many days, but no longer than the CA.  Raises `CAError` for a name that
        cannot be that of its files.
        """
        check_client_name(name)
        return self._issue(_common_name(name), [ExtendedKeyUsageOID.CLIENT_AUTH], [], days, now)

    def issue_member(self, hosts: Sequence[str], days: int, now: datetime.datetime) -> Pair:
        """Make the certificate of a member of an etcd cluster, for its host names and IP addresses.

        A member is a client too: of its peers and, for what comes in as JSON, of itself.  The first host is
        its organization; etcd's JSON gateway refuses a client that has a common name when passwords are on.
        Otherwise like `issue_server`.
        """
        first, alternatives = _alternatives(hosts)
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._issue(_organization(first), purposes, [alternatives], days, now)

    def issue_gateway(self, name: str, days: int, now: datetime.datetime) -> Pair:
        """Make the certificate that a server of ours shows to an etcd cluster; `name` is its organization.

        It has no common name, as those of members.  Otherwise like `issue_client`.
        """
        check_client_name(name)
        return self._issue(_organization(name), [ExtendedKeyUsageOID.CLIENT_AUTH], [], days, now)

    def has_signed(self, certificate: x509.Certificate) -> bool:
        """Tell whether this CA has signed a certificate, and the certificate says so."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def sign_crl(
        self,
        previous: x509.CertificateRevocationList | None,
        revoked: Iterable[x509.Certificate],
        now: datetime.datetime,
    ) -> x509.CertificateRevocationList:
        """Sign a list of revoked certificates: those of the previous list, and more.

        The list is in date as long as the CA is: one that runs out would shut every client out.  Raises
        `CAError` when the CA has expired.
        """
        self._check_expiry(now)
        number = 1
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(_begin(now)).next_update(self.end)
        if previous is not None:
            number += previous.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            for entry in previous:
                builder = builder.add_revoked_certificate(entry)
        for certificate in revoked:
            entry_builder = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(entry_builder.revocation_date(now).build())
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        builder = builder.add_extension(_key_id(self.key.public_key()), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def _issue(
        self,
        subject: x509.Name,
        purposes: Iterable[x509.ObjectIdentifier],
        more: Iterable[x509.ExtensionType],
        days: int,
        now: datetime.datetime,
    ) -> Pair:
        self._check_expiry(now)
        key = _new_key()
        begin = _begin(now)
        builder = _builder(
            *(subject, key.public_key(), self.certificate.subject, self.key.public_key()),
            *(begin, min(_end(begin, days), self.end)),
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(ca=False), critical=True)
        for extension in (x509.ExtendedKeyUsage(purposes), *more):
            builder = builder.add_extension(extension, critical=False)
        return Pair(builder.sign(self.key, hashes.SHA256()), key)

    def _check_expiry(self, now: datetime.datetime) -> None:
        if self.end <= now:
            raise CAError(f"the CA has expired on {self.end:%Y-%m-%d}; make a new one in another directory")


def common_name(certificate: x509.Certificate) -> str:
    """Return the subject's common name; without one, the whole subject."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def made_for(certificate: x509.Certificate) -> str:
    """Return the name that a certificate was made for: a client's, or the first of a server's hosts."""
    names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return common_name(certificate) if _has_common_name(certificate) or not names else str(names[0].value)


def kind(certificate: x509.Certificate) -> str:
    """Tell whether a certificate is that of a server or client, or a member or gateway of an engine."""
    if _has_common_name(certificate):
        return "server" if is_for_servers(certificate) else "client"
    return "member" if is_for_servers(certificate) else "gateway"


def is_for_servers(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate has serverAuth among its extended key usages, or has no such extension."""
    purposes = extension(certificate, x509.ExtendedKeyUsage)
    return purposes is None or not _SERVER_PURPOSES.isdisjoint(purposes)


def hosts(certificate: x509.Certificate) -> list[str]:
    """Return the host names and IP addresses that a certificate is for."""
    names = extension(certificate, x509.SubjectAlternativeName) or ()
    return [host_text(name) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]


def extension(certificate: x509.Certificate, kind: type[ExtensionT]) -> ExtensionT | None:
    """Return one of a certificate's extensions, or None when it has none or they cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return None


def _begin(now: datetime.datetime) -> datetime.datetime:
    return now.replace(microsecond=0) - CLOCK_TOLERANCE


def _end(begin: datetime.datetime, days: int) -> datetime.datetime:
    # The last second is part of the validity.
    return begin + datetime.timedelta(days=days) - _SECOND


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _organization(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])


def _has_common_name(certificate: x509.Certificate) -> bool:
    return bool(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))


def _alternatives(hosts: Sequence[str]) -> tuple[str, x509.SubjectAlternativeName]:
    """The first of some hosts, as it goes into a subject, and the extension with all of them."""
    names = [parse_host(host) for host in hosts]
    if not names:
        raise CAError("a server's certificate needs a host name or IP address; give at least one")
    first = host_text(names[0])
    if len(first) > MAX_COMMON_NAME:
        raise CAError(f"{first!r} is longer than {MAX_COMMON_NAME} characters; give a shorter one first")
    return first, x509.SubjectAlternativeName(dict.fromkeys(names))


def _key_id(key: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _builder(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePublicKey,
    begin: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    """What the CA's own certificate and those it signs have in common."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_key_id(issuer_key), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
