"""The rows of a store in an etcd v3 cluster: their keys and values.  Functions of their arguments.

All keys begin with the prefix and a slash; what else lies there is nobody's concern here:

    /checkpoint          what place in the order the rows below `node` are at
    /auth                users and roles there
    /node/<key>          a file or directory there
    /event/<index>/<n>   recent events up to an index, in pieces
    /stage/<id>/<n>      changes of a checkpoint that is too large for one transaction, some in each
    /log/<gateway>/<n>   a batch
    /log/head            put with each batch, so that its version counts them
    /gateway/<gateway>   put with each batch of a gateway, likewise; gone when the gateway is
    /member/<digest>     what a gateway tells the others of itself; gone when the gateway is, but sooner

Values are JSON, or begin with it.  What text is not UTF-8 there comes of bytes that are not in the API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha1
from typing import Any

from rpds import HashTrieMap

from txetcd.commands import decode, encode
from txetcd.events import Event
from txetcd.journal import Batch
from txetcd.journal.etcd.wire import Change, Put, RefusedError, Remove, Row, below
from txetcd.tree import Dir, Entry, Node

FORMAT = 1

# How long the row of a batch may be, in bytes: it and what comes of it has to fit in a request.
BATCH_BYTES = 1_500_000
# How many bytes of events are one row.
_EVENT_BYTES = 1_000_000

_LOG_KEY = re.compile(rb"[0-9a-f]{16}/[0-9]{20}")


class DamagedError(RefusedError):
    """A row of ours does not say what we could have written."""


@dataclass(frozen=True, slots=True)
class State:
    """The checkpoint row.

    @ivar cluster_id: drawn once, with the first row of all.
    @ivar position: of the last batch that the rows include, counted from 1.
    @ivar revision: the engine's revision of that batch.
    @ivar index: the store's index, and
    @ivar raft_index: its count of commands, there.
    @ivar oldest_event: the index of the oldest event that counts.
    @ivar writer: names the gateway that wrote the checkpoint; empty for the first of all.
    @ivar stage: where the changes are that have yet to be made before the rows are at that place; empty if
        they are.
    """

    cluster_id: int
    position: int
    revision: int
    index: int
    raft_index: int
    oldest_event: int
    writer: str
    stage: str = ""

    def encode(self) -> bytes:
        """The row's value."""
        return _dump({"format": FORMAT} | asdict(self))

    @classmethod
    def decode(cls, value: bytes) -> State:
        """What `encode` made the value of.

        @raise DamagedError: when it is none of its, or of another format.
        """
        fields = _load(value)
        if not isinstance(fields, dict) or "format" not in fields:
            raise DamagedError("the row /checkpoint is not txetcd's")
        found = fields.pop("format")
        if found != FORMAT:
            raise DamagedError(f"the rows have format {found}, and this txetcd knows only {FORMAT}")
        try:
            return cls(**fields)
        except TypeError:
            raise DamagedError("the row /checkpoint is damaged") from None


