"""Answers with long values: their JSON is made once, and not copied into the answer.

The JSON of the latest ones is kept, with the values: one that is read is read again, and whoever writes a key
is told what was there before.
"""

from __future__ import annotations

import re
from collections import OrderedDict

from txetcd.events import Event
from txetcd.jsontext import quote
from txetcd.tree import File, Node, node_json

# Values of more characters are long.
LONG = 4096
# Bytes of JSON that are kept; what was wanted longest ago goes first.
ROOM = 16 * 1024 * 1024

# Where a value goes, in the JSON of nodes without: it is nowhere else, for in keys quotes are escaped.
_EMPTY = re.compile(rb'(?<="value":)""')


class LongValues:
    """The JSON of long values, by their identity: nothing that reads or writes a value makes another of it.

    @param room: bytes of all that is kept.
    @ivar size: bytes of what is.
    """

    def __init__(self, room: int = ROOM) -> None:
        self.size = 0
        self._room = room
        self._kept: OrderedDict[int, tuple[str, bytes]] = OrderedDict()

    def node(self, file: File, time: int) -> list[bytes]:
        """The answer to a GET.

        @param time: the moment from which its ttl counts, in nanoseconds since the epoch.
        @return: its pieces.
        """
        text = f'{{"action":"get","node":{node_json(_emptied(file), time)}}}\n'
        return self._filled(text, file)

    def event(self, event: Event) -> list[bytes]:
        """The answer to a write, in pieces."""
        node, prev = event.node, event.prev
        emptied = Event(
            event.action, event.index, event.time, node and _emptied(node), prev and _emptied(prev)
        )
        return self._filled(emptied.to_json() + "\n", node, prev)

    def _filled(self, text: str, *nodes: Node | None) -> list[bytes]:
        """The text with the values of nodes, in their order, where they are empty."""
        first, *others = _EMPTY.split(text.encode())
        pieces = [first]
        values = [node.value for node in nodes if isinstance(node, File)]
        for value, following in zip(values, others, strict=True):
            pieces += self._json(value), following
        return pieces

    def _json(self, value: str) -> bytes:
        if len(value) <= LONG:
            return quote(value).encode()
        kept = self._kept.get(id(value))
        if kept is not None:
            self._kept.move_to_end(id(value))
            return kept[1]
        text = quote(value).encode()
        self._kept[id(value)] = (value, text)
        self.size += len(text)
        while self.size > self._room:
            _, (_, dropped) = self._kept.popitem(last=False)
            self.size -= len(dropped)
        return text


def is_long(node: Node | None) -> bool:
    """Whether a node has a long value."""
    return isinstance(node, File) and len(node.value) > LONG


def _emptied(node: Node) -> Node:
    """A file without its value."""
    if not isinstance(node, File):
        return node
    return File(node.key, "", node.created, node.modified, node.expiration)
