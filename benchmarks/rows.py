"""What is measured: the list of rows.

A row has two sides.  Each is a context manager that starts a server and prepares it, and gives a function
that measures one round; the sides take turns.  Every row has servers and data directories of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import loads, watchers
from benchmarks.figures import Figure, Figures, Result, medians
from benchmarks.probing import probing
from benchmarks.security import ServerKey, make_security, new_p256, new_rsa
from benchmarks.servers import BenchmarkError, Program, Server, serving

Measure = Callable[[], Figures]
Side = AbstractContextManager[Measure]

LISTED, DELETED = Figure("GET while listed: longest, ms"), Figure("GET while deleted: longest, ms")
LISTING, DELETION = Figure("the listing takes, s"), Figure("the deletion takes, s")
EXPIRED, EXPIRING = Figure("all gone after, s"), Figure("GET meanwhile: longest, ms")
START, MEMORY, KEY = Figure("first answer after, s"), Figure("memory, MiB"), Figure("memory a key, bytes")
WATCH = Figure("memory a watch, KiB")

# Keys in a directory of the large stores.
DIRECTORY = 1000
# The bytes of large values.
LARGE = (10_000, 1_000_000)
# Keys a second that any server takes, and seconds of reserve, for filling before the first key runs out.
SLOWEST_FILL, RESERVE = 5000, 2
# Seconds after which keys that have run out are taken for lost.
EXPIRY_TIME = 120
LISTING_PATH = "/v2/keys/fill?recursive=true&sorted=true"


@dataclass(frozen=True)
class Row:
    """Something that is measured; the ratio judges the first side by the second."""

    name: str
    sides: Mapping[str, Side]

    def run(self, rounds: int) -> Result:
        """Measure both sides alternately so many times.  Raises `BenchmarkError` if that is not possible."""
        with ExitStack() as stack:
            measures = {label: stack.enter_context(side) for label, side in self.sides.items()}
            measured: dict[str, list[Figures]] = {label: [] for label in measures}
            for _ in range(rounds):
                for label, measure in measures.items():
                    measured[label].append(measure())
        return Result(self.name, {label: medians(figures) for label, figures in measured.items()})


def all_rows(ours: Program, theirs: Program, keys: int, seconds: int) -> list[Row]:
    """Every row, in the order of the table.

    `keys` is how many the largest store has; the others with many keys have a tenth.  `seconds` is how long a
    load lasts in each round.
    """

    def versus(name: str, side: Callable[[Program], Side]) -> Row:
        return Row(name, {program.name: side(program) for program in (ours, theirs)})

    fewer = keys // 10
    rows = [versus(name, side) for name, side in (*plain_loads(seconds), *tls_loads(seconds))]
    rows += [
        versus(
            f"GET of any of {fewer:,} keys, 32 connections", lambda p: growing(p, "look_up", fewer, seconds)
        ),
        versus(f"{keys // 1000:,} long-polls woken by one PUT", lambda p: waking(p, keys // 1000, seconds)),
        versus(f"PUT beside {keys // 100:,} idle watches", lambda p: idle_beside(p, keys // 100, seconds)),
        versus(f"restart with {fewer:,} keys", lambda p: restarting(p, fewer)),
        versus(f"restart with {keys:,} keys", lambda p: restarting(p, keys)),
        versus(f"{fewer:,} keys expire in one second", lambda p: expiring(p, fewer)),
        versus(f"longest pause, a directory of {fewer:,} keys", lambda p: pausing(p, fewer)),
    ]
    for name, kind in (("GET", "look_up_anew"), ("PUT", "overwrite")):
        sides = {f"{n:,} keys": growing(ours, kind, n, seconds) for n in (keys, keys // 1000)}
        rows.append(Row(f"{name} of any key, 32 connections", sides))
    return rows


def plain_loads(seconds: int) -> Iterator[tuple[str, Callable[[Program], Side]]]:
    """The rows of requests over plain HTTP, by their names."""

    def load(
        name: str, connections: int, *kind: object, path: str = "/"
    ) -> tuple[str, Callable[[Program], Side]]:
        def side(program: Program) -> Side:
            return loading(program, path, kind, connections, seconds)

        return f"{name}, {connections} connection{'s' if connections > 1 else ''}", side

    for connections in (1, 32, 256):
        yield load("GET", connections, path="/v2/keys/fill/0/k1")
    for connections in (1, 32, 256):
        yield load("PUT", connections, "put", 100, 1000)
    yield load("80 % GET, 20 % PUT, clients' headers", 32, "mixed")
    yield load("PUT with prevExist", 32, "update")
    yield load("compareAndSwap", 32, "swap")
    yield load("in-order POST", 32, "post")
    for size, name, connections, keys in ((LARGE[0], "10 kB", 32, 100), (LARGE[1], "1 MB", 8, 10)):
        yield load(f"GET of {name}", connections, path=f"/v2/keys/large{size}")
        yield load(f"PUT of {name}", connections, "put", size, keys)
    yield load("sorted recursive listing of 1,000", 16, path=LISTING_PATH)


def tls_loads(seconds: int) -> Iterator[tuple[str, Callable[[Program], Side]]]:
    """The rows of requests over TLS, by their names."""
    kept, anew = ("-k",), ("-f", "TLS1.3")
    for name, options, key, mutual in (
        ("GET, TLS", kept, new_p256, False),
        ("GET, mutual TLS", kept, new_p256, True),
        ("mutual TLS handshake, P-256", anew, new_p256, True),
        ("mutual TLS handshake, RSA-2048", anew, new_rsa, True),
    ):

        def side(
            program: Program,
            options: tuple[str, ...] = options,
            key: Callable[[], ServerKey] = key,
            mutual: bool = mutual,
        ) -> Side:
            return securely(program, key(), mutual, options, seconds)

        yield f"{name}, 16 connections", side


@contextmanager
def loading(
    program: Program, path: str, kind: tuple[object, ...], connections: int, seconds: int
) -> Iterator[Measure]:
    """Requests over plain HTTP."""
    with serving(program) as server:
        loads.fill(server, 1000, DIRECTORY)
        for size in LARGE:
            server.request("PUT", f"/v2/keys/large{size}", value="x" * size)
        yield lambda: loads.wrk(server, path, kind, connections=connections, seconds=seconds)


@contextmanager
def securely(
    program: Program, key: ServerKey, mutual: bool, options: tuple[str, ...], seconds: int
) -> Iterator[Measure]:
    """Requests over TLS; options of ab's say whether connections are kept."""
    with tempfile.TemporaryDirectory() as scratch:
        security = make_security(Path(scratch), key, mutual=mutual)
        with serving(program, security=security) as server:
            server.request("PUT", "/v2/keys/foo", value="bar")
            yield lambda: loads.ab(server, "/v2/keys/foo", options, connections=16, seconds=seconds)


