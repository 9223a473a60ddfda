"""What is fuzzed: each target takes bytes, and raises when something that must be true is not."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from tests.http_harness import conversation, parse_response
from txetcd.commands import evaluate
from txetcd.errors import EtcdError, RefusedError
from txetcd.query import Write, form_body, parse, parse_access, parse_form, parse_key, want_event_stream
from txetcd.site import Limits, Site
from txetcd.tree import EMPTY, SECOND

# Small, so that what is made up gets there.
LIMITS = Limits(body=100, header_bytes=400, headers=8)
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "")
START = 1_700_000_000 * SECOND

Seen = tuple[bytes, bytes, list[tuple[bytes, list[bytes]]], bytes]


class Recorder(Resource):
    """Remembers each request and answers with its number, whole or in pieces."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Seen] = []

    def render(self, request: Any) -> Any:
        number = len(self.seen)
        headers = sorted((name, list(values)) for name, values in request.requestHeaders.getAllRawHeaders())
        self.seen.append((request.method, request.uri, headers, request.content.read()))
        if number % 2:
            return b"~%d" % number
        request.write(b"~")
        request.write(b"%d" % number)
        request.finish()
        return NOT_DONE_YET


def _talk(pieces: list[bytes]) -> tuple[list[Seen], int, bool]:
    """Say the pieces on a new connection; tell what the resource saw, how many answers came, and whether the
    server has closed.
    """
    resource, problems = Recorder(), list[LogEvent]()

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            problems.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        talk = conversation(Site(resource, Clock(), LIMITS))
        for piece in pieces:
            if talk.closed:
                break
            talk.protocol.dataReceived(piece)
            # What was sent ahead has its turn.
            talk.clock.advance(0)
        closed = talk.closed
        data = talk.receive().replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        talk.disconnect()
        talk.clock.advance(0)
    finally:
        globalLogPublisher.removeObserver(observe)
    for problem in problems:
        problem["log_failure"].raiseException()
    assert not talk.clock.getDelayedCalls()
    return resource.seen, _answers(data, [method for method, _, _, _ in resource.seen], closed), closed


def _answers(data: bytes, methods: list[bytes], closed: bool) -> int:
    """Check the answers: one for each request, in order, and at most one refusal behind them."""
    count = 0
    while data:
        method = methods[count] if count < len(methods) else b"GET"
        # An answer to a client of HTTP/1.0 may end with the connection.
        parsed = parse_response(data, method, closed)
        assert parsed is not None, data
        response, size = parsed
        if count < len(methods):
            assert response.body == (b"" if method == b"HEAD" else b"~%d" % count), (count, response)
        else:
            assert closed and response.status in (400, 405, 413, 414, 431, 505), response
        count += 1
        data = data[size:]
    assert len(methods) <= count <= len(methods) + 1, (count, methods)
    return count


def channel(data: bytes) -> None:
    """What is said on a connection is answered in order, in the same way however the network cuts it."""
    size, said = data[:1], data[1:]
    whole = _talk([said])
    step = max(1, size[0] % 64) if size else 1
    assert _talk([said[at : at + step] for at in range(0, len(said), step)]) == whole


def query(data: bytes) -> None:
    """A request is understood, and as a write can be evaluated, or is refused with an EtcdError."""
    number, path, text, body = [data[:1], *data[1:].split(b"\n", 2), b"", b"", b""][:4]
    method = METHODS[number[0] % len(METHODS)] if number else "GET"
    try:
        form_body(text, body)
        key = parse_key(path)
        assert parse_key(path) == key and key.startswith("/")
        form = parse_form(text, body)
        want_event_stream(form, body)
        parse_access(method, path, key, form)
        found = parse(method, key, form, START)
        if isinstance(found, Write):
            evaluate(EMPTY, found.command)
    except RefusedError as error:
        assert isinstance(error, EtcdError) and 400 <= error.status < 500, error
        json.loads(error.to_json().encode("utf-8", "surrogateescape"))
