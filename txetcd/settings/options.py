"""The table of options: each one's name, kind, default and help, in sections.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from txetcd.engine import Engine
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
    whole,
)
from txetcd.tls.policy import Suite

T = TypeVar("T")


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
    "times. Replaces --addr as the place to listen. With https: in front it is served with --cert-file and "
    "its kin; else it speaks TLS only if the string says so, as ssl: and mtls: do.",
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
BY_NAME = {name: option for option in TABLE for name in (option.name, *option.aliases)}
