"""How the text of an option becomes a value: one `Kind` for each sort of value.

Here are only the rules for one value by itself; `txetcd.settings` knows how options go together.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from txetcd.engine import parse_engine
from txetcd.tls.policy import VERSIONS, Suite, suite

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A sort of value.

    @ivar metavar: what stands for the value in the usage text; none for a switch.
    @ivar parse: makes the value of a text; raises ValueError with what the text should be.
    @ivar toml: the TOML types that the value may have in a file.
    @ivar expected: those types, in words.
    @ivar repeats: each time that the option is given adds to it.
    """

    metavar: str
    parse: Callable[[str], T]
    toml: tuple[type, ...] = (str,)
    expected: str = "a string"
    repeats: bool = False


class HostPort(NamedTuple):
    """An address as given; the host has no brackets, and there may be no port."""

    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


class ClientURL(NamedTuple):
    """A URL to listen on or to be found at, as etcd 2 and 3 spell it."""

    tls: bool
    host: str
    port: int


def shown(text: str) -> str:
    """The text as it can stand in a line of a message."""
    if len(text) > 200:
        text = f"{text[:200]}..."
    return text if text.isprintable() else repr(text)


def _switch(text: str) -> bool:
    """Go's spelling of a boolean."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError("must be true or false")


def _word(text: str) -> str:
    if not re.fullmatch(r"[^\s/\x00-\x1f\x7f]+", text) or text in (".", ".."):
        raise ValueError("must be a name without spaces and slashes")
    return text


def _path(text: str) -> Path:
    if "\0" in text:
        raise ValueError("must be a path; no path has a NUL in it")
    return Path(text)


def whole(low: int, high: int) -> Kind[int]:
    """A whole number in ASCII digits."""

    def parse(text: str) -> int:
        # Nothing of more digits than `high` comes near int(), which is slow with very many.
        if not re.fullmatch(f"[0-9]{{1,{len(str(high))}}}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return Kind("N", parse, (int,), "a whole number")


def seconds(low: float, high: float) -> Kind[float]:
    """A number of seconds, with decimals if need be."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return float(text)

    return Kind("SECONDS", parse, (int, float), "a number")


def _host_port(text: str) -> HostPort:
    match = re.fullmatch(r"(?:\[([^][]*)\]|([^][:]*))(?::([0-9]{1,5}))?", text)
    if match is None:
        if re.fullmatch(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", text):
            raise ValueError("must have an IPv6 address in brackets, such as [::1]:4001")
        raise ValueError("must be host:port, such as 127.0.0.1:4001")
    bracketed, name, digits = match.groups()
    if bracketed is not None:
        host = _ipv6(bracketed)
    else:
        host = name
        if host and not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", host):
            raise ValueError(f"has no host name or IP address in it: {shown(host)}")
        if re.fullmatch(r"[0-9.]+", host):
            host = _ip(host)
    port = None if digits is None else int(digits)
    if port is not None and port > 65535:
        raise ValueError("must have a port of 65535 at most")
    return HostPort(host, port)


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError("has no IPv6 address between the brackets") from None


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"has no IP address in it: {text}") from None


def _address(text: str) -> HostPort:
    """Where clients find the server: host and port."""
    host, port = _host_port(text)
    if not host or not port:
        raise ValueError("must be host:port, such as 127.0.0.1:4001")
    return HostPort(host, port)


def _bind_address(text: str) -> HostPort:
    """Where to listen: an IP address, with a port or without."""
    host, port = _host_port(text)
    if not host:
        port = 4001 if port is None else port
        raise ValueError(f"names no address; write 0.0.0.0:{port}, or [::]:{port}, to listen on all")
    return HostPort(_bindable(host), port)


