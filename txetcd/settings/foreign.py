"""Options of etcd, of any version, that are not ours: which do no harm, and what to say of the others."""

from __future__ import annotations

import re

_NO_PEERS = "a txetcd server has no peers; leave it out"
_NOT_YET = "txetcd does not have it, and without it the server would be less safe than you ask for"

# Options that change nothing that a client of one server can see; they are accepted, with a warning.
IGNORED = frozenset(
    """auth-token auto-compaction-mode auto-compaction-retention backend-batch-interval
    backend-batch-limit cluster-active-size cluster-remove-delay cluster-sync-interval debug
    election-timeout enable-pprof enable-v2 grpc-keepalive-interval grpc-keepalive-min-time
    grpc-keepalive-timeout heartbeat-interval http-read-timeout http-write-timeout
    initial-advertise-peer-urls initial-cluster-state initial-cluster-token
    initial-election-tick-advance listen-peer-urls log-level log-output log-outputs
    log-package-levels logger max-cluster-size max-result-buffer max-retry-attempts max-snapshots
    max-txn-ops max-wals metrics peer-addr peer-bind-addr peer-election-timeout
    peer-heartbeat-timeout pre-vote quota-backend-bytes retry-interval snapshot snapshot-count
    strict-reconfig-check v vv vvv
    """.split()
)

# Options that would change what the server does, each with the remedy.
_REFUSED = {
    "auto-tls": "txetcd makes no certificates of its own; give --cert-file and --key-file",
    "config-file": "txetcd does not read etcd's YAML; give --config with a TOML file",
    "cpuprofile": "txetcd does not profile itself; run it under twistd --profile",
    "discovery": _NO_PEERS,
    "discovery-fallback": _NO_PEERS,
    "discovery-proxy": _NO_PEERS,
    "discovery-srv": _NO_PEERS,
    "discovery-srv-name": _NO_PEERS,
    "force-new-cluster": "txetcd has no cluster to leave; leave it out, or start anew with --force",
    "host-whitelist": _NOT_YET,
    "initial-cluster": "it names several members, and txetcd is one server; leave it out",
    "peer-auto-tls": _NO_PEERS,
    "peer-cert-allowed-cn": _NO_PEERS,
    "peer-cert-allowed-hostname": _NO_PEERS,
    "peer-client-cert-auth": _NO_PEERS,
    "peer-crl-file": _NO_PEERS,
    "peers": _NO_PEERS,
    "peers-file": _NO_PEERS,
    "proxy": "txetcd is no proxy; leave it out",
    "tls-max-version": _NOT_YET,
    "wal-dir": "txetcd keeps everything in --data-dir; leave it out",
}

# With such a value a refused option asks for nothing.
_NOTHING = re.compile(r"false|off|0")
_ONE_MEMBER = re.compile(r"[^,]*")

SWITCHES = frozenset(
    """auto-tls debug enable-pprof enable-v2 force-new-cluster initial-election-tick-advance
    peer-auto-tls peer-client-cert-auth pre-vote snapshot strict-reconfig-check v vv vvv
    """.split()
)


def is_known(name: str) -> bool:
    """Whether an option, named without dashes, is one of etcd's."""
    return name in IGNORED or name in _REFUSED


def remedy(name: str, text: str) -> str | None:
    """What to do instead of giving a known option this value; None if it does no harm."""
    if name in IGNORED:
        return None
    nothing = _ONE_MEMBER if name == "initial-cluster" else _NOTHING
    return None if nothing.fullmatch(text) else _REFUSED[name]
