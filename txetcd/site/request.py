"""The slim request: a `twisted.web.server.Request` that builds only what its resource asks for.

What a resource seldom uses (cookies, sessions, conditional requests, basic authentication, URLs) is Twisted's
own and works on the attributes here, each of which is made when it is first touched. What every request goes
through is written anew: finding and rendering the resource, head and body in one write, and an end that is
harmless however late it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from io import BytesIO
from typing import Any, AnyStr, Protocol
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.error import UnsupportedMethod
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource

from txetcd.site.http1 import Head
from txetcd.site.multipart import parse_multipart
from txetcd.site.sending import PIECE

_PLAIN = b"text/plain; charset=utf-8"
_NO_BODY = frozenset([204, 304])


Refresh = Callable[[], tuple[Mapping[bytes, bytes], bytes] | None]
"""Gives an answer as it would be now, without its head: headers that may have changed, spelled as in
`Content-Type`, and the body; the same object for the same answer.  None if the resource has to be asked."""


class Connection(Protocol):
    """What a request asks of the channel that it came on, besides what Twisted's own code does."""

    site: Any
    transport: Any
    peer: Any
    host: Any
    persistent: bool

    def write(self, data: bytes) -> None:
        """Send some bytes."""

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send some bytes, piece by piece."""

    def answered(self, keeps_open: bool) -> None:
        """The answer is complete; the connection can stay open for another request, or cannot."""

    def abortConnection(self) -> None:
        """Close without sending what has been written."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Take output from a producer."""

    def unregisterProducer(self) -> None:
        """Take nothing more from it."""


