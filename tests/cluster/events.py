"""Whether what watches have seen at each server is one and the same sequence, and the one that clients made.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.cluster.histories import Breach, Kind, Operation, Outcome

# By how many seconds the clocks for ttls and histories may have drifted apart.
CLOCKS = 0.05


@dataclass(frozen=True)
class Event:
    """An event as a watch shows it."""

    index: int
    action: str
    key: str
    value: str


@dataclass
class Watched:
    """What one server's watch has shown.

    @ivar events: as they came.
    @ivar gaps: indices, first and last, that the server has said it no longer has (errorCode 401).
    @ivar expired: when a key was shown to have run out, by the clock of the history.
    """

    events: list[Event] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    expired: dict[str, float] = field(default_factory=dict)

    def excused(self, index: int) -> bool:
        """Whether the server has said that it cannot show the event of that index."""
        return any(first <= index <= last for first, last in self.gaps)


def check_same(watched: Mapping[str, Watched], first: int, last: int) -> Iterator[Breach]:
    """Where the watches have not seen the same, in the same order.

    @param watched: by server.
    @param first: the index from which on everything is watched.
    @param last: the index up to which all servers must have shown everything.
    """
    for server, one in watched.items():
        yield from _in_order(server, one)
    everything = _everything(watched)
    for server, one in watched.items():
        yield from _complete(server, one, everything, first, last)


def check_events(
    watched: Mapping[str, Watched], history: Iterable[Operation], first: int, last: int, apart: float = 0.0
) -> Iterator[Breach]:
    """What is wrong with what the watches have seen.

    @param watched: by server.
    @param history: all that was done below the watched directory.
    @param first: the index from which on everything is watched.
    @param last: the index up to which all servers must have shown everything.
    @param apart: by how many seconds the servers' clocks differ.
    """
    yield from check_same(watched, first, last)
    everything, history = _everything(watched), list(history)
    yield from _as_asked(everything, history, watched, first, last)
    yield from _run_out(everything, history, watched, last, apart)


def _everything(watched: Mapping[str, Watched]) -> dict[int, Event]:
    return {event.index: event for one in watched.values() for event in one.events}


def _in_order(server: str, one: Watched) -> Iterator[Breach]:
    for before, event in zip(one.events, one.events[1:], strict=False):
        if event.index <= before.index:
            yield Breach(f"{server} shows {_put(event)} after {_put(before)}")


def _complete(
    server: str, one: Watched, everything: Mapping[int, Event], first: int, last: int
) -> Iterator[Breach]:
    shown = {event.index: event for event in one.events}
    for index in sorted(everything):
        event, own = everything[index], shown.get(index)
        if own is None and first <= index <= last and not one.excused(index):
            yield Breach(f"{server} has not shown {_put(event)}")
        elif own is not None and own != event:
            yield Breach(f"{server} shows {_put(own)}, another {_put(event)}")


def _as_asked(
    everything: Mapping[int, Event],
    history: list[Operation],
    watched: Mapping[str, Watched],
    first: int,
    last: int,
) -> Iterator[Breach]:
    writers = {each.request.value: each for each in history if each.request.value}
    by_value: dict[str, Event] = {}
    for index in sorted(everything):
        event = everything[index]
        if event.action in ("delete", "expire"):
            continue
        writer = writers.get(event.value)
        if event.value in by_value:
            yield Breach(
                f"done twice: {_put(by_value[event.value])} and {_put(event)}", (writer,) if writer else ()
            )
        elif writer is None:
            yield Breach(f"nobody asked for {_put(event)}")
        elif writer.outcome in (Outcome.REFUSED, Outcome.FAILED):
            yield Breach(f"done all the same: {_put(event)}", (writer,))
        by_value[event.value] = event
    for operation in history:
        if not operation.done or not first <= operation.index <= last:
            continue
        shown = everything.get(operation.index)
        if shown is None:
            if not any(one.excused(operation.index) for one in watched.values()):
                yield Breach("no watch has shown", (operation,))
        elif not _fits(shown, operation):
            yield Breach(f"watches show {_put(shown)} for", (operation,))


def _run_out(
    everything: Mapping[int, Event],
    history: list[Operation],
    watched: Mapping[str, Watched],
    last: int,
    apart: float,
) -> Iterator[Breach]:
    """Whether each key with a ttl has run out, once and not too early, and no other has."""
    asked = {each.request.key: each for each in history if each.request.ttl is not None}
    expired: dict[str, Event] = {}
    for index in sorted(everything):
        event = everything[index]
        if event.action != "expire":
            continue
        creation = asked.get(event.key)
        if creation is None or event.key in expired:
            again = expired.get(event.key)
            yield Breach(f"{_put(again)} and {_put(event)}" if again else f"nobody asked for {_put(event)}")
            continue
        expired[event.key] = event
        shown = min(one.expired[event.key] for one in watched.values() if event.key in one.expired)
        if shown < creation.invoked + (creation.request.ttl or 0) - apart - CLOCKS:
            yield Breach(f"too early, after {shown - creation.invoked:.3f} s: {_put(event)}", (creation,))
    for event in everything.values():
        stays = event.action == "create" and event.key in asked and event.key not in expired
        shown_all = any(all(end <= event.index for _, end in one.gaps) for one in watched.values())
        if stays and event.index < last and shown_all:
            yield Breach("has never run out", (asked[event.key],))


def _fits(event: Event, operation: Operation) -> bool:
    request = operation.request
    if operation.kind is Kind.APPEND:
        return (event.action, event.key) == ("create", f"{request.key}/{event.index:020}")
    return (event.action, event.key, event.value) == (operation.kind.value, request.key, request.value)


def _put(event: Event) -> str:
    return f"{event.action} {event.key}{event.value and ' = '}{event.value} @{event.index}"
