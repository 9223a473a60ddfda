"""The main job, with real processes: the documented commands, and what an operator sees at start and stop."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

import txetcd
from tests import documents
from tests.certificates import CLIENT, LOOPBACK, SERVER, Authority, pem
from tests.e2e import CONSOLE_SCRIPT, TIMEOUT, TWISTD, EndToEndCase, ServerProcess, free_port
from txetcd import SQLiteJournal, Store
from txetcd.descriptors import raise_limit
from txetcd.journal import CHECKPOINT_COMMANDS

# As docs/https.md has them: the servers without and with --ca-file, curl without and with a certificate.
PLAIN_SERVER, GUARDED_SERVER = documents.commands(documents.HTTPS, "twistd")[:2]
CURL, CURL_WITH_CERTIFICATE = documents.commands(documents.HTTPS, "curl")[:2]

ADDRESS = "127.0.0.1:4001"
SET = '{"action":"set","node":{"key":"/foo","value":"bar","modifiedIndex":%d,"createdIndex":%d}'


def curl_missing() -> str | None:
    """Why the tests that use curl cannot run, if they cannot."""
    if shutil.which("curl") is None:
        return "curl is not installed"
    version = subprocess.run(["curl", "--version"], capture_output=True, text=True, timeout=TIMEOUT).stdout
    return None if "OpenSSL" in version else "curl uses another TLS library than OpenSSL"


class CurlCase(EndToEndCase):
    """Runs the documented commands as a shell would, in a directory that has fixtures/ca."""

    skip = curl_missing()

    def setUp(self) -> None:
        super().setUp()
        (self.directory / "fixtures").symlink_to(documents.CHECKOUT / "fixtures")
        self.port = free_port()

    def serve(self, command: str) -> ServerProcess:
        """Start a documented server, on a port of its own."""
        server = self.launch([*shlex.split(command), f"--addr=127.0.0.1:{self.port}"])
        server.wait_for("Certificate ")
        return server

    def curl(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run a documented curl command, on that port."""
        return self.run_to_end(*shlex.split(command.replace(ADDRESS, f"127.0.0.1:{self.port}")), "-sS", *more)

    def assert_served(self, ended: subprocess.CompletedProcess[str], index: int, created: int) -> None:
        """The documented PUT was answered, and the key got these indices."""
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn(SET % (index, created), ended.stdout)
        # The wording before and since curl 8.
        self.assertRegex(ended.stderr, r"SSL certificate (verify ok|verified)")

    def assert_refused(self, ended: subprocess.CompletedProcess[str], alert: str) -> None:
        """The handshake ended with an alert, and there was no HTTP."""
        self.assertIn(ended.returncode, (35, 56), ended.stderr)
        self.assertRegex(ended.stderr, rf"curl: \(\d+\).* alert {alert}")
        self.assertEqual(ended.stdout, "")
        self.assertNotIn("< HTTP/", ended.stderr)


