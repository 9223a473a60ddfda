"""The memory of a process that does nothing but serve: what the collector sees, what the system gets.

Keys are nothing to the garbage collector, see `txetcd.tree.Entry`; this is for all the rest: modules,
classes, the tables of the store.  An application that txetcd is a part of decides for itself.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

# When there are so many more objects than before, the collector looks at the latest.  10,000 clients that
# come at a time are no garbage, and looking at them again and again takes nearly as long as serving them.
YOUNG = 10_000
# Seconds between two times that memory is given back.  Of 350 MB that takes 25 ms, of nothing 0.1 ms.
EVERY = 10.0


def tend(clock: IReactorTime) -> None:
    """Look after the memory of this process from now on, until it ends.

    @param clock: tells when to give back to the system what is free; the C library, unless it is asked, keeps
        for this process what 10,000 clients or deleted keys no longer need.
    """
    settle()
    trim = _trim()
    if trim is not None:
        giving_back = LoopingCall(trim, 0)
        giving_back.clock = clock
        giving_back.start(EVERY, now=False)


def settle() -> None:
    """Leave what there is now out of all later collections; it is to last as long as the process.

    Objects that come later are collected as ever, so nothing is lost but what becomes garbage, in cycles, of
    the objects that there are now.
    """
    gc.collect()
    if sys.implementation.name != "cpython":
        return
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


def _trim() -> Callable[[int], int] | None:
    """malloc_trim(3) of the GNU C library, or None where there is another."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
