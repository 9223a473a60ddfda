"""`https:` in front of an endpoint string of --listen: what it means, and real clients at such endpoints."""

from __future__ import annotations

import socket
import ssl
import sys
from http.client import HTTPConnection, HTTPSConnection, RemoteDisconnected
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import CONSOLE_SCRIPT, TIMEOUT, EndToEndCase, ServerProcess, free_port
from tests.hostile.target import Target, issue
from tests.test_systemd import HAND_OVER
from txetcd.settings import Settings, build
from txetcd.settings.sources import SettingsError, parse_arguments

FILES = ("--cert-file=c", "--key-file=k")


def settings(*arguments: str) -> Settings:
    return build(parse_arguments(arguments), "here", Path("/"))


class SettingsTests(SynchronousTestCase):
    def assert_refused(self, message: str, *arguments: str) -> None:
        error = self.assertRaises(SettingsError, settings, *arguments)
        self.assertIn(message, str(error))
        self.assertNotIn("\n", str(error))

    def test_needs_a_certificate(self) -> None:
        for more in ((), ("--key-file=k",), ("--listen=ssl:2",)):
            self.assert_refused(
                "--listen https:tcp:1: https: needs a certificate; give --cert-file and --key-file",
                "--listen=https:tcp:1",
                *more,
            )

    def test_not_twice(self) -> None:
        for inner in ("ssl:1", "mtls:1", "tls:tcp:1", "https:tcp:1"):
            self.assert_refused("has TLS twice; leave https: out", f"--listen=https:{inner}", *FILES)

    def test_no_endpoint_string(self) -> None:
        for text in ("https:", "https://127.0.0.1:4001", "https:4001 "):
            self.assert_refused("must be a Twisted endpoint string", f"--listen={text}", *FILES)

    def test_certificate_serves_somebody(self) -> None:
        self.assert_refused("https: in front of --listen", "--listen=tcp:1", *FILES)
        self.assertEqual(settings("--listen=https:tcp:1", *FILES).listen, ("https:tcp:1",))

    def test_clients_are_told_https(self) -> None:
        made = settings("--listen=https:unix:/s", "--addr=a.example:80", *FILES)
        self.assertEqual((made.bind, made.advertise_client_urls), ((), ("https://a.example:80",)))

    def test_nobody_is_warned_of_it(self) -> None:
        for more in ((), ("--ca-file=ca",)):
            self.assertEqual(settings("--listen=https:tcp:1", *FILES, *more).warnings, ())


class EndpointTests(EndToEndCase):
    """Servers with the certificates of `tests.hostile.target`."""

    def target(self) -> Target:
        return Target(0, 0, self.directory, True)

    def serve(self, *options: str, before: tuple[str, ...] = ()) -> ServerProcess:
        server = self.launch([*before, *CONSOLE_SCRIPT, "--data-dir=data", "--addr=127.0.0.1:4001", *options])
        server.wait_for("Serving on https:")
        return server

    def status(self, where: int | str, context: ssl.SSLContext | None) -> int:
        """Ask at a port or at a unix socket, with TLS or plainly."""
        plain: socket.socket
        if isinstance(where, int):
            plain = socket.create_connection(("127.0.0.1", where), TIMEOUT)
        else:
            plain = socket.socket(socket.AF_UNIX)
            plain.settimeout(TIMEOUT)
            plain.connect(where)
        self.addCleanup(plain.close)
        connection = HTTPConnection("127.0.0.1", timeout=TIMEOUT)
        if context is not None:
            connection = HTTPSConnection("127.0.0.1", timeout=TIMEOUT)
        self.addCleanup(connection.close)
        connection.sock = (
            plain if context is None else context.wrap_socket(plain, server_hostname="127.0.0.1")
        )
        connection.request("PUT", "/v2/keys/a?value=1")
        response = connection.getresponse()
        response.read()
        return response.status

    def assert_for_clients_of_the_ca(self, where: int | str) -> None:
        target = self.target()
        self.assertIn(self.status(where, target.context()), (200, 201))
        with self.assertRaises((OSError, RemoteDisconnected)):
            self.status(where, target.context(certificate=False))
        self.assertEqual(self.status(where, None), 400)

    def test_every_kind(self) -> None:
        """On one server, beside an endpoint without it."""
        port, path, plain = free_port(), str(self.directory / "secure"), str(self.directory / "plain")
        server = self.serve(
            *issue(self.directory),
            f"--listen=https:tcp:{port}:interface=127.0.0.1",
            f"--listen=https:unix:{path}:mode=660",
            f"--listen=unix:{plain}",
        )
        for where in (port, path):
            self.assert_for_clients_of_the_ca(where)
        self.assertEqual(self.status(plain, None), 200)
        self.assertIn("TLS: refused unix: it has shown no certificate", server.output)
        self.assertIn(f"unix:{plain} speaks plain HTTP and asks no client for a certificate", server.output)
        server.stop()

    def test_without_client_certificates(self) -> None:
        path = str(self.directory / "socket")
        _, *own = issue(self.directory)
        server = self.serve(*own, f"--listen=https:unix:{path}")
        self.assertEqual(self.status(path, self.target().context(certificate=False)), 201)
        server.stop()

    def test_time_limit(self) -> None:
        """It is the server's own."""
        path = str(self.directory / "socket")
        server = self.serve(
            *issue(self.directory), f"--listen=https:unix:{path}", "--tls-handshake-timeout=0.1"
        )
        with socket.socket(socket.AF_UNIX) as silent:
            silent.settimeout(TIMEOUT)
            silent.connect(path)
            self.assertEqual(silent.recv(1), b"")
        server.wait_for("its handshake took more than 0.1 seconds")
        server.stop()

    def test_sockets_of_systemd(self) -> None:
        files = issue(self.directory)
        for domain, where in (("INET", free_port()), ("UNIX", str(self.directory / "socket"))):
            server = self.serve(
                *files,
                f"--listen=https:systemd:domain={domain}:index=0",
                before=(sys.executable, "-c", HAND_OVER, str(where)),
            )
            self.assert_for_clients_of_the_ca(where)
            server.stop()

    def test_nothing_was_handed_over(self) -> None:
        where = "https:systemd:domain=INET:index=0"
        self.assert_does_not_start(
            f"--listen {where}: systemd has handed over no such socket",
            f"--listen={where}",
            *issue(self.directory),
        )
