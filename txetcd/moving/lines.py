"""The file of a copy: JSON, one object a line.

A copy is one or more sections.  Each begins with what it is a copy of and when, then come its nodes, parents
before children, and its last line counts them, so that a file that was cut off is noticed.
"""

from __future__ import annotations

import calendar
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from txetcd.jsontext import rfc3339
from txetcd.moving import MovingError

FORMAT = "txetcd-copy"
VERSION = 1

SECOND = 1_000_000_000

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))")


@dataclass(frozen=True, slots=True)
class Section:
    """The head of a section: which moment of which server it shows.

    @ivar key: of all that is below this key, and the key itself.
    @ivar index: the server's index then.
    @ivar cluster_id: as the server prints it.
    @ivar time: nanoseconds since the epoch, by the clock of the machine that made the copy.
    """

    key: str
    index: int
    cluster_id: str
    time: int


@dataclass(frozen=True, slots=True)
class Node:
    """A file or a directory.

    @ivar value: None for a directory.
    @ivar expiration: when it runs out, in nanoseconds since the epoch; None for never.
    @ivar created: its createdIndex, and
    @ivar modified: its modifiedIndex; both are 0 for a directory.
    """

    key: str
    value: str | None
    expiration: int | None = None
    created: int = 0
    modified: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """The end of a section, which had so many nodes."""

    nodes: int


Line = Section | Node | End


def encode(line: Line) -> bytes:
    """A line, its end included."""
    return (json.dumps(_members(line), ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def _members(line: Line) -> dict[str, Any]:
    if isinstance(line, End):
        return {"nodes": line.nodes}
    if isinstance(line, Section):
        return {
            "format": FORMAT,
            "version": VERSION,
            "key": line.key,
            "index": line.index,
            "cluster": line.cluster_id,
            "time": rfc3339(line.time),
        }
    ends = {} if line.expiration is None else {"expiration": rfc3339(line.expiration)}
    if line.value is None:
        return {"key": line.key, "dir": True, **ends}
    return {
        "key": line.key,
        "value": line.value,
        **ends,
        "createdIndex": line.created,
        "modifiedIndex": line.modified,
    }


def decode(name: str, file: Iterable[bytes]) -> Iterator[Line]:
    """Read a copy.

    @param name: what to call the file in errors.
    @param file: its lines.
    @raise MovingError: for a line that cannot be read or is out of place, and for a file that was cut off.
    """
    section: Section | None = None
    nodes = number = 0
    for number, text in enumerate(file, 1):
        line = _decode(text, name, number)
        if isinstance(line, Section):
            if section is not None:
                raise _error(name, number, f"the copy of {section.key} has no end before it; export it anew")
            section, nodes = line, 0
        elif section is None:
            raise _error(name, number, "the line that a copy begins with is missing; give a file from export")
        elif isinstance(line, Node):
            nodes += 1
        else:
            if nodes != line.nodes:
                raise _error(
                    name, number, f"{line.nodes} keys should come before it, not {nodes}; export anew"
                )
            section = None
        yield line
    if section is not None or not number:
        raise _error(name, number, "the copy is cut off there; export it anew")


def _decode(text: bytes, name: str, number: int) -> Line:
    if not text.endswith(b"\n"):
        raise _error(name, number, "the copy is cut off there; export it anew")
    try:
        return _line(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _error(name, number, "it is not a line of a copy; give a file from export") from None
    except _OtherVersionError as error:
        problem = f"the copy has version {error}, and this txetcd knows only {VERSION}; use a newer one"
        raise _error(name, number, problem) from None


class _OtherVersionError(Exception):
    """The format has moved on."""


def _line(members: dict[str, Any]) -> Line:
    if "format" in members:
        if members["format"] != FORMAT:
            raise ValueError
        if members["version"] != VERSION:
            raise _OtherVersionError(members["version"])
        index, key = _typed(members, "index", int), _typed(members, "key", str)
        return Section(key, index, _typed(members, "cluster", str), parse_time(members["time"]))
    if "nodes" in members:
        return End(_typed(members, "nodes", int))
    return parse_node(members)


def parse_node(members: dict[str, Any]) -> Node:
    """A node as the v2 API and the file show it; what it contains is overlooked.

    @raise ValueError: when it is no such thing,
    @raise KeyError: or
    @raise TypeError: for the same reason.
    """
    key = _typed(members, "key", str)
    if not key.startswith("/"):
        raise ValueError("a key begins with a slash")
    expiration = parse_time(members["expiration"]) if "expiration" in members else None
    if members.get("dir") is True:
        return Node(key, None, expiration)
    created, modified = members.get("createdIndex", 0), members.get("modifiedIndex", 0)
    return Node(key, _typed(members, "value", str), expiration, int(created), int(modified))


def _typed(members: dict[str, Any], name: str, kind: type) -> Any:
    value = members[name]
    if type(value) is not kind:
        raise TypeError(name)
    return value


def parse_time(text: str) -> int:
    """A time as etcd prints it, in nanoseconds since the epoch.

    @raise ValueError: when it is none.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time")
    seconds = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
    if match[3]:
        # etcd 0.x prints the time of its zone.
        offset = int(match[4]) * 3600 + int(match[5]) * 60
        seconds += offset if match[3] == "-" else -offset
    return seconds * SECOND + int((match[2] or "").ljust(9, "0"))


def _error(name: str, number: int, problem: str) -> MovingError:
    return MovingError(f"{name} line {number}: {problem}")


def time_left(node: Node, now: int) -> int | None:
    """The ttl that a node still has, in whole seconds, rounded up.

    @param now: in nanoseconds since the epoch.
    @return: None if it has none; 0 or less when it has run out.
    """
    return None if node.expiration is None else -((now - node.expiration) // SECOND)


def has_expired(node: Node, now: int) -> bool:
    """Whether a node has run out."""
    return node.expiration is not None and node.expiration <= now


def living(nodes: Iterable[Node], now: Callable[[], int], expired: Callable[[Node], None]) -> Iterator[Node]:
    """The nodes that have not run out, and are not in a directory that has.

    @param nodes: parents before children, as in a file.
    @param now: the time, in nanoseconds since the epoch.
    @param expired: told of each other one.
    """
    gone: str | None = None
    for node in nodes:
        inside = gone is not None and node.key.startswith(gone)
        if inside or has_expired(node, now()):
            if not inside and node.value is None:
                gone = node.key + "/"
            expired(node)
        else:
            yield node
