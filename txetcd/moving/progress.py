"""What a command says on stderr while it works: a bar on a terminal, and lines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TextIO

from tqdm import tqdm  # type: ignore[import-untyped]


class Progress:
    """Tells how far a command is.

    @param name: of the command, which its lines begin with.
    @param stream: where to.
    @ivar on_terminal: whether that is a terminal; bars are only shown on one.
    """

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self._stream = stream
        self.on_terminal = stream.isatty()

    def say(self, text: str) -> None:
        """Say something, in a line of its own."""
        tqdm.write(f"{self._name}: {text}", file=self._stream)

    @contextlib.contextmanager
    def bar(self, doing: str, total: int | None = None) -> Iterator[Callable[[], object]]:
        """Show how many keys have been worked on; gives what to call for each.

        @param total: how many there are; None if nobody knows.
        """
        with self._tqdm(desc=doing, total=total, unit=" keys") as bar:
            yield bar.update

    @contextlib.contextmanager
    def bytes(self, doing: str) -> Iterator[Callable[[int, int], object]]:
        """Show how many bytes have been worked on; gives what to call with that, and how many there are."""
        with self._tqdm(desc=doing, total=0, unit="B", unit_scale=True) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield show

    @contextlib.contextmanager
    def status(self) -> Iterator[Callable[[str], object]]:
        """Show a status; gives what to call with it, again and again.

        Where there is no terminal each new one is a line.
        """
        said = ""

        def say(text: str) -> None:
            nonlocal said
            if text != said:
                said = text
                self.say(text)

        with self._tqdm(bar_format="{desc}") as bar:
            yield bar.set_description_str if self.on_terminal else say

    def _tqdm(self, **options: object) -> tqdm:
        return tqdm(
            file=self._stream, disable=not self.on_terminal, dynamic_ncols=True, leave=False, **options
        )
