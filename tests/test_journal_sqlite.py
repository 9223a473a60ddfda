"""The SQLite journal: the contract, and what only a file can do: be locked, foreign, damaged or full."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from tests import journal_contract
from tests.journal_contract import BINARY, LATE, MiniStore, content, put
from txetcd.journal import Batch, Journal, JournalError, Recovered
from txetcd.journal.sqlite import APPLICATION_ID, FILE, LOCK, VERSION, SQLiteJournal
from txetcd.tree import EMPTY

THREAD = "txetcd journal"


def ignore(position: int, batch: Batch) -> None:
    """A store that does nothing."""


class SQLiteTestCase(TestCase):
    """A data directory, and journals in it that are closed after the test."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.path = self.directory / FILE
        self.addCleanup(self.assert_no_threads)

    def assert_no_threads(self) -> None:
        self.assertEqual([thread.name for thread in threading.enumerate() if THREAD in thread.name], [])

    def journal(self, directory: Path | None = None, *, fresh: bool = False) -> SQLiteJournal:
        journal = SQLiteJournal(IReactorFromThreads(reactor), directory or self.directory, fresh=fresh)
        self.addCleanup(journal.close)
        return journal

    def refusal(self, **how: Any) -> str:
        """Why the journal cannot be opened."""
        return self.failureResultOf(self.journal(**how).load(ignore), JournalError).getErrorMessage()

    def recovered(self) -> Recovered:
        """What is in the directory, of a journal that is closed at the end of the test."""
        return self.successResultOf(self.journal().load(ignore))

    async def filled(self, batches: int = 3) -> MiniStore:
        """Leave a journal with a row in every table: one checkpoint, and batches after it."""
        store = MiniStore()
        journal = self.journal()
        store.recover(await journal.load(store.deliver))
        await journal.append(Batch("me", 1, (put("/dir/" + BINARY, BINARY), put("/late", "v" * 100, LATE))))
        journal.checkpoint(store.checkpoint(1))
        for number in range(batches):
            await journal.append(Batch("me", 2 + number, (put(f"/dir/{number}", "after"),)))
        await journal.close()
        return store

    def edit(self, *statements: str) -> None:
        """Change the file behind the journal's back."""
        connection = sqlite3.connect(self.path)
        with connection:
            for statement in statements:
                self.assertNotEqual(connection.execute(statement).rowcount, 0, statement)
        connection.close()


class SQLiteJournalTests(journal_contract.JournalTests):
    """The contract."""

    def setUp(self) -> None:
        self._directory = Path(self.mktemp())

    def make_journal(self, place: str = "one") -> Journal:
        return SQLiteJournal(IReactorFromThreads(reactor), self._directory / place)


