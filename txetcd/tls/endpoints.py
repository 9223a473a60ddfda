"""What to listen on to speak TLS: an `ssl:` string, an endpoint with TLS around it, or an `mtls:` string."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorSSL,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from txetcd.tls.connection import Factory
from txetcd.tls.files import files
from txetcd.tls.keeper import Keeper, check_worth, utc_now
from txetcd.tls.policy import Policy

# Seconds that a handshake may take.
TIMEOUT = 10.0

# Connections that the kernel holds for us, so that a burst of clients is not turned away.
BACKLOG = 4096

_MUTUAL_OPTIONS = ("mtls: certKey=", "mtls: privateKey=", "mtls: caCerts=", "mtls: crl=")


def server_endpoint_description(host: str, port: int, cert_file: Path, key_file: Path) -> str:
    """Return the Twisted string endpoint that serves TLS on `host`:`port` to any client.

    `host` is an IPv4 or IPv6 address without brackets, or "" for all of IPv4.
    """
    arguments = {"interface": host, "privateKey": str(key_file), "certKey": str(cert_file)}
    quoted = [f"{name}={quoteStringArgument(value)}" for name, value in arguments.items() if value]
    return ":".join(["ssl", str(port), *quoted, f"backlog={BACKLOG}"])


def tcp_endpoint_description(host: str, port: int) -> str:
    """Return the Twisted string endpoint for plain TCP on `host`:`port`."""
    return f"tcp:{port}:interface={quoteStringArgument(host)}:backlog={BACKLOG}"


@implementer(IReactorSSL)
@dataclass
class SSLListener:
    """What an `ssl:` endpoint listens with in place of the reactor.

    Twisted reads the string and makes the endpoint; the endpoint asks a reactor to listen with TLS, and gets
    TLS that follows the files and turns away what it has to.

    @ivar reactor: listens.
    @ivar keeper: has the certificates that the string names.
    @ivar timeout: seconds that a handshake may take.
    """

    reactor: Any
    keeper: Keeper
    timeout: float = TIMEOUT

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """Listen; the endpoint's own context, which could not change, is not used."""
        secure = Factory(self.keeper, factory, self.reactor, self.timeout, ask_clients=False)
        return cast(IListeningPort, self.reactor.listenTCP(port, secure, backlog, interface))

    def connectSSL(self, *args: Any, **kwargs: Any) -> Any:
        """Nobody asks for this."""
        raise NotImplementedError("a server endpoint does not connect")


@implementer(IStreamServerEndpoint)
@dataclass
class SecureEndpoint:
    """A stream endpoint with TLS around it.

    @ivar inner: listens.
    @ivar keeper: has the certificates.
    @ivar reactor: measures time.
    @ivar timeout: seconds that a handshake may take.
    """

    inner: IStreamServerEndpoint
    keeper: Keeper
    reactor: Any
    timeout: float = TIMEOUT

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen, as the endpoint within does."""
        secure = Factory(self.keeper, protocolFactory, self.reactor, self.timeout, ask_clients=True)
        listening: Deferred[IListeningPort] = self.inner.listen(secure)
        return listening


def server_endpoint(
    reactor: Any, keeper: Keeper, host: str, port: int, *, ask_clients: bool, timeout: float = TIMEOUT
) -> IStreamServerEndpoint:
    """Return what to listen on for TLS.

    @param ask_clients: with client certificates, which no `ssl:` string can ask for.
    """
    if ask_clients:
        inner = serverFromString(reactor, tcp_endpoint_description(host, port))
        return SecureEndpoint(cast(IStreamServerEndpoint, inner), keeper, reactor, timeout)
    certificate, key = (file.path for file in (keeper.files.certificate, keeper.files.key))
    description = server_endpoint_description(host, port, certificate, key)
    listener = SSLListener(reactor, keeper, timeout)
    return cast(IStreamServerEndpoint, serverFromString(listener, description))


def mutual_tls_endpoint(
    reactor: Any,
    port: str,
    privateKey: str,
    certKey: str,
    caCerts: str,
    crl: str = "",
    interface: str = "",
    allowedCN: str = "",
    allowedHostname: str = "",
    timeout: str = f"{TIMEOUT:g}",
) -> IStreamServerEndpoint:
    """Return the endpoint of an `mtls:` string, which asks clients for certificates.

    @param port: the port.
    @param privateKey: the file of the server's private key.
    @param certKey: the file of its certificate and chain.
    @param caCerts: the file of the CAs whose clients are let in.
    @param crl: the file of revocation lists, if there is one.
    @param interface: the IP address to listen on, else all of IPv4.
    @param allowedCN: the common names that clients may have, with commas between; else any.
    @param allowedHostname: the host names and addresses that their certificates may be for, likewise.
    @param timeout: seconds that a handshake may take.
    @raise TLSError: the files do not work.
    """
    named = files(Path(certKey), Path(privateKey), Path(caCerts), Path(crl) if crl else None, _MUTUAL_OPTIONS)
    policy = Policy(common_names=_items(allowedCN), host_names=_items(allowedHostname))
    keeper = Keeper(named, policy, reactor)
    check_worth(named, keeper.material, utc_now())
    return server_endpoint(reactor, keeper, interface, int(port), ask_clients=True, timeout=float(timeout))


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
