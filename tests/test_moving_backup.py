"""Backups of a data directory while its server writes: whole, of the right moment, and good to start from."""

from __future__ import annotations

import shutil
import sqlite3
import threading

from tests.e2e import TIMEOUT
from tests.moving_harness import MovingCase
from txetcd.moving import MovingError
from txetcd.moving import backup as module
from txetcd.moving.backup import backup


class BackupTests(MovingCase):
    def backup(self) -> None:
        self.moved("backup", "--data-dir", "data", "copy.db")

    def test_while_it_writes(self) -> None:
        """What was answered before the backup began is in it, and a server starts from it."""
        url = self.txetcd()
        answered: list[int] = []
        stop = threading.Event()

        def write() -> None:
            client = self.servers[url].client()
            try:
                while not stop.is_set():
                    client.request("PUT", f"/v2/keys/{len(answered)}", value="x" * 1000)
                    answered.append(1)
            finally:
                client.close()

        self.put(url, "/_hidden/a", value="x", ttl=1000)
        thread = threading.Thread(target=write)
        thread.start()
        self.addCleanup(thread.join, TIMEOUT)
        self.addCleanup(stop.set)
        for number in range(3):
            before = len(answered)
            self.backup()
            after = len(answered)
            directory = self.directory / f"restored{number}"
            directory.mkdir()
            shutil.move(self.directory / "copy.db", directory / "txetcd.db")
            self.assertEqual((directory / "txetcd.db").stat().st_mode & 0o777, 0o600)
            restored = self.txetcd(directory.name)
            found = len([key for key in self.exported(restored) if key[1:].isdigit()])
            self.assertTrue(before <= found <= after + 1, (before, found, after))
            self.assertIn("ttl", self.get(restored, "/_hidden/a"))
        self.assertGreater(len(answered), 10)

    def test_stopped_server(self) -> None:
        url = self.txetcd()
        self.put(url, "/a", value="x")
        self.servers[url].stop()
        self.backup()
        (self.directory / "data" / "txetcd.db").write_bytes((self.directory / "copy.db").read_bytes())
        self.assertEqual(self.exported(self.txetcd()), {"/a": "x"})

    def test_one_moment(self) -> None:
        """Commits between two steps of the copy neither show in it nor have it begin anew."""
        url = self.txetcd()
        for number in range(20):
            self.put(url, f"/{number}", value="x" * 10_000)
        steps: list[int] = []

        def step(done: int, total: int) -> None:
            steps.append(done)
            self.put(url, "/meanwhile", value="y" * 10_000)

        self.patch(module, "_PAGES", 5)
        size = backup(self.data_dir, self.directory / "copy.db", step)
        self.assertEqual(steps, sorted(set(steps)))
        self.assertGreater(len(steps), 5)
        self.assertEqual(size, (self.directory / "copy.db").stat().st_size)
        self.assertEqual(steps[-1], size)
        (self.directory / "again").mkdir()
        shutil.move(self.directory / "copy.db", self.directory / "again" / "txetcd.db")
        self.assertEqual(len(self.exported(self.txetcd("again"))), 20)

    def test_replaces_when_it_is_whole(self) -> None:
        """What was there is replaced by a whole copy, and by nothing less."""
        url = self.txetcd()
        self.put(url, "/a", value="x")
        copy = self.directory / "copy.db"
        copy.write_text("before")

        def fail(done: int, total: int) -> None:
            raise OSError(28, "No space left on device")

        self.assertRaises(MovingError, backup, self.data_dir, copy, fail)
        self.assertEqual(copy.read_text(), "before")
        self.assertEqual([path.name for path in self.directory.iterdir() if "copy" in path.name], ["copy.db"])
        self.backup()
        self.assertNotEqual(copy.read_bytes(), b"before")

    def test_refused(self) -> None:
        def refused(pattern: str, *arguments: str) -> None:
            self.assert_fails(pattern, "backup", *arguments)
            self.assertFalse((self.directory / "copy.db").exists())

        refused("--data-dir none: there is no txetcd.db; give", "--data-dir", "none", "copy.db")
        (self.directory / "other").mkdir()
        with sqlite3.connect(self.directory / "other" / "txetcd.db") as connection:
            connection.execute("CREATE TABLE t (x)")
        refused("is not a file of txetcd's; give", "--data-dir", "other", "copy.db")
        (self.directory / "other" / "txetcd.db").write_text("no database at all" * 100)
        refused("not a database; the backup was not made", "--data-dir", "other", "copy.db")
        url = self.txetcd()
        refused("none/copy.db: cannot be written .*; name another", "--data-dir", "data", "none/copy.db")
        for number in range(50):
            self.put(url, f"/{number}", value="x" * 5000)
        self.servers[url].stop()
        database = self.data_dir / "txetcd.db"
        damaged = bytearray(database.read_bytes())
        damaged[4096 * 3 : 4096 * 5] = bytes(4096 * 2)
        database.write_bytes(damaged)
        refused("txetcd.db.* damaged|malformed.*; the backup was not made", "--data-dir", "data", "copy.db")
