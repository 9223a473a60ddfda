"""Every write as data, and what it does to a tree.

A command holds all that decides its outcome, time included: the same commands in the same order give the same
trees, indices and events, always and everywhere.  That is what lets a journal store commands and replay them.

The semantics are those of etcd 3.4's v2 store; `prev_value` "" and `prev_index` 0 mean "not compared", as
they do there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar

from rpds import HashTrieMap

from txetcd import errors
from txetcd.auth_commands import (
    AuthCommand,
    CreateRole,
    CreateUser,
    DeleteRole,
    DeleteUser,
    DisableAuth,
    EnableAuth,
    UpdateRole,
    UpdateUser,
)
from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.tree import Dir, File, Node, Place, Tree, bare


@dataclass(slots=True)
class Set:
    """Put a file or an empty directory at a key, whatever file was there.

    @ivar refresh: keep the value that is there; only the expiration is new.
    @ivar expiration: when it is to run out, or None; like `time` in nanoseconds since the epoch.
    @ivar time: when this was asked for.
    """

    name: ClassVar[str] = "set"
    key: str
    value: str
    dir: bool
    expiration: int | None
    refresh: bool
    time: int

    def apply(self, tree: Tree, index: int) -> tuple[Dir, Event]:
        """@raise EtcdError: 102, 104 or 107; 100 when there is nothing to refresh."""
        place = _open(tree, self.key)
        value = self.value
        if self.refresh:
            existing = place.existing()
            value = existing.value if isinstance(existing, File) else value
        if isinstance(place.node, Dir):
            raise EtcdError(errors.NOT_A_FILE, self.key, tree.index)
        node = _new_node(self.key, value, self.dir, index, self.expiration)
        return place.put(node, index), Event("set", index, self.time, node, place.node, self.refresh)


@dataclass(slots=True)
class Create:
    """Put a file or an empty directory where nothing is.

    @ivar in_order: the key is a directory, and the new node's name the next index, so that names sort as they
        were made.
    """

    name: ClassVar[str] = "create"
    key: str
    value: str
    dir: bool
    expiration: int | None
    in_order: bool
    time: int

    def apply(self, tree: Tree, index: int) -> tuple[Dir, Event]:
        """@raise EtcdError: 104, 105 or 107."""
        key = self.key
        if self.in_order:
            key = f"{key.rstrip('/')}/{index:020d}"
        place = _open(tree, key)
        if place.node is not None:
            raise EtcdError(errors.KEY_EXISTS, key, tree.index)
        node = _new_node(key, self.value, self.dir, index, self.expiration)
        return place.put(node, index), Event("create", index, self.time, node, None)


@dataclass(slots=True)
class Update:
    """Give a file a new value and expiration, or a directory a new expiration."""

    name: ClassVar[str] = "update"
    key: str
    value: str
    expiration: int | None
    refresh: bool
    time: int

    def apply(self, tree: Tree, index: int) -> tuple[Dir, Event]:
        """@raise EtcdError: 100, 102, 104 or 107."""
        place = _open(tree, self.key)
        prev = place.existing()
        node: Node
        if isinstance(prev, Dir):
            if self.value:
                raise EtcdError(errors.NOT_A_FILE, self.key, tree.index)
            # etcd shows the new modifiedIndex in the event, but the directory keeps its own.
            node = Dir(prev.key, prev.children, prev.created, prev.modified, self.expiration)
        else:
            value = prev.value if self.refresh else self.value
            node = File(prev.key, value, prev.created, index, self.expiration)
        event = Event("update", index, self.time, bare(node), bare(prev), self.refresh)
        return place.put(node, index), event


@dataclass(slots=True)
class CompareAndSwap:
    """Give a file a new value and expiration, if its value or index is the expected one."""

    name: ClassVar[str] = "compareAndSwap"
    key: str
    value: str
    prev_value: str
    prev_index: int
    expiration: int | None
    refresh: bool
    time: int

    def apply(self, tree: Tree, index: int) -> tuple[Dir, Event]:
        """@raise EtcdError: 100, 101, 102, 104 or 107."""
        place = _open(tree, self.key)
        prev = _compare(place.existing(), self.prev_value, self.prev_index, tree)
        value = prev.value if self.refresh else self.value
        node = File(prev.key, value, prev.created, index, self.expiration)
        event = Event("compareAndSwap", index, self.time, node, prev, self.refresh)
        return place.put(node, index), event


@dataclass(slots=True)
class Delete:
    """Take away a file; an empty directory if `dir`; a directory with all below it if `recursive`."""

    name: ClassVar[str] = "delete"
    key: str
    dir: bool
    recursive: bool
    time: int

    def apply(self, tree: Tree, index: int) -> tuple[Dir, Event]:
        """@raise EtcdError: 100, 102, 104, 107 or 108."""
        place = _open(tree, self.key)
        prev = place.existing()
        if isinstance(prev, Dir):
            if not (self.dir or self.recursive):
                raise EtcdError(errors.NOT_A_FILE, self.key, tree.index)
            if len(prev.children) and not self.recursive:
                raise EtcdError(errors.DIRECTORY_NOT_EMPTY, self.key, tree.index)
        return place.remove(), Event("delete", index, self.time, None, bare(prev))


@dataclass(slots=True)
class CompareAndDelete:
    """Take away a file, if its value or index is the expected one."""

    name: ClassVar[str] = "compareAndDelete"
    key: str
    prev_value: str
    prev_index: int
    time: int

    def apply(self, tree: Tree, index: int) -> tuple[Dir, Event]:
        """@raise EtcdError: 100, 101, 102 or 104."""
        if self.key == "/":
            raise EtcdError(errors.NOT_A_FILE, "", tree.index)
        place = tree.open(self.key)
        prev = _compare(place.existing(), self.prev_value, self.prev_index, tree)
        return place.remove(), Event("compareAndDelete", index, self.time, None, prev)


@dataclass(slots=True)
class Expire:
    """Take away those of the given keys that have run out by `time`.

    A key that is gone by then, or has been given more time, is passed over and takes no index.
    """

    name: ClassVar[str] = "expire"
    keys: tuple[str, ...]
    time: int


Command = Set | Create | Update | CompareAndSwap | Delete | CompareAndDelete | Expire
"""A write to keys."""

AnyCommand = Command | AuthCommand
"""Whatever a journal puts in order."""


def characters(command: AnyCommand) -> int:
    """How many characters the command's value has: what makes it long in a journal, if anything does."""
    return len(getattr(command, "value", ""))


