"""What a v2 server answers to a recursive read, node by node while it comes in, and what its watches tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import ijson  # type: ignore[import-untyped]

from txetcd.moving.lines import Node, parse_node

_NO_LISTING = "the answer is not a whole listing of the v2 API"
_REMOVED = frozenset({"delete", "expire", "compareAndDelete"})


class Listing:
    """Takes an answer in pieces of any size, and hands on its nodes, parents before children.

    Errors are a `ValueError`.

    @param found: called with each node but the root.
    """

    def __init__(self, found: Callable[[Node], None]) -> None:
        self._parser = ijson.basic_parse_coro(_primed(_nodes(found)))

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        try:
            self._parser.send(data)
        except (ijson.JSONError, KeyError, TypeError, IndexError):
            raise ValueError(_NO_LISTING) from None

    def close(self) -> None:
        """That was all: it must be whole."""
        try:
            self._parser.close()
        except ijson.JSONError:
            raise ValueError(_NO_LISTING) from None


_Events = Generator[None, tuple[str, Any], None]


def _primed(events: _Events) -> _Events:
    next(events)
    return events


def _nodes(found: Callable[[Node], None]) -> _Events:
    """Takes the parser's events.

    A directory is handed on when its children begin.  Its indices are behind them, and a copy has no use for
    those.
    """
    open_nodes: list[dict[str, Any]] = []
    name = ""
    while True:
        event, value = yield
        if event == "map_key":
            name = value
        elif event == "start_map":
            open_nodes.append({})
        elif event == "start_array":
            # What follows of it is no node any more.
            _hand_on(open_nodes[-1], found)
            open_nodes[-1].clear()
        elif event == "end_map":
            _hand_on(open_nodes.pop(), found)
        elif event != "end_array" and open_nodes:
            open_nodes[-1][name] = value


def _hand_on(members: dict[str, Any], found: Callable[[Node], None]) -> None:
    # The whole answer has no key, nor has the root.
    if "key" in members:
        found(parse_node(members))


@dataclass(frozen=True, slots=True)
class Change:
    """What a watch has told.

    @ivar node: what is there now; None if nothing is.
    """

    index: int
    key: str
    node: Node | None


def parse_change(body: bytes) -> Change:
    """Read an event.

    @raise ValueError: when it is none.
    """
    try:
        event = json.loads(body)
        members = event["node"]
        index, key = members["modifiedIndex"], members["key"]
        return Change(index, key, None if event["action"] in _REMOVED else parse_node(members))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError("is not an event of a watch") from None


def is_below(key: str, root: str) -> bool:
    """Whether a key is `root` or below it."""
    return root == "/" or f"{key}/".startswith(f"{root}/")


def is_hidden(key: str, root: str) -> bool:
    """Whether a key is below `root` where no listing of that shows it."""
    return is_below(key, root) and "/_" in key[len(root.rstrip("/")) :]
