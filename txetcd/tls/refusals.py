"""What the log says of clients that were refused: one line each, and no more than so many in a minute."""

from __future__ import annotations

import re

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

# Lines in so many seconds; what is beyond them is counted.
LINES = 20
PERIOD = 60.0

_CODES = SSL.X509VerificationCodes
# Those that pyOpenSSL has no names for.
_EE_KEY_TOO_SMALL, _CA_KEY_TOO_SMALL, _CA_MD_TOO_WEAK = 66, 67, 68

# What OpenSSL has against a certificate, in an operator's words.
_NO_ISSUER = "its issuer is no trusted CA, or an intermediate CA is missing"
_OBJECTIONS = {
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT: _NO_ISSUER,
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: _NO_ISSUER,
    _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: _NO_ISSUER,
    _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "it is self-signed",
    _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN: "it is no trusted CA",
    _CODES.ERR_CERT_HAS_EXPIRED: "it has expired",
    _CODES.ERR_CERT_NOT_YET_VALID: "it is not valid yet",
    _CODES.ERR_CERT_REVOKED: "it is revoked",
    _CODES.ERR_CERT_SIGNATURE_FAILURE: "its signature is not that of its issuer",
    _CODES.ERR_INVALID_PURPOSE: "it is not for clients: its extended key usages lack clientAuth",
    _CODES.ERR_INVALID_CA: "it has issued another, and is no CA",
    _CODES.ERR_INVALID_NON_CA: "it has issued another, and is no CA",
    _CODES.ERR_KEYUSAGE_NO_CERTSIGN: "it has issued another, and its key usages lack keyCertSign",
    _CODES.ERR_PATH_LENGTH_EXCEEDED: "it is a CA with more CAs below it than its path length allows",
    _CODES.ERR_CERT_CHAIN_TOO_LONG: "it is in too long a chain",
    _CODES.ERR_CRL_SIGNATURE_FAILURE: "the CRL of its issuer is signed by somebody else",
    _CODES.ERR_KEYUSAGE_NO_CRL_SIGN: "the CRL of its issuer is signed by a CA whose key usages lack cRLSign",
    _EE_KEY_TOO_SMALL: "its key is too weak",
    _CA_KEY_TOO_SMALL: "it is a CA whose key is too weak",
    _CA_MD_TOO_WEAK: "its signature algorithm is too weak",
}


def objection_to(error: int) -> str:
    """What one of OpenSSL's verification errors has against a certificate."""
    return _OBJECTIONS.get(error, f"OpenSSL's verification error {error}")


def reason_of(error: SSL.Error) -> str | None:
    """Why a handshake failed, apart from certificates that were refused; None if the client just went."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    texts = [entry[-1] for entry in entries if entry[-1]]
    if not texts or texts[-1].startswith("unexpected eof"):
        return None
    if texts[0] == "peer did not return a certificate":
        return "it has shown no certificate"
    if any(" alert " in text for text in texts):
        return f"it ended the handshake itself: {', '.join(texts)}"
    return ", ".join(texts)


class Refusals:
    """Says who was refused and why.

    @param clock: measures the minutes.
    @param log: where to say it.
    @ivar counts: how many were refused, by the reason up to its first comma or colon.  What follows there a
        client may have chosen; before it there are only so many words.
    """

    def __init__(self, clock: IReactorTime, log: Logger) -> None:
        self._clock = clock
        self._log = log
        self.counts: dict[str, int] = {}
        self._said = self._unsaid = 0
        self._period: IDelayedCall | None = None

    def tell(self, peer: object, reason: str, certificate: x509.Certificate | None = None) -> None:
        """A client was refused.

        @param peer: its address.
        @param certificate: the one that was at fault, if one was.
        """
        kind = re.split("[,:]", reason, maxsplit=1)[0]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self._period is None:
            self._period = self._clock.callLater(PERIOD, self._sum_up)
        if self._said == LINES:
            self._unsaid += 1
            return
        self._said += 1
        if certificate is None:
            self._log.warn("TLS: refused {peer}: {reason}", peer=address_text(peer), reason=reason)
        else:
            self._log.warn(
                "TLS: refused {peer}: {reason}; certificate {subject}, issued by {issuer}",
                peer=address_text(peer),
                reason=reason,
                subject=name(certificate.subject),
                issuer=name(certificate.issuer),
            )

    def stop(self) -> None:
        """Say what is still to be said."""
        if self._period is not None:
            self._period.cancel()
            self._sum_up()

    def _sum_up(self) -> None:
        self._period = None
        unsaid, self._said, self._unsaid = self._unsaid, 0, 0
        if unsaid:
            self._log.warn(
                "TLS: refused {count} more within {seconds:.0f} seconds", count=unsaid, seconds=PERIOD
            )


def name(subject: x509.Name) -> str:
    """A name as it can stand in a line of the log: the client has chosen it."""
    try:
        text = subject.rfc4514_string()
    except ValueError:
        return "(not readable)"
    if len(text) > 200:
        text = f"{text[:200]}..."
    return text if text.isprintable() else repr(text)


def address_text(address: object) -> str:
    """Return an address as logs show it: host and port, or `unix` for that of any UNIX socket."""
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    if isinstance(address, IPv4Address):
        return f"{address.host}:{address.port}"
    return "unix" if isinstance(address, UNIXAddress) else str(address)
