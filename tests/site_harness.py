"""What the tests of the fast Site on the wire share: a site of a resource that echoes."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http_harness import Conversation, conversation
from txetcd.site import Limits, Site

DATE = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LATE = b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n"


class Echo(Resource):
    """Answers with method, target and body; to /late when the test calls `finish`."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def render(self, request: Any) -> Any:
        self.requests.append(request)
        request.defaultContentType = None
        if request.path == b"/late":
            return NOT_DONE_YET
        return b"%b %b %b" % (request.method, request.uri, request.content.read())

    @property
    def targets(self) -> list[bytes]:
        return [request.uri for request in self.requests]


def answer(body: bytes, connection: bytes = b"") -> bytes:
    """What goes over the wire for a resource that returned `body`."""
    if connection:
        connection = b"Connection: " + connection + b"\r\n"
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b%b\r\n%b" % (len(body), connection, DATE, body)


class SiteTestCase(SynchronousTestCase):
    """A site of `Echo`, and connections to it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.resource = Echo()
        self.site = Site(self.resource, self.clock)

    def connect(self, **limits: Any) -> Conversation:
        if limits:
            self.site = Site(self.resource, self.clock, Limits(**limits))
        return conversation(self.site)

    def assert_refused(self, data: bytes, status: int, **limits: Any) -> None:
        """`data` is answered with that status, unseen by any resource, and the connection is closed."""
        before = len(self.resource.requests)
        talk = self.connect(**limits)
        talk._methods.append(b"GET")
        talk.send(b"")
        talk.protocol.dataReceived(data)
        response = talk.response()
        assert response is not None, data
        self.assertEqual(response.status, status, data)
        self.assertEqual(response.header("Connection"), "close")
        self.assertEqual(response.header("Content-Type"), "text/plain; charset=utf-8")
        self.assertTrue(talk.closed, data)
        self.assertEqual(talk.receive(), b"")
        self.assertEqual(self.resource.requests[before:], [])
