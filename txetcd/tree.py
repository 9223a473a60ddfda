"""The key space as an immutable tree: files, directories, and the v2 JSON of both.

A write copies the path from the root to the node and shares all the rest, so whoever holds a `Tree` holds
one moment of the store for as long as they like.  Nodes are never changed once they are in a tree; they are
plain slotted classes because a frozen dataclass costs several times as much to make, and every write makes a
handful.  Walks are loops, not recursion: a path may have thousands of parts.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from rpds import HashTrieMap

from txetcd import errors
from txetcd.auth import DISABLED, Auth
from txetcd.errors import EtcdError
from txetcd.jsontext import quote, rfc3339

SECOND = 1_000_000_000

# A listing is rendered in pieces of about this many characters, so that nobody has to wait for a long one.
SLICE = 64 * 1024
# So many names are put in order at a time.
NAMES = 2000

# What goes before the first child of a directory.
_FIRST = ',"nodes":['


@dataclass(slots=True)
class File:
    """A key with a value.

    @ivar key: the full path, such as `/a/b`.
    @ivar created: the index of the write that made it.
    @ivar modified: the index of the last write to it.
    @ivar expiration: when it runs out, in nanoseconds since the epoch, or None.
    """

    key: str
    value: str
    created: int
    modified: int
    expiration: int | None = None


@dataclass(slots=True)
class Dir:
    """A directory: like a `File`, with children in place of a value.

    @ivar children: what it holds by name, a file as its bare fields.  `child` and `nodes` give nodes.
    """

    key: str
    children: HashTrieMap[str, Entry]
    created: int
    modified: int
    expiration: int | None = None

    def bare(self) -> Dir:
        """The directory without what is in it, as events show it."""
        return Dir(self.key, HashTrieMap(), self.created, self.modified, self.expiration)

    def child(self, name: str) -> Node | None:
        """The child with a name, or None."""
        entry = self.children.get(name)
        return None if entry is None else to_node(entry)

    def nodes(self) -> Iterator[Node]:
        """All children, hidden ones too, in no order; they are gathered in one go."""
        return map(to_node, _entries(self.children).values())

    def visible(self, page: Page | None = None) -> Iterator[Node | None]:
        """The children that a listing shows, in the byte order of their names; a page of them if so asked.

        Of a large directory also None, each time that some of the work is done and others may have a turn.
        """
        if len(self.children) > NAMES:
            return self._gathered(page)
        children = _entries(self.children)
        return (to_node(children[name]) for name in _in_order(children, page))

    def _gathered(self, page: Page | None) -> Iterator[Node | None]:
        names = iter(self.children)
        runs: list[list[str]] = []
        while run := list(islice(names, NAMES)):
            runs.append(_in_order(run, page))
            yield None
        limit = page.limit if page is not None and page.limit else None
        for name in islice(heapq.merge(*runs, key=_as_bytes), limit):
            yield to_node(self.children[name])


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing.

    @ivar limit: how many children it shows; 0 for all.
    @ivar after: the name behind which it begins; empty for the start.
    """

    limit: int
    after: str


Node = File | Dir

Entry = tuple[str, str, int, int, int | None] | Dir
"""A node as it is kept: a file as a plain tuple of its fields.

Once the garbage collector has seen that there is only text and numbers in a tuple, it never looks at it
again; a million objects it would go through again and again.
"""


def to_entry(node: Node) -> Entry:
    """The node as it is kept."""
    if isinstance(node, Dir):
        return node
    return (node.key, node.value, node.created, node.modified, node.expiration)


def to_node(entry: Entry) -> Node:
    """The node that was kept."""
    return entry if isinstance(entry, Dir) else File(*entry)


def bare(node: Node) -> Node:
    """The node as an event shows it: a directory without its children."""
    return node.bare() if isinstance(node, Dir) else node


def _entries(children: HashTrieMap[str, Entry]) -> dict[str, Entry]:
    """The children by name.

    The map's own iterator takes each entry out of a copy of the map.  What `pickle` would make it anew of
    costs a tenth of that, but comes in one go.
    """
    return dict(*children.__reduce__()[1])


def _in_order(names: Iterable[str], page: Page | None) -> list[str]:
    """Those of the names that a listing shows."""
    shown = [name for name in names if not name.startswith("_")]
    if page is not None and page.after:
        after = _as_bytes(page.after)
        shown = [name for name in shown if _as_bytes(name) > after]
    if page is not None and page.limit:
        return heapq.nsmallest(page.limit, shown, key=_as_bytes)
    shown.sort(key=_as_bytes)
    return shown


def _as_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


