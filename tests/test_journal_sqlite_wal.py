"""txetcd.journal.wal: SQLite's own log goes into the file beside the commits, and does not grow for ever."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.journal_contract import MiniStore, put
from tests.sqlite_harness import SQLiteTestCase
from txetcd.journal import Batch
from txetcd.journal.wal import EVERY, LONG, LogMover
from txetcd.journal.writer import Writer

Task = tuple[Callable[..., None], "Deferred[None]"]


class Thread:
    """A thread that does what it is asked for when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Task] = []
        self.stopped = False

    def do(self, function: Callable[..., None]) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.asked.append((function, done))
        return done

    def go_on(self) -> None:
        function, done = self.asked.pop(0)
        maybeDeferred(function).chainDeferred(done)

    def stop(self) -> None:
        self.stopped = True


def rows_in(path: Path, table: str = "row") -> int:
    """How many rows there are in the file itself, without the log."""
    alone = path.with_name("alone.db")
    shutil.copy(path, alone)
    connection = sqlite3.connect(alone)
    ((count,),) = connection.execute(f"SELECT count(*) FROM {table}")
    connection.close()
    return int(count)


class LogMoverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.connection: Any = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(self.connection.close)
        for statement in (
            "PRAGMA journal_mode = WAL",
            "CREATE TABLE row (text TEXT)",
            "PRAGMA wal_autocheckpoint = 0",
            "PRAGMA wal_checkpoint(TRUNCATE)",
        ):
            self.connection.execute(statement).close()
        self.beside, self.between = Thread(), Thread()
        self.mover = LogMover(self.path, cast(Writer, self.beside), cast(Writer, self.between))
        self.addCleanup(self.mover.stop)

    def commit(self, size: int = 1) -> None:
        self.connection.execute("INSERT INTO row VALUES (?)", ("x" * size,))

    def checkpointed(self, times: int = EVERY) -> None:
        for _ in range(times):
            self.mover.checkpointed()

    def log_size(self) -> int:
        return self.path.with_name(self.path.name + "-wal").stat().st_size

    def test_moved(self) -> None:
        """After some checkpoints, as often as that."""
        for count in range(1, 4):
            self.commit()
            self.checkpointed(EVERY - 1)
            self.assertEqual(self.beside.asked, [])
            self.checkpointed(1)
            self.beside.go_on()
            self.assertEqual(rows_in(self.path), count)
        self.assertEqual(self.between.asked, [])

    def test_one_at_a_time(self) -> None:
        self.commit()
        self.checkpointed(3 * EVERY)
        self.assertEqual(len(self.beside.asked), 1)
        self.beside.go_on()
        # What came meanwhile is not forgotten.
        self.checkpointed(1)
        self.assertEqual(len(self.beside.asked), 1)

    def test_long(self) -> None:
        """What came meanwhile is moved where no commit can come in between, and the log begins anew."""
        self.commit(4096 * LONG)
        self.checkpointed()
        self.beside.go_on()
        self.commit()
        self.assertEqual(rows_in(self.path), 1)
        self.checkpointed()
        self.assertEqual(self.beside.asked, [])
        self.between.go_on()
        self.assertEqual(rows_in(self.path), 2)
        size = self.log_size()
        self.commit(4096 * LONG // 2)
        self.assertEqual(self.log_size(), size)
        self.checkpointed()
        self.assertEqual(len(self.beside.asked), 1)

    def test_failure(self) -> None:
        """It is told of, and tried again."""
        # A file that cannot be used any more, as on a disk that fails.
        self.mover.stop()
        for _ in range(2):
            self.checkpointed()
            with capturedLogs() as logs:
                self.beside.go_on()
            (event,) = logs
            self.assertEqual(event["log_level"], LogLevel.warn)
            self.assertEqual(
                event["log_format"].format(**event),
                f"{self.path}: Cannot operate on a closed database.; what is written stays in the log beside"
                " it until that is mended",
            )

    def test_stopped(self) -> None:
        """A long log is left to the end of the connection then."""
        self.commit(4096 * LONG)
        self.checkpointed()
        function, done = self.beside.asked.pop()
        function()
        self.mover.stop()
        self.assertTrue(self.beside.stopped)
        done.callback(None)
        self.assertEqual(self.between.asked, [])


class JournalTests(SQLiteTestCase):
    async def test_beside_commits(self) -> None:
        """A journal has its checkpoints moved; no commit does it."""
        store, journal = MiniStore(), self.journal()
        store.recover(await journal.load(store.deliver))
        # As long as it is there, the end of the journal is not that of the log.
        other = sqlite3.connect(self.path)
        self.addCleanup(other.close)
        other.execute("SELECT * FROM node").close()
        for number in range(1, EVERY + 2):
            await journal.append(Batch("me", number, (put(f"/{number}"),)))
            journal.checkpoint(store.checkpoint(number))
        await journal.close()
        self.assertGreaterEqual(rows_in(self.path, "node"), EVERY - 1)
