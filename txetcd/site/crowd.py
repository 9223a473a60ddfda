"""How many connections come from where."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress

from txetcd.origin import is_local, origin


class Crowd:
    """Counts connections by their origin; those of this machine are not counted.

    @param most: how many there may be of one; 0 for any number.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[str, int] = {}

    def enter(self, peer: IAddress | None) -> bool:
        """Count one more, unless there are too many; tell whether it was counted."""
        where = origin(peer) if self._most else ""
        if is_local(where):
            return True
        count = self._counts.get(where, 0)
        if count >= self._most:
            return False
        self._counts[where] = count + 1
        return True

    def leave(self, peer: IAddress | None) -> None:
        """One that was counted is gone."""
        where = origin(peer) if self._most else ""
        if not is_local(where):
            count = self._counts.pop(where) - 1
            if count:
                self._counts[where] = count
