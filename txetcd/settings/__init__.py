"""What a server is to do: `Settings`, made of the options that were given.

Here are the rules for options that go together; the rules for each by itself are in `txetcd.settings.values`.
Pure: nothing is looked up here, neither files nor names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from txetcd.engine import Engine
from txetcd.settings import options
from txetcd.settings.sources import Given, SettingsError
from txetcd.settings.values import MAIN_LOG, ClientURL, HostPort, speaks_tls, url_of, within_https
from txetcd.tls.policy import Policy
from txetcd.tls.rules import is_ip

DEFAULT_ADDR = HostPort("127.0.0.1", 4001)


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and port to listen on, and whether TLS is spoken there."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return str(HostPort(self.host, self.port))


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a server needs to know.

    @ivar name: this server's name.
    @ivar data_dir: the directory, an absolute path, that holds everything.
    @ivar engine: the etcd v3 cluster that holds it instead, with the files to speak to it.
    @ivar engine_timeout: seconds that it may take.
    @ivar engine_user_file: whom to be there.
    @ivar force: what is in `data_dir` is thrown away first.
    @ivar bind: the addresses to listen on.
    @ivar listen: Twisted endpoint strings to listen on, with `https:` in front of those that the files are
        for, as they are for `bind` and `metrics`; the others are taken as they are.
    @ivar metrics: the addresses to serve /health and /metrics on, without client certificates.
    @ivar advertise_client_urls: where clients are told to go.
    @ivar cert_file: the certificate, an absolute path; with it there is a key.
    @ivar key_file: its private key.
    @ivar ca_file: the CAs of the certificates that clients must have.
    @ivar crl_file: what those CAs have revoked.
    @ivar close_revoked: close connections of clients that are revoked later.
    @ivar policy: what else is asked of TLS and clients' certificates.
    @ivar handshake_timeout: seconds that a TLS handshake may take.
    @ivar cors: origins that may use the API, "*" for all.
    @ivar dashboard: serve the page for browsers.
    @ivar max_request_bytes: the longest body.
    @ivar max_header_bytes: the longest head, request line included.
    @ivar max_headers: the most headers.
    @ivar max_connections: the most connections at a time, 0 for any number.
    @ivar max_connections_per_address: the most of them from one address, 0 for any number.
    @ivar idle_timeout: seconds.
    @ivar history_size: events to keep.
    @ivar access_log: the file for a line about each request, `MAIN_LOG` for the log of the server.
    @ivar audit_log: likewise for each write.
    @ivar log_format: of those lines, text or json.
    @ivar warnings: lines for the log, about options that are not what they seem.
    """

    name: str
    data_dir: Path
    engine: Engine | None
    engine_timeout: float
    engine_user_file: Path | None
    force: bool
    bind: tuple[Address, ...]
    listen: tuple[str, ...]
    metrics: tuple[Address, ...]
    advertise_client_urls: tuple[str, ...]
    cert_file: Path | None
    key_file: Path | None
    ca_file: Path | None
    crl_file: Path | None
    close_revoked: bool
    policy: Policy
    handshake_timeout: float
    cors: tuple[str, ...]
    dashboard: bool
    max_request_bytes: int
    max_header_bytes: int
    max_headers: int
    max_connections: int
    max_connections_per_address: int
    idle_timeout: float
    history_size: int
    access_log: Path | None
    audit_log: Path | None
    log_format: str
    warnings: tuple[str, ...]