def _bindable(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError("must have an IP address to listen on, such as 0.0.0.0, not a name") from None


def _url(text: str) -> ClientURL:
    match = re.fullmatch(r"(https?)://([^/?#@\s]+)/?", text)
    if match is None:
        raise ValueError(f"must be URLs such as http://127.0.0.1:4001, with no path, not {shown(text)}")
    host, port = _host_port(match[2])
    if not host or port is None:
        raise ValueError(
            f"must have a host and a port in each URL, such as http://127.0.0.1:4001, not {text}"
        )
    return ClientURL(match[1] == "https", host, port)


def url_of(tls: bool, host: str, port: int) -> str:
    """The URL of a server, without a path."""
    return f"{'https' if tls else 'http'}://{HostPort(host, port)}"


def _items(text: str) -> list[str]:
    items = [item.strip() for item in text.split(",")]
    if "" in items:
        raise ValueError("must be a list with commas between its items, none of them empty")
    return items


def _client_urls(text: str) -> tuple[str, ...]:
    return tuple(url_of(*_url(item)) for item in _items(text))


def _listen_urls(text: str) -> tuple[ClientURL, ...]:
    if re.search(r"\bunixs?://", text):
        raise ValueError("takes no unix sockets; write --listen unix:/path/of/the/socket")
    return tuple(url._replace(host=_bindable(url.host)) for url in map(_url, _items(text)))


def _origins(text: str) -> tuple[str, ...]:
    items = _items(text)
    for item in items:
        if item != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#\s]+", item):
            raise ValueError(f"must be *, or origins such as https://example.com, not {shown(item)}")
    return tuple(items)


def _names(text: str) -> tuple[str, ...]:
    return tuple(_items(text))


def _hosts(text: str) -> tuple[str, ...]:
    """Host names and IP addresses."""
    hosts = []
    for item in _items(text):
        try:
            host, port = _host_port(f"[{item}]" if ":" in item else item)
        except ValueError:
            host, port = "", None
        if not host or port is not None:
            raise ValueError(f"must be host names or IP addresses, not {shown(item)}")
        hosts.append(host)
    return tuple(hosts)


def _version(text: str) -> str:
    if text not in VERSIONS:
        raise ValueError(f"must be {' or '.join(VERSIONS)}; nothing older is spoken")
    return text


def _suites(text: str) -> tuple[Suite, ...]:
    suites = []
    for item in _items(text):
        try:
            suites.append(suite(item))
        except KeyError:
            raise ValueError(
                f"must be cipher suites with ECDHE and AES-GCM or ChaCha20-Poly1305, by IANA's names or "
                f"OpenSSL's; {shown(item)} is none"
            ) from None
    return tuple(suites)


def within_https(endpoint: str) -> str | None:
    """The endpoint string that an `https:` one puts TLS around; None for any other."""
    return endpoint.removeprefix("https:") if endpoint.startswith("https:") else None


def speaks_tls(endpoint: str) -> bool:
    """Whether an endpoint string is one that speaks TLS."""
    return endpoint.startswith(("https:", "ssl:", "tls:", "mtls:"))


def _endpoint(text: str) -> tuple[str, ...]:
    inner = within_https(text)
    if not re.match(r"[A-Za-z0-9_-]+:", text if inner is None else inner):
        raise ValueError("must be a Twisted endpoint string, such as tcp:4001:interface=127.0.0.1")
    if inner is not None and speaks_tls(inner):
        raise ValueError("has TLS twice; leave https: out, or what comes behind it")
    return (text,)


def choice(*words: str) -> Kind[str]:
    """One of these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be {' or '.join(words)}")
        return text

    return Kind("|".join(words), parse)


SWITCH = Kind("", _switch, (bool,), "true or false")
WORD = Kind("NAME", _word)
PATH = Kind("PATH", _path)
ENGINE_URL = Kind("URL", parse_engine)
FILE = Kind("FILE", _path)
LOG = Kind("FILE|-", _path)
MAIN_LOG = Path("-")
"""In place of a file: the log of the server."""
ADDRESS = Kind("HOST:PORT", _address)
BIND_ADDRESS = Kind("IP[:PORT]", _bind_address)
CLIENT_URLS = Kind("URLS", _client_urls, (str, list), "a string or a list of strings")
LISTEN_URLS = Kind("URLS", _listen_urls, (str, list), "a string or a list of strings")
ORIGINS = Kind("ORIGINS", _origins, (str, list), "a string or a list of strings")
NAMES = Kind("NAMES", _names, (str, list), "a string or a list of strings")
HOSTS = Kind("HOSTS", _hosts, (str, list), "a string or a list of strings")
TLS_VERSION = Kind("VERSION", _version)
CIPHER_SUITES = Kind("SUITES", _suites, (str, list), "a string or a list of strings")
ENDPOINTS = Kind("ENDPOINT", _endpoint, (str, list), "a string or a list of strings", repeats=True)
