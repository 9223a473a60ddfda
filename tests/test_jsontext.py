"""txetcd.jsontext: strings and times as Go prints them."""

from __future__ import annotations

import datetime
import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import properties
from txetcd.jsontext import quote, rfc3339

QUOTED = [
    ("", ""),
    ("plain /text", "plain /text"),
    ('"\\', '\\"\\\\'),
    ("\n\r\t", "\\n\\r\\t"),
    ("\b\f\x00\x1f", "\\u0008\\u000c\\u0000\\u001f"),
    ("<>&", "\\u003c\\u003e\\u0026"),
    ("\u2028\u2029", "\\u2028\\u2029"),
    ("\x7f\ufeff…\u4f60\U0001f600", "\x7f\ufeff…\u4f60\U0001f600"),
    ("a\udc80\udcffb", "a\\ufffd\\ufffdb"),
]

TIMES = [
    (0, "1970-01-01T00:00:00Z"),
    (1, "1970-01-01T00:00:00.000000001Z"),
    (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
    (1_700_000_000_100_000_000, "2023-11-14T22:13:20.1Z"),
    (1_700_000_000_123_456_780, "2023-11-14T22:13:20.12345678Z"),
    (1_700_000_000_000_000_100, "2023-11-14T22:13:20.0000001Z"),
    # Beyond what 64 bits of nanoseconds can hold.
    (253_402_300_799_999_999_999, "9999-12-31T23:59:59.999999999Z"),
]


class QuoteTests(SynchronousTestCase):
    def test_table(self) -> None:
        for text, quoted in QUOTED:
            self.assertEqual(quote(text), f'"{quoted}"')

    @properties
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_json_reads_it_back(self, text: str) -> None:
        self.assertEqual(json.loads(quote(text)), text)

    @properties
    @given(st.binary(max_size=30))
    def test_bytes(self, data: bytes) -> None:
        """Whatever the bytes, the answer is UTF-8; each byte that was not is one replacement."""
        text = data.decode("utf-8", "surrogateescape")
        shown = json.loads(quote(text).encode())
        replaced = (char if not "\ud800" <= char <= "\udfff" else "\ufffd" for char in text)
        self.assertEqual(shown, "".join(replaced))


class TimeTests(SynchronousTestCase):
    def test_table(self) -> None:
        for nanoseconds, text in TIMES:
            self.assertEqual(rfc3339(nanoseconds), text)

    @properties
    @given(st.datetimes(datetime.datetime(1970, 1, 1)))
    def test_datetimes(self, moment: datetime.datetime) -> None:
        """It is the same moment that the standard library reads, to the microsecond."""
        moment = moment.replace(tzinfo=datetime.timezone.utc)
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        text = rfc3339((moment - epoch) // datetime.timedelta(microseconds=1) * 1000)
        whole, _, fraction = text.rstrip("Z").partition(".")
        self.assertEqual(datetime.datetime.fromisoformat(f"{whole}.{fraction.ljust(6, '0')}+00:00"), moment)