class DocumentedCommandsTests(CurlCase):
    def test_server_certificate(self) -> None:
        server = self.serve(PLAIN_SERVER)
        ended = self.curl(CURL)
        self.assert_served(ended, 2, 2)
        self.assertIn("SSL connection using TLSv1.3", ended.stderr)
        self.assertIn("ALPN: server accepted http/1.1", ended.stderr)
        self.assert_served(self.curl(CURL, "--tls-max", "1.2"), 3, 3)
        self.assertEqual(self.curl(CURL, "--tls-max", "1.1").returncode, 35)
        server.stop()

    def test_server_is_not_trusted_without_its_ca(self) -> None:
        self.serve(PLAIN_SERVER)
        ended = self.curl(CURL.replace("--cacert ./fixtures/ca/server-chain.pem ", ""))
        self.assertEqual((ended.returncode, ended.stdout), (60, ""))

    def test_client_certificates(self) -> None:
        server = self.serve(GUARDED_SERVER)
        self.assert_refused(self.curl(CURL), "certificate required")
        self.assert_refused(self.curl(CURL, "--tls-max", "1.2"), "handshake failure")
        ended = self.curl(CURL_WITH_CERTIFICATE)
        # The first index: nothing was written before.
        self.assert_served(ended, 2, 2)
        self.assertRegex(ended.stderr, r"TLSv1\.3 \(OUT\), TLS handshake, CERT verify \(15\)")
        self.assert_served(self.curl(CURL_WITH_CERTIFICATE, "--tls-max", "1.2"), 3, 3)
        server.stop()

    def test_stop_ends_watches(self) -> None:
        for version in ("1.2", "1.3"):
            server = self.serve(GUARDED_SERVER)
            command = CURL_WITH_CERTIFICATE.replace(ADDRESS, f"127.0.0.1:{self.port}")
            command = command.replace(
                "/foo -XPUT -d value=bar -v", f"/foo?wait=true -sSv --tls-max {version}"
            )
            watch = self.launch(shlex.split(command))
            watch.wait_for("< X-Etcd-Index")
            server.stop()
            self.assertEqual(watch.process.wait(TIMEOUT), 0, watch.output)
            self.assertNotIn("action", watch.output)

    def test_plain_http_on_the_tls_port(self) -> None:
        self.serve(GUARDED_SERVER)
        ended = self.curl(CURL.replace("https://", "http://"))
        said = "This port speaks HTTPS: write https:// in front of the address.\n"
        self.assertEqual((ended.returncode, ended.stdout), (0, said), ended.stderr)
        self.assertIn("< HTTP/1.1 400 Bad Request", ended.stderr)

    def test_tls_on_the_plain_port(self) -> None:
        self.start(f"--addr=127.0.0.1:{self.port}")
        ended = self.curl(CURL)
        self.assertEqual((ended.returncode, ended.stdout), (35, ""), ended.stderr)
        self.assertIn("wrong version number", ended.stderr)

    def test_console_script_with_the_options_of_etcd(self) -> None:
        arguments = GUARDED_SERVER.partition(" txetcd ")[2].replace(" --", " -")
        self.assertIn(" -name machine0 -data-dir machine0 -ca-file=", arguments)
        server = self.serve(f"txetcd {arguments}")
        self.assert_served(self.curl(CURL_WITH_CERTIFICATE), 2, 2)
        self.assert_refused(self.curl(CURL), "certificate required")
        server.stop()

    def test_default_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", 4001))
            except OSError:
                self.skipTest("port 4001 is in use")
        server = self.launch(shlex.split(GUARDED_SERVER))
        server.wait_for("Clients need")
        self.assert_served(self.run_to_end(*shlex.split(CURL_WITH_CERTIFICATE)), 2, 2)
        self.assert_refused(self.run_to_end(*shlex.split(CURL)), "certificate required")
        server.stop()

    def test_purposes_of_client_certificates(self) -> None:
        ca = Authority.create("test CA")
        (self.directory / "ca.crt").write_bytes(pem(ca.certificate))
        ca.issue("server", purposes=[SERVER], hosts=LOOPBACK).write(self.directory, "server")
        ca.issue("for servers", purposes=[SERVER]).write(self.directory, "other")
        ca.issue("for clients", purposes=[CLIENT]).write(self.directory, "client")
        server = self.serve("txetcd --ca-file=ca.crt --cert-file=server.crt --key-file=server.key")
        url = f"https://{ADDRESS}/v2/keys/foo -XPUT -d value=bar -v"
        curl = f"curl --cacert ca.crt --cert %s.crt --key %s.key {url}"
        for version in ("1.2", "1.3"):
            ended = self.curl(curl % ("other", "other"), "--tls-max", version)
            self.assert_refused(ended, "unsupported certificate")
        self.assert_served(self.curl(curl % ("client", "client")), 2, 2)
        server.stop()


