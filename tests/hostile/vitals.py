"""How a process is: what Linux tells of it."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
UNKNOWN = "" if sys.platform == "linux" else "only Linux tells what a process has"


@dataclass(frozen=True)
class Vitals:
    """What a process has.

    @ivar memory: resident bytes.
    @ivar descriptors: how many are open.
    @ivar processor: seconds of CPU that its main thread has used.
    """

    memory: int
    descriptors: int
    processor: float


def processor(pid: int) -> float:
    """The seconds of CPU that the main thread of a process has used."""
    return int((Path("/proc") / str(pid) / "schedstat").read_text().split()[0]) / 1e9


def vitals(pid: int) -> Vitals:
    """Look at a process."""
    directory = Path("/proc") / str(pid)
    return Vitals(
        memory=int((directory / "statm").read_text().split()[1]) * PAGE,
        descriptors=len(os.listdir(directory / "fd")),
        processor=processor(pid),
    )


def settled(pid: int, descriptors: int, patience: float) -> Vitals:
    """Look at a process until it has no more descriptors than that, or for so many seconds."""
    end = time.monotonic() + patience
    while True:
        now = vitals(pid)
        if now.descriptors <= descriptors or time.monotonic() > end:
            return now
        time.sleep(0.05)
