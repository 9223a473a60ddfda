"""What every journal must do, as a TestCase to inherit from, and a small store to try journals with.

A test module of a journal subclasses `JournalTests` and says how to make one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from tests.properties import KEYS, KINDS, START, VALUES, Step, rows
from txetcd.auth import Auth
from txetcd.auth_commands import (
    AuthCommand,
    CreateRole,
    CreateUser,
    DeleteRole,
    DeleteUser,
    DisableAuth,
    EnableAuth,
    UpdateRole,
    UpdateUser,
)
from txetcd.changes import Changes
from txetcd.commands import AnyCommand, Create, Delete, Expire, Set, evaluate, refused
from txetcd.errors import RefusedError
from txetcd.events import Event, History
from txetcd.journal import Batch, Checkpoint, Journal, Recovered
from txetcd.tree import EMPTY, SECOND, Dir, File, Node, Tree, bare, listing_json

# "\udcff" is a byte that is not UTF-8; the time is later than 2262, where 64 bits of nanoseconds end.
BINARY = "\udcff\udc80 < \u4f60\U0001f600\x7f"
LATE = 9_999_999_999 * SECOND + 1


def put(key: str, value: str = "", expiration: int | None = None) -> Set:
    """A plain write."""
    return Set(key, value, False, expiration, False, START)


def file(key: str, value: str, index: int, expiration: int | None = None) -> File:
    """A file written once."""
    return File(key, value, index, index, expiration)


def content(tree: Tree) -> tuple[dict[str, Node], int, int, Auth, str]:
    """All that a tree holds, hidden nodes too, and what is visible of it."""
    return rows(tree), tree.index, tree.raft_index, tree.auth, "".join(listing_json(tree.root, START, True))


class MiniStore:
    """As much of a store as a journal needs: evaluates what is delivered, and can make checkpoints."""

    def __init__(self, history_size: int = 30) -> None:
        self.tree = EMPTY
        self.history = History(history_size)
        self.changes = Changes()
        self.since = EMPTY.index
        self.written_auth = EMPTY.auth
        self.delivered: list[tuple[int, Batch]] = []

    def recover(self, recovered: Recovered) -> None:
        self.tree = recovered.tree
        self.since = recovered.tree.index
        self.written_auth = recovered.tree.auth
        for event in recovered.events:
            self.history.add(event)
        for _, batch in recovered.log:
            self.evaluate(batch.commands)

    def deliver(self, position: int, batch: Batch) -> None:
        self.delivered.append((position, batch))
        self.evaluate(batch.commands)

    def evaluate(self, commands: Sequence[AnyCommand]) -> None:
        for command in commands:
            try:
                self.tree, events = evaluate(self.tree, command)
            except RefusedError:
                self.tree, events = refused(self.tree), []
            for event in events:
                self.history.add(event)
                self.changes.add(event)

    def checkpoint(self, position: int) -> Checkpoint:
        dropped, removed, changed = self.changes.take(self.tree, self.since)
        oldest = self.history.oldest(self.tree.index)
        first = max(self.since + 1, oldest)
        events = list(self.history.since(first, self.tree.index))
        self.since = self.tree.index
        tree = self.tree
        auth = None if tree.auth is self.written_auth else tree.auth
        self.written_auth = tree.auth
        return Checkpoint(
            position, tree.index, tree.raft_index, dropped, removed, changed, events, oldest, auth
        )

    def events(self) -> list[Event]:
        return list(self.history.since(self.history.oldest(self.tree.index), self.tree.index))


def random_step(rng: random.Random) -> Step:
    """A step of a random history, with directories that come and go more often than in `properties`."""
    return Step(
        kind=rng.choice(KINDS),
        key=rng.choice([*KEYS, "/a-", "/a/x0", "/", "/a/x/y/z"]),
        value=rng.choice(VALUES),
        prev_value=rng.choice(["", "", "1"]),
        prev_index=rng.choice(["none", "right", "wrong"]),
        ttl=rng.choice([None, None, 0, 1, 60]),
        dir=rng.random() < 0.4,
        flag=rng.random() < 0.6,
        pause=rng.choice([0, 1, SECOND]),
    )


def random_change(rng: random.Random) -> AuthCommand:
    """A change of users or roles; it may be refused."""
    user, role = rng.choice(["root", "u", BINARY]), rng.choice(["guest", "r", BINARY])
    names, more = rng.choice([None, (), ("r",), ("r", BINARY)]), rng.choice([(), ("/a/*",), ("/a/*", BINARY)])
    return rng.choice(
        [
            CreateUser(user, "secret", names),
            UpdateUser(user, "", names or (), ()),
            UpdateUser(user, rng.choice(["", "another"]), (), names or ()),
            DeleteUser(user),
            CreateRole(role, names, more),
            UpdateRole(role, more, (), (), names or ()),
            DeleteRole(role),
            EnableAuth(),
            DisableAuth(),
        ]
    )


class JournalTests(TestCase):
    """The contract.  Subclasses say how a journal is made.

    @cvar long_value: as long as a value may be expected to be.
    """

    long_value = "\u20acx" * 500_000

    def make_journal(self, place: str = "one") -> Journal:
        """A journal that is not open; for the same place, one that opens what the one before it has kept."""
        raise NotImplementedError

    async def opened(self, store: MiniStore, place: str = "one") -> tuple[Journal, Recovered]:
        """An open journal that delivers to a store, and what was in it; it is closed after the test."""
        journal = self.make_journal(place)
        recovered = await journal.load(store.deliver)
        self.addCleanup(journal.close)
        store.recover(recovered)
        return journal, recovered

    async def reopened(self, journal: Journal, place: str = "one") -> tuple[Journal, MiniStore, Recovered]:
        """Close a journal and open it anew."""
        await journal.close()
        store = MiniStore()
        journal, recovered = await self.opened(store, place)
        return journal, store, recovered

    def assert_same(self, one: MiniStore, other: MiniStore) -> None:
        """Two stores are in the same state and remember the same events."""
        # Not assertEqual, which takes minutes to tell long values apart.
        self.assertTrue(content(one.tree) == content(other.tree), "the trees differ")
        self.assertTrue(one.events() == other.events(), "the histories differ")

    # Order

    async def test_new(self) -> None:
        _, recovered = await self.opened(MiniStore())
        self.assertEqual(recovered.tree, EMPTY)
        self.assertEqual((recovered.events, recovered.log), ([], []))

    async def test_order(self) -> None:
        """Batches are delivered as they were given, at positions that only grow."""
        store = MiniStore()
        journal, _ = await self.opened(store)
        batches = [
            Batch("me", number, (put("/a", str(number)), Delete("/b", False, True, 2))) for number in range(5)
        ]
        for batch in batches:
            await journal.append(batch)
        positions = [position for position, _ in store.delivered]
        self.assertEqual([batch for _, batch in store.delivered], batches)
        self.assertEqual(positions, sorted(set(positions)))

    async def test_delivered_before_answered(self) -> None:
        store = MiniStore()
        journal, _ = await self.opened(store)
        seen: list[int] = []
        appended = journal.append(Batch("me", 1, (put("/a"),)))
        appended.addCallback(lambda _: seen.append(len(store.delivered)))
        await appended
        self.assertEqual(seen, [1])

    async def test_nothing_delivered_when_opened(self) -> None:
        """What is there already is not delivered, but handed over."""
        journal, _ = await self.opened(MiniStore())
        await journal.append(Batch("me", 1, (put("/a"),)))
        journal, store, recovered = await self.reopened(journal)
        self.assertEqual((store.delivered, len(recovered.log)), ([], 1))

    async def test_barrier(self) -> None:
        store = MiniStore()
        journal, _ = await self.opened(store)
        await journal.barrier()
        await journal.append(Batch("me", 1, (put("/a"),)))
        await journal.barrier()
        self.assertEqual(len(store.delivered), 1)

    # Keeping

    async def test_load_gives_what_was_appended(self) -> None:
        store = MiniStore()
        journal, _ = await self.opened(store)
        expire = Expire(("/a", "/" + BINARY), START + 5)
        in_order = Create("/q", BINARY, False, LATE, True, START)
        for number, commands in enumerate([(put("/a", "1", LATE), in_order), (expire,), (put("/b"),)]):
            await journal.append(Batch("me", number, commands))
        _, again, recovered = await self.reopened(journal)
        self.assertEqual(
            [(position, batch.commands) for position, batch in recovered.log],
            [(position, batch.commands) for position, batch in store.delivered],
        )
        self.assert_same(again, store)

    async def test_positions_go_on(self) -> None:
        """Neither a restart nor a checkpoint makes a position come twice."""
        store = MiniStore()
        journal, _ = await self.opened(store)
        positions = []
        for number in range(6):
            await journal.append(Batch("me", number, (put("/a", str(number)),)))
            positions.append(store.delivered[-1][0])
            if number % 2:
                journal.checkpoint(store.checkpoint(positions[-1]))
            journal, store, _ = await self.reopened(journal)
        self.assertEqual(positions, sorted(set(positions)))

    async def test_any_text(self) -> None:
        """Bytes that are not UTF-8, late times and long values and paths survive, in the log and in rows."""
        store = MiniStore()
        journal, _ = await self.opened(store)
        commands = (
            put("/" + BINARY, BINARY, LATE),
            put("/a/\udcff", ""),
            put("/long", self.long_value),
            put("/d" * 1000, "deep"),
            Set("/dir", "", True, LATE, False, START),
            put("/a b/%?#\n'\"\\", "'; DROP TABLE node; --"),
        )
        await journal.append(Batch("me", 1, commands))
        checkpoint = store.checkpoint(store.delivered[0][0])
        journal, again, recovered = await self.reopened(journal)
        self.assertTrue(recovered.log[0][1].commands == commands)
        self.assert_same(again, store)
        recovered = await self.checkpointed(journal, checkpoint)
        self.assertEqual(recovered.tree.index, store.tree.index)
        self.assertTrue(rows(recovered.tree) == rows(store.tree))
        self.assertTrue(recovered.events == store.events())

    async def test_cluster_id(self) -> None:
        """It is drawn once, and fits into 64 bits."""
        journal, recovered = await self.opened(MiniStore())
        cluster_id = recovered.cluster_id
        await journal.append(Batch("me", 1, (put("/a"),)))
        _, recovered = await self.opened(MiniStore(), "two")
        self.assertNotEqual(recovered.cluster_id, cluster_id)
        journal, _, recovered = await self.reopened(journal)
        self.assertEqual(recovered.cluster_id, cluster_id)
        self.assertTrue(0 < cluster_id < 2**64)

    # Checkpoints

    async def checkpointed(self, journal: Journal, *checkpoints: Checkpoint) -> Recovered:
        """Open anew after checkpoints, each of which was followed by a batch that nothing comes of."""
        for checkpoint in checkpoints:
            done = journal.checkpoint(checkpoint)
            await journal.append(Batch("me", 99, (Expire((), 0),)))
            await done
        _, _, recovered = await self.reopened(journal)
        return recovered

    async def test_checkpoint(self) -> None:
        """Rows are put, replaced and removed; directories are dropped with all below them, no more."""
        store = MiniStore()
        journal, _ = await self.opened(store)
        await journal.append(Batch("me", 1, (put("/a"),)))
        (position, _) = store.delivered[0]
        names = ["/a/b", "/a/b/c", "/a/b/c/d", "/a/b-", "/a/b.", "/a/b0", "/a/bb", "/a/\udcff", "/z"]
        nodes: list[Node] = [
            bare(Dir(key, EMPTY.root.children, 2, 2))
            if key in ("/a", "/a/b", "/a/b/c")
            else file(key, "1", 2)
            for key in ["/a", *names]
        ]
        first = Checkpoint(position, 2, 1, [], [], nodes, [], 3)
        changed: list[Node] = [Dir("/a/b", EMPTY.root.children, 7, 7, LATE), file("/a/b/new", BINARY, 8)]
        second = Checkpoint(position + 1, 8, 9, ["/a/b"], ["/z", "/a/\udcff"], changed, [], 9)
        recovered = await self.checkpointed(journal, first, second)
        left = {node.key: node for node in nodes if node.key in ("/a", "/a/b-", "/a/b.", "/a/b0", "/a/bb")}
        self.assertEqual(rows(recovered.tree), left | {node.key: node for node in changed})
        self.assertEqual((recovered.tree.index, recovered.tree.raft_index), (8, 9))

    async def test_checkpoint_keeps_what_is_recent(self) -> None:
        """Events before the oldest go, those of earlier checkpoints too, and the log up to the position."""
        store = MiniStore(history_size=3)
        journal, _ = await self.opened(store)
        checkpoints = []
        for number in range(5):
            await journal.append(Batch("me", number, (put(f"/{number}"),)))
            if number in (1, 3):
                checkpoints.append(store.checkpoint(store.delivered[-1][0]))
        recovered = await self.checkpointed(journal, *checkpoints)
        first, second = checkpoints
        self.assertEqual([event.index for event in recovered.events], [3, 4, 5])
        self.assertEqual(recovered.events, [*first.events[1:], *second.events])
        places = [position for position, _ in recovered.log]
        self.assertEqual(places, [position for position, _ in store.delivered[4:]])

    async def test_users(self) -> None:
        """Users and roles are kept: in the log, in a checkpoint, and over another that does not name them."""
        store = MiniStore()
        journal, _ = await self.opened(store)
        changes: list[AnyCommand] = [
            CreateUser("root", "secret", None),
            CreateUser(BINARY, "secret", ("none", BINARY)),
            CreateRole(BINARY, ("/a/*", BINARY), None),
            CreateRole("empty", (), ()),
            EnableAuth(),
        ]
        await journal.append(Batch("me", 1, (*changes, put("/a"))))
        position, auth = store.delivered[0][0], store.tree.auth
        first, second = store.checkpoint(position), store.checkpoint(position + 1)
        self.assertTrue(auth.enabled)
        self.assertEqual((first.auth, second.auth), (auth, None))
        journal, again, recovered = await self.reopened(journal)
        self.assertEqual(list(recovered.log[0][1].commands[:-1]), changes)
        self.assertEqual(again.tree.auth, auth)
        recovered = await self.checkpointed(journal, first, second)
        self.assertEqual(recovered.tree.auth, auth)
        self.assertEqual(recovered.tree.auth.user(BINARY).roles, ("none", BINARY))
        self.assertEqual(recovered.tree.auth.role("empty").write, ())

    async def test_unfinished_checkpoint(self) -> None:
        """A journal that is closed before a checkpoint was written is whole without it."""
        store = MiniStore()
        journal, _ = await self.opened(store)
        await journal.append(Batch("me", 1, (put("/a"),)))
        journal.checkpoint(store.checkpoint(store.delivered[0][0]))
        _, again, _ = await self.reopened(journal)
        self.assert_same(again, store)

    async def test_same_as_replay(self) -> None:
        """Whatever happened and wherever checkpoints and restarts were, what is recovered is what was."""
        for seed in range(8):
            await self._random_history(random.Random(seed), str(seed))

    async def _random_history(self, rng: random.Random, place: str) -> None:
        whole, store = MiniStore(), MiniStore()
        journal, _ = await self.opened(store, place)
        done: Deferred[None] | None = None
        position, time, cut = 0, START, 0
        for number in range(60):
            commands: list[AnyCommand] = []
            for _ in range(rng.randint(1, 5)):
                step = random_step(rng)
                time += step.pause
                is_change = rng.random() < 0.2
                commands.append(random_change(rng) if is_change else step.command(whole.tree, time))
                whole.evaluate(commands[-1:])
            await journal.append(Batch("me", number, tuple(commands)))
            position = store.delivered[-1][0]
            if rng.random() < 0.3 and (done is None or done.called):
                cut = position
                done = journal.checkpoint(store.checkpoint(position))
            if rng.random() < 0.15 or number == 59:
                # What is not written down by now never will be; the log must then still be there.
                written = done is not None and done.called
                journal, store, recovered = await self.reopened(journal, place)
                self.assert_same(store, whole)
                if written:
                    self.assertTrue(all(entry[0] > cut for entry in recovered.log))
                done = None
        await journal.close()

    # Closing

    async def test_close_is_idempotent(self) -> None:
        await self.make_journal().close()
        journal, _ = await self.opened(MiniStore())
        await gatherResults([journal.close(), journal.close()])
        await journal.close()

    async def test_reopen(self) -> None:
        """A journal that was closed can be opened again, itself."""
        store = MiniStore()
        journal, _ = await self.opened(store)
        for number in range(3):
            await journal.append(Batch("me", number, (put("/a", str(number)),)))
            await journal.close()
            recovered = await journal.load(store.deliver)
            self.assertEqual(len(recovered.log), number + 1)
