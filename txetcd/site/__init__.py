"""The fast HTTP/1.1 Site: it serves any `twisted.web` Resource, within limits, and ends in an orderly way.

`Site` is the factory: it keeps the connections, the sessions and the time. What happens on a connection is in
`channel`. Nothing here knows of etcd.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import Session
from zope.interface import implementer

from txetcd.site.cache import Cache
from txetcd.site.channel import Channel, Limits, Observer, Refusal
from txetcd.site.crowd import Crowd
from txetcd.site.request import Request
from txetcd.turns import Turns

__all__ = ["Cache", "Limits", "Observer", "Refusal", "Site"]

# Seconds between two looks at the connections, at most. Times of inactivity are exact to that.
SWEEP = 5.0


def plain_refusal(status: int, reason: str) -> Refusal:
    """Refuse with `status` and the reason as plain text."""
    return Refusal(status, reason.encode("utf-8") + b"\n")


@implementer(IProtocolNegotiationFactory)
class Site(Factory):
    """Serves a tree of resources over HTTP/1.1.

    @param resource: the root of the tree.
    @param clock: where all time comes from; the Date header takes it for wall-clock time, as a reactor's is.
    @param limits: what clients may ask for.
    @param refusal: makes the answer to a request that no resource gets to see, from the status that fits best
        and one sentence: 400 (malformed or ambiguous), 405 (CONNECT), 413 (body over the limit), 414
        (request line over the limit), 431 (headers over a limit), 503 (too many connections), 505
        (another version of HTTP). It may choose another status. The connection is closed after it,
        whatever it is.
    @param observers: are told how each request ended.
    @param cache: keeps answers for those who ask the same; only where nothing depends on who asks. None: the
        resource is asked each time.
    """

    noisy = False
    # For code that asks before it shows a client what went wrong.
    displayTracebacks = False
    sessionFactory = Session
    _log = Logger()

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
        refusal: Callable[[int, str], Refusal] | None = None,
        observers: Sequence[Observer] = (),
        cache: Cache | None = None,
    ) -> None:
        self.resource = resource
        self.clock = clock
        self.limits = limits
        self.observers = observers
        self.cache = cache
        self.sessions: dict[bytes, Session] = {}
        self._refusal = plain_refusal if refusal is None else refusal
        self._channels: set[Channel] = set()
        self._counted = 0
        self.turns = Turns(clock)
        self._crowd = Crowd(limits.connections_per_address)
        self._sweeping: IDelayedCall | None = None
        self._stopping = False
        self._deadline: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []
        self._second = -1
        self._date = b""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Make the channel of a new connection; None, which closes it, after `shutdown`."""
        return None if self._stopping else Channel(self, addr)

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._channels)

    def acceptableProtocols(self) -> list[bytes]:
        """What is offered in TLS (ALPN)."""
        return [b"http/1.1"]

    def shutdown(self, grace: float) -> Deferred[None]:
        """Take no more connections and requests, and get rid of those there are: idle connections at once,
        others after their answer.

        @param grace: seconds after which the connections that are left are aborted.
        @return: A Deferred that fires with None when no connection is left.
        """
        self._stopping = True
        if not self._channels:
            self._stopped()
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        if self._deadline is None:
            self._deadline = self.clock.callLater(grace, self._abort)
        for channel in list(self._channels):
            channel.drain()
        return waiting

    # What resources and requests ask for.

    def getResourceFor(self, request: Request) -> IResource:
        """Find the resource that `request` is for."""
        request.site = self
        request.sitepath = []
        resource: IResource = getChildForRequest(self.resource, request)
        return resource

    def makeSession(self) -> Session:
        """Begin a session."""
        uid = os.urandom(32).hex().encode("ascii")
        session = self.sessions[uid] = self.sessionFactory(self, uid, self.clock)
        session.startCheckingExpiration()
        return session

    def getSession(self, uid: bytes) -> Session:
        """Give the session of that name.

        @raise KeyError: there is none.
        """
        return self.sessions[uid]

    def date(self) -> bytes:
        """Give the present time as HTTP writes it."""
        second = int(self.clock.seconds())
        if second != self._second:
            self._second = second
            self._date = datetimeToString(second)
        return self._date

    # What channels tell.

    def opened(self, channel: Channel) -> str | None:
        """There is a new connection; say why it may not stay, None if it may."""
        self._channels.add(channel)
        if self._sweeping is None:
            self._sweep()
        limit = self.limits.connections
        if limit and self._counted >= limit:
            return "there are too many connections"
        if not self._crowd.enter(channel.peer):
            return "there are too many connections from your address"
        channel.counted = True
        self._counted += 1
        return None

    def gone(self, channel: Channel) -> None:
        """A connection is no more."""
        self._channels.discard(channel)
        if channel.counted:
            self._counted -= 1
            self._crowd.leave(channel.peer)
        if not self._channels:
            if self._sweeping is not None:
                self._sweeping.cancel()
                self._sweeping = None
            if self._stopping:
                self._stopped()

    def refuse(self, status: int, reason: str) -> Refusal:
        """Make the answer to a request that no resource gets to see; plain text if `refusal` fails."""
        try:
            return self._refusal(status, reason)
        except Exception:
            self._log.failure("While making the refusal for {status}", status=status)
            return plain_refusal(status, reason)

    # Time.

    def _sweep(self) -> None:
        """Look at all connections now and then: one timer for all of them, none per request."""
        self._sweeping = self.clock.callLater(min(SWEEP, self.limits.idle / 4), self._sweep)
        now = self.clock.seconds()
        for channel in list(self._channels):
            channel.check(now)

    def _abort(self) -> None:
        """The time for an orderly end is over."""
        self._deadline = None
        for channel in list(self._channels):
            channel.abortConnection()

    def _stopped(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        for session in list(self.sessions.values()):
            session.expire()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)
