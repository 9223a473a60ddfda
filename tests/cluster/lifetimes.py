"""Whether keys with a ttl have run out when they should, whoever gave them more time meanwhile.

Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.cluster.events import CLOCKS, Watched
from tests.cluster.histories import Breach, Operation, Outcome


def check_lifetimes(
    watched: Mapping[str, Watched], history: Iterable[Operation], last: int, apart: float
) -> Iterator[Breach]:
    """What is wrong with when keys have run out.

    @param watched: by server.
    @param history: all that was done to keys; each was made once, and then only updated while it was there.
    @param last: the index up to which all servers must have shown everything.
    @param apart: by how many seconds the servers' clocks differ.
    """
    ends: dict[str, set[int]] = defaultdict(set)
    for one in watched.values():
        for event in one.events:
            if event.action == "expire":
                ends[event.key].add(event.index)
    shown_all = any(not one.gaps for one in watched.values())
    keys: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        if operation.outcome is not Outcome.FAILED:
            keys[operation.request.key].append(operation)
    for key in sorted({*ends, *keys}):
        own, indices = keys[key], sorted(ends[key])
        if not own:
            yield Breach(f"nobody asked for {key}, and it has run out")
        elif len(indices) > 1:
            yield Breach(f"{key} has run out {len(indices)} times", tuple(own))
        elif indices:
            shown = min(one.expired[key] for one in watched.values() if key in one.expired)
            yield from _ended(key, own, indices[0], shown, apart)
        elif shown_all:
            yield from _stayed(key, own, last)


def _ended(key: str, own: Sequence[Operation], end: int, shown: float, apart: float) -> Iterator[Breach]:
    """Whether a key may have run out at that index, and been shown to have at that time."""
    written = sorted((each for each in own if each.done), key=lambda each: each.index)
    latest = [each for each in written if each.index < end][-1:]
    unknown = [each for each in own if each.outcome is Outcome.UNKNOWN and each.invoked < shown]
    if not any(_may_end(each, shown, apart) for each in (*latest, *unknown)):
        begun = min((each.invoked for each in latest), default=0.0)
        yield Breach(f"{key} has run out {shown - begun:.3f} s after the latest write", tuple(own), *latest)
    for each in own:
        late = each.done and each.index > end
        early = each.outcome is Outcome.REFUSED and each.index < end
        if late or early:
            yield Breach(f"{key} has run out at {end}", tuple(own), each)


def _may_end(write: Operation, shown: float, apart: float) -> bool:
    ttl = write.request.ttl
    return ttl is not None and shown >= write.invoked + ttl - apart - CLOCKS


def _stayed(key: str, own: Sequence[Operation], last: int) -> Iterator[Breach]:
    """Whether a key may not have run out."""
    for each in own:
        if each.outcome is Outcome.REFUSED:
            yield Breach(f"{key} has not run out", tuple(own), each)
    unknown = any(each.outcome is Outcome.UNKNOWN for each in own)
    latest = max((each for each in own if each.done), key=lambda each: each.index, default=None)
    if latest is not None and latest.request.ttl is not None and latest.index < last and not unknown:
        yield Breach(f"{key} has never run out", tuple(own), latest)
