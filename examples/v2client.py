"""As much of a v2 client as the other examples need: Twisted's Agent, arguments out, events in.

It is no program. `Client` works with any v2 server, over whatever Agent it is given.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IAgent

from txetcd import EtcdError
from txetcd.bodies import read_whole
from txetcd.errors import WATCHER_CLEARED


@dataclass(frozen=True)
class Answer:
    """What a server tells.

    @ivar node: as in the JSON of v2.
    @ivar index: of the whole store.
    """

    action: str
    node: dict[str, Any]
    index: int


class Client:
    """Speaks with one server.

    @param agent: such as `twisted.web.client.Agent(reactor)`.
    @param url: of the server, such as `http://127.0.0.1:4001`.
    """

    def __init__(self, agent: IAgent, url: str) -> None:
        self._agent = agent
        self._keys = f"{url}/v2/keys"

    async def call(self, method: str, key: str, **arguments: object) -> Answer:
        """Ask for something.

        @raise EtcdError: the server refuses it, or ends a watch because it stops.
        """
        url = f"{self._keys}{quote(key)}?{urlencode(arguments)}"
        response: Any = await self._agent.request(method.encode(), url.encode())
        body = await read_whole(response)
        if not body:
            raise EtcdError(WATCHER_CLEARED)
        told = json.loads(body)
        if "errorCode" in told:
            raise EtcdError(told["errorCode"], told.get("cause", ""), told["index"])
        return Answer(told["action"], told["node"], int(response.headers.getRawHeaders("X-Etcd-Index")[0]))

    async def change(self, key: str, since: int, *, recursive: bool = False) -> Answer:
        """Wait for the first change of a key, or of what is below it too, from an index on."""
        below = {"recursive": "true"} if recursive else {}
        return await self.call("GET", key, wait="true", waitIndex=since, **below)


class Task(Service):
    """Does what `work` says as long as it runs, and again after a pause when that fails or is over.

    @param reactor: measures time.
    @cvar pause: in seconds.
    """

    log = Logger()
    pause = 1.0

    def __init__(self, reactor: IReactorTime) -> None:
        self.reactor = reactor
        self._working: Deferred[None] | None = None

    async def work(self) -> None:
        """Subclasses say what there is to do."""
        raise NotImplementedError

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._working = Deferred.fromCoroutine(self._persist())
        self._working.addErrback(lambda failure: failure.trap(CancelledError))

    def stopService(self) -> Deferred[None] | None:
        """Break off."""
        super().stopService()
        if self._working is not None:
            self._working.cancel()
        return None

    async def _persist(self) -> None:
        while True:
            try:
                await self.work()
            except CancelledError:
                raise
            except Exception:
                reason = Failure().getErrorMessage()
                self.log.warn("{task}: {reason}; once more", task=type(self).__name__, reason=reason)
            await deferLater(self.reactor, self.pause)
