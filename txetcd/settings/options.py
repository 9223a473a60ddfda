"""The table of options, and what follows from it: command line, ETCD_ variables, TOML keys and usage text.

Each of the three sources becomes a `Given`, and these are laid over one another.  Pure: no file is read here.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from txetcd.engine import Engine
from txetcd.settings import foreign
from txetcd.settings.values import (
    ADDRESS,
    BIND_ADDRESS,
    CIPHER_SUITES,
    CLIENT_URLS,
    ENDPOINTS,
    ENGINE_URL,
    FILE,
    HOSTS,
    LISTEN_URLS,
    LOG,
    NAMES,
    ORIGINS,
    PATH,
    SWITCH,
    TLS_VERSION,
    WORD,
    ClientURL,
    HostPort,
    Kind,
    choice,
    seconds,
    shown,
    whole,
)
from txetcd.tls.policy import Suite

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


class SettingsError(ValueError):
    """What was asked for cannot be done; the message is one line that names the option and the remedy."""


@dataclass(frozen=True, eq=False)
class Option(Generic[T]):
    """One line of the table.

    @ivar default: the value of an option that is not given, if it depends on nothing else.
    @ivar default_text: how the usage text puts a default that does.
    @ivar aliases: other names for it.
    @ivar command_line_only: it can be neither in the environment nor in the configuration file.
    """

    name: str
    kind: Kind[T]
    default: T | None
    help: str
    default_text: str = ""
    aliases: tuple[str, ...] = ()
    command_line_only: bool = False

    def spelling(self) -> str:
        """The option as the usage text shows it."""
        names = [f"-{self.aliases[0]}"] if self.aliases and len(self.aliases[0]) == 1 else []
        return f"{', '.join([*names, '--' + self.name])} {self.kind.metavar}".rstrip()

    def described(self) -> str:
        """What the usage text says of it, default included."""
        default = self.default_text
        if not default and self.default:
            default = f"{self.default:g}" if isinstance(self.default, float) else str(self.default)
        return f"{self.help} [default: {default}]" if default else self.help


NAME = Option[str]("name", WORD, None, "This server's name, in what clients see of it.", "the host name")
DATA_DIR = Option[Path](
    "data-dir", PATH, None, "The directory that holds everything; it is made if there is none.", "NAME.etcd"
)
ENGINE = Option[Engine](
    "engine",
    ENGINE_URL,
    None,
    "Keep everything in an etcd v3 cluster, not in --data-dir: etcd://HOST:PORT,HOST:PORT/PREFIX, or "
    "etcd+https://. Any number of servers can share it.",
    "none",
)
ENGINE_TIMEOUT = Option[float](
    "engine-timeout",
    seconds(0.1, 3600),
    5.0,
    "How long the engine may take to make a write durable, or to answer for a quorum read, in seconds.",
)
ENGINE_USER_FILE = Option[Path](
    "engine-user-file",
    FILE,
    None,
    "A file with NAME:PASSWORD in it: whom to be for an engine with authentication.",
    "none",
)
PEER_CERT_FILE = Option[Path]("peer-cert-file", FILE, None, "The certificate to show to the engine.", "none")
PEER_KEY_FILE = Option[Path]("peer-key-file", FILE, None, "Its private key.", "none")
PEER_CA_FILE = Option[Path](
    "peer-ca-file",
    FILE,
    None,
    "The CAs of the engine's certificates.",
    "those that the system trusts",
    ("peer-trusted-ca-file",),
)
FORCE = Option[bool](
    "force",
    SWITCH,
    False,
    "Throw away what is in --data-dir and start anew.",
    "",
    ("f",),
    command_line_only=True,
)
ADDR = Option[HostPort](
    "addr", ADDRESS, None, "Where clients find this server; also where it listens.", "127.0.0.1:4001"
)
BIND_ADDR = Option[HostPort](
    "bind-addr",
    BIND_ADDRESS,
    None,
    "Where to listen, if that is not --addr: 0.0.0.0 for all of IPv4, [::] for all addresses.",
    "--addr",
)
LISTEN = Option[tuple[str, ...]](
    "listen",
    ENDPOINTS,
    (),
    "Where to listen, as a Twisted endpoint string such as unix:/run/txetcd.sock; may be given several "
    "times. Replaces --addr as the place to listen. It speaks TLS only if the string says so, as ssl: and "
    "mtls: do.",
)
LISTEN_METRICS_URLS = Option[tuple[ClientURL, ...]](
    "listen-metrics-urls",
    LISTEN_URLS,
    (),
    "Where else to serve /health and /metrics, and nothing else, without client certificates: http:// or "
    "https:// URLs of IP addresses, with commas.",
)
ADVERTISE_CLIENT_URLS = Option[tuple[str, ...]](
    "advertise-client-urls",
    CLIENT_URLS,
    None,
    "The URLs, with commas between them, that clients are told to use.",
    "made from --addr",
)
LISTEN_CLIENT_URLS = Option[tuple[ClientURL, ...]](
    "listen-client-urls",
    LISTEN_URLS,
    None,
    "Where to listen, as etcd 2 and 3 spell it: http:// or https:// URLs of IP addresses, with commas.",
)
CERT_FILE = Option[Path](
    "cert-file", FILE, None, "The server's certificate, PEM, with its chain if there is one: serve HTTPS."
)
KEY_FILE = Option[Path]("key-file", FILE, None, "The private key of --cert-file, PEM, not encrypted.")
CA_FILE = Option[Path](
    "ca-file",
    FILE,
    None,
    "CA certificates, PEM: serve only clients with a certificate of one of these. Also --trusted-ca-file.",
    aliases=("trusted-ca-file",),
)
CLIENT_CERT_AUTH = Option[bool](
    "client-cert-auth", SWITCH, None, "Insist on client certificates; --ca-file alone already does."
)
CLIENT_CRL_FILE = Option[Path](
    "client-crl-file",
    FILE,
    None,
    "Certificate revocation lists of the CAs in --ca-file, or of CAs below them; PEM, or one in DER.",
)
CLIENT_CERT_ALLOWED_CN = Option[tuple[str, ...]](
    "client-cert-allowed-cn",
    NAMES,
    (),
    "Serve only clients whose certificate has one of these common names; with commas between them.",
)
CLIENT_CERT_ALLOWED_HOSTNAME = Option[tuple[str, ...]](
    "client-cert-allowed-hostname",
    HOSTS,
    (),
    "Serve only clients whose certificate is valid for one of these host names or IP addresses; with commas "
    "between them.",
)
CLOSE_REVOKED = Option[bool](
    "close-revoked",
    SWITCH,
    False,
    "When --client-crl-file changes, also close the connections of clients that it revokes.",
)
TLS_MIN_VERSION = Option[str](
    "tls-min-version", TLS_VERSION, "TLS1.2", "The oldest TLS spoken: TLS1.2 or TLS1.3."
)
OFFERED_SUITES = Option[tuple[Suite, ...]](
    "cipher-suites",
    CIPHER_SUITES,
    (),
    "The cipher suites offered, with commas between them, by their names in IANA's registry or OpenSSL's.",
    "all with ECDHE and AES-GCM or ChaCha20",
)
TLS_HANDSHAKE_TIMEOUT = Option[float](
    "tls-handshake-timeout", seconds(0.1, 3600), 10.0, "How long a TLS handshake may take."
)
CORS = Option[tuple[str, ...]](
    "cors", ORIGINS, (), "Origins whose pages may use the API, with commas between them, or *.", "none"
)
DASHBOARD = Option[bool](
    "dashboard",
    SWITCH,
    True,
    "Serve a page for browsers at /dashboard, to look at keys and change them; --dashboard=false does not.",
    "true",
)
MAX_REQUEST_BYTES = Option[int](
    "max-request-bytes", whole(1, 1 << 30), 1_572_864, "The longest body of a request."
)
MAX_HEADER_BYTES = Option[int](
    "max-header-bytes", whole(1024, 1 << 24), 65_536, "The longest head of a request: its line and headers."
)
MAX_HEADERS = Option[int]("max-headers", whole(1, 10_000), 100, "The most headers of a request.")
MAX_CONNECTIONS = Option[int](
    "max-connections", whole(0, 1_000_000), 10_000, "The most connections at a time; 0 for any number."
)
MAX_CONNECTIONS_PER_ADDRESS = Option[int](
    "max-connections-per-address",
    whole(0, 1_000_000),
    5_000,
    "The most connections at a time from one IPv4 address, or one IPv6 network of 64 bits; 0 for any number. "
    "Those from this machine are not counted.",
)
IDLE_TIMEOUT = Option[float](
    "idle-timeout",
    seconds(1, 86_400),
    60.0,
    "How long a connection may be silent, unless it waits for an answer.",
)
HISTORY_SIZE = Option[int](
    "history-size", whole(1, 10_000_000), 1000, "How many events are kept for watches that ask for the past."
)
ACCESS_LOG = Option[Path](
    "access-log", LOG, None, "Log each request: to a file, or to the log of the server (-).", "none"
)
AUDIT_LOG = Option[Path](
    "audit-log",
    LOG,
    None,
    "Log each write, who asked for it and what came of it: to a file, or to the log of the server (-).",
    "none",
)
LOG_FORMAT = Option[str](
    "log-format", choice("text", "json"), "text", "How the lines of --access-log and --audit-log are written."
)
CONFIG = Option[Path](
    "config", FILE, None, 'A file of options in TOML, such as data_dir = "/var/lib/txetcd".'
)
VERSION = Option[bool]("version", SWITCH, False, "Print the version and exit.", command_line_only=True)
HELP = Option[bool]("help", SWITCH, False, "Print this and exit.", "", ("h",), command_line_only=True)

SECTIONS: dict[str, tuple[Option[Any], ...]] = {
    "Data": (NAME, DATA_DIR, FORCE, HISTORY_SIZE),
    "Engine": (ENGINE, ENGINE_TIMEOUT, ENGINE_USER_FILE, PEER_CERT_FILE, PEER_KEY_FILE, PEER_CA_FILE),
    "Addresses": (ADDR, BIND_ADDR, LISTEN_CLIENT_URLS, LISTEN, LISTEN_METRICS_URLS, ADVERTISE_CLIENT_URLS),
    "HTTPS": (
        CERT_FILE,
        KEY_FILE,
        CA_FILE,
        CLIENT_CERT_AUTH,
        CLIENT_CRL_FILE,
        CLOSE_REVOKED,
        CLIENT_CERT_ALLOWED_CN,
        CLIENT_CERT_ALLOWED_HOSTNAME,
        TLS_MIN_VERSION,
        OFFERED_SUITES,
        TLS_HANDSHAKE_TIMEOUT,
    ),
    "HTTP": (
        CORS,
        DASHBOARD,
        MAX_REQUEST_BYTES,
        MAX_HEADER_BYTES,
        MAX_HEADERS,
        MAX_CONNECTIONS,
        MAX_CONNECTIONS_PER_ADDRESS,
        IDLE_TIMEOUT,
    ),
    "Logs": (ACCESS_LOG, AUDIT_LOG, LOG_FORMAT),
    "General": (CONFIG, VERSION, HELP),
}
TABLE = tuple(option for section in SECTIONS.values() for option in section)
_BY_NAME = {name: option for option in TABLE for name in (option.name, *option.aliases)}


@dataclass(slots=True)
class Given:
    """The options that one or more sources give, and what is to be said of those that are ignored."""

    values: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def get(self, option: Option[T]) -> T | None:
        """The option's value; if it is not given, its default."""
        return cast("T | None", self.values.get(option.name, option.default))

    def need(self, option: Option[T]) -> T:
        """The value of an option that has a default."""
        return cast(T, self.get(option))

    def label(self, option: Option[Any]) -> str:
        """What the operator called the option."""
        return self.labels.get(option.name, f"--{option.name}")

    def over(self, other: Given) -> Given:
        """These options, and for all that these do not give, the other's."""
        return Given(
            {**other.values, **self.values},
            {**other.labels, **self.labels},
            [*self.warnings, *other.warnings],
        )

    def add(self, option: Option[Any], label: str, text: str) -> None:
        """Note that the source gives an option, under the name `label`."""
        if not text:
            raise SettingsError(f"{label}: is empty; give it a value, or leave it out")
        try:
            value = option.kind.parse(text)
        except ValueError as error:
            raise SettingsError(f"{label} {shown(text)}: {error}") from None
        before = self.values.get(option.name)
        if option.kind.repeats and before is not None:
            value = before + value
        elif self.labels.get(option.name, label) != label and before != value:
            raise SettingsError(
                f"{label} and {self.labels[option.name]}: are the same option; give one of them"
            )
        self.values[option.name] = value
        self.labels[option.name] = label

    def add_foreign(self, name: str, label: str, text: str) -> None:
        """Note that the source gives an option that only etcd has."""
        remedy = foreign.remedy(name, text)
        if remedy is not None:
            raise SettingsError(f"{label}: {remedy}")
        self.warnings.append(f"{label} is ignored: it means nothing to txetcd")


