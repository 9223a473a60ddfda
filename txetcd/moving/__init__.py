"""Copying keys from one v2 server to another, by way of a file or not.

Everything here speaks the v2 HTTP API, so that a real etcd, a txetcd and a txetcd in front of a cluster are
all the same to it; only `backup` looks at a data directory.  `lines` is the file and `listing` what servers
answer, both pure.  `trust` and `client` are HTTP; `export` reads a server, `fill` writes to one and `follow`
keeps on until the cut-over.  `command` is the command line, and `progress` what it says meanwhile.
"""

from __future__ import annotations

from txetcd import pages


class MovingError(Exception):
    """What was asked for cannot be done; the text is one line for the operator."""

    page = pages.MOVING
