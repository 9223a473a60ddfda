"""How results look: lines on a terminal, a Markdown table, an SVG plot.  Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from html import escape

from benchmarks.figures import CPU, P99, RATE, Figure, Result

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
CLUSTER_BEGIN, CLUSTER_END = "<!-- cluster figures: begin -->", "<!-- cluster figures: end -->"
REQUESTS = (RATE, P99, CPU)

# The plot, in its own units.
WIDTH, LABELS, VALUES = 900, 410, 50
LINE, BAR, TOP, BOTTOM = 34, 11, 44, 16
STYLE = """
text { font-family: sans-serif; font-size: 13px; fill: #24292f }
.rate { fill: #2f81f7 } .cpu { fill: #d18616 } .even { stroke: #24292f; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .even { stroke: #e6edf3 } }
"""


def number(value: float) -> str:
    """A number with about three digits that count."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def lines(result: Result) -> str:
    """A result for the terminal: a line for each figure."""
    first, second = result.labels
    texts = [f"{result.name}"]
    for figure in result.figures:
        ours, theirs = result.values(figure)
        texts.append(
            f"  {figure.name:40}{first} {number(ours):>9}   {second} {number(theirs):>9}"
            f"   ratio {result.ratio(figure):.2f}"
        )
    return "\n".join(texts)


def markdown(results: Sequence[Result]) -> str:
    """Tables of all results: those of requests have one line a row, the others one a figure."""
    tables = []
    for (labels, requests), group in itertools.groupby(results, lambda r: (r.labels, r.figures == REQUESTS)):
        tables.append((_request_table if requests else _figure_table)(labels, list(group)))
    return "\n\n".join(tables)


def _request_table(labels: tuple[str, ...], results: Sequence[Result]) -> str:
    heads = [head for figure in REQUESTS for head in (*(f"{figure.name}: {x}" for x in labels), "ratio")]
    rows = [
        [result.name, *itertools.chain.from_iterable(_cells(result, figure) for figure in REQUESTS)]
        for result in results
    ]
    return _table(["", *heads], 1, rows)


def _figure_table(labels: tuple[str, ...], results: Sequence[Result]) -> str:
    rows = [
        [result.name if i == 0 else "", figure.name, *_cells(result, figure)]
        for result in results
        for i, figure in enumerate(result.figures)
    ]
    return _table(["", "", *labels, "ratio"], 2, rows)


def _cells(result: Result, figure: Figure) -> list[str]:
    return [*(number(value) for value in result.values(figure)), f"**{result.ratio(figure):.2f}**"]


def _table(heads: Sequence[str], texts: int, rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * texts + ["---:"] * (len(heads) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def insert(document: str, generated: str, begin: str = BEGIN, end: str = END) -> str:
    """A document with another text between two marks.  Raises `ValueError` if it does not have them."""
    before, first, rest = document.partition(begin)
    _, second, after = rest.partition(end)
    if not first or not second:
        raise ValueError(f"there is no {begin} … {end}")
    return f"{before}{begin}\n\n{generated}\n\n{end}{after}"


def plot(results: Sequence[Result]) -> str:
    """An SVG of the ratios of requests/s and CPU, for the rows that have them and compare the same sides."""
    shown = [r for r in results if {RATE, CPU} <= set(r.figures) and r.labels == results[0].labels]
    largest = max([1.0, *(r.ratio(figure) for r in shown for figure in (RATE, CPU))])
    scale = (WIDTH - LABELS - VALUES) / largest
    height = TOP + LINE * len(shown) + BOTTOM
    first, second = results[0].labels
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(first)} beside {escape(second)}: ratios of requests/s and of CPU</title>",
        f"<style>{STYLE}</style>",
        f'<text x="{LABELS}" y="16"><tspan class="rate">■</tspan> requests/s   '
        f'<tspan class="cpu">■</tspan> CPU a request;   over 1 is in favour of {escape(first)}</text>',
    ]
    for i, result in enumerate(shown):
        y = TOP + LINE * i
        parts.append(f'<text x="{LABELS - 8}" y="{y + 16}" text-anchor="end">{escape(result.name)}</text>')
        for offset, name, figure in ((0, "rate", RATE), (BAR + 1, "cpu", CPU)):
            length = result.ratio(figure) * scale
            parts.append(
                f'<rect class="{name}" x="{LABELS}" y="{y + offset}" width="{length:.1f}" height="{BAR}"/>'
                f'<text x="{LABELS + length + 5:.1f}" y="{y + offset + 10}">{result.ratio(figure):.2f}</text>'
            )
    x = LABELS + scale
    parts.append(f'<line class="even" x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - BOTTOM}"/>')
    return "\n".join([*parts, "</svg>\n"])