class DirectoryTests(SQLiteTestCase):
    """The data directory and what is in it."""

    async def test_modes(self) -> None:
        """Nobody but the owner can look inside, whatever the umask; at no time."""
        self.addCleanup(os.umask, os.umask(0))
        journal = self.journal()
        await journal.load(ignore)
        await journal.append(Batch("me", 1, (put("/a"),)))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.directory.iterdir()}
        self.assertEqual(modes, dict.fromkeys([FILE, FILE + "-wal", FILE + "-shm", LOCK], 0o600))
        self.assertEqual(stat.S_IMODE(self.directory.stat().st_mode), 0o700)

    async def test_closed(self) -> None:
        """What SQLite needs beside the file while it is open is gone when it is closed."""
        await self.filled()
        self.assertEqual({path.name for path in self.directory.iterdir()}, {FILE, LOCK})

    def test_parents_are_made(self) -> None:
        directory = self.directory / "deep" / "down"
        self.successResultOf(self.journal(directory).load(ignore))
        self.assertTrue((directory / FILE).is_file())

    async def test_locked(self) -> None:
        """The second on a directory is refused, fresh or not, and the first does not notice."""
        first = self.journal()
        await first.load(ignore)
        await first.append(Batch("me", 1, (put("/a", "1"),)))
        for fresh in (False, True):
            self.assertEqual(
                self.refusal(fresh=fresh), f"{self.directory} is in use by another running txetcd"
            )
        await first.append(Batch("me", 2, (put("/a", "2"),)))
        await first.close()
        self.assertEqual(len(self.recovered().log), 2)

    def test_locked_by_another_process(self) -> None:
        script = (
            "import fcntl, sys\n"
            "lock = open(sys.argv[1], 'a')\n"
            "fcntl.flock(lock, fcntl.LOCK_EX)\n"
            "print('locked', flush=True)\n"
            "sys.stdin.read()\n"
        )
        self.directory.mkdir()
        command = [sys.executable, "-c", script, str(self.directory / LOCK)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            self.assertEqual(other.stdout.readline(), b"locked\n")
            self.assertIn("in use", self.refusal())
            other.kill()
        self.assertEqual(self.recovered().tree, EMPTY)

    async def test_fresh(self) -> None:
        """It removes what is ours and nothing else, once."""
        await self.filled()
        (self.directory / (FILE + "-journal")).write_bytes(b"left by a crash")
        others = [self.directory / "notes.txt", self.directory / "txetcd.db.bak", self.directory / "sub"]
        for path in others[:2]:
            path.write_bytes(b"mine")
        others[2].mkdir()
        journal = self.journal(fresh=True)
        recovered = await journal.load(ignore)
        self.assertEqual((recovered.tree, recovered.log), (EMPTY, []))
        self.assertTrue(all(path.exists() for path in others))
        await journal.append(Batch("me", 1, (put("/a"),)))
        await journal.close()
        self.assertEqual(len((await journal.load(ignore)).log), 1)

    def test_file_in_the_way(self) -> None:
        """Of the directory, of its parent, of the lock and of the file."""
        taken = Path(self.mktemp())
        taken.write_bytes(b"")
        self.assertEqual(self.refusal(directory=taken), f"{taken}: File exists")
        self.assertEqual(self.refusal(directory=taken / "below"), f"{taken / 'below'}: Not a directory")
        self.path.mkdir(parents=True)
        self.assertEqual(self.refusal(), f"{self.directory}: Is a directory")

    def test_not_writable(self) -> None:
        if os.geteuid() == 0:
            self.skipTest("root may write everywhere")
        self.directory.mkdir(mode=0o500)
        self.assertEqual(self.refusal(), f"{self.directory}: Permission denied")

    async def test_failed_load_lets_go(self) -> None:
        """After a failure nothing is left open: the remedy works without a restart."""
        self.directory.mkdir()
        self.path.write_bytes(b"garbage" * 1000)
        journal = self.journal()
        self.failureResultOf(journal.load(ignore), JournalError)
        self.assert_no_threads()
        self.path.unlink()
        await journal.load(ignore)
        await journal.append(Batch("me", 1, (put("/a"),)))


class ForeignFileTests(SQLiteTestCase):
    """Files that are not this version's are refused and stay as they are."""

    def assert_refused(self, reason: str) -> None:
        before = self.path.read_bytes()
        self.assertEqual(self.refusal(), f"{self.path} {reason}")
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual({path.name for path in self.directory.iterdir()}, {FILE, LOCK})

    def foreign(self, *statements: str) -> None:
        self.directory.mkdir()
        connection = sqlite3.connect(self.path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    def test_foreign_database(self) -> None:
        self.foreign("CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
        self.assert_refused("is not a file of txetcd's")

    def test_foreign_application(self) -> None:
        self.foreign("PRAGMA application_id = 1", "PRAGMA user_version = 1")
        self.assert_refused("is not a file of txetcd's")

    def test_same_tables_but_no_application_id(self) -> None:
        self.foreign("CREATE TABLE node (key)", f"PRAGMA user_version = {VERSION}")
        self.assert_refused("is not a file of txetcd's")

    async def test_newer_version(self) -> None:
        await self.filled()
        self.edit(f"PRAGMA user_version = {VERSION + 1}")
        self.assert_refused(f"has format {VERSION + 1}, and this txetcd knows only {VERSION}")

    def test_newer_version_with_other_tables(self) -> None:
        self.foreign(
            "CREATE TABLE t (x)",
            f"PRAGMA application_id = {APPLICATION_ID}",
            f"PRAGMA user_version = {VERSION + 1}",
        )
        self.assert_refused(f"has format {VERSION + 1}, and this txetcd knows only {VERSION}")

    def test_garbage(self) -> None:
        self.directory.mkdir()
        for garbage in (b"garbage", random.Random(1).randbytes(8192), b"SQLite format 3\0" + b"\1" * 8192):
            self.path.write_bytes(garbage)
            message = self.refusal()
            self.assertTrue(message.startswith(f"{self.path} is damaged: "), message)
            self.assertTrue(message.endswith("; restore a backup of it, or start anew with --force"), message)
            self.assertEqual(self.path.read_bytes(), garbage)


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

    async def test_missing_batch(self) -> None:
        """The first after the checkpoint, and one in the middle."""
        for position in (2, 3):
            await self.assert_noticed(
                f"DELETE FROM log WHERE position = {position}", f"batch {position} is missing"
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
            failing = journal.append(Batch("me", number, (put("/big", "x" * 100_000),)))
            error = await self.assertFailure(failing, JournalError)
            self.assertEqual(str(error), f"{self.path}: database or disk is full")
        self.assertEqual(len(store.delivered), 1)
        limit(10_000)
        await journal.append(Batch("me", 4, (put("/b", "2"),)))
        await journal.close()
        again = MiniStore()
        again.recover(self.recovered())
        self.assertEqual(content(again.tree), content(store.tree))
        self.assertEqual([batch.number for _, batch in store.delivered], [1, 4])

    async def test_full_with_a_checkpoint(self) -> None:
        """The checkpoint fails with the batch it rides along with, and comes with the next."""
        store = MiniStore()
        journal, limit = await self.opened(store)
        await journal.append(Batch("me", 1, (put("/a", "x" * 50_000),)))
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
        values = [command.key for _, batch in recovered.log for command in batch.commands]  # type: ignore[union-attr]
        self.assertEqual(values, ["/a", "/c"])


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
            found = set(journal_contract.rows(store.tree)) - {"/n"}
            self.assertLessEqual({f"/n/{number}" for number in range(1, written + 1)}, found)
            # One more may have become durable without anybody being told.
            self.assertIn(len(found), (written, written + 1))
            written = len(found)


def environment() -> dict[str, str]:
    """For a process that can import what this one can."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


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
