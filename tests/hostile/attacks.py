"""Attacks over plain HTTP.

Each is a function of the server, of how many connections it uses, and of the seconds that it lasts.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.e2e import Client
from tests.hostile.swarm import Swarm, barrage, until
from tests.hostile.target import Target

Attack = Callable[[Target, int, float], None]

REQUEST = b"GET /v2/keys/ HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNK = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"


@dataclass(frozen=True)
class Plan:
    """An attack with its numbers of connections in the long run and in the short one."""

    attack: Attack
    long: int
    short: int


def quiet(target: Target, size: int, hold: float) -> None:
    """None at all, to compare with."""
    time.sleep(hold)


def slowloris(target: Target, size: int, hold: float) -> None:
    """Heads that never end."""
    with Swarm(target.port, size) as swarm:
        swarm.say(b"GET /v2/keys/ HTTP/1.1\r\nHost: x\r\n")
        for _ in until(hold, 0.2):
            swarm.say(b"X: y\r\n")


def slow_bodies(target: Target, size: int, hold: float) -> None:
    """Bodies that take for ever."""
    with Swarm(target.port, size) as swarm:
        swarm.say(b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nvalue=")
        for _ in until(hold, 0.2):
            swarm.say(b"x")


def idle(target: Target, size: int, hold: float) -> None:
    """Connections on which nothing is said."""
    with Swarm(target.port, size):
        for _ in until(hold, 0.2):
            pass


def watchers(target: Target, size: int, hold: float) -> None:
    """Watches, long polls and streams, opened and dropped."""
    for more in (b"", b"&stream=true"):
        with Swarm(target.port, size) as swarm:
            swarm.say(b"GET /v2/keys/hostile?wait=true%b HTTP/1.1\r\nHost: x\r\n\r\n" % more)
            for _ in until(hold / 2, 0.2):
                pass


def herd(target: Target, size: int, hold: float) -> None:
    """Long polls on one key that one write wakes, all of them."""
    with Swarm(target.port, size) as swarm:
        swarm.say(b"GET /v2/keys/hostile/woken?wait=true HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(hold / 2)
        with contextlib.closing(Client(target.port)) as writer:
            writer.request("PUT", "/v2/keys/hostile/woken", value="now")
        time.sleep(hold / 2)


def burst(target: Target, size: int, hold: float) -> None:
    """One request on each connection, all in one instant, every second."""
    with Swarm(target.port, size) as swarm:
        for _ in until(hold, 1):
            swarm.say(REQUEST)


def pipelines(target: Target, size: int, hold: float) -> None:
    """Very many requests on each connection, as many as fit into its buffers."""
    with Swarm(target.port, size) as swarm:
        for _ in until(hold, 0.2):
            swarm.say(REQUEST * 2000)
            swarm.hear()


def endless_chunks(target: Target, size: int, hold: float) -> None:
    """Bodies in chunks that go on when they have been refused."""
    for _ in until(hold):
        with Swarm(target.port, size) as swarm:
            swarm.say(b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in until(min(hold, 2)):
                swarm.say(CHUNK)


def endless_bodies(target: Target, size: int, hold: float) -> None:
    """Bodies as long as the limit allows and longer, of which nothing becomes a request."""
    for length in (1_572_864, 10**15):
        with Swarm(target.port, size) as swarm:
            swarm.say(b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
            for _ in until(hold / 2):
                swarm.say(b"x" * 15_000)


def long_lines(target: Target, size: int, hold: float) -> None:
    """Request lines of 100 kB."""
    barrage(
        target.port, size, hold, lambda: b"GET /v2/keys/" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    )


def many_headers(target: Target, size: int, hold: float) -> None:
    """10,000 headers."""
    headers = b"".join(b"X%d: y\r\n" % number for number in range(10_000))
    barrage(target.port, size, hold, lambda: b"GET /v2/keys/ HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")


def random_bytes(target: Target, size: int, hold: float) -> None:
    """Anything."""
    dice = random.Random(1)
    starts = (b"", b"GET ", b"GET / HTTP/1.1\r\n", b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    barrage(target.port, size, hold, lambda: dice.choice(starts) + dice.randbytes(dice.randrange(1, 4096)))


def deaf_readers(target: Target, size: int, hold: float) -> None:
    """Large answers, one behind the other, that nobody reads."""
    with contextlib.closing(Client(target.port)) as writer:
        writer.request("PUT", "/v2/keys/hostile/large", value="x" * 250_000)
    with Swarm(target.port, size) as swarm:
        for _ in until(hold, 0.05):
            swarm.say(b"GET /v2/keys/hostile/large HTTP/1.1\r\nHost: x\r\n\r\n" * 20)


def deaf_streams(target: Target, size: int, hold: float) -> None:
    """Streams that nobody reads, of large values that change."""
    with contextlib.closing(Client(target.port)) as writer, Swarm(target.port, size) as swarm:
        swarm.say(b"GET /v2/keys/hostile/large?wait=true&stream=true HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in until(hold, 0.2):
            writer.request("PUT", "/v2/keys/hostile/large", value="x" * 100_000)


ATTACKS: Mapping[str, Plan] = {
    "quiet": Plan(quiet, 0, 0),
    "slowloris": Plan(slowloris, 2_000, 50),
    "slow-bodies": Plan(slow_bodies, 2_000, 50),
    "idle": Plan(idle, 5_000, 300),
    "watchers": Plan(watchers, 10_000, 300),
    "herd": Plan(herd, 10_000, 300),
    "burst": Plan(burst, 10_000, 300),
    "pipelines": Plan(pipelines, 100, 5),
    "endless-chunks": Plan(endless_chunks, 50, 5),
    "endless-bodies": Plan(endless_bodies, 50, 5),
    "long-lines": Plan(long_lines, 50, 10),
    "many-headers": Plan(many_headers, 50, 10),
    "random-bytes": Plan(random_bytes, 50, 50),
    "deaf-readers": Plan(deaf_readers, 100, 5),
    "deaf-streams": Plan(deaf_streams, 100, 5),
}
