"""The usage text: the table of options for people, as --help prints it.  Pure."""

from __future__ import annotations

import textwrap
from typing import Any

from txetcd.settings.options import SECTIONS, Option


def usage_text() -> str:
    """The usage text, of 80 columns at most."""
    lines = [
        "Usage: txetcd [options]",
        "       twistd [twistd's options] txetcd [options]",
        "",
        "The etcd v2 API as a server, over HTTP or HTTPS.",
    ]
    for section, options in SECTIONS.items():
        lines += ["", f"{section}:"]
        for option in options:
            lines += _entry(option)
    lines += ["", *textwrap.wrap(_CLOSING, 80)]
    return "\n".join(lines) + "\n"


_CLOSING = (
    "Every option but -f, --version and --help can also be an environment variable (ETCD_CERT_FILE for "
    "--cert-file) or a key in the file that --config names (cert_file). The command line goes before the "
    "environment, and that before the file. Options take one dash or two. Those of etcd that mean nothing "
    "here are ignored with a warning. What messages mean, and how to mend it, is in docs/troubleshooting.md. "
    "To move keys and to make copies: txetcd import, txetcd export, txetcd backup, each with --help."
)
_INDENT = 30


def _entry(option: Option[Any]) -> list[str]:
    spelling = f"  {option.spelling()}"
    text = textwrap.wrap(option.described(), 80 - _INDENT, break_on_hyphens=False)
    if len(spelling) > _INDENT - 2:
        return [spelling, *(" " * _INDENT + line for line in text)]
    return [spelling.ljust(_INDENT) + text[0], *(" " * _INDENT + line for line in text[1:])]
