"""Make a sequence that shows a difference as short as it can be, and text that can be tried by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from shlex import quote

from tests.differential.player import Difference
from tests.differential.servers import Ask
from tests.reference.conversation import Step

Play = Callable[[Sequence[Step]], Difference | None]


def shrink(steps: Sequence[Step], play: Play) -> tuple[list[Step], Difference] | None:
    """Leave out of a sequence whatever its difference does not need (delta debugging).

    @param play: plays a sequence; the first difference that it shows will do.
    @return: a sequence from which no single step can be left out, with its difference; None if the whole
        shows none when it is played again.
    """
    found = play(steps)
    if found is None:
        return None
    shortest = list(steps)
    size = len(shortest) // 2
    while size:
        start = 0
        while start < len(shortest):
            shorter = shortest[:start] + shortest[start + size :]
            again = play(shorter)
            if again is None:
                start += size
            else:
                shortest, found = shorter, again
        size //= 2
    return shortest, found


def as_curl(difference: Difference) -> str:
    """The requests of a difference as lines for a shell, and then the difference."""
    lines = [_line(step) if isinstance(step, Ask) else f"sleep {step.seconds}" for step in difference.steps]
    return "\n".join([*lines, f"# {difference.reason}"])


def _line(ask: Ask) -> str:
    words = ["curl", "-i", "-X", _text(ask.method)]
    for name, value in ask.headers:
        words += ["-H", quote(f"{_text(name)}: {_text(value)}")]
    if ask.body is not None:
        words += ["--data-binary", quote(_text(ask.body))]
    return " ".join([*words, quote("http://127.0.0.1:4001" + _text(ask.target))])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
