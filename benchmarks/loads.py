"""Load from wrk and, where clients have certificates, from ab: each a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path

from benchmarks.figures import CPU, P99, RATE, Figures
from benchmarks.servers import BenchmarkError, Server

SCRIPT = Path(__file__).with_name("load.lua")
# Seconds that a store may take to be filled.
FILL_TIME = 900
FILL_CONNECTIONS = 64
# As many requests as ab has room for; it stops when the time is up.
MANY = 1_000_000


def wrk(
    server: Server, path: str = "/", kind: tuple[object, ...] = (), *, connections: int, seconds: int
) -> Figures:
    """Have wrk ask GETs of a path, or what a kind in load.lua asks, for some seconds.

    `kind` is its name and its arguments.  Raises `BenchmarkError` unless all is answered well.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=60s", f"-s{SCRIPT}"]
    before = server.cpu()
    output = _run([*command, server.url + path, "--", *map(str, kind)])
    answered, figures = parse_wrk(output)
    return {**figures, CPU: (server.cpu() - before) / answered * 1e6}


def fill(server: Server, keys: int, per_directory: int, deadline: int | None = None) -> None:
    """Set so many different keys, in directories of so many.

    They have no ttl, or all run out in one second: that one since 1970.
    """
    kind = ("fill", keys, per_directory, FILL_CONNECTIONS, *([] if deadline is None else [deadline]))
    wrk(server, kind=kind, connections=FILL_CONNECTIONS, seconds=FILL_TIME)


def ab(server: Server, path: str, options: tuple[str, ...], *, connections: int, seconds: int) -> Figures:
    """Have ab ask for a path, with the client's certificate; the rest is as with `wrk`."""
    assert server.security is not None
    with tempfile.NamedTemporaryFile("r", suffix=".csv") as table:
        command = ["ab", "-q", f"-c{connections}", f"-t{seconds}", f"-n{MANY}", f"-e{table.name}"]
        before = server.cpu()
        output = _run([*command, "-E", str(server.security.client), *options, server.url + path])
        answered, figures = parse_ab(output, table.read())
    return {**figures, CPU: (server.cpu() - before) / answered * 1e6}


def _run(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise BenchmarkError(f"{command[0]}: {ended.stderr.strip() or f'status {ended.returncode}'}")
    return ended.stderr + ended.stdout


def parse_wrk(output: str) -> tuple[int, Figures]:
    """The number of answers, and their rate and p99, from the line that load.lua prints.

    Raises `BenchmarkError` if there were errors, or no answers.
    """
    summary = json.loads(output.rstrip().rpartition("\n")[2])
    if summary["errors"] or not summary["requests"]:
        raise BenchmarkError(f"wrk: {summary['errors']} errors and {summary['requests']} answers")
    return summary["requests"], {RATE: summary["requests"] / summary["seconds"], P99: summary["p99"]}


def parse_ab(output: str, table: str) -> tuple[int, Figures]:
    """The same from what ab says and from its table of percentiles."""
    numbers = dict(re.findall(r"^([A-Z][\w -]+):\s+([\d.]+)", output, re.MULTILINE))
    failed = int(numbers.get("Failed requests", 0)) + int(numbers.get("Non-2xx responses", 0))
    # What fails in the handshake is complete to ab, and not failed.
    failed += output.count("SSL handshake failed")
    answered = int(numbers.get("Complete requests", 0))
    percentile = re.search(r"^99,([\d.]+)$", table, re.MULTILINE)
    if failed or not answered or percentile is None:
        raise BenchmarkError(f"ab: {failed} errors and {answered} answers")
    return answered, {RATE: float(numbers["Requests per second"]), P99: float(percentile[1])}
