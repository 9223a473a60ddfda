"""What a multipart/form-data body holds (RFC 7578): named parts, as the bytes they are.

Pure, linear in the size of the body, and without errors: what is malformed is left out.
"""

from __future__ import annotations

import re

_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*("(?:\\.|[^"\\])*"|[^\s;]*)', re.DOTALL)
_QUOTED = re.compile(rb"\\(.)", re.DOTALL)


def _parameters(value: bytes) -> dict[bytes, bytes]:
    """The parameters of a header, names in lower case; the first of a name."""
    found: dict[bytes, bytes] = {}
    for name, text in _PARAMETER.findall(value):
        if text[:1] == b'"':
            text = _QUOTED.sub(rb"\1", text[1:-1])
        found.setdefault(name.lower(), text)
    return found


def parse_multipart(content_type: bytes, body: bytes) -> dict[bytes, list[bytes]]:
    """Give the named parts of a multipart/form-data body, as they are; others are left out."""
    args: dict[bytes, list[bytes]] = {}
    boundary = _parameters(content_type).get(b"boundary")
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary)[1:] if boundary else []
    for part in parts:
        if part.startswith(b"--"):
            break
        head, empty, content = part.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            field, _, value = line.partition(b":")
            if field.strip().lower() == b"content-disposition":
                name = _parameters(value).get(b"name")
                if name and empty:
                    args.setdefault(name, []).append(content)
                break
    return args