class Layout:
    """The keys below a prefix.

    @ivar checkpoint, auth, head: single rows.
    @ivar nodes, events, stages, log, members: ranges.
    """

    def __init__(self, prefix: str) -> None:
        base = to_bytes(prefix)
        self.checkpoint = base + b"/checkpoint"
        self.auth = base + b"/auth"
        self.head = base + b"/log/head"
        self.nodes = below(base + b"/node")
        self.events = below(base + b"/event")
        self.stages = below(base + b"/stage")
        self.log = below(base + b"/log")
        self.members = below(base + b"/member")
        self._gateways = base + b"/gateway/"

    def gateway(self, gateway: str) -> bytes:
        """The row that counts a gateway's batches."""
        return self._gateways + gateway.encode()

    def batch(self, gateway: str, number: int) -> bytes:
        """The row of a gateway's batch."""
        return self.log[0] + f"{gateway}/{number:020d}".encode()

    def is_batch(self, key: bytes) -> bool:
        """Whether a key in the range of the log is that of a batch."""
        return _LOG_KEY.fullmatch(key[len(self.log[0]) :]) is not None

    def named(self, key: bytes) -> tuple[str, int]:
        """Which gateway's batch a key is of, and which of its batches."""
        gateway, _, number = key[len(self.log[0]) :].decode().partition("/")
        return gateway, int(number)

    def stage(self, stage: str) -> bytes:
        """What the keys of one checkpoint's changes are below."""
        return self.stages[0] + stage.encode()

    def member(self, value: bytes) -> bytes:
        """The row of what a gateway tells of itself."""
        return self.members[0] + sha1(value).hexdigest()[:16].encode()

    # Nodes

    def node(self, key: str) -> bytes:
        """The row of a v2 key."""
        return self.nodes[0][:-1] + to_bytes(key)

    def put_node(self, node: Node) -> Put:
        """Write a node, without its children."""
        fields: dict[str, Any] = {"dir": True} if isinstance(node, Dir) else {"value": node.value}
        fields |= {"created": node.created, "modified": node.modified}
        if node.expiration is not None:
            fields["expiration"] = node.expiration
        return Put(self.node(node.key), _dump(fields))

    def to_entry(self, row: Row) -> Entry:
        """The node of a row, as the tree has it.

        @raise DamagedError: when the row is none.
        """
        key = to_text(row.key[len(self.nodes[0]) - 1 :])
        fields = _load(row.value)
        try:
            created, modified, ends = fields["created"], fields["modified"], fields.get("expiration")
            if "value" in fields:
                return (key, fields["value"], created, modified, ends)
            return Dir(key, HashTrieMap(), created, modified, ends)
        except (TypeError, KeyError, AttributeError):
            raise DamagedError(f"the row of {key!r} is damaged") from None

    # Events

    def put_events(self, events: Sequence[Event]) -> list[Put]:
        """Write events."""
        if not events:
            return []
        data = b"\n".join(_compact(event.encode()) for event in events)
        pieces = [data[start : start + _EVENT_BYTES] for start in range(0, len(data), _EVENT_BYTES)]
        name = b"%020d/" % events[-1].index
        return [Put(self.events[0] + name + b"%04d" % place, part) for place, part in enumerate(pieces)]

    def remove_events(self, oldest: int) -> Remove:
        """Remove events that are all older than an index."""
        return Remove(self.events[0], self.events[0] + b"%020d" % oldest)

    def to_events(self, rows: Iterable[Row], first: int, last: int) -> list[Event]:
        """The events of rows, from the first index to the last.

        @raise DamagedError: when one of them is not there.
        """
        texts: dict[bytes, list[bytes]] = {}
        for row in rows:
            texts.setdefault(row.key.rpartition(b"/")[0], []).append(row.value)
        try:
            lines = [line for pieces in texts.values() for line in b"".join(pieces).split(b"\n")]
            events = [Event.decode(to_text(line)) for line in lines]
        except (ValueError, TypeError):
            raise DamagedError("an event is damaged") from None
        events = [event for event in events if first <= event.index <= last]
        if [event.index for event in events] != list(range(first, last + 1)):
            raise DamagedError("an event is missing")
        return events


def encode_batch(batch: Batch) -> bytes:
    """The value of a batch's row."""
    return f"{batch.origin} {batch.number}\n".encode() + _compact(encode(batch.commands))


def decode_batch(value: bytes) -> Batch:
    """What `encode_batch` made the value of.

    @raise DamagedError: when it is none of its.
    """
    try:
        head, _, commands = to_text(value).partition("\n")
        origin, _, number = head.rpartition(" ")
        return Batch(origin, int(number), tuple(decode(commands)))
    except ValueError as error:
        raise DamagedError(f"a batch is damaged: {error}") from None


def encode_change(change: Change) -> bytes:
    """A change of rows, as a part of the value of a row that keeps it for later."""
    if isinstance(change, Remove):
        return _dump(["remove", to_text(change.key), to_text(change.end)]) + b"\n"
    return _dump(["put", to_text(change.key), len(change.value)]) + b"\n" + change.value


def decode_changes(value: bytes) -> Iterator[Change]:
    """The changes of which `encode_change` made the parts of a value."""
    at = 0
    while at < len(value):
        end = value.index(b"\n", at)
        kind, key, more = _load(value[at:end])
        at = end + 1
        if kind == "put":
            yield Put(to_bytes(key), value[at : at + more])
            at += more
        else:
            yield Remove(to_bytes(key), to_bytes(more))


def to_bytes(text: str) -> bytes:
    """Text as the bytes it was read from."""
    return text.encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    """Bytes as text, whatever they are."""
    return data.decode("utf-8", "surrogateescape")


def _dump(value: object) -> bytes:
    return to_bytes(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def _load(value: bytes) -> Any:
    try:
        return json.loads(to_text(value))
    except ValueError:
        return None


def _compact(text: str) -> bytes:
    """JSON with nothing escaped that need not be: an escape takes up to six times the bytes."""
    return _dump(json.loads(text)) if "\\u" in text else text.encode()
