"""From the files to what OpenSSL is told: `CertificateOptions` whose context is whole before it is used."""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL, crypto
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)

from txetcd.tls.files import Files, Material, TLSError
from txetcd.tls.policy import Policy
from txetcd.tls.revocation import usable

# OpenSSL's own default; Twisted's 9 would refuse clients below a longer chain of intermediates.
VERIFY_DEPTH = 100

# Seconds for which a session may be resumed: after that, OpenSSL verifies the client's whole chain again.
SESSION_LIFETIME = 300

HTTP_1_1 = b"http/1.1"

_TWISTED_VERSIONS = {"TLS1.2": TLSVersion.TLSv1_2, "TLS1.3": TLSVersion.TLSv1_3}

# What OpenSSL finds wrong with revocation lists and not with certificates: there is none of this CA, or it
# should have been followed by a newer one, or its time has not come.  What they do revoke is refused all the
# same.
_TOLERATED = frozenset(
    {
        SSL.X509VerificationCodes.ERR_UNABLE_TO_GET_CRL,
        SSL.X509VerificationCodes.ERR_CRL_HAS_EXPIRED,
        SSL.X509VerificationCodes.ERR_CRL_NOT_YET_VALID,
    }
)

# Called when OpenSSL refuses a certificate: with the connection, the certificate, if it can be read by others
# too, and the number of the error.
Objected = Callable[[SSL.Connection, x509.Certificate | None, int], None]


def build(
    files: Files,
    material: Material,
    policy: Policy,
    *,
    ask_clients: bool,
    sessions: bool = False,
    objected: Objected | None = None,
) -> CertificateOptions:
    """Options whose context exists already.

    @param ask_clients: clients must show a certificate of one of the authorities.
    @param sessions: clients may resume sessions, by tickets, so that nothing is kept of them here.  Whoever
        says so looks at the client's certificate after every handshake, as `txetcd.tls.connection` does.
    @param objected: is told what OpenSSL has against a client's certificate.
    @raise TLSError: OpenSSL does not take the certificate, or has no use for it with these cipher suites.
    """
    leaf, *chain = material.chain
    to_x509 = crypto.X509.from_cryptography
    trusted = [Certificate(to_x509(authority)) for authority in material.authorities]
    options = CertificateOptions(
        privateKey=crypto.PKey.from_cryptography_key(material.key),
        certificate=to_x509(leaf),
        extraCertChain=[to_x509(certificate) for certificate in chain],
        trustRoot=trustRootFromCertificates(trusted) if ask_clients else None,
        verifyDepth=VERIFY_DEPTH,
        acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(_cipher_string(files, material, policy)),
        raiseMinimumTo=_TWISTED_VERSIONS[policy.minimum],
        enableSessionTickets=sessions,
    )
    try:
        context = options.getContext()
    except SSL.Error as error:
        reason = ", ".join(entry[-1] for entry in error.args[0])
        remedy = "give one with a stronger key or signature, for example P-256 with SHA-256"
        raise files.certificate.error(f"is refused by OpenSSL ({reason})", remedy) from None
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_tls13_ciphersuites(":".join(suite.name for suite in policy.offered("TLS1.3")).encode())
    context.set_timeout(SESSION_LIFETIME)
    # Twisted's own selection answers a client that offers only other protocols with internal_error.
    context.set_alpn_select_callback(
        lambda _, offered: HTTP_1_1 if HTTP_1_1 in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    if ask_clients:
        _ask_clients(context, material, objected)
    return options


def _cipher_string(files: Files, material: Material, policy: Policy) -> str:
    """The suites for TLS 1.2."""
    suites = policy.offered("TLS1.2")
    kind = "RSA" if isinstance(material.key, rsa.RSAPrivateKey) else "EC"
    if policy.minimum == "TLS1.2" and not any(suite.key == kind for suite in suites):
        word = "RSA" if kind == "RSA" else "ECDSA"
        raise TLSError(
            f"--cipher-suites has none for TLS 1.2 that goes with the {kind} key of {files.certificate}; "
            f"add one with {word} in its name, or give --tls-min-version TLS1.3"
        )
    return ":".join(suite.name for suite in suites)


def _ask_clients(context: SSL.Context, material: Material, objected: Objected | None) -> None:
    for authority in material.authorities:
        context.add_client_ca(authority)
    store = context.get_cert_store()
    assert store is not None
    # A CA file may hold an intermediate CA without its root.
    flags = crypto.X509StoreFlags.PARTIAL_CHAIN
    if material.revoked:
        flags |= crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
        for revoked in usable(material.revoked, material.authorities):
            store.add_crl(revoked)
    store.set_flags(flags)

    def verified(
        connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, good: int
    ) -> bool:
        # To return True clears the error, and False without one would be told as an internal error: nothing
        # else is decided here.
        if good or error in _TOLERATED:
            return True
        if objected is not None:
            objected(connection, _readable(certificate), error)
        return False

    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verified)


def _readable(certificate: crypto.X509) -> x509.Certificate | None:
    try:
        return certificate.to_cryptography()
    except ValueError:
        return None
