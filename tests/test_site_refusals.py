"""The fast Site on the wire: what is refused, to the byte, and what any bytes lead to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.http_harness import conversation
from tests.properties import properties
from tests.site_harness import DATE, GET, Echo, SiteTestCase
from txetcd.site import Limits, Refusal, Site


class RefusalTests(SiteTestCase):
    """What no resource gets to see."""

    def test_malformed(self) -> None:
        for data in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET / HTTP/1.1\nHost: x\n\n",
            b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
            b"\x00\x01\x02\x03",
            b"hello\r\n",
        ):
            self.assert_refused(data, 400)

    def test_tls_on_a_plain_port(self) -> None:
        self.assert_refused(bytes.fromhex("16030100f8010000f40303"), 400)

    def test_http_2(self) -> None:
        self.assert_refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)

    def test_connect(self) -> None:
        self.assert_refused(b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 405)

    def test_nothing_behind_a_refusal_is_served(self) -> None:
        self.assert_refused(b"GET / HTTP/1.1\r\n\r\n" + GET, 400)

    def test_default_answer(self) -> None:
        body = b"the request has no Host header\n"
        self.assertEqual(
            self.connect().send(b"GET / HTTP/1.1\r\n\r\n"),
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n%b\r\n%b" % (len(body), DATE, body),
        )

    def test_answer_of_the_owner(self) -> None:
        asked: list[tuple[int, str]] = []

        def refusal(status: int, reason: str) -> Refusal:
            asked.append((status, reason))
            return Refusal(400, b"{}\n", b"application/json")

        site = Site(self.resource, self.clock, Limits(body=1), refusal)
        talk = conversation(site)
        response = talk.request("PUT", "/", body=b"ab")
        self.assertEqual(
            (response.status, response.header("Content-Type"), response.body),
            (400, "application/json", b"{}\n"),
        )
        self.assertEqual(asked, [(413, "the request body is too large")])
        self.assertTrue(talk.closed)

    def test_owner_fails(self) -> None:
        def refusal(status: int, reason: str) -> Refusal:
            raise ZeroDivisionError

        talk = conversation(Site(self.resource, self.clock, refusal=refusal))
        self.assertTrue(talk.send(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 "))
        self.assertTrue(talk.closed)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class GarbageTests(SiteTestCase):
    """Whatever a client sends, there is no traceback, and nothing but answers and refusals."""

    WORDS = (
        *(b"GET ", b"PUT / HTTP/1.1\r\n", b"/", b" HTTP/1.1", b" HTTP/2.0", b"\r\n", b"\r\n\r\n", GET),
        *(
            b"Host: x\r\n",
            b"Content-Length: 3\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: close\r\n",
        ),
        *(b"Expect: 100-continue\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"abc", b"\x16\x03\x01"),
        *(b"\x00", b"\n", b"\r", b":", b" ", b"%", b"\xff", b"*"),
    )

    @properties
    @given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=5), max_size=12))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        talk = conversation(Site(Echo(), Clock(), Limits(body=5)))
        received = b"".join(talk.send(piece) for piece in pieces)
        self.assertEqual(self.flushLoggedErrors(), [])
        whole = conversation(Site(Echo(), Clock(), Limits(body=5)))
        served = whole.send(b"".join(pieces)).count(b"HTTP/1.1 200 OK")
        self.assertEqual(served, received.count(b"HTTP/1.1 200 OK"))
        self.assertEqual(whole.closed, talk.closed)