def evaluate(tree: Tree, command: AnyCommand) -> tuple[Tree, list[Event]]:
    """Do what a command says.

    @return: the tree after it and the events it made: one, but for `Expire` one for each key that went, and
        for an `AuthCommand` none.
    @raise RefusedError: when it is refused.  The tree is as it was, but the command counts: see `refused`.
    """
    if isinstance(command, Expire):
        return _expire(tree, command)
    if isinstance(command, AuthCommand):
        return Tree(tree.root, tree.index, tree.raft_index + 1, command.apply(tree.auth)), []
    index = tree.index + 1
    root, event = command.apply(tree, index)
    return Tree(root, index, tree.raft_index + 1, tree.auth), [event]


def refused(tree: Tree) -> Tree:
    """The tree after a command that was refused: only the count of commands has moved."""
    return Tree(tree.root, tree.index, tree.raft_index + 1, tree.auth)


def _expire(tree: Tree, command: Expire) -> tuple[Tree, list[Event]]:
    events: list[Event] = []
    after = refused(tree)
    # Files that are gone, but are still in the tree: those of one directory are taken out together.
    gone: dict[str, None] = {}
    for key in command.keys:
        node = None if key in gone else after.find(key)
        if node is None or node.expiration is None or node.expiration > command.time:
            continue
        events.append(Event("expire", tree.index + len(events) + 1, command.time, None, bare(node)))
        if isinstance(node, Dir):
            after = after.without(gone).without((key,))
            gone = {}
        else:
            gone[key] = None
    root = after.without(gone).root
    return Tree(root, tree.index + len(events), after.raft_index, after.auth), events


