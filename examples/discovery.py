"""Service discovery: says where this instance of a service is, and knows where the others are.

    python -m examples.discovery http://127.0.0.1:4001 /services/web NAME ADDRESS

prints all instances whenever one comes or goes. Run it several times with different names. Who crashes is
gone when its ttl is over.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater, react
from twisted.web.client import Agent

from examples.v2client import Answer, Client, Task
from txetcd import EtcdError
from txetcd.errors import KEY_NOT_FOUND


class Registration(Task):
    """Keeps a key with an address, as long as it runs.

    @param ttl: seconds after which the key is gone when this is not heard of any more.
    """

    def __init__(self, reactor: IReactorTime, client: Client, key: str, address: str, ttl: int = 10) -> None:
        super().__init__(reactor)
        self._client = client
        self._key = key
        self._address = address
        self._ttl = ttl

    async def work(self) -> None:
        """Set the key and refresh it; when that fails, which ends this, it is set anew."""
        await self._client.call("PUT", self._key, value=self._address, ttl=self._ttl)
        while True:
            await deferLater(self.reactor, self._ttl / 3)
            await self._client.call("PUT", self._key, ttl=self._ttl, refresh="true")

    def stopService(self) -> Deferred[None]:
        """Take the key away."""
        super().stopService()
        return Deferred.fromCoroutine(self._leave())

    async def _leave(self) -> None:
        await self._client.call("DELETE", self._key)


class Directory(Task):
    """Knows the addresses below a key, as long as it runs.

    @param told: called with all names and addresses when they have changed.
    @ivar addresses: the addresses by name.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        client: Client,
        key: str,
        told: Callable[[Mapping[str, str]], object] = lambda _: None,
    ) -> None:
        super().__init__(reactor)
        self._client = client
        self._key = key
        self._told = told
        self.addresses: dict[str, str] = {}

    async def work(self) -> None:
        """List the key, then follow every change; when one was missed, which ends this, list it anew."""
        try:
            listed = await self._client.call("GET", self._key)
            index = listed.index
            self.addresses = {_name(node["key"]): node["value"] for node in listed.node.get("nodes", ())}
        except EtcdError as error:
            if error.code != KEY_NOT_FOUND:
                raise
            index = error.index
            self.addresses = {}
        self._told(self.addresses)
        while True:
            change = await self._client.change(self._key, index + 1, recursive=True)
            index = change.node["modifiedIndex"]
            self._note(change)
            self._told(self.addresses)

    def _note(self, change: Answer) -> None:
        name, address = _name(change.node["key"]), change.node.get("value")
        if address is None:
            self.addresses.pop(name, None)
        else:
            self.addresses[name] = address


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def main(reactor: Any, url: str, key: str, name: str, address: str) -> Deferred[None]:
    """Take part until Ctrl-C."""
    client = Client(Agent(reactor), url)
    both = MultiService()
    Directory(reactor, client, key, lambda found: print(found, flush=True)).setServiceParent(both)
    Registration(reactor, client, f"{key}/{name}", address).setServiceParent(both)
    both.startService()
    reactor.addSystemEventTrigger("before", "shutdown", both.stopService)
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
