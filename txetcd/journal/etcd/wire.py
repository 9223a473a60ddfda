"""What is said to etcd's JSON gateway, and what it says: requests, and answers as values.

Functions of their arguments.  In that JSON keys and values are base64, integers of 64 bits are text, and what
is zero, false or empty is left out.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]

# What a member takes in one request, by default 1.5 MiB less what surrounds it, and how many operations.
REQUEST_BYTES = 1_560_000
# What one operation adds to the bytes of its key and value, at most.
OPERATION_BYTES = 64
OPERATIONS = 100


class EngineError(Exception):
    """The engine could not be asked, or gave no answer; what was asked for may still happen.

    @cvar elsewhere: whether another member may do better.
    """

    elsewhere = True


class RefusedError(EngineError):
    """The engine will not do this, now or when asked again, and has not done it."""

    elsewhere = False


class UnwillingError(RefusedError):
    """The engine does nothing of the kind for now: it is full, or we may not."""


class CompactedError(EngineError):
    """The engine has forgotten that revision."""

    elsewhere = False


class StaleTokenError(EngineError):
    """The engine no longer knows who asks."""

    elsewhere = False


@dataclass(frozen=True, slots=True)
class Put:
    """Put a row.

    @ivar lease: whose end is the row's end, too; 0 for none.
    @ivar keep_lease: leave that as it is; there must be such a row.
    """

    key: bytes
    value: bytes
    lease: int = 0
    keep_lease: bool = False

    @property
    def size(self) -> int:
        """How many bytes of a request it takes."""
        return len(self.key) + len(self.value) + OPERATION_BYTES

    def to_json(self) -> JSON:
        """The operation as part of a transaction."""
        put: JSON = {"key": _text(self.key), "value": _text(self.value)}
        if self.lease:
            put["lease"] = str(self.lease)
        if self.keep_lease:
            put["ignore_lease"] = True
        return {"request_put": put}


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the rows from a key up to but without another, or one row if that is empty."""

    key: bytes
    end: bytes = b""

    @property
    def size(self) -> int:
        """How many bytes of a request it takes."""
        return len(self.key) + len(self.end) + OPERATION_BYTES

    def covers(self, key: bytes) -> bool:
        """Whether the row of a key would be removed."""
        return self.key <= key < self.end if self.end else key == self.key

    def to_json(self) -> JSON:
        """The operation as part of a transaction."""
        return {"request_delete_range": _range(self.key, self.end)}


@dataclass(frozen=True, slots=True)
class Get:
    """Read one row."""

    key: bytes

    def to_json(self) -> JSON:
        """The operation as part of a transaction."""
        return {"request_range": _range(self.key, b"")}


Change = Put | Remove


@dataclass(frozen=True, slots=True)
class Row:
    """A key and its value.

    @ivar revision: of the last change of it.
    @ivar version: how many changes of it there were since it was made.
    @ivar created: the revision at which that was.
    """

    key: bytes
    value: bytes
    revision: int
    version: int
    created: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a transaction, or a reading of single rows, came to.

    @ivar revision: the engine's, then.
    @ivar cluster: which cluster has answered.
    @ivar gets: for each `Get` in the branch that was taken, or each row that was asked for, the row, or None
        if there is none.
    """

    succeeded: bool
    revision: int
    cluster: str
    gets: list[Row | None]


def below(directory: bytes) -> tuple[bytes, bytes]:
    """The range of what lies below a directory; "0" is what comes after "/"."""
    return directory + b"/", directory + b"0"


def version_is(key: bytes, version: int) -> JSON:
    """A condition: that many changes of the row there were; 0 for no row."""
    return {"key": _text(key), "target": "VERSION", "result": "EQUAL", "version": str(version)}


def unchanged(row: Row) -> JSON:
    """A condition: the row is still the same."""
    return {"key": _text(row.key), "target": "MOD", "result": "EQUAL", "mod_revision": str(row.revision)}


def txn(
    conditions: Iterable[JSON], success: Iterable[Change | Get], failure: Iterable[Change | Get] = ()
) -> JSON:
    """A transaction."""
    return {
        "compare": list(conditions),
        "success": [operation.to_json() for operation in success],
        "failure": [operation.to_json() for operation in failure],
    }


def answer(response: JSON) -> Answer:
    """What the response to a transaction says."""
    gets = []
    for part in response.get("responses", ()):
        if "response_range" in part:
            gets.append(next(rows(part["response_range"]), None))
    header = response["header"]
    succeeded = response.get("succeeded", False)
    return Answer(succeeded, int(header["revision"]), header.get("cluster_id", ""), gets)


def reading(response: JSON) -> Answer:
    """What the response to the reading of one row says."""
    header = response["header"]
    row = next(rows(response), None)
    return Answer(True, int(header["revision"]), header.get("cluster_id", ""), [row])


def page(
    start: bytes,
    end: bytes,
    revision: int,
    limit: int,
    *,
    changed_from: int = 0,
    changed_to: int = 0,
    keys_only: bool = False,
) -> JSON:
    """A reading of some rows as they were at a revision, in the order of their keys.

    @param limit: how many at most.
    @param changed_from: only those whose last change was no earlier, and
    @param changed_to: no later; 0 for any.
    """
    request = _range(start, end) | {"revision": str(revision), "limit": str(limit)}
    if changed_from:
        request["min_mod_revision"] = str(changed_from)
    if changed_to:
        request["max_mod_revision"] = str(changed_to)
    if keys_only:
        request["keys_only"] = True
    return request


def rows(response: JSON) -> Iterator[Row]:
    """The rows in the response to a reading."""
    return (row(kv) for kv in response.get("kvs", ()))


def row(kv: JSON) -> Row:
    """A row out of JSON."""
    key, value = b64decode(kv["key"]), b64decode(kv.get("value", ""))
    revision, created = int(kv.get("mod_revision", 0)), int(kv.get("create_revision", 0))
    return Row(key, value, revision, int(kv.get("version", 0)), created)


def watch(start: bytes, end: bytes, revision: int) -> JSON:
    """The request for all that is put in a range from a revision on."""
    request = _range(start, end) | {
        "start_revision": str(revision),
        "filters": ["NODELETE"],
        "fragment": True,
    }
    return {"create_request": request}


def groups(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """The same in groups that fit in a transaction each, in order; none both removes and puts."""
    group: list[Change] = []
    size = 0
    for change in changes:
        kind = bool(group) and type(group[-1]) is not type(change)
        if kind or len(group) == OPERATIONS or (group and size + change.size > REQUEST_BYTES):
            yield group
            group, size = [], 0
        group.append(change)
        size += change.size
    if group:
        yield group


def fits(changes: Sequence[Change]) -> bool:
    """Whether they can be one transaction: few and short, and nothing is both removed and put."""
    if len(changes) > OPERATIONS or sum(change.size for change in changes) > REQUEST_BYTES:
        return False
    removed = [change for change in changes if isinstance(change, Remove)]
    put = [change.key for change in changes if isinstance(change, Put)]
    return not any(remove.covers(key) for remove in removed for key in put)


def _range(start: bytes, end: bytes) -> JSON:
    return {"key": _text(start), "range_end": _text(end)} if end else {"key": _text(start)}


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
