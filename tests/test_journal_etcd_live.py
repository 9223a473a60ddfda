"""The journal in an etcd v3 cluster, on a real one of one member: the contract, limits, TLS and passwords."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyFactory
from twisted.trial.unittest import TestCase

from tests import journal_contract
from tests.certificates import CLIENT, Authority, pem
from tests.cluster.members import USER, Cluster, etcd_program
from tests.journal_contract import MiniStore, put
from tests.properties import START
from txetcd.commands import Delete
from txetcd.journal import Batch, Journal, JournalError
from txetcd.journal.etcd import Engine, EtcdJournal
from txetcd.journal.etcd.rows import BATCH_BYTES, encode_batch


class LiveCase(TestCase):
    """Has a cluster of one member.

    @cvar tls: whether it wants certificates, and
    @cvar password: that of its user, if it wants that.
    """

    skip = None if etcd_program() else "there is no etcd"
    tls = False
    password: str | None = None

    def setUp(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.cluster = Cluster(directory, size=1, tls=self.tls, password=self.password)
        self.addCleanup(self.cluster.close)
        self.cluster.start()

    def engine(self, place: str) -> Engine:
        """The cluster, as the gateway is told."""
        return Engine(tuple(self.cluster.endpoints), f"/{place}")

    def make_journal(self, place: str = "one") -> Journal:
        return EtcdJournal(IReactorTime(reactor), self.engine(place))


class ContractTests(LiveCase, journal_contract.JournalTests):
    """The contract."""

    long_value = "\u20acx" * 300_000


class LimitsTests(LiveCase):
    """What a real member takes."""

    async def opened(self, store: MiniStore, place: str = "one") -> Journal:
        journal = self.make_journal(place)
        store.recover(await journal.load(store.deliver))
        self.addCleanup(journal.close)
        return journal

    async def test_longest_batch(self) -> None:
        """What is let through is taken: as a batch, and as the row that comes of it in a checkpoint."""
        store = MiniStore()
        journal = await self.opened(store)
        empty = len(encode_batch(Batch("me", 1, (put("/a"),))))
        value = "x" * (BATCH_BYTES - empty)
        await journal.append(Batch("me", 1, (put("/a", value),)))
        await journal.append(Batch("me", 2, (put("/a", value[::-1]),)))
        await journal.checkpoint(store.checkpoint(2))
        refused = journal.append(Batch("me", 3, (put("/a", value + "x"),)))
        with self.assertRaisesRegex(JournalError, "more than the engine takes"):
            await refused
        other = MiniStore()
        await self.opened(other)
        self.assertTrue(other.tree.root == store.tree.root)
        self.assertTrue(other.events() == store.events())

    async def test_large_checkpoint(self) -> None:
        """Thousands of rows, in many transactions, with directories dropped below them."""
        store = MiniStore()
        journal = await self.opened(store)
        await journal.append(Batch("me", 1, tuple(put(f"/d/{n}", str(n)) for n in range(3000))))
        await journal.checkpoint(store.checkpoint(1))
        rewritten = [put(f"/d/{number}/x", "y" * 1000) for number in range(1000)]
        await journal.append(Batch("me", 2, (Delete("/d", True, True, START), *rewritten)))
        await journal.checkpoint(store.checkpoint(2))
        other = MiniStore()
        await self.opened(other)
        self.assertTrue(other.tree.root == store.tree.root)

    async def test_two_gateways(self) -> None:
        one, two = MiniStore(), MiniStore()
        journals = [await self.opened(one), await self.opened(two)]
        for number in range(20):
            appended = [
                journal.append(Batch(name, number, (put(f"/{name}", str(number)),)))
                for journal, name in zip(journals, ("one", "two"), strict=True)
            ]
            await gatherResults(appended)
        await gatherResults([journal.barrier() for journal in journals])
        self.assertEqual(len(one.delivered), 40)
        self.assertEqual(one.delivered, two.delivered)


class RestartTests(LiveCase):
    """The member is killed and started again."""

    async def test_restart(self) -> None:
        store = MiniStore()
        journal = self.make_journal()
        store.recover(await journal.load(store.deliver))
        self.addCleanup(journal.close)
        (member,) = self.cluster.members
        await journal.append(Batch("me", 1, (put("/a"),)))
        member.kill()
        member.start()
        await journal.append(Batch("me", 2, (put("/b"),)))
        await journal.barrier()
        self.assertEqual(len(store.delivered), 2)


class TLSTests(LiveCase):
    """A cluster that wants certificates."""

    tls = True

    def engine(self, place: str) -> Engine:
        files = self.cluster.tls
        assert files is not None
        return replace(
            super().engine(place), cert_file=files.cert_file, key_file=files.key_file, ca_file=files.ca_file
        )

    async def test_mutual(self) -> None:
        store = MiniStore()
        journal = self.make_journal()
        await journal.load(store.deliver)
        self.addCleanup(journal.close)
        await journal.append(Batch("me", 1, (put("/a"),)))
        await journal.barrier()
        self.assertEqual(len(store.delivered), 1)

    async def refused(self, engine: Engine) -> str:
        """Why a journal cannot be opened."""
        journal = EtcdJournal(IReactorTime(reactor), engine)
        loading = journal.load(lambda position, batch: None)
        while not journal.trouble:
            await deferLater(IReactorTime(reactor), 0.01)
        await journal.close()
        await self.assertFailure(loading, JournalError)
        return journal.trouble

    async def test_no_certificate(self) -> None:
        engine = replace(self.engine("one"), cert_file=None, key_file=None)
        reason = await self.refused(engine)
        # Which alert it is depends on the version of TLS, and of etcd.
        self.assertRegex(reason, "alert.*certificate")

    async def test_other_authority(self) -> None:
        """The member is not whom it should be."""
        directory = Path(self.mktemp())
        directory.mkdir()
        ca_file = directory / "other.crt"
        ca_file.write_bytes(pem(Authority.create("other").certificate))
        reason = await self.refused(replace(self.engine("one"), ca_file=ca_file))
        self.assertIn("certificate verify failed", reason)

    async def test_other_name(self) -> None:
        """The certificate is not for that address."""
        engine = self.engine("one")
        proxy = await self.forwarded("127.0.0.2", self.cluster.members[0].client_port)
        endpoints = (f"https://127.0.0.2:{proxy}",)
        reason = await self.refused(replace(engine, endpoints=endpoints))
        self.assertIn("127.0.0.2", reason)

    async def forwarded(self, host: str, port: int) -> int:
        """A port at another address of this machine that leads to a port at 127.0.0.1."""
        endpoint = serverFromString(reactor, f"tcp:0:interface={host}")
        listening = await endpoint.listen(ProxyFactory("127.0.0.1", port))
        self.addCleanup(listening.stopListening)
        return int(listening.getHost().port)

    async def test_rotation(self) -> None:
        """New files are used for new connections; half-written ones are not."""
        directory = Path(self.mktemp())
        directory.mkdir()
        good = self.engine("one")
        assert good.cert_file and good.key_file
        authority = Authority.create("not the cluster's")
        cert_file, key_file = authority.issue("stranger", purposes=[CLIENT]).write(directory, "gateway")
        engine = replace(good, cert_file=cert_file, key_file=key_file)
        journal = EtcdJournal(IReactorTime(reactor), engine)
        loading = journal.load(lambda position, batch: None)
        self.addCleanup(journal.close)
        while not journal.trouble:
            await deferLater(IReactorTime(reactor), 0.01)
        self.assertFalse(loading.called)
        cert_file.write_bytes(good.cert_file.read_bytes()[:100])
        await deferLater(IReactorTime(reactor), 0.3)
        cert_file.write_bytes(good.cert_file.read_bytes())
        key_file.write_bytes(good.key_file.read_bytes())
        await loading
        await journal.append(Batch("me", 1, (put("/a"),)))


class PasswordTests(LiveCase):
    """A cluster that wants users."""

    password = "secret"

    def engine(self, place: str) -> Engine:
        return replace(super().engine(place), user=USER, password="secret")

    async def test_token(self) -> None:
        """It is got, and got anew when the member has forgotten it."""
        store = MiniStore()
        journal = self.make_journal()
        await journal.load(store.deliver)
        self.addCleanup(journal.close)
        await journal.append(Batch("me", 1, (put("/a"),)))
        (member,) = self.cluster.members
        member.kill()
        member.start()
        await journal.append(Batch("me", 2, (put("/a"),)))
        await journal.barrier()
        self.assertEqual(len(store.delivered), 2)

    async def test_wrong_password(self) -> None:
        engine = replace(self.engine("one"), password="wrong")
        journal = EtcdJournal(IReactorTime(reactor), engine)
        self.addCleanup(journal.close)
        with self.assertRaisesRegex(JournalError, "authentication failed"):
            await journal.load(lambda position, batch: None)