class Request(server.Request):
    """One request on a connection of `txetcd.site.Site`, and the answer to it.

    It is an `IRequest` like Twisted's, with these differences: `write` and `finish` after the end (a second
    `finish`, a client that went away) do nothing, `notifyFinish` after the end gives a Deferred that has
    already fired, an answer without any body has `Content-Length: 0`, and one whose body is not as long as
    its Content-Length said ends the connection.
    """

    _log = Logger()

    site: Any
    # The body, as a file.
    content: BytesIO
    # None when the answer is complete or the client gone.
    channel: Any
    prepath: list[bytes]
    postpath: list[bytes]
    # Where the site is mounted: part of the name of session cookies.
    sitepath: list[bytes]
    # Whether the site would keep the answer for those who ask the same; then the resource may say how it is
    # to be given again (`txetcd.site.cache.Refresh`).
    may_be_kept = False
    refresh: Refresh | None = None
    _failure: Failure | None = None
    _bodiless = False
    _keeps_open = False
    _length: bytes | None = None

    def __init__(self, channel: Connection, head: Head, body: bytes) -> None:
        # Twisted's own constructors would build what few requests need.
        self.channel = channel
        self.site = channel.site
        self.transport = channel.transport
        self.client = channel.peer
        self.host = channel.host
        self.method, self.uri, self.clientproto, self._fields = head
        self.path, _, self._query = self.uri.partition(b"?")
        self.content = BytesIO(body)
        self._headers: dict[bytes, bytes] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method!r} {self.uri!r}>"

    # What came with the request. (Twisted's attributes become properties that can still be set, which mypy
    # does not see.)

    @cached_property
    def args(self) -> dict[bytes, list[bytes]]:  # type: ignore[override]
        """The arguments of the query, replaced by those of the same name in a POSTed form."""
        args: dict[bytes, list[bytes]] = http.parse_qs(self._query, True)
        body = self.content.getvalue()
        if self.method == b"POST" and body:
            content_type = self.getHeader(b"content-type") or b""
            media_type = content_type.partition(b";")[0].strip().lower()
            if media_type == b"application/x-www-form-urlencoded":
                args.update(http.parse_qs(body, True))
            elif media_type == b"multipart/form-data":
                args.update(parse_multipart(content_type, body))
        return args

    @cached_property
    def notifications(self) -> list[Deferred[None]]:  # type: ignore[override]
        """Who wants to know of the end."""
        return []

    @cached_property
    def cookies(self) -> list[bytes]:  # type: ignore[override]
        """The cookies of the answer."""
        return []

    @cached_property
    def _adapterCache(self) -> dict[str, Any]:  # type: ignore[override]
        """What `Componentized` keeps: the session, of code that has one."""
        return {}

    @cached_property
    def requestHeaders(self) -> Headers:  # type: ignore[override]
        """The headers that came."""
        headers = Headers()
        for name, value in self._fields.lines:
            headers.addRawHeader(name, value)
        return headers

    @cached_property
    def received_cookies(self) -> dict[bytes, bytes]:  # type: ignore[override]
        """The cookies that came, by name."""
        self.received_cookies = {}
        self.parseCookies()
        return self.received_cookies

    def getHeader(self, key: AnyStr) -> AnyStr | None:
        """Give the last value of a header that came, None if it did not; str for str, bytes for bytes."""
        if isinstance(key, str) or "requestHeaders" in self.__dict__:
            return super().getHeader(key)
        return self._fields.last.get(key.lower())

    # Finding and rendering the resource.

    def process(self) -> None:
        """Find the resource and let it answer; what it raises is logged, and answered with 500."""
        self.prepath = []
        self._bodiless = self.method == b"HEAD"
        if self.path == b"*":
            self.postpath = []
        else:
            self.postpath = self.path[1:].split(b"/")
            if b"%" in self.path:
                self.postpath = [unquote_to_bytes(segment) for segment in self.postpath]
        try:
            resource = self.site.getResourceFor(self)
            get_encoder = getattr(resource, "getEncoder", None)
            if get_encoder is not None:
                self._encoder = get_encoder(self)
            self.render(resource)
        except Exception:
            self.processingFailed(Failure())

    def render(self, resource: IResource) -> None:
        """Let `resource` answer: bytes are the whole body, NOT_DONE_YET says that it will write and finish.

        A HEAD that it does not know is rendered as GET, without the body. Another method gets 405 if it is
        one of GET, HEAD and POST, 501 otherwise, as under Twisted's Site.
        """
        try:
            body: Any = resource.render(self)
        except UnsupportedMethod as error:
            if self.method == b"HEAD" and b"GET" in error.allowedMethods:
                # What is written meanwhile stays unsent: the request was made without a body when it came as
                # HEAD.
                self.method = b"GET"
                try:
                    body = resource.render(self)
                finally:
                    self.method = b"HEAD"
            else:
                body = self._unsupported(error)
        if isinstance(body, bytes):
            if body or not self._bodiless:
                self.setHeaders({b"Content-Length": b"%d" % len(body)})
            self.conclude(body)
        elif body is not server.NOT_DONE_YET:
            raise TypeError(f"{resource!r} rendered {type(body).__name__}, neither bytes nor NOT_DONE_YET")

    def _unsupported(self, error: UnsupportedMethod) -> bytes:
        self.setHeader(b"Content-Type", _PLAIN)
        if self.method in server.supportedMethods:
            self.setResponseCode(http.NOT_ALLOWED)
            self.setHeader(b"Allow", b", ".join(error.allowedMethods))
            return b"Method Not Allowed\n"
        self.setResponseCode(http.NOT_IMPLEMENTED)
        return b"Not Implemented\n"

    def processingFailed(self, reason: Failure) -> Failure:
        """Log what went wrong and answer with 500; an answer that has begun is cut off, so that nobody
        takes it for whole.

        @return: `reason`.
        """
        self._log.failure("While answering {request}", failure=reason, request=self)
        if self.startedWriting:
            if not self.finished and self.channel is not None:
                self.channel.abortConnection()
        else:
            self.__dict__.pop("responseHeaders", None)
            self.__dict__.pop("cookies", None)
            self._headers = {}
            self._encoder = None
            self.etag = self.lastModified = None
            self.setResponseCode(http.INTERNAL_SERVER_ERROR)
            self.setHeader(b"Content-Type", _PLAIN)
            self.setHeader(b"Content-Length", b"22")
            self.write(b"Internal Server Error\n")
            self.finish()
        return reason

    # The answer.

    def setHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Set a header of the answer, instead of earlier ones of that name. A line break becomes a space."""
        if "responseHeaders" in self.__dict__:
            self.responseHeaders.setRawHeaders(name, [value])
        else:
            if isinstance(value, str):
                value = value.encode("utf-8")
            self._headers[_canonical(name)] = _one_line(value)

    def setHeaders(self, headers: Mapping[bytes, bytes]) -> None:
        """Set several headers, as `setHeader` does, in one go.

        @param headers: values of one line each, by names that are spelled as in `Content-Type`.
        """
        if "responseHeaders" in self.__dict__:
            for name, value in headers.items():
                self.responseHeaders.setRawHeaders(name, [value])
        else:
            self._headers.update(headers)

    @cached_property
    def responseHeaders(self) -> Headers:  # type: ignore[override]
        """The headers of the answer, as long as it has not begun."""
        headers = Headers()
        for name, value in self._headers.items():
            headers.addRawHeader(name, value)
        return headers

    def write(self, data: bytes) -> None:
        """Send the head, if this is the first call, and some of the body. `write(b"")` sends the head alone.

        Nothing happens after the end, and nothing of the body is sent where the answer has none.
        """
        if self.finished or self._disconnected:
            return
        if self._encoder is not None:
            data = self._encoder.encode(data)
        self._send(data, False)

    def finish(self) -> None:
        """End the answer. Nothing happens if it has ended already, or if the client has gone away."""
        if self.finished or self._disconnected:
            return
        self._end(None if self._encoder is None else self._encoder.finish() or None)

    def conclude(self, data: bytes) -> None:
        """Write `data` and finish, in one go: a client that waits is not woken twice."""
        if self.finished or self._disconnected:
            return
        if self._encoder is not None:
            data = self._encoder.encode(data) + self._encoder.finish()
        self._end(data)

    def _end(self, data: bytes | None) -> None:
        """Send the last of the body, and be done."""
        self._send(data, True)
        channel, self.channel = self.channel, None
        if self._length is not None and not self._bodiless and self._length != b"%d" % self.sentLength:
            self._keeps_open = False
        self.finished = 1
        for notification in self.__dict__.pop("notifications", ()):
            notification.callback(None)
        channel.answered(self._keeps_open)

    def notifyFinish(self) -> Deferred[None]:
        """Give a Deferred: None when the answer is finished, a failure when the connection is lost before."""
        if self._failure is not None:
            return fail(self._failure)
        if self.finished:
            return succeed(None)
        notification: Deferred[None] = Deferred()
        self.notifications.append(notification)
        return notification

    def connectionLost(self, reason: Failure) -> None:
        """Called by the channel: nobody is there any more to get the answer."""
        self._disconnected = True
        self._failure = reason
        self.channel = None
        for notification in self.__dict__.pop("notifications", ()):
            notification.errback(reason)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let `producer` write the body at the pace of the client; it is stopped if there is no client."""
        if self.channel is None:
            producer.stopProducing()
        else:
            self.channel.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The producer has nothing more to write."""
        if self.channel is not None:
            self.channel.unregisterProducer()

    def _send(self, data: bytes | None, last: bool) -> None:
        """Send some of the body, behind the head if that is still to go. None: there is nothing of it."""
        if data is not None and not isinstance(data, bytes):
            raise TypeError(f"a body is bytes, not {type(data).__name__}")
        head = b"" if self.startedWriting else self._begin(data is None)
        if data and not self._bodiless:
            self.sentLength += len(data)
            if self.chunked:
                data = b"%x\r\n%b\r\n" % (len(data), data)
        else:
            data = b""
        if last and self.chunked:
            data += b"0\r\n\r\n"
        if len(data) > PIECE:
            # Without a copy of all that.
            self.channel.writeSequence((head, data))
        elif head or data:
            self.channel.write(head + data)

    def _begin(self, empty: bool) -> bytes:
        """Decide how the answer is framed and what becomes of the connection, and make the head."""
        fields = self._collect_headers()
        code = self.code
        if code in _NO_BODY:
            self._bodiless = True
            if code == 204:
                fields.pop(b"Content-Length", None)
        elif empty and not self._bodiless:
            fields.setdefault(b"Content-Length", b"0")
        self._length = length = fields.get(b"Content-Length")
        if (
            b"Content-Type" not in fields
            and length != b"0"
            and code not in _NO_BODY
            and self.defaultContentType
        ):
            fields[b"Content-Type"] = self.defaultContentType
        newest = self.clientproto == b"HTTP/1.1"
        keeps_open = (
            self._fields.persistent
            and self.channel.persistent
            and (b"Connection" not in fields or fields[b"Connection"].lower() != b"close")
        )
        if length is None and not self._bodiless:
            if newest:
                self.chunked = 1
                fields[b"Transfer-Encoding"] = b"chunked"
            else:
                keeps_open = False
        if not keeps_open:
            fields[b"Connection"] = b"close"
        elif not newest:
            fields[b"Connection"] = b"keep-alive"
        self._keeps_open = keeps_open
        self.startedWriting = 1
        return self.make_head(fields)

    def make_head(self, fields: Mapping[bytes, bytes]) -> bytes:
        """The status line and the headers, with the present time."""
        return b"HTTP/1.1 %d %b\r\n%bDate: %b\r\n\r\n" % (
            self.code,
            _one_line(self.code_message),
            b"".join([b"%b: %b\r\n" % field for field in fields.items()]),
            self.site.date(),
        )

    def plain_headers(self) -> Mapping[bytes, bytes] | None:
        """The headers of the answer that was sent, all but the Date; None if they, or the body, are not just
        what a resource has set and returned.
        """
        if self._encoder is not None or "responseHeaders" in self.__dict__ or "cookies" in self.__dict__:
            return None
        return self._headers

    def _collect_headers(self) -> dict[bytes, bytes]:
        """Give the answer's headers by name; several of one name are one value, sent as several lines."""
        headers = self.__dict__.get("responseHeaders")
        if headers is None:
            fields = self._headers
        else:
            fields = {
                name: (b"\r\n%b: " % name).join(values)
                for name, values in headers.getAllRawHeaders()
                if values
            }
        if self.lastModified is not None:
            fields.setdefault(b"Last-Modified", http.datetimeToString(self.lastModified))
        if self.etag is not None:
            fields[b"ETag"] = _one_line(self.etag)
        if "cookies" in self.__dict__:
            fields[b"Set-Cookie"] = b"\r\nSet-Cookie: ".join(self.cookies)
        fields.pop(b"Date", None)
        fields.pop(b"Transfer-Encoding", None)
        return fields


@lru_cache(maxsize=512)
def _canonical(name: bytes | str) -> bytes:
    """Spell a header's name as `Headers` does."""
    headers = Headers()
    headers.addRawHeader(name, b"")
    ((canonical, _),) = headers.getAllRawHeaders()
    return canonical


def _one_line(value: bytes) -> bytes:
    """Make line breaks spaces, as `Headers` does."""
    if b"\n" in value or b"\r" in value:
        return b" ".join(value.splitlines())
    return value
