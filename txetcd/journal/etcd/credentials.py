"""Who we are to the members of an engine, and how we know them: TLS from files that may change."""

from __future__ import annotations

from cryptography import x509
from OpenSSL import crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, TLSVersion, optionsForClientTLS, trustRootFromCertificates
from twisted.logger import Logger
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from txetcd.engine import Engine
from txetcd.tls.files import File, Files, TLSError, load

_OPTIONS = ("--peer-cert-file", "--peer-key-file", "--peer-ca-file")
_CERTIFICATE = frozenset({b"CERTIFICATE"})


@implementer(IPolicyForHTTPS)
class Credentials:
    """Makes TLS connections to members: their certificates are verified, names and IP addresses too.

    The files are read again when they change; a replacement that does not work is logged, and the good ones
    stay in use.

    @raise TLSError: when the files do not work.
    """

    log = Logger()

    def __init__(self, engine: Engine) -> None:
        self._files = _files(engine)
        self._signature = self._current_signature()
        self._material = self._read()
        self._creators: dict[bytes, IOpenSSLClientConnectionCreator] = {}

    def _current_signature(self) -> list[tuple[int, ...]]:
        return [file.signature() for file in self._files if file is not None]

    def _read(self) -> tuple[list[x509.Certificate], dict[str, object]]:
        """The certificates to trust, and what to show."""
        certificate, key, authorities = self._files
        trusted = [] if authorities is None else authorities.blocks(_CERTIFICATE)
        if authorities is not None and not trusted:
            raise authorities.error("holds no certificate in PEM form")
        if certificate is None or key is None:
            shown: dict[str, object] = {}
        else:
            material = load(Files(certificate, key, authorities))
            leaf, *chain = [crypto.X509.from_cryptography(each) for each in material.chain]
            shown = {"privateKey": crypto.PKey.from_cryptography_key(material.key), "certificate": leaf}
            if chain:
                shown["extraCertChain"] = chain
        try:
            return [x509.load_pem_x509_certificate(block) for block in trusted], shown
        except ValueError:
            assert authorities is not None
            raise authorities.error("holds a damaged certificate") from None

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """See `IPolicyForHTTPS`."""
        signature = self._current_signature()
        if signature != self._signature:
            self._signature = signature
            try:
                self._material = self._read()
            except TLSError as error:
                self.log.error("The old certificates stay in use: {error}", error=str(error))
            else:
                self._creators.clear()
        creator = self._creators.get(hostname)
        if creator is None:
            creator = self._creators[hostname] = self._creator(hostname.decode("ascii"))
        return creator

    def _creator(self, hostname: str) -> IOpenSSLClientConnectionCreator:
        trusted, shown = self._material
        roots = [Certificate(crypto.X509.from_cryptography(each)) for each in trusted]
        return optionsForClientTLS(
            hostname,
            trustRootFromCertificates(roots) if roots else None,
            extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_2, **shown},
        )


def _files(engine: Engine) -> tuple[File | None, File | None, File | None]:
    cert_file, key_file, ca_file = engine.cert_file, engine.key_file, engine.ca_file
    if (cert_file is None) != (key_file is None):
        given, missing = (0, 1) if key_file is None else (1, 0)
        raise TLSError(f"{_OPTIONS[given]} is of no use alone; give {_OPTIONS[missing]} too")
    return (
        None
        if cert_file is None
        else File(_OPTIONS[0], cert_file, "give the certificate to show to the engine's members"),
        None if key_file is None else File(_OPTIONS[1], key_file, f"give the private key of {cert_file}"),
        None
        if ca_file is None
        else File(_OPTIONS[2], ca_file, "give the certificate of the CA that signs the engine's members"),
    )
