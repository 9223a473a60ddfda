"""The journal in a real etcd v3 cluster of three members, while members and links fail."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.cluster.members import Cluster, etcd_program
from tests.cluster.proxy import Link
from tests.journal_contract import MiniStore, content, put
from txetcd.commands import Set
from txetcd.journal import Batch, JournalError
from txetcd.journal.etcd import Engine, EtcdJournal

CLOCK = cast(IReactorTime, reactor)


class Writer(MiniStore):
    """A gateway that writes one key after another.

    @ivar answered: the keys whose writes were answered.
    @ivar failed: those whose were refused; they may be there or not.
    """

    def __init__(self, name: str, endpoints: list[str]) -> None:
        super().__init__()
        self.name = name
        self.journal = EtcdJournal(CLOCK, Engine(tuple(endpoints)))
        self.answered: list[str] = []
        self.failed: list[str] = []
        self._writing = True
        self._done: Deferred[None] | None = None

    async def start(self) -> None:
        self.recover(await self.journal.load(self.deliver, self.start_anew))
        self._done = Deferred.fromCoroutine(self._write())

    def start_anew(self, recovered: object) -> None:
        raise AssertionError("nothing here is forgotten")

    async def _write(self) -> None:
        number = 0
        while self._writing:
            number += 1
            key = f"/{self.name}/{number}"
            try:
                await self.journal.append(Batch(self.name, number, (put(key),)))
            except JournalError:
                self.failed.append(key)
            else:
                self.answered.append(key)
            await deferLater(CLOCK, 0.002)

    async def progress(self, count: int) -> None:
        """Wait until so many more writes have been answered."""
        target = len(self.answered) + count
        while len(self.answered) < target:
            await deferLater(CLOCK, 0.01)

    async def finish(self) -> None:
        self._writing = False
        if self._done is not None:
            await self._done
        await self.journal.barrier()


class FaultsTests(TestCase):
    """Two gateways write all the time: one beside the members, one over links that can be cut."""

    skip = None if etcd_program() else "there is no etcd"
    timeout = 60

    def setUp(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.cluster = Cluster(directory)
        self.addCleanup(self.cluster.close)
        self.cluster.start()

    async def begin(self) -> None:
        """Let both write."""
        self.links = [Link(cast(IReactorTCP, reactor), member.client_port) for member in self.cluster.members]
        self.near = Writer("near", self.cluster.endpoints)
        self.far = Writer("far", [f"http://127.0.0.1:{link.port}" for link in self.links])
        for link in self.links:
            self.addCleanup(link.cut)
        for writer in (self.near, self.far):
            self.addCleanup(writer.journal.close)
            await writer.start()
        await self.far.progress(5)

    async def check(self) -> None:
        """What was answered is there, once, everywhere, in the same order."""
        await gatherResults([Deferred.fromCoroutine(each.finish()) for each in (self.near, self.far)])
        await gatherResults([each.journal.barrier() for each in (self.near, self.far)])
        fresh = MiniStore()
        journal = EtcdJournal(CLOCK, Engine(tuple(self.cluster.endpoints)))
        fresh.recover(await journal.load(fresh.deliver))
        await journal.close()
        for writer in (self.near, self.far):
            self.assertTrue(content(writer.tree) == content(fresh.tree), f"{writer.name} differs")
            commands = [command for _, batch in writer.delivered for command in batch.commands]
            times = Counter(command.key for command in commands if isinstance(command, Set))
            self.assertEqual([key for key, count in times.items() if count > 1], [])
            positions = [position for position, _ in writer.delivered]
            self.assertEqual(positions, list(range(positions[0], positions[-1] + 1)))
        for key in self.near.answered + self.far.answered:
            self.assertIsNotNone(fresh.tree.find(key), f"{key} is lost")

    async def test_leader_killed(self) -> None:
        await self.begin()
        leader = await deferToThread(self.cluster.leader)
        leader.kill()
        await self.near.progress(20)
        await self.far.progress(20)
        leader.start()
        await self.near.progress(20)
        # None of them had to give up.
        self.assertEqual(self.near.failed + self.far.failed, [])
        await self.check()

    async def test_leader_paused(self) -> None:
        await self.begin()
        leader = await deferToThread(self.cluster.leader)
        leader.pause()
        try:
            await self.near.progress(20)
            await self.far.progress(20)
        finally:
            leader.resume()
        await self.near.progress(20)
        await self.check()

    async def test_all_killed(self) -> None:
        await self.begin()
        for member in self.cluster.members:
            member.kill()
        await deferLater(CLOCK, 0.5)
        for member in self.cluster.members:
            member.start()
        await self.near.progress(5)
        await self.far.progress(5)
        await self.check()

    async def test_cut_off(self) -> None:
        await self.begin()
        for link in self.links:
            await link.cut()
        await self.near.progress(50)
        while not self.far.failed:
            await deferLater(CLOCK, 0.01)
        for link in self.links:
            link.heal()
        await self.far.progress(5)
        await self.check()

    async def test_stalled(self) -> None:
        """One way after the other falls silent: the next is taken before anybody has to give up."""
        await self.begin()
        for link in self.links:
            link.stall()
            await self.far.progress(2)
            link.heal()
        self.assertEqual(self.far.failed, [])
        await self.check()

    async def test_answers_lost(self) -> None:
        await self.begin()
        for link in self.links:
            link.drop_answers()
            await self.far.progress(2)
            link.heal()
        self.assertEqual(self.far.failed, [])
        await self.check()
