"""Servers for trial: had with one call, stopped when the test is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.task import Clock

from txetcd.server import IServerReactor
from txetcd.testing.certificates import Certificates
from txetcd.testing.live import LiveServer
from txetcd.testing.memory import InMemoryServer


class Cleaning(Protocol):
    """What a test case has."""

    def addCleanup(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Have something done when the test is over."""


class TxetcdMixin:
    """For test cases of `twisted.trial.unittest`, and of `unittest` as far as servers in memory go."""

    def txetcd(self: Cleaning, clock: Clock | None = None, *, history_size: int = 1000) -> InMemoryServer:
        """Start a server in memory; see `InMemoryServer` for the arguments.

        `SynchronousTestCase` is enough for that.
        """
        server = InMemoryServer(clock, history_size=history_size)
        server.start()
        self.addCleanup(server.stop)
        return server

    def txetcd_live(
        self: Cleaning,
        reactor: IServerReactor,
        *,
        clock: Clock | None = None,
        certificates: Certificates | None = None,
        history_size: int = 1000,
    ) -> LiveServer:
        """Start a server on sockets; see `LiveServer` for the arguments.

        It takes a `TestCase`, which waits until the server has stopped.
        """
        server = LiveServer(reactor, clock=clock, certificates=certificates, history_size=history_size)
        server.start()
        self.addCleanup(server.stop)
        return server
