"""What the small companions of `/v2/keys` have in common: fixed methods, an answer that is ready at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"

# Methods that change nothing.
SAFE = frozenset([b"GET", b"HEAD", b"OPTIONS"])


def answer(request: Request, status: int, content_type: bytes, body: bytes) -> bytes:
    """Set what goes with a body, and give it back to be returned from `render`."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", content_type)
    return body


def not_allowed(request: Request, methods: tuple[bytes, ...]) -> bytes:
    """The answer to a method that a resource does not have."""
    if request.method == b"OPTIONS":
        return Options().render(request)
    request.setHeader(b"allow", b",".join(methods))
    return answer(request, 405, TEXT, b"Method Not Allowed\n")


def set_headers(request: Request, headers: Mapping[bytes, bytes]) -> None:
    """Set several headers of one line each, whose names are spelled as in `Content-Type`."""
    at_once = getattr(request, "setHeaders", None)
    if at_once is not None:
        # A request of `txetcd.site`.
        at_once(headers)
        return
    for name, value in headers.items():
        request.setHeader(name, value)


class NotFound(Resource):
    """What is at every path that is not of the API, told as etcd tells it."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Answer 404."""
        return answer(request, 404, TEXT, b"404 page not found\n")


class Options(Resource):
    """The answer to any OPTIONS: an empty 200."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Answer 200."""
        request.responseHeaders.removeHeader(b"content-type")
        return b""


class Directory(Resource):
    """A part of the path that is nothing itself; empty parts and `.` are passed over."""

    def getChild(self, path: bytes, request: Request) -> IResource:
        """The directory again for a part that says nothing, else `NotFound`."""
        if path in (b"", b".") and request.postpath:
            return self
        return NotFound()

    def render(self, request: Request) -> bytes:
        """Answer 404."""
        return NotFound().render(request)


class Endpoint(Resource):
    """A resource whose answer is ready at once.

    @cvar methods: those that it has; HEAD is not implied.
    @cvar content_type: of its answer.
    """

    methods: ClassVar[tuple[bytes, ...]] = (b"GET",)
    content_type: ClassVar[bytes] = JSON

    def getChild(self, path: bytes, request: Request) -> IResource:
        """There is nothing below."""
        return NotFound()

    def render(self, request: Request) -> bytes | int:
        """Answer the methods that there are."""
        if request.method not in self.methods:
            return not_allowed(request, self.methods)
        request.setHeader(b"content-type", self.content_type)
        return self.body(request).encode()

    def body(self, request: Request) -> str:
        """The text of the answer; may set another status on the request."""
        raise NotImplementedError
