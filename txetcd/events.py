"""What happened: events, the rules of who is told of them, and the bounded history of the recent ones."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from json.encoder import encode_basestring_ascii
from typing import Any

from rpds import HashTrieMap

from txetcd import errors
from txetcd.errors import EtcdError
from txetcd.jsontext import quote
from txetcd.tree import EMPTY, Dir, File, Node, node_json

_compact = json.JSONEncoder(separators=(",", ":"))


@dataclass(slots=True)
class Event:
    """A change of the store.

    @ivar action: set, create, update, compareAndSwap, delete, compareAndDelete or expire.
    @ivar index: the store's index that the change took.
    @ivar time: when it was asked for, in nanoseconds since the epoch; its nodes' ttl count from there.
    @ivar node: the new node; None when the change took one away.
    @ivar prev: the node before, if there was one.
    @ivar refresh: only a ttl was renewed; no watch is told.
    """

    action: str
    index: int
    time: int
    node: Node | None
    prev: Node | None
    refresh: bool = False
    _json: str | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        """The key that changed."""
        node = self.node or self.prev
        assert node is not None
        return node.key

    @property
    def removes_dir(self) -> bool:
        """Whether a directory went, and all below it."""
        return self.node is None and isinstance(self.prev, Dir)

    @property
    def created(self) -> bool:
        """Whether the API answers 201: there was nothing before."""
        return self.action == "create" or (self.action == "set" and self.prev is None)

    def to_json(self) -> str:
        """The event as the v2 API prints it, without a line end; made once, however many are told."""
        if self._json is None:
            if self.node is not None:
                node = node_json(self.node, self.time, modified=self.index)
            else:
                assert self.prev is not None
                kind = ',"dir":true' if isinstance(self.prev, Dir) else ""
                node = (
                    f'{{"key":{quote(self.prev.key)}{kind},'
                    f'"modifiedIndex":{self.index},"createdIndex":{self.prev.created}}}'
                )
            prev = f',"prevNode":{node_json(self.prev, self.time)}' if self.prev is not None else ""
            self._json = f'{{"action":"{self.action}","node":{node}{prev}}}'
        return self._json

    def encode(self, replace: Callable[[str], Any] | None = None) -> str:
        """The event as text for the journal.

        @param replace: gives what is to stand in place of a value: the value, or an object for JSON.
        """
        node, prev = _encode_node(self.node, replace), _encode_node(self.prev, replace)
        refresh = "true" if self.refresh else "false"
        return f'["{self.action}",{self.index},{self.time},{node},{prev},{refresh}]'

    @classmethod
    def decode(cls, text: str, restore: Callable[[dict[str, Any]], str] | None = None) -> Event:
        """The event that `encode` made the text of.

        @param restore: gives the value in whose place an object stands.
        """
        action, index, time, node, prev, refresh = json.loads(text, object_hook=restore)
        return cls(action, index, time, _decode_node(node), _decode_node(prev), refresh)


def _encode_node(node: Node | None, replace: Callable[[str], Any] | None) -> str:
    if node is None:
        return "null"
    value = "null"
    if isinstance(node, File):
        kept = node.value if replace is None else replace(node.value)
        value = encode_basestring_ascii(kept) if isinstance(kept, str) else _compact.encode(kept)
    expiration = "null" if node.expiration is None else node.expiration
    return f"[{encode_basestring_ascii(node.key)},{value},{node.created},{node.modified},{expiration}]"


def _decode_node(fields: list[Any] | None) -> Node | None:
    if fields is None:
        return None
    key, value, created, modified, expiration = fields
    if value is None:
        return Dir(key, HashTrieMap(), created, modified, expiration)
    return File(key, value, created, modified, expiration)


def is_below(key: str, directory: str) -> bool:
    """Whether `key` lies somewhere below `directory`."""
    return key.startswith(directory if directory == "/" else directory + "/") and key != directory


def is_hidden(key: str, directory: str) -> bool:
    """Whether a part of `key`, from `directory` on down, begins with an underscore."""
    return "/_" in key[0 if directory == "/" else len(directory) :]


def concerns(event: Event, key: str, recursive: bool) -> bool:
    """Whether a watch on `key` wants the event.

    A watch sees what happens to its key and, when recursive, to what is below and not hidden; and that a
    directory above it went, for then its key went too.  Refreshes are for nobody.
    """
    if event.refresh:
        return False
    changed = event.key
    if changed == key:
        return True
    if recursive and is_below(changed, key):
        return not is_hidden(changed, key)
    return event.removes_dir and is_below(key, changed)


class History:
    """The latest events, oldest first; every index from the first one on has its event.

    @ivar size: how many are kept.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._events: deque[Event] = deque(maxlen=size)

    def add(self, event: Event) -> None:
        """Take in the next event; the oldest goes when there are too many."""
        self._events.append(event)

    def __len__(self) -> int:
        return len(self._events)

    @property
    def first(self) -> Event | None:
        """The oldest event, if there is any."""
        return self._events[0] if self._events else None

    def oldest(self, store_index: int) -> int:
        """The first index that can be asked for.

        @param store_index: the store's index.
        """
        return self._events[0].index if self._events else store_index + 1

    def since(self, index: int, store_index: int) -> Iterator[Event]:
        """The events from `index` on that are already there.

        @param store_index: the store's index, which a refusal tells.
        @raise EtcdError: 401 when an event that was asked for is no longer kept.
        """
        oldest = self.oldest(store_index)
        # What is older than the very first event was never there to be lost.
        if index < oldest != EMPTY.index + 1:
            cause = f"the requested history has been cleared [{oldest}/{index}]"
            raise EtcdError(errors.EVENT_INDEX_CLEARED, cause, store_index)
        # An index may be any number of 64 bits, more than islice takes.
        return islice(self._events, min(max(0, index - oldest), len(self._events)), None)

    def find(self, key: str, recursive: bool, index: int, store_index: int) -> Event | None:
        """The first event from `index` on that concerns a watch on `key`, if it is already there.

        @raise EtcdError: 401, as `since`.
        """
        for event in self.since(index, store_index):
            if concerns(event, key, recursive):
                return event
        return None
