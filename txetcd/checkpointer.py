"""When a checkpoint is due, and what is in it.

A journal's log grows with every command, so now and then the journal is handed the nodes that changed, the
recent events and, if they did, the users and roles: what came before is then no longer needed to start from.
"""

from __future__ import annotations

from txetcd.auth import Auth
from txetcd.changes import Changes
from txetcd.events import History
from txetcd.journal import Checkpoint, Journal
from txetcd.tree import EMPTY, Tree

# After so many characters in values a checkpoint is due, however few the commands: it bounds the log.
CHECKPOINT_CHARACTERS = 4 * 1024 * 1024


class Checkpointer:
    """Takes a store's checkpoints, one at a time.

    @param journal: where they go, and who says after how many commands one is due.
    @ivar changes: is told of each command and each event.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.load(EMPTY)

    def load(self, tree: Tree) -> None:
        """Start from what the journal has rows of; a checkpoint that is being made is not waited for."""
        self.changes = Changes()
        self._index = tree.index
        self._auth: Auth = tree.auth
        self._making: object = None

    def take_if_due(self, position: int, tree: Tree, history: History) -> None:
        """Hand the journal a checkpoint, if it is time for one and the last is done.

        @param position: the batch after which
        @param tree: is the store, and
        @param history: what can be asked for after the fact.
        """
        changes = self.changes
        due = (
            changes.commands >= self._journal.checkpoint_commands
            or changes.characters >= CHECKPOINT_CHARACTERS
        )
        if due and self._making is None:
            self._take(position, tree, history)

    def _take(self, position: int, tree: Tree, history: History) -> None:
        dropped, removed, rows = self.changes.take(tree, self._index)
        oldest = history.oldest(tree.index)
        events = list(history.since(max(self._index + 1, oldest), tree.index))
        auth = None if tree.auth is self._auth else tree.auth
        self._index, self._auth = tree.index, tree.auth
        checkpoint = Checkpoint(
            position, tree.index, tree.raft_index, dropped, removed, rows, events, oldest, auth
        )
        self._making = checkpoint

        def made(_: object) -> None:
            if self._making is checkpoint:
                self._making = None

        self._journal.checkpoint(checkpoint).addCallback(made)
