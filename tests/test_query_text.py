"""txetcd.query: paths, forms and Content-Types read as keys and arguments."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txetcd.errors import EtcdError
from txetcd.query import FORM, clean_key, form_body, parse_form, parse_key


class FormTests(SynchronousTestCase):
    def assert_refused(self, cause: str, query: bytes, body: bytes = b"") -> None:
        error = self.assertRaises(EtcdError, parse_form, query, body)
        self.assertEqual((error.code, error.cause, error.index), (210, cause, 0), (query, body))

    def test_pairs(self) -> None:
        table: list[tuple[bytes, dict[str, str]]] = [
            (b"", {}),
            (b"&&", {}),
            (b"a=1&b=2", {"a": "1", "b": "2"}),
            (b"a", {"a": ""}),
            (b"a=", {"a": ""}),
            (b"=x", {"": "x"}),
            (b"a=b=c", {"a": "b=c"}),
            (b"a+b=c+d%2B%20", {"a b": "c d+ "}),
            (b"%61=%c3%A4", {"a": "ä"}),
            (b"a=\xc3\xa4", {"a": "ä"}),
            (b"a=%ff\xfe", {"a": "\udcff\udcfe"}),
            (b"a=%00", {"a": "\0"}),
            (b"a=1&a=2&%61=3", {"a": "1"}),
        ]
        for text, form in table:
            self.assertEqual(parse_form(text, b""), form)
            self.assertEqual(parse_form(b"", text), form)

    def test_form_wins(self) -> None:
        self.assertEqual(parse_form(b"value=q&x=1", b"value=&y=2"), {"value": "", "x": "1", "y": "2"})

    def test_bad_escapes(self) -> None:
        """The offending text is shown as Go quotes it."""
        table = [
            (b"%zz", '"%zz"'),
            (b"value=%zz", '"%zz"'),
            (b"%zz=%yy", '"%zz"'),
            (b"a=1&b=%4", '"%4"'),
            (b"a=%", '"%"'),
            (b"a=%&b=1", '"%"'),
            (b"a=100%25%", '"%"'),
            (b"a=50%abc%gabc", '"%ga"'),
            (b'a={"load":"50%","x":1}', '"%\\","'),
            (b"a=%\\a", '"%\\\\a"'),
            (b"a=50%\n", '"%\\n"'),
            (b"a=%\x01\x7f", '"%\\x01\\x7f"'),
            (b"a=%\xff\xfe", '"%\\xff\\xfe"'),
            (b"a=%\xc2\xa0", '"%\\u00a0"'),
            (b"a=%\xc3\xa9", '"%é"'),
            (b"a=%\x80", '"%\\x80"'),
            (b"a=%\xc2\x80", '"%\\u0080"'),
        ]
        for text, shown in table:
            self.assert_refused(f"invalid URL escape {shown}", text)
            self.assert_refused(f"invalid URL escape {shown}", b"", text)

    def test_bad_query_with_good_body(self) -> None:
        self.assert_refused('invalid URL escape "%zz"', b"x=%zz", b"value=1")

    def test_semicolons(self) -> None:
        for text in b"a;b", b"value=a;b=c", b";", b"c=%zz&a;b", b"a;b&c=%zz":
            self.assert_refused("invalid semicolon separator in query", text)

    def test_body_first(self) -> None:
        self.assert_refused('invalid URL escape "%zz"', b"a;b", b"%zz")


class ContentTypeTests(SynchronousTestCase):
    def assert_refused(self, cause: str, content_type: bytes | None, body: bytes = b"") -> None:
        error = self.assertRaises(EtcdError, form_body, content_type, body)
        self.assertEqual((error.code, error.cause, error.index), (210, cause, 0), content_type)

    def test_forms(self) -> None:
        for suffix in b"", b"; charset=utf-8", b" ; param = value", b';a="b;c"', b';a=""', b";", b";a=b;":
            self.assertEqual(form_body(FORM + suffix, b"value=1"), b"value=1", suffix)
        self.assertEqual(form_body(FORM.upper() + b';A="\\""', b"value=1"), b"value=1")

    def test_malformed(self) -> None:
        """With or without a body, of a form or not."""
        table = [
            (b";", "mime: no media type"),
            (b"/plain", "mime: no media type"),
            (b"bad type", "mime: expected slash after first token"),
            (b"text/", "mime: expected token after slash"),
            (b"text/a b", "mime: unexpected content after media subtype"),
            (FORM + b", x", "mime: unexpected content after media subtype"),
            (FORM + b"; foo", "mime: invalid media parameter"),
            (FORM + b"; a=", "mime: invalid media parameter"),
            (FORM + b"; a=b c", "mime: invalid media parameter"),
            (FORM + b"; a b=c", "mime: invalid media parameter"),
            (FORM + b'; a="b', "mime: invalid media parameter"),
            (FORM + b";;a=b", "mime: invalid media parameter"),
            (b"text/plain; foo", "mime: invalid media parameter"),
            (FORM + b"; a=b; A=c", "mime: duplicate parameter name"),
        ]
        for content_type, cause in table:
            self.assert_refused(cause, content_type)
            self.assert_refused(cause, content_type, b"value=1")

    def test_many_parameters(self) -> None:
        content_type = FORM + b"".join(b";p%d=x" % number for number in range(10_000))
        self.assertEqual(form_body(content_type, b"value=1"), b"value=1")

    def test_other_types(self) -> None:
        """A body that would be overlooked is refused; one that is not there does no harm."""
        form = "the body must be application/x-www-form-urlencoded"
        for content_type in (
            b"text",
            b"text/plain",
            b"application/json; charset=utf-8",
            b"multipart/form-data; boundary=x",
        ):
            kind = content_type.partition(b";")[0].decode()
            self.assert_refused(f"{form}, not '{kind}'", content_type, b"value=1")
            self.assertEqual(form_body(content_type, b""), b"")

    def test_no_type(self) -> None:
        for content_type in None, b"":
            self.assertEqual(form_body(content_type, b""), b"")
            self.assert_refused(
                "the body must be application/x-www-form-urlencoded, without a Content-Type",
                content_type,
                b"value=1",
            )


class KeyTests(SynchronousTestCase):
    def assert_refused(self, cause: str, path: bytes) -> None:
        error = self.assertRaises(EtcdError, parse_key, path)
        self.assertEqual((error.code, error.cause, error.index), (209, cause, 0), path)

    def test_paths(self) -> None:
        table = [
            (b"", "/"),
            (b"/", "/"),
            (b"//", "/"),
            (b"/k", "/k"),
            (b"/k/", "/k"),
            (b"/q//foo", "/q/foo"),
            (b"/q/./foo", "/q/foo"),
            (b"/q/.", "/q"),
            (b"/q/x/../foo", "/q/foo"),
            (b"/q/x/..", "/q"),
            (b"/q/..", "/"),
            (b"/q/x/%2e%2e/foo", "/q/foo"),
            (b"/q/a%2f%2Fb", "/q/a/b"),
            (b"/q%2Ffoo", "/q/foo"),
            (b"/a+b", "/a+b"),
            (b"/a%20b%3F", "/a b?"),
            (b"/v#frag", "/v#frag"),
            (b"/a;b", "/a;b"),
            (b"/.hidden/..x/...", "/.hidden/..x/..."),
            (b"/%e4%bd%a0\xe2\x80\xa6", "/\u4f60…"),
            (b"/%ff\xfe", "/\udcff\udcfe"),
            (b"/%252F", "/%2F"),
            (b"/A", "/A"),
            (b"/a" * 2048, "/a" * 2048),
        ]
        for path, key in table:
            self.assertEqual(parse_key(path), key)
            self.assertEqual(clean_key(key), key)

    def test_without_slash(self) -> None:
        """The Python API is less strict with keys than a URL can be."""
        self.assertEqual(clean_key("a/b"), "/a/b")

    def test_climbing_out(self) -> None:
        for path in b"/..", b"/a/../..", b"/../v2/keys", b"/%2e%2e/x", b"..", b"/a/../../a":
            self.assert_refused("the path leaves the key space", path)

    def test_too_long(self) -> None:
        """A directory holds its own path, so that a long path costs its length squared."""
        for path in b"/a" * 2049, b"/" + b"%61" * 4096, b"/." * 2049:
            self.assert_refused("a key cannot be longer than 4096 characters", path)

    def test_nul(self) -> None:
        for path in b"/a%00b", b"/a\0b":
            self.assert_refused("a key cannot contain NUL", path)

    def test_bad_escapes(self) -> None:
        self.assert_refused('invalid URL escape "%zz"', b"/%zz")
        self.assert_refused('invalid URL escape "%"', b"/a%")
