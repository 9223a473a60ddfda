"""The fast Site and whatever clients may send: it never fails, never answers twice, never keeps much.

The channel sees bytes that are made up: without any form, of the pieces that HTTP is made of, and valid
pipelines that have been damaged. Runs are as `tests.properties` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import server
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http_harness import Conversation, Response, conversation, parse_response
from tests.properties import properties
from txetcd.site import Limits, Site
from txetcd.site.channel import READ_AHEAD

# Small, so that what is made up gets there.
LIMITS = Limits(body=40, header_bytes=300, headers=6)


# Method, target, headers, body.
Seen = tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]


class Recorder(Resource):
    """Remembers each request as (method, target, headers, body) and answers with its number.

    Some answers are whole, some in pieces; when `late`, they are left to the test.
    """

    isLeaf = True

    def __init__(self, late: bool = False) -> None:
        super().__init__()
        self.seen: list[Seen] = []
        self.requests: list[Any] = []
        self.late = late

    def render(self, request: Any) -> Any:
        number = len(self.seen)
        headers = [
            (name, value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values
        ]
        self.seen.append((request.method, request.uri, sorted(headers), request.content.read()))
        # A resource may do as it likes with what it got: the next one gets its own.
        request.requestHeaders.setRawHeaders(b"X-Y", [b"mine"])
        self.requests.append(request)
        request.setHeader(b"X-Number", b"%d" % number)
        if self.late:
            return NOT_DONE_YET
        if number % 3 == 0:
            return b"~%d" % number
        request.write(b"~")
        request.write(b"%d" % number)
        request.finish()
        return NOT_DONE_YET


TOKENS = """
    GET HEAD POST PUT OPTIONS CONNECT get HTTP/1.1 HTTP/1.0 HTTP/2.0 / /a?b=c * http://x/ //x %2F %zz Host: x
    Content-Length: 0 3 5 99999 +3 0x3 -1 3,3 Transfer-Encoding: chunked gzip, Connection: close keep-alive
    Expect: 100-continue Cookie: a=b name=value
