"""Certificates for tests: authorities, intermediates and leaves, made in memory with small, quick keys.

ca = Authority.create("test CA")
client = ca.issue("client", purposes=[CLIENT])
cert_file, key_file = client.write(directory, "client")
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

LOOPBACK = ("127.0.0.1", "::1", "localhost")

# Apple's systems refuse server certificates that begin after July 2019 and are valid for more than 825 days.
BEGIN = datetime.datetime(2019, 1, 1, tzinfo=datetime.timezone.utc)
END = datetime.datetime(2069, 1, 1, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True)
class Credentials:
    """A certificate, its private key, and the intermediates that its owner sends along."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def certificate_pem(self) -> bytes:
        """The certificate and then its chain, as a server's or client's certificate file holds them."""
        return b"".join(pem(certificate) for certificate in (self.certificate, *self.chain))

    @property
    def key_pem(self) -> bytes:
        """The private key, not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def write(self, directory: Path, stem: str) -> tuple[Path, Path]:
        """Write `<stem>.crt` and `<stem>.key` into `directory` and return their paths."""
        cert_file, key_file = directory / f"{stem}.crt", directory / f"{stem}.key"
        cert_file.write_bytes(self.certificate_pem)
        key_file.write_bytes(self.key_pem)
        return cert_file, key_file


@dataclass(frozen=True)
class Authority(Credentials):
    """A CA, root or intermediate, that issues certificates."""

    @classmethod
    def create(cls, name: str) -> Authority:
        """Make a self-signed root CA called `name`."""
        key = _new_key()
        builder = _builder(name, _name(name), key.public_key(), key.public_key(), BEGIN, END)
        return cls(_as_authority(builder).sign(key, hashes.SHA256()), key)

    def intermediate(
        self, name: str, *, path_length: int | None = None, end: datetime.datetime = END
    ) -> Authority:
        """Make a CA called `name` that this one has signed; what it issues carries it in the chain.

        `path_length` is how many CAs there may be below it, `end` the end of its validity.
        """
        key = _new_key()
        builder = _builder(
            name, self.certificate.subject, key.public_key(), self.key.public_key(), BEGIN, end
        )
        certificate = _as_authority(builder, path_length).sign(self.key, hashes.SHA256())
        return Authority(certificate, key, (certificate, *self.chain))

    def revoke(
        self,
        *revoked: x509.Certificate | int,
        begin: datetime.datetime = BEGIN,
        end: datetime.datetime = END,
        issuer: x509.Name | None = None,
    ) -> x509.CertificateRevocationList:
        """Make a list that revokes certificates or serial numbers, and calls itself that of `issuer`."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer or self.certificate.subject)
            .last_update(begin)
            .next_update(end)
            .add_extension(x509.CRLNumber(1), critical=False)
        )
        for each in revoked:
            serial = each if isinstance(each, int) else each.serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, hashes.SHA256())

    def issue(
        self,
        name: str,
        *,
        purposes: Iterable[x509.ObjectIdentifier] = (),
        hosts: Iterable[str] = (),
        begin: datetime.datetime = BEGIN,
        end: datetime.datetime = END,
        key: PrivateKey | None = None,
    ) -> Credentials:
        """Make a certificate for `name`.

        `purposes` are its extended key usages (none: it has no such extension), `hosts` its subject
        alternative names, `begin` and `end` its validity, `key` its key if it must not be a new P-256 one.
        """
        key = key or _new_key()
        builder = _builder(
            name, self.certificate.subject, key.public_key(), self.key.public_key(), begin, end
        )
        return Credentials(
            _as_leaf(builder, purposes, hosts).sign(self.key, hashes.SHA256()), key, self.chain
        )


def self_signed(name: str, *, purposes: Iterable[x509.ObjectIdentifier] = ()) -> Credentials:
    """Make a certificate for `name` that nobody but its own key has signed, and that is no CA."""
    key = _new_key()
    builder = _builder(name, _name(name), key.public_key(), key.public_key(), BEGIN, END)
    return Credentials(_as_leaf(builder, purposes, ()).sign(key, hashes.SHA256()), key)


def pem(certificate: x509.Certificate) -> bytes:
    """Return `certificate` in PEM form."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "txetcd"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    name: str,
    issuer: x509.Name,
    public_key: PublicKey,
    issuer_key: PublicKey,
    begin: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    """What roots, intermediates and leaves have in common."""
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _as_authority(
    builder: x509.CertificateBuilder, path_length: int | None = None
) -> x509.CertificateBuilder:
    return builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=path_length), critical=True
    ).add_extension(_key_usage(authority=True), critical=True)


def _as_leaf(
    builder: x509.CertificateBuilder, purposes: Iterable[x509.ObjectIdentifier], hosts: Iterable[str]
) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(authority=False), critical=True)
    if purposes := list(purposes):
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if names := [_general_name(host) for host in hosts]:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
