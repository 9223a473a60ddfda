"""The SQLite journal when things go wrong: bits flip, the disk is full, the process is killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.journal_contract import BINARY, MiniStore, content, put
from tests.properties import rows
from tests.sqlite_harness import SQLiteTestCase, environment, ignore
from txetcd.commands import Set
from txetcd.journal import Batch, JournalError
from txetcd.journal.sqlite import SQLiteJournal


class DamageTests(SQLiteTestCase):
    """What is read back is what was written, or it is refused."""

    async def assert_noticed(self, statement: str, reason: str) -> None:
        """After an edit of a journal, it is not opened, for a reason."""
        await self.filled()
        self.edit(statement)
        message = self.refusal()
        self.assertTrue(message.startswith(f"{self.path} is damaged: {reason}"), message)
        self.path.unlink()

    async def test_node(self) -> None:
        await self.assert_noticed(
            "UPDATE node SET value = CAST('w' AS BLOB) WHERE key = CAST('/late' AS BLOB)",
            "a row of table node does not match its checksum",
        )

    async def test_node_key(self) -> None:
        await self.assert_noticed(
            "UPDATE node SET key = CAST('/lade' AS BLOB) WHERE key = CAST('/late' AS BLOB)",
            "a row of table node does not match its checksum",
        )

    async def test_node_of_another_type(self) -> None:
        """One bit of SQLite's makes text of bytes."""
        await self.assert_noticed(
            "UPDATE node SET key = CAST(key AS TEXT) WHERE key = CAST('/late' AS BLOB)",
            "a row of table node does not match its checksum",
        )

    async def test_node_expiration(self) -> None:
        await self.assert_noticed(
            "UPDATE node SET expiration = NULL WHERE expiration IS NOT NULL",
            "a row of table node does not match its checksum",
        )

    async def test_node_without_its_parent(self) -> None:
        await self.assert_noticed("DELETE FROM node WHERE key = CAST('/dir' AS BLOB)", "'/dir/")

    async def test_event(self) -> None:
        await self.assert_noticed(
            "UPDATE event SET event = replace(event, 'set', 'get') WHERE store_index = 2",
            "a row of table event does not match its checksum",
        )

    async def test_log(self) -> None:
        await self.assert_noticed(
            "UPDATE log SET commands = replace(commands, 'after', 'aftar') WHERE position = 3",
            "a row of table log does not match its checksum",
        )

    async def test_state(self) -> None:
        for column in ("cluster_id", "position", "store_index", "raft_index", "sum"):
            await self.assert_noticed(
                f"UPDATE state SET {column} = {column} + 1",
                "a row of table state does not match its checksum",
            )

    async def test_no_state(self) -> None:
        await self.assert_noticed("DELETE FROM state", "table state is empty")

    async def test_auth(self) -> None:
        """Whoever damages this table does not let everybody in."""
        await self.assert_noticed(
            "UPDATE auth SET auth = replace(auth, 'false', 'true')",
            "a row of table auth does not match its checksum",
        )
        await self.assert_noticed("DELETE FROM auth", "table auth is empty")

    async def test_missing_batch(self) -> None:
        """The first after the checkpoint, and one in the middle."""
        for position in (2, 3):
            await self.assert_noticed(
                f"DELETE FROM log WHERE position = {position}", f"batch {position} is missing"
            )

    async def test_missing_event(self) -> None:
        """The latest is always kept."""
        await self.assert_noticed(
            "DELETE FROM event WHERE store_index = (SELECT max(store_index) FROM event)",
            "an event is missing",
        )

    async def test_missing_table(self) -> None:
        await self.filled()
        self.edit("DROP TABLE event")
        self.assertIn(str(self.path), self.refusal())

    async def test_flipped_bits(self) -> None:
        """Wherever a bit of the file flips, the same is read as before or nothing: never something else."""
        store = await self.filled()
        whole = self.path.read_bytes()
        rng = random.Random(7)
        pages = [page for page in range(0, len(whole), 4096) if any(whole[page : page + 4096])]
        # Data are at the end of a page, what SQLite says about them at its beginning.
        places = [page + at for page in pages for at in (*range(0, 24), *range(3600, 4096, 9))]
        noticed = 0
        for place in rng.sample(places, 150):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << rng.randrange(8)
            self.path.write_bytes(damaged)
            journal = self.journal()
            try:
                recovered = await journal.load(ignore)
            except JournalError as error:
                self.assertIn(str(self.path), str(error))
                noticed += 1
                continue
            await journal.close()
            again = MiniStore()
            again.recover(recovered)
            self.assertEqual(content(again.tree), content(store.tree), place)
            self.assertEqual(again.events(), store.events(), place)
        self.assertGreater(noticed, 50)

    async def test_flipped_text(self) -> None:
        """A bit of the data themselves, in each table."""
        await self.filled()
        whole = self.path.read_bytes()
        for text in (b"v" * 100, b"/late", BINARY.encode("utf-8", "surrogateescape"), b'["set",2', b"after"):
            at = whole.rindex(text)
            self.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            self.assertIn("does not match its checksum", self.refusal())

    async def test_cut_off(self) -> None:
        await self.filled()
        whole = self.path.read_bytes()
        self.path.write_bytes(whole[:-4096])
        self.assertIn(str(self.path), self.refusal())


