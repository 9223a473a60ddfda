"""A program of Python's as on a machine whose clock is wrong, by so many seconds from the true time.

    python -m tests.cluster.clocks 2.5 /usr/bin/twistd -n txetcd ...

It knows no other time: neither what it is itself nor what it imports was imported before.
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Sequence


def wrong(seconds: float, command: Sequence[str]) -> list[str]:
    """The command line for a program whose clock is ahead by so many seconds, or behind if less than 0."""
    return [sys.executable, "-m", "tests.cluster.clocks", str(seconds), *command]


def main(ahead: str, program: str, *arguments: str) -> None:
    """Run a program in this process."""
    seconds = float(ahead)
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + round(seconds * 1e9)
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
