"""What bounds any server of this kind, measured by itself: `python -m benchmarks.limits`.

Prints what one request costs a bare protocol on Twisted, a message through the kernel, a synchronised write
on the file system that the benchmarks use, and TLS 1.3 handshakes in OpenSSL alone.
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

from OpenSSL import SSL

from benchmarks.figures import CPU, RATE
from benchmarks.loads import wrk
from benchmarks.security import Security, ServerKey, make_security, new_p256, new_rsa
from benchmarks.servers import Program, serving

# The bytes of an answer with a value of 100 bytes, and of a page in a write-ahead log.
MESSAGE, PAGE = 400, 4096
SECONDS = 3


def bare_twisted(connections: int, seconds: int) -> tuple[float, float]:
    """Requests/s and CPU µs a request of a protocol that answers constant bytes."""
    program = Program(
        "bare Twisted", lambda _, port, __: [sys.executable, "-m", "benchmarks.bare", str(port)]
    )
    with serving(program) as server:
        figures = wrk(server, "/v2/keys/fill/0/k1", connections=connections, seconds=seconds)
    return figures[RATE], figures[CPU]


def kernel_message(times: int = 50_000) -> float:
    """CPU µs of receiving a request and sending an answer over loopback, in Python without an event loop."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        server = listener.accept()[0]
        message = b"x" * MESSAGE
        with server:
            begun = time.process_time()
            for _ in range(times):
                client.send(message)
                server.recv(65536)
                server.send(message)
                client.recv(65536)
            # Client and server do the same here; a half of it is the server's.
            return (time.process_time() - begun) / times / 2 * 1e6


def synchronised_write(size: int, times: int = 500) -> float:
    """Median µs of appending so many bytes to a file and synchronising it."""
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(times):
            begun = time.perf_counter()
            os.write(file.fileno(), bytes(size))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e6


def handshake(key: ServerKey, times: int = 200) -> float:
    """CPU µs that a server's side of a mutual TLS 1.3 handshake takes in OpenSSL."""
    with tempfile.TemporaryDirectory() as directory:
        security = make_security(Path(directory), key, mutual=True)
        server_side, client_side = _contexts(security)
    spent = 0.0
    for _ in range(times):
        server, client = SSL.Connection(server_side, None), SSL.Connection(client_side, None)
        server.set_accept_state()
        client.set_connect_state()
        # A hello, what the server answers, and the client's certificate, which ends it.
        done = False
        while not done:
            _step(client)
            _pass(client, server)
            begun = time.thread_time()
            done = _step(server)
            spent += time.thread_time() - begun
            _pass(server, client)
    return spent / times * 1e6


def _contexts(security: Security) -> tuple[SSL.Context, SSL.Context]:
    contexts = []
    for certificate, key in ((security.certificate, security.key), (security.client, security.client)):
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(key))
        context.load_verify_locations(str(security.ca))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *a: bool(a[-1]))
        contexts.append(context)
    return contexts[0], contexts[1]


def _step(side: SSL.Connection) -> bool:
    try:
        side.do_handshake()
    except SSL.WantReadError:
        return False
    return True


def _pass(source: SSL.Connection, target: SSL.Connection) -> None:
    try:
        target.bio_write(source.bio_read(65536))
    except SSL.WantReadError:
        return


def main() -> None:
    """Print all limits."""

    def show(name: str, text: str) -> None:
        print(f"{name:46}{text}", flush=True)

    for connections in (1, 32, 256):
        rate, cost = bare_twisted(connections, SECONDS)
        show(f"bare Twisted, connections: {connections}", f"{rate:,.0f} requests/s, {cost:.1f} CPU µs each")
    show("kernel, one recv and one send", f"{kernel_message():.1f} CPU µs")
    for size in (PAGE, 16 * PAGE):
        show(f"append and fdatasync, {size:,} bytes", f"{synchronised_write(size):,.0f} µs")
    show("OpenSSL, mutual TLS 1.3 handshake, P-256", f"{handshake(new_p256()):,.0f} CPU µs")
    show("OpenSSL, mutual TLS 1.3 handshake, RSA-2048", f"{handshake(new_rsa()):,.0f} CPU µs")


if __name__ == "__main__":
    main()
