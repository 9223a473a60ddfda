"""The long run: C{python -m tests.cluster --seconds 120 --faults kill-leader,cut,stall --seed 7}."""

from __future__ import annotations

import argparse
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from tests.cluster.nemesis import ENGINE_FAULTS, FAULTS
from tests.cluster.workload import Plan, Report, run
from tests.cluster.worlds import EngineWorld, EtcdWorld, SQLiteWorld, World

_WORLDS: dict[str, Callable[[Any, Path], World]] = {
    "engine": EngineWorld,
    "sqlite": SQLiteWorld,
    "etcd": EtcdWorld,
}


def main(reactor: Any, *arguments: str) -> Deferred[None]:
    """Run clients against a world for a while, and say what was wrong with what they saw."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long (default %(default)s)")
    parser.add_argument(
        "--faults",
        default=None,
        help=f"what goes wrong (default all: {', '.join(FAULTS)};"
        f" with the world engine also {', '.join(ENGINE_FAULTS)})",
    )
    parser.add_argument("--lasting", type=float, default=2, help="seconds of a fault (default %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="what decides about everything (default: any)")
    parser.add_argument("--clients", type=int, default=6, help="how many (default %(default)s)")
    parser.add_argument(
        "--keepers", type=int, default=8, help="clients that keep keys with a ttl alive (default %(default)s)"
    )
    parser.add_argument(
        "--clocks",
        type=_seconds,
        default=None,
        help="by how many seconds each gateway's clock is wrong, such as 0,2.5,-1.5 (default 0,0,0)",
    )
    parser.add_argument(
        "--world",
        choices=_WORLDS,
        default="engine",
        help="gateways on a cluster, one server on a file, or a real etcd (default %(default)s)",
    )
    parser.add_argument(
        "--directory", type=Path, default=None, help="an empty one for data and logs, which stays then"
    )
    options = parser.parse_args(arguments)
    known = FAULTS | ENGINE_FAULTS if options.world == "engine" else FAULTS
    faults = tuple(known if options.faults is None else filter(None, options.faults.split(",")))
    if unknown := set(faults) - set(known):
        parser.error(f"--faults: {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    seed = random.randrange(2**32) if options.seed is None else options.seed
    plan = Plan(options.seconds, faults, seed, options.clients, options.keepers, lasting=options.lasting)
    make = _WORLDS[options.world]
    if options.clocks is not None:
        if options.world != "engine":
            parser.error("--clocks: only gateways can have different ones; leave out --world")
        make = partial(EngineWorld, clocks=options.clocks)
    _say(f"seed {seed}")
    return Deferred.fromCoroutine(_run(reactor, make, options.directory, plan))


def _seconds(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


async def _run(reactor: Any, make: Callable[[Any, Path], World], directory: Path | None, plan: Plan) -> None:
    stop = threading.Event()
    over: Deferred[None] = Deferred()

    def interrupted() -> Deferred[None]:
        """Cut the run short; the links need the reactor until all is over."""
        stop.set()
        return over

    reactor.addSystemEventTrigger("before", "shutdown", interrupted)
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory() if directory is None else nullcontext(directory) as place:
            report = await _start_and_run(make(reactor, Path(place)), plan, stop)
    finally:
        over.callback(None)
    _say(str(report))
    if report.breaches:
        raise SystemExit(1)


async def _start_and_run(world: World, plan: Plan, stop: threading.Event) -> Report:
    tried: Counter[str] = Counter()

    def tell(fault: str) -> None:
        tried[fault] += 1
        _say(f"  {fault}")

    def work() -> Report:
        world.start()
        return run(world, plan, stop, tell)

    try:
        return await deferToThread(work)
    finally:
        await world.close()
        _say(", ".join(f"{name} {count}" for name, count in sorted(tried.items())))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    react(main, sys.argv[1:])
