"""What goes wrong in a world, by a plan that a seed decides."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

from tests.cluster.clients import Caller, Server
from tests.cluster.histories import Kind, Request
from tests.cluster.proxy import Link
from tests.cluster.worlds import EngineWorld, World
from txetcd.journal.etcd import CHECKPOINT_COMMANDS

# How many checkpoints the log does not survive, after how many writes that is seen to, how often at most, and
# how many write at once.
_CHECKPOINTS = 3
_FLOOD = 1000
_FLOODS = 2 * _CHECKPOINTS * CHECKPOINT_COMMANDS // _FLOOD
_WRITERS = 16

# Something that is wrong while the context lasts.
Fault = Callable[[World, random.Random], AbstractContextManager[None]]


@contextmanager
def kill_leader(world: World, rng: random.Random) -> Iterator[None]:
    """Kill the leader, and start it again later."""
    leader = world.leader()
    leader.kill()
    yield
    leader.start()


@contextmanager
def pause(world: World, rng: random.Random) -> Iterator[None]:
    """Stop the time for one process."""
    process = rng.choice(world.processes)
    process.pause()
    yield
    process.resume()


@contextmanager
def restart_all(world: World, rng: random.Random) -> Iterator[None]:
    """Kill everything at once and start it again."""
    for process in world.processes:
        process.kill()
    for process in world.processes:
        process.start()
    yield


@contextmanager
def kill(world: World, rng: random.Random) -> Iterator[None]:
    """Kill one process, and start it again later."""
    process = rng.choice(world.processes)
    process.kill()
    yield
    process.start()


@contextmanager
def isolate_leader(world: World, rng: random.Random) -> Iterator[None]:
    """Cut the leader off from its peers, but not from its clients."""
    world.isolate_leader()
    yield
    world.heal()


def at_links(action: Callable[[Link], object]) -> Fault:
    """Do something to some of the links."""

    @contextmanager
    def fault(world: World, rng: random.Random) -> Iterator[None]:
        links = rng.sample(world.links, rng.randint(1, len(world.links)))
        world.at_links(links, action)
        yield
        world.at_links(links, Link.heal)

    return fault


FAULTS: dict[str, Fault] = {
    "kill-leader": kill_leader,
    "isolate-leader": isolate_leader,
    "cut": at_links(Link.cut),
    "stall": at_links(Link.stall),
    "lost-answers": at_links(Link.drop_answers),
    "slow": at_links(lambda link: link.slow(0.2)),
    "pause": pause,
    "kill": kill,
    "restart-all": restart_all,
}


# And what goes wrong with gateways and their engine.


@contextmanager
def pause_gateway(world: World, rng: random.Random) -> Iterator[None]:
    """Stop the time for one gateway."""
    gateway = rng.choice(_engine(world).gateways)
    gateway.pause()
    yield
    gateway.resume()


@contextmanager
def gateways_down(world: World, rng: random.Random) -> Iterator[None]:
    """Kill all gateways, and start them again later; keys run out meanwhile."""
    gateways = _engine(world).gateways
    for gateway in gateways:
        gateway.kill()
    yield
    for gateway in gateways:
        gateway.start()


@contextmanager
def cut_off(world: World, rng: random.Random) -> Iterator[None]:
    """Cut one gateway off from all members."""
    ways = rng.choice([*_engine(world).ways.values()])
    world.at_links(ways, rng.choice([Link.cut, Link.stall, Link.drop_answers]))
    yield
    world.at_links(ways, Link.heal)


@contextmanager
def compact(world: World, rng: random.Random) -> Iterator[None]:
    """Let one gateway lag until the engine has forgotten what it has missed, and mostly the log, too."""
    engine = _engine(world)
    lagging = rng.choice(engine.gateways)
    others = [server for server in world.servers if server.name != lagging.name]
    pauses = rng.random() < 0.5
    ways = engine.ways[lagging.name]
    if pauses:
        lagging.pause()
    else:
        world.at_links(ways, rng.choice([Link.cut, Link.stall]))
    if rng.random() < 0.8:
        enough = engine.checkpoints() + _CHECKPOINTS
        for _ in range(_FLOODS):
            if engine.checkpoints() < enough:
                _flood(others)
    engine.cluster.compact(engine.cluster.revision())
    yield
    if pauses:
        lagging.resume()
    else:
        world.at_links(ways, Link.heal)


def _flood(servers: Sequence[Server]) -> None:
    """Write much, so that checkpoints take the place of the log."""

    def write(writer: int) -> None:
        for number in range(_FLOOD // _WRITERS):
            caller = callers[writer]
            caller.call(Request(Kind.SET, f"/flood/{writer}", str(number)))

    callers = [Caller("flood", servers[number % len(servers)], 2.0) for number in range(_WRITERS)]
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(write, range(_WRITERS)))
    for caller in callers:
        caller.close()


@contextmanager
def full(world: World, rng: random.Random) -> Iterator[None]:
    """Fill the engine's space, and free it again later."""
    cluster = _engine(world).cluster
    cluster.wait_healthy()
    cluster.fill()
    yield
    cluster.free()


def _engine(world: World) -> EngineWorld:
    assert isinstance(world, EngineWorld), "there is no engine"
    return world


ENGINE_FAULTS: dict[str, Fault] = {
    "pause-gateway": pause_gateway,
    "gateways-down": gateways_down,
    "cut-off": cut_off,
    "compact": compact,
    "full": full,
}


def torment(
    world: World,
    faults: Sequence[str],
    seed: int,
    stop: threading.Event,
    lasting: float,
    say: Callable[[str], object],
) -> None:
    """Let one thing after the other go wrong until told to stop; then everything is healed.

    Each fault comes once before any comes again.

    @param faults: names of FAULTS and ENGINE_FAULTS.
    @param lasting: seconds that a fault lasts, on average.
    """
    rng = random.Random(f"{seed} nemesis")
    plan: list[str] = []
    try:
        while faults and not stop.wait(rng.uniform(0.5, 1) * lasting):
            plan = plan or rng.sample(faults, len(faults))
            name = plan.pop()
            say(name)
            with (FAULTS | ENGINE_FAULTS)[name](world, rng):
                stop.wait(rng.uniform(0.5, 1.5) * lasting)
    finally:
        world.heal()