@dataclass(slots=True)
class Tree:
    """One moment of the store.

    @ivar index: the index of the last change (X-Etcd-Index).
    @ivar raft_index: how many commands have been evaluated, refused ones too (X-Raft-Index).
    @ivar auth: the users, and what they may do.
    """

    root: Dir
    index: int
    raft_index: int
    auth: Auth

    def find(self, key: str) -> Node | None:
        """The node at `key`, or None."""
        entry: Entry | None = self.root
        if key != "/":
            for name in key[1:].split("/"):
                if not isinstance(entry, Dir):
                    return None
                entry = entry.children.get(name)
        return None if entry is None else to_node(entry)

    def get(self, key: str) -> Node:
        """The node at `key`.

        @raise EtcdError: 100 with the first part of the path that is missing; 104 with the file in the way.
        """
        entry: Entry = self.root
        if key == "/":
            return self.root
        names = key[1:].split("/")
        for depth, name in enumerate(names):
            if not isinstance(entry, Dir):
                raise EtcdError(errors.NOT_A_DIRECTORY, entry[0], self.index)
            child = entry.children.get(name)
            if child is None:
                raise EtcdError(errors.KEY_NOT_FOUND, "/" + "/".join(names[: depth + 1]), self.index)
            entry = child
        return to_node(entry)

    def open(self, key: str) -> Place:
        """The place of `key`, where a node can be put or removed.

        @param key: any key but the root.
        @raise EtcdError: 104 with the file that stands where a directory would have to be.
        """
        names = key[1:].split("/")
        parents = [self.root]
        for name in names[:-1]:
            child = parents[-1].children.get(name)
            if child is None:
                return Place(names, parents, None, self.index)
            if not isinstance(child, Dir):
                raise EtcdError(errors.NOT_A_DIRECTORY, child[0], self.index)
            parents.append(child)
        return Place(names, parents, parents[-1].child(names[-1]), self.index)

    def without(self, keys: Iterable[str]) -> Tree:
        """The tree without the nodes at some keys, which are there, and none of them in another.

        Each directory is copied once.  The indices are as they were.
        """
        directories: dict[str, list[str]] = {}
        for key in keys:
            parent, _, name = key.rpartition("/")
            directories.setdefault(parent, []).append(name)
        after = self
        for parent, names in directories.items():
            root = after.open(f"{parent}/{names[0]}").without(names)
            after = Tree(root, self.index, self.raft_index, self.auth)
        return after


EMPTY = Tree(Dir("/", HashTrieMap(), 0, 0), 1, 0, DISABLED)
"""The tree of a new store.  Its index is 1: to clients, 0 means "no index"."""


@dataclass(slots=True)
class Place:
    """A path opened for a write.

    @ivar parents: the directories on the way that exist, the root first.
    @ivar node: what is there now, or None.
    """

    names: list[str]
    parents: list[Dir]
    node: Node | None
    index: int

    def existing(self) -> Node:
        """What is there now.

        @raise EtcdError: 100 with the first part of the path that is missing.
        """
        if self.node is None:
            missing = "/" + "/".join(self.names[: len(self.parents)])
            raise EtcdError(errors.KEY_NOT_FOUND, missing, self.index)
        return self.node

    def put(self, node: Node, index: int) -> Dir:
        """The root of a tree with `node` here; missing parents are made, with `index` as theirs."""
        names, depth = self.names, len(self.parents)
        key, entry = node.key, to_entry(node)
        for position in range(len(names) - 1, depth - 1, -1):
            key = key[: key.rindex("/")]
            entry = Dir(key, HashTrieMap({names[position]: entry}), index, index)
        last = self.parents[depth - 1]
        return self._copy(depth - 1, last.children.insert(names[depth - 1], entry))

    def remove(self) -> Dir:
        """The root of a tree without what is here now."""
        return self.without(self.names[-1:])

    def without(self, names: Iterable[str]) -> Dir:
        """The root of a tree without the nodes of these names, which are in the directory of this place."""
        last = len(self.names) - 1
        children = self.parents[last].children
        for name in names:
            children = children.remove(name)
        return self._copy(last, children)

    def _copy(self, depth: int, children: HashTrieMap[str, Entry]) -> Dir:
        """Copy the parents from `depth` up to the root, the lowest with new children."""
        parent = self.parents[depth]
        copy = Dir(parent.key, children, parent.created, parent.modified, parent.expiration)
        for position in range(depth - 1, -1, -1):
            parent = self.parents[position]
            children = parent.children.insert(self.names[position], copy)
            copy = Dir(parent.key, children, parent.created, parent.modified, parent.expiration)
        return copy


