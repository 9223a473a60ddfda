"""Attacks on a port that asks for client certificates, like those in `tests.hostile.attacks`."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
from collections.abc import Iterator, Mapping

from OpenSSL import SSL

from tests.hostile.attacks import REQUEST, Plan
from tests.hostile.swarm import HOST, PATIENCE, Swarm, barrage, until
from tests.hostile.target import Target


class Handshake:
    """The client's end of one."""

    def __init__(self, made: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = made.wrap_bio(self._incoming, self._outgoing, server_hostname=HOST)

    def go_on(self, heard: bytes = b"") -> bytes:
        """Say what comes next after this has been heard."""
        self._incoming.write(heard)
        with contextlib.suppress(ssl.SSLError):
            self._tls.do_handshake()
        return self._outgoing.read()


def silent(target: Target, size: int, hold: float) -> None:
    """Connections on which no handshake begins."""
    with Swarm(target.port, size):
        for _ in until(hold, 0.2):
            pass


def half_open(target: Target, size: int, hold: float) -> None:
    """Handshakes that stop in the middle: of the first message, and behind it."""
    hello = Handshake(target.context()).go_on()
    for said in (hello[:50], hello):
        with Swarm(target.port, size) as swarm:
            swarm.say(said)
            for _ in until(hold / 2, 0.2):
                pass


def burst(target: Target, size: int, hold: float) -> None:
    """Whole handshakes, what comes next in each of them in one instant for all."""
    made = target.context()
    for _ in until(hold):
        with Swarm(target.port, size) as swarm:
            ends = [(connection, Handshake(made)) for connection in swarm.sockets]
            said = [end.go_on() for _, end in ends]
            for _ in range(2):
                for (connection, _), data in zip(ends, said, strict=True):
                    with contextlib.suppress(OSError):
                        connection.send(data)
                said = [end.go_on(_heard(connection)) for connection, end in ends]


def _heard(connection: socket.socket) -> bytes:
    connection.settimeout(PATIENCE)
    with contextlib.suppress(OSError):
        return connection.recv(65_536)
    return b""


def without_certificate(target: Target, size: int, hold: float) -> None:
    """Whole handshakes of clients that are not let in."""
    for _ in until(hold):
        for _ in range(size):
            with (
                contextlib.suppress(OSError),
                _connected(target, target.context(certificate=False)) as connection,
            ):
                connection.sendall(REQUEST)
                connection.recv(1)


def garbage_before(target: Target, size: int, hold: float) -> None:
    """What begins like a handshake and is none."""
    dice = random.Random(1)
    hello = Handshake(target.context()).go_on()

    def message() -> bytes:
        damaged = bytearray(hello)
        for _ in range(dice.randrange(1, 20)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        return dice.choice((b"\x16" + dice.randbytes(500), bytes(damaged)))

    barrage(target.port, size, hold, message)


def garbage_after(target: Target, size: int, hold: float) -> None:
    """Handshakes, and behind them what is not TLS."""
    dice = random.Random(1)
    made = target.context()
    for _ in until(hold):
        for _ in range(size):
            with contextlib.suppress(OSError), _connected(target, made) as connection:
                connection.sendall(REQUEST)
                connection.recv(65_536)
                with socket.socket(fileno=connection.detach()) as bare:
                    bare.settimeout(PATIENCE)
                    bare.sendall(dice.choice((b"", b"\x17\x03\x03\x01\x00")) + dice.randbytes(2000))
                    while bare.recv(65_536):
                        pass


def renegotiation(target: Target, size: int, hold: float) -> None:
    """Handshakes asked for again and again on an open connection, in the version of TLS that has that."""
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    made.set_max_proto_version(SSL.TLS1_2_VERSION)
    made.use_certificate_file(str(target.directory / "client.crt"))
    made.use_privatekey_file(str(target.directory / "client.key"))
    for _ in until(hold):
        for _ in range(size):
            with contextlib.suppress(OSError, SSL.Error):
                _renegotiate(made, target.port)


def _renegotiate(made: SSL.Context, port: int) -> None:
    with socket.create_connection((HOST, port), PATIENCE) as connection:
        # A timeout would make it one that does not block.
        connection.settimeout(None)
        tls = SSL.Connection(made, connection)
        tls.set_connect_state()
        tls.do_handshake()
        for _ in range(10):
            tls.renegotiate()
            tls.do_handshake()
            tls.sendall(REQUEST)
            tls.recv(65_536)


@contextlib.contextmanager
def _connected(target: Target, made: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection((HOST, target.port), PATIENCE) as connection,
        made.wrap_socket(connection, server_hostname=HOST) as secure,
    ):
        yield secure


ATTACKS: Mapping[str, Plan] = {
    "tls-silent": Plan(silent, 3_000, 50),
    "tls-half-open": Plan(half_open, 3_000, 50),
    "tls-burst": Plan(burst, 900, 20),
    "tls-without-certificate": Plan(without_certificate, 20, 5),
    "tls-garbage-before": Plan(garbage_before, 50, 20),
    "tls-garbage-after": Plan(garbage_after, 20, 5),
    "tls-renegotiation": Plan(renegotiation, 20, 3),
}
