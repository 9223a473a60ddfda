"""txetcd servers as processes: alone on a file of their own, or as gateways of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.client_harness import eventually
from tests.cluster.clocks import wrong
from tests.cluster.process import Process, stable_port
from tests.e2e import TWISTD


class Gateway(Process):
    """One txetcd.

    @ivar port: where it serves plain HTTP.
    """

    def __init__(self, name: str, directory: Path, options: Sequence[str], ahead: float = 0.0) -> None:
        """Prepare.

        @param options: what else its command line says: an engine or a data directory.
        @param ahead: by how many seconds its clock is ahead of the true time, or behind it if less than 0.
        """
        self.port = stable_port()
        command = [*TWISTD, f"--addr=127.0.0.1:{self.port}", *options]
        super().__init__(name, wrong(ahead, command) if ahead else command, directory)

    @property
    def url(self) -> str:
        """Where it serves clients."""
        return f"http://127.0.0.1:{self.port}"

    def healthy(self) -> bool:
        """Whether it answers a read that asks its engine."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2.0)
        try:
            connection.request("GET", "/v2/keys/?quorum=true")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def wait_healthy(self) -> None:
        """Wait until it serves; an AssertionError with its log when it ends, or that takes too long."""
        with suppress(AssertionError):
            eventually(lambda: self.healthy() or not self.running)
        if not self.healthy():
            raise AssertionError(f"{self.name} does not come up\n{self.output[-4000:]}")
