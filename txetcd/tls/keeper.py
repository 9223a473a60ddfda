"""Keeps the certificates of a server current: a change of the files is taken up whole, or not at all.

New connections get the new context, those there are keep theirs.  A new context has ticket keys of its own,
so that no session of the old one is resumed.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from txetcd.ca.diagnosis import Finding, diagnose_authorities, diagnose_server
from txetcd.tls.connection import Factory
from txetcd.tls.context import build
from txetcd.tls.files import File, Files, Material, TLSError, load
from txetcd.tls.policy import Policy
from txetcd.tls.refusals import Refusals, name
from txetcd.tls.revocation import Revocations
from txetcd.tls.rules import Rules

# Seconds between two looks at the files.
POLL = 2.0

DAY = 86_400.0


def utc_now() -> datetime.datetime:
    """The wall clock, by which certificates are valid."""
    return datetime.datetime.now(datetime.timezone.utc)


@dataclass(slots=True)
class Figures:
    """What can be counted of a server's TLS.

    @ivar not_after: when the first of the certificates in use, CAs included, ends.
    @ivar welcomed: clients let in.
    @ivar turned_away: connections that ended without that.
    @ivar reloads: changes of the files taken up.
    @ivar failed_reloads: changes that could not be.
    """

    not_after: datetime.datetime
    welcomed: int = 0
    turned_away: int = 0
    reloads: int = 0
    failed_reloads: int = 0


def findings(
    files: Files, material: Material, advertised: Iterable[str], now: datetime.datetime
) -> Iterator[tuple[File, Finding]]:
    """What is wrong with certificates that fit each other, or soon will be, and in which file.

    @param advertised: the hosts that clients are sent to.
    """
    for finding in diagnose_server(material.chain, advertised, now):
        yield files.certificate, finding
    if files.authorities is not None:
        for finding in diagnose_authorities(material.authorities, now):
            yield files.authorities, finding


def check_worth(files: Files, material: Material, now: datetime.datetime) -> None:
    """Raise `TLSError` if no client could live with these certificates, or none could ever come in."""
    for file, finding in findings(files, material, (), now):
        if finding.is_error:
            raise file.error(finding.problem, finding.remedy)


class _Loaded:
    """What was made of the files at one time."""

    def __init__(self, files: Files, policy: Policy) -> None:
        self.files = files
        self._policy = policy
        self.material: Material = load(files)
        self.rules = Rules(files.authorities is not None, policy, Revocations(self.material.revoked))
        self.context = self._build(self.rules.required)

    @cached_property
    def open_context(self) -> SSL.Context:
        """For where clients are not asked for certificates."""
        return self._build(False) if self.rules.required else self.context

    def _build(self, ask_clients: bool) -> SSL.Context:
        options = build(
            self.files,
            self.material,
            self._policy,
            ask_clients=ask_clients,
            sessions=True,
            objected=_objected,
        )
        return options.getContext()


def _objected(connection: SSL.Connection, certificate: x509.Certificate | None, error: int) -> None:
    connection.get_app_data().objected(certificate, error)


class Keeper:
    """Keeps a server's certificates.

    @param files: where they are.
    @param policy: what is asked of connections.
    @param clock: measures time.
    @param close_revoked: close the connections of clients whose certificates are revoked later.
    @param advertised: the hosts that clients are sent to.
    @param now: tells the time of day.
    @raise TLSError: they do not work.
    @ivar files: the files.
    @ivar figures: counters, for whoever shows them.
    @ivar refusals: where to tell of clients that were turned away.
    """

    log = Logger()

    def __init__(
        self,
        files: Files,
        policy: Policy,
        clock: IReactorTime,
        *,
        close_revoked: bool = False,
        advertised: Iterable[str] = (),
        now: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        self.files = files
        self._policy = policy
        self._clock = clock
        self._close_revoked = close_revoked
        self._advertised = tuple(advertised)
        self._now = now
        # Before the files are read: what changes meanwhile is read again.
        self._seen = files.signature()
        self._loaded = _Loaded(files, policy)
        self._factories: list[Factory] = []
        self._polling: LoopingCall | None = None
        self._warned = 0.0
        self.refusals = Refusals(clock, self.log)
        self.figures = Figures(min(self._ends()))

    @property
    def material(self) -> Material:
        """What is in use."""
        return self._loaded.material

    # What connections ask for; see `txetcd.tls.connection.Doorkeeper`.

    def connection(self, ask_clients: bool) -> SSL.Connection:
        """A new connection, of the present context."""
        loaded = self._loaded
        return SSL.Connection(loaded.context if ask_clients else loaded.open_context, None)

    def objection(self, certificate: x509.Certificate | None) -> str | None:
        """Why a client with this certificate is to be refused now, if it is."""
        return self._loaded.rules.objection(certificate, self._now())

    def revoked(self, connection: SSL.Connection) -> x509.Certificate | None:
        """The certificate of a connection's client, or one in its chain, that has been revoked since."""
        # A session that was resumed has no chain, only the client's own certificate.
        chain = connection.get_verified_chain(as_cryptography=True)
        leaf = connection.get_peer_certificate(as_cryptography=True)
        for certificate in chain or ([] if leaf is None else [leaf]):
            if self._loaded.rules.revocations.revoke(certificate):
                return certificate
        return None

    def counted(self, welcome: bool) -> None:
        """A handshake has come to its end."""
        if welcome:
            self.figures.welcomed += 1
        else:
            self.figures.turned_away += 1

    def opened(self, factory: Factory) -> None:
        """Keep watch over the files from now on, if this is the first factory that is used."""
        self._factories.append(factory)
        if self._polling is None:
            self._warn()
            self._polling = LoopingCall(self._poll)
            self._polling.clock = self._clock
            self._polling.start(POLL, now=False)

    def closed(self, factory: Factory) -> None:
        """Keep watch no longer, if this was the last factory that is used."""
        self._factories.remove(factory)
        if not self._factories and self._polling is not None:
            self._polling.stop()
            self._polling = None
            self.refusals.stop()

    # The files, and time.

    def reload(self) -> None:
        """Read the files again, and go on with what is in them if it works."""
        self._seen = self.files.signature()
        try:
            loaded = _Loaded(self.files, self._policy)
        except TLSError as error:
            self.figures.failed_reloads += 1
            self.log.error(
                "TLS: the files have changed and cannot be used, the old stay: {error}", error=error
            )
            return
        if loaded.material == self._loaded.material:
            self.log.info("TLS: the files are as they were")
            return
        self._loaded = loaded
        self.figures.reloads += 1
        leaf = loaded.material.chain[0]
        self.log.info(
            "TLS: the files were read anew: certificate {subject}, valid until {until}; "
            "{authorities} CAs, {revoked} CRLs",
            subject=name(leaf.subject),
            until=leaf.not_valid_after_utc,
            authorities=len(loaded.material.authorities),
            revoked=len(loaded.material.revoked),
        )
        self._warn()
        if self._close_revoked:
            for factory in list(self._factories):
                factory.close_revoked(self._tell_revoked)

    def _tell_revoked(self, peer: object, certificate: x509.Certificate) -> None:
        self.refusals.tell(peer, "it was connected, and is closed: its certificate is revoked", certificate)

    def _poll(self) -> None:
        if self.files.signature() != self._seen:
            self.reload()
        elif self._clock.seconds() - self._warned >= DAY:
            self._warn()

    def _ends(self) -> list[datetime.datetime]:
        material = self._loaded.material
        return [certificate.not_valid_after_utc for certificate in (*material.chain, *material.authorities)]

    def _warn(self) -> None:
        """Say, at start, after a change and once a day, what is wrong or runs out soon."""
        self._warned = self._clock.seconds()
        self.figures.not_after = min(self._ends())
        now = self._now()
        for file, finding in findings(self.files, self._loaded.material, self._advertised, now):
            self.log.warn("TLS: {file} {finding}", file=str(file), finding=str(finding))
        for revoked in self._loaded.rules.revocations.out_of_date(now):
            self.log.warn(
                "TLS: the CRL of {issuer} in {file} should have been renewed by {until}; what it revokes "
                "stays refused, what was revoked since is not known",
                issuer=name(revoked.issuer),
                file=str(self.files.revoked),
                until=revoked.next_update_utc,
            )
