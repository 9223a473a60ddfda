"""TLS with real processes: rotation, signals, stopping, probes, and `mtls:` in somebody else's service."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import time
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.certificates import CLIENT, LOOPBACK, SERVER, Authority, Credentials, pem
from tests.e2e import SCRIPTS, TIMEOUT, Client, EndToEndCase, ServerProcess, free_port


class TLSJobCase(EndToEndCase):
    """A directory with a CA and the server's certificate, and what a client needs."""

    ca = Authority.create("test CA")

    def setUp(self) -> None:
        super().setUp()
        self.client = self.ca.issue("client", purposes=[CLIENT])
        self.client.write(self.directory, "client")
        (self.directory / "ca.crt").write_bytes(pem(self.ca.certificate))
        self.renew()
        self.revoke()

    def renew(self) -> x509.Certificate:
        server = self.ca.issue("server", purposes=[SERVER], hosts=LOOPBACK)
        server.write(self.directory, "server")
        return server.certificate

    def revoke(self, *certificates: x509.Certificate) -> None:
        crl = self.ca.revoke(*certificates).public_bytes(Encoding.PEM)
        (self.directory / "ca.crl").write_bytes(crl)

    def serve(self, *more: str) -> ServerProcess:
        files = ("--cert-file=server.crt", "--key-file=server.key", "--ca-file=ca.crt")
        return self.start(*files, "--client-crl-file=ca.crl", *more)

    def context(self, client: Credentials | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=pem(self.ca.certificate).decode())
        if client is not None:
            context.load_cert_chain(*client.write(self.directory, "shown"))
        return context

    def connect(self, port: int, client: Credentials | None = None) -> HTTPSConnection:
        context = self.context(client or self.client)
        connection = HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=context)
        self.addCleanup(connection.close)
        connection.connect()
        return connection

    def get(self, connection: HTTPSConnection, path: str = "/version") -> bytes:
        connection.request("GET", path)
        return connection.getresponse().read()


def shown_on(connection: HTTPSConnection) -> x509.Certificate:
    """The server's certificate."""
    content = connection.sock.getpeercert(True)
    assert isinstance(content, bytes)
    return x509.load_der_x509_certificate(content)


class RotationTests(TLSJobCase):
    def test_new_files_while_a_watch_waits(self) -> None:
        server = self.serve()
        watch = self.connect(server.port)
        watch.request("GET", "/v2/keys/a?wait=true")
        waiting = watch.getresponse()
        fresh = self.renew()
        other = self.ca.issue("other", purposes=[CLIENT])
        self.revoke(other.certificate)
        server.wait_for("TLS: the files were read anew")
        writer = self.connect(server.port)
        self.assertEqual(shown_on(writer), fresh)
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.get(self.connect(server.port, other))
        server.wait_for(": it is revoked; certificate CN=other,O=txetcd, issued by CN=test CA,O=txetcd")
        writer.request("PUT", "/v2/keys/a?value=1")
        self.assertEqual(writer.getresponse().status, 201)
        self.assertEqual(json.loads(waiting.read())["node"]["value"], "1")
        server.stop()

    def test_signal(self) -> None:
        """It does not end the process, and does not wait for the next look at the files."""
        server = self.serve("--close-revoked")
        idle = self.connect(server.port)
        self.get(idle)
        self.revoke(self.client.certificate)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("TLS: the files were read anew")
        server.wait_for("it was connected, and is closed: its certificate is revoked")
        # Closed, or cut off: what matters is that there is nothing more.
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(idle.sock.recv(1), b"")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("TLS: the files are as they were")
        server.stop()

    def test_signal_without_certificates(self) -> None:
        server = self.start()
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("There are no certificates to read again")
        self.assertEqual(server.request("GET", "/version").status, 200)
        server.stop()

    def test_server_certificate_alone(self) -> None:
        """Without client certificates it is an ssl: endpoint, and follows the files as well."""
        server = self.start("--cert-file=server.crt", "--key-file=server.key")
        fresh = self.renew()
        server.wait_for("TLS: the files were read anew")
        self.assertEqual(shown_on(self.connect(server.port)), fresh)
        server.stop()


class RefusalTests(TLSJobCase):
    def test_name_that_is_not_allowed(self) -> None:
        """TLS says goodbye, and the client has the time to do so too."""
        server = self.serve("--client-cert-allowed-cn=bob,eve")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(self.client)
            context.maximum_version = version
            with closing(socket.create_connection(("127.0.0.1", server.port), TIMEOUT)) as connection:
                tls = context.wrap_socket(connection, server_hostname="127.0.0.1")
                tls.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertEqual(tls.recv(1), b"")
                tls.unwrap()
        bob = self.ca.issue("bob", purposes=[CLIENT])
        self.assertIn(b"3.4.23", self.get(self.connect(server.port, bob)))
        server.stop()
        self.assertEqual(
            server.output.count("its common name is not an allowed one; certificate CN=client"), 2
        )


