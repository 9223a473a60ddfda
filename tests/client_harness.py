"""What tests with real clients share: a server that wants certificates, and a pair for clients to show."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPSConnection

from tests import documents
from tests.e2e import TIMEOUT, TWISTD, Client, EndToEndCase, ServerProcess, free_port

_FIXTURES = documents.CHECKOUT / "fixtures" / "ca"
CA_FILE = str(_FIXTURES / "ca.crt")
SERVER_CERT_FILE = str(_FIXTURES / "server.crt")
SERVER_KEY_FILE = str(_FIXTURES / "server.key.insecure")
CLIENT_CERT_FILE = str(_FIXTURES / "server2.crt")
CLIENT_KEY_FILE = str(_FIXTURES / "server2.key.insecure")

GUARDED = (f"--ca-file={CA_FILE}", f"--cert-file={SERVER_CERT_FILE}", f"--key-file={SERVER_KEY_FILE}")


def eventually(condition: Callable[[], object]) -> None:
    """Look again and again until that is true; an AssertionError when it takes too long."""
    deadline = time.monotonic() + TIMEOUT
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it has not come about in time")
        pause.wait(0.01)


class SecureClient(Client):
    """A keep-alive connection on which the client shows its certificate, and verifies the server's."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        context = ssl.create_default_context(cafile=CA_FILE)
        context.load_cert_chain(CLIENT_CERT_FILE, CLIENT_KEY_FILE)
        self._connection = HTTPSConnection(host, port, timeout=TIMEOUT, context=context)


class ClientCase(EndToEndCase):
    """Has a port for a server with client certificates.

    @ivar port: where the server listens, each time that it is started.
    @ivar url: how clients reach it.
    """

    def setUp(self) -> None:
        super().setUp()
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"

    def serve(self, *arguments: str) -> ServerProcess:
        """Start the server, with these options too, and wait until it serves."""
        address = f"--addr=127.0.0.1:{self.port}"
        server = self.launch([*TWISTD, "--data-dir=data", address, *GUARDED, *arguments])
        server.wait_for("Serving on")
        return server

    def connect(self) -> SecureClient:
        """A plain connection to the server, to look on while a client does its work."""
        client = SecureClient(self.port)
        self.addCleanup(client.close)
        return client

    def wait_for_watches(self, number: int = 1) -> None:
        """Wait until so many watches wait at the server."""
        client = SecureClient(self.port)
        try:
            eventually(lambda: client.request("GET", "/v2/stats/store").json["watchers"] == number)
        finally:
            client.close()
