"""What an operator asks of connections: which TLS is spoken, and which names clients must have.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

VERSIONS = ("TLS1.2", "TLS1.3")


class Suite(NamedTuple):
    """A cipher suite: OpenSSL's name for it, its version of TLS, and what the server's key must be."""

    name: str
    version: str
    key: str


# By the names of IANA, which are etcd's.  All have forward secrecy and authenticated encryption, in the order
# of preference.  There are no others: older ones help nobody who can speak TLS 1.2.
SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": Suite("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS1.2", "EC"),
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": Suite("ECDHE-RSA-AES128-GCM-SHA256", "TLS1.2", "RSA"),
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": Suite("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS1.2", "EC"),
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": Suite("ECDHE-RSA-AES256-GCM-SHA384", "TLS1.2", "RSA"),
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": Suite("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS1.2", "EC"),
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": Suite("ECDHE-RSA-CHACHA20-POLY1305", "TLS1.2", "RSA"),
    "TLS_AES_128_GCM_SHA256": Suite("TLS_AES_128_GCM_SHA256", "TLS1.3", "any"),
    "TLS_AES_256_GCM_SHA384": Suite("TLS_AES_256_GCM_SHA384", "TLS1.3", "any"),
    "TLS_CHACHA20_POLY1305_SHA256": Suite("TLS_CHACHA20_POLY1305_SHA256", "TLS1.3", "any"),
}
# Go's older names of two of them.
_ALIASES = {
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}
_BY_NAME = {
    **SUITES,
    **{alias: SUITES[name] for alias, name in _ALIASES.items()},
    **{suite.name: suite for suite in SUITES.values()},
}


def suite(name: str) -> Suite:
    """The cipher suite of that name, IANA's or OpenSSL's; raises KeyError if there is none."""
    return _BY_NAME[name]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is asked of connections.

    @ivar minimum: the oldest version of TLS spoken, one of `VERSIONS`.
    @ivar suites: the cipher suites offered; of a version that none of them is for, all.
    @ivar common_names: the common names, one of which a client's certificate must have; empty for any.
    @ivar host_names: the host names and IP addresses, one of which it must be valid for; empty for any.
    """

    minimum: str = "TLS1.2"
    suites: tuple[Suite, ...] = ()
    common_names: tuple[str, ...] = ()
    host_names: tuple[str, ...] = ()

    def offered(self, version: str) -> tuple[Suite, ...]:
        """The cipher suites of a version, in the order of preference."""
        chosen = tuple(suite for suite in self.suites if suite.version == version)
        return chosen or tuple(suite for suite in SUITES.values() if suite.version == version)