def parse_arguments(arguments: Iterable[str]) -> Given:
    """Read a command line as Go's flags: one dash or two, `-x v` or `-x=v`, `-x` or `-x=false`."""
    given = Given()
    rest = iter(arguments)
    for argument in rest:
        match = re.fullmatch(r"--?([A-Za-z0-9][^=]*)(=.*)?", argument, re.DOTALL)
        if match is None:
            raise SettingsError(f"{shown(argument)}: is not an option; see txetcd --help")
        name, value = match.groups()
        option = _BY_NAME.get(name)
        label = f"-{name}" if len(name) == 1 else f"--{name}"
        if option is None and not foreign.is_known(name):
            raise SettingsError(f"{shown(label)}: unknown option; see txetcd --help")
        if value is not None:
            text = value[1:]
        elif option.kind is SWITCH if option else name in foreign.SWITCHES:
            text = "true"
        else:
            following = next(rest, None)
            if following is None:
                raise SettingsError(f"{label}: needs a value")
            text = following
        if option is None:
            given.add_foreign(name, label, text)
        else:
            given.add(option, label, text)
    return given


def parse_environment(environment: Mapping[str, str]) -> Given:
    """Read the ETCD_ variables.  An empty one is as good as none."""
    given = Given()
    for variable, text in sorted(environment.items()):
        if not variable.startswith("ETCD_") or not text:
            continue
        name = variable[len("ETCD_") :].lower().replace("_", "-")
        option = _BY_NAME.get(name)
        if option is not None and not option.command_line_only:
            if option.kind is SWITCH:
                # Of old, any other word is a yes.
                text = "false" if text.lower() in ("0", "false") else "true"
            given.add(option, variable, text)
        elif foreign.is_known(name):
            given.add_foreign(name, variable, text)
        else:
            given.warnings.append(f"{variable} is ignored: it is no option of txetcd's")
    return given


