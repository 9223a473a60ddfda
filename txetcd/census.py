"""How many keys there are, known without a walk through them."""

from __future__ import annotations

from txetcd.events import Event
from txetcd.tree import File


class Census:
    """Counts files, hidden ones too.

    @ivar files: how many there are.  Those of a directory that was removed as a whole are still among them;
        whoever takes that apart can tell how many they were.
    """

    __slots__ = ("files",)

    def __init__(self) -> None:
        self.files = 0

    def add(self, event: Event) -> None:
        """Note what an event means for the count."""
        if type(event.node) is File:
            self.files += 1
        if type(event.prev) is File:
            self.files -= 1