def build(entries: Iterator[Entry], index: int, raft_index: int, auth: Auth = DISABLED) -> Tree:
    """Make a tree of nodes without children, in any order in which parents come first.

    @raise ValueError: when a node's parent is not a directory that came before it.
    """
    complete = EMPTY.root
    # Each directory, and what is in it by name.
    directories: dict[str, tuple[Dir, dict[str, Entry]]] = {"": (complete, {})}
    for entry in entries:
        key = entry[0] if isinstance(entry, tuple) else entry.key
        parent, _, name = key.rpartition("/")
        if not name or parent not in directories:
            raise ValueError(f"{key!r} is not in a directory")
        directories[parent][1][name] = entry
        if isinstance(entry, Dir):
            directories[key] = (entry, {})
    # From the last to the root, so that each is complete before its parent takes it in.
    while directories:
        key, (directory, children) = directories.popitem()
        complete = Dir(
            directory.key,
            HashTrieMap(children),
            directory.created,
            directory.modified,
            directory.expiration,
        )
        if key:
            parent, _, name = key.rpartition("/")
            directories[parent][1][name] = complete
    return Tree(complete, index, raft_index, auth)


def survey(tree: Tree) -> tuple[int, list[tuple[int, str]]]:
    """Look at every node once.

    @return: how many files there are, and of each node that runs out when it does, and its key.
    """
    files = 0
    expiring: list[tuple[int, str]] = []
    directories: list[Dir] = [tree.root]
    while directories:
        directory = directories.pop()
        if directory.expiration is not None:
            expiring.append((directory.expiration, directory.key))
        for entry in _entries(directory.children).values():
            if isinstance(entry, tuple):
                files += 1
                if entry[4] is not None:
                    expiring.append((entry[4], entry[0]))
            else:
                directories.append(entry)
    return files, expiring


def node_json(node: Node, time: int, *, modified: int | None = None) -> str:
    """The node alone as the v2 API prints it.

    @param time: the moment from which its ttl counts, in nanoseconds since the epoch.
    @param modified: a modifiedIndex to show in place of its own.
    """
    return _head(node, time) + _tail(node, modified)


def listing_json(
    node: Node, time: int, recursive: bool, *, page: Page | None = None, keys_only: bool = False
) -> Iterator[str]:
    """The node with its children (and theirs, if `recursive`), as pieces of JSON of about `SLICE` characters.

    Hidden children, whose names begin with an underscore, are left out.  Each piece is little work, so that
    others can have their turn before the next; while a large directory is put in order, pieces are empty.

    @param page: which of its own children to show.
    @param keys_only: leave out the values.
    """
    pieces = [_head(node, time, keys_only)]
    # What is left of each directory that has begun.
    begun: list[tuple[Dir, Iterator[Node | None]]] = []
    if isinstance(node, Dir):
        begun.append((node, node.visible(page)))
    else:
        pieces.append(_tail(node))
    size = len(pieces[0])
    names = 0
    before = _FIRST
    while begun:
        directory, children = begun[-1]
        child = next(children, directory)
        if child is None:
            piece, names = "", NAMES
        elif child is directory:
            # That was all of it.
            begun.pop()
            piece = _tail(child) if before is _FIRST else "]" + _tail(child)
            before = ","
        elif recursive and isinstance(child, Dir):
            begun.append((child, child.visible()))
            names += len(child.children)
            piece = before + _head(child, time, keys_only)
            before = _FIRST
        else:
            piece = before + _head(child, time, keys_only) + _tail(child)
            before = ","
        pieces.append(piece)
        size += len(piece)
        if size >= SLICE or names >= NAMES:
            yield "".join(pieces)
            pieces, size, names = [], 0, 0
    yield "".join(pieces)


def _head(node: Node, time: int, keys_only: bool = False) -> str:
    """A node's JSON up to where its children would be."""
    if isinstance(node, File):
        text = f'{{"key":{quote(node.key)}'
        if not keys_only:
            text += f',"value":{quote(node.value)}'
    elif node.key == "/":
        return '{"dir":true'
    else:
        text = f'{{"key":{quote(node.key)},"dir":true'
    if node.expiration is not None:
        text += f',"expiration":"{rfc3339(node.expiration)}"'
        ttl = -((time - node.expiration) // SECOND)
        if ttl > 0:
            text += f',"ttl":{ttl}'
    return text


def _tail(node: Node, modified: int | None = None) -> str:
    """The rest of a node's JSON."""
    if node.key == "/":
        return "}"
    modified = node.modified if modified is None else modified
    return f',"modifiedIndex":{modified},"createdIndex":{node.created}}}'