def parse_file(text: str, filename: str) -> Given:
    """Read a configuration file in TOML; its keys are the options' names, with dashes or underscores."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{filename}: is not TOML: {error}") from None
    given = Given()
    for key, value in table.items():
        label = f"{filename}: {shown(key)}"
        name = key.replace("_", "-")
        option = _BY_NAME.get(name)
        if option is not None and not option.command_line_only and option is not CONFIG:
            for item in _texts(option, label, value):
                given.add(option, label, item)
        elif foreign.is_known(name):
            given.add_foreign(name, label, str(value).lower())
        else:
            raise SettingsError(f"{label}: unknown key; see txetcd --help for the options")
    return given


def _texts(option: Option[Any], label: str, value: object) -> Sequence[str]:
    """What a value in a file would be on the command line, several times if it is to be given so."""
    # By the exact type, for a bool is an int.
    right = type(value) in option.kind.toml
    if isinstance(value, list):
        right = right and all(isinstance(item, str) for item in value)
    if not right:
        raise SettingsError(f"{label}: must be {option.kind.expected}")
    if isinstance(value, list):
        return value if option.kind.repeats else [",".join(value)] if value else []
    return [str(value).lower() if option.kind is SWITCH else str(value)]


def usage() -> str:
    """The usage text, of 80 columns at most."""
    lines = [
        "Usage: txetcd [options]",
        "       twistd [twistd's options] txetcd [options]",
        "",
        "The etcd v2 API as a server, over HTTP or HTTPS.",
    ]
    for section, options in SECTIONS.items():
        lines += ["", f"{section}:"]
        for option in options:
            lines += _entry(option)
    lines += ["", *textwrap.wrap(_CLOSING, 80)]
    return "\n".join(lines) + "\n"


_CLOSING = (
    "Every option but -f, --version and --help can also be an environment variable (ETCD_CERT_FILE for "
    "--cert-file) or a key in the file that --config names (cert_file). The command line goes before the "
    "environment, and that before the file. Options take one dash or two. Those of etcd that mean nothing "
    "here are ignored with a warning. What messages mean, and how to mend it, is in docs/troubleshooting.md. "
    "To move keys and to make copies: txetcd import, txetcd export, txetcd backup, each with --help."
)
_INDENT = 30


def _entry(option: Option[Any]) -> list[str]:
    spelling = f"  {option.spelling()}"
    text = textwrap.wrap(option.described(), 80 - _INDENT, break_on_hyphens=False)
    if len(spelling) > _INDENT - 2:
        return [spelling, *(" " * _INDENT + line for line in text)]
    return [spelling.ljust(_INDENT) + text[0], *(" " * _INDENT + line for line in text[1:])]
