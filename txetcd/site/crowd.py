"""How many connections come from where."""

from __future__ import annotations

from ipaddress import IPv6Address as Address

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress


def origin(peer: IAddress | None) -> str | None:
    """What the connections of a client count under.

    @return: its address; of IPv6 the network, of which every customer has one with 64 bits to choose from.
        None for a client on this machine, which may be a proxy.
    """
    if not isinstance(peer, IPv4Address | IPv6Address):
        return None
    host = peer.host
    if ":" in host:
        address = Address(host.partition("%")[0])
        if address.ipv4_mapped is None:
            return None if address.is_loopback else f"{int(address) >> 64:x}"
        host = str(address.ipv4_mapped)
    return None if host.startswith("127.") else host


class Crowd:
    """Counts connections by their origin.

    @param most: how many there may be of one; 0 for any number.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[str, int] = {}

    def enter(self, peer: IAddress | None) -> bool:
        """Count one more, unless there are too many; tell whether it was counted."""
        where = origin(peer) if self._most else None
        if where is not None:
            count = self._counts.get(where, 0)
            if count >= self._most:
                return False
            self._counts[where] = count + 1
        return True

    def leave(self, peer: IAddress | None) -> None:
        """One that was counted is gone."""
        where = origin(peer) if self._most else None
        if where is not None:
            count = self._counts.pop(where) - 1
            if count:
                self._counts[where] = count
