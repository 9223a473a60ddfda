"""How requests read, and which do not: heads, bodies, and every known way to make two readers disagree."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import properties
from txetcd.site.http1 import (
    CHUNK_EXTRAS,
    CHUNK_LINE,
    REMEMBERED,
    REMEMBERED_BYTES,
    ChunkedBody,
    Head,
    HeadReader,
    Refused,
    SizedBody,
    find_head_end,
)


def head(*lines: bytes, limit: int = 100) -> Head:
    return HeadReader(limit).read(b"\r\n".join(lines))


class HeadTests(SynchronousTestCase):
    """`HeadReader`"""

    def refused(self, *lines: bytes, status: int = 400, limit: int = 100) -> None:
        refused = self.assertRaises(Refused, head, *lines, limit=limit)
        self.assertEqual(refused.status, status, lines)

    def test_plain(self) -> None:
        parsed = head(b"GET /a?b=c HTTP/1.1", b"Host: x:80", b"X-Mine:\t a  b \t", b"x-MINE:")
        self.assertEqual((parsed.method, parsed.target, parsed.version), (b"GET", b"/a?b=c", b"HTTP/1.1"))
        self.assertEqual(parsed.fields.lines, ((b"host", b"x:80"), (b"x-mine", b"a  b"), (b"x-mine", b"")))
        self.assertEqual(parsed.fields.last, {b"host": b"x:80", b"x-mine": b""})
        self.assertEqual(parsed.fields[2:], (0, True, False))

    def test_methods_are_any_token(self) -> None:
        for method in b"PATCH", b"get", b"FOO", b"M-SEARCH", b"!#$%&'*+-.^_`|~09azAZ":
            self.assertEqual(head(method + b" / HTTP/1.1", b"Host: x").method, method)

    def test_malformed_request_lines(self) -> None:
        for line in (
            b"",
            b"GET",
            b"GET /",
            b"GET  / HTTP/1.1",
            b"GET /  HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b" GET / HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"GET / HTTP/1.1\t",
            b"GET /a b HTTP/1.1",
            b"GET / http/1.1",
            b"GET / HTTP/1.10",
            b"GET / HTTP/11",
            b"GET / HTTP/1.\xb2",
            b"GET / HTCPCP/1.0",
            b"G[T / HTTP/1.1",
            b"G\xcbT / HTTP/1.1",
            b"GET /\x00 HTTP/1.1",
            b"GET /\x7f HTTP/1.1",
            b"GET /\x1f HTTP/1.1",
            b"GET /\r HTTP/1.1",
            b"GET /\n HTTP/1.1",
        ):
            self.refused(line, b"Host: x")

    def test_versions(self) -> None:
        for version in b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/3.0":
            self.refused(b"GET / " + version, b"Host: x", status=505)
        self.refused(b"PRI * HTTP/2.0", status=505)

    def test_targets(self) -> None:
        for target in (
            b"/",
            b"//x",
            b"/\xff\xfe",
            "/\N{SNOWMAN}".encode(),
            b"/a#b",
            b"/?%zz",
            b"/%41%fF",
            b'/"<>\\^`{|}',
        ):
            self.assertEqual(head(b"GET " + target + b" HTTP/1.1", b"Host: x").target, target)

    def test_absolute_targets(self) -> None:
        for target, path in (
            (b"http://h/p?q", b"/p?q"),
            (b"HTTPS://user@h:1/p", b"/p"),
            (b"http://h", b"/"),
            (b"http://h?q", b"/?q"),
            (b"http://h//p", b"//p"),
        ):
            self.assertEqual(head(b"GET " + target + b" HTTP/1.1", b"Host: x").target, path)

    def test_star(self) -> None:
        self.assertEqual(head(b"OPTIONS * HTTP/1.1", b"Host: x").target, b"*")
        self.refused(b"GET * HTTP/1.1", b"Host: x")

    def test_malformed_targets(self) -> None:
        for target in (
            b"a",
            b"http:///p",
            b"ftp://h/p",
            b"*/",
            b"?a",
            b"/%",
            b"/%4",
            b"/%zz",
            b"/%4g?a",
            b"/a%2/b",
        ):
            self.refused(b"GET " + target + b" HTTP/1.1", b"Host: x")

    def test_connect(self) -> None:
        self.refused(b"CONNECT h:443 HTTP/1.1", b"Host: h:443", status=405)

    def test_malformed_headers(self) -> None:
        for line in (
            b"",
            b"X",
            b": x",
            b"X : x",
            b"X\t: x",
            b" X: x",
            b"\tfolded",
            b" folded: x",
            b"X[]: x",
            b"X\xe9: x",
            b"X\x00: x",
            b"X: \x00",
            b"X: a\x0bb",
            b"X: \x7f",
            b"X: a\rb",
            b"X: a\nb",
            b"X: a\nContent-Length: 5",
            b"X: \x1b[1m",
            b"x" * 100 + b" : x",
        ):
            self.refused(b"GET / HTTP/1.1", b"Host: x", line)
            self.refused(b"GET / HTTP/1.1", line, b"Host: x")

    def test_eight_bit_values(self) -> None:
        self.assertEqual(head(b"GET / HTTP/1.0", b"X: \xff\x80").fields.lines, ((b"x", b"\xff\x80"),))

    def test_long_names(self) -> None:
        self.assertEqual(head(b"GET / HTTP/1.0", b"X" * 100 + b": y").fields.lines, ((b"x" * 100, b"y"),))

    def test_number_of_headers(self) -> None:
        lines = [b"Host: x", *[b"X: y"] * 4]
        self.assertEqual(len(head(b"GET / HTTP/1.1", *lines, limit=5).fields.lines), 5)
        self.refused(b"GET / HTTP/1.1", *lines, limit=4, status=431)

    def test_host(self) -> None:
        for host in b"x", b"", b"127.0.0.1:4001", b"[::1]:4001", b"a_b.example":
            self.assertEqual(head(b"GET / HTTP/1.1", b"Host: " + host).fields.lines, ((b"host", host),))
        for lines in (
            [],
            [b"Host: x", b"Host: x"],
            [b"Host: x", b"host: y"],
            [b"Host: a b"],
            [b"Host: a/b"],
            [b"Host: <script>"],
            [b"Host: a@b"],
            [b"Host: \xff"],
        ):
            self.refused(b"GET / HTTP/1.1", *lines)
        self.assertEqual(head(b"GET / HTTP/1.0").fields.lines, ())
        self.refused(b"GET / HTTP/1.0", b"Host: x", b"Host: x")

    def test_content_length(self) -> None:
        for value, length in (b"0", 0), (b"5", 5), (b"0005", 5), (b" 7 ", 7), (b"9" * 19, 10**19 - 1):
            self.assertEqual(
                head(b"PUT / HTTP/1.1", b"Host: x", b"Content-Length:" + value).fields.length, length
            )
        for value in (
            b"",
            b" ",
            b"+5",
            b"-5",
            b"1_0",
            b"0x5",
            b"5.0",
            b"5,5",
            b"5 5",
            b"5;",
            b"five",
            "\N{ARABIC-INDIC DIGIT SEVEN}".encode(),
            b"\xb2",
            b"1" * 20,
            b"1" * 5000,
        ):
            self.refused(b"PUT / HTTP/1.1", b"Host: x", b"Content-Length: " + value)
        for second in b"5", b"6", b"":
            self.refused(b"PUT / HTTP/1.1", b"Host: x", b"Content-Length: 5", b"content-length: " + second)

    def test_transfer_encoding(self) -> None:
        for value in b"chunked", b"Chunked", b" CHUNKED ":
            parsed = head(b"PUT / HTTP/1.1", b"Host: x", b"Transfer-Encoding:" + value)
            self.assertIsNone(parsed.fields.length)
        for value in (
            b"",
            b"identity",
            b"gzip",
            b"xchunked",
            b"chunked, chunked",
            b"gzip, chunked",
            b"chunked;q=1",
            b'"chunked"',
            b"chunked,",
            b"\x0bchunked",
        ):
            self.refused(b"PUT / HTTP/1.1", b"Host: x", b"Transfer-Encoding: " + value)
        chunked = b"Transfer-Encoding: chunked"
        self.refused(b"PUT / HTTP/1.1", b"Host: x", chunked, chunked)
        self.refused(b"PUT / HTTP/1.1", b"Host: x", chunked, b"Transfer-Encoding: identity")
        self.refused(b"PUT / HTTP/1.1", b"Host: x", chunked, b"Content-Length: 5")
        self.refused(b"PUT / HTTP/1.1", b"Host: x", b"Content-Length: 5", chunked)
        self.refused(b"PUT / HTTP/1.0", b"Host: x", chunked)

    def test_persistence(self) -> None:
        for version, values, persistent in (
            (b"1.1", [], True),
            (b"1.1", [b"close"], False),
            (b"1.1", [b"Close"], False),
            (b"1.1", [b"keep-alive, close"], False),
            (b"1.1", [b"keep-alive", b"close"], False),
            (b"1.1", [b"Upgrade, HTTP2-Settings"], True),
            (b"1.1", [b"closed"], True),
            (b"1.0", [], False),
            (b"1.0", [b"keep-alive"], True),
            (b"1.0", [b"Keep-Alive"], True),
            (b"1.0", [b"keep-alive, close"], False),
        ):
            lines = [b"Connection: " + value for value in values]
            parsed = head(b"GET / HTTP/" + version, b"Host: x", *lines)
            self.assertEqual(parsed.fields.persistent, persistent, (version, values))

    def test_expectation(self) -> None:
        expect = b"Expect: 100-Continue"
        self.assertTrue(head(b"PUT / HTTP/1.1", b"Host: x", expect, expect).fields.expects_continue)
        self.assertFalse(head(b"PUT / HTTP/1.0", b"Host: x", expect).fields.expects_continue)
        self.assertFalse(head(b"PUT / HTTP/1.1", b"Host: x", b"Expect: much").fields.expects_continue)


class RememberedTests(SynchronousTestCase):
    """What a connection remembers of its latest headers is never taken for what others say."""

    def setUp(self) -> None:
        self.reader = HeadReader(100)

    def test_same_headers(self) -> None:
        first = self.reader.read(b"GET /a HTTP/1.1\r\nHost: x")
        second = self.reader.read(b"PUT /b HTTP/1.1\r\nHost: x")
        self.assertEqual((second.method, second.target), (b"PUT", b"/b"))
        self.assertIs(second.fields, first.fields)

    def test_other_headers(self) -> None:
        self.reader.read(b"GET / HTTP/1.1\r\nHost: x")
        other = self.reader.read(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3")
        self.assertEqual(other.fields.length, 3)
        self.assertEqual(self.reader.read(b"GET / HTTP/1.1\r\nHost: x").fields.length, 0)

    def test_other_version(self) -> None:
        self.assertTrue(self.reader.read(b"GET / HTTP/1.1\r\nHost: x").fields.persistent)
        self.assertFalse(self.reader.read(b"GET / HTTP/1.0\r\nHost: x").fields.persistent)
        self.assertFalse(self.reader.read(b"GET / HTTP/1.0").fields.persistent)
        self.assertRaises(Refused, self.reader.read, b"GET / HTTP/1.1")

    def test_refused_is_refused_again(self) -> None:
        self.reader.read(b"GET / HTTP/1.1\r\nHost: x")
        for _ in range(2):
            self.assertRaises(Refused, self.reader.read, b"GET / HTTP/1.1\r\nHost: x\r\nHost: x")
        self.assertEqual(self.reader.read(b"GET / HTTP/1.1\r\nHost: x").fields.lines, ((b"host", b"x"),))

    def test_the_last_few_are_kept(self) -> None:
        """Those of reads and those of writes, whichever comes when."""
        blocks = [b"GET / HTTP/1.1\r\nHost: %d" % number for number in range(REMEMBERED + 1)]
        first = [self.reader.read(block).fields for block in blocks[:-1]]
        self.assertEqual(
            [self.reader.read(block).fields is fields for block, fields in zip(blocks, first, strict=False)],
            [True, True],
        )
        self.reader.read(blocks[-1])
        self.assertIsNot(self.reader.read(blocks[0]).fields, first[0])

    def test_long_headers_are_not_kept(self) -> None:
        long = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * REMEMBERED_BYTES
        self.assertIsNot(self.reader.read(long).fields, self.reader.read(long).fields)


class HeadEndTests(SynchronousTestCase):
    """`find_head_end`"""

    def refused(self, data: bytes, status: int, seen: int = 0, limit: int = 1000) -> None:
        refused = self.assertRaises(Refused, find_head_end, data, seen, limit)
        self.assertEqual(refused.status, status, data)

    def test_found(self) -> None:
        data = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest"
        self.assertEqual(find_head_end(data, 0, 1000), 23)
        for seen in range(27):
            self.assertEqual(find_head_end(data, seen, 1000), 23)

    def test_incomplete(self) -> None:
        whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        for size in range(1, len(whole)):
            for seen in range(size):
                self.assertEqual(find_head_end(whole[:size], seen, 1000), -1)

    def test_hopeless(self) -> None:
        for data in (
            b"\x00",
            b"GET /\x00",
            b"GET / HTTP/1.1\nHost: x\n\n",
            b"GET / HTTP/1.1\r\nHost: x\n",
            b"GET / HTTP/1.1\rHost",
            b"GET /\r\n",
            b"EHLO example.org\r\n",
            b"\xff\x00\x01",
        ):
            self.refused(data, 400)

    def test_hopeless_byte_by_byte(self) -> None:
        def trickle(data: bytes) -> None:
            for size in range(1, len(data) + 1):
                find_head_end(data[:size], size - 1, 1000)

        for data in b"GET / HTTP/1.1\nH", b"GET / HTTP/1.1\rH", b"GET /\r\n", b"GET / HTTP/1.1\r\nA\x00":
            self.assertRaises(Refused, trickle, data)
        trickle(b"GET / HTTP/1.1\r\nHost: x\r\n\r")

    def test_hopeless_version(self) -> None:
        self.refused(b"PRI * HTTP/2.0\r\n", 505)

    def test_tls(self) -> None:
        self.refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400)

    def test_limit(self) -> None:
        data = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        self.assertEqual(find_head_end(data, 0, len(data)), 23)
        self.refused(data, 431, limit=len(data) - 1)
        self.refused(b"GET /" + b"a" * 1000, 414)
        self.assertEqual(find_head_end(b"GET /" + b"a" * 990, 0, 1000), -1)


def read(body: SizedBody | ChunkedBody, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Feed a body piecewise; give its content and what was left over."""
    rest = b""
    for piece in pieces:
        rest += piece
        rest = rest[body.feed(rest) :]
    return bytes(body.content), rest


