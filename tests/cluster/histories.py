"""What clients asked for and what came of it: operations, with the times at which they began and ended.

Pure.  Times are seconds of one monotonic clock.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What an operation asks for; the value says how reports put it."""

    SET = "set"
    CREATE = "create"
    SWAP = "compareAndSwap"
    UPDATE = "update"
    REFRESH = "refresh"
    DELETE = "delete"
    APPEND = "append"
    GET = "get"
    LIST = "list"
    LOOK = "look"

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self not in (Kind.GET, Kind.LIST, Kind.LOOK)


class Outcome(Enum):
    """What came of it; the value says how reports put it.

    OK: done.  REFUSED: not done, for a reason that tells of the key's state.  FAILED: never done, and
    nothing is told.  UNKNOWN: it may have been done, or be done later.
    """

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "?"


class Seen(NamedTuple):
    """A file as an answer shows it: its value and its modifiedIndex."""

    value: str
    modified: int


@dataclass(frozen=True)
class Request:
    """What is asked for.

    @ivar key: a file's; a directory's for APPEND and LIST.
    @ivar value: what to write; no two writes of a history write the same.
    @ivar previous: of a SWAP, the value (a string) or the modifiedIndex (a number) that must be there.
    @ivar ttl: the seconds that the key is to last; for ever if None.
    @ivar dir: whether it is a directory that is made, updated or, with all that is below it, deleted.
    """

    kind: Kind
    key: str
    value: str = ""
    previous: str | int | None = None
    ttl: int | None = None
    dir: bool = False


@dataclass(frozen=True)
class Answer:
    """What the server said.

    @ivar index: a write's own index, as modifiedIndex says; else the store's, as X-Etcd-Index says.
    @ivar seen: the files that a read shows, in order; of a write, what it has replaced, if anything.
    @ivar code: the errorCode of a refusal.
    @ivar cause: what a refusal gives as its cause.
    """

    index: int
    seen: tuple[Seen, ...] = ()
    code: int = 0
    cause: str = ""


@dataclass(frozen=True)
class Operation:
    """A request, when it began and ended, and what came of it.

    @ivar client: who asked.
    @ivar server: who was asked.
    @ivar returned: infinite for an outcome that is not known: it may still be done at any time.
    @ivar answer: of OK and REFUSED.
    """

    client: str
    server: str
    request: Request
    invoked: float
    returned: float = math.inf
    outcome: Outcome = Outcome.UNKNOWN
    answer: Answer | None = None

    @property
    def kind(self) -> Kind:
        """What it asks for."""
        return self.request.kind

    @property
    def done(self) -> bool:
        """Whether it is a write that was acknowledged."""
        return self.kind.writes and self.outcome is Outcome.OK

    @property
    def index(self) -> int:
        """The index that its answer names."""
        return self.answer.index if self.answer is not None else 0


@dataclass(frozen=True)
class Breach:
    """What a v2 server may never show, and the operations that show it.

    @ivar culprit: the one of them that does not fit the others, if that is known; reports point at it.
    """

    reason: str
    operations: tuple[Operation, ...] = ()
    culprit: Operation | None = None

    def __str__(self) -> str:
        ordered = sorted(self.operations, key=lambda operation: operation.invoked)
        lines = [
            f"{'=>' if operation is self.culprit else '  '}{_line(operation, ordered[0].invoked)}"
            for operation in ordered
        ]
        return "\n".join([self.reason, *lines])


def current_in(cause: str) -> str | None:
    """What a failed comparison says is there: C{v2} of C{[v1 != v2]}."""
    found = re.fullmatch(r"\[\S+ != (\S+)\]", cause)
    return found[1] if found else None


def _line(operation: Operation, origin: float) -> str:
    """An operation in words; its times are milliseconds since the origin."""
    request = operation.request
    asked = f"{request.kind.value} {request.key}"
    if request.previous is not None:
        at = "@" if isinstance(request.previous, int) else ""
        asked += f" if {at}{request.previous}"
    if request.value:
        asked += f" = {request.value}"
    if request.ttl is not None:
        asked += f" for {request.ttl} s"
    began = 1000 * (operation.invoked - origin)
    ended = "" if math.isinf(operation.returned) else f"{1000 * (operation.returned - origin):.1f}"
    who = f"{operation.client} at {operation.server}"
    return f"{began:9.1f} .. {ended:9} {who:22} {asked:44} {_outcome(operation)}".rstrip()


def _outcome(operation: Operation) -> str:
    answer = operation.answer
    if answer is None:
        return operation.outcome.value
    if operation.outcome is Outcome.REFUSED:
        return f"refused {answer.code} {answer.cause} at {answer.index}".replace("  ", " ")
    seen = ", ".join(f"{each.value}@{each.modified}" for each in answer.seen)
    if operation.kind.writes:
        return f"@{answer.index}" + (f", was {seen}" if seen else "")
    return f"{seen or 'empty'}, at {answer.index}"
