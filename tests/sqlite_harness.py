"""Data directories for tests of the SQLite journal, and processes that write to them."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from tests.journal_contract import BINARY, LATE, MiniStore, put
from txetcd.journal import Batch, JournalError, Recovered
from txetcd.journal.sqlite import FILE, SQLiteJournal

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

    def refusal(self, directory: Path | None = None, *, fresh: bool = False) -> str:
        """Why the journal cannot be opened."""
        opening = self.journal(directory, fresh=fresh).load(ignore)
        return str(self.failureResultOf(opening, JournalError).value)

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


def environment() -> dict[str, str]:
    """For a process that can import what this one can."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