""".split()
tokens = st.sampled_from(
    [token.encode() for token in TOKENS]
    + [
        b"\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\r\n\r\n",
        b" ",
        b" ",
        b"\r",
        b"\n",
        b"\t",
        b":",
        b"\0",
        b"\xff",
        b";x=y",
    ]
    + [b"GET / HTTP/1.1\r\nHost: x\r\n", b"PUT /p HTTP/1.1\r\nHost: x\r\n", b"Content-Length: 3\r\n"]
    + [b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"abc", b"\x16\x03\x01"]
)
garbage = st.lists(tokens | st.binary(max_size=4), max_size=25).map(b"".join)


@dataclass(frozen=True)
class Wanted:
    """A valid request: what the resource is to see of it, and how it is put."""

    method: bytes
    target: bytes
    body: bytes
    chunks: tuple[int, ...]
    fields: tuple[bytes, ...]
    empty_line: bool

    def wire(self) -> bytes:
        lines = [
            self.method + b" " + self.target + b" HTTP/1.1",
            b"host:\tx ",
            *self.fields,
            *self._framing(),
        ]
        body = b"".join(self._chunks()) if self.chunks else self.body
        return b"\r\n" * self.empty_line + b"\r\n".join([*lines, b"", b""]) + body

    def seen(self) -> Seen:
        """The request as a `Recorder` remembers it."""
        lines = [line.split(b":") for line in (b"host:x", *self.fields, *self._framing())]
        headers = sorted((name.title(), value.strip()) for name, value in lines)
        return self.method, self.target, headers, self.body

    def _framing(self) -> list[bytes]:
        if self.chunks:
            return [b"Transfer-encoding: Chunked"]
        return [b"Content-Length: %d" % len(self.body)] if self.body else []

    def _chunks(self) -> Iterator[bytes]:
        at = 0
        for size in (*self.chunks, len(self.body)):
            piece = self.body[at : at + size]
            at += size
            if piece:
                yield b"%X;ext=1\r\n%b\r\n" % (len(piece), piece)
        yield b"0\r\nTrailer: 1\r\n\r\n"


wanted = st.builds(
    Wanted,
    method=st.sampled_from([b"GET", b"PUT", b"POST", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"x"]),
    target=st.sampled_from([b"/", b"/a/b?c=d", b"/%2F%00", b"/\xff", b"//x", b"/?%zz"]),
    body=st.just(b"")
    | st.binary(max_size=40)
    | st.sampled_from([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"0\r\n\r\n"]),
    chunks=st.just(()) | st.lists(st.integers(1, 20), min_size=1, max_size=3).map(tuple),
    fields=st.lists(st.sampled_from([b"A: b", b"a:", b"X-Y:\xff", b"Cookie: c=d"]), max_size=2).map(tuple),
    empty_line=st.booleans(),
)
pipelines = st.lists(wanted, min_size=1, max_size=4)
cuts = st.lists(st.integers(0, 1000), max_size=12)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    """Cut `data` at these places, as far as it has them."""
    places = sorted({place % (len(data) + 1) for place in at})
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


@dataclass(frozen=True)
class Edit:
    """One change to some bytes: `size` bytes at `place` become `text`."""

    place: int
    size: int
    text: bytes

    def apply(self, data: bytes) -> bytes:
        place = self.place % (len(data) + 1)
        return data[:place] + self.text + data[place + self.size :]


edits = st.lists(
    st.builds(Edit, st.integers(0, 1000), st.integers(0, 3), st.just(b"") | tokens | st.binary(max_size=2)),
    min_size=1,
    max_size=4,
)


class FuzzTestCase(SynchronousTestCase):
    """Talks to a `Recorder`, and checks what must be true whatever was said."""

    def talk(self, said: list[bytes], late: bool = False) -> tuple[Conversation, Recorder]:
        """Say the pieces on a new connection."""
        resource = Recorder(late)
        talk = conversation(Site(resource, Clock(), LIMITS))
        for piece in said:
            if talk.closed:
                break
            talk.protocol.dataReceived(piece)
        return talk, resource

    def answered(self, talk: Conversation, resource: Recorder) -> list[Response]:
        """Take the answers: one for each request, in order, and at most a refusal behind them."""
        self.assertEqual(self.flushLoggedErrors(), [])
        methods = [method for method, _, _, _ in resource.seen]
        data = talk.receive().replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        found: list[Response] = []
        while data:
            method = methods[len(found)] if len(found) < len(methods) else b"GET"
            parsed = parse_response(data, method, closed=False)
            assert parsed is not None, data
            found.append(parsed[0])
            data = data[parsed[1] :]
        for number, response in enumerate(found[: len(methods)]):
            self.assertEqual(response.header("X-Number"), str(number))
            self.assertEqual(response.body, b"" if methods[number] == b"HEAD" else b"~%d" % number)
        refusals = found[len(methods) :]
        if refusals:
            (refusal,) = refusals
            self.assertIn(refusal.status, (400, 405, 413, 414, 431, 505))
            self.assertEqual(refusal.header("Connection"), "close")
            self.assertTrue(talk.closed)
        self.assertEqual(len(found) - len(refusals), len(methods))
        return found


class HostileTests(FuzzTestCase):
    """Anything at all"""

    @properties
    @given(st.binary(max_size=400))
    @example(b"\x16\x03\x01\x02\x00\x01")
    @example(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    def test_bytes(self, data: bytes) -> None:
        self.answered(*self.talk([data]))

    @properties
    @given(garbage)
    def test_pieces_of_http(self, data: bytes) -> None:
        self.answered(*self.talk([data]))

    @properties
    @given(pipelines, edits)
    def test_damaged_pipeline(self, requests: list[Wanted], changes: list[Edit]) -> None:
        data = b"".join(request.wire() for request in requests)
        for change in changes:
            data = change.apply(data)
        self.answered(*self.talk([data]))

    @properties
    @given(pipelines, edits, cuts)
    def test_damage_reads_the_same_in_pieces(
        self, requests: list[Wanted], changes: list[Edit], at: list[int]
    ) -> None:
        """How the network cuts it decides nothing: the same requests are seen, and an end is an end.

        Which of several faults a refusal names depends on how much has arrived by then.
        """
        data = b"".join(request.wire() for request in requests)
        for change in changes:
            data = change.apply(data)
        told = []
        for said in ([data], pieces(data, at), [data[i : i + 1] for i in range(len(data))]):
            talk, resource = self.talk(said)
            told.append((resource.seen, len(self.answered(talk, resource)), talk.closed))
        self.assertEqual(told[0], told[1], data)
        self.assertEqual(told[0], told[2], data)

    @properties
    @given(pipelines, edits)
    def test_nothing_reads_in_two_ways(self, requests: list[Wanted], changes: list[Edit]) -> None:
        """What we take for a request, Twisted's Site takes for the same one, or for none at all."""
        data = b"".join(request.wire() for request in requests)
        for change in changes:
            data = change.apply(data)
        _, ours = self.talk([data])
        theirs = Recorder()
        conversation(server.Site(theirs, reactor=Clock())).send(data)
        self.flushLoggedErrors()
        both = min(len(ours.seen), len(theirs.seen))
        self.assertEqual(ours.seen[:both], theirs.seen[:both])


