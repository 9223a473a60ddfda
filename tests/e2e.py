"""Real server processes for end-to-end tests: started, waited for, stopped, and talked to over plain HTTP.

A test class derives from `EndToEndCase`; `start` gives a `ServerProcess` that has begun to serve and that is
killed when the test is over, whatever happens.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

import txetcd

# twistd's own scripts, wherever they were installed: what a shell finds under these names.
SCRIPTS = Path(sysconfig.get_path("scripts"))
TWISTD = (str(SCRIPTS / "twistd"), "-n", "--pidfile=", "txetcd")
CONSOLE_SCRIPT = (str(SCRIPTS / "txetcd"),)

# The code that the tests import is the code that the processes run.
CODE = Path(txetcd.__file__).parent.parent

# Seconds after which anything that a process should have done is taken for stuck.
TIMEOUT = 30.0
# Seconds that a stop may take: clients have two of them for their last answers.
STOP_TIME = 3.0


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def environment(home: Path) -> dict[str, str]:
    """What processes run in: no ETCD_ variables, proxies or configuration of the user's own."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("ETCD_") and not name.lower().endswith("_proxy")
    }
    path = os.pathsep.join([str(SCRIPTS), kept.get("PATH", os.defpath)])
    return {**kept, "PATH": path, "PYTHONPATH": str(CODE), "HOME": str(home), "CURL_HOME": str(home)}


@dataclass(frozen=True)
class Answer:
    """What came of a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)

    @property
    def index(self) -> int:
        """X-Etcd-Index."""
        return int(self.headers["X-Etcd-Index"])


class Client:
    """One keep-alive connection to a server on this machine, used by one thread at a time."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)

    def begin(self, method: str, path: str, **form: object) -> None:
        """Send a request; the form goes into the body."""
        body, headers = None, {}
        if form:
            body = urlencode(form)
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request(method, path, body, headers)

    def response(self) -> http.client.HTTPResponse:
        """What comes of it, as soon as its headers are there."""
        return self._connection.getresponse()

    def answer(self) -> Answer:
        """What comes of it, whole."""
        response = self.response()
        return Answer(response.status, dict(response.getheaders()), response.read())

    def request(self, method: str, path: str, **form: object) -> Answer:
        """Send a request and wait for its answer."""
        self.begin(method, path, **form)
        return self.answer()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class ServerProcess:
    """A server that runs; its output, stdout and stderr, is read as it comes.

    @ivar process: the process.
    @ivar port: where it serves plain HTTP, if it does.
    """

    def __init__(self, command: list[str], directory: Path, port: int = 0) -> None:
        self.port = port
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment(directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """What it has said so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, text: str) -> None:
        """Wait until it has said that."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or any(text in line for line in self._lines), timeout=TIMEOUT
            )
        if text not in self.output:
            raise AssertionError(f"the server has not said {text!r}:\n{self.output}")

    def client(self) -> Client:
        """A new connection to it."""
        return Client(self.port)

    def request(self, method: str, path: str, **form: object) -> Answer:
        """One request on a connection of its own."""
        client = self.client()
        try:
            return client.request(method, path, **form)
        finally:
            client.close()

    def kill(self) -> None:
        """End it as a power cut would, as far as it can tell."""
        self.process.kill()
        self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)

    def stop(self) -> None:
        """Stop it as an operator would; it must end in time, in order, and by the signal as twistd does."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.stopped(began)

    def stopped(self, began: float) -> None:
        """Wait until a stop that began at that moment has come to its end."""
        status = self.process.wait(TIMEOUT)
        took = time.monotonic() - began
        self._reader.join(TIMEOUT)
        output = self.output
        if status != -signal.SIGTERM or "Traceback" in output or "Server Shut Down" not in output:
            raise AssertionError(f"the server ended with status {status}:\n{output}")
        if took > STOP_TIME:
            raise AssertionError(f"the server took {took:.1f} seconds to stop:\n{output}")


class EndToEndCase(SynchronousTestCase):
    """Runs processes in a directory of its own.

    @ivar directory: the directory; `data_dir` is in it.
    """

    def setUp(self) -> None:
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name).resolve()
        self.data_dir = self.directory / "data"

    def launch(self, command: list[str], port: int = 0) -> ServerProcess:
        """Start a process and do not wait for it."""
        server = ServerProcess(command, self.directory, port)
        self.addCleanup(server.kill)
        return server

    def start(self, *arguments: str, command: tuple[str, ...] = TWISTD) -> ServerProcess:
        """Start a server on plain HTTP, with these options too, and wait until it serves."""
        port = free_port()
        server = self.launch([*command, "--data-dir=data", f"--addr=127.0.0.1:{port}", *arguments], port)
        server.wait_for("Serving on")
        return server

    def run_to_end(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command that ends by itself."""
        return subprocess.run(
            command,
            cwd=self.directory,
            env=environment(self.directory),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

    def assert_does_not_start(self, reason: str, *arguments: str) -> None:
        """However it is run, a server with these options ends with status 1 and one line that says why."""
        for command in (TWISTD, CONSOLE_SCRIPT):
            ended = self.run_to_end(*command, *arguments)
            self.assertEqual(ended.returncode, 1, ended)
            self.assertRegex(ended.stderr, rf"\Atxetcd: [^\n]*{reason}[^\n]*\n\Z")
            for text in ("Traceback", "Serving on", "have been removed"):
                self.assertNotIn(text, ended.stdout)