class StartTests(EndToEndCase):
    def test_log_says_what_is_served(self) -> None:
        fixtures = documents.CHECKOUT / "fixtures" / "ca"
        port = free_port()
        server = self.start(
            f"--bind-addr=127.0.0.1:{port}",
            "--name=machine0",
            f"--cert-file={fixtures / 'server.crt'}",
            f"--key-file={fixtures / 'server.key.insecure'}",
            f"--ca-file={fixtures / 'ca.crt'}",
        )
        server.wait_for("Clients need")
        told = f"https://127.0.0.1:{server.port}"
        for line in (
            f"txetcd {txetcd.__version__} machine0: 0 keys at index 1, kept by sqlite in {self.data_dir}; "
            f"clients are told {told}\n",
            f"Serving on https://127.0.0.1:{port}\n",
            f"Clients need a certificate of a CA in {fixtures / 'ca.crt'}: CN=",
        ):
            self.assertIn(line, server.output)
        self.assertRegex(server.output, r"Certificate CN=127\.0\.0\.1,O=txetcd, valid until 2069-01-01 ")
        self.assertNotIn("--force", server.output)
        server.stop()

    def test_listen_twice(self) -> None:
        path = self.directory / "socket"
        listen = (f"--listen=unix:{path}", f"--listen=tcp:{free_port()}:interface=127.0.0.1")
        for _ in range(2):
            server = self.start(*listen, command=CONSOLE_SCRIPT)
            server.wait_for("Serving on tcp:")
            server.port = int(listen[1].split(":")[1])
            server.request("PUT", "/v2/keys/a", value="1")
            connection = HTTPConnection("localhost", timeout=TIMEOUT)
            self.addCleanup(connection.close)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(path))
            connection.request("GET", "/v2/keys/a")
            response = connection.getresponse()
            self.assertIn(b'"value":"1"', response.read())
            # What it leaves of its socket is not in the way of the next.
            server.kill()

    def test_data_directory_in_use(self) -> None:
        server = self.start()
        server.request("PUT", "/v2/keys/a", value="1")
        for more in ((), ("--force",)):
            self.assert_does_not_start(
                f"--data-dir {self.data_dir} is in use by another running txetcd",
                "--data-dir=data",
                f"--addr=127.0.0.1:{free_port()}",
                *more,
            )
        server.kill()
        self.assertEqual(self.start().request("GET", "/v2/keys/a").status, 200)

    def test_port_in_use(self) -> None:
        port = self.start().port
        self.assert_does_not_start(
            f"http://127.0.0.1:{port} cannot be listened on: Address already in use; ",
            "--data-dir=other",
            f"--addr=127.0.0.1:{port}",
        )
        self.assertFalse((self.directory / "other").exists())

    def test_force_removes_only_what_is_ours(self) -> None:
        server = self.start("-f")
        self.assertNotIn("have been removed", server.output)
        first = server.request("PUT", "/v2/keys/a", value="1")
        server.stop()
        foreign = self.data_dir / "notes"
        foreign.write_text("mine")
        server = self.start("-f")
        self.assertIn(f"The data in {self.data_dir} have been removed", server.output)
        gone = server.request("GET", "/v2/keys/a")
        self.assertEqual((gone.status, gone.index), (404, 1))
        self.assertNotEqual(gone.headers["X-Etcd-Cluster-Id"], first.headers["X-Etcd-Cluster-Id"])
        server.stop()
        self.assertEqual(foreign.read_text(), "mine")


class RestartTests(EndToEndCase, TestCase):
    def test_what_survives(self) -> None:
        server = self.start()
        server.request("PUT", "/v2/keys/dir/a", value="1")
        server.request("PUT", "/v2/keys/dir/a", value="2")
        server.request("PUT", "/v2/keys/dir/lease", value="x", ttl=10_000)
        server.request("PUT", "/v2/keys/gone", value="y")
        last = server.request("DELETE", "/v2/keys/gone")
        refused = server.request("PUT", "/v2/keys/dir/a?prevExist=false", value="z")
        self.assertEqual(refused.status, 412)
        paths = [
            "/v2/keys/?recursive=true",
            "/v2/keys/gone",
            *(f"/v2/keys/?recursive=true&wait=true&waitIndex={index}" for index in range(2, 7)),
        ]
        before = [server.request("GET", path) for path in paths]
        server.stop()
        server = self.start()
        after = [server.request("GET", path) for path in paths]
        self.assertEqual([without_ttl(a.body) for a in after], [without_ttl(b.body) for b in before])
        self.assertIn(b'"expiration":', after[0].body)
        for name in ("X-Etcd-Cluster-Id", "X-Etcd-Index", "X-Raft-Index"):
            self.assertEqual(after[0].headers[name], before[0].headers[name], name)
        following = server.request("PUT", "/v2/keys/b", value="3")
        self.assertEqual(following.index, last.index + 1)
        server.stop()

    async def test_expired_while_down(self) -> None:
        # An hour ago there was a store in the directory.
        then = time.time_ns() - 3600 * 10**9
        running: Any = reactor
        store = Store(SQLiteJournal(running, self.data_dir), running, now=lambda: then)
        store.startService()
        self.addCleanup(store.stopService)
        await store.set("/gone", "x", ttl=60)
        await store.set("/kept", "y", ttl=7200)
        # So those are in a checkpoint, and one more is in the log after it.
        await gatherResults([store.set("/often", str(number)) for number in range(CHECKPOINT_COMMANDS)])
        last = await store.set("/gone-too", "z", ttl=90)
        await store.stopService()
        server = self.start()
        found = server.request("GET", "/v2/keys/gone")
        self.assertEqual((found.status, found.index), (404, last.index + 2))
        self.assertTrue(3000 < server.request("GET", "/v2/keys/kept").json["node"]["ttl"] <= 3600)
        for number, (key, value) in enumerate([("/gone", "x"), ("/gone-too", "z")], last.index + 1):
            event = server.request("GET", f"/v2/keys{key}?wait=true&waitIndex={number}").json
            self.assertEqual((event["action"], event["node"]["modifiedIndex"]), ("expire", number))
            self.assertEqual((event["node"]["key"], event["prevNode"]["value"]), (key, value))
        server.stop()


