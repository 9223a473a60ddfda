"""Each sort of value of an option, by itself."""

from __future__ import annotations

from tests.settings_harness import SettingsCase, settings
from txetcd.settings import Address


class ValuesTests(SettingsCase):
    def test_numbers(self) -> None:
        for option, low, high in (
            ("history-size", 1, 10_000_000),
            ("max-connections", 0, 1_000_000),
            ("max-connections-per-address", 0, 1_000_000),
            ("max-headers", 1, 10_000),
            ("max-header-bytes", 1024, 1 << 24),
            ("max-request-bytes", 1, 1 << 30),
        ):
            for good in (low, high):
                made = settings(f"--{option}", str(good))
                self.assertEqual(getattr(made, option.replace("-", "_")), good)
            for bad in (str(low - 1), str(high + 1), "+5", "1_0", "\u0667", " 5", "5\n", "0x5", "9" * 5000):
                self.assert_refused(f"must be a whole number from {low} to {high}", f"--{option}={bad}")

    def test_seconds(self) -> None:
        self.assertEqual(settings("--idle-timeout=1.5").idle_timeout, 1.5)
        for bad in ("0", "0.9", "86401", "nan", "inf", "1e3", "-1", "1.", ".5", "5s"):
            self.assert_refused("must be a number of seconds from 1 to 86400", f"--idle-timeout={bad}")

    def test_addr(self) -> None:
        for text, host in (("[::1]:5", "::1"), ("[0:0::1]:5", "::1"), ("127.0.0.1:5", "127.0.0.1")):
            self.assertEqual(settings("--addr", text).bind, (Address(host, 5, False),), text)
        self.assertEqual(settings("--addr", "[::1]:5").advertise_client_urls, ("http://[::1]:5",))

    def test_addr_refused(self) -> None:
        for message, text in (
            ("must be host:port", "127.0.0.1"),
            ("must be host:port", ":4001"),
            ("must be host:port", "127.0.0.1:0"),
            ("must be host:port", "127.0.0.1:http"),
            ("must be host:port", "http://127.0.0.1:4001"),
            ("must have a port of 65535 at most", "127.0.0.1:65536"),
            ("no IP address in it: 127.0.0.256", "127.0.0.256:4001"),
            ("no host name or IP address in it: a b", "a b:4001"),
            ("in brackets", "::1:4001"),
            ("no IPv6 address between the brackets", "[127.0.0.1]:4001"),
        ):
            self.assert_refused(message, "--addr", text)

    def test_bind_addr(self) -> None:
        for text, host, port in (
            ("0.0.0.0:5", "0.0.0.0", 5),
            ("0.0.0.0", "0.0.0.0", 4001),
            ("[::]", "::", 4001),
            ("localhost:0", "127.0.0.1", 0),
        ):
            self.assertEqual(settings("--bind-addr", text).bind, (Address(host, port, False),), text)
        self.assertEqual(settings("-addr=a.example:7", "-bind-addr=[::]").bind, (Address("::", 7, False),))

    def test_bind_addr_refused(self) -> None:
        self.assert_refused("write 0.0.0.0:4005, or [::]:4005, to listen on all", "--bind-addr", ":4005")
        self.assert_refused("must have an IP address", "--bind-addr", "example.com:4001")

    def test_client_urls(self) -> None:
        made = settings("--advertise-client-urls", "http://a:1, https://[::1]:2/")
        self.assertEqual(made.advertise_client_urls, ("http://a:1", "https://[::1]:2"))
        for bad in (
            "a:1",
            "ftp://a:1",
            "http://a",
            "http://:1",
            "http://a:1/p",
            "http://u@a:1",
            "http://a:1,",
        ):
            self.assert_refused("--advertise-client-urls", "--advertise-client-urls", bad)

    def test_cors(self) -> None:
        self.assertEqual(settings("--cors", "*").cors, ("*",))
        self.assertEqual(settings("--cors", "http://a, https://b:1").cors, ("http://a", "https://b:1"))
        for bad in ("a.example", "http://a/", "http://a,", ""):
            self.assert_refused("--cors", f"--cors={bad}")

    def test_name(self) -> None:
        for bad in ("a/b", "..", "a b", "a\nb", "a\0b"):
            self.assert_refused("must be a name without spaces and slashes", f"--name={bad}")

    def test_listen(self) -> None:
        self.assertEqual(settings("--listen", "tcp:1", "--listen", "tcp:2").listen, ("tcp:1", "tcp:2"))
        self.assert_refused("must be a Twisted endpoint string", "--listen", "127.0.0.1")

    def test_path(self) -> None:
        self.assert_refused("must be a path", "--data-dir=a\0b")