def build(given: Given, host_name: str, directory: Path) -> Settings:
    """Make settings of the options.

    @param host_name: this machine's name, for a server that is given none.
    @param directory: what relative paths start from.
    @raise SettingsError: when they do not go together.
    """

    def path(option: options.Option[Path]) -> Path | None:
        value = given.get(option)
        return None if value is None else directory / value

    def log(option: options.Option[Path]) -> Path | None:
        return MAIN_LOG if given.get(option) == MAIN_LOG else path(option)

    cert_file, ca_file = path(options.CERT_FILE), path(options.CA_FILE)
    _check_client_cert_auth(given, ca_file)
    _check_client_names(given, ca_file)
    name = given.get(options.NAME) or host_name
    bind = _bind(given, cert_file is not None)
    listen = _listen(given, cert_file is not None)
    metrics = _addresses(given, options.LISTEN_METRICS_URLS, cert_file is not None)
    _check_no_overlap(given, bind, metrics)
    secure = any(address.tls for address in (*bind, *metrics)) or any(map(within_https, listen))
    if cert_file is not None and not secure:
        raise SettingsError(
            f"{given.label(options.CERT_FILE)}: would serve nobody; give --bind-addr, or https:// in "
            "--listen-client-urls, or https: in front of --listen, or leave it out"
        )
    warnings = [*given.warnings, *_unguarded(given, bind), *_hard_to_find(given, bind)]
    return Settings(
        name=name,
        data_dir=path(options.DATA_DIR) or directory / f"{name}.etcd",
        engine=_engine(given, path),
        engine_timeout=given.need(options.ENGINE_TIMEOUT),
        engine_user_file=path(options.ENGINE_USER_FILE),
        force=given.need(options.FORCE),
        bind=bind,
        listen=listen,
        metrics=metrics,
        advertise_client_urls=_advertised(given, bind),
        cert_file=cert_file,
        key_file=path(options.KEY_FILE),
        ca_file=ca_file,
        crl_file=path(options.CLIENT_CRL_FILE),
        close_revoked=given.need(options.CLOSE_REVOKED),
        policy=Policy(
            given.need(options.TLS_MIN_VERSION),
            given.need(options.OFFERED_SUITES),
            given.need(options.CLIENT_CERT_ALLOWED_CN),
            given.need(options.CLIENT_CERT_ALLOWED_HOSTNAME),
        ),
        handshake_timeout=given.need(options.TLS_HANDSHAKE_TIMEOUT),
        cors=given.need(options.CORS),
        dashboard=given.need(options.DASHBOARD),
        max_request_bytes=given.need(options.MAX_REQUEST_BYTES),
        max_header_bytes=given.need(options.MAX_HEADER_BYTES),
        max_headers=given.need(options.MAX_HEADERS),
        max_connections=given.need(options.MAX_CONNECTIONS),
        max_connections_per_address=given.need(options.MAX_CONNECTIONS_PER_ADDRESS),
        idle_timeout=given.need(options.IDLE_TIMEOUT),
        history_size=given.need(options.HISTORY_SIZE),
        access_log=log(options.ACCESS_LOG),
        audit_log=log(options.AUDIT_LOG),
        log_format=given.need(options.LOG_FORMAT),
        warnings=tuple(warnings),
    )


def _engine(given: Given, path: Callable[[options.Option[Path]], Path | None]) -> Engine | None:
    """The engine with its files; both are of no use alone."""
    engine, label = given.get(options.ENGINE), given.label(options.ENGINE)
    files = (options.PEER_CERT_FILE, options.PEER_KEY_FILE, options.PEER_CA_FILE)
    for option in (*files, options.ENGINE_USER_FILE):
        if engine is None and given.get(option) is not None:
            raise SettingsError(f"{given.label(option)}: is for an engine; give --engine, or leave it out")
    if engine is None:
        return None
    for option in files:
        if not engine.tls and given.get(option) is not None:
            raise SettingsError(f"{given.label(option)}: {label} has no TLS; write etcd+https:// there")
    if given.get(options.DATA_DIR) is not None or given.need(options.FORCE):
        other = options.FORCE if given.need(options.FORCE) else options.DATA_DIR
        raise SettingsError(f"{given.label(other)}: everything is in {label}; leave one of them out")
    cert_file, key_file, ca_file = map(path, files)
    return replace(engine, cert_file=cert_file, key_file=key_file, ca_file=ca_file)


def _check_client_cert_auth(given: Given, ca_file: Path | None) -> None:
    asked = given.get(options.CLIENT_CERT_AUTH)
    label = given.label(options.CLIENT_CERT_AUTH)
    if asked and ca_file is None:
        raise SettingsError(f"{label}: needs the CA of the clients' certificates; give --ca-file too")
    if asked is False and ca_file is not None:
        raise SettingsError(
            f"{label}: is off, but {given.label(options.CA_FILE)} asks for client certificates; leave one out"
        )


def _check_client_names(given: Given, ca_file: Path | None) -> None:
    """Names in certificates that nobody has verified would mean nothing."""
    for option in (options.CLIENT_CERT_ALLOWED_CN, options.CLIENT_CERT_ALLOWED_HOSTNAME):
        if given.need(option) and ca_file is None:
            raise SettingsError(
                f"{given.label(option)}: needs the CA of the clients' certificates; give --ca-file too"
            )
    if given.need(options.CLOSE_REVOKED) and given.get(options.CLIENT_CRL_FILE) is None:
        raise SettingsError(
            f"{given.label(options.CLOSE_REVOKED)}: needs what is revoked; give --client-crl-file too"
        )


