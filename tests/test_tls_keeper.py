"""txetcd.tls.keeper: what follows when the files change, and what is said of certificates that run out."""

from __future__ import annotations

import datetime
import os
import ssl

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.certificates import CLIENT, LOOPBACK, SERVER, Authority, pem
from tests.tls_harness import MemoryClient, Recorder, TLSCase
from txetcd.tls.connection import Factory
from txetcd.tls.keeper import DAY, POLL, Keeper

UTC = datetime.timezone.utc


class KeeperCase(TLSCase):
    """A keeper whose files are watched, as when something listens."""

    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.client = self.ca.issue("client", purposes=[CLIENT])
        self.crl_file = self.file("ca.crl", self.ca.revoke().public_bytes(Encoding.PEM))
        self.keeper_ = self.keeper(clock=self.clock)
        self.factory = self.listen(self.keeper_)

    def listen(self, keeper: Keeper) -> Factory:
        """As when a port does."""
        factory = Factory(keeper, Recorder(), self.clock, 10, True)
        factory.doStart()
        self.addCleanup(lambda: factory.numPorts and factory.doStop())
        return factory

    def connect(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> MemoryClient:
        client = MemoryClient(self.keeper_, context, session=session)
        self.assertEqual(client.exchange(), b"served")
        return client

    def served_by(self) -> str:
        """The serial number of the certificate that a new connection gets."""
        client = self.connect(self.context(self.client, self.version))
        certificate = client.tls.getpeercert(True)
        assert certificate is not None
        return str(x509.load_der_x509_certificate(certificate).serial_number)

    def serial(self, credentials: object) -> str:
        certificate = getattr(credentials, "certificate")  # noqa: B009
        return str(certificate.serial_number)

    def revoke(self, *certificates: x509.Certificate) -> None:
        self.file("ca.crl", self.ca.revoke(*certificates).public_bytes(Encoding.PEM))

    def poll(self) -> list[str]:
        """The next look at the files, and what is said of it."""
        with self.logged() as lines:
            self.clock.advance(POLL)
        return lines


class RotationTests(KeeperCase):
    def test_nothing_changes(self) -> None:
        self.assertEqual(self.poll(), [])

    def test_certificate(self) -> None:
        before = self.connect(self.context(self.client, self.version))
        fresh = self.ca.issue("fresh", purposes=[SERVER], hosts=LOOPBACK)
        fresh.write(self.directory, "server")
        [line] = self.poll()
        self.assertEqual(
            line,
            "TLS: the files were read anew: certificate CN=fresh,O=txetcd, "
            "valid until 2069-01-01 00:00:00+00:00; 1 CAs, 1 CRLs",
        )
        self.assertEqual(self.served_by(), self.serial(fresh))
        self.assertEqual(self.keeper_.figures.reloads, 1)
        # The connection that there was goes on.
        before.tls.write(b"more")
        before._pump()
        before._pump()
        self.assertEqual(before.tls.read(100), b"served")

    def test_half_of_it(self) -> None:
        """The key comes a while after its certificate."""
        old = self.serial(self.server)
        fresh = self.ca.issue("fresh", purposes=[SERVER], hosts=LOOPBACK)
        self.file("server.crt", fresh.certificate_pem)
        [line] = self.poll()
        self.assertIn("cannot be used, the old stay: --key-file", line)
        self.assertIn("does not fit the first certificate", line)
        self.assertEqual(self.served_by(), old)
        self.assertEqual(self.poll(), [])
        self.assertEqual(self.keeper_.figures.failed_reloads, 1)
        self.file("server.key", fresh.key_pem)
        self.assertEqual(len(self.poll()), 1)
        self.assertEqual(self.served_by(), self.serial(fresh))

    def test_damage(self) -> None:
        old = self.serial(self.server)
        for name in ("server.crt", "server.key", "ca.crt", "ca.crl"):
            content = (self.directory / name).read_bytes()
            for damaged in (b"", content[: len(content) // 2], None):
                if damaged is None:
                    (self.directory / name).unlink()
                else:
                    self.file(name, damaged)
                [line] = self.poll()
                self.assertIn("cannot be used, the old stay: ", line)
                self.assertIn(name, line)
            self.assertEqual(self.served_by(), old)
            # Client authentication has not gone either.
            stranger = MemoryClient(self.keeper_, self.context(None, self.version))
            self.assertRaises(ssl.SSLError, stranger.exchange)
            self.file(name, content)
            self.assertEqual(self.poll(), ["TLS: the files are as they were"])

    def test_symlink_to_a_file_of_the_same_age_and_size(self) -> None:
        fresh = self.ca.issue("server", purposes=[SERVER], hosts=LOOPBACK)
        pairs = {}
        for name, credentials in (("old", self.server), ("new", fresh)):
            directory = self.directory / name
            directory.mkdir()
            for path in credentials.write(directory, "server"):
                path.write_bytes(path.read_bytes().ljust(4096, b"\n"))
                os.utime(path, (0, 0))
            pairs[name] = directory
        link = self.directory / "current"
        link.symlink_to(pairs["old"])
        self.cert_file, self.key_file = link / "server.crt", link / "server.key"
        self.keeper_ = self.keeper(clock=self.clock)
        self.listen(self.keeper_)
        (self.directory / "next").symlink_to(pairs["new"])
        os.replace(self.directory / "next", link)
        self.assertEqual(len(self.poll()), 1)
        self.assertEqual(self.served_by(), self.serial(fresh))

    def test_ca(self) -> None:
        other = Authority.create("other CA")
        friend = other.issue("friend", purposes=[CLIENT])
        self.assertRaises(
            ssl.SSLError, MemoryClient(self.keeper_, self.context(friend, self.version)).exchange
        )
        self.file("ca.crt", pem(other.certificate))
        self.poll()
        self.connect(self.context(friend, self.version))
        self.assertRaises(
            ssl.SSLError, MemoryClient(self.keeper_, self.context(self.client, self.version)).exchange
        )

    def test_crl(self) -> None:
        self.revoke(self.client.certificate)
        self.poll()
        client = MemoryClient(self.keeper_, self.context(self.client, self.version))
        error = self.assertRaises(ssl.SSLError, client.exchange)
        self.assertIn("ALERT_CERTIFICATE_REVOKED", error.reason)

    def test_sessions_from_before_are_not_accepted(self) -> None:
        """A full handshake takes their place, in which everything is verified."""
        other = Authority.create("other CA")

        def new_certificate() -> None:
            self.ca.issue("fresh", purposes=[SERVER], hosts=LOOPBACK).write(self.directory, "server")

        def more_authorities() -> None:
            self.file("ca.crt", pem(self.ca.certificate) + pem(other.certificate))

        def more_revoked() -> None:
            self.revoke(other.certificate)

        for change in (new_certificate, more_authorities, more_revoked):
            context = self.context(self.client, self.version)
            session = self.connect(context).tls.session
            resumed = self.connect(context, session)
            self.assertTrue(resumed.tls.session_reused)
            change()
            self.assertEqual(len(self.poll()), 1)
            again = self.connect(context, resumed.tls.session)
            self.assertFalse(again.tls.session_reused, change.__name__)

    def test_session_of_a_client_that_is_revoked(self) -> None:
        context = self.context(self.client, self.version)
        session = self.connect(context).tls.session
        self.revoke(self.client.certificate)
        self.poll()
        again = MemoryClient(self.keeper_, context, session=session)
        self.assertRaises(ssl.SSLError, again.exchange)
        self.assertEqual(again.recorder.made, 0)

    def test_client_that_is_revoked_while_it_shakes_hands(self) -> None:
        client = MemoryClient(self.keeper_, self.context(self.client, self.version))
        self.assertRaises(ssl.SSLWantReadError, client.tls.do_handshake)
        # With this the connection has its context.
        client.send(client.outgoing.read())
        self.revoke(self.client.certificate)
        self.poll()
        with self.logged() as lines:
            self.assertEqual(client.exchange(), b"")
        [line] = lines
        self.assertIn("its certificate is revoked; certificate CN=client", line)
        self.assertEqual(client.recorder.made, 0)

    def test_watch_ends_with_the_last_port(self) -> None:
        keeper = self.keeper(clock=self.clock)
        before = len(self.clock.getDelayedCalls())
        first, second = self.listen(keeper), self.listen(keeper)
        first.doStop()
        self.assertEqual(len(self.clock.getDelayedCalls()), before + 1)
        second.doStop()
        self.assertEqual(len(self.clock.getDelayedCalls()), before)


class RotationWithTLS12Tests(RotationTests):
    version = ssl.TLSVersion.TLSv1_2


class CloseRevokedTests(KeeperCase):
    def connected(self, close: bool) -> tuple[MemoryClient, MemoryClient, list[str]]:
        """Two clients of an intermediate, of which one is then revoked."""
        self.keeper_ = self.keeper(clock=self.clock, close_revoked=close)
        factory = self.listen(self.keeper_)
        below = self.ca.intermediate("below")
        clients = []
        for name in ("one", "two"):
            credentials = below.issue(name, purposes=[CLIENT])
            client = self.connect(self.context(credentials, self.version))
            factory.registerProtocol(client.server)
            clients.append(client)
            if name == "one":
                revoked = credentials.certificate
        self.crl_file = self.file("ca.crl", below.revoke(revoked).public_bytes(Encoding.PEM))
        return clients[0], clients[1], self.poll()

    def test_closed(self) -> None:
        one, two, lines = self.connected(True)
        self.assertTrue(one.transport.disconnecting)
        self.assertFalse(two.transport.disconnecting)
        self.assertRegex(lines[-1], "its certificate is revoked; certificate CN=one,O=txetcd, issued by")

    def test_only_if_asked_for(self) -> None:
        one, _, _ = self.connected(False)
        self.assertFalse(one.transport.disconnecting)


class ExpiryTests(KeeperCase):
    def warnings(self, days: float) -> tuple[Keeper, list[str]]:
        """What is said when a server starts with a certificate that has so many days left."""
        self.factory.doStop()
        end = datetime.datetime(2040, 1, 1, tzinfo=UTC)
        self.ca.issue("server", purposes=[SERVER], hosts=LOOPBACK, end=end).write(self.directory, "server")
        self.now = end - datetime.timedelta(days=days)
        keeper = self.keeper(clock=self.clock, now=lambda: self.now)
        with self.logged() as lines:
            self.listen(keeper)
        self.assertEqual(keeper.figures.not_after, end)
        return keeper, [line.replace(f"{self.directory}/", "") for line in lines]

    def test_enough(self) -> None:
        self.assertEqual(self.warnings(31)[1], [])

    def test_soon(self) -> None:
        self.assertEqual(
            self.warnings(29.5)[1],
            ["TLS: --cert-file server.crt expires in 29 days, on 2040-01-01; give a new one"],
        )

    def test_over(self) -> None:
        [line] = self.warnings(-1)[1]
        self.assertIn("--cert-file server.crt has expired on 2040-01-01", line)

    def test_advertised_host(self) -> None:
        self.factory.doStop()
        with self.logged() as lines:
            self.listen(self.keeper(clock=self.clock, advertised=["localhost", "a.example.org"]))
        [line] = lines
        self.assertIn("and not for a.example.org, where clients are sent to", line)

    def test_revocation_does_not_wait_for_a_new_certificate(self) -> None:
        keeper, _ = self.warnings(-1)
        self.revoke(self.client.certificate)
        self.poll()
        self.assertEqual(keeper.figures.reloads, 1)

    def test_once_a_day(self) -> None:
        self.warnings(31)
        self.now += datetime.timedelta(days=2)
        with self.logged() as lines:
            self.clock.pump([POLL] * (int(DAY / POLL) - 1))
            self.assertEqual(lines, [])
            self.clock.pump([POLL] * 2)
            self.assertEqual(len(lines), 1)

    def test_lists_that_are_out_of_date(self) -> None:
        self.now = datetime.datetime(2030, 1, 1, tzinfo=UTC)
        end = datetime.datetime(2029, 1, 1, tzinfo=UTC)
        self.file("ca.crl", self.ca.revoke(end=end).public_bytes(Encoding.PEM))
        with self.logged() as lines:
            self.listen(self.keeper(clock=self.clock, now=lambda: self.now))
        [line] = lines
        self.assertIn("the CRL of CN=test CA,O=txetcd in --client-crl-file", line)
        self.assertIn("should have been renewed by 2029-01-01", line)


class FiguresTests(KeeperCase):
    def test_clients(self) -> None:
        self.connect(self.context(self.client))
        stranger = MemoryClient(self.keeper_, self.context())
        self.assertRaises(ssl.SSLError, stranger.exchange)
        stranger.server.connectionLost(Failure(ConnectionError()))
        figures = self.keeper_.figures
        self.assertEqual((figures.welcomed, figures.turned_away), (1, 1))
