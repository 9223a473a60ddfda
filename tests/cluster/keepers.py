"""Clients that keep keys alive: each makes one with a ttl, gives it more time for a while, and leaves it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence

from tests.cluster.clients import Caller, Server
from tests.cluster.histories import Kind, Operation, Outcome, Request

# The directory of those keys.
KEPT = "/kept"
# Seconds that a key is given, and how often it is given more.
_TTLS = (1, 2, 3, 4)
_TIMES = 4
# Seconds before the next key when a server did not do what was asked for, or none was there.
_PAUSE_AFTER_FAILURE = 0.1
# How much of a ttl passes until it is given more, at most: it is sometimes too late.
_LATEST = 1.1
# How many keys are directories, and how many of those that are left are to stay for ever.
_DIRECTORIES = 0.25
_STAYING = 0.4


class Keeper:
    """Keeps one key after the other.

    @param patience: seconds that it waits for an answer.
    """

    def __init__(self, name: str, servers: Sequence[Server], seed: int, patience: float) -> None:
        self._name = name
        self._rng = random.Random(f"{seed} {name}")
        self._callers = [Caller(name, server, patience) for server in servers]

    def run(self, stop: threading.Event, record: Callable[[Operation], object]) -> None:
        """Keep keys until told to stop."""
        number = 0
        while not stop.is_set():
            number += 1
            key = f"{KEPT}/{self._name}.{number}"
            for request in self._life(key):
                if not self._do(request, record):
                    stop.wait(_PAUSE_AFTER_FAILURE)
                    break
                if stop.wait(self._pause(request)):
                    break
        for each in self._callers:
            each.close()

    def _do(self, request: Request, record: Callable[[Operation], object]) -> bool:
        """Have it done, by whichever server; whether it was.  One that may have been done is not repeated."""
        outcome = Outcome.FAILED
        for caller in self._rng.sample(self._callers, len(self._callers)):
            operation = caller.call(request)
            record(operation)
            outcome = operation.outcome
            if outcome is not Outcome.FAILED:
                break
        return outcome is Outcome.OK

    def _life(self, key: str) -> list[Request]:
        """What is asked for in the life of a key."""
        rng = self._rng
        dir = rng.random() < _DIRECTORIES
        steps = [Request(Kind.CREATE, key, ttl=rng.choice(_TTLS))]
        if dir:
            # Later it would make the directory anew, if that has run out.
            below = Request(Kind.SET, f"{key}/below", "x")
            steps = [below, Request(Kind.UPDATE, key, ttl=rng.choice(_TTLS), dir=True)]
        for number in range(rng.randrange(_TIMES + 1)):
            kind = Kind.UPDATE if dir else rng.choice((Kind.UPDATE, Kind.REFRESH))
            value = "" if dir or kind is Kind.REFRESH else str(number)
            steps.append(Request(kind, key, value, ttl=rng.choice(_TTLS), dir=dir))
        if rng.random() < _STAYING:
            steps.append(Request(Kind.UPDATE, key, "" if dir else "stays", dir=dir))
            steps.append(Request(Kind.DELETE, key, dir=dir))
        return steps

    def _pause(self, request: Request) -> float:
        """How many seconds to wait after that."""
        if request.kind is Kind.SET:
            return 0.0
        return self._rng.uniform(0, _LATEST * (request.ttl or max(_TTLS)))
