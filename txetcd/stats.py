"""What a store counts: what it was asked for, as `/v2/stats/store` shows it, and its commits.

Counting is a few additions to plain numbers; what becomes of the numbers is for whoever shows them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from txetcd.auth_commands import AuthCommand
from txetcd.commands import (
    AnyCommand,
    Command,
    CompareAndDelete,
    CompareAndSwap,
    Create,
    Delete,
    Expire,
    Set,
    Update,
)

_NAMES: dict[type[Command], str] = {
    Set: "sets",
    Delete: "delete",
    Update: "update",
    Create: "create",
    CompareAndSwap: "compareAndSwap",
    CompareAndDelete: "compareAndDelete",
}


def _zeros() -> dict[str, int]:
    return {name + result: 0 for name in ("gets", *_NAMES.values()) for result in ("Success", "Fail")}


@dataclass(slots=True)
class StoreStats:
    """Counts since the store was started.

    @ivar counts: by etcd's own names, such as `getsSuccess`.
    @ivar expired: how many keys ran out.
    """

    counts: dict[str, int] = field(default_factory=_zeros)
    expired: int = 0

    def read(self, found: bool) -> None:
        """Count a read."""
        self.counts["getsSuccess" if found else "getsFail"] += 1

    def write(self, command: AnyCommand, events: int) -> None:
        """Count a command and the events that it made; one for a key without any was refused."""
        if isinstance(command, Expire):
            self.expired += events
        elif not isinstance(command, AuthCommand):
            self.counts[_NAMES[type(command)] + ("Success" if events else "Fail")] += 1


class Histogram:
    """How often a value was how large.

    @param bounds: the largest value of each bucket, in ascending order; one bucket more takes what is larger.
    @ivar sum: of all values.
    """

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound, infinity last, and how many values were no larger."""
        return zip((*self._bounds, float("inf")), accumulate(self._counts), strict=True)


# A batch has 512 commands at most.
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
# From a fast disk to one that is in trouble.
_COMMIT_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


@dataclass(slots=True)
class CommitStats:
    """Counts of group commit.

    @ivar commands: how many commands the batches had that were made durable, and
    @ivar seconds: how long it took until each was durable and evaluated.
    @ivar failed: how many batches could not be.
    """

    commands: Histogram = field(default_factory=lambda: Histogram(_BATCHES))
    seconds: Histogram = field(default_factory=lambda: Histogram(_COMMIT_SECONDS))
    failed: int = 0


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """What a running store can tell of itself at one moment, all of it at hand.

    @ivar accepting: whether it takes writes.
    @ivar index: of the latest change.
    @ivar raft_index: how many commands have been evaluated.
    @ivar keys: how many keys have a value, hidden ones too; those of a directory that was just removed go a
        little later.
    @ivar watching: how many watches wait.
    @ivar waiting: how many writes are not yet durable.
    @ivar history: how many events are kept,
    @ivar oldest_index: the index of the oldest of them, and
    @ivar oldest_time: when that one was asked for, in nanoseconds since the epoch; None without any.
    @ivar stats: what it was asked for.
    @ivar commits: what became of the batches.
    """

    accepting: bool
    index: int
    raft_index: int
    keys: int
    watching: int
    waiting: int
    history: int
    oldest_index: int
    oldest_time: int | None
    stats: StoreStats
    commits: CommitStats
