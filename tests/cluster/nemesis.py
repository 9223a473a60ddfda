"""What goes wrong in a world, by a plan that a seed decides."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from tests.cluster.proxy import Link
from tests.cluster.worlds import World

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
    "restart-all": restart_all,
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

    @param faults: names of FAULTS.
    @param lasting: seconds that a fault lasts, on average.
    """
    rng = random.Random(f"{seed} nemesis")
    plan: list[str] = []
    try:
        while faults and not stop.wait(rng.uniform(0.5, 1) * lasting):
            plan = plan or rng.sample(faults, len(faults))
            name = plan.pop()
            say(name)
            with FAULTS[name](world, rng):
                stop.wait(rng.uniform(0.5, 1.5) * lasting)
    finally:
        world.heal()
