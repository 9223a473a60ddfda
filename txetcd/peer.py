"""Who the client of a connection is, by the certificate that it has shown."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import ISSLTransport

from txetcd.tls.rules import common_name


def client_certificate(transport: Any) -> x509.Certificate | None:
    """Return the certificate of a connection's client; None if it has shown none that was verified.

    @param transport: of a connection, such as the `transport` of a request, whoever made it.
    """
    if not ISSLTransport.providedBy(transport):
        return None
    handle: Any = transport
    connection = handle.getHandle()
    # Where clients need not be verified, a certificate could be anybody's.
    if connection is None or not connection.get_context().get_verify_mode() & SSL.VERIFY_PEER:
        return None
    certificate: x509.Certificate | None = connection.get_peer_certificate(as_cryptography=True)
    return certificate


def client_name(transport: Any) -> str | None:
    """Return the common name in the certificate of a connection's client; None if there is none."""
    certificate = client_certificate(transport)
    return None if certificate is None else common_name(certificate)
