"""What is measured: figures, their medians over the rounds, and the ratio of two sides.  Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One kind of number; its name says the unit."""

    name: str
    more_is_better: bool = False


Figures = Mapping[Figure, float]
"""The numbers of one side, from one round or as medians of several."""

RATE = Figure("requests/s", more_is_better=True)
P99 = Figure("p99, ms")
CPU = Figure("CPU µs a request")


@dataclass(frozen=True)
class Result:
    """A row's medians.

    `sides` are those of the two sides by their labels; the first is the one that the ratio judges.
    """

    name: str
    sides: Mapping[str, Figures]

    @property
    def labels(self) -> tuple[str, ...]:
        """What the sides are called."""
        return tuple(self.sides)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """What was measured."""
        return tuple(next(iter(self.sides.values())))

    def values(self, figure: Figure) -> tuple[float, float]:
        """One figure of both sides."""
        first, second = (figures[figure] for figures in self.sides.values())
        return first, second

    def ratio(self, figure: Figure) -> float:
        """How many times better the first side is; less than 1 is worse, whatever the figure."""
        first, second = self.values(figure)
        better, worse = (first, second) if figure.more_is_better else (second, first)
        return better / worse if worse else float("inf")


def medians(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure over all rounds."""
    return {figure: statistics.median(measured[figure] for measured in rounds) for figure in rounds[0]}
