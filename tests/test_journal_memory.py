"""The journal in memory keeps the contract."""

from __future__ import annotations

from tests import journal_contract
from txetcd.journal import Journal
from txetcd.journal.memory import MemoryJournal


class MemoryJournalTests(journal_contract.JournalTests):
    def setUp(self) -> None:
        self._journals: dict[str, MemoryJournal] = {}

    def make_journal(self, place: str = "one") -> Journal:
        return self._journals.setdefault(place, MemoryJournal())
