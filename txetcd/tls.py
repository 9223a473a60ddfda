"""TLS: certificate, key and CA files into what Twisted listens with, and clear errors for what cannot work.

With a server certificate alone the endpoint is a Twisted `ssl:` string.  Those cannot ask for client
certificates, so with a CA it is `CertificateOptions` to wrap a `tcp:` endpoint in.  Either way the files are
read and the OpenSSL context is built at once: what is wrong is found at start, not by the first client.
"""

from __future__ import annotations

import datetime
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)

# TLS 1.2 with forward secrecy and authenticated encryption; TLS 1.3 has nothing else.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

# OpenSSL's own default; Twisted's 9 would refuse clients below a longer chain of intermediates.
VERIFY_DEPTH = 100

HTTP_1_1 = b"http/1.1"

_CERTIFICATE = frozenset({b"CERTIFICATE"})
_KEY = frozenset({b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"})
_PEM_BEGIN = re.compile(rb"^-----BEGIN ", re.MULTILINE)
_PEM_BLOCK = re.compile(
    rb"^-----BEGIN (?P<label>[A-Z0-9 ]+)-----[ \t\r]*$.*?^-----END (?P=label)-----[ \t\r]*$",
    re.MULTILINE | re.DOTALL,
)

_PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)


class TLSError(ValueError):
    """A TLS configuration that cannot work; the message is one sentence with option, file and remedy."""


@dataclass(frozen=True)
class CertificateDescription:
    """What a log line says of a certificate: its subject (RFC 4514) and the last moment of its validity."""

    subject: str
    not_after: datetime.datetime


@dataclass(frozen=True)
class _Source:
    """A file of PEM blocks: the option that names it, its path, and what the operator should give."""

    option: str
    path: Path
    remedy: str

    def error(self, problem: str, remedy: str | None = None) -> TLSError:
        return TLSError(f"{self.option} {self.path} {problem}; {remedy or self.remedy}")

    def read(self) -> bytes:
        try:
            # The file is read more than once, and a pipe may never end.
            content = self.path.read_bytes() if stat.S_ISREG(self.path.stat().st_mode) else None
        except (OSError, ValueError) as error:  # ValueError: NUL in the path
            raise self.error(f"cannot be read ({getattr(error, 'strerror', error)})") from None
        if content is None:
            raise self.error("is not a regular file")
        return content

    def blocks(self, labels: frozenset[bytes]) -> list[bytes]:
        """The PEM blocks with one of these labels, in order; refuses a file that was cut off."""
        data = self.read()
        blocks = list(_PEM_BLOCK.finditer(data))
        if len(blocks) != len(_PEM_BEGIN.findall(data)):
            raise self.error("is damaged: a PEM block begins and does not end", "copy it anew")
        return [block.group() + b"\n" for block in blocks if block["label"] in labels]


def check(cert_file: Path | None, key_file: Path | None, ca_file: Path | None) -> None:
    """Try the files out exactly as a start does.

    Raises `TLSError` for half a configuration, and for files that a server could not be started with.
    """
    if cert_file is None:
        if key_file is not None:
            raise TLSError(
                f"--key-file {key_file} is of no use alone; give its certificate as --cert-file too"
            )
        if ca_file is not None:
            raise TLSError(
                f"--ca-file {ca_file} is of no use alone, because clients show certificates over HTTPS only; "
                "give the server's --cert-file and --key-file too"
            )
    elif key_file is None:
        raise TLSError(f"--cert-file {cert_file} is of no use alone; give its private key as --key-file too")
    elif ca_file is None:
        server_endpoint_description("", 0, cert_file, key_file)
    else:
        client_auth_options(cert_file, key_file, ca_file)


def server_endpoint_description(host: str, port: int, cert_file: Path, key_file: Path) -> str:
    """Return the Twisted string endpoint that serves TLS on `host`:`port` to any client.

    `host` is an IPv4 or IPv6 address without brackets, or "" for all of IPv4.  The rest of a chain in
    `cert_file` is sent along.  An `ssl:` endpoint has TLS 1.2 and 1.3 and Twisted's own ciphers, CBC among
    them and, for RSA keys, key exchange without forward secrecy; `server_options` does without those.
    Raises `TLSError` for files that do not work.
    """
    options = server_options(cert_file, key_file)
    arguments = {"interface": host, "privateKey": str(key_file), "certKey": str(cert_file)}
    if options.extraCertChain:
        _check_chain_for_twisted(_cert_source(cert_file))
        # The server's own certificate goes out twice then, which clients ignore; ssl: cannot leave it out.
        arguments["extraCertChain"] = str(cert_file)
    quoted = [f"{name}={quoteStringArgument(value)}" for name, value in arguments.items() if value]
    return ":".join(["ssl", str(port), *quoted])


def server_options(cert_file: Path, key_file: Path) -> CertificateOptions:
    """Return the options of a server that serves any client.

    Use them with `twisted.internet.endpoints.wrapServerTLS`.  Raises `TLSError` for files that do not work.
    """
    return _build(cert_file, key_file, [])


def client_auth_options(cert_file: Path, key_file: Path, ca_file: Path) -> CertificateOptions:
    """Return the options of a server that serves only clients with a certificate of a CA in `ca_file`.

    All other clients are refused in the handshake: those with no certificate, with an expired one, or with an
    extended key usage that lacks clientAuth.  Nothing is ever resumed, so that each connection's certificate
    is verified anew.  Use them with `twisted.internet.endpoints.wrapServerTLS`.  Raises `TLSError` for files
    that do not work.
    """
    source = _Source("--ca-file", ca_file, "give the certificate of the CA that signs the clients")
    authorities = list(dict.fromkeys(_read_certificates(source)))
    options = _build(cert_file, key_file, authorities)
    context = options.getContext()
    for authority in authorities:
        context.add_client_ca(authority)
    # A CA file may hold an intermediate CA without its root.
    store = context.get_cert_store()
    if store is not None:
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    return options


def describe_certificate(cert_file: Path) -> CertificateDescription:
    """Return what to say of the server's certificate, the first in `cert_file`; raises `TLSError`."""
    certificate = _read_certificates(_cert_source(cert_file))[0]
    return CertificateDescription(certificate.subject.rfc4514_string(), certificate.not_valid_after_utc)


def _build(cert_file: Path, key_file: Path, authorities: Sequence[x509.Certificate]) -> CertificateOptions:
    """Options whose context exists already; with `authorities`, clients must show a certificate of theirs."""
    source = _cert_source(cert_file)
    leaf, *chain = _read_certificates(source)
    key = _read_key(source, key_file, leaf)
    to_x509 = crypto.X509.from_cryptography
    trusted = [Certificate(to_x509(authority)) for authority in authorities]
    options = CertificateOptions(
        privateKey=crypto.PKey.from_cryptography_key(key),
        certificate=to_x509(leaf),
        extraCertChain=[to_x509(certificate) for certificate in chain],
        trustRoot=trustRootFromCertificates(trusted) if trusted else None,
        verifyDepth=VERIFY_DEPTH,
        acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(CIPHERS),
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )
    try:
        context = options.getContext()
    except SSL.Error as error:
        reason = ", ".join(entry[-1] for entry in error.args[0])
        remedy = "give one with a stronger key or signature, for example P-256 with SHA-256"
        raise source.error(f"is refused by OpenSSL ({reason})", remedy) from None
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    # Twisted's own selection answers a client that offers only other protocols with internal_error.
    context.set_alpn_select_callback(
        lambda _, offered: HTTP_1_1 if HTTP_1_1 in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    return options


def _cert_source(cert_file: Path) -> _Source:
    return _Source("--cert-file", cert_file, "give the server's certificate")


def _read_certificates(source: _Source) -> list[x509.Certificate]:
    blocks = source.blocks(_CERTIFICATE)
    if not blocks:
        raise source.error("holds no certificate in PEM form")
    try:
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except ValueError:
        raise source.error("holds a damaged certificate") from None


def _read_key(cert_source: _Source, key_file: Path, leaf: x509.Certificate) -> _PrivateKey:
    source = _Source("--key-file", key_file, f"give the private key of --cert-file {cert_source.path}")
    blocks = source.blocks(_KEY)
    if not blocks:
        raise source.error("holds no private key in PEM form")
    try:
        # Not pyOpenSSL's loader, which asks for the passphrase on the terminal.
        key = load_pem_private_key(blocks[0], password=None)
    except TypeError:
        remedy = f"give it without its passphrase, as 'openssl pkey -in {key_file}' prints it"
        raise source.error("is encrypted", remedy) from None
    except (ValueError, UnsupportedAlgorithm):
        raise source.error("holds a damaged private key") from None
    if not isinstance(key, _PrivateKey):
        raise source.error("holds a kind of key that TLS has no use for", "make an EC or RSA pair")
    if key.public_key() != _public_key(cert_source, leaf):
        raise source.error(
            f"does not fit the first certificate in --cert-file {cert_source.path}", "give its own key"
        )
    # An ssl: endpoint takes the first key of both files together.
    if any(block.split() != blocks[0].split() for block in cert_source.blocks(_KEY)):
        raise cert_source.error("holds another private key than --key-file", "leave only certificates in it")
    return key


def _public_key(source: _Source, certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise source.error("holds a kind of key that TLS has no use for", "make an EC or RSA pair") from None


def _check_chain_for_twisted(source: _Source) -> None:
    """Twisted's ssl: finds no certificate of a chain behind CRLF, and wants the file to be ASCII."""
    data = source.read()
    if b"\r" in data or not data.isascii():
        raise source.error(
            "holds a chain with CRLF line ends or text that is not ASCII", "write it with neither"
        )
