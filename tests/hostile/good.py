"""The good client, in a process of its own, whose arguments are those of a `Target`.

It writes and reads on one connection, now and then on a new one, until its input ends; then it prints, as
JSON, how it fared.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from tests.e2e import CODE, environment
from tests.hostile.target import Target
from tests.hostile.vitals import processor

PAUSE = 0.01
# Attackers have other addresses.
HERE = ("127.0.0.2", 0)
# Every so many requests one has a connection of its own.
NEW = 5


@dataclass
class Experience:
    """How a client fared.

    @ivar answers: how many it got.
    @ivar failures: requests that were not answered, or not well.
    @ivar worst: seconds that the slowest answer took on a connection that was open.
    @ivar worst_new: seconds that the slowest took with a new connection.
    @ivar worst_cpu: seconds of CPU that the server has used during any one answer on the open connection, at
        most.  On a machine that has other things to do this tells more.
    @ivar worst_new_cpu: likewise with a new connection.
    """

    answers: int = 0
    failures: int = 0
    worst: float = 0.0
    worst_new: float = 0.0
    worst_cpu: float = 0.0
    worst_new_cpu: float = 0.0


class GoodClient:
    """Runs the good client while something else happens."""

    def __init__(self, target: Target) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *map(str, astuple(target))],
            cwd=CODE,
            env=environment(target.directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        # It has had its first answer.
        self._process.stdout.readline()

    def end(self) -> Experience:
        """Tell it to stop, and take what it says."""
        said, _ = self._process.communicate("")
        return Experience(**json.loads(said))


def _connection(target: Target) -> http.client.HTTPConnection:
    if target.secure:
        return http.client.HTTPSConnection(
            "127.0.0.1", target.port, timeout=10, source_address=HERE, context=target.context()
        )
    return http.client.HTTPConnection("127.0.0.1", target.port, timeout=10, source_address=HERE)


def _ask(connection: http.client.HTTPConnection, number: int) -> float:
    """Write or read; return how long it took in seconds."""
    began = time.monotonic()
    if number % 2:
        connection.request("GET", "/v2/keys/good")
    else:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("PUT", "/v2/keys/good", f"value={number}", form)
    response = connection.getresponse()
    response.read()
    if response.status not in (200, 201):
        raise http.client.HTTPException(response.status)
    return time.monotonic() - began


def fare(target: Target, ended: threading.Event) -> Experience:
    """Ask until it is ended."""
    experience = Experience()
    kept = _connection(target)
    number = 0
    while not ended.wait(PAUSE):
        used = processor(target.pid)
        try:
            if number % NEW:
                took = _ask(kept, number)
                used = processor(target.pid) - used
                experience.worst = max(experience.worst, took)
                experience.worst_cpu = max(experience.worst_cpu, used)
            else:
                with contextlib.closing(_connection(target)) as fresh:
                    took = _ask(fresh, number)
                used = processor(target.pid) - used
                experience.worst_new = max(experience.worst_new, took)
                experience.worst_new_cpu = max(experience.worst_new_cpu, used)
            experience.answers += 1
        except (OSError, http.client.HTTPException):
            experience.failures += 1
            kept.close()
        if number == 1:
            print(flush=True)
        number += 1
    kept.close()
    return experience


def main(port: str, pid: str, directory: str, secure: str) -> None:
    """Be the good client."""
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    target = Target(int(port), int(pid), Path(directory), secure == "True")
    print(json.dumps(asdict(fare(target, ended))))


if __name__ == "__main__":
    main(*sys.argv[1:])
