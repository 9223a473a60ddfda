"""Elects a leader: whoever makes the key first leads, as long as it refreshes the key's ttl.

    python -m examples.election http://127.0.0.1:4001 /leader NAME

prints when NAME begins and ceases to lead. Run it several times with different names and stop the leader,
with Ctrl-C (another leads at once) or with kill -9 (another leads when the ttl is over).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater, react
from twisted.web.client import Agent

from examples.v2client import Client, Task
from txetcd import EtcdError
from txetcd.errors import KEY_EXISTS


class Candidate(Task):
    """Stands for leader, as long as it runs.

    @param key: which all candidates compete for.
    @param name: unique among them.
    @param told: called with True when this one begins to lead, with False when it ceases to.
    @param ttl: seconds after which another leads if this one is not heard of any more.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        client: Client,
        key: str,
        name: str,
        told: Callable[[bool], object],
        ttl: int = 10,
    ) -> None:
        super().__init__(reactor)
        self._client = client
        self._key = key
        self._name = name
        self._told = told
        self._ttl = ttl
        self.leads = False

    async def work(self) -> None:
        """Wait for the key to be free, take it, and keep it."""
        await self._campaign()
        self._tell(True)
        try:
            while True:
                await deferLater(self.reactor, self._ttl / 3)
                # Who cannot be sure to lead any more has to cease before another begins.
                await Deferred.fromCoroutine(self._refresh()).addTimeout(self._ttl / 3, self.reactor)
        finally:
            self._tell(False)

    def stopService(self) -> Deferred[None] | None:
        """Let another lead, at once."""
        led = self.leads
        super().stopService()
        return Deferred.fromCoroutine(self._resign()) if led else None

    async def _campaign(self) -> None:
        while True:
            try:
                await self._client.call("PUT", self._key, value=self._name, ttl=self._ttl, prevExist="false")
                return
            except EtcdError as error:
                if error.code != KEY_EXISTS:
                    raise
                index = error.index
            # A refresh is told to nobody: what comes is the end of the other's time.
            await self._client.change(self._key, index + 1)

    async def _refresh(self) -> None:
        await self._client.call("PUT", self._key, prevValue=self._name, ttl=self._ttl, refresh="true")

    async def _resign(self) -> None:
        await self._client.call("DELETE", self._key, prevValue=self._name)

    def _tell(self, leads: bool) -> None:
        self.leads = leads
        self._told(leads)


def main(reactor: Any, url: str, key: str, name: str) -> Deferred[None]:
    """Stand until Ctrl-C."""

    def told(leads: bool) -> None:
        print(f"{name} {'leads' if leads else 'does not lead any more'}", flush=True)

    candidate = Candidate(reactor, Client(Agent(reactor), url), key, name, told)
    candidate.startService()
    reactor.addSystemEventTrigger("before", "shutdown", candidate.stopService)
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
