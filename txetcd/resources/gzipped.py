"""Compression of long answers for clients that accept it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from twisted.web.server import Request

# Listings are very regular; more effort gains little.
LEVEL = 1


def accepts_gzip(request: Request) -> bool:
    """Whether the client said that it reads gzip."""
    for coding in (request.getHeader(b"accept-encoding") or b"").lower().split(b","):
        name, _, weight = coding.partition(b";")
        if name.strip() == b"gzip":
            return weight.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False


def gzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same in gzip, in as many pieces and one; some may be empty."""
    compressor = zlib.compressobj(LEVEL, wbits=31)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
