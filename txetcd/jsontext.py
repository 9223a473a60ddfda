"""JSON strings and times exactly as etcd prints them (Go's encoding/json).

Text in txetcd is `str`; bytes that are not UTF-8 live in it as surrogate escapes (PEP 383), so that keys and
values compare as the bytes they are and are only replaced when they are shown.
"""

from __future__ import annotations

import re
import time
from json.encoder import encode_basestring

_SPECIAL_ASCII = bytes([*range(0x20), *b'"\\<>&'])
# What Go escapes and the standard library does not, or in another way.
_OTHERS = {char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_SHORT = {char: f"\\u{ord(char):04x}" for char in "\b\f"}
_SHORT_ONES = re.compile("([\b\f])")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
# Characters that are looked at in one go: what they become on the way does not leave the processor's cache.
_PIECE = 32 * 1024


def quote(text: str) -> str:
    """Make `text` a JSON string, quotes included, with Go's choice of escapes.

    Go also escapes what HTML or JavaScript could stumble on, and shows each byte that is not UTF-8 as U+FFFD.
    """
    if text.isascii():
        size = len(text)
        if size <= _PIECE:
            plain = len(text.encode().translate(None, _SPECIAL_ASCII)) == size
        else:
            plain = all(_is_plain(text[at : at + _PIECE]) for at in range(0, size, _PIECE))
        if plain:
            return f'"{text}"'
    if "\b" in text or "\f" in text:
        parts = _SHORT_ONES.split(text)
        quoted = f'"{"".join(_SHORT.get(part) or encode_basestring(part)[1:-1] for part in parts)}"'
    else:
        quoted = encode_basestring(text)
    for char, escape in _OTHERS.items():
        if char in quoted:
            quoted = quoted.replace(char, escape)
    try:
        quoted.encode()
    except UnicodeEncodeError:
        quoted = _NOT_UTF8.sub("\\\\ufffd", quoted)
    return quoted


def _is_plain(text: str) -> bool:
    """Whether nothing is to be escaped in ASCII text."""
    return len(text.encode().translate(None, _SPECIAL_ASCII)) == len(text)


def rfc3339(nanoseconds: int) -> str:
    """Print a time, in nanoseconds since the epoch, as Go does: UTC, trailing zeros of the fraction cut."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    if fraction:
        stamp += f".{fraction:09d}".rstrip("0")
    return stamp + "Z"