class BodyTests(SynchronousTestCase):
    """`SizedBody` and `ChunkedBody`"""

    def refused(self, data: bytes, status: int = 400, limit: int = 100_000) -> None:
        for pieces in [data], [data[at : at + 1] for at in range(len(data))]:
            refused = self.assertRaises(Refused, read, ChunkedBody(limit), pieces)
            self.assertEqual(refused.status, status, data)

    def test_sized(self) -> None:
        body = SizedBody(5)
        self.assertEqual(read(body, [b"ab"]), (b"ab", b""))
        self.assertFalse(body.done)
        self.assertEqual(read(body, [b"cdef"]), (b"abcde", b"f"))
        self.assertTrue(body.done)

    def test_bare_cr_at_the_end_of_a_trailer(self) -> None:
        for data in b"0\r\nA: b\r\r\n\r\n", b"0\r\nA:\r\r\n\r\n":
            self.assertRaises(Refused, ChunkedBody(10).feed, data)

    def test_chunked(self) -> None:
        body = ChunkedBody(100)
        whole = b'3\r\nabc\r\n00000A;a="b c";d\r\n0123456789\r\n0;last\r\nX-Trailer: y\r\n\r\nGET'
        self.assertEqual(read(body, [whole]), (b"abc0123456789", b"GET"))
        self.assertTrue(body.done)

    def test_malformed_chunks(self) -> None:
        for data in (
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\na\r\n0\r\n\r\n",
            b"0x1\r\na\r\n0\r\n\r\n",
            b"1_0\r\n",
            b" 1\r\na",
            b"1 \r\na",
            b"1 ;a\r\na",
            b"1,a\r\na",
            b"1\na\r\n",
            b"1\ra\r\n",
            b"1;a\nb\r\nc\r\n",
            b"1;a\x00\r\nc\r\n",
            b"1;a\rb\r\nc\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n0",
            b"1\r\na0\r\n",
            b"0" * 17 + b"\r\n",
            b"f" * 17 + b"\r\n",
            "\N{ARABIC-INDIC DIGIT SEVEN}".encode() + b"\r\n",
            b"0\r\nX : y\r\n\r\n",
            b"0\r\n folded\r\n\r\n",
            b"0\r\nX\r\n\r\n",
            b"0\r\nX: a\x00\r\n\r\n",
            b"0\r\nX: a\nb\r\n\r\n",
            b"1;" + b"a" * CHUNK_LINE,
            b"0\r\nX: " + b"a" * CHUNK_LINE,
        ):
            self.refused(data)

    def test_content_limit(self) -> None:
        self.assertEqual(read(ChunkedBody(4), [b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"])[0], b"abcd")
        self.refused(b"2\r\nab\r\n3\r\n", 413, limit=4)
        self.refused(b"5\r\n", 413, limit=4)
        self.refused(b"f" * 16 + b"\r\n", 413)

    def test_extras_limit(self) -> None:
        line = b"1;" + b"a" * 1022 + b"\r\nx\r\n"
        self.refused(line * (CHUNK_EXTRAS // 1023 + 1))
        self.refused(b"0\r\n" + (b"X: " + b"a" * 1021 + b"\r\n") * (CHUNK_EXTRAS // 1023 + 1))

    @properties
    @given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.data())
    def test_chunks_cut_anywhere(self, chunks: list[bytes], data: st.DataObject) -> None:
        whole = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nA: b\r\n\r\nrest"
        cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=8)) | {0, len(whole)})
        pieces = [whole[a:b] for a, b in pairwise(cuts)]
        body = ChunkedBody(1000)
        self.assertEqual(read(body, pieces), (b"".join(chunks), b"rest"))
        self.assertTrue(body.done)