class PipelineTests(FuzzTestCase):
    """Valid requests"""

    def expected(self, requests: list[Wanted]) -> list[Seen]:
        return [request.seen() for request in requests]

    @properties
    @given(pipelines, cuts)
    def test_any_cut(self, requests: list[Wanted], at: list[int]) -> None:
        data = b"".join(request.wire() for request in requests)
        talk, resource = self.talk(pieces(data, at))
        self.assertEqual(resource.seen, self.expected(requests))
        answers = talk.receive()
        whole, _ = self.talk([data])
        self.assertEqual(answers, whole.receive())
        self.assertEqual(talk.closed, False)

    @properties
    @given(pipelines, cuts)
    def test_late_answers(self, requests: list[Wanted], at: list[int]) -> None:
        """The next request is seen when the answer to the one before is complete, and not before."""
        data = b"".join(request.wire() for request in requests)
        talk, resource = self.talk(pieces(data, at), late=True)
        for number, request in enumerate(requests):
            self.assertEqual(resource.seen, self.expected(requests[: number + 1]))
            answering = resource.requests[number]
            if number % 2:
                answering.write(b"~")
            answering.write(b"~"[: 1 - number % 2] + b"%d" % number)
            self.assertEqual(len(resource.seen), number + 1)
            answering.finish()
            answering.finish()
            answering.write(request.body)
        self.answered(talk, resource)


actions = st.lists(
    st.sampled_from(
        ["say", "say", "say", "write", "finish", "finish", "finish", "stop", "read", "read", "time", "gone"]
    ),
    max_size=30,
)


class LifeTests(FuzzTestCase):
    """Connections with everything that may happen on them, in any order"""

    @properties
    @given(pipelines, cuts, actions)
    def test_any_order(self, requests: list[Wanted], at: list[int], steps: list[str]) -> None:
        resource = Recorder(late=True)
        talk = conversation(Site(resource, Clock(), Limits(idle=30)))
        said = iter(pieces(b"".join(request.wire() for request in requests), at))
        received = b""
        for step in steps:
            if step == "say":
                received += talk.send(next(said, b""))
            elif step == "write" and resource.requests:
                resource.requests[-1].write(b"x" * 30_000)
            elif step == "finish" and resource.requests:
                resource.requests[len(resource.requests) // 2].finish()
                resource.requests[-1].finish()
            elif step == "stop":
                talk.transport.client_reads = False
            elif step == "read":
                talk.transport.client_reads = True
                talk.transport.read()
            elif step == "time":
                talk.clock.advance(7)
            elif step == "gone":
                talk.disconnect()
            received += talk.receive()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertTrue(len(resource.requests) <= len(requests))
        # The body has no such text: each request has at most one answer.
        self.assertTrue(received.count(b"X-Number: ") <= len(resource.requests))
        numbers = [int(rest.partition(b"\r")[0]) for rest in received.split(b"X-Number: ")[1:]]
        self.assertEqual(numbers, list(range(len(numbers))))
        talk.disconnect()
        self.assertEqual(talk.clock.getDelayedCalls(), [])


class MemoryTests(FuzzTestCase):
    """What a connection keeps of a client that never comes to an end"""

    STEP = 4096

    def kept(self, thing: Any) -> int:
        """The bytes that an object of the site holds, in itself and in what it alone is made of."""
        if isinstance(thing, bytes | bytearray):
            return len(thing)
        if isinstance(thing, list | tuple):
            return sum(self.kept(item) for item in thing)
        if not type(thing).__module__.startswith("txetcd.site") or isinstance(thing, Site):
            return 0
        names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
        return sum(
            self.kept(getattr(thing, name, None))
            for name in names
            if name not in ("site", "factory", "channel")
        )

    @properties
    @given(
        st.sampled_from([b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"PUT / HTTP/1.1\r\nHost: x\r\n"]),
        st.sampled_from([b"", b"Content-Length: 20000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]),
        garbage
        | wanted.map(Wanted.wire)
        | st.sampled_from(
            [
                b"1;x=y\r\na\r\n",
                b"3F9\r\n" + b"a" * 1017 + b"\r\n",
                b"1\r\na\r\n",
                b"0\r\n",
                b"\r\n",
                b"a: b\r\n",
            ]
        ),
        st.booleans(),
    )
    @example(
        b"PUT / HTTP/1.1\r\nHost: x\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"3F9\r\n" + b"a" * 1017 + b"\r\n",
        False,
    )
    def test_endless(self, begin: bytes, head: bytes, again: bytes, late: bool) -> None:
        """A client that sends the same for ever, until it is refused or not read from any more."""
        limits = Limits(body=20_000, header_bytes=10_000)
        talk = conversation(Site(Recorder(late), Clock(), limits))
        talk.protocol.dataReceived(begin + head)
        piece = again * (self.STEP // max(len(again), 1))
        most = 0
        for _ in range(100):
            if talk.closed or talk.transport.paused or not piece:
                break
            talk.protocol.dataReceived(piece)
            talk.transport.received.clear()
            most = max(most, self.kept(talk.protocol))
        self.assertEqual(self.flushLoggedErrors(), [])
        # The body of the request that is being answered, what is read ahead meanwhile, and what came last.
        self.assertTrue(most <= limits.body + READ_AHEAD + limits.header_bytes + self.STEP, most)
