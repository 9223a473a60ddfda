"""Where one TLS record ends and the next begins (RFC 8446, section 5.1).  Pure."""

from __future__ import annotations

# Bytes: the type of a record, its version and the length of what follows.
HEADER = 5

# The most bytes of an application that one record carries.
CAPACITY = 16_384
# More than some records have besides: a header, a nonce, a type and a tag each.
OVERHEAD = 512

# The type of records that carry an application's bytes and, with TLS 1.3, much else.
_APPLICATION_DATA = 23


class Records:
    """Follows the records in what arrives on a connection, from its first byte on."""

    def __init__(self) -> None:
        self._between = True
        # Of the present record: as much of its header as has arrived, or the bytes missing after that.
        self._header = b""
        self._missing = 0

    def is_one(self, data: bytes) -> bool:
        """Take in what has arrived next; tell whether it is one whole record, of an application as it looks,
        and there is nothing before it that is not whole.
        """
        size = len(data)
        if (
            self._between
            and size > HEADER
            and data[0] == _APPLICATION_DATA
            and size == HEADER + (data[3] << 8 | data[4])
        ):
            return True
        self._follow(self._header + data)
        return False

    def _follow(self, data: bytes) -> None:
        at = self._missing
        while at + HEADER <= len(data):
            at += HEADER + (data[at + 3] << 8 | data[at + 4])
        self._missing = max(0, at - len(data))
        self._header = data[at:]
        self._between = at == len(data)
