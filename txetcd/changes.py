"""What has changed since the last checkpoint.

Looking for differences between two trees would walk every child of every directory on the way to a change, so
a directory of a million keys would cost a million steps each time.  The keys that events name are enough.
"""

from __future__ import annotations

from txetcd.commands import AnyCommand, Expire, characters
from txetcd.events import Event
from txetcd.tree import Dir, Entry, Node, Tree, bare, to_node


class Changes:
    """The keys that changed, each once however often it did.

    @ivar commands: how many commands there were; one that lets keys expire counts as many as it names.
    @ivar characters: how many characters were in their values.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.commands = 0
        self.characters = 0
        self._touched: dict[str, None] = {}
        self._dropped: dict[str, None] = {}

    def count(self, command: AnyCommand) -> None:
        """Note that there was another command, refused or not."""
        self.commands += max(1, len(command.keys)) if isinstance(command, Expire) else 1
        self.characters += characters(command)

    def add(self, event: Event) -> None:
        """Note what an event changed."""
        key = event.key
        self._touched[key] = None
        if event.removes_dir:
            self._dropped[key] = None

    def take(self, tree: Tree, since: int) -> tuple[list[str], list[str], list[Node]]:
        """What to write, and start anew.

        @param tree: the store now.
        @param since: the index of the last checkpoint; directories newer than that are written with the keys
            that they were made for.
        @return: directories to drop with all below them, then keys to remove, then nodes to put.
        """
        dropped, removed, rows = list(self._dropped), [], dict[str, Node]()
        for key in self._touched:
            # Parents come first, so that rows can be read back in that order too.
            entry: Entry = tree.root
            for name in key[1:].split("/"):
                child = entry.children.get(name) if isinstance(entry, Dir) else None
                if child is None:
                    removed.append(key)
                    break
                entry = child
                if isinstance(entry, Dir) and entry.created > since:
                    rows[entry.key] = entry.bare()
            else:
                rows[key] = bare(to_node(entry))
        self._reset()
        return dropped, removed, list(rows.values())
