"""Forms with files (multipart/form-data): `txetcd.site.Site` reads them as `twisted.web.server.Site` does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.http_harness import Response, conversation
from tests.properties import properties
from tests.site_cases import Answers, Pair
from txetcd.site import Site


class UploadTests(SynchronousTestCase):
    """`request.args` of a POSTed form"""

    def pair(self) -> Pair:
        return Pair(self, lambda: Answers(lambda r: repr(sorted(r.args.items())).encode()))

    def headers(self, boundary: str) -> list[tuple[str, str]]:
        return [("Content-Type", f"multipart/form-data; boundary={boundary}")]

    def arguments(self, body: bytes, boundary: str = "x", method: str = "POST") -> Response:
        """What both sites make of that body."""
        return self.pair().request(method, "/?q=1&a=0", self.headers(boundary), body)

    def part(self, content: bytes, *headers: bytes, disposition: bytes = b'form-data; name="a"') -> bytes:
        lines = [b"--x", b"Content-Disposition: " + disposition, *headers, b"", content]
        return b"\r\n".join(lines) + b"\r\n"

    def test_contents(self) -> None:
        for content in (
            b"",
            b"plain",
            bytes(range(256)) * 1000,
            b"\n",
            b"\r",
            b"\r\n",
            b"\r\n\r\n--y\r\n",
            b"a\nb\rc\r\nd",
            b"\xff\r\r\n\n",
        ):
            body = self.arguments(self.part(content) + b"--x--\r\n").body
            self.assertIn(repr((b"a", [content])).encode(), body)

    def test_several_files(self) -> None:
        file = b'form-data; name="file"; filename="f"'
        body = (
            self.part(b"one", b"Content-Type: image/png", disposition=file)
            + self.part(b"text")
            + self.part(b"two", disposition=file)
        )
        self.assertIn(b"(b'file', [b'one', b'two'])", self.arguments(body + b"--x--\r\n").body)

    def test_names(self) -> None:
        for disposition in (
            b"form-data; name=a",
            b'form-data; name="a b;c"',
            b'form-data; name="a\\"b"',
            b'form-data; filename="name=x"; name="a"',
            b"form-data",
            b'form-data; name=""',
            b"attachment; name=a",
            b'form-data; name="a%22b"',
        ):
            self.arguments(self.part(b"v", disposition=disposition) + b"--x--\r\n")

    def test_boundaries(self) -> None:
        for boundary in '"x"', "x; charset=utf-8", '"x";a=b':
            self.assertIn(b"[b'v']", self.arguments(self.part(b"v") + b"--x--\r\n", boundary).body)

    def test_cut_off(self) -> None:
        """What a broken client sends is answered all the same, with whatever could be read of it."""
        whole = self.part(b"one\r\n--y") + b"--x--\r\n"
        for talk in self.pair().talks:
            for end in range(whole.index(b"one"), len(whole)):
                response = talk.request("POST", "/", self.headers("x"), whole[:end])
                self.assertEqual(response.status, 200)
                self.assertTrue(response.body.startswith(b"[(b'a', [b'"), response.body)

    def test_only_in_post(self) -> None:
        body = self.arguments(self.part(b"v") + b"--x--\r\n", method="GET").body
        self.assertEqual(body, b"[(b'a', [b'0']), (b'q', [b'1'])]")

    @properties
    @given(
        st.lists(
            st.binary(max_size=20) | st.sampled_from([b"\r\n", b"\n--", b"\r\n--", b"--y--"]), max_size=4
        )
    )
    def test_any_content(self, pieces: list[bytes]) -> None:
        content = b"".join(pieces)
        if b"\n--x" not in b"\n" + content:
            self.assertIn(
                repr((b"a", [content])).encode(), self.arguments(self.part(content) + b"--x--\r\n").body
            )


HEADERS = [("Content-Type", "multipart/form-data; boundary=x")]


class HostileUploadTests(SynchronousTestCase):
    """Uploads that are malformed, or look like something else."""

    def ask(self, body: bytes) -> tuple[int, bytes]:
        site = Site(Answers(lambda r: repr(sorted(r.args.items())).encode()), Clock())
        response = conversation(site).request("POST", "/", HEADERS, body)
        return response.status, response.body

    def part(self, disposition: bytes, kind: bytes = b"text/plain", content: bytes = b"v") -> bytes:
        head = b"--x\r\nContent-Disposition: %b\r\nContent-Type: %b\r\n\r\n" % (disposition, kind)
        return head + content + b"\r\n--x--\r\n"

    def test_malformed_headers_are_no_failure(self) -> None:
        """A client's mistake is never a 500 with a traceback in the log."""
        for disposition in (
            b"form-data; name*=ut\0f-8''a%20b",
            b"form-data; name*\r\n =utf-8''a",
            b"form-data; name*",
        ):
            self.assertEqual(self.ask(self.part(disposition))[0], 200, disposition)

    def test_file_that_is_a_message(self) -> None:
        """A mail or a nested multipart that is uploaded is a file like any other: bytes, not None."""
        content = b"Subject: x\r\n\r\nhello"
        for kind in b"message/rfc822", b"multipart/mixed; boundary=y":
            told = self.ask(self.part(b"form-data; name=a", kind, content))
            self.assertEqual(told, (200, repr([(b"a", [content])]).encode()), kind)

    def test_nested_parts_are_no_failure(self) -> None:
        nested = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(1500)
        )
        self.assertEqual(self.ask(self.part(b"form-data; name=a\r\n" + nested.rstrip(), b"x/y"))[0], 200)
