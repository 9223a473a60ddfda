"""The garbage collector of a process that does nothing but serve.

Keys are nothing to it, see `txetcd.tree.Entry`; this is for all the rest: modules, classes, the tables of the
store.  An application that txetcd is a part of decides for itself.
"""

from __future__ import annotations

import gc
import sys

# When there are so many more objects than before, the collector looks at the latest.  10,000 clients that
# come at a time are no garbage, and looking at them again and again takes nearly as long as serving them.
YOUNG = 10_000


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
