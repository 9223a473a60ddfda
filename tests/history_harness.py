"""Histories of operations, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.cluster.histories import Answer, Kind, Operation, Outcome, Request, Seen

Shown = tuple[str, int]


def operation(
    kind: Kind,
    began: float,
    ended: float,
    value: str = "",
    index: int = 0,
    shown: Sequence[Shown] = (),
    *,
    previous: str | int | None = None,
    key: str = "/k",
    server: str = "s",
) -> Operation:
    """One that was done."""
    answer = Answer(index, tuple(Seen(*each) for each in shown))
    return Operation("c", server, Request(kind, key, value, previous), began, ended, Outcome.OK, answer)


def wrote(began: float, ended: float, value: str, index: int, *replaced: Shown, **more: Any) -> Operation:
    """A set."""
    return operation(Kind.SET, began, ended, value, index, replaced, **more)


def read(began: float, ended: float, index: int, *shown: Shown, **more: Any) -> Operation:
    """A quorum read of a file."""
    return operation(Kind.GET, began, ended, "", index, shown, **more)


def looked(began: float, ended: float, index: int, *shown: Shown, **more: Any) -> Operation:
    """A plain read of a file."""
    return operation(Kind.LOOK, began, ended, "", index, shown, **more)


def listed(began: float, ended: float, index: int, *shown: Shown) -> Operation:
    """A quorum read of a directory."""
    return operation(Kind.LIST, began, ended, "", index, shown)


def swapped(
    began: float, ended: float, previous: str | int, value: str, index: int, *replaced: Shown
) -> Operation:
    """A compareAndSwap that succeeded."""
    return operation(Kind.SWAP, began, ended, value, index, replaced, previous=previous)


def refused(
    kind: Kind,
    began: float,
    ended: float,
    index: int,
    code: int,
    cause: str = "",
    *,
    previous: str | int | None = None,
    value: str = "",
) -> Operation:
    """One that was refused."""
    request = Request(kind, "/k", value, previous)
    answer = Answer(index, code=code, cause=cause)
    return Operation("c", "s", request, began, ended, Outcome.REFUSED, answer)


def unanswered(kind: Kind, began: float, value: str = "", previous: str | int | None = None) -> Operation:
    """One that was never answered."""
    return Operation("c", "s", Request(kind, "/k", value, previous), began)
