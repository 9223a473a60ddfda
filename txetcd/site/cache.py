"""Answers that are kept, by the bytes of their requests: what came before, byte for byte, is not read again.

Clients that poll send the same bytes time after time.  Reading those and finding the resource costs more than
the answer, so a site that has a `Cache` does neither for them: the resource that has answered once left a
`Refresh`, which says what has become of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from txetcd.site.request import Refresh, Request
from txetcd.site.sending import PIECE

# Bytes of a request whose answer may be kept, and of all requests and answers that are; the oldest go first.
REQUEST = 1_024
ROOM = 8 * 1024 * 1024
# Bytes that each takes besides.
EACH = 3_072
# Bytes of a body that is kept.
BODY = 1024 * 1024
# Requests that are looked out for: an answer is kept when the same request has come before.
CANDIDATES = 4_096


class Cached:
    """The answer to one request.

    @ivar request: the first that it was given to, without the connection.
    @ivar size: bytes that this takes, about.
    """

    __slots__ = ("_answer", "_date", "_headers", "_refresh", "pieces", "request", "size")

    def __init__(self, request: Request, headers: Mapping[bytes, bytes], refresh: Refresh, size: int) -> None:
        self.request = request
        request.transport = None
        self.size = size
        self.pieces: tuple[bytes, ...] = ()
        """The answer, when it has been found to hold."""
        self._headers = headers
        self._refresh = refresh
        self._answer: tuple[Mapping[bytes, bytes], bytes] | None = None
        self._date = b""

    def holds(self, date: bytes) -> bool:
        """Tell whether there is an answer without the resource, and make it.

        @param date: the present time, as HTTP writes it.
        """
        answer = self._refresh()
        if answer is None:
            return False
        if answer is not self._answer or date != self._date:
            self._answer, self._date = answer, date
            headers, body = answer
            self.request.sentLength = len(body)
            length = {b"Content-Length": b"%d" % len(body)}
            head = self.request.make_head({**self._headers, **headers, **length})
            self.pieces = (head + body,) if len(body) <= PIECE else (head, body)
        return True


class Cache:
    """The answers that a site keeps.

    It is for trees of resources in which nothing depends on who asks: what one client was told, another is
    told that sends the same.

    @param room: bytes of all that is kept.
    @ivar kept: the answers by the bytes of their requests; whether they hold is to be seen.
    @ivar size: bytes of all that.
    """

    def __init__(self, room: int = ROOM) -> None:
        self.kept: dict[bytes, Cached] = {}
        self.size = 0
        self._room = room
        # Hashes of requests that have come.
        self._seen: set[int] = set()

    def is_again(self, data: bytes) -> bool:
        """Tell whether a request, which is no longer than `REQUEST`, has come before, lately."""
        mark = hash(data)
        if mark in self._seen:
            return True
        if len(self._seen) >= CANDIDATES:
            self._seen.clear()
        self._seen.add(mark)
        return False

    def keep(self, data: bytes, request: Request) -> None:
        """Keep an answer, if its resource has said how it is to be given again.

        @param data: the bytes of the request.
        @param request: it was answered, on a connection that stays open.
        """
        refresh, headers = request.refresh, request.plain_headers()
        if refresh is None or headers is None or request.sentLength > BODY:
            return
        self.drop(data)
        cached = Cached(request, headers, refresh, EACH + len(data) + request.sentLength)
        self.kept[data] = cached
        self.size += cached.size
        while self.size > self._room:
            self.drop(next(iter(self.kept)))

    def drop(self, data: bytes) -> None:
        """Keep the answer to a request no longer."""
        cached = self.kept.pop(data, None)
        if cached is not None:
            self.size -= cached.size
