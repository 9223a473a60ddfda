"""Counters of what a store was asked for, as `/v2/stats/store` shows them."""

from __future__ import annotations

from dataclasses import dataclass, field

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
