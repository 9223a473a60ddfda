"""Which server a command means, and whom it trusts: what the options say of that, checked and read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from OpenSSL import crypto
from twisted.internet.ssl import (
    Certificate,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from txetcd.moving import MovingError
from txetcd.tls.files import File, Files, TLSError, load

_CERTIFICATE = frozenset({b"CERTIFICATE"})


@dataclass(frozen=True)
class Given:
    """What the options say of a server.

    @ivar option: the one with the URL.
    @ivar prefix: what the others begin with.
    @ivar user: NAME:PASSWORD, or @FILE with a line of that.
    """

    option: str
    prefix: str
    url: str
    cert_file: Path | None = None
    key_file: Path | None = None
    ca_file: Path | None = None
    user: str | None = None


@dataclass(frozen=True)
class Server:
    """A server, and how to be accepted there.

    @ivar url: without a slash at its end.
    @ivar policy: whom to trust, and what certificate to show, over HTTPS.
    @ivar user: a name and a password.
    """

    url: str
    policy: IPolicyForHTTPS
    user: tuple[str, str] | None


def server(given: Given) -> Server:
    """Check and read what the options say.

    @raise MovingError: for what cannot be.
    """
    return Server(_url(given), _policy(given), _credentials(given))


def _url(given: Given) -> str:
    try:
        parts = urlsplit(given.url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port is not None
    except ValueError:
        fits = False
    if not fits or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        remedy = "give http://HOST:PORT or https://HOST:PORT"
        raise MovingError(f"{given.option} {given.url}: is not the URL of a server; {remedy}")
    return f"{parts.scheme}://{parts.netloc}"


def _credentials(given: Given) -> tuple[str, str] | None:
    if given.user is None:
        return None
    text, option = given.user, f"{given.prefix}user"
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "is not text"
            raise MovingError(f"{option} {given.user}: cannot be read ({reason}); name a file") from None
    name, colon, password = text.partition(":")
    if not name or not colon:
        raise MovingError(f"{option}: there is no name and password; give NAME:PASSWORD, or @FILE with that")
    return name, password


def _policy(given: Given) -> IPolicyForHTTPS:
    certificate, key, ca = (given.prefix + name for name in ("cert-file", "key-file", "ca-file"))
    if (given.cert_file is None) != (given.key_file is None):
        alone, missing = (certificate, key) if given.key_file is None else (key, certificate)
        raise MovingError(f"{alone} is of no use alone; give {missing} too")
    named = given.cert_file or given.ca_file
    if named is not None and given.url.startswith("http:"):
        raise MovingError(f"{given.option} {given.url}: {named} is of no use over HTTP; give an https URL")
    try:
        return _Policy(_trusted(given, ca), *_shown(given, certificate, key))
    except TLSError as error:
        raise MovingError(str(error)) from None


def _trusted(given: Given, option: str) -> Any:
    if given.ca_file is None:
        return platformTrust()
    file = File(option, given.ca_file, "give the CA of the server's certificate")
    blocks = file.blocks(_CERTIFICATE)
    if not blocks:
        raise file.error("holds no certificate in PEM form")
    try:
        return trustRootFromCertificates([Certificate.loadPEM(block) for block in blocks])
    except crypto.Error:
        raise file.error("holds a damaged certificate") from None


def _shown(given: Given, certificate: str, key: str) -> tuple[PrivateCertificate | None, dict[str, Any]]:
    """The client's certificate, and options with those that it is sent with."""
    if given.cert_file is None or given.key_file is None:
        return None, {}
    own = File(certificate, given.cert_file, "give the client's certificate")
    material = load(Files(own, File(key, given.key_file, f"give the private key of {own}")))
    to_x509 = crypto.X509.from_cryptography
    leaf, *chain = (to_x509(found) for found in material.chain)
    shown = PrivateCertificate.fromCertificateAndKeyPair(
        Certificate(leaf), KeyPair(crypto.PKey.from_cryptography_key(material.key))
    )
    return shown, {"extraCertChain": chain} if chain else {}


@implementer(IPolicyForHTTPS)
class _Policy:
    """Verifies the server's certificate, and its name."""

    def __init__(self, trusted: Any, shown: PrivateCertificate | None, more: dict[str, Any]) -> None:
        self._trusted = trusted
        self._shown = shown
        self._more = more

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """See `IPolicyForHTTPS`."""
        return optionsForClientTLS(
            hostname.decode("ascii"), self._trusted, self._shown, extraCertificateOptions=self._more
        )
