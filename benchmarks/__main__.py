"""Runs txetcd and the real etcd alternately under the same load, and prints both and their ratio.

Both keep their data in directories of the same file system and synchronise each write before it is answered.
The load comes from `wrk`, in a process of its own; both servers are plain HTTP on loopback.  A ratio over 1
is in txetcd's favour.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PUT = """
local n = 0
local headers = {["Content-Type"] = "application/x-www-form-urlencoded"}
request = function()
  n = n + 1
  return wrk.format("PUT", "/v2/keys/bench/k" .. (n % 1000), headers, "value=" .. string.rep("x", 100))
end
"""
# Only fills the store: keys that are all different.
FILL = PUT.replace("(n % 1000)", "n")


@dataclass(frozen=True)
class Server:
    """A running server: its address, and the process whose time and memory count."""

    port: int
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def memory(self) -> float:
        """Its resident memory in MiB."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found.group(1)) / 1024 if found else 0.0


@contextmanager
def serving(command: list[str], port: int) -> Iterator[Server]:
    """Run a server until the block ends; it is there once its first key can be asked for."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/keys/", timeout=5).read(1)
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"{command[0]} did not start") from None
                time.sleep(0.01)
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def txetcd(directory: Path) -> tuple[list[str], int]:
    """The command that runs txetcd, and its port."""
    port = free_port()
    options = ["--data-dir", str(directory), "--addr", f"127.0.0.1:{port}"]
    twistd = str(Path(sys.executable).with_name("twistd"))
    return [twistd, "-n", "--pidfile=", "-l", "/dev/null", "txetcd", *options], port


def etcd(binary: str, directory: Path) -> tuple[list[str], int]:
    """The command that runs the real etcd, and its port."""
    port = free_port()
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    urls = {
        "--listen-client-urls": client,
        "--advertise-client-urls": client,
        "--listen-peer-urls": peer,
        "--initial-advertise-peer-urls": peer,
        "--initial-cluster": f"default={peer}",
        "--data-dir": str(directory),
    }
    return [binary, "--enable-v2", *(word for option in urls.items() for word in option)], port


def load(server: Server, script: str, path: str, connections: int, seconds: float) -> tuple[float, float]:
    """Put a server under load; gives requests per second, and microseconds of its CPU for each."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", file.name]
        before = server.cpu()
        output = subprocess.run(
            [*command, f"http://127.0.0.1:{server.port}{path}"], capture_output=True, text=True, check=True
        ).stdout
    if "Non-2xx" in output:
        raise SystemExit(f"not all requests were answered well:\n{output}")
    found = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found and rate
    return float(rate.group(1)), (server.cpu() - before) / int(found.group(1)) * 1e6


def measure_rates(ours: Server, theirs: Server, rounds: int, seconds: float) -> None:
    """Print requests per second and CPU per request of both, row by row."""
    print(f"{'':24}{'txetcd/s':>10}{'etcd/s':>10}{'ratio':>7}{'µs':>7}{'µs':>7}{'ratio':>7}")
    for name, script in (("GET", ""), ("PUT", PUT)):
        for connections in (1, 32, 256):
            figures: list[list[tuple[float, float]]] = [[], []]
            for _ in range(rounds):
                for server, measured in zip((ours, theirs), figures, strict=True):
                    measured.append(load(server, script, "/v2/keys/bench/k1", connections, seconds))
            (rate, cost), (their_rate, their_cost) = (
                (statistics.median(f[0] for f in measured), statistics.median(f[1] for f in measured))
                for measured in figures
            )
            print(
                f"{name + ', ' + str(connections) + ' connections':24}{rate:10.0f}{their_rate:10.0f}"
                f"{rate / their_rate:7.2f}{cost:7.0f}{their_cost:7.0f}{their_cost / cost:7.2f}"
            )


def measure_start(scratch: Path, binary: str, keys: int) -> None:
    """Print how long both take to start with many keys, and what memory they need then."""
    for name, (command, port) in (
        ("txetcd", txetcd(scratch / "start-txetcd")),
        ("etcd", etcd(binary, scratch / "start-etcd")),
    ):
        with serving(command, port) as server:
            empty = server.memory()
            while True:
                load(server, FILL, "/", 64, 2)
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/keys/bench") as answer:
                    if answer.read().count(b'"key"') > keys:
                        break
        begun = time.monotonic()
        with serving(command, port) as server:
            print(
                f"{name}: first answer after {time.monotonic() - begun:.2f} s with {keys} keys or more, "
                f"{server.memory():.0f} MiB ({empty:.0f} MiB when empty)"
            )


def main() -> None:
    """Run all rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--etcd", default=shutil.which("etcd"), help="the real etcd (default: from PATH)")
    parser.add_argument("--rounds", type=int, default=3, help="of each row; the median counts")
    parser.add_argument("--seconds", type=int, default=3, help="of load for each round")
    parser.add_argument("--keys", type=int, default=100_000, help="for the start")
    options = parser.parse_args()
    if options.etcd is None or shutil.which("wrk") is None:
        parser.error("needs etcd and wrk on PATH, as Debian's etcd-server and wrk bring them")
    with tempfile.TemporaryDirectory(prefix="txetcd-benchmark-") as name:
        scratch = Path(name)
        ours, theirs = txetcd(scratch / "txetcd"), etcd(options.etcd, scratch / "etcd")
        with serving(*ours) as our_server, serving(*theirs) as their_server:
            for server in (our_server, their_server):
                load(server, PUT, "/", 32, 1)
            measure_rates(our_server, their_server, options.rounds, options.seconds)
        if options.keys:
            measure_start(scratch, options.etcd, options.keys)


if __name__ == "__main__":
    main()
