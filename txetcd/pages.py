"""Where operators read on: the place in the documents for each kind of error that ends a program.

Errors whose text is one line for an operator have one of these as their `page`; the programs print both.
"""

from __future__ import annotations

_TROUBLESHOOTING = "docs/troubleshooting.md"

# A start that fails, and what it was about.
START = f"{_TROUBLESHOOTING}#it-does-not-start"
OPTIONS = f"{_TROUBLESHOOTING}#options"
ADDRESSES = f"{_TROUBLESHOOTING}#addresses"
CERTIFICATES = f"{_TROUBLESHOOTING}#certificates"
DATA = f"{_TROUBLESHOOTING}#the-data-directory"
ENGINE = f"{_TROUBLESHOOTING}#the-engine"

# A server that runs.
LOG = f"{_TROUBLESHOOTING}#what-the-log-says"

# The other commands.
MOVING = f"{_TROUBLESHOOTING}#keys-cannot-be-moved"
CA = f"{_TROUBLESHOOTING}#certificates-cannot-be-made"


def with_page(error: Exception, page: str) -> str:
    """The text of an error, and where to read on."""
    return f"{error}; more in {page}"