class StopTests(TLSJobCase):
    def test_idle_clients_do_not_hold_it_up(self) -> None:
        server = self.serve()
        idle = self.connect(server.port)
        self.get(idle)
        watch = self.connect(server.port)
        watch.request("GET", "/v2/keys/a?wait=true")
        watching = watch.getresponse()
        half_open = socket.create_connection(("127.0.0.1", server.port))
        self.addCleanup(half_open.close)
        self.get(self.connect(server.port))
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        # TLS says goodbye: to lose the connection without that would be an SSLEOFError.
        # Closed, or cut off: what matters is that there is nothing more.
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(idle.sock.recv(1), b"")
        self.assertEqual(watching.read(), b"")
        server.stopped(began)
        self.assertLess(time.monotonic() - began, 1.5)


class HalfOpenTests(TLSJobCase):
    def test_they_do_not_starve_others(self) -> None:
        server = self.serve("--max-connections=3", "--tls-handshake-timeout=1")
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        for each in silent:
            self.addCleanup(each.close)
            each.settimeout(TIMEOUT)
        self.assertIn(b"3.4.23", self.get(self.connect(server.port)))
        for each in silent:
            with self.assertRaises(ConnectionResetError):
                each.recv(1)
        server.wait_for("its handshake took more than 1 seconds")


class ProbeTests(TLSJobCase):
    def test_metrics_urls(self) -> None:
        plain, secure = free_port(), free_port()
        server = self.serve(f"--listen-metrics-urls=http://127.0.0.1:{plain},https://127.0.0.1:{secure}")
        server.wait_for(f"Serving /health and /metrics alone on https://127.0.0.1:{secure}")
        probe = Client(plain)
        self.addCleanup(probe.close)
        answer = probe.request("GET", "/health")
        self.assertEqual((answer.status, answer.body.strip()), (200, b'{"health":"true"}'))
        for path in ("/v2/keys/", "/version", "/"):
            self.assertEqual(probe.request("GET", path).status, 404, path)
        context = self.context(None)
        with closing(HTTPSConnection("127.0.0.1", secure, timeout=TIMEOUT, context=context)) as secured:
            self.assertEqual(self.get(secured, "/health").strip(), b'{"health":"true"}')
        with closing(HTTPSConnection("127.0.0.1", server.port, timeout=TIMEOUT, context=context)) as refused:
            self.assertRaises((ssl.SSLError, ConnectionError), self.get, refused, "/health")
        server.stop()


class MutualEndpointTests(TLSJobCase):
    """`mtls:` endpoints, which Twisted knows from our plugin."""

    def description(self, port: int) -> str:
        return f"mtls:{port}:privateKey=server.key:certKey=server.crt:caCerts=ca.crt:interface=127.0.0.1"

    def assert_guarded(self, port: int, path: str, content: bytes) -> None:
        self.assertIn(content, self.get(self.connect(port), path))
        with closing(
            HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=self.context(None))
        ) as stranger:
            self.assertRaises((ssl.SSLError, ConnectionError), self.get, stranger, path)

    def test_in_a_service_of_twisted_s(self) -> None:
        port = free_port()
        (self.directory / "files").mkdir()
        Path(self.directory / "files" / "hello.txt").write_bytes(b"hello there")
        twist = [str(SCRIPTS / "twist"), "web", "--path=files", f"--listen={self.description(port)}"]
        server = self.launch(twist, port)
        server.wait_for("starting on")
        self.assert_guarded(port, "/hello.txt", b"hello there")
        server.wait_for("it has shown no certificate")

    def test_as_listen(self) -> None:
        port, plain = free_port(), free_port()
        server = self.launch(
            [
                *(str(SCRIPTS / "txetcd"), "--data-dir=data", f"--listen={self.description(port)}"),
                *(f"--listen=tcp:{plain}:interface=127.0.0.1", f"--addr=127.0.0.1:{port}"),
            ],
            plain,
        )
        server.wait_for(f"Serving on tcp:{plain}")
        self.assert_guarded(port, "/v2/machines", f"https://127.0.0.1:{port}".encode())
        self.assertEqual(server.request("GET", "/version").status, 200)
        server.stop()

    def test_what_is_wrong_with_it(self) -> None:
        (self.directory / "ca.crt").unlink()
        self.assert_does_not_start("mtls: caCerts= ca.crt cannot be read", f"--listen={self.description(1)}")
