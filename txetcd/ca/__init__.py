"""A small certificate authority for servers and clients of txetcd, and what can be wrong with certificates.

`certificates` makes them and `diagnosis` judges them, both in memory; `names` says what they can be made for;
`directory` keeps a CA in files; `command` is the `txetcd-ca` command.
"""

from __future__ import annotations

from txetcd import pages


class CAError(ValueError):
    """Something that cannot be done; the message is one sentence that names what is wrong and the remedy."""

    page = pages.CA
