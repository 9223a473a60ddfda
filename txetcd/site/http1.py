"""HTTP/1.0 and 1.1 requests as bytes: where a head ends, what it says, how long its body is.

Pure functions and small readers: no Twisted, no I/O, no clock. Every form of a request that two readers could
understand in two ways (RFC 9112, section 11.2) is refused here, and here alone; the channel in `site` only
moves bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

# How many requests' headers a connection remembers, and bytes of each, at most: a client sends the same ones
# with all that it reads, and others with all that it writes.
REMEMBERED, REMEMBERED_BYTES = 2, 1_024
# Bytes of chunk extensions and trailers that a chunked body may carry besides its content.
CHUNK_EXTRAS = 16_384
# Bytes of one line of a chunked body (size with extensions, or a trailer).
CHUNK_LINE = 4_096

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([^\x00-\x20\x7f]+) (HTTP/[0-9]\.[0-9])")
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
_NAME = re.compile(_TOKEN)
_LENGTH = re.compile(rb"[0-9]{1,19}")
_HOST = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(rb"(?i:https?)://[^/?]+")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(;[\t\x20-\x7e\x80-\xff]*)?")
# What can never become part of a good head: controls, LF without CR, CR without LF.
_GARBAGE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")
_CONTROLS = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
# The headers that say where a request ends and what becomes of its connection.
_FRAMING = frozenset([b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"])


class Refused(Exception):
    """A request that is not going to be served, and whose connection ends with the answer.

    `status` is the HTTP status that fits best, `reason` one sentence for a person.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


class Fields(NamedTuple):
    """The headers of a request, and what they say of it.

    `lines` are the headers in order, names in lower case, and `last` the last value of each name; `length` is
    the size of the body in bytes, None for a chunked one; `persistent` says that the client lets the
    connection stay open; `expects_continue` that it waits for `100 Continue` before it sends the body.
    """

    lines: tuple[tuple[bytes, bytes], ...]
    last: dict[bytes, bytes]
    length: int | None
    persistent: bool
    expects_continue: bool


class Head(NamedTuple):
    """A request without its body; `target` is the origin form (or `*`), as it was sent."""

    method: bytes
    target: bytes
    version: bytes
    fields: Fields


def end_of_empty_lines(data: bytes) -> int:
    """Give the offset behind the empty lines that `data` begins with; old clients send one behind a body."""
    match = _EMPTY_LINES.match(data)
    return match.end() if match else 0


def find_head_end(data: bytes, seen: int, limit: int) -> int:
    """Find the end of the head that `data` begins with.

    @param data: what has arrived.
    @param seen: how many bytes of it an earlier call has looked at in vain.
    @param limit: how many bytes the request line and the headers may have together.
    @return: The offset of the empty line's CRLF CRLF, -1 if it has not arrived.
    @raise Refused: the head is too long, or cannot become a good one whatever follows.
    """
    end = data.find(b"\r\n\r\n", max(seen - 3, 0), limit)
    if end >= 0:
        return end
    line_end = data.find(b"\r\n", 0, limit)
    if len(data) >= limit:
        if line_end < 0:
            raise Refused(414, "the request line is too long")
        raise Refused(431, "the request headers are too long")
    if data[0] == 0x16:
        raise Refused(400, "this port speaks HTTP, the client TLS")
    if _GARBAGE.search(data, max(seen - 1, 0)):
        raise Refused(400, "the request is not HTTP")
    if line_end >= max(seen - 1, 0):
        _parse_request_line(data[:line_end])
    return -1


