"""The longest that a small GET waits while a server does something else, asked from a process of its own.

`python -m benchmarks.probing PORT MILLISECONDS` is that process: it asks every so often until its standard
input ends, and then prints the longest answer.
"""

from __future__ import annotations

import http.client
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.servers import BenchmarkError, Server

PATH = "/v2/keys/probe"
# Seconds that an answer may take.
PATIENCE = 120.0


@dataclass
class Probe:
    """What a probe has found; `longest` is in milliseconds, and there when the block has ended."""

    longest: float = 0.0


@contextmanager
def probing(server: Server, milliseconds: int) -> Iterator[Probe]:
    """Probe a server for as long as the block takes.  Raises `BenchmarkError` if it does not answer."""
    server.request("PUT", PATH, value="x")
    probe = Probe()
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.probing", str(server.port), str(milliseconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield probe
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    if not output:
        raise BenchmarkError("a small GET was not answered")
    probe.longest = float(output)


def main() -> None:
    """Ask until the standard input ends; say so after the first answer, and in the end the longest."""
    port, pause = int(sys.argv[1]), int(sys.argv[2]) / 1000
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    longest = 0.0
    _ask(connection)
    print("ready", flush=True)
    while True:
        longest = max(longest, _ask(connection))
        if select.select([sys.stdin], [], [], pause)[0]:
            break
    print(longest * 1000)


def _ask(connection: http.client.HTTPConnection) -> float:
    begun = time.perf_counter()
    connection.request("GET", PATH)
    response = connection.getresponse()
    response.read()
    if response.status != 200:
        raise SystemExit(f"the probe was answered with {response.status}")
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
