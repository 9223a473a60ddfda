"""The composition root: settings in, out comes one service that owns all parts.

Start: bind the ports, open the store, expire what is overdue, and only then accept connections.  Stop: accept
no more, begin no more requests, end watches, finish writes, close the journal, let go of the connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from socket import AF_UNIX
from typing import Any, cast
from urllib.parse import urlsplit

from cryptography import x509
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorCore,
    IReactorFromThreads,
    IStreamServerEndpoint,
)
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure

from txetcd import descriptors, errors, pages, tls
from txetcd.adopted import AdoptedUNIXEndpoint
from txetcd.descriptors import Door, IDoorReactor
from txetcd.errors import EtcdError
from txetcd.journal import Journal
from txetcd.journal.etcd import EtcdJournal
from txetcd.journal.sqlite import SQLiteJournal
from txetcd.member import Member
from txetcd.notify import READY, STOPPING, Notify, reloading
from txetcd.observing.lines import FORMATS
from txetcd.observing.logs import Logs
from txetcd.observing.metrics import Sources, exposition
from txetcd.observing.requests import RequestCounts
from txetcd.resources.api import API
from txetcd.resources.endpoint import JSON, Directory
from txetcd.resources.metrics import Metrics
from txetcd.resources.status import Health
from txetcd.settings import Address, Settings
from txetcd.settings.values import within_https
from txetcd.site import Cache, Limits, Observer, Refusal, Site, plain_refusal
from txetcd.store import Store
from txetcd.tls.endpoints import SecureEndpoint, server_endpoint, tcp_endpoint_description
from txetcd.tls.keeper import Keeper
from txetcd.tls.refusals import name as name_text

# Seconds that connections have to take their last answers when the server stops.
GRACE = 2.0


class IServerReactor(IReactorCore, IReactorFromThreads, IDoorReactor):
    """What a server needs of a reactor, besides what its endpoints do."""


class StartError(Exception):
    """The server cannot start.

    @param text: one sentence for the operator.
    @ivar page: where that is told of.
    """

    def __init__(self, text: str, page: str = pages.START) -> None:
        super().__init__(text)
        self.page = page


class Server(Service):
    """A whole txetcd.

    @param reactor: a real one: with sockets, threads and time.
    @param settings: what the operator said.
    @param version: of txetcd, for logs and metrics.
    @param notify: tells the service manager that the server serves, or stops.
    @ivar failed: is told when it turns out after `startService` that the server cannot start: an engine
        answers when it answers.
    @ivar ready: is told when everything is there and serving begins.
    @ivar store: the store that it serves.
    @ivar keeper: has the certificates, if there are any, and the figures of TLS.
    """

    log = Logger()

    def __init__(
        self, reactor: IServerReactor, settings: Settings, version: str, notify: Notify = lambda _: None
    ) -> None:
        self.failed: Callable[[StartError], object] = lambda error: self.log.critical("{error}", error=error)
        self.ready: Callable[[], object] = lambda: None
        self._settings = settings
        self._version = version
        self._notify = notify
        kept, members = journal(reactor, settings)
        self.store = Store(kept, reactor, history_size=settings.history_size)
        self._logs = Logs(settings.access_log, settings.audit_log, FORMATS[settings.log_format], reactor)
        api = API(
            self.store,
            name=settings.name,
            client_urls=settings.advertise_client_urls,
            members=members,
            cors=settings.cors,
            max_body=settings.max_request_bytes,
            audit=self._logs.audit,
            dashboard=settings.dashboard,
        )
        limits = Limits(
            body=settings.max_request_bytes,
            header_bytes=settings.max_header_bytes,
            headers=settings.max_headers,
            connections=settings.max_connections,
            connections_per_address=settings.max_connections_per_address,
            idle=settings.idle_timeout,
        )
        self.keeper = keeper(reactor, settings)
        requests = RequestCounts()
        observers: list[Observer] = [requests]
        if self._logs.access is not None:
            observers.append(self._logs.access)
        self._site = Site(api, reactor, limits, refuse, observers, Cache())
        figures = Metrics(exposition(self._sources(requests)))
        api.putChild(b"metrics", figures)
        probed = Directory()
        probed.putChild(b"health", Health(self.store))
        probed.putChild(b"metrics", figures)
        self._probed = Site(probed, reactor, limits)
        self._endpoints = dict(endpoints(reactor, settings, self.keeper))
        self._metrics = dict(metrics_endpoints(reactor, settings, self.keeper))
        self._reactor = reactor
        self._ports: list[IListeningPort | Door] = []
        self._serving = False

    def _sources(self, requests: RequestCounts) -> Sources:
        return Sources(
            version=self._version,
            name=self._settings.name,
            engine=_engine_name(self._settings),
            requests=requests,
            connections=lambda: self._site.connections,
            store=self.store,
            keeper=self.keeper,
            files=self._logs.files,
        )

    def privilegedStartService(self) -> None:
        """Bind the ports, while there may be the right to; nobody is accepted yet.

        @raise StartError: when one cannot be had.
        """
        super().privilegedStartService()
        problem = descriptors.shortage(self._settings.max_connections, descriptors.raise_limit())
        if problem is not None:
            self.log.warn("{problem}", problem=problem)
        self._listen(self._endpoints, self._site)
        self._listen(self._metrics, self._probed)

    def _listen(self, places: dict[str, IStreamServerEndpoint], site: Site) -> None:
        for where, endpoint in places.items():
            listening = maybeDeferred(endpoint.listen, site)
            listening.addCallback(self._bound)
            failures: list[Failure] = []
            listening.addErrback(failures.append)
            if failures:
                raise StartError(_cannot_listen(where, failures[0]), pages.ADDRESSES)

    def _bound(self, port: IListeningPort) -> None:
        if not isinstance(port, Port):
            self._ports.append(port)
            return
        door = Door(port, self._reactor)
        self._ports.append(door)
        # Until then clients who come early wait in the kernel's queue.
        if self._serving:
            door.open()

    def startService(self) -> None:
        """Open the logs and the store, and begin to serve.

        @raise StartError: when a log or the data directory cannot be used.
        """
        super().startService()
        for name, file in self._logs.files.items():
            try:
                file.open()
            except OSError as error:
                remedy = "name a file that can be written to"
                raise StartError(f"--{name}-log {file.path}: {error.strerror}; {remedy}") from None
        failures: list[StartError] = []
        late = False

        def failed(failure: Failure) -> None:
            alone = self._settings.engine is None
            where, page = ("--data-dir", pages.DATA) if alone else ("--engine", pages.ENGINE)
            error = StartError(f"{where} {failure.getErrorMessage()}", page)
            if not late:
                failures.append(error)
            elif self.running:
                self.failed(error)

        self.store.startService()
        self.store.ready().addCallback(self._serve).addErrback(failed)
        if failures:
            raise failures[0]
        if not self._serving:
            self.log.info("Waiting for {place}; until then nobody is served", place=_place(self._settings))
        late = True

    def _serve(self, _: None) -> None:
        self._serving = True
        self.ready()
        for port in self._ports:
            if isinstance(port, Door):
                port.open()
        self._say_what_is_served()
        self._notify(READY)

    def _say_what_is_served(self) -> None:
        settings, figures = self._settings, self.store.figures()
        self.log.info(
            "txetcd {version} {name}: {keys} keys at index {index}, kept by {engine} in {place}; "
            "clients are told {urls}",
            version=self._version,
            name=settings.name,
            keys=figures.keys,
            index=figures.index,
            engine=_engine_name(settings),
            place=_place(settings),
            urls=", ".join(settings.advertise_client_urls),
        )
        for where in self._endpoints:
            self.log.info("Serving on {where}", where=where)
        for where in self._metrics:
            self.log.info("Serving /health and /metrics alone on {where}", where=where)
        if self.keeper is None:
            return
        certificate = self.keeper.material.chain[0]
        self.log.info(
            "Certificate {subject}, valid until {until}, of {file}",
            subject=name_text(certificate.subject),
            until=certificate.not_valid_after_utc,
            file=str(settings.cert_file),
        )
        if settings.ca_file is not None:
            self.log.info(
                "Clients need a certificate of a CA in {ca_file}: {subjects}",
                ca_file=str(settings.ca_file),
                subjects=_named(self.keeper.material.authorities),
            )

    def reload(self) -> None:
        """Read the certificates again, if there are any."""
        self._notify(reloading())
        if self.keeper is None:
            self.log.info("There are no certificates to read again")
        else:
            self.keeper.reload()
        self._notify(READY)

    def stopService(self) -> Deferred[None]:
        """Stop in order; fires when all data are safe and all connections gone."""
        super().stopService()
        self._notify(STOPPING)
        self._serving = False
        ports, self._ports = self._ports, []
        closing: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in ports]
        closing += [site.shutdown(GRACE) for site in (self._site, self._probed)]
        closing.append(self.store.stopService())
        stopping: Deferred[Any] = gatherResults(closing, consumeErrors=True)
        stopping.addErrback(lambda failure: self.log.failure("While stopping", failure))
        return stopping.addCallback(lambda _: self._logs.close())


def journal(reactor: IServerReactor, settings: Settings) -> tuple[Journal, Callable[[], Sequence[Member]]]:
    """What keeps the store, and what tells who else serves it.

    @raise TLSError: when an engine's files do not work.
    """
    if settings.engine is None:
        return SQLiteJournal(reactor, settings.data_dir, fresh=settings.force), tuple
    own = Member(settings.name, settings.advertise_client_urls)
    shared = EtcdJournal(reactor, settings.engine, timeout=settings.engine_timeout, member=own)
    return shared, lambda: shared.members


def _engine_name(settings: Settings) -> str:
    """What keeps the keys, for logs and metrics."""
    return "sqlite" if settings.engine is None else "etcd"


def _place(settings: Settings) -> str:
    """Where the keys are kept, for the log."""
    engine = settings.engine
    return str(settings.data_dir) if engine is None else f"{','.join(engine.endpoints)}{engine.prefix}"


def keeper(reactor: IServerReactor, settings: Settings) -> Keeper | None:
    """Who keeps the certificates, if there are any."""
    files = tls.configured(settings.cert_file, settings.key_file, settings.ca_file, settings.crl_file)
    if files is None:
        return None
    hosts = [urlsplit(url).hostname or "" for url in settings.advertise_client_urls]
    return Keeper(files, settings.policy, reactor, close_revoked=settings.close_revoked, advertised=hosts)


def endpoints(
    reactor: IServerReactor, settings: Settings, keeper: Keeper | None
) -> Iterator[tuple[str, IStreamServerEndpoint]]:
    """Where to serve clients: for each endpoint its name for logs and messages, and the endpoint."""
    yield from _at(reactor, settings, settings.bind, keeper, ask_clients=settings.ca_file is not None)
    for description in settings.listen:
        inner = within_https(description)
        endpoint = _from_string(reactor, inner or description)
        if inner is not None:
            assert keeper is not None
            endpoint = SecureEndpoint(endpoint, keeper, reactor, settings.handshake_timeout)
        yield description, endpoint


def metrics_endpoints(
    reactor: IServerReactor, settings: Settings, keeper: Keeper | None
) -> Iterator[tuple[str, IStreamServerEndpoint]]:
    """Where to answer those who only ask how the server is."""
    yield from _at(reactor, settings, settings.metrics, keeper, ask_clients=False)


def _at(
    reactor: IServerReactor,
    settings: Settings,
    addresses: Iterable[Address],
    keeper: Keeper | None,
    *,
    ask_clients: bool,
) -> Iterator[tuple[str, IStreamServerEndpoint]]:
    timeout = settings.handshake_timeout
    for address in addresses:
        host, port = address.host, address.port
        if address.tls:
            assert keeper is not None
            endpoint = server_endpoint(reactor, keeper, host, port, ask_clients=ask_clients, timeout=timeout)
        else:
            endpoint = _from_string(reactor, tcp_endpoint_description(host, port))
        yield _url(address), endpoint


def _from_string(reactor: IServerReactor, description: str) -> IStreamServerEndpoint:
    endpoint = serverFromString(reactor, description)
    if isinstance(endpoint, AdoptedStreamServerEndpoint) and endpoint.addressFamily == AF_UNIX:
        return AdoptedUNIXEndpoint(reactor, endpoint.fileno)
    return cast(IStreamServerEndpoint, endpoint)


def _url(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http{'s' if address.tls else ''}://{host}:{address.port}"


def _named(authorities: Sequence[x509.Certificate]) -> str:
    """CAs in words, the first few of them."""
    words = [f"{name_text(each.subject)}, valid until {each.not_valid_after_utc}" for each in authorities[:3]]
    more = len(authorities) - len(words)
    return "; ".join([*words, f"{more} more"] if more else words)


def _cannot_listen(where: str, failure: Failure) -> str:
    error = failure.value
    reason = error.socketError.strerror if isinstance(error, CannotListenError) else str(error)
    remedy = "stop what listens there, or choose another --addr, --bind-addr or --listen"
    return f"{where} cannot be listened on: {reason}; {remedy}"


def refuse(status: int, reason: str) -> Refusal:
    """The answer to a request that the site does not let through: a body over the limit is an API error."""
    if status == 413:
        return Refusal(400, (EtcdError(errors.INVALID_FORM, reason).to_json() + "\n").encode(), JSON)
    return plain_refusal(status, reason)
