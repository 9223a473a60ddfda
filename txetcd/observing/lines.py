"""Lines of a log: fields by name, as text or as JSON.  Pure.

Clients choose much of what is in them.  A line has printable ASCII alone, so that none of it can end the
line, begin another, or be taken for another field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

Fields = Mapping[str, str | int | float | None]
"""What a line tells; None stands for what is not known."""

Render = Callable[[Fields], str]

# What needs no quotes in a line of text.
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")

_encoder = json.JSONEncoder(separators=(",", ":"))


def as_text(fields: Fields) -> str:
    """`name=value` with spaces between; a value that is not plain is a JSON string, an unknown one is `-`."""
    return " ".join([f"{name}={_text(value)}" for name, value in fields.items()])


def as_json(fields: Fields) -> str:
    """A JSON object, without what is not known."""
    return _encoder.encode({name: value for name, value in fields.items() if value is not None})


def readable(data: bytes, limit: int) -> str:
    """Bytes that should be UTF-8, as text; others as `\\xNN`.

    @param limit: of bytes; what is beyond them is cut.
    """
    if len(data) > limit:
        data = data[:limit] + b"..."
    return data.decode("utf-8", "backslashreplace")


def _text(value: str | int | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        # A dash alone would look like nothing.
        return value if _PLAIN.fullmatch(value) and value != "-" else _encoder.encode(value)
    return str(value)


FORMATS: Mapping[str, Render] = {"text": as_text, "json": as_json}
"""How lines can be written."""
