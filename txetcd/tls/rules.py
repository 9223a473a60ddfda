"""What the certificate of a client must be after OpenSSL has found nothing wrong with its chain.

OpenSSL verifies nothing when a session is resumed, so these are asked after every handshake.  Pure.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from txetcd.tls.policy import Policy
from txetcd.tls.revocation import Revocations


def common_name(certificate: x509.Certificate) -> str | None:
    """The common name of a certificate's subject, the last if there are several."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else None


@dataclass(frozen=True)
class Rules:
    """What is asked of a client's certificate.

    @ivar required: there must be one at all.
    @ivar policy: which names it may have.
    @ivar revocations: it must not be on these lists.
    """

    required: bool
    policy: Policy
    revocations: Revocations

    def objection(self, certificate: x509.Certificate | None, now: datetime.datetime) -> str | None:
        """Why a client with this certificate is to be refused; None if it is welcome."""
        if not self.required:
            return None
        if certificate is None:
            return "it has shown no certificate"
        if now < certificate.not_valid_before_utc:
            return "its certificate is not valid yet"
        if now > certificate.not_valid_after_utc:
            return "its certificate has expired"
        if self.revocations.revoke(certificate):
            return "its certificate is revoked"
        allowed = self.policy.common_names
        if allowed and common_name(certificate) not in allowed:
            return "its common name is not an allowed one"
        hosts = self.policy.host_names
        if hosts and not any(_is_valid_for(certificate, host) for host in hosts):
            return "its certificate is for none of the allowed host names"
        return None


def _is_valid_for(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate is for a host, as a client of that host would see it.

    The common name counts where there are no alternative names, as it does for etcd.
    """
    try:
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return (common_name(certificate) or "").lower() == host.lower()
    except ValueError:
        return False
    try:
        if is_ip(host):
            verify_certificate_ip_address(certificate, host)
        else:
            verify_certificate_hostname(certificate, host)
    except (VerificationError, CertificateError, ValueError):
        return False
    return True


def is_ip(host: str) -> bool:
    """Whether a host is an address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
