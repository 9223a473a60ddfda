"""txetcd.changes: what a checkpoint has to write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import Step, histories, play, properties, rows
from txetcd.changes import Changes
from txetcd.commands import Command, CompareAndDelete, Create, Delete, Expire, Set, Update, evaluate
from txetcd.events import is_below
from txetcd.tree import EMPTY, Node, build, to_entry

Taken = tuple[list[str], list[str], list[Node]]


def write(table: dict[str, Node], taken: Taken) -> None:
    """Do with a table of rows by key what a journal does."""
    dropped, removed, nodes = taken
    for key in [
        key for key in table for directory in dropped if key == directory or is_below(key, directory)
    ]:
        table.pop(key, None)
    for key in removed:
        table.pop(key, None)
    table.update((node.key, node) for node in nodes)


class ChangesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tree = EMPTY
        self.changes = Changes()
        self.checkpoint = EMPTY.index

    def do(self, command: Command) -> None:
        self.tree, events = evaluate(self.tree, command)
        self.changes.count(command)
        for event in events:
            self.changes.add(event)

    def put(self, key: str, value: str = "v") -> None:
        self.do(Set(key, value, False, None, False, 0))

    def take(self) -> tuple[list[str], list[str], list[str]]:
        """A checkpoint: keys only."""
        dropped, removed, nodes = self.changes.take(self.tree, self.checkpoint)
        self.checkpoint = self.tree.index
        return dropped, removed, [node.key for node in nodes]

    def test_nothing(self) -> None:
        self.assertEqual(self.take(), ([], [], []))

    def test_once_each(self) -> None:
        for value in "1", "2", "3":
            self.put("/a", value)
        self.assertEqual(self.take(), ([], [], ["/a"]))
        self.assertEqual(self.take(), ([], [], []))

    def test_parents(self) -> None:
        """New ones are written, before what is in them; old ones are not."""
        self.put("/d/e/k")
        self.assertEqual(self.take(), ([], [], ["/d", "/d/e", "/d/e/k"]))
        self.put("/d/f/k")
        self.assertEqual(self.take(), ([], [], ["/d/f", "/d/f/k"]))

    def test_directories_without_children(self) -> None:
        """Rows hold one node each."""
        self.put("/d/k")
        self.do(Update("/d", "", 9, False, 0))
        _, _, nodes = self.changes.take(self.tree, self.checkpoint)
        self.assertEqual(nodes, list(rows(self.tree).values()))

    def test_removed(self) -> None:
        self.put("/a")
        self.put("/b")
        self.take()
        self.do(Delete("/a", False, False, 0))
        self.do(CompareAndDelete("/b", "v", 0, 0))
        self.assertEqual(self.take(), ([], ["/a", "/b"], []))

    def test_directory_dropped(self) -> None:
        self.put("/d/e/k")
        self.take()
        self.do(Delete("/d", True, True, 0))
        self.assertEqual(self.take(), (["/d"], ["/d"], []))

    def test_directory_made_again(self) -> None:
        """The old content goes, the new one is written."""
        self.put("/d/old")
        self.take()
        self.do(Delete("/d", True, True, 0))
        self.put("/d/new")
        self.assertEqual(self.take(), (["/d"], [], ["/d", "/d/new"]))

    def test_file_becomes_directory_and_back(self) -> None:
        self.put("/a")
        self.take()
        self.do(Set("/a", "", True, None, False, 0))
        self.put("/a/k")
        self.assertEqual(self.take(), ([], [], ["/a", "/a/k"]))
        self.do(Delete("/a", True, True, 0))
        self.put("/a")
        self.assertEqual(self.take(), (["/a"], [], ["/a"]))

    def test_expired(self) -> None:
        self.do(Create("/d", "", True, 5, False, 0))
        self.put("/d/k")
        self.take()
        self.do(Expire(("/d",), 5))
        self.assertEqual(self.take(), (["/d"], ["/d"], []))

    def test_counts(self) -> None:
        """Commands count, refused or not, and the characters of values."""
        self.put("/a", "1234")
        self.changes.count(Set("/", "56", False, None, False, 0))
        self.changes.count(Delete("/x", False, False, 0))
        self.changes.count(Expire((), 0))
        self.assertEqual((self.changes.commands, self.changes.characters), (4, 6))
        self.take()
        self.assertEqual((self.changes.commands, self.changes.characters), (0, 0))

    @properties
    @given(histories, st.lists(st.booleans(), min_size=50, max_size=50))
    def test_rows_make_the_tree(self, steps: list[Step], checkpoints: list[bool]) -> None:
        """However a history is cut, the rows that were written are those of the tree."""
        changes, checkpoint = Changes(), EMPTY.index
        table: dict[str, Node] = {}
        moments = play(steps)
        tree = moments[-1].after
        for moment, due in zip(moments, checkpoints, strict=False):
            for event in moment.events:
                changes.add(event)
            if due or moment is moments[-1]:
                write(table, changes.take(moment.after, checkpoint))
                checkpoint = moment.after.index
                self.assertEqual(table, rows(moment.after))
        # Journals read their rows by key.
        self.assertEqual(
            build((to_entry(table[key]) for key in sorted(table)), tree.index, tree.raft_index), tree
        )

    @properties
    @given(histories)
    def test_parents_first(self, steps: list[Step]) -> None:
        """The rows of a first checkpoint can be read back in the order in which they were written."""
        changes = Changes()
        moments = play(steps)
        for moment in moments:
            for event in moment.events:
                changes.add(event)
        tree = moments[-1].after
        _, _, nodes = changes.take(tree, EMPTY.index)
        self.assertEqual(build(map(to_entry, nodes), tree.index, tree.raft_index), tree)
