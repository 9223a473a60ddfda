"""Gateways on an engine in memory, under a clock that the test moves.

self.done(gateway.write("/a")); gateway.link.cut(); self.pass_time(5)
"""

from __future__ import annotations

import random
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fake_engine import FakeEngine, Link
from tests.journal_contract import MiniStore, content, put
from txetcd.commands import AnyCommand, Delete, Set
from txetcd.journal import Batch, JournalError, Recovered
from txetcd.journal.etcd import Engine, EtcdJournal

_T = TypeVar("_T")

ENGINE = Engine(("http://127.0.0.1:2379",), "/p")


class Gateway(MiniStore):
    """A journal with a small store.

    @ivar link: its way to the engine.
    @ivar anew: how often it had to start anew.
    """

    def __init__(self, engine: FakeEngine, name: str) -> None:
        super().__init__()
        self.name = name
        self.link = Link(engine)
        self.journal = EtcdJournal(engine.reactor, ENGINE, client=self.link)
        self.anew = 0
        self._number = 0

    def start(self) -> Deferred[None]:
        return self.journal.load(self.deliver, self._start_anew).addCallback(self.recover)

    def _start_anew(self, recovered: Recovered) -> None:
        self.__dict__.update(MiniStore().__dict__)
        self.anew += 1
        self.recover(recovered)

    def append(self, *commands: AnyCommand) -> Deferred[None]:
        self._number += 1
        return self.journal.append(Batch(self.name, self._number, commands))

    def write(self, key: str, value: str = "") -> Deferred[None]:
        return self.append(put(key, value))

    @property
    def written(self) -> list[str]:
        """The keys that were written, in order; of the batches that were delivered."""
        commands = [command for _, batch in self.delivered for command in batch.commands]
        return [command.key for command in commands if isinstance(command, Set | Delete)]


class EngineTestCase(SynchronousTestCase):
    """Gateways on an engine in memory, under a clock that the test moves."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.engine = FakeEngine(self.clock)
        self.gateways: list[Gateway] = []
        self.patch(random, "uniform", lambda low, high: high)
        self.addCleanup(self._finish)

    def _finish(self) -> None:
        for gateway in self.gateways:
            gateway.journal.close()
            self.pass_time(5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def turn(self) -> None:
        """Let everything happen that needs no time."""
        self.clock.pump([0.0] * 40)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)
            self.turn()

    def gateway(self, name: str = "") -> Gateway:
        """A gateway that has started."""
        gateway = Gateway(self.engine, name or f"gateway{len(self.gateways)}")
        self.gateways.append(gateway)
        self.done(gateway.start())
        return gateway

    def done(self, result: Deferred[_T], seconds: float = 0.0) -> _T:
        """What comes of it in that time."""
        self.turn()
        self.pass_time(seconds)
        return self.successResultOf(result)

    def failed(self, result: Deferred[_T], seconds: float = 0.0) -> str:
        self.turn()
        self.pass_time(seconds)
        return str(self.failureResultOf(result, JournalError).value)

    def assert_agreed(self, *gateways: Gateway) -> None:
        """The gateways, and one that starts now, are in the same state."""
        self.pass_time(3)
        fresh = self.gateway()
        for gateway in gateways:
            self.assertTrue(content(gateway.tree) == content(fresh.tree), f"{gateway.name} differs")
            self.assertEqual(gateway.events()[-5:], fresh.events()[-5:])
