"""What makes two answers different, and what makes them different on purpose.

The indices of both servers are kept the same, so answers are compared byte for byte.  Only times are each
server's own: they are the same when they are as near to each other as the moments of the two requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import groupby
from typing import Any
from urllib.parse import unquote_to_bytes

from tests.http_harness import Response
from tests.reference.conversation import KEYS

_HEADERS = ("Content-Type", "X-Etcd-Index", "Allow", "Location")
# The values are every server's own.
_OWN_HEADERS = ("X-Raft-Index", "X-Raft-Term", "X-Etcd-Cluster-Id")
_TIMES = re.compile(r'"expiration":"([^"]*)"(?:,"ttl":(-?\d+))?')
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{0,8}[1-9])?Z")
_SORTED = re.compile(rb"[^?]*\?(?:(?!sorted=)[^&]*&)*sorted=(?:1|t|T|TRUE|true|True)(?:&|$)")

# Differences that are told from the answers.  Each has its place in `docs/api.md` or its reason here; what
# txetcd would refuse or redirect, and what is beyond its limits, `generator` does not ask for.
ON_PURPOSE = {
    "history_of_others": (
        "The history of etcd matches text prefixes and shows hidden keys; txetcd's, whole names, as live"
        " watches do. etcd is asked on from there: both must find the same in the end."
    ),
    "past_stream": (
        "A stream with an old waitIndex gets one event from etcd and then silence, from txetcd all: the first"
        " is compared."
    ),
    "stream_twice": ("etcd tells a stream on the very key that is deleted or expires twice, txetcd once."),
    "semicolon": (
        "An etcd that was built with a Go before 1.17 takes a semicolon for an ampersand, later ones and"
        " txetcd refuse it: the former is not asked."
    ),
    "directory_ttl_3_5": (
        "etcd 3.5 answers an update of a directory with code 300 and leaves it as it was, a defect that 3.4"
        " does not have: txetcd, which updates it, is not asked then."
    ),
}


class Different(Exception):
    """The servers have answered differently; the text says how."""


def difference(method: str, target: bytes, ours: Response, theirs: Response, slack: float) -> str | None:
    """What is different between two answers, in words; None if nothing is.

    @param slack: how far apart the two requests may have been, in seconds.
    """
    if ours.status != theirs.status:
        return f"status {ours.status}, etcd {theirs.status}; {ours.body!r}, etcd {theirs.body!r}"
    for name in _HEADERS:
        if ours.header(name) != theirs.header(name):
            return f"{name} {ours.header(name)!r}, etcd {theirs.header(name)!r}"
    for name in _OWN_HEADERS:
        if ours.headers.hasHeader(name) != theirs.headers.hasHeader(name):
            return f"{name} is {ours.header(name) or 'absent'}, of etcd {theirs.header(name) or 'absent'}"
    any_order = method == "GET" and b'"nodes":[' in theirs.body and not _SORTED.match(target)
    return body_difference(ours.body, theirs.body, slack, any_order)


def body_difference(ours: bytes, theirs: bytes, slack: float, any_order: bool = False) -> str | None:
    """What is different between two bodies; see `difference`."""
    if ours == theirs:
        return None
    texts = [body.decode("utf-8", "backslashreplace") for body in (ours, theirs)]
    if any_order:
        texts = [_in_order(text) for text in texts]
    masked = [_TIMES.sub('"expiration":?', text) for text in texts]
    if masked[0] != masked[1]:
        return f"body {texts[0]!r}, etcd {texts[1]!r}"
    for mine, other in zip(_TIMES.findall(texts[0]), _TIMES.findall(texts[1]), strict=True):
        if not abs(_seconds(mine[0]) - _seconds(other[0])) <= slack:
            return f"expiration {mine[0]}, etcd {other[0]}"
        # Rounded up, the same time left may be a second more.
        if abs(int(mine[1] or 0) - int(other[1] or 0)) > int(slack) + 1:
            return f"ttl {mine[1] or 'absent'}, etcd {other[1] or 'absent'}"
    return None


def _seconds(time: str) -> float:
    """A time in seconds since the epoch; not a number, and so near no other, if it is not in etcd's form."""
    parts = _TIME.fullmatch(time)
    if parts is None:
        return float("nan")
    return datetime.fromisoformat(parts[1]).replace(tzinfo=timezone.utc).timestamp() + float(parts[2] or 0)


def _in_order(text: str) -> str:
    """A listing with the children of each node sorted by their keys, the rest as it stood."""

    def sort(value: Any) -> Any:
        if isinstance(value, dict):
            value = {name: sort(inner) for name, inner in value.items()}
            if "nodes" in value:
                value["nodes"] = sorted(map(sort, value["nodes"]), key=lambda node: (node["key"], str(node)))
        return value

    return json.dumps(sort(json.loads(text)), ensure_ascii=False, separators=(",", ":"))


def watched_key(target: bytes) -> str:
    """The key that a request's target names, as answers show it."""
    path = unquote_to_bytes(target.partition(b"?")[0])[len(KEYS) :].strip(b"/")
    return "/" + path.decode("utf-8", "replace")


def is_of_others(event: bytes, key: str) -> bool:
    """Whether an event that etcd's history shows to a watch on `key` is not for it: "history_of_others"."""
    told = json.loads(event)
    changed = told["node"]["key"]
    if changed == key:
        return False
    below = key if key == "/" else key + "/"
    if changed.startswith(below):
        return "/_" in changed[len(below) - 1 :]
    return key.startswith(changed) and not key.startswith(changed + "/")


def once(events: Sequence[bytes], key: str) -> list[bytes]:
    """A stream's events without the repetitions of "stream_twice"."""
    told = []
    for event, group in groupby(events):
        count = len(list(group))
        removed = re.match(rb'\{"action":"(?:delete|compareAndDelete|expire)"', event)
        if count == 2 and removed and json.loads(event)["node"]["key"] == key:
            count = 1
        told += [event] * count
    return told
