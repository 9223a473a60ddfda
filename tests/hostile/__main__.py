"""The long run: see `tests.hostile`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e import TWISTD, ServerProcess, free_port
from tests.hostile import attacks, tls_attacks
from tests.hostile.attacks import Plan
from tests.hostile.good import GoodClient
from tests.hostile.target import Target, issue
from tests.hostile.vitals import settled, vitals
from txetcd.descriptors import raise_limit
from txetcd.heap import EVERY

# Room for 10,000 watchers; and time enough to see slow clients be closed.
OPTIONS = ("--max-connections=12000", "--idle-timeout=5", "--tls-handshake-timeout=5")
# Seconds that a server has to be as it was.
PATIENCE = 20.0
LINE = "{:24} {:>6} {:>8} {:>7} {:>8} {:>7} {:>7} {:>10} {:>6} {:>9} {:>7} {:>5} {:>5}"
HEAD = "attack size answers failed worst_ms cpu_ms new_ms new_cpu_ms cpu_s MB_before after fds after".split()


def run(target: Target, plans: Mapping[str, Plan], hold: float) -> Iterator[str]:
    """Attack a server in all these ways, one after the other; give a line for each."""
    # With the first write it has what it needs for the database.
    GoodClient(target).end()
    for name, plan in plans.items():
        before = vitals(target.pid)
        good = GoodClient(target)
        plan.attack(target, plan.long, hold)
        fared = good.end()
        after = settled(target.pid, before.descriptors, PATIENCE)
        worst = (fared.worst, fared.worst_cpu, fared.worst_new, fared.worst_new_cpu)
        yield LINE.format(
            name,
            plan.long,
            fared.answers,
            fared.failures,
            *(f"{seconds * 1e3:.0f}" for seconds in worst),
            f"{after.processor - before.processor:.1f}",
            f"{before.memory / 1e6:.1f}",
            f"{after.memory / 1e6:.1f}",
            before.descriptors,
            after.descriptors,
        )


def main(arguments: Sequence[str]) -> None:
    """Run the attacks that are named, or all."""
    every = {**attacks.ATTACKS, **tls_attacks.ATTACKS}
    parser = argparse.ArgumentParser("python -m tests.hostile", description="Attack servers, and measure.")
    parser.add_argument("--hold", type=float, default=10.0, help="seconds that each attack lasts")
    parser.add_argument("attack", nargs="*", help=f"which, of {', '.join(every)}; else all")
    chosen = parser.parse_args(arguments)
    for name in chosen.attack:
        if name not in every:
            parser.error(f"{name}: is no attack; choose of {', '.join(every)}")
    raise_limit()
    print(LINE.format(*HEAD))
    for plans, secure in ((attacks.ATTACKS, False), (tls_attacks.ATTACKS, True)):
        wanted = {name: plan for name, plan in plans.items() if name in (chosen.attack or every)}
        if wanted:
            _serve_and_run(wanted, chosen.hold, secure)


def _serve_and_run(plans: Mapping[str, Plan], hold: float, secure: bool) -> None:
    with TemporaryDirectory() as temporary:
        port, directory = free_port(), Path(temporary)
        more = issue(directory) if secure else ()
        command = [*TWISTD, "--data-dir=data", f"--addr=127.0.0.1:{port}", *OPTIONS, *more]
        server = ServerProcess(command, directory, port)
        try:
            server.wait_for("Serving on")
            for line in run(Target(port, server.process.pid, directory, secure), plans, hold):
                print(line, flush=True)
            time.sleep(2 * EVERY)
            memory = vitals(server.process.pid).memory
            print(f"{2 * EVERY:.0f} seconds later: {memory / 1e6:.1f} MB", flush=True)
            # This looks for tracebacks, too.
            server.stop()
        finally:
            server.kill()


if __name__ == "__main__":
    main(sys.argv[1:])
