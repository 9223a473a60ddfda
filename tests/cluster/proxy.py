"""Links that can be cut: TCP proxies on this machine, between a server and those who connect to it.

Everything here runs in the reactor's thread.  What is on its way is not limited: the links are for tests that
send little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IReactorTCP, IReactorTime
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from tests.cluster.process import stable_port


class State(Enum):
    """What a link does with what comes along."""

    PASS = "passes all"
    CUT = "drops connections and takes no new ones"
    STALL = "takes connections and holds back all that they send"
    DROP_ANSWERS = "passes what clients send and loses what servers say"


class Link:
    """A way to a server that can be cut.

    @ivar port: where it listens.
    @ivar state: what it does at the moment.
    @ivar delay: seconds that everything takes in either direction.
    """

    def __init__(self, reactor: IReactorTCP, target: int) -> None:
        """Listen.

        @param target: the server's port on this machine.
        """
        self.reactor = reactor
        self.target = target
        self.delay = 0.0
        self.state = State.PASS
        self._refused: Callable[[int], bool] | None = None
        self._pairs: set[_Near] = set()
        self.port = stable_port()
        self._factory = _NearFactory(self)
        self._listening: IListeningPort | None = None
        self._listen()

    def _listen(self) -> None:
        if self._listening is None:
            self._listening = self.reactor.listenTCP(self.port, self._factory, interface="127.0.0.1")

    def cut(self) -> Deferred[None]:
        """Drop all connections; fires when new ones are refused."""
        self.state = State.CUT
        for pair in list(self._pairs):
            pair.abort()
        listening, self._listening = self._listening, None
        if listening is None:
            return succeed(None)
        return maybeDeferred(listening.stopListening).addCallback(lambda _: None)

    def stall(self) -> None:
        """Take connections, but pass nothing on until the link is healed."""
        self.state = State.STALL
        for pair in self._pairs:
            pair.hold()

    def drop_answers(self) -> None:
        """Pass on what clients send; what servers answer is lost."""
        self.state = State.DROP_ANSWERS

    def slow(self, delay: float) -> None:
        """Take so many seconds for everything, in either direction, until the link is healed."""
        self.delay = delay

    def refuse(self, refused: Callable[[int], bool]) -> None:
        """Drop the connections that come from certain ports, and take no new ones."""
        self._refused = refused
        for pair in list(self._pairs):
            if refused(pair.source):
                pair.abort()

    def heal(self) -> None:
        """Pass everything again; a connection on which something was lost is dropped."""
        self.state = State.PASS
        self.delay = 0.0
        self._refused = None
        self._listen()
        for pair in list(self._pairs):
            pair.heal()

    def admits(self, pair: _Near) -> bool:
        """Whether a connection may be there."""
        return self.state is not State.CUT and not (self._refused and self._refused(pair.source))

    def opened(self, pair: _Near) -> None:
        """A connection is there."""
        self._pairs.add(pair)

    def closed(self, pair: _Near) -> None:
        """A connection is gone."""
        self._pairs.discard(pair)


class _Lane:
    """One direction of a connection: what came in waits for its time, then goes out in order."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._out: Any = None
        self._waiting: deque[bytes | None] = deque()
        self._calls: deque[IDelayedCall] = deque()
        self._due = 0.0

    def lead_to(self, out: object) -> None:
        """There is somewhere to go now."""
        self._out = out
        self._flush()

    def pass_on(self, data: bytes | None) -> None:
        """Something came in; None is the end."""
        self._waiting.append(data)
        clock = cast(IReactorTime, self._link.reactor)
        # Nothing overtakes what came before, though the link is fast again.
        now = clock.seconds()
        self._due = max(self._due, now + self._link.delay)
        self._calls.append(clock.callLater(self._due - now, self._arrive))

    def _arrive(self) -> None:
        self._calls.popleft()
        self._flush()

    def _flush(self) -> None:
        while self._out is not None and len(self._waiting) > len(self._calls):
            data = self._waiting.popleft()
            if data is None:
                self._out.loseConnection()
            else:
                self._out.write(data)

    def drop(self) -> None:
        """Forget what is on its way."""
        for call in self._calls:
            if call.active():
                call.cancel()
        self._calls.clear()
        self._waiting.clear()


class _Near(Protocol):
    """The connection of a client, with the way from there to the server and back.

    @ivar source: the client's port.
    """

    transport: Any

    def __init__(self, link: Link, source: int) -> None:
        self.source = source
        self._link = link
        self._lost_something = False
        self._gone = False
        self._sides: list[Any] = []
        self._onward, self._back = _Lane(link), _Lane(link)

    def connectionMade(self) -> None:
        if not self._link.admits(self):
            self._gone = True
            self.transport.abortConnection()
            return
        self._link.opened(self)
        self._back.lead_to(self.transport)
        self._add(self.transport)
        self._link.reactor.connectTCP("127.0.0.1", self._link.target, _FarFactory(self))

    def _add(self, side: Any) -> None:
        side.setTcpNoDelay(True)
        self._sides.append(side)
        if self._link.state is State.STALL:
            side.pauseProducing()

    def reached(self, far: Any) -> None:
        """The server has taken the connection."""
        if not self.transport.connected:
            far.abortConnection()
            return
        self._add(far)
        self._onward.lead_to(far)

    def dataReceived(self, data: bytes) -> None:
        self._onward.pass_on(data)

    def answered(self, data: bytes) -> None:
        """The server has said something."""
        if self._link.state is State.DROP_ANSWERS:
            self._lost_something = True
        else:
            self._back.pass_on(data)

    def ended(self) -> None:
        """The server's side is gone, or was never there."""
        self._one_gone(self._back)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._one_gone(self._onward)

    def _one_gone(self, lane: _Lane) -> None:
        """One side is gone; the other goes when it has been told all."""
        if self._gone:
            self._drop()
            self._link.closed(self)
        else:
            self._gone = True
            lane.pass_on(None)

    def _drop(self) -> None:
        self._onward.drop()
        self._back.drop()

    def abort(self) -> None:
        """Drop both sides at once, and what is on its way."""
        self._drop()
        for side in self._sides:
            side.abortConnection()

    def hold(self) -> None:
        """Read no more from either side."""
        for side in self._sides:
            side.pauseProducing()

    def heal(self) -> None:
        """Go on, if that can be."""
        if self._lost_something:
            self.abort()
        else:
            for side in self._sides:
                side.resumeProducing()


class _NearFactory(ServerFactory):
    noisy = False

    def __init__(self, link: Link) -> None:
        self._link = link

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Near(self._link, cast(IPv4Address, addr).port)


class _Far(Protocol):
    """The connection to the server, on behalf of a client."""

    def __init__(self, near: _Near) -> None:
        self._near = near

    def connectionMade(self) -> None:
        self._near.reached(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self._near.answered(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._near.ended()


class _FarFactory(ClientFactory):
    noisy = False

    def __init__(self, near: _Near) -> None:
        self._near = near

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Far(self._near)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._near.ended()