def _open(tree: Tree, key: str) -> Place:
    """The place of a key that may be written; the root may not."""
    if key == "/":
        raise EtcdError(errors.ROOT_READ_ONLY, "/", tree.index)
    return tree.open(key)


def _new_node(key: str, value: str, dir: bool, index: int, expiration: int | None) -> Node:
    if dir:
        return Dir(key, HashTrieMap(), index, index, expiration)
    return File(key, value, index, index, expiration)


def _compare(node: Node, prev_value: str, prev_index: int, tree: Tree) -> File:
    """The file, if it is one and has the expected value and index."""
    if isinstance(node, Dir):
        raise EtcdError(errors.NOT_A_FILE, node.key, tree.index)
    causes = []
    if prev_value and node.value != prev_value:
        causes.append(f"[{prev_value} != {node.value}]")
    if prev_index and node.modified != prev_index:
        causes.append(f"[{prev_index} != {node.modified}]")
    if causes:
        raise EtcdError(errors.COMPARE_FAILED, " ".join(causes), tree.index)
    return node


_KINDS: tuple[type[Any], ...] = (
    *(Set, Create, Update, CompareAndSwap, Delete, CompareAndDelete, Expire),
    *(CreateUser, UpdateUser, DeleteUser, CreateRole, UpdateRole, DeleteRole, EnableAuth, DisableAuth),
)


def _getter(kind: type[Any]) -> Callable[[AnyCommand], tuple[Any, ...]]:
    """What gives all fields of a command, in order."""
    names = [field.name for field in fields(kind)]
    # attrgetter is the quickest, but gives no tuple when there is only one.
    return attrgetter(*names) if len(names) > 1 else lambda command: tuple(getattr(command, n) for n in names)


_encoder = json.JSONEncoder(separators=(",", ":"))
_TYPES = {kind.name: kind for kind in _KINDS}
_FIELDS = {kind: _getter(kind) for kind in _KINDS}
# Where the values are in the row of each command.
_VALUES = {
    kind.name: [place for place, field in enumerate(fields(kind), 1) if field.name in ("value", "prev_value")]
    for kind in _KINDS
}


def encode(commands: Iterable[AnyCommand], replace: Callable[[str], Any] | None = None) -> str:
    """The commands as text for the journal: a JSON list with one list for each, its name first.

    @param replace: gives what is to stand in place of a command's value: the value, or an object for JSON.
    """
    rows: list[Any] = [(command.name, *_FIELDS[type(command)](command)) for command in commands]
    if replace is not None:
        rows = [_replaced(row, replace) for row in rows]
    return _encoder.encode(rows)


def _replaced(row: tuple[Any, ...], replace: Callable[[str], Any]) -> list[Any]:
    fields = list(row)
    for place in _VALUES[row[0]]:
        fields[place] = replace(fields[place])
    return fields


def decode(text: str, restore: Callable[[dict[str, Any]], str] | None = None) -> list[AnyCommand]:
    """The commands that `encode` made the text of.

    @param restore: gives the value in whose place an object stands.
    @raise ValueError: when the text is none of its.
    """
    try:
        return [_decode(row) for row in json.loads(text, object_hook=restore)]
    except (TypeError, IndexError) as error:
        raise ValueError(f"these are no commands: {error}") from error


def _decode(row: list[Any]) -> AnyCommand:
    name, *values = row
    kind = _TYPES.get(name)
    if kind is None:
        raise ValueError(f"there is no command {name!r}")
    command: AnyCommand = kind(*(tuple(value) if isinstance(value, list) else value for value in values))
    return command
