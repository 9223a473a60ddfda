"""Telling the service manager how the server is, as systemd's `sd_notify` does: a datagram to a socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping

from twisted.logger import Logger

log = Logger()

Notify = Callable[[str], None]
"""Sends one or more assignments, such as `READY=1`, with line breaks between them."""

READY = "READY=1"
STOPPING = "STOPPING=1"


def reloading() -> str:
    """What is sent before the configuration is read again; `READY` follows."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def notifier(environment: Mapping[str, str]) -> Notify:
    """What sends to the socket that the environment names; if there is none, what does nothing."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return lambda state: None
    if address.startswith("@"):
        # One that is in no file system.
        address = f"\0{address[1:]}"

    def notify(state: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(state.encode(), address)
        except OSError as error:
            log.warn("The service manager cannot be told {state!r}: {reason}", state=state, reason=str(error))

    return notify
