"""Certificates for the rows with TLS, made anew for each run."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from txetcd.ca.certificates import Authority

DAYS = 7
ServerKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Security:
    """The files of a server and of its client, and whether the client has to show its certificate."""

    certificate: Path
    key: Path
    ca: Path
    client: Path
    mutual: bool

    def client_context(self) -> ssl.SSLContext:
        """What a client needs, which always has its certificate with it."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.client)
        return context


def make_security(directory: Path, key: ServerKey, *, mutual: bool) -> Security:
    """Make a CA, a certificate for a server with this key, and one for a client (P-256); write them down."""
    now = datetime.datetime.now(datetime.timezone.utc)
    authority = Authority.create("benchmark CA", DAYS, now)
    client = authority.issue_client("client", DAYS, now)
    contents = {
        "server.crt": _server_certificate(authority, key).public_bytes(serialization.Encoding.PEM),
        "server.key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        "ca.crt": authority.certificate_pem,
        "client.pem": client.key_pem + client.certificate_pem,
    }
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    certificate, key_file, ca, client_file = (directory / name for name in contents)
    return Security(certificate, key_file, ca, client_file, mutual)


def new_p256() -> ServerKey:
    """A key on the curve that most certificates use."""
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa() -> ServerKey:
    """A key of the other kind that is met."""
    return rsa.generate_private_key(65537, 2048)


def _server_certificate(authority: Authority, key: ServerKey) -> x509.Certificate:
    # txetcd-ca makes no RSA keys, so this one is put together here.
    issuer = authority.certificate
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
