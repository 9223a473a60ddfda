"""What a workload runs against: servers, the processes behind them, and the links in between.

A world is made and closed in the reactor's thread, started and broken in others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.internet.threads import blockingCallFromThread

from tests.cluster.clients import Server
from tests.cluster.gateways import Gateway
from tests.cluster.members import Cluster
from tests.cluster.process import Process
from tests.cluster.proxy import Link
from tests.cluster.sockets import owns

# By how many seconds the clock of each gateway is ahead.
CLOCKS = (0.0, 0.0, 0.0)
# How much of each log goes with a failure.
_LOG_SHOWN = 3000
# Where the rows of gateways are.
_PREFIX = "/txetcd"
# Bytes that the members of an engine keep: so few that tests can fill them, and enough for a long run.
_QUOTA = 48 * 2**20


class World(ABC):
    """Servers of v2, with everything about them that can break.

    @ivar servers: whom clients ask.
    @ivar links: ways that can be cut: from clients to servers or, if there is an engine, from gateways to it.
    @ivar processes: all of them.
    @ivar streams: whether a stream shows all that there was since its waitIndex.
    @ivar monotonic: whether plain reads at one server never go back, restarts included.
    @ivar apart: by how many seconds the servers' clocks differ.
    """

    streams = True
    monotonic = True
    apart = 0.0

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.links: list[Link] = []
        self.servers: list[Server] = []
        self.processes: list[Process] = []

    @abstractmethod
    def start(self) -> None:
        """Start everything and wait until it is of use."""

    @abstractmethod
    def leader(self) -> Process:
        """The process whose end hurts most."""

    @abstractmethod
    def isolate_leader(self) -> None:
        """Cut the leader off from its peers, if it has any, but not from clients."""

    def damage(self) -> str:
        """What is wrong with what it has at the end, whoever asks; empty if nothing is."""
        return ""

    async def close(self) -> None:
        """Kill all processes and cut all links; returns when nothing listens any more."""
        for process in self.processes:
            process.kill()
        for link in self.links:
            await link.cut()

    def heal(self) -> None:
        """Let everything run and pass that does not."""
        self.at_links(self.links, Link.heal)
        for process in self.processes:
            process.resume()
            process.start()

    def logs(self) -> list[str]:
        """The end of what each process has said."""
        return [f"{process.name}:\n{process.output[-_LOG_SHOWN:]}" for process in self.processes]

    def at_links(self, links: Sequence[Link], action: Callable[[Link], object]) -> None:
        """Do something to links, from any thread but the reactor's."""

        def do() -> Any:
            return gatherResults([maybeDeferred(action, link) for link in links])

        blockingCallFromThread(self._reactor, do)

    def _link(self, port: int) -> Link:
        link = Link(self._reactor, port)
        self.links.append(link)
        return link


class SQLiteWorld(World):
    """One txetcd, on a file of its own; links lead to it."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        super().__init__(reactor)
        self._gateway = Gateway("txetcd", directory, ("--data-dir=data", "--history-size=100000"))
        self.processes = [self._gateway]
        # Two names for one server: each can be cut off without the other.
        for name in ("left", "right"):
            self.servers.append(Server(name, self._link(self._gateway.port).port))

    def start(self) -> None:
        self._gateway.start()
        self._gateway.wait_healthy()

    def leader(self) -> Process:
        return self._gateway

    def isolate_leader(self) -> None:
        pass


class ClusterWorld(World):
    """With a cluster of three, whose peers meet over links too.

    @ivar cluster: the cluster.
    """

    def __init__(self, reactor: Any, directory: Path, **options: Any) -> None:
        super().__init__(reactor)
        self.cluster = Cluster(directory, **options)
        self.processes = [*self.cluster.members]
        self._peer_links: dict[str, Link] = {}
        for member in self.cluster.members:
            link = Link(reactor, member.peer_port)
            member.advertised_port = link.port
            self._peer_links[member.name] = link

    def start(self) -> None:
        self.cluster.start()

    def leader(self) -> Process:
        return self.cluster.leader()

    def isolate_leader(self) -> None:
        leader = self.cluster.leader()
        inwards = self._peer_links[leader.name]
        outwards = [link for link in self._peer_links.values() if link is not inwards]
        self.at_links([inwards], Link.cut)
        self.at_links(outwards, lambda link: link.refuse(lambda port: owns(leader.pid, port, link.port)))

    def damage(self) -> str:
        self.cluster.wait_healthy()
        hashes = self.cluster.hashes()
        return f"the members differ: {hashes}" if len(set(hashes.values())) > 1 else ""

    def heal(self) -> None:
        self.at_links([*self._peer_links.values()], Link.heal)
        super().heal()

    async def close(self) -> None:
        self.links += self._peer_links.values()
        await super().close()


class EtcdWorld(ClusterWorld):
    """A real etcd that serves v2 itself; links lead to its members."""

    # It replays one event of the past, and then falls silent.
    streams = False
    # A member that was restarted serves reads before it has caught up.
    monotonic = False

    def __init__(self, reactor: Any, directory: Path) -> None:
        super().__init__(reactor, directory, v2=True)
        for member in self.cluster.members:
            self.servers.append(Server(member.name, self._link(member.client_port).port))


class EngineWorld(ClusterWorld):
    """Gateways in front of a cluster that wants certificates; links lead from each to each member.

    @ivar gateways: the gateways, and
    @ivar ways: by their names, the links that lead from them.
    """

    def __init__(self, reactor: Any, directory: Path, clocks: Sequence[float] = CLOCKS) -> None:
        """Prepare.

        @param clocks: by how many seconds that of each gateway is ahead of the true time.
        """
        super().__init__(reactor, directory, tls=True, options=(f"--quota-backend-bytes={_QUOTA}",))
        self.apart = max(clocks) - min(clocks)
        self.ways: dict[str, list[Link]] = {}
        self.gateways = [
            self._gateway(f"gateway{number}", directory, ahead) for number, ahead in enumerate(clocks)
        ]
        self.processes += self.gateways
        self.servers = [Server(gateway.name, gateway.port) for gateway in self.gateways]

    def _gateway(self, name: str, directory: Path, ahead: float) -> Gateway:
        ways = self.ways[name] = [self._link(member.client_port) for member in self.cluster.members]
        endpoints = ",".join(f"127.0.0.1:{link.port}" for link in ways)
        tls = self.cluster.tls
        assert tls is not None
        options = [
            "--history-size=100000",
            f"--engine=etcd+https://{endpoints}{_PREFIX}",
            f"--peer-ca-file={tls.ca_file}",
            f"--peer-cert-file={tls.cert_file}",
            f"--peer-key-file={tls.key_file}",
        ]
        return Gateway(name, directory, options, ahead)

    def checkpoints(self) -> int:
        """How many checkpoints have been written."""
        return self.cluster.version(f"{_PREFIX}/checkpoint".encode())

    def start(self) -> None:
        super().start()
        for gateway in self.gateways:
            gateway.start()
        for gateway in self.gateways:
            gateway.wait_healthy()