def without_ttl(body: bytes) -> bytes:
    """The JSON without what counts down."""
    return re.sub(rb',"ttl":\d+', b"", body)


class StopTests(EndToEndCase):
    @contextlib.contextmanager
    def slow_disk(self) -> Iterator[None]:
        """No commit comes to its end while this lasts."""
        connection = sqlite3.connect(self.data_dir / "txetcd.db", isolation_level=None)
        with contextlib.closing(connection):
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def test_watches_end_and_writes_are_answered(self) -> None:
        for command in (TWISTD, CONSOLE_SCRIPT):
            server = self.start("-f", command=command)
            watch, stream, *writers = (server.client() for _ in range(4))
            for client in (watch, stream, *writers):
                self.addCleanup(client.close)
            watch.begin("GET", "/v2/keys/a?wait=true")
            stream.begin("GET", "/v2/keys/?wait=true&recursive=true&stream=true")
            watching, streaming = watch.response(), stream.response()
            for writer in writers:
                writer.request("GET", "/v2/keys/")
            with self.slow_disk():
                # One write is with the disk, and the other waits for its turn.
                for key, writer in enumerate(writers):
                    writer.begin("PUT", f"/v2/keys/{key}", value=key)
                    # The request has arrived: this one came after it.
                    self.assertEqual(server.request("GET", f"/v2/keys/{key}").status, 404)
                began = time.monotonic()
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual((watching.status, watching.read(), streaming.read()), (200, b"", b""))
                self.assertIsNone(server.process.poll())
            answers = [writer.answer() for writer in writers]
            self.assertEqual([(answer.status, answer.index) for answer in answers], [(201, 2), (201, 3)])
            server.stopped(began)
            server = self.start()
            for key in range(2):
                self.assertEqual(server.request("GET", f"/v2/keys/{key}").json["node"]["value"], str(key))
            server.stop()

    def test_a_thousand_watches_and_writes(self) -> None:
        if raise_limit() < 2000:
            self.skipTest("this process may not have enough descriptors")
        server = self.start()
        writers = [server.client() for _ in range(50)]
        for writer in writers:
            self.addCleanup(writer.close)
            writer.request("GET", "/v2/keys/")
        watches = [socket.create_connection(("127.0.0.1", server.port), TIMEOUT) for _ in range(1000)]
        for number, watch in enumerate(watches):
            self.addCleanup(watch.close)
            stream = b"&stream=true" if number % 2 else b""
            watch.sendall(b"GET /v2/keys/w?wait=true%b HTTP/1.1\r\nHost: x\r\n\r\n" % stream)
        for watch in watches:
            self.assertTrue(watch.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n"))
        with self.slow_disk():
            for key, writer in enumerate(writers):
                writer.begin("PUT", f"/v2/keys/{key}", value=key)
                self.assertEqual(server.request("GET", f"/v2/keys/{key}").status, 404)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            # They have ended while the writes wait for the disk.
            for watch in watches:
                while watch.recv(65_536):
                    pass
            self.assertIsNone(server.process.poll())
        self.assertEqual([writer.answer().status for writer in writers], [201] * len(writers))
        server.stopped(began)
        server = self.start()
        self.assertEqual(len(server.request("GET", "/v2/keys/").json["node"]["nodes"]), len(writers))
        server.stop()

    def test_silent_clients_do_not_hold_it_up(self) -> None:
        server = self.start()
        idle = socket.create_connection(("127.0.0.1", server.port))
        self.addCleanup(idle.close)
        half = socket.create_connection(("127.0.0.1", server.port))
        self.addCleanup(half.close)
        half.sendall(b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nval")
        self.assertEqual(server.request("GET", "/v2/keys/").status, 200)
        server.stop()
