"""Long values of a journal: each is written once, and rows that have it refer to it by a number.

A write with a long value is in the log, then in a node and in one or two events of the history: that would be
as many copies.  A value can go when the last row that refers to it has gone.  No SQL is here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Values of more characters are long.
LONG = 1024

# What stands for a long value in JSON is an object with its number under this name.
_NAME = "value"

Holder = tuple[str, str | int]
"""A row that may have long values: the name of its table, and what it is called there."""


class LongValues:
    """The long values that there are, by their numbers, and which rows have them.

    A value is known by its identity: a store hands on the very text that it was given.  What has been changed
    since the last `commit` can be taken back.

    @param texts: those that are there already.
    """

    def __init__(self, texts: dict[int, str]) -> None:
        self._texts = texts
        # The identity of a text is its own as long as the text is kept above.
        self._numbers = {id(text): number for number, text in texts.items()}
        self._next = max(texts, default=0) + 1
        self._held: dict[Holder, list[int]] = {}
        self._uses = dict.fromkeys(texts, 0)
        self._unused = set(texts)
        self._added: list[int] = []
        # What rows had before they were changed, in order.
        self._before: list[tuple[Holder, list[int]]] = []

    # Of a row that is read

    def text(self, number: int, holder: Holder) -> str:
        """The value that a row refers to.

        @raise ValueError: when it is missing.
        """
        if number not in self._texts:
            raise ValueError(f"value {number} is missing")
        self._hold(holder, number)
        return self._texts[number]

    def restoring(self, holder: Holder) -> Callable[[dict[str, Any]], str]:
        """What puts the values back into a row's JSON, as the `object_hook` of `json.loads`."""
        return lambda stand_in: self.text(stand_in[_NAME], holder)

    # Of a row that is written

    def number(self, value: str, holder: Holder) -> int:
        """The number under which a row refers to a value from now on."""
        number = self._numbers.get(id(value))
        if number is None:
            number, self._next = self._next, self._next + 1
            self._texts[number] = value
            self._numbers[id(value)] = number
            self._uses[number] = 0
            self._added.append(number)
        self._hold(holder, number)
        return number

    def replacing(self, holder: Holder) -> Callable[[str], Any]:
        """What gives a row's JSON the stand-in of a value, if that is long, and the value itself if not."""

        def replace(value: str) -> Any:
            return value if len(value) <= LONG else {_NAME: self.number(value, holder)}

        return replace

    def release(self, holder: Holder) -> None:
        """A row has gone, or is about to be written anew."""
        released = self._held.pop(holder, None)
        if released is not None:
            self._before.append((holder, released))
            for number in released:
                self._count(number, -1)

    # Of a transaction

    def added(self) -> list[tuple[int, str]]:
        """The values that are new since the last `commit`, with their numbers."""
        return [(number, self._texts[number]) for number in self._added]

    def unused(self) -> list[int]:
        """The numbers of the values that no row has any more."""
        return sorted(self._unused)

    def commit(self, deleted: list[int]) -> None:
        """What has been changed remains so.

        @param deleted: the numbers of unused values that are no more.
        """
        self._added.clear()
        self._before.clear()
        for number in deleted:
            self._forget(number)

    def roll_back(self) -> None:
        """Be as after the last `commit`."""
        for holder, numbers in reversed(self._before):
            for number in self._held.pop(holder, ()):
                self._count(number, -1)
            if numbers:
                self._held[holder] = numbers
                for number in numbers:
                    self._count(number, 1)
        for number in self._added:
            self._forget(number)
        self._added.clear()
        self._before.clear()

    def __bool__(self) -> bool:
        return bool(self._texts)

    def _hold(self, holder: Holder, number: int) -> None:
        numbers = self._held.get(holder)
        if numbers is None:
            self._before.append((holder, []))
            numbers = self._held[holder] = []
        numbers.append(number)
        self._count(number, 1)

    def _count(self, number: int, more: int) -> None:
        self._uses[number] += more
        if self._uses[number]:
            self._unused.discard(number)
        else:
            self._unused.add(number)

    def _forget(self, number: int) -> None:
        del self._numbers[id(self._texts.pop(number))]
        del self._uses[number]
        self._unused.discard(number)
