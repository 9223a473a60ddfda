"""Long values in the SQLite journal: each is there once, as long as anything refers to it."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import SynchronousTestCase

from tests import journal_contract
from tests.journal_contract import BINARY, MiniStore, content, put
from tests.properties import START
from tests.sqlite_harness import SQLiteTestCase
from txetcd.commands import CompareAndSwap, Delete
from txetcd.journal import Batch, Journal, JournalError, Recovered, sqlite, tables, values
from txetcd.journal.sqlite import FILE, VERSION, SQLiteJournal
from txetcd.journal.values import LONG, LongValues
from txetcd.tree import File


def referred(path: Path) -> tuple[set[int], list[int]]:
    """The numbers of values that rows of a closed journal refer to, and those that are there."""
    connection = sqlite3.connect(path)
    numbers = {row for (row,) in connection.execute("SELECT value FROM node WHERE typeof(value) = 'integer'")}
    for query in ("SELECT event FROM event", "SELECT commands FROM log"):
        for (text,) in connection.execute(query):
            numbers |= {int(number) for number in re.findall(r'\{"value":(\d+)\}', text)}
    there = [row for (row,) in connection.execute("SELECT id FROM value ORDER BY id")]
    connection.close()
    return numbers, there


def long(char: str) -> str:
    """A value that is just long enough; another one each time."""
    return char * (LONG + 1)


class EveryValueTests(journal_contract.JournalTests):
    """The contract, where every value is long; no value is left behind, and none is missing."""

    long_value = "\u20acx" * 1000

    def setUp(self) -> None:
        self._directory = Path(self.mktemp())
        for module in (values, tables, sqlite):
            self.patch(module, "LONG", 0)

    def make_journal(self, place: str = "one") -> Journal:
        return SQLiteJournal(IReactorFromThreads(reactor), self._directory / place)

    async def reopened(self, journal: Journal, place: str = "one") -> tuple[Journal, MiniStore, Recovered]:
        await journal.close()
        numbers, there = referred(self._directory / place / FILE)
        self.assertEqual(sorted(numbers), there)
        return await super().reopened(journal, place)


class LongValueTests(SQLiteTestCase):
    """What is written of a long value, and when it goes."""

    async def opened(self, store: MiniStore) -> SQLiteJournal:
        journal = self.journal()
        store.recover(await journal.load(store.deliver))
        return journal

    async def checkpointed(self, journal: SQLiteJournal, store: MiniStore) -> None:
        done = journal.checkpoint(store.checkpoint(store.delivered[-1][0]))
        await journal.append(Batch("me", 0, (put("/other"),)))
        self.successResultOf(done)

    async def assert_kept(self, journal: SQLiteJournal, store: MiniStore, count: int) -> Recovered:
        """After a restart all is as it was, with so many values in the file."""
        await journal.close()
        numbers, there = referred(self.path)
        self.assertEqual((sorted(numbers), len(there)), (there, count))
        recovered = self.recovered()
        again = MiniStore(store.history.size)
        again.recover(recovered)
        self.assertTrue(content(again.tree) == content(store.tree))
        self.assertTrue(again.events() == store.events())
        return recovered

    async def test_once(self) -> None:
        """In the log, in a node and in two events it is one; those that are read back are one text, too."""
        store = MiniStore()
        journal = await self.opened(store)
        commands = (put("/a", long("1")), put("/a", long(BINARY)), put("/b", "x" * LONG))
        await journal.append(Batch("me", 1, commands))
        await self.checkpointed(journal, store)
        recovered = await self.assert_kept(journal, store, 2)
        first, second, *_ = recovered.events
        assert isinstance(first.node, File) and isinstance(second.prev, File)
        self.assertIs(first.node.value, second.prev.value)

    async def test_compared(self) -> None:
        """Nor is what a value is compared with in the log twice."""
        store = MiniStore()
        journal = await self.opened(store)
        before = long("1")
        swap = CompareAndSwap("/a", long("2"), before, 0, None, False, START)
        await journal.append(Batch("me", 1, (put("/a", before), swap)))
        await self.assert_kept(journal, store, 2)

    async def test_goes_with_the_history(self) -> None:
        """What was overwritten or deleted stays for as long as an event tells of it."""
        store = MiniStore(history_size=2)
        journal = await self.opened(store)
        for number in range(3):
            await journal.append(Batch("me", number, (put("/d/a", long(str(number))),)))
        await journal.append(Batch("me", 4, (put("/d/b", long("b")), Delete("/d", False, True, START))))
        await self.checkpointed(journal, store)
        # Of the last two events one tells of a value.
        await self.assert_kept(journal, store, 1)

    async def test_goes_with_a_directory(self) -> None:
        """A directory that goes takes the values below it along, and those that were refused go, too."""
        store = MiniStore(history_size=1)
        journal = await self.opened(store)
        refused = CompareAndSwap("/e", long("3"), "", 9, None, False, START)
        await journal.append(Batch("me", 1, (put("/d/a", long("1")), put("/e", long("2")), refused)))
        await self.checkpointed(journal, store)
        await journal.append(Batch("me", 2, (Delete("/d", False, True, START),)))
        await self.checkpointed(journal, store)
        await self.assert_kept(journal, store, 1)

    async def test_full(self) -> None:
        """A commit that failed leaves nothing behind, whether a checkpoint came with it or not."""
        store = MiniStore(history_size=1)
        journal = await self.opened(store)
        connection = journal._connection
        assert connection is not None
        await journal.append(Batch("me", 1, (put("/a", long("1")), put("/a", long("2")))))
        for attempt in range(2):
            if attempt:
                done = journal.checkpoint(store.checkpoint(1))
            connection.execute("PRAGMA max_page_count = 1").fetchone()
            for number in (2, 3):
                commands = tuple(put("/big", long(str(n))) for n in range(50))
                await self.assertFailure(journal.append(Batch("me", number, commands)), JournalError)
            connection.execute("PRAGMA max_page_count = 10000").fetchone()
        await journal.append(Batch("me", 4, (put("/b", long("4")),)))
        self.successResultOf(done)
        await self.assert_kept(journal, store, 3)

    async def test_damage(self) -> None:
        """A value that says something else, or is not there, is noticed."""
        for statement, reason in (
            (
                "UPDATE value SET value = CAST('y' AS BLOB)",
                "a row of table value does not match its checksum",
            ),
            ("DELETE FROM value", "value 1 is missing"),
        ):
            journal = await self.opened(MiniStore())
            await journal.append(Batch("me", 1, (put("/a", long("1")),)))
            await journal.close()
            self.edit(statement)
            self.assertTrue(self.refusal().startswith(f"{self.path} is damaged: {reason}"))
            self.path.unlink()

    async def test_first_version(self) -> None:
        """A file of the first version has the values in its rows; it is read, and goes on in the new one."""
        for module in (values, tables, sqlite):
            self.patch(module, "LONG", 1_000_000)
        store = MiniStore()
        journal = await self.opened(store)
        kept = put("/kept", long("k"))
        await journal.append(Batch("me", 1, (put("/a", long("1")), put("/a", long(BINARY)), kept)))
        await self.checkpointed(journal, store)
        await journal.append(Batch("me", 2, (put("/a", long("3")),)))
        await journal.close()
        self.edit("DROP TABLE value", "PRAGMA user_version = 1")
        for module in (values, tables, sqlite):
            self.patch(module, "LONG", LONG)
        again = MiniStore()
        journal = await self.opened(again)
        self.assertTrue(content(again.tree) == content(store.tree))
        self.assertTrue(again.events() == store.events())
        await journal.append(Batch("me", 3, (put("/a", long("4")),)))
        await self.checkpointed(journal, again)
        # That, and what the event of the write in the old log tells of.
        await self.assert_kept(journal, again, 3)
        connection = sqlite3.connect(self.path)
        self.assertEqual(connection.execute("PRAGMA user_version").fetchone(), (VERSION,))
        connection.close()


class CountingTests(SynchronousTestCase):
    """`LongValues`"""

    def test_roll_back(self) -> None:
        """Holders, numbers and what is unused are as before, however often a row was changed."""
        old, new = long("o"), long("n")
        long_values = LongValues({3: old})
        self.assertEqual(long_values.text(3, ("node", "/a")), old)
        long_values.commit([])
        for _ in range(2):
            long_values.release(("node", "/a"))
            self.assertEqual(long_values.unused(), [3])
            number = long_values.number(new, ("node", "/a"))
            long_values.release(("node", "/a"))
            self.assertEqual(long_values.number(old, ("event", 1)), 3)
            self.assertEqual(long_values.unused(), [number])
            self.assertEqual(long_values.added(), [(number, new)])
            long_values.roll_back()
            self.assertEqual((long_values.added(), long_values.unused()), ([], []))
        long_values.release(("node", "/a"))
        long_values.commit(long_values.unused())
        self.assertFalse(long_values)
        # The same text is a new value then.
        self.assertGreater(long_values.number(old, ("log", 1)), 3)

    def test_stand_in(self) -> None:
        long_values = LongValues({})
        replace = long_values.replacing(("log", 1))
        self.assertEqual(replace("x" * LONG), "x" * LONG)
        text = long("x")
        stand_in = replace(text)
        self.assertIs(long_values.restoring(("log", 1))(stand_in), text)
        self.assertRaises(ValueError, long_values.text, 7, ("node", "/a"))