class FullDiskTests(SQLiteTestCase):
    """A commit that fails was nothing, and the next may succeed."""

    async def opened(self, store: MiniStore) -> tuple[SQLiteJournal, Callable[[int], None]]:
        """An open journal, and what says how many pages there is room for."""
        journal = self.journal()
        store.recover(await journal.load(store.deliver))
        connection = journal._connection
        assert connection is not None

        def limit(pages: int) -> None:
            connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

        return journal, limit

    async def test_full(self) -> None:
        store = MiniStore()
        journal, limit = await self.opened(store)
        await journal.append(Batch("me", 1, (put("/a", "1"),)))
        limit(1)
        for number in (2, 3):
            with self.assertRaises(JournalError) as raised:
                await journal.append(Batch("me", number, (put("/big", "x" * 100_000),)))
            self.assertEqual(str(raised.exception), f"{self.path}: database or disk is full")
        self.assertEqual(len(store.delivered), 1)
        limit(10_000)
        await journal.append(Batch("me", 4, (put("/b", "2"),)))
        await journal.close()
        again = MiniStore()
        again.recover(self.recovered())
        self.assertEqual(content(again.tree), content(store.tree))
        self.assertEqual([batch.number for _, batch in store.delivered], [1, 4])

    async def test_failure_within_a_transaction(self) -> None:
        """One that SQLite leaves open is rolled back."""
        store = MiniStore()
        journal, _ = await self.opened(store)
        await journal.append(Batch("me", 1, (put("/a", "1"),)))
        journal.checkpoint(store.checkpoint(1))
        connection = journal._connection
        assert connection is not None
        connection.execute(
            "CREATE TEMP TRIGGER fail AFTER INSERT ON main.log BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
        with self.assertRaises(JournalError):
            await journal.append(Batch("me", 2, (put("/a", "2"),)))
        self.assertFalse(connection.in_transaction)
        connection.execute("DROP TRIGGER fail")
        await journal.append(Batch("me", 3, (put("/b"),)))
        await journal.close()
        (entry,) = self.recovered().log
        self.assertEqual(entry[1].commands, (put("/b"),))

    async def test_full_with_a_checkpoint(self) -> None:
        """The checkpoint fails with the batch it rides along with, and comes with the next."""
        store = MiniStore()
        journal, limit = await self.opened(store)
        await journal.append(Batch("me", 1, tuple(put(f"/a/{n}", "x" * 1000) for n in range(50))))
        done = journal.checkpoint(store.checkpoint(1))
        limit(1)
        await self.assertFailure(journal.append(Batch("me", 2, (put("/b"),))), JournalError)
        self.assertNoResult(done)
        limit(10_000)
        await journal.append(Batch("me", 3, (put("/c"),)))
        self.successResultOf(done)
        await journal.close()
        recovered = self.recovered()
        again = MiniStore()
        again.recover(recovered)
        self.assertEqual([position for position, _ in recovered.log], [2])
        self.assertEqual(content(again.tree), content(store.tree))

    async def test_file_size_limit(self) -> None:
        """The same where the system itself refuses to write, in a process of its own."""
        script = Path(self.mktemp()).with_suffix(".py")
        script.write_text(LIMITED)
        command = [sys.executable, str(script), str(self.directory)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment())
        self.assertEqual((done.stderr, done.returncode), ("", 0))
        first, second, third = done.stdout.splitlines()
        self.assertEqual((first, third), ("kept", "kept"))
        self.assertTrue(second.startswith(f"{self.path}: "), second)
        recovered = self.recovered()
        commands = [command for _, batch in recovered.log for command in batch.commands]
        self.assertEqual([c.key for c in commands if isinstance(c, Set)], ["/a", "/c"])


class DurabilityTests(SQLiteTestCase):
    async def test_killed(self) -> None:
        """However a process ends, what it was told is durable is there."""
        rng = random.Random(20)
        script = Path(self.mktemp()).with_suffix(".py")
        script.write_text(WRITER)
        written = 0
        for _ in range(4):
            command = [sys.executable, str(script), str(self.directory), str(written)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as writer:
                assert writer.stdout is not None
                for _ in range(rng.randint(1, 120)):
                    written = int(writer.stdout.readline())
                writer.send_signal(signal.SIGKILL)
                # What it was told just before it died.
                for line in writer.stdout:
                    written = int(line)
            self.assertEqual(writer.returncode, -signal.SIGKILL)
            journal = self.journal()
            store = MiniStore()
            store.recover(await journal.load(ignore))
            await journal.close()
            found = set(rows(store.tree)) - {"/n"}
            self.assertLessEqual({f"/n/{number}" for number in range(1, written + 1)}, found)
            # One more may have become durable without anybody being told.
            self.assertIn(len(found), (written, written + 1))
            written = len(found)


LIMITED = """
import resource, signal, sys
from pathlib import Path
from twisted.internet import reactor, task
from tests.journal_contract import put
from txetcd.journal import Batch, JournalError
from txetcd.journal.sqlite import SQLiteJournal

async def main(reactor):
    journal = SQLiteJournal(reactor, Path(sys.argv[1]))
    await journal.load(lambda position, batch: print("kept"))
    await journal.append(Batch("me", 1, (put("/a", "1"),)))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        await journal.append(Batch("me", 2, (put("/b", "x" * 200_000),)))
    except JournalError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await journal.append(Batch("me", 3, (put("/c", "3"),)))
    await journal.close()

from twisted.internet.defer import Deferred
task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""

WRITER = """
import sys
from pathlib import Path
from twisted.internet import task
from twisted.internet.defer import Deferred
from tests.journal_contract import MiniStore, put
from txetcd.journal import Batch
from txetcd.journal.sqlite import SQLiteJournal

async def main(reactor):
    store = MiniStore()
    journal = SQLiteJournal(reactor, Path(sys.argv[1]))
    store.recover(await journal.load(store.deliver))
    number = int(sys.argv[2])
    while True:
        number += 1
        await journal.append(Batch("me", number, (put(f"/n/{number}"),)))
        print(number, flush=True)
        if number % 10 == 0:
            journal.checkpoint(store.checkpoint(store.delivered[-1][0]))

task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""
