"""Which etcd v3 cluster the engine is, as the operator says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_PORT = 2379
DEFAULT_PREFIX = "/txetcd"
_SCHEMES = {"etcd": "http", "etcd+https": "https"}


@dataclass(frozen=True)
class Engine:
    """An etcd v3 cluster, and what of it is ours.

    @ivar endpoints: the base URLs of its members' client ports, such as `https://10.0.0.1:2379`.
    @ivar prefix: what our keys begin with, followed by a slash.
    @ivar cert_file: the certificate to show to the members, its chain after it, if they ask for one.
    @ivar key_file: its private key.
    @ivar ca_file: who signs the members' certificates; whom the system trusts, if None.
    @ivar user: whom to be for a cluster with authentication; empty for nobody.
    """

    endpoints: tuple[str, ...]
    prefix: str = DEFAULT_PREFIX
    cert_file: Path | None = None
    key_file: Path | None = None
    ca_file: Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def tls(self) -> bool:
        """Whether its members are spoken to over TLS."""
        return self.endpoints[0].startswith("https:")


def parse_engine(url: str) -> Engine:
    """The engine of an `--engine` URL: `etcd://host:port,host:port/prefix`, or `etcd+https://`.

    Without a port it is 2379, and without a path the prefix is `/txetcd`.

    @raise ValueError: one line that says what is wrong with it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError(f"{url!r} is not the URL of an engine; write etcd://HOST:PORT,HOST:PORT/PREFIX")
    hosts, slash, path = rest.partition("/")
    if "@" in hosts:
        raise ValueError("leave user and password out of the URL of an engine, where others can see them")
    prefix = (slash + path).rstrip("/") or DEFAULT_PREFIX
    if "?" in rest or "#" in rest or not prefix.isprintable() or "//" in prefix:
        raise ValueError(f"{prefix!r} is no prefix for keys; write letters, digits and single slashes")
    endpoints = tuple(_endpoint(_SCHEMES[scheme], host) for host in hosts.split(","))
    return Engine(endpoints, prefix)


def _endpoint(scheme: str, host: str) -> str:
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        name = port = None
    if not name or host.endswith(":") or any(char.isspace() for char in host):
        raise ValueError(f"{host!r} is not the address of an engine's member; write HOST:PORT")
    if ":" in name:
        name = f"[{name}]"
    return f"{scheme}://{name}:{DEFAULT_PORT if port is None else port}"
