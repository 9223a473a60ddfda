"""Many connections of one attacker."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from types import TracebackType

HOST = "127.0.0.1"
# Seconds that one step of an attacker may take.
PATIENCE = 5.0

_RESET = struct.pack("ii", 1, 0)


class Swarm:
    """Connections that are held, spoken on together, and dropped without a goodbye.

    @ivar sockets: those that have not failed.
    """

    def __init__(self, port: int, size: int) -> None:
        self._port = port
        self.sockets: list[socket.socket] = []
        with contextlib.suppress(OSError):
            for _ in range(size):
                self._open()

    def _open(self) -> None:
        connection = socket.create_connection((HOST, self._port), PATIENCE)
        connection.setblocking(False)
        self.sockets.append(connection)

    def say(self, data: bytes) -> None:
        """Send on each, as much as it takes; forget those that are broken."""
        for connection in list(self.sockets):
            try:
                connection.send(data)
            except BlockingIOError:
                pass
            except OSError:
                self.sockets.remove(connection)
                connection.close()

    def hear(self) -> None:
        """Take what there is to hear, on each."""
        for connection in self.sockets:
            with contextlib.suppress(OSError):
                while connection.recv(1 << 20):
                    pass

    def __enter__(self) -> Swarm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self.sockets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.close()


def until(seconds: float, pause: float = 0.0) -> Iterator[None]:
    """Go on for so long, and at least once."""
    end = time.monotonic() + seconds
    while True:
        yield
        time.sleep(pause)
        if time.monotonic() >= end:
            return


def barrage(port: int, size: int, hold: float, message: Callable[[], bytes]) -> None:
    """Connect, send a message, take the answer and close, at least `size` times and for `hold` seconds."""
    for _ in until(hold):
        for _ in range(size):
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), PATIENCE) as connection:
                connection.sendall(message())
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass
