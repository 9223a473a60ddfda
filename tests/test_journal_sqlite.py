"""The SQLite journal: the contract, and what is in a data directory: modes, locks, foreign files."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads

from tests import journal_contract
from tests.journal_contract import put
from tests.sqlite_harness import SQLiteTestCase, ignore
from txetcd.journal import Batch, Journal, JournalError
from txetcd.journal.sqlite import APPLICATION_ID, FILE, LOCK, VERSION, SQLiteJournal
from txetcd.tree import EMPTY


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
