"""A server with an engine starts, waits for it, or cannot start after all; as the operator sees it."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from base64 import b64encode
from http.client import HTTPException
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.cluster.members import USER, Cluster, etcd_program
from tests.cluster.process import stable_port
from tests.e2e import TWISTD, EndToEndCase, ServerProcess, free_port
from tests.settings_harness import settings
from txetcd.engine import Engine
from txetcd.journal.etcd.rows import Layout
from txetcd.server import IServerReactor, Server, StartError
from txetcd.settings.sources import SettingsError
from txetcd.tap import with_user

PASSWORD = "secret"


class UserFileTests(SynchronousTestCase):
    """The file that says whom to be."""

    def setUp(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.file = directory / "user"

    def user(self) -> Engine:
        made = with_user(settings("--engine=etcd://a", f"--engine-user-file={self.file}"))
        assert made.engine is not None
        return made.engine

    def assert_refused(self, message: str) -> None:
        error = self.assertRaises(SettingsError, self.user)
        self.assertIn(f"--engine-user-file {self.file}: {message}", str(error))
        self.assertTrue(str(error).endswith("; write NAME:PASSWORD on its first line"), str(error))
        self.assertNotIn("secret", str(error))

    def test_good(self) -> None:
        for text in (b"me:a:b\xc3\xa4", b"me:a:b\xc3\xa4\n", b"me:a:b\xc3\xa4\r\nrest"):
            self.file.write_bytes(text)
            self.assertEqual((self.user().user, self.user().password), ("me", "a:b\u00e4"))
        self.assertNotIn("a:b", repr(self.user()))

    def test_none(self) -> None:
        for arguments in ([], ["--engine=etcd://a"]):
            made = settings(*arguments)
            self.assertEqual(with_user(made), made)

    def test_refused(self) -> None:
        self.assert_refused("No such file or directory")
        for message, content in (
            ("has no user and password in it", b""),
            ("has no user and password in it", b"secret"),
            ("has no user and password in it", b":secret"),
            ("has no user and password in it", b"\nme:secret"),
            ("is not text in UTF-8", b"me:secret\xff"),
        ):
            self.file.write_bytes(content)
            self.assert_refused(message)


class WaitingTests(EndToEndCase):
    """The engine is not there yet, or not any more."""

    def waiting(self) -> tuple[ServerProcess, int]:
        """A server that waits for its engine, which has the port."""
        engine = stable_port()
        address = f"--addr=127.0.0.1:{(port := free_port())}"
        server = self.launch([*TWISTD, address, f"--engine=etcd://127.0.0.1:{engine}/p"], port)
        server.wait_for("cannot be used")
        return server, engine

    def test_stop(self) -> None:
        """It waits, says so once, serves nobody, and ends at once when it is told to."""
        server, engine = self.waiting()
        client = server.client()
        client.begin("GET", "/v2/keys/")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            probe.connect(("127.0.0.1", server.port))
            self.assertRaises(TimeoutError, probe.recv, 1)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.stopped(began)
        self.assertLess(time.monotonic() - began, 1.5)
        with contextlib.suppress(OSError, HTTPException):
            self.fail(f"answered {client.answer()}")
        lines = server.output.splitlines()
        (waits,) = [line for line in lines if "Waiting for" in line]
        self.assertIn(f"Waiting for http://127.0.0.1:{engine}/p", waits)
        (cannot,) = [line for line in lines if "cannot be used" in line]
        self.assertIn("Connection refused", cannot)
        for words in ("Serving", "factory", "could not be opened", "was closed"):
            self.assertNotIn(words, server.output)


class ReadyTests(TestCase):
    """Whoever wants to know is told when everything is there."""

    def server(self, *arguments: str) -> Server:
        made = settings("--bind-addr=127.0.0.1:0", *arguments)
        server = Server(cast(IServerReactor, reactor), made, "0")
        self.addCleanup(server.stopService)
        server.ready = lambda: self.told.append(server.store.accepting)
        return server

    def setUp(self) -> None:
        self.told: list[bool] = []

    def test_at_once(self) -> None:
        server = self.server(f"--data-dir={Path(self.mktemp()).absolute()}")
        server.privilegedStartService()
        self.assertEqual(self.told, [])
        server.startService()
        self.assertEqual(self.told, [True])

    async def test_never(self) -> None:
        server = self.server(f"--engine=etcd://127.0.0.1:{stable_port()}")
        failed: Deferred[StartError] = Deferred()
        server.failed = failed.callback
        server.privilegedStartService()
        server.startService()
        await server.stopService()
        self.assertEqual(self.told, [])


class EngineTests(EndToEndCase):
    """The engine is there, and wants a password."""

    skip = None if etcd_program() else "there is no etcd"

    def setUp(self) -> None:
        super().setUp()
        self.cluster = Cluster(self.directory, size=1, password=PASSWORD)
        self.addCleanup(self.cluster.close)
        self.cluster.start()
        self.engine = self.cluster.members[0].client_url.replace("http://", "etcd://") + "/p"

    def arguments(self, password: str) -> tuple[str, ...]:
        file = self.directory / "user"
        file.write_text(f"{USER}:{password}\n")
        return f"--addr=127.0.0.1:{free_port()}", f"--engine={self.engine}", f"--engine-user-file={file}"

    def put(self, key: bytes, value: bytes) -> None:
        """Have a row of one's own."""
        (member,) = self.cluster.members
        token = member.call("/v3/auth/authenticate", {"name": USER, "password": PASSWORD})["token"]
        row = {"key": b64encode(key).decode(), "value": b64encode(value).decode()}
        member.call("/v3/kv/put", row, token)

    def test_late_failures(self) -> None:
        """One line, and exit status 1: a wrong password, rows of somebody else."""
        self.assert_does_not_start("--engine .*authentication failed", *self.arguments("wrong"))
        layout = Layout("/p")
        for row in (layout.checkpoint, layout.auth, layout.head):
            self.put(row, b"not ours")
        reason = "--engine /p: the row /checkpoint is not txetcd's; restore a snapshot of the engine, or"
        self.assert_does_not_start(reason, *self.arguments(PASSWORD))

    def test_quiet(self) -> None:
        """What is said of an engine that is there, goes and comes back: a line each time, and no secrets."""
        first, *rest = self.arguments(PASSWORD)
        server = self.launch([*TWISTD, first, *rest], int(first.rpartition(":")[2]))
        server.wait_for("Serving on")
        self.assertEqual(self.health(server), 200)
        (member,) = self.cluster.members
        member.kill()
        server.wait_for("cannot be used")
        self.assertEqual(self.health(server), 503)
        member.start()
        server.wait_for("can be used again")
        self.assertEqual(self.health(server), 200)
        self.assertEqual(server.request("PUT", "/v2/keys/a", value="1").status, 201)
        server.stop()
        self.assertNotIn(PASSWORD, server.output)
        self.assertNotIn("factory", server.output)
        lines = server.output.splitlines()
        self.assertEqual(len([line for line in lines if "can be used again" in line]), 1)
        self.assertLess(len(lines), 25, server.output)

    def health(self, server: ServerProcess) -> int:
        return server.request("GET", "/health").status
