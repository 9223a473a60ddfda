"""What goes straight to a socket, past the transport that has it."""

from __future__ import annotations

from socket import socket


def send_at_once(to: socket, data: bytes | memoryview) -> bytes | memoryview:
    """Send what the kernel takes, and return the rest.

    The transport would wait for the socket to become writable first, which costs two more system calls
    and a turn of the reactor.
    """
    try:
        return data[to.send(data) :]
    except OSError:
        # Full, or broken: the transport finds out.
        return data
