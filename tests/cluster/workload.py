"""One run: clients and watches on a world, what goes wrong in it, and what was wrong with what they saw."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.client_harness import eventually
from tests.cluster.clients import Caller, Client, Keys, passing
from tests.cluster.events import Watched, check_events, check_same
from tests.cluster.histories import Breach, Kind, Operation, Outcome, Request
from tests.cluster.keepers import KEPT, Keeper
from tests.cluster.lifetimes import check_lifetimes
from tests.cluster.linearizability import check
from tests.cluster.nemesis import torment
from tests.cluster.watches import Watch
from tests.cluster.worlds import World
from tests.e2e import TIMEOUT

# What clients write is below it.
ROOT = "/linear"
# Why an engine's own members may differ, which nothing that asks it can bring about.
KNOWN = "etcd 3.5.0 to 3.5.2 is known for that when it is killed"
# How many breaches a report shows.
_SHOWN = 10


@dataclass(frozen=True)
class Plan:
    """What to do.

    @ivar seconds: how long clients work.
    @ivar faults: what goes wrong meanwhile, by name; nothing if empty.
    @ivar clients: how many there are, and
    @ivar keepers: how many that keep keys with a ttl alive.
    @ivar patience: seconds that a client waits for an answer.
    @ivar lasting: seconds that a fault lasts, on average.
    """

    seconds: float
    faults: tuple[str, ...] = ()
    seed: int = 1
    clients: int = 6
    keepers: int = 0
    patience: float = 2.0
    lasting: float = 2.0


@dataclass(frozen=True)
class Report:
    """What came of it."""

    plan: Plan
    history: tuple[Operation, ...]
    breaches: tuple[Breach, ...]

    def __str__(self) -> str:
        counts = [
            f"{sum(each.outcome is one for each in self.history)} {one.name.lower()}" for one in Outcome
        ]
        head = f"seed {self.plan.seed}: {len(self.history)} operations: {', '.join(counts)}"
        more = len(self.breaches) - _SHOWN
        tail = [f"... and {more} more"] if more > 0 else []
        return "\n\n".join([head, *map(str, self.breaches[:_SHOWN]), *tail])


def run(world: World, plan: Plan, stop: threading.Event, say: Callable[[str], object] = str) -> Report:
    """Run clients and watches on a world that has been started; not in the reactor's thread.

    @param stop: when set, the run is cut short.
    @param say: called with the name of each fault.
    @raise AssertionError: when the world does not come back to life afterwards, with its logs.
    """
    try:
        return _run(world, plan, stop, say)
    except AssertionError as error:
        raise AssertionError("\n".join([f"seed {plan.seed}: {error}", *world.logs()])) from error


def _run(world: World, plan: Plan, stop: threading.Event, say: Callable[[str], object]) -> Report:
    written, kept = _View(world, ROOT), _View(world, KEPT)
    views = (written, kept)
    try:
        _work(world, plan, stop, written.history.append, kept.history.append, say)
        eventually(lambda: passing(world.servers[0]) == [])
        for view in views:
            view.finish()
    finally:
        for view in views:
            view.give_up()
    breaches = (
        *check(written.history),
        *check_events(written.watched, written.history, written.first, written.last, world.apart),
        *check_same(kept.watched, kept.first, kept.last),
        *check_lifetimes(kept.watched, kept.history, kept.last, world.apart),
        *_complaints(world),
    )
    return Report(plan, (*written.history, *kept.history), breaches)


class _View:
    """A directory that is watched at all servers.

    @ivar history: what is done below it.
    @ivar first: the index from which on it is watched, and
    @ivar last: up to which; once it is known.
    """

    def __init__(self, world: World, directory: str) -> None:
        self._servers = world.servers
        self._directory = directory
        self.history: list[Operation] = []
        self.first = self._mark("begin")
        self.last = 0
        self._watches = [Watch(server, directory, self.first, world.streams) for server in world.servers]
        for watch in self._watches:
            watch.start()

    @property
    def watched(self) -> dict[str, Watched]:
        """What was shown, by server."""
        return {watch.server.name: watch.watched for watch in self._watches}

    def finish(self) -> None:
        """Wait until everything has been shown everywhere."""
        self.last = self._mark("end")
        for watch in self._watches:
            watch.finish(self.last)
        # One more event, for those who have seen the last and wait for the next.
        self._mark("over")
        for watch in self._watches:
            watch.join(TIMEOUT)

    def give_up(self) -> None:
        """Wait no more."""
        for watch in self._watches:
            watch.give_up()

    def _mark(self, name: str) -> int:
        """Write until a server acknowledges it.

        @return: the index of what was acknowledged.
        """
        deadline = time.monotonic() + TIMEOUT
        number = 0
        while time.monotonic() < deadline:
            caller = Caller("mark", self._servers[number % len(self._servers)], 2.0)
            number += 1
            operation = caller.call(Request(Kind.SET, f"{self._directory}/{name}", f"{name}.{number}"))
            caller.close()
            self.history.append(operation)
            if operation.outcome is Outcome.OK:
                return operation.index
            time.sleep(0.05)
        raise AssertionError("nobody takes writes any more")


def _complaints(world: World) -> Iterator[Breach]:
    """Faults are nothing unforeseen, so nobody may log a traceback; and all members are to have the same."""
    if damage := world.damage():
        yield Breach(f"{damage} ({KNOWN})")
    for process in world.processes:
        before, traceback, after = process.output.partition("Traceback (most recent call last)")
        if traceback:
            yield Breach(f"{process.name} has logged:\n{before[-500:]}{traceback}{after[:3000]}")


def _work(
    world: World,
    plan: Plan,
    stop: threading.Event,
    record: Callable[[Operation], object],
    record_kept: Callable[[Operation], object],
    say: Callable[[str], object],
) -> None:
    """Let clients work, and things go wrong, until the time is over; everything is healed afterwards."""
    over = threading.Event()
    keys = Keys(ROOT)
    with ThreadPoolExecutor(plan.clients + plan.keepers + 1) as pool:
        try:
            workers = [
                pool.submit(
                    Client(f"c{number}", world.servers, keys, plan.seed, plan.patience, world.monotonic).run,
                    over,
                    record,
                )
                for number in range(plan.clients)
            ]
            for number in range(plan.keepers):
                keeper = Keeper(f"k{number}", world.servers, plan.seed, plan.patience)
                workers.append(pool.submit(keeper.run, over, record_kept))
            workers.append(pool.submit(torment, world, plan.faults, plan.seed, over, plan.lasting, say))
            stop.wait(plan.seconds)
        finally:
            over.set()
        for worker in workers:
            worker.result()
