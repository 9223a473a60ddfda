"""One run: clients and watches on a world, what goes wrong in it, and what was wrong with what they saw."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.client_harness import eventually
from tests.cluster.clients import Caller, Client, Keys, Server
from tests.cluster.events import check_events
from tests.cluster.histories import Breach, Kind, Operation, Outcome, Request
from tests.cluster.linearizability import check
from tests.cluster.nemesis import torment
from tests.cluster.watches import Watch
from tests.cluster.worlds import World
from tests.e2e import TIMEOUT

# Everything is below it.
ROOT = "/linear"
# How many breaches a report shows.
_SHOWN = 10


@dataclass(frozen=True)
class Plan:
    """What to do.

    @ivar seconds: how long clients work.
    @ivar faults: what goes wrong meanwhile, by name; nothing if empty.
    @ivar patience: seconds that a client waits for an answer.
    @ivar lasting: seconds that a fault lasts, on average.
    """

    seconds: float
    faults: tuple[str, ...] = ()
    seed: int = 1
    clients: int = 6
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
    history: list[Operation] = []
    first = _mark(world.servers, "begin", history)
    watches = [Watch(server, ROOT, first, world.streams) for server in world.servers]
    for watch in watches:
        watch.start()
    try:
        _work(world, plan, stop, history.append, say)
        _wait_until_run_out(world.servers)
        last = _mark(world.servers, "end", history)
        for watch in watches:
            watch.finish(last)
        # One more event, for those who have seen the last and wait for the next.
        _mark(world.servers, "over", history)
        for watch in watches:
            watch.join(TIMEOUT)
    finally:
        for watch in watches:
            watch.give_up()
    watched = {watch.server.name: watch.watched for watch in watches}
    breaches = [*check(history), *check_events(watched, history, first, last), *_complaints(world)]
    return Report(plan, tuple(history), tuple(breaches))


def _complaints(world: World) -> Iterator[Breach]:
    """Faults are nothing unforeseen, so nobody may log a traceback; and all members are to have the same."""
    if damage := world.damage():
        yield Breach(f"{damage} (etcd 3.5.0 to 3.5.2 is known for that when it is killed)")
    for process in world.processes:
        before, traceback, after = process.output.partition("Traceback (most recent call last)")
        if traceback:
            yield Breach(f"{process.name} has logged:\n{before[-500:]}{traceback}{after[:3000]}")


def _work(
    world: World,
    plan: Plan,
    stop: threading.Event,
    record: Callable[[Operation], object],
    say: Callable[[str], object],
) -> None:
    """Let clients work, and things go wrong, until the time is over; everything is healed afterwards."""
    over = threading.Event()
    keys = Keys(ROOT)
    with ThreadPoolExecutor(plan.clients + 1) as pool:
        try:
            workers = [
                pool.submit(
                    Client(f"c{number}", world.servers, keys, plan.seed, plan.patience, world.monotonic).run,
                    over,
                    record,
                )
                for number in range(plan.clients)
            ]
            workers.append(pool.submit(torment, world, plan.faults, plan.seed, over, plan.lasting, say))
            stop.wait(plan.seconds)
        finally:
            over.set()
        for worker in workers:
            worker.result()


def _wait_until_run_out(servers: Sequence[Server]) -> None:
    """Wait until the keys with a ttl are gone; an AssertionError when some stay."""

    def gone() -> bool:
        caller = Caller("mark", servers[0], 2.0)
        answer = caller.call(Request(Kind.LIST, Keys(ROOT).passing)).answer
        caller.close()
        return answer is not None and not answer.seen

    eventually(gone)


def _mark(servers: Sequence[Server], name: str, history: list[Operation]) -> int:
    """Write until a server acknowledges it.

    @return: the index of what was acknowledged.
    """
    deadline = time.monotonic() + TIMEOUT
    number = 0
    while time.monotonic() < deadline:
        caller = Caller("mark", servers[number % len(servers)], 2.0)
        number += 1
        operation = caller.call(Request(Kind.SET, f"{ROOT}/{name}", f"{name}.{number}"))
        caller.close()
        history.append(operation)
        if operation.outcome is Outcome.OK:
            return operation.index
        time.sleep(0.05)
    raise AssertionError("nobody takes writes any more")
