"""`txetcd.query` and whatever clients may send: it understands, or refuses with an EtcdError; nothing else.

Runs are as `tests.properties` says.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import START, properties
from txetcd.commands import evaluate
from txetcd.errors import EtcdError
from txetcd.query import (
    Write,
    clean_key,
    form_body,
    parse,
    parse_access,
    parse_form,
    parse_key,
    want_event_stream,
)
from txetcd.tree import EMPTY

NAMES = """
    value prevValue prevIndex prevExist ttl dir recursive sorted wait waitIndex stream quorum refresh
    noValueOnSuccess waitTimeout keysOnly limit startAfter unknown
""".split()
VALUES = """
    true false 1 0 t F TRUE yes -1 +1 01 18446744073709551615 18446744073709551616 253402300800 1.5 1e3 0x1
    1_0 \N{ARABIC-INDIC DIGIT ONE} \N{SUPERSCRIPT TWO} \udcff /a/b a
""".split()
texts = st.sampled_from(["", " ", "9" * 5000, *VALUES]) | st.text(max_size=5)
forms = st.dictionaries(st.sampled_from(NAMES) | texts, texts, max_size=6)
methods = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", ""])
marks = st.sampled_from(
    [b"%", b"%2", b"%2F", b"%00", b"%zz", b"+", b"&", b"=", b";", b"/", b"..", b".", b"\0", b"\xff"]
)
names = st.sampled_from([name.encode() for name in NAMES])
encoded = st.lists(marks | names | st.binary(max_size=4), max_size=12).map(b"".join)
keys = st.text("/._a\0\udcff\N{SNOWMAN}", max_size=12)


class QueryTestCase(SynchronousTestCase):
    """Calls what may refuse."""

    def answer(self, function: Any, *args: Any) -> Any:
        """Give what `function` gives, None if it refuses, which must be an error that can be sent."""
        try:
            return function(*args)
        except EtcdError as error:
            self.assertIn(error.status, (400, 401, 404))
            told = json.loads(error.to_json().encode("utf-8", "surrogateescape"))
            self.assertEqual((told["errorCode"], told["index"]), (error.code, 0))
            return None


class ParsingTests(QueryTestCase):
    """From bytes to keys, arguments and queries"""

    @properties
    @given(encoded)
    @example(b"/" * 5000)
    @example(b"/a" * 3000)
    def test_keys(self, path: bytes) -> None:
        key = self.answer(parse_key, path)
        if key is not None:
            self.assertTrue(key.startswith("/"))
            self.assertNotIn("\0", key)
            self.assertEqual([name for name in key.split("/")[1:] if name in (".", "..")], [])
            self.assertTrue(key == "/" or "" not in key.split("/")[1:], key)
            self.assertEqual(clean_key(key), key)
            again = quote_from_bytes(key.encode("utf-8", "surrogateescape"), safe="/").encode()
            self.assertEqual(parse_key(again), key)

    @properties
    @given(keys)
    def test_cleaning(self, key: str) -> None:
        cleaned = self.answer(clean_key, key)
        if cleaned is not None:
            self.assertEqual(clean_key(cleaned), cleaned)

    @properties
    @given(encoded, encoded)
    def test_forms(self, query: bytes, body: bytes) -> None:
        form = self.answer(parse_form, query, body)
        if form is not None:
            self.assertEqual(form, parse_form(query, b"") | parse_form(body, b""))

    @properties
    @given(forms)
    def test_arguments_arrive_as_they_were_meant(self, form: dict[str, str]) -> None:
        sent = urlencode(form, encoding="utf-8", errors="surrogateescape").encode()
        self.assertEqual((parse_form(sent, b""), parse_form(b"", sent)), (form, form))

    @properties
    @given(
        st.none()
        | st.lists(marks | st.sampled_from([b"text", b"/", b";", b'"', b"\\", b" ", b"a=b"])).map(b"".join)
    )
    @example(b"application/x-www-form-urlencoded" + b";a=b" * 2000)
    @example(b"application/x-www-form-urlencoded" + b" " * 20_000 + b"x")
    @example(b'application/x-www-form-urlencoded; a="' + b"\\" * 20_001)
    def test_content_types(self, content_type: bytes | None) -> None:
        self.assertIn(self.answer(form_body, content_type, b"a=b"), (None, b"a=b"))
        self.assertIn(self.answer(form_body, content_type, b""), (None, b""))

    @properties
    @given(
        forms,
        st.none() | st.binary(max_size=5) | st.sampled_from([b"7", b"9" * 5000, b"18446744073709551615"]),
    )
    def test_event_streams(self, form: dict[str, str], last: bytes | None) -> None:
        self.answer(want_event_stream, form, last)
        self.answer(parse, "GET", "/", form, START)

    @properties
    @given(methods, encoded, forms)
    def test_access(self, method: str, path: bytes, form: dict[str, str]) -> None:
        key = self.answer(parse_key, path)
        if key is not None:
            self.answer(parse_access, method, path, key, form)

    @properties
    @given(methods, keys, forms)
    @example("PUT", "/a", {"ttl": "\N{SUPERSCRIPT TWO}"})
    @example("GET", "/a", {"waitIndex": "\N{ARABIC-INDIC DIGIT ONE}"})
    def test_queries(self, method: str, path: str, form: dict[str, str]) -> None:
        """What is understood as a write can be evaluated, with an event or an EtcdError to follow."""
        key = self.answer(clean_key, path)
        if key is not None:
            query = self.answer(parse, method, key, form, START)
            if isinstance(query, Write):
                self.assertIn(self.refused(query), (None, 100, 102, 104, 105, 107))

    def refused(self, query: Write) -> int | None:
        """The error code of a write to an empty store."""
        try:
            evaluate(EMPTY, query.command)
        except EtcdError as error:
            json.loads(error.to_json().encode("utf-8", "surrogateescape"))
            return error.code
        return None
