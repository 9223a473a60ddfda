"""A server in memory: no sockets, no reactor, and time that passes when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from txetcd.auth import Auth
from txetcd.auth_commands import AuthCommand
from txetcd.commands import Command
from txetcd.committer import Outcome
from txetcd.events import Event
from txetcd.journal import Journal
from txetcd.store import Store
from txetcd.testing import http
from txetcd.testing.base import BaseServer, advance, wall_clock
from txetcd.testing.http import Response
from txetcd.testing.journal import FaultyJournal
from txetcd.testing.network import SERVER, MemoryAgent, MemoryEndpoint, Turns

_T = TypeVar("_T")

# Seconds, by the clock, that clients have for their last answers.
GRACE = 2.0


class InMemoryServer(BaseServer):
    """A v2 server that only this process can reach, by `agent`, by `endpoint` or by `store`.

    Whatever is asked of it is done when the call returns, so that Deferreds have fired, unless they wait for
    something to change, or for time.  Start it, and stop it, or use it in a `with` block.

    @param clock: by which keys run out; one of its own if None.  A `MemoryReactorClock` is a clock too.
    @param history_size: how many of the latest events can be asked for after the fact.
    @ivar agent: an `IAgent` for `http:` URLs of any host.
    @ivar endpoint: an `IStreamClientEndpoint` for any other client that speaks HTTP.
    """

    def __init__(self, clock: Clock | None = None, *, history_size: int = 1000) -> None:
        self.clock = Clock() if clock is None else clock
        self._turns = Turns(self.clock)
        journal = FaultyJournal()
        store = PromptStore(journal, self._turns, history_size)
        super().__init__(self.clock, journal, store, history_size)
        self._running = False
        self.endpoint = MemoryEndpoint(self._turns, self._accept)
        self.agent = MemoryAgent(self._turns, self.endpoint)

    @property
    def url(self) -> str:
        """A URL that `agent` reaches it by."""
        return f"http://{SERVER.host}:{SERVER.port}"

    def start(self) -> None:
        """Begin to serve; again, with the same data, after `stop`."""
        self._site = self._new_site()
        self._serve()
        self._running = True

    def stop(self) -> Deferred[None]:
        """End watches, finish what is under way, close all connections.

        @return: has fired; harmless when it is not running.
        """
        if not self._running:
            return succeed(None)
        self._running = False
        self._journal.release()
        stopping = gatherResults([self.store.stopService(), self._site.shutdown(GRACE)])
        self._turns.turn()
        # Those who do not read what they have asked for.
        self.drop_connections()
        return stopping.addCallback(lambda _: None)

    def __enter__(self) -> InMemoryServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def advance(self, seconds: float) -> None:
        """Let time pass: keys run out, timeouts end, each at its own time."""
        advance(self.clock, seconds)

    def result(self, waiting: Deferred[_T]) -> _T:
        """Give what a Deferred has fired with; raise what it has failed with.

        @raise AssertionError: it has done neither.
        """
        self._turns.turn()
        outcome: list[_T | Failure] = []
        waiting.addBoth(outcome.append)
        if not outcome:
            raise AssertionError(f"{waiting!r} waits for something to change, or for time to pass")
        found = outcome[0]
        if isinstance(found, Failure):
            found.raiseException()
        return found

    def request(self, method: str, path: str, **form: object) -> Response:
        """Ask for something over HTTP, and give the whole answer.

        @param path: from `/v2` on.
        @param form: the arguments, such as `value="1"`; True and False are told as etcd spells them.
        @raise AssertionError: the answer waits for something; use `agent` for that.
        """
        return self.result(http.request(self.agent, method, self.url + path, form))

    def lose_history(self) -> Deferred[None]:
        """See `BaseServer.lose_history`; it has fired."""
        with self._turns.after():
            return super().lose_history()

    def drop_connections(self) -> None:
        """See `BaseServer.drop_connections`."""
        with self._turns.after():
            super().drop_connections()

    def release_writes(self) -> None:
        """See `BaseServer.release_writes`."""
        with self._turns.after():
            super().release_writes()

    def _accept(self, client: IPv4Address) -> IProtocol | None:
        protocol: IProtocol | None = self._site.buildProtocol(client) if self._running else None
        return protocol


class PromptStore(Store):
    """A store that has done what it was asked for when the call returns: an `await` turns no Clock."""

    def __init__(self, journal: Journal, turns: Turns, history_size: int) -> None:
        super().__init__(journal, turns.clock, history_size=history_size, now=wall_clock(turns.clock))
        self._turns = turns

    def write(self, command: Command) -> Deferred[Event]:
        """See `Store.write`."""
        with self._turns.after():
            return super().write(command)

    def submit(self, command: Command, answer: Callable[[Outcome], None]) -> None:
        """See `Store.submit`."""
        with self._turns.after():
            super().submit(command, answer)

    def change_auth(self, command: AuthCommand) -> Deferred[Auth]:
        """See `Store.change_auth`."""
        with self._turns.after():
            return super().change_auth(command)