def _addresses(given: Given, option: options.Option[tuple[ClientURL, ...]], tls: bool) -> tuple[Address, ...]:
    """The addresses in an option's URLs."""
    urls = given.need(option)
    if not tls and any(url.tls for url in urls):
        raise SettingsError(
            f"{given.label(option)}: https:// needs a certificate; give --cert-file and --key-file"
        )
    return tuple(Address(url.host, url.port, url.tls) for url in urls)


def _check_no_overlap(given: Given, bind: tuple[Address, ...], metrics: tuple[Address, ...]) -> None:
    taken = {(address.host, address.port) for address in bind if address.port}
    for address in metrics:
        if (address.host, address.port) in taken:
            raise SettingsError(
                f"{given.label(options.LISTEN_METRICS_URLS)}: {address} is where clients are served; "
                "choose another port"
            )


def _bind(given: Given, tls: bool) -> tuple[Address, ...]:
    """Where to listen, apart from endpoint strings."""
    urls, bind = given.get(options.LISTEN_CLIENT_URLS), given.get(options.BIND_ADDR)
    addr = given.get(options.ADDR) or DEFAULT_ADDR
    if urls is not None:
        label = given.label(options.LISTEN_CLIENT_URLS)
        if bind is not None:
            raise SettingsError(
                f"{label} and {given.label(options.BIND_ADDR)}: say the same; give one of them"
            )
        return _addresses(given, options.LISTEN_CLIENT_URLS, tls)
    if bind is not None:
        return (Address(bind.host, _port(addr) if bind.port is None else bind.port, tls),)
    if given.need(options.LISTEN):
        return ()
    if not is_ip(addr.host):
        raise SettingsError(
            f"{given.label(options.ADDR)} {addr}: is a name; say where to listen, such as --bind-addr 0.0.0.0"
        )
    return (Address(addr.host, _port(addr), tls),)


def _listen(given: Given, tls: bool) -> tuple[str, ...]:
    """The endpoint strings."""
    for endpoint in given.need(options.LISTEN):
        if not tls and within_https(endpoint) is not None:
            raise SettingsError(
                f"{given.label(options.LISTEN)} {endpoint}: https: needs a certificate; give --cert-file and "
                "--key-file"
            )
    return given.need(options.LISTEN)


def _port(addr: HostPort) -> int:
    assert addr.port is not None
    return addr.port


def _advertised(given: Given, bind: tuple[Address, ...]) -> tuple[str, ...]:
    urls, addr = given.get(options.ADVERTISE_CLIENT_URLS), given.get(options.ADDR)
    if urls is not None:
        return urls
    if bind and addr is None:
        return tuple(dict.fromkeys(url_of(a.tls, _reachable(a.host), a.port) for a in bind))
    tls = any(address.tls for address in bind) or any(
        speaks_tls(endpoint) for endpoint in given.need(options.LISTEN)
    )
    addr = addr or DEFAULT_ADDR
    return (url_of(tls, addr.host, _port(addr)),)


def _reachable(host: str) -> str:
    """The host, or if that is all of them, one of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _unguarded(given: Given, bind: tuple[Address, ...]) -> Iterator[str]:
    """Where less is asked of clients than the certificates make one think."""
    if given.get(options.CERT_FILE) is None:
        return
    for address in bind:
        if not address.tls:
            yield f"{address} speaks plain HTTP and asks no client for a certificate"
    for endpoint in given.need(options.LISTEN):
        if not speaks_tls(endpoint):
            yield f"{endpoint} speaks plain HTTP and asks no client for a certificate"
        elif given.get(options.CA_FILE) is not None and not endpoint.startswith(("https:", "mtls:")):
            yield f"{endpoint} asks no client for a certificate"


def _hard_to_find(given: Given, bind: tuple[Address, ...]) -> Iterator[str]:
    """Where clients on other machines would be told of this very machine."""
    if given.get(options.ADDR) is not None or given.get(options.ADVERTISE_CLIENT_URLS) is not None:
        return
    for address in bind:
        if address.host != _reachable(address.host):
            yield (
                f"clients are told to use {_reachable(address.host)}; "
                "if there are any on other machines, give --addr or --advertise-client-urls"
            )
