"""What is wrong, or soon will be, with the certificates that a server is given.

Pure: certificates and the time in, findings out.  Each finding reads on after the name of an option and its
file.  What no client could live with is an error, to end the start; the rest is worth a warning.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cryptography import x509

from txetcd.ca.certificates import common_name, extension, hosts, is_for_servers

# Days of validity below which a certificate is worth a warning.
DAYS_LEFT = 30

_HOW = "txetcd-ca server makes a fitting one"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a certificate.

    @ivar problem: reads on after the option and its file: "has expired on …".
    @ivar remedy: what to do.
    @ivar is_error: whether a server cannot do with it.
    """

    problem: str
    remedy: str
    is_error: bool = False

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


def diagnose_server(
    chain: Sequence[x509.Certificate], advertised: Iterable[str], now: datetime.datetime
) -> list[Finding]:
    """Say what is wrong with a server's certificate, the first of `chain`, and with the CAs that follow it.

    `advertised` are the host names and addresses that clients are sent to; those that stand for all addresses
    of the machine do not count.
    """
    leaf, *intermediates = chain
    return [
        *_validity(leaf, "", "give a new one", now),
        *_usage(leaf),
        *_hosts(leaf, advertised),
        # Clients may know another way to a CA that they trust.
        *(
            replace(finding, is_error=False)
            for intermediate in intermediates
            for finding in _intermediate(intermediate, now)
        ),
    ]


def diagnose_authorities(authorities: Sequence[x509.Certificate], now: datetime.datetime) -> list[Finding]:
    """Say what is wrong with the CAs that clients' certificates are to be signed by.

    Findings that make a CA useless are errors when no other is of use, and else warnings.
    """
    found = [list(_authority(authority, now)) for authority in authorities]
    any_useful = any(not any(f.is_error for f in findings) for findings in found)
    return [replace(f, is_error=f.is_error and not any_useful) for findings in found for f in findings]


def _authority(certificate: x509.Certificate, now: datetime.datetime) -> Iterator[Finding]:
    name = common_name(certificate)
    if not _is_ca(certificate):
        remedy = "give the certificate of the CA that signs the clients"
        yield Finding(f"holds {name!r}, which is not a CA", remedy, is_error=True)
    yield from _validity(certificate, f"holds {name!r}, which ", "give the CA's new certificate", now)


def _intermediate(certificate: x509.Certificate, now: datetime.datetime) -> Iterator[Finding]:
    name = common_name(certificate)
    if not _is_ca(certificate):
        remedy = "leave only the server's certificate and the CAs above it in the file"
        yield Finding(f"sends {name!r} along, which is not a CA", remedy)
    yield from _validity(certificate, f"sends {name!r} along, which ", "give its new certificate", now)


def _validity(
    certificate: x509.Certificate, whose: str, remedy: str, now: datetime.datetime
) -> Iterator[Finding]:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        yield Finding(f"{whose}has expired on {end:%Y-%m-%d}", remedy, is_error=True)
    elif now < begin:
        remedy = f"set this machine's clock, which says {now:%Y-%m-%d %H:%M}, or {remedy}"
        yield Finding(f"{whose}is not valid before {begin:%Y-%m-%d %H:%M} UTC", remedy, is_error=True)
    elif (left := end - now) < datetime.timedelta(days=DAYS_LEFT):
        yield Finding(f"{whose}expires in {_days(left.days)}, on {end:%Y-%m-%d}", remedy)


def _days(number: int) -> str:
    return {0: "less than a day", 1: "one day"}.get(number, f"{number} days")


def _usage(leaf: x509.Certificate) -> Iterator[Finding]:
    if not is_for_servers(leaf):
        problem = "is not for servers: its extended key usages lack serverAuth"
        yield Finding(problem, f"give one for servers ({_HOW})", is_error=True)
    usage = extension(leaf, x509.KeyUsage)
    if usage and not (usage.digital_signature or usage.key_encipherment or usage.key_agreement):
        kind = "is the certificate of a CA" if _is_ca(leaf) else "is not for TLS"
        problem = f"{kind}: its key usage lacks digitalSignature"
        yield Finding(problem, f"give the server's own ({_HOW})", is_error=True)
    elif _claims_to_be_ca(leaf):
        remedy = f"give the server one of its own, so that its key cannot sign others ({_HOW})"
        yield Finding("is the certificate of a CA", remedy)


def _hosts(leaf: x509.Certificate, advertised: Iterable[str]) -> Iterator[Finding]:
    names = hosts(leaf)
    if not names:
        # There are clients that still go by the common name.
        problem = "names no host (subjectAltName), so that most clients will not trust the server"
        yield Finding(problem, f"give one that does ({_HOW})")
        return
    for host in dict.fromkeys(advertised):
        if not _is_everywhere(host) and not any(_matches(name, host) for name in names):
            problem = f"is for {', '.join(names)} and not for {host}, where clients are sent to"
            yield Finding(problem, "give one for it too, or another --advertise-client-urls or --addr")


def _matches(name: str, host: str) -> bool:
    """Whether a name in a certificate is that of a host, as RFC 6125 has it."""
    if (address := _address(host)) is not None:
        return _address(name) == address
    name, host = name.lower(), host.lower().removesuffix(".")
    if name.startswith("*."):
        return name[2:] == host.partition(".")[2]
    return name == host


def _is_everywhere(host: str) -> bool:
    address = _address(host)
    return not host or (address is not None and address.is_unspecified)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_ca(certificate: x509.Certificate) -> bool:
    if certificate.version is x509.Version.v1:
        # These have no extensions; as a root, OpenSSL takes them for a CA.
        return certificate.subject == certificate.issuer
    usage = extension(certificate, x509.KeyUsage)
    return _claims_to_be_ca(certificate) and (usage is None or usage.key_cert_sign)


def _claims_to_be_ca(certificate: x509.Certificate) -> bool:
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca
