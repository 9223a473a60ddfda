"""Runs txetcd and the real etcd alternately under the same load, and prints both and their ratio.

Both keep their data in directories of the same file system and synchronise each write before it is answered.
The load comes from `wrk` and, with client certificates, from `ab`, in processes of their own, over loopback.
A ratio over 1 is in txetcd's favour.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

FIXTURES = Path(__file__).parent.parent / "fixtures" / "ca"
CA, SERVER, CLIENT = FIXTURES / "ca.crt", FIXTURES / "server", FIXTURES / "server2"

PUT = """
local n = 0
local headers = {["Content-Type"] = "application/x-www-form-urlencoded"}
request = function()
  n = n + 1
  return wrk.format("PUT", "/v2/keys/bench/k" .. (n % 1000), headers, "value=" .. string.rep("x", 100))
end
"""
# Only fills the store: keys that are all different, in another directory each time.
FILL = PUT.replace("bench/k", "fill{run}/k").replace("(n % 1000)", "n")


Measure = Callable[["Server"], tuple[float, float]]
"""Gives what a server does in a second, and microseconds of its CPU for each."""


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
def serving(command: list[str], port: int, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server until the block ends; it is there once its first key can be asked for."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http{'s' if tls else ''}://127.0.0.1:{port}/v2/keys/"
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=5, context=tls).read(1)
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


def txetcd(directory: Path, *, tls: bool = False) -> tuple[list[str], int]:
    """The command that runs txetcd, and its port."""
    port = free_port()
    options = ["--data-dir", str(directory), "--addr", f"127.0.0.1:{port}"]
    if tls:
        options += [f"--cert-file={SERVER}.crt", f"--key-file={SERVER}.key.insecure", f"--ca-file={CA}"]
    twistd = str(Path(sys.executable).with_name("twistd"))
    return [twistd, "-n", "--pidfile=", "-l", "/dev/null", "txetcd", *options], port


def etcd(binary: str, directory: Path, *, tls: bool = False) -> tuple[list[str], int]:
    """The command that runs the real etcd, and its port."""
    port = free_port()
    client, peer = f"http{'s' if tls else ''}://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    urls = {
        "--listen-client-urls": client,
        "--advertise-client-urls": client,
        "--listen-peer-urls": peer,
        "--initial-advertise-peer-urls": peer,
        "--initial-cluster": f"default={peer}",
        "--data-dir": str(directory),
    }
    if tls:
        urls |= {"--cert-file": f"{SERVER}.crt", "--key-file": f"{SERVER}.key.insecure"}
        urls |= {"--trusted-ca-file": str(CA)}
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


def load_tls(server: Server, client: Path, options: list[str], count: int) -> tuple[float, float]:
    """Put a server under load from a client with a certificate; gives the same as `load`."""
    command = ["ab", "-q", "-c16", f"-n{count}", "-E", str(client), *options]
    before = server.cpu()
    output = subprocess.run(
        [*command, f"https://127.0.0.1:{server.port}/v2/keys/foo"], capture_output=True, text=True, check=True
    ).stdout
    rate = re.search(r"Requests per second:\s+([\d.]+)", output)
    assert rate, output
    return float(rate.group(1)), (server.cpu() - before) / count * 1e6


def compare(name: str, ours: Server, theirs: Server, rounds: int, measure: Measure) -> None:
    """Measure both alternately, and print the medians and their ratios."""
    figures: list[list[tuple[float, float]]] = [[], []]
    for _ in range(rounds):
        for server, measured in zip((ours, theirs), figures, strict=True):
            measured.append(measure(server))
    (rate, cost), (their_rate, their_cost) = (
        (statistics.median(f[0] for f in measured), statistics.median(f[1] for f in measured))
        for measured in figures
    )
    print(
        f"{name:32}{rate:10.0f}{their_rate:10.0f}{rate / their_rate:7.2f}"
        f"{cost:7.0f}{their_cost:7.0f}{their_cost / cost:7.2f}",
        flush=True,
    )


def measure_rates(ours: Server, theirs: Server, rounds: int, seconds: float) -> None:
    """Print requests per second and CPU per request of both, row by row."""
    for name, script in (("GET", ""), ("PUT", PUT)):
        for connections in (1, 32, 256):
            measure = partial(
                load, script=script, path="/v2/keys/bench/k1", connections=connections, seconds=seconds
            )
            compare(f"{name}, {connections} connections", ours, theirs, rounds, measure)


def measure_tls(scratch: Path, binary: str, rounds: int, seconds: float) -> None:
    """Print the same with client certificates: connections kept alive, and a handshake for each request."""
    client = scratch / "client.pem"
    client.write_text(Path(f"{CLIENT}.key.insecure").read_text() + Path(f"{CLIENT}.crt").read_text())
    trust = ssl.create_default_context(cafile=str(CA))
    trust.load_cert_chain(client)
    ours, theirs = txetcd(scratch / "tls-txetcd", tls=True), etcd(binary, scratch / "tls-etcd", tls=True)
    with serving(*ours, trust) as our_server, serving(*theirs, trust) as their_server:
        for server in (our_server, their_server):
            url = f"https://127.0.0.1:{server.port}/v2/keys/foo"
            put = urllib.request.Request(url, b"value=bar", method="PUT")
            urllib.request.urlopen(put, context=trust).read()
        for name, options, count in (
            ("GET, mutual TLS, kept alive", ["-k"], 5000 * seconds),
            ("GET, mutual TLS 1.3 handshakes", ["-f", "TLS1.3"], 300 * seconds),
            ("GET, mutual TLS 1.2 handshakes", ["-f", "TLS1.2"], 300 * seconds),
        ):
            measure = partial(load_tls, client=client, options=options, count=int(count))
            compare(name, our_server, their_server, rounds, measure)


def measure_start(scratch: Path, binary: str, keys: int) -> None:
    """Print how long both take to start with many keys, and what memory they need then."""
    for name, (command, port) in (
        ("txetcd", txetcd(scratch / "start-txetcd")),
        ("etcd", etcd(binary, scratch / "start-etcd")),
    ):
        with serving(command, port) as server:
            empty = server.memory()
            for run in count():
                load(server, FILL.replace("{run}", str(run)), "/", 64, 2)
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/keys/?recursive=true") as answer:
                    if answer.read().count(b'"value"') > keys:
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
    if options.etcd is None or shutil.which("wrk") is None or shutil.which("ab") is None:
        parser.error("needs etcd, wrk and ab on PATH: Debian's etcd-server, wrk and apache2-utils")
    with tempfile.TemporaryDirectory(prefix="txetcd-benchmark-") as name:
        scratch = Path(name)
        print(f"{'':32}{'txetcd/s':>10}{'etcd/s':>10}{'ratio':>7}{'µs':>7}{'µs':>7}{'ratio':>7}")
        ours, theirs = txetcd(scratch / "txetcd"), etcd(options.etcd, scratch / "etcd")
        with serving(*ours) as our_server, serving(*theirs) as their_server:
            for server in (our_server, their_server):
                load(server, PUT, "/", 32, 1)
            measure_rates(our_server, their_server, options.rounds, options.seconds)
        measure_tls(scratch, options.etcd, options.rounds, options.seconds)
        if options.keys:
            measure_start(scratch, options.etcd, options.keys)


if __name__ == "__main__":
    main()
