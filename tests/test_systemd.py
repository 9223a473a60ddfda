"""What systemd is told, the sockets that it hands over, and the files in deploy/."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.documents import CHECKOUT
from tests.e2e import CONSOLE_SCRIPT, TIMEOUT, EndToEndCase, free_port
from tests.tls_harness import TLSCase
from txetcd.adopted import AdoptedUNIXEndpoint
from txetcd.notify import READY, notifier
from txetcd.settings.sources import parse_arguments

DEPLOY = CHECKOUT / "deploy"

# Does what systemd does: it listens, and hands the socket to the command that it becomes.
HAND_OVER = """
import os, socket, sys
where, *command = sys.argv[1:]
if where.isdigit():
    listening = socket.create_server(("127.0.0.1", int(where)))
else:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(where)
    listening.listen()
if listening.fileno() != 3:
    os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="txetcd.socket", LISTEN_PID=str(os.getpid()))
os.execv(command[0], command)
"""


def manager(address: str) -> socket.socket:
    """The socket of a service manager."""
    receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiving.settimeout(TIMEOUT)
    receiving.bind(address)
    return receiving


class NotifierTests(TLSCase):
    def test_no_manager(self) -> None:
        with self.logged() as lines:
            notifier({})(READY)
            notifier({"NOTIFY_SOCKET": ""})(READY)
        self.assertEqual(lines, [])

    def test_manager(self) -> None:
        path = str(self.directory / "notify")
        for address, bound in ((path, path), (f"@{path}", f"\0{path}")):
            with manager(bound) as receiving:
                notifier({"NOTIFY_SOCKET": address})(READY)
                self.assertEqual(receiving.recv(100), b"READY=1")

    def test_manager_that_has_gone(self) -> None:
        """It is a line in the log, and no more."""
        with self.logged() as lines:
            notifier({"NOTIFY_SOCKET": str(self.directory / "missing")})(READY)
        [line] = lines
        self.assertIn("cannot be told 'READY=1'", line)


class NotifyTests(EndToEndCase):
    def test_life(self) -> None:
        path = self.directory / "notify"
        with manager(str(path)) as receiving:
            port = free_port()
            server = self.launch(
                [
                    *("env", f"NOTIFY_SOCKET={path}", *CONSOLE_SCRIPT),
                    *("--data-dir=data", f"--addr=127.0.0.1:{port}"),
                ],
                port,
            )
            self.assertEqual(receiving.recv(100), b"READY=1")
            # So it serves.
            self.assertEqual(server.request("GET", "/health").status, 200)
            server.process.send_signal(signal.SIGHUP)
            self.assertRegex(receiving.recv(100), rb"\ARELOADING=1\nMONOTONIC_USEC=\d+\Z")
            self.assertEqual(receiving.recv(100), b"READY=1")
            server.stop()
            self.assertEqual(receiving.recv(100), b"STOPPING=1")


class SocketActivationTests(EndToEndCase):
    def activate(self, where: str, domain: str, which: str) -> None:
        server = self.launch(
            [
                *(sys.executable, "-c", HAND_OVER, where, *CONSOLE_SCRIPT, "--data-dir=data"),
                *(f"--listen=systemd:domain={domain}:{which}", "--addr=127.0.0.1:4001"),
            ]
        )
        server.wait_for(f"Serving on systemd:domain={domain}:{which}")
        connection = HTTPConnection("127.0.0.1", timeout=TIMEOUT)
        self.addCleanup(connection.close)
        if domain == "UNIX":
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(where)
        else:
            connection.sock = socket.create_connection(("127.0.0.1", int(where)), TIMEOUT)
        connection.request("PUT", "/v2/keys/a?value=1")
        response = connection.getresponse()
        self.assertEqual((response.status, json.loads(response.read())["action"]), (201, "set"))
        server.stop()
        if domain == "UNIX":
            self.assertTrue(Path(where).exists())

    def test_tcp(self) -> None:
        self.activate(str(free_port()), "INET", "index=0")

    def test_unix(self) -> None:
        self.activate(str(self.directory / "socket"), "UNIX", "name=txetcd.socket")

    def test_nothing_was_handed_over(self) -> None:
        for which in ("index=0", "name=txetcd.socket"):
            self.assert_does_not_start(
                f"--listen systemd:domain=INET:{which}: systemd has handed over no such socket",
                f"--listen=systemd:domain=INET:{which}",
            )


class AdoptedUNIXTests(SynchronousTestCase):
    """A UNIX socket that systemd has opened is systemd's."""

    def test_left_as_it_was(self) -> None:
        with TemporaryDirectory() as temporary, socket.socket(socket.AF_UNIX) as handed_over:
            path = Path(temporary) / "socket"
            handed_over.bind(str(path))
            path.chmod(0o600)
            handed_over.listen()
            reactor = MemoryReactorClock()
            endpoint = AdoptedUNIXEndpoint(reactor, handed_over.dup().detach())
            port = self.successResultOf(endpoint.listen(Factory.forProtocol(Protocol)))
            self.assertEqual(port.getHost(), UNIXAddress(bytes(path)))
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)

            stopped = maybeDeferred(port.stopListening)
            reactor.advance(0)
            self.successResultOf(stopped)
            self.assertTrue(path.exists())
            # The next client waits for the next server.
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                handed_over.accept()[0].close()


class DeployTests(SynchronousTestCase):
    """The files for systemd and containers say what the program understands."""

    def assert_understood(self, command: list[str]) -> None:
        self.assertEqual(Path(command[0]).name, "txetcd")
        self.assertEqual(parse_arguments(command[1:]).warnings, [])

    def test_units(self) -> None:
        commands = [
            command
            for name in ("txetcd.service", "txetcd.socket")
            for command in re.findall(r"(?m)^#? *ExecStart=(.+)$", (DEPLOY / name).read_text("utf-8"))
        ]
        self.assertEqual(len(commands), 2)
        for command in commands:
            self.assert_understood(shlex.split(command))

    def test_units_are_systemd_s(self) -> None:
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not installed")
        with TemporaryDirectory() as temporary:
            paths = []
            for name in ("txetcd.service", "txetcd.socket"):
                path = Path(temporary) / name
                text = (DEPLOY / name).read_text("utf-8")
                path.write_text(text.replace("=/usr/bin/txetcd", f"={sys.executable}"))
                paths.append(str(path))
            ended = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", *paths],
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))

    def test_container(self) -> None:
        text = (DEPLOY / "Containerfile").read_text("utf-8")
        [entry] = re.findall(r"(?m)^ENTRYPOINT (.+)$", text)
        [check] = re.findall(r"(?m)^ +CMD (\[.+\])$", text)
        self.assert_understood(json.loads(entry))
        compile(json.loads(check)[2], "check", "exec")
        self.assertIn("http://127.0.0.1:4002", entry)
        self.assertIn("http://127.0.0.1:4002/health", check)
