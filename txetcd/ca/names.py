"""What certificates are made out to: host names and addresses for servers, names for clients.

Pure: from text to what goes into a certificate, and to names of files.
"""

from __future__ import annotations

import ipaddress
import re

from cryptography import x509

from txetcd.ca import CAError

# Of a common name, which X.509 does not let be longer (bytes).
MAX_COMMON_NAME = 64

_MAX_HOST = 253
# Underscores are not for host names, but machines in container networks have them.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
# Beside what a file name cannot have: curl takes what follows a colon in --cert for a password.
_NOT_IN_FILE_NAMES = frozenset("/:\\")


def parse_host(text: str) -> x509.DNSName | x509.IPAddress:
    """Return what names a host in a certificate; "*" may stand for the first label of a name.

    Raises `CAError` with a sentence for text that is neither a host name nor an IP address.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        if not getattr(address, "scope_id", None):
            return x509.IPAddress(address)
    name = text.lower()
    labels = name.removeprefix("*.").split(".")
    # A last label of digits would be taken for an address.
    if len(name) > _MAX_HOST or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise CAError(
            f"{text!r} is neither a host name nor an IP address; give one without scheme, port and brackets"
        )
    return x509.DNSName(name)


def host_text(host: x509.DNSName | x509.IPAddress) -> str:
    """Return a host as one writes it."""
    return str(host.value)


def host_file_name(host: str) -> str:
    """Return the name of a host's files, without suffix: it has neither ":" nor "*"."""
    return host.replace(":", "_").replace("*", "_wildcard")


def check_common_name(name: str) -> None:
    """Raise `CAError` with a sentence for what cannot be the name of a CA or a client."""
    # What cannot be encoded cannot be printed either.
    if not name.isprintable() or name != name.strip() or not 0 < len(name.encode()) <= MAX_COMMON_NAME:
        raise CAError(
            f"{name!r} does not fit into a certificate; give 1 to {MAX_COMMON_NAME} letters, digits or other "
            "characters that can be printed, with no space around them"
        )


def check_client_name(name: str) -> None:
    """Raise `CAError` with a sentence for what cannot be the name of a client and of its files."""
    check_common_name(name)
    if name[0] in ".-" or not _NOT_IN_FILE_NAMES.isdisjoint(name):
        raise CAError(
            f"{name!r} does not fit into the name of a file; give one without '/', ':' and '\\', that begins "
            "with neither '.' nor '-'"
        )
