"""txetcd.origin: what connections of one client have in common."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from txetcd.origin import is_local, origin


class OriginTests(SynchronousTestCase):
    def of(self, host: str) -> str:
        kind = IPv6Address if ":" in host else IPv4Address
        return origin(kind("TCP", host, 1))

    def test_addresses(self) -> None:
        """Of IPv4 the address counts, also where it is written as one of IPv6; of IPv6 the network."""
        self.assertEqual(self.of("192.0.2.1"), "192.0.2.1")
        self.assertEqual(self.of("::ffff:192.0.2.1"), "192.0.2.1")
        self.assertEqual(self.of("2001:db8:0:1::5"), self.of("2001:db8:0:1:ffff::6"))
        self.assertNotEqual(self.of("2001:db8:0:1::5"), self.of("2001:db8:0:2::5"))
        self.assertEqual(self.of("fe80::1%eth0"), self.of("fe80::2%eth0"))

    def test_local(self) -> None:
        for host in "127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1":
            self.assertTrue(is_local(self.of(host)))
        self.assertTrue(is_local(origin(UNIXAddress("/run/x"))))
        self.assertTrue(is_local(origin(None)))
        for host in "192.0.2.1", "2001:db8::1", "::2":
            self.assertFalse(is_local(self.of(host)))
        self.assertNotEqual(self.of("127.0.0.1"), self.of("127.0.0.2"))
