"""What the tests of logs share: a line's fields."""

from __future__ import annotations

import json
from typing import Any


def fields_of(line: str) -> dict[str, Any]:
    """The fields of a line of text; a dash is None."""
    decoder = json.JSONDecoder()
    fields: dict[str, Any] = {}
    while line:
        name, _, line = line.partition("=")
        if line.startswith('"'):
            fields[name], end = decoder.raw_decode(line)
            line = line[end:]
        else:
            word, space, rest = line.partition(" ")
            fields[name], line = None if word == "-" else word, space + rest
        assert line[:1] in ("", " "), line
        line = line[1:]
    return fields
