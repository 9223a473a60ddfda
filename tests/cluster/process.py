"""Processes that are killed, paused and started again, each with a log file of its own."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.e2e import TIMEOUT, environment

# Ports that systems do not give to outgoing connections; one of those could sit on a port whose server is
# down for a moment.
_PORTS = range(15_000, 30_000)


def stable_port() -> int:
    """A port on which nobody listens, and which stays free while its server is restarted."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Process:
    """A command that runs again and again.

    @ivar name: what it is called in reports; its log is C{<name>.log} in its directory.
    @ivar command: what to run; may be changed until C{start}.
    """

    def __init__(self, name: str, command: Sequence[str], directory: Path) -> None:
        self.name = name
        self.command = list(command)
        self.directory = directory
        self.log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The number of the process that runs; None if none does."""
        return self._process.pid if self.running and self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether it runs, or is paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """What it has logged in all its lives."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def start(self) -> None:
        """Run it, unless it runs; does not wait until it is of use."""
        if self.running:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                env=environment(self.directory),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """End it at once, as a power cut would; a paused one too."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(TIMEOUT)

    def pause(self) -> None:
        """Stop the time for it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)
