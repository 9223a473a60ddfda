"""The targets of `tests.fuzz` run without atheris, and notice what they are for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz import targets
from txetcd.site import Site
from txetcd.site.channel import Channel

TWO = b"\x05GET / HTTP/1.1\r\nHost: x\r\n\r\nPUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = (
    b"\x07PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;a=b\r\nabc\r\n0\r\n\r\nHEAD / HTTP/1.0\r\n\r\n"
)


class TargetsTests(SynchronousTestCase):
    def test_channel(self) -> None:
        for data in (b"", b"\x00", TWO, CHUNKED, TWO + b"\0" * 500, b"\x03\x16\x03\x01"):
            targets.channel(data)

    def test_query(self) -> None:
        for data in (
            b"",
            b"\x02/a\nprevExist=true&ttl=5\nvalue=b",
            b"\x00/a/_b\nwait=true&recursive=true&waitIndex=5\n",
            b"\x02/a\nttl=99999999999999\n",
            b"\x03/../a\n%zz\n;;",
        ):
            targets.query(data)

    def test_exception_is_noticed(self) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError

        self.patch(Channel, "_read_request", fail)
        self.assertRaises(ZeroDivisionError, targets.channel, TWO)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_wrong_answer_is_noticed(self) -> None:
        self.patch(Site, "date", lambda site: b"x\r\nContent-Length: 9999")
        self.assertRaises(AssertionError, targets.channel, TWO)
