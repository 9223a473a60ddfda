"""Runs a command while holding a lock; those who want it get it in the order in which they asked.

    python -m examples.lock http://127.0.0.1:4001 /locks/report COMMAND ARGUMENT...

The exit status is the command's. When the holder crashes, the lock is free as soon as its ttl is over.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall, react
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent

from examples.v2client import Answer, Client


class LockLostError(Exception):
    """The lock could not be kept; another may have it now."""


class Lock:
    """A lock, to be used with `async with`, once.

    Everybody who wants it makes a key in order; the one with the lowest key has it. Each waits for the key
    just before its own to go, so that a release wakes one and not all.

    @param directory: the lock.
    @param name: who wants it, for those who look.
    @param ttl: seconds after which the lock is free if its holder is not heard of any more.
    @ivar lost: fires if the lock could not be kept: stop what it is for.
    """

    log = Logger()

    def __init__(
        self, reactor: IReactorTime, client: Client, directory: str, name: str, ttl: int = 10
    ) -> None:
        self._client = client
        self._directory = directory
        self._name = name
        self._ttl = ttl
        self._key = ""
        self._refreshing = LoopingCall(self._refresh)
        self._refreshing.clock = reactor
        self.lost: Deferred[None] = Deferred()

    async def __aenter__(self) -> Lock:
        made = await self._client.call("POST", self._directory, value=self._name, ttl=self._ttl)
        self._key = made.node["key"]
        self._refreshing.start(self._ttl / 3, now=False).addErrback(self._lost)
        try:
            await self._turn()
        except BaseException:
            await self._release()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._release()

    async def _turn(self) -> None:
        """Wait until our key is the first."""
        while True:
            listed = await self._client.call("GET", self._directory, sorted="true")
            keys = [node["key"] for node in listed.node.get("nodes", ())]
            if self._key not in keys:
                raise LockLostError(f"{self._key} is gone")
            place = keys.index(self._key)
            if place == 0:
                return
            await self._client.change(keys[place - 1], listed.index + 1)

    def _refresh(self) -> Deferred[Answer]:
        asked = self._client.call("PUT", self._key, ttl=self._ttl, refresh="true")
        return Deferred.fromCoroutine(asked).addTimeout(self._ttl / 3, self._refreshing.clock)

    def _lost(self, failure: Failure) -> None:
        self.log.error("{key}: {reason}", key=self._key, reason=failure.getErrorMessage())
        self.lost.callback(None)

    async def _release(self) -> None:
        if self._refreshing.running:
            self._refreshing.stop()
            await self._client.call("DELETE", self._key)


class Process(ProcessProtocol):
    """A command that runs.

    @ivar ended: fires with its exit status.
    """

    def __init__(self) -> None:
        self.ended: Deferred[int | None] = Deferred()

    def processEnded(self, reason: Failure) -> None:
        status: Any = reason.value
        self.ended.callback(status.exitCode)


async def main(reactor: Any, url: str, directory: str, *command: str) -> None:
    """Run the command."""
    client = Client(Agent(reactor), url)
    async with Lock(reactor, client, directory, f"process {os.getpid()}"):
        process = Process()
        reactor.spawnProcess(process, command[0], command, None, childFDs={0: 0, 1: 1, 2: 2})
        status = await process.ended
    raise SystemExit(status)


if __name__ == "__main__":
    react(main, sys.argv[1:])
