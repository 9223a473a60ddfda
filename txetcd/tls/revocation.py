"""Certificate revocation lists: which certificates they take back, and whether they are what they say.

Pure: functions of certificates and lists alone.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm


class Revocations:
    """Several revocation lists, asked together.

    @ivar lists: the lists.
    """

    def __init__(self, lists: Iterable[x509.CertificateRevocationList] = ()) -> None:
        self.lists = tuple(lists)
        self._by_issuer: dict[x509.Name, list[x509.CertificateRevocationList]] = {}
        for revoked in self.lists:
            self._by_issuer.setdefault(revoked.issuer, []).append(revoked)

    def revoke(self, certificate: x509.Certificate) -> bool:
        """Tell whether a list of the certificate's own issuer has its serial number."""
        if not self.lists:
            return False
        serial = certificate.serial_number
        return any(
            revoked.get_revoked_certificate_by_serial_number(serial) is not None
            for revoked in self._by_issuer.get(certificate.issuer, ())
        )

    def out_of_date(self, now: datetime.datetime) -> Iterator[x509.CertificateRevocationList]:
        """The lists that should have been followed by a newer one by now."""
        for revoked in self.lists:
            if revoked.next_update_utc is not None and revoked.next_update_utc < now:
                yield revoked


def usable(
    lists: Iterable[x509.CertificateRevocationList], authorities: Sequence[x509.Certificate]
) -> list[x509.CertificateRevocationList]:
    """The lists that OpenSSL can check.

    One whose issuer is above the trusted CAs has nobody who could vouch for it, and says nothing of clients.
    """
    names = {authority.subject for authority in authorities}
    above = {authority.issuer for authority in authorities} - names
    return [revoked for revoked in lists if revoked.issuer not in above]


def objection(revoked: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate]) -> str | None:
    """What is wrong with a list, if anything: it must be a whole one, and signed by the CA whose name it has.

    One of a CA that is not among `authorities` may be that of an intermediate: its signature is checked when
    a client has shown the intermediate's certificate.
    """
    for extension in revoked.extensions:
        if extension.oid == x509.DeltaCRLIndicator.oid:
            return "holds a delta CRL, which is of no use without its base"
    issuers = [authority for authority in authorities if authority.subject == revoked.issuer]
    if issuers and not any(_has_signed(issuer, revoked) for issuer in issuers):
        return f"holds a CRL that is not signed by its issuer {revoked.issuer.rfc4514_string()}"
    return None


def _has_signed(issuer: x509.Certificate, revoked: x509.CertificateRevocationList) -> bool:
    try:
        return revoked.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
