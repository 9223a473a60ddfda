"""Clusters that are measured: three members of etcd that serve v2 themselves, or three with a gateway each.

They are those of the tests, on loopback and without TLS, and keep their data on the same file system.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import CPU, P99, RATE, Figures
from benchmarks.servers import ATTEMPTS, START_TIME, BenchmarkError, Server
from tests.cluster.gateways import Gateway
from tests.cluster.members import Cluster
from tests.cluster.process import Process

# What etcd has by default; the tests have shorter times.
_TIMES = ("--heartbeat-interval=100", "--election-timeout=1000")


@dataclass(frozen=True)
class Nodes:
    """Three servers of v2 that share their keys.

    `processes` are those that clients ask, in the order of `ports`; `all` has those behind them, too.
    """

    processes: list[Process]
    ports: list[int]
    all: list[Process]

    @property
    def servers(self) -> list[Server]:
        """Where clients ask."""
        return [_server(*each) for each in zip(self.processes, self.ports, strict=True)]

    def cpu(self) -> float:
        """Seconds of CPU that all of them have used."""
        return sum(_server(process, 0).cpu() for process in self.all)

    def at_once(self, load: Callable[[Server], Figures], seconds: int) -> Figures:
        """Load all nodes at the same time; rates add up, and the slowest answers count."""
        with ThreadPoolExecutor(len(self.ports)) as pool:
            return self._figures(lambda: list(pool.map(load, self.servers)), seconds, sum)

    def in_turn(self, load: Callable[[Server], Figures], seconds: int) -> Figures:
        """Load one node after the other, one of which is the leader's; the mean rate counts."""
        return self._figures(lambda: [*map(load, self.servers)], seconds, statistics.mean)

    def _figures(
        self, run: Callable[[], list[Figures]], seconds: int, combine: Callable[[list[float]], float]
    ) -> Figures:
        before = self.cpu()
        measured = run()
        used = self.cpu() - before
        rates = [figures[RATE] for figures in measured]
        slowest = max(figures[P99] for figures in measured)
        return {RATE: combine(rates), P99: slowest, CPU: used / (sum(rates) * seconds) * 1e6}

    def restart(self) -> float:
        """Kill one of those that clients ask, start it again, and tell after how many seconds it answers."""
        process, port = self.processes[0], self.ports[0]
        process.kill()
        begun = time.monotonic()
        process.start()
        while time.monotonic() < begun + START_TIME:
            try:
                _server(process, port).request("GET", "/v2/keys/")
            except BenchmarkError:
                time.sleep(ATTEMPTS)
            else:
                return time.monotonic() - begun
        raise BenchmarkError(f"{process.name} does not start:\n{process.output[-1000:]}")


def _server(process: Process, port: int) -> Server:
    if process.pid is None:
        raise BenchmarkError(f"{process.name} has ended:\n{process.output[-1000:]}")
    return Server(port, process.pid)


@contextmanager
def members(etcd: str) -> Iterator[Nodes]:
    """Three members of etcd, which serve v2 themselves."""
    with _cluster(etcd, v2=True) as cluster:
        yield Nodes(
            [*cluster.members], [member.client_port for member in cluster.members], [*cluster.members]
        )


@contextmanager
def gateways(etcd: str) -> Iterator[Nodes]:
    """Three members of etcd, and three gateways, each with another of them as its first."""
    with _cluster(etcd, v2=False) as cluster:
        directory, hosts = cluster.directory, [url.partition("//")[2] for url in cluster.endpoints]
        made: list[Gateway] = []
        try:
            for number in range(len(hosts)):
                engine = f"etcd://{','.join(hosts[number:] + hosts[:number])}/txetcd"
                made.append(Gateway(f"gateway{number}", directory, [f"--engine={engine}"]))
                made[-1].start()
            for gateway in made:
                gateway.wait_healthy()
            yield Nodes([*made], [gateway.port for gateway in made], [*made, *cluster.members])
        except AssertionError as error:
            raise BenchmarkError(str(error)) from error
        finally:
            for gateway in made:
                gateway.kill()


@contextmanager
def _cluster(etcd: str, *, v2: bool) -> Iterator[Cluster]:
    with TemporaryDirectory(prefix="txetcd-benchmark-") as directory:
        cluster = Cluster(Path(directory), v2=v2, options=_TIMES, program=etcd)
        with cluster:
            try:
                cluster.start()
            except AssertionError as error:
                raise BenchmarkError(str(error)) from error
            yield cluster
