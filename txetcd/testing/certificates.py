"""Certificates for mutual TLS in tests: those of a CA, a server, a client and a stranger."""

from __future__ import annotations

import datetime
import functools
import ssl
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from OpenSSL import crypto
from twisted.internet.ssl import (
    Certificate,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from txetcd.ca.certificates import Authority, Pair

HOSTS = ("localhost", "127.0.0.1", "::1")
DAYS = 2


@dataclass(frozen=True)
class Files:
    """Where certificates and keys are, in PEM form: what programs are started with.

    @ivar ca_file: the CA that signed the server and the client.
    @ivar stranger_cert_file: the certificate of a client of another CA.
    """

    ca_file: Path
    server_cert_file: Path
    server_key_file: Path
    client_cert_file: Path
    client_key_file: Path
    stranger_cert_file: Path
    stranger_key_file: Path


@dataclass(frozen=True)
class Certificates:
    """A CA and what it signed, with keys on the curve P-256.

    @ivar ca: the CA, which can sign more.
    @ivar server: a server's, for `localhost`, 127.0.0.1 and ::1.
    @ivar client: a client's; its common name is `client`.
    @ivar stranger: a client's of the same name, but of a CA that nobody trusts.
    """

    ca: Authority
    server: Pair
    client: Pair
    stranger: Pair

    @classmethod
    def create(cls) -> Certificates:
        """Make new ones."""
        now = _now()
        ca = Authority.create("txetcd.testing", DAYS, now)
        other = Authority.create("another CA", DAYS, now)
        server, client = ca.issue_server(HOSTS, DAYS, now), ca.issue_client("client", DAYS, now)
        return cls(ca, server, client, other.issue_client("client", DAYS, now))

    def issue_client(self, name: str) -> Pair:
        """Make one more client's certificate, whose common name is `name`."""
        return self.ca.issue_client(name, DAYS, _now())

    def write(self, directory: Path) -> Files:
        """Write everything into files in a directory that exists."""
        ca_file = directory / "ca.crt"
        ca_file.write_bytes(self.ca.certificate_pem)
        pairs = {"server": self.server, "client": self.client, "stranger": self.stranger}
        written = [path for name, pair in pairs.items() for path in write(pair, directory, name)]
        return Files(ca_file, *written)

    def policy(self, client: Pair | None = None) -> IPolicyForHTTPS:
        """Whom an Agent trusts, and what it shows.

        @param client: the certificate to show instead of `client`.
        """
        return _Policy(self.ca, self.client if client is None else client)

    def ssl_context(self, client: Pair | None = None) -> ssl.SSLContext:
        """The same for clients that take a context of the `ssl` module."""
        context = ssl.create_default_context(cadata=self.ca.certificate_pem.decode())
        with TemporaryDirectory() as directory:
            context.load_cert_chain(
                *write(self.client if client is None else client, Path(directory), "client")
            )
        return context


@functools.cache
def certificates() -> Certificates:
    """Those of this process; made when they are first asked for."""
    return Certificates.create()


def write(pair: Pair, directory: Path, name: str) -> tuple[Path, Path]:
    """Write a certificate and its key into two files; give their paths."""
    cert_file, key_file = directory / f"{name}.crt", directory / f"{name}.key"
    cert_file.write_bytes(pair.certificate_pem)
    key_file.touch(mode=0o600)
    key_file.write_bytes(pair.key_pem)
    return cert_file, key_file


@implementer(IPolicyForHTTPS)
class _Policy:
    """Trusts servers of one CA, and shows a certificate."""

    def __init__(self, ca: Authority, client: Pair) -> None:
        to_x509 = crypto.X509.from_cryptography
        self._trusted = trustRootFromCertificates([Certificate(to_x509(ca.certificate))])
        key = KeyPair(crypto.PKey.from_cryptography_key(client.key))
        shown = Certificate(to_x509(client.certificate))
        self._shown = PrivateCertificate.fromCertificateAndKeyPair(shown, key)

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """See `IPolicyForHTTPS`."""
        return optionsForClientTLS(hostname.decode("ascii"), self._trusted, self._shown)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
