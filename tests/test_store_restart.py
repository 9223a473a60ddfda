"""Restarts and checkpoints: a store that was stopped and started is the store that it was."""

from __future__ import annotations

import random
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.trial.unittest import TestCase

from tests.journal_contract import content, random_step
from tests.properties import START
from tests.store_harness import StoreTestCase
from txetcd.auth_commands import CreateUser, DisableAuth, EnableAuth
from txetcd.checkpointer import CHECKPOINT_CHARACTERS
from txetcd.commands import Command
from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.journal import CHECKPOINT_COMMANDS, Checkpoint
from txetcd.journal.memory import MemoryJournal
from txetcd.journal.sqlite import SQLiteJournal
from txetcd.store import Store


class RecordingJournal(MemoryJournal):
    """A journal that remembers the checkpoints, and finishes them when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.checkpoints: list[Checkpoint] = []
        self.hold = False

    def checkpoint(self, checkpoint: Checkpoint) -> Deferred[None]:
        self.checkpoints.append(checkpoint)
        if self.hold:
            self.finish: Deferred[None] = Deferred()
            return self.finish
        return super().checkpoint(checkpoint)


def history(store: Store) -> list[Event]:
    """All events that can be asked for."""
    tree = store.tree
    return list(store._history.since(store._history.oldest(tree.index), tree.index))


class CheckpointTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.recording = RecordingJournal()
        self.store = self.started(self.recording)

    def write(self, count: int, value: str = "") -> None:
        answers = [self.store.set(f"/{number % 10}", value) for number in range(count)]
        while not answers[-1].called:
            self.turn()

    def restarted(self, history_size: int = 1000) -> Store:
        self.successResultOf(self.store.stopService())
        self.store = self.started(self.recording, history_size)
        return self.store

    def test_after_so_many_commands(self) -> None:
        self.write(CHECKPOINT_COMMANDS - 1)
        self.assertEqual(self.recording.checkpoints, [])
        self.write(1)
        (checkpoint,) = self.recording.checkpoints
        self.assertEqual((checkpoint.index, checkpoint.raft_index), (1001, 1000))
        # Hot keys are written once, however often they changed.
        self.assertEqual(sorted(node.key for node in checkpoint.rows), [f"/{n}" for n in range(10)])
        self.assertEqual([event.index for event in checkpoint.events], list(range(2, 1002)))
        self.assertEqual(self.recording._log, [])

    def test_refusals_count(self) -> None:
        """They take room in the log too."""
        answers = [self.store.delete("/none") for _ in range(CHECKPOINT_COMMANDS)]
        while not answers[-1].called:
            self.turn()
        for answer in answers:
            self.failureResultOf(answer, EtcdError)
        self.assertEqual(len(self.recording.checkpoints), 1)
        self.assertEqual(self.restarted().tree.raft_index, CHECKPOINT_COMMANDS)

    def test_after_so_many_characters(self) -> None:
        self.write(5, "x" * (CHECKPOINT_CHARACTERS // 4))
        self.assertEqual(len(self.recording.checkpoints), 1)

    def test_users(self) -> None:
        """They are in the checkpoint after they changed and in no other, and stay as they were."""
        self.done(self.store.change_auth(CreateUser("root", "hash", None)))
        self.done(self.store.change_auth(EnableAuth()))
        auth = self.store.tree.auth
        self.assertEqual(self.restarted().tree.auth, auth)
        self.write(CHECKPOINT_COMMANDS)
        self.write(CHECKPOINT_COMMANDS)
        self.assertEqual([checkpoint.auth for checkpoint in self.recording.checkpoints], [auth, None])
        self.assertEqual(self.restarted().tree.auth, auth)
        self.write(CHECKPOINT_COMMANDS)
        self.assertIsNone(self.recording.checkpoints[-1].auth)
        self.done(self.store.change_auth(DisableAuth()))
        self.write(CHECKPOINT_COMMANDS)
        self.assertFalse(self.restarted().tree.auth.enabled)

    def test_one_at_a_time(self) -> None:
        self.recording.hold = True
        self.write(3 * CHECKPOINT_COMMANDS)
        self.assertEqual(len(self.recording.checkpoints), 1)
        self.recording.finish.callback(None)
        self.write(1)
        self.assertEqual(len(self.recording.checkpoints), 2)
        self.assertEqual(self.recording.checkpoints[1].index, 3002)

    def test_restart(self) -> None:
        """After checkpoints and a log behind them, all is as it was, the history too."""
        self.write(2500, "1")
        before, events, cluster_id = content(self.store.tree), history(self.store), self.store.cluster_id
        store = self.restarted()
        self.assertEqual(content(store.tree), before)
        self.assertEqual(history(store), events)
        self.assertEqual(len(events), 1000)
        self.assertEqual(store.cluster_id, cluster_id)
        past = self.successResultOf(store.watch("/0", since=2000))
        self.assertEqual(past, events[2002 - events[0].index])
        self.assertEqual(self.refused(store.watch("/0", since=1500)).code, 401)

    def test_history_size_changes(self) -> None:
        """A smaller one keeps the latest; a larger one has all that there is, without gaps."""
        self.write(1500)
        events = history(self.store)
        found = history(self.restarted(history_size=10))
        self.assertEqual(found, events[-10:])
        found = history(self.restarted(history_size=5000))
        self.assertEqual(found[-1000:], events)
        self.assertEqual([event.index for event in found], list(range(found[0].index, 1502)))

    def test_replay_makes_a_checkpoint(self) -> None:
        """A long log that was found at the start is cut too."""
        self.recording.hold = True
        self.write(1500)
        before, events = content(self.store.tree), history(self.store)
        self.assertEqual(len(self.recording._log), 3)
        self.recording.hold = False
        for _ in range(2):
            self.assertEqual(content(self.restarted().tree), before)
            self.assertEqual(len(self.recording._log), 1)
        self.assertEqual(history(self.store), events)


class RandomRestartTests(StoreTestCase):
    def test_restarts_change_nothing(self) -> None:
        """Two stores are given the same commands; one of them is restarted all the time."""
        for seed in range(3):
            rng = random.Random(seed)
            journal = RecordingJournal()
            steady, restarted = self.fixed(MemoryJournal()), self.fixed(journal)
            time = START
            for _ in range(50):
                for _ in range(rng.randint(1, 80)):
                    step = random_step(rng)
                    time += step.pause
                    command = step.command(steady.tree, time)
                    self.assertEqual(self.outcome(restarted, command), self.outcome(steady, command))
                if rng.random() < 0.5:
                    self.successResultOf(restarted.stopService())
                    restarted = self.fixed(journal)
                self.assertEqual(content(restarted.tree), content(steady.tree))
                self.assertEqual(history(restarted), history(steady))
                self.assertEqual(
                    [event.to_json() for event in history(restarted)[-20:]],
                    [event.to_json() for event in history(steady)[-20:]],
                )
            self.assertNotEqual(journal.checkpoints, [])
            for store in (steady, restarted):
                self.successResultOf(store.stopService())
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def fixed(self, journal: MemoryJournal) -> Store:
        """A store on a journal for which no time passes, so that it lets nothing expire by itself."""
        store = Store(journal, self.clock, history_size=100, now=lambda: 0)
        store.startService()
        self.successResultOf(store.ready())
        return store

    def outcome(self, store: Store, command: Command) -> object:
        outcomes: list[object] = []
        store.write(command).addErrback(lambda failure: failure.value).addCallback(outcomes.append)
        self.turn()
        return outcomes[0]


class SQLiteRestartTests(TestCase):
    """The same on a file, with the real reactor."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def started(self) -> Store:
        journal = SQLiteJournal(IReactorFromThreads(reactor), self.directory)
        # No time passes, so that nothing runs out by itself.
        store = Store(journal, IReactorTime(reactor), now=lambda: 0)
        store.startService()
        self.addCleanup(store.stopService)
        return store

    async def test_restart(self) -> None:
        store = self.started()
        await store.ready()
        rng = random.Random(3)
        time = START
        for _ in range(5):
            commands = []
            for _ in range(500):
                step = random_step(rng)
                time += step.pause
                commands.append(step.command(store.tree, time))
            answers = [store.write(command).addErrback(lambda _: None) for command in commands]
            await gatherResults(answers)
        await store.set("/last", "1")
        before, events, cluster_id = content(store.tree), history(store), store.cluster_id
        await gatherResults([store.stopService(), store.stopService()])
        store = self.started()
        await store.ready()
        self.assertEqual(content(store.tree), before)
        self.assertEqual(history(store), events)
        self.assertEqual(store.cluster_id, cluster_id)
        past = await store.watch("/last", since=store.tree.index)
        self.assertEqual(past.node, store.tree.get("/last"))

    async def test_stop_without_waiting(self) -> None:
        """Writes that nobody waited for are kept when the store is stopped."""
        store = self.started()
        answers = [store.set(f"/{number}") for number in range(700)]
        await store.stopService()
        self.assertEqual([answer.called for answer in answers], [True] * 700)
        store = self.started()
        self.assertEqual(len(store.tree.root.children), 700)