@contextmanager
def waking(program: Program, count: int, seconds: int) -> Iterator[Measure]:
    """Long-polls that are all answered by one PUT."""
    watchers.allow_connections(count)
    with serving(program) as server:
        yield lambda: watchers.wake(server, count, seconds)


@contextmanager
def idle_beside(program: Program, count: int, seconds: int) -> Iterator[Measure]:
    """Long-polls that nothing answers: their memory, and PUTs beside them."""
    watchers.allow_connections(count)
    with serving(program) as server:
        loads.fill(server, 1000, DIRECTORY)
        before = server.memory()
        with watchers.idle_watches(server, count):
            memory = (server.memory() - before) * 1024 / count

            def measure() -> Figures:
                load = loads.wrk(server, kind=("put", 100, 1000), connections=32, seconds=seconds)
                return {**load, WATCH: memory}

            yield measure


@contextmanager
def restarting(program: Program, keys: int) -> Iterator[Measure]:
    """Starts with many keys."""
    with tempfile.TemporaryDirectory(prefix="txetcd-benchmark-") as scratch:
        directory = Path(scratch) / "data"
        with serving(program, directory) as server:
            empty = server.memory()
            loads.fill(server, keys, DIRECTORY)

        def measure() -> Figures:
            with serving(program, directory) as server:
                memory = server.memory()
                return {START: server.started_in, MEMORY: memory, KEY: (memory - empty) * 1024**2 / keys}

        yield measure


@contextmanager
def expiring(program: Program, keys: int) -> Iterator[Measure]:
    """Keys that all run out within one second."""

    def expired(server: Server) -> int:
        return _number(server, "expireCount")

    with serving(program) as server:

        def measure() -> Figures:
            before = expired(server)
            deadline = int(time.time()) + RESERVE + keys // SLOWEST_FILL
            loads.fill(server, keys, DIRECTORY, deadline)
            if time.time() > deadline:
                raise BenchmarkError("the first keys ran out before the last were set")
            time.sleep(deadline - time.time())
            with probing(server, 10) as probe:
                while expired(server) < before + keys:
                    if time.time() > deadline + EXPIRY_TIME:
                        raise BenchmarkError(f"not all keys were gone after {EXPIRY_TIME} s")
                    time.sleep(0.05)
                gone = time.time() - deadline
            return {EXPIRED: gone, EXPIRING: probe.longest}

        yield measure


@contextmanager
def pausing(program: Program, keys: int) -> Iterator[Measure]:
    """A large directory that is listed, and then deleted."""

    def timed(server: Server, method: str, path: str) -> tuple[float, float]:
        with probing(server, 5) as probe:
            begun = time.monotonic()
            server.request(method, path)
            took = time.monotonic() - begun
        return took, probe.longest

    with serving(program) as server:

        def measure() -> Figures:
            loads.fill(server, keys, keys)
            listing, listed = timed(server, "GET", LISTING_PATH)
            deletion, deleted = timed(server, "DELETE", "/v2/keys/fill?recursive=true")
            return {LISTED: listed, LISTING: listing, DELETED: deleted, DELETION: deletion}

        yield measure


@contextmanager
def growing(program: Program, kind: str, keys: int, seconds: int) -> Iterator[Measure]:
    """Requests for any key of a store of so many."""
    with serving(program) as server:
        loads.fill(server, keys, DIRECTORY)
        yield lambda: loads.wrk(server, kind=(kind, keys, DIRECTORY), connections=32, seconds=seconds)


def _number(server: Server, name: str) -> int:
    statistics = server.request("GET", "/v2/stats/store").decode()
    return int(statistics.partition(f'"{name}":')[2].partition(",")[0].rstrip("}"))
