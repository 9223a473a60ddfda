"""The files of a TLS configuration: found, read, and refused with one clear sentence if they cannot work."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from txetcd import pages
from txetcd.tls import revocation

_CERTIFICATE = frozenset({b"CERTIFICATE"})
_REVOKED = frozenset({b"X509 CRL"})
_KEY = frozenset({b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"})
_PEM_BEGIN = re.compile(rb"^-----BEGIN ", re.MULTILINE)
_PEM_BLOCK = re.compile(
    rb"^-----BEGIN (?P<label>[A-Z0-9 ]+)-----[ \t\r]*$.*?^-----END (?P=label)-----[ \t\r]*$",
    re.MULTILINE | re.DOTALL,
)

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)


class TLSError(ValueError):
    """A TLS configuration that cannot work; the message is one sentence with option, file and remedy."""

    page = pages.CERTIFICATES


@dataclass(frozen=True)
class File:
    """A file: the option that names it, its path, and what the operator should give."""

    option: str
    path: Path
    remedy: str

    def __str__(self) -> str:
        return f"{self.option} {self.path}"

    def error(self, problem: str, remedy: str | None = None) -> TLSError:
        """What to raise when there is a problem with the file."""
        return TLSError(f"{self} {problem}; {remedy or self.remedy}")

    def read(self) -> bytes:
        """All that is in the file; raises `TLSError`."""
        try:
            # The file is read more than once, and a pipe may never end.
            content = self.path.read_bytes() if stat.S_ISREG(self.path.stat().st_mode) else None
        except OSError as error:
            raise self.error(f"cannot be read ({error.strerror})") from None
        except ValueError:
            raise self.error("cannot be read (there is a NUL in its name)") from None
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

    def signature(self) -> tuple[int, ...]:
        """What changes when the file is written to or replaced, whatever the times of its successor."""
        try:
            found = os.stat(self.path)
        except (OSError, ValueError):
            return ()
        return found.st_dev, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size


@dataclass(frozen=True)
class Files:
    """The files of one server.

    @ivar certificate: its certificate, with the chain below it if there is one.
    @ivar key: the certificate's private key.
    @ivar authorities: the CAs of clients; without it clients need no certificate.
    @ivar revoked: revocation lists of those CAs, or of CAs below them.
    """

    certificate: File
    key: File
    authorities: File | None = None
    revoked: File | None = None

    def __iter__(self) -> Iterator[File]:
        everything = (self.certificate, self.key, self.authorities, self.revoked)
        return (file for file in everything if file is not None)

    def signature(self) -> tuple[tuple[int, ...], ...]:
        """What changes when any of the files does."""
        return tuple(file.signature() for file in self)


def files(
    certificate: Path,
    key: Path,
    authorities: Path | None = None,
    revoked: Path | None = None,
    options: Sequence[str] = ("--cert-file", "--key-file", "--ca-file", "--client-crl-file"),
) -> Files:
    """Name the files of a server; `options` are what the operator calls them, in the same order."""
    certificate_option, key_option, authorities_option, revoked_option = options
    return Files(
        File(certificate_option, certificate, "give the server's certificate"),
        File(key_option, key, f"give the private key of {certificate_option} {certificate}"),
        None
        if authorities is None
        else File(authorities_option, authorities, "give the certificate of the CA that signs the clients"),
        None
        if revoked is None
        else File(revoked_option, revoked, "give the CRL of the CA that signs the clients"),
    )


@dataclass(frozen=True)
class Material:
    """What was in the files, whole and fitting together.

    @ivar chain: the server's certificate, and those that it is sent with.
    @ivar key: the private key of the first.
    @ivar authorities: the CAs of clients, each once.
    @ivar revocations: what they have revoked.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(compare=False)
    authorities: tuple[x509.Certificate, ...]
    revoked: tuple[x509.CertificateRevocationList, ...]


def load(named: Files) -> Material:
    """Read the files; raises `TLSError` if one of them does not work, or they do not fit each other."""
    chain = _read_certificates(named.certificate)
    key = _read_key(named.certificate, named.key, chain[0])
    authorities = [] if named.authorities is None else _read_certificates(named.authorities)
    authorities = list(dict.fromkeys(authorities))
    revoked = [] if named.revoked is None else _read_revoked(named.revoked, authorities)
    return Material(tuple(chain), key, tuple(authorities), tuple(revoked))


def _read_certificates(source: File) -> list[x509.Certificate]:
    """The certificates in a PEM file, of which there must be one at least; raises `TLSError`."""
    blocks = source.blocks(_CERTIFICATE)
    if not blocks:
        raise source.error("holds no certificate in PEM form")
    try:
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except ValueError:
        raise source.error("holds a damaged certificate") from None


def _read_key(certificate: File, source: File, leaf: x509.Certificate) -> PrivateKey:
    blocks = source.blocks(_KEY)
    if not blocks:
        raise source.error("holds no private key in PEM form")
    try:
        # Not pyOpenSSL's loader, which asks for the passphrase on the terminal.
        key = load_pem_private_key(blocks[0], password=None)
    except TypeError:
        remedy = f"give it without its passphrase, as 'openssl pkey -in {source.path}' prints it"
        raise source.error("is encrypted", remedy) from None
    except (ValueError, UnsupportedAlgorithm):
        raise source.error("holds a damaged private key") from None
    if not isinstance(key, PrivateKey):
        raise source.error("holds a kind of key that TLS has no use for", "make an EC or RSA pair")
    if key.public_key() != _public_key(certificate, leaf):
        raise source.error(f"does not fit the first certificate in {certificate}", "give its own key")
    # An ssl: endpoint takes the first key of both files together.
    if any(block.split() != blocks[0].split() for block in certificate.blocks(_KEY)):
        raise certificate.error(
            f"holds another private key than {source.option}", "leave only certificates in it"
        )
    return key


def _public_key(source: File, certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise source.error("holds a kind of key that TLS has no use for", "make an EC or RSA pair") from None


def _read_revoked(
    source: File, authorities: Sequence[x509.Certificate]
) -> list[x509.CertificateRevocationList]:
    """The revocation lists in a file: PEM blocks, or a single one in DER."""
    blocks = source.blocks(_REVOKED)
    try:
        if blocks:
            lists = [x509.load_pem_x509_crl(block) for block in blocks]
        else:
            lists = [x509.load_der_x509_crl(source.read())]
        objections = [revocation.objection(revoked, authorities) for revoked in lists]
    except ValueError:
        problem = "holds a damaged CRL" if blocks else "holds no CRL, in neither PEM nor DER form"
        raise source.error(problem) from None
    for objection in objections:
        if objection is not None:
            raise source.error(objection)
    return lists
