"""Where a client comes from: what all connections of one client have in common."""

from __future__ import annotations

from ipaddress import IPv6Address as Address

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress


def origin(peer: IAddress | None) -> str:
    """The address of a client; of IPv6 the network, as every customer has 64 bits of it to choose from.

    @return: "" for a client that has none, such as one on a UNIX socket.
    """
    if not isinstance(peer, IPv4Address | IPv6Address):
        return ""
    host = peer.host
    if ":" not in host:
        return host
    address = Address(host.partition("%")[0])
    mapped = address.ipv4_mapped
    if mapped is not None:
        return str(mapped)
    return host if address.is_loopback else f"{int(address) >> 64:x}"


def is_local(where: str) -> bool:
    """Whether that is on this machine, which may be a proxy for any number of others."""
    return where in ("", "::1") or where.startswith("127.")