class HeadReader:
    """Understands the heads of one connection's requests.

    What the headers say is remembered: most are the same in the next request.

    @param limit: how many headers there may be.
    """

    __slots__ = ("_known", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[tuple[bytes, bytes], Fields] = {}

    def read(self, data: bytes) -> Head:
        """Understand a request's head.

        @param data: the request line and the header lines, without the CRLF CRLF behind them.
        @raise Refused: it is malformed, ambiguous, or has too many headers.
        """
        line, _, block = data.partition(b"\r\n")
        method, target, version = _parse_request_line(line)
        fields = self._known.get((version, block))
        if fields is None:
            fields = _parse_fields(block, version == b"HTTP/1.1", self._limit)
            if len(block) <= REMEMBERED_BYTES:
                if len(self._known) == REMEMBERED:
                    del self._known[next(iter(self._known))]
                self._known[version, block] = fields
        return Head(method, target, version, fields)


def _parse_fields(block: bytes, newest: bool, limit: int) -> Fields:
    """Understand the header lines of a request of HTTP/1.1, or of 1.0."""
    lines = block.split(b"\r\n") if block else []
    if len(block) - len(block.translate(None, _CONTROLS)) != 2 * max(len(lines) - 1, 0):
        raise Refused(400, "the request has a control character in its head")
    if len(lines) > limit:
        raise Refused(431, "the request has too many headers")
    fields = []
    framing: dict[bytes, bytes] = {}
    for line in lines:
        field = _parse_field(line)
        fields.append(field)
        name, value = field
        if name in _FRAMING:
            if name not in framing:
                framing[name] = value
            elif name == b"connection":
                framing[name] += b"," + value
            elif name != b"expect":
                raise Refused(400, f"the request has more than one {name.decode().title()} header")
    host = framing.get(b"host")
    if host is None:
        if newest:
            raise Refused(400, "the request has no Host header")
    elif not _HOST.fullmatch(host):
        raise Refused(400, "the request has a malformed Host header")
    connection = framing.get(b"connection")
    if connection is None:
        persistent = newest
    else:
        options = [option.strip(b" \t") for option in connection.lower().split(b",")]
        persistent = b"close" not in options and (newest or b"keep-alive" in options)
    return Fields(
        tuple(fields),
        dict(fields),
        _body_length(framing, newest),
        persistent,
        newest and framing.get(b"expect", b"").lower() == b"100-continue",
    )


def _parse_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Split into method, target in origin form, and version."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Refused(400, "the request line is malformed")
    method, target, version = match.groups()
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Refused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if method == b"CONNECT":
        raise Refused(405, "this is not a proxy")
    if target[0] != 0x2F and not (target == b"*" and method == b"OPTIONS"):
        authority = _ABSOLUTE.match(target)
        if authority is None:
            raise Refused(400, "the request target is malformed")
        target = target[authority.end() :]
        if target[:1] != b"/":
            target = b"/" + target
    # A bad escape in the query is left to the resource: whether it matters depends on what the query is for.
    if b"%" in target and _BAD_ESCAPE.search(target.partition(b"?")[0]):
        raise Refused(400, "the request target has a malformed % escape")
    return method, target, version


def _parse_field(line: bytes) -> tuple[bytes, bytes]:
    """Split a header or trailer line into its name in lower case and its value."""
    name, colon, value = line.partition(b":")
    if not colon:
        raise Refused(400, "the request has a malformed header")
    return _known_name(name) if len(name) < 64 else _field_name(name), value.strip(b" \t")


def _field_name(name: bytes) -> bytes:
    """Give a header's name in lower case. A folded line and a space before the colon are refused here too."""
    if not _NAME.fullmatch(name):
        raise Refused(400, "the request has a malformed header name")
    return name.lower()


# Clients send the same few names all the time; the bounds keep what they cannot fill from growing.
_known_name = lru_cache(maxsize=512)(_field_name)


def _body_length(framing: dict[bytes, bytes], newest: bool) -> int | None:
    """Tell how many bytes of body there are, None for a chunked one."""
    length = framing.get(b"content-length")
    coding = framing.get(b"transfer-encoding")
    if coding is not None:
        if not newest:
            raise Refused(400, "HTTP/1.0 has no Transfer-Encoding")
        if length is not None:
            raise Refused(400, "the request has both Content-Length and Transfer-Encoding")
        if coding.lower() != b"chunked":
            raise Refused(400, "the only Transfer-Encoding understood is chunked")
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise Refused(400, "the request has a malformed Content-Length")
    return int(length)


class SizedBody:
    """Reads a body of `length` bytes."""

    __slots__ = ("_left", "content")

    def __init__(self, length: int) -> None:
        self.content = bytearray()
        self._left = length

    @property
    def done(self) -> bool:
        """Whether the body is complete."""
        return not self._left

    def feed(self, data: bytes) -> int:
        """Take what belongs to the body from the beginning of `data`; return how many bytes that was."""
        piece = data[: self._left]
        self.content += piece
        self._left -= len(piece)
        return len(piece)


class ChunkedBody:
    """Reads a chunked body of up to `limit` bytes. Its extensions and trailers are checked and dropped."""

    __slots__ = ("_extras", "_left", "_limit", "_state", "content", "done")

    def __init__(self, limit: int) -> None:
        self.content = bytearray()
        self.done = False
        self._limit = limit
        self._left = 0
        self._extras = CHUNK_EXTRAS
        self._state = "size"

    def feed(self, data: bytes) -> int:
        """Take what belongs to the body from the beginning of `data`; return how many bytes that was.

        What is left when the body is not done (half a line) has to be given again, with more behind it.

        @raise Refused: the coding is malformed (400), or the content is over the limit (413).
        """
        at = 0
        while not self.done:
            if self._state == "content":
                piece = data[at : at + self._left]
                self.content += piece
                self._left -= len(piece)
                at += len(piece)
                if self._left:
                    break
                self._state = "end"
            elif self._state == "end":
                end = data[at : at + 2]
                if end != b"\r\n":
                    if b"\r\n".startswith(end):
                        break
                    raise Refused(400, "a chunk is longer than it says")
                at += 2
                self._state = "size"
            else:
                end_of_line = data.find(b"\r\n", at, at + CHUNK_LINE)
                if end_of_line < 0:
                    if len(data) - at >= CHUNK_LINE or _GARBAGE.search(data[at:]):
                        raise Refused(400, "the chunked body is malformed")
                    break
                line = data[at:end_of_line]
                at = end_of_line + 2
                if self._state == "size":
                    self._take_size(line)
                else:
                    self._take_trailer(line)
        return at

    def _take_size(self, line: bytes) -> None:
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise Refused(400, "the chunked body is malformed")
        size, extensions = match.groups()
        if extensions:
            self._spend(len(extensions))
        self._left = int(size, 16)
        if len(self.content) + self._left > self._limit:
            raise Refused(413, "the request body is too large")
        self._state = "content" if self._left else "trailers"

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._spend(len(line))
        if line.translate(None, _CONTROLS) != line:
            raise Refused(400, "the request has a control character in its trailers")
        _parse_field(line)

    def _spend(self, size: int) -> None:
        self._extras -= size
        if self._extras < 0:
            raise Refused(400, "the chunked body has too many extensions or trailers")
