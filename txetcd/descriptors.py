"""File descriptors: how many there may be, and what listening ports do when hardly any are left.

Twisted's ports accept connections that there is no descriptor for, close them, and write three lines to the
log for each.  Here clients wait in the kernel's queue instead, and some descriptors stay free for the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import sys
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

# Descriptors that connections do not get, for the database, logs and certificates; of a low limit a quarter.
RESERVE = 64
# Seconds between two looks for free descriptors while a port does not accept.
PAUSE = 0.1
# Seconds in which this is said once.
QUIET = 60.0


class IDoorReactor(IReactorFDSet, IReactorTime):
    """What a door needs of a reactor."""


def limit() -> int:
    """How many descriptors this process may have at a time."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def raise_limit() -> int:
    """Let this process have as many descriptors as it may allow itself.

    @return: how many those are.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems promise more than they give.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return limit()


def reserve(most: int) -> int:
    """How many of `most` descriptors are not for connections."""
    return min(RESERVE, most // 4)


def shortage(connections: int, most: int) -> str | None:
    """Say what is wrong when so many connections are to be had with `most` descriptors.

    @param connections: 0 for any number, with which nothing is wrong.
    @return: a sentence for the operator, None if they fit in.
    """
    # The server has some of its own.
    room = most - 2 * reserve(most)
    if connections <= room:
        return None
    return (
        f"--max-connections {connections}: does not fit into the limit of {most} open files, which has room "
        f"for {room}; raise the limit (ulimit -n, LimitNOFILE=), or set --max-connections to {room}"
    )


@implementer(IReadDescriptor)
class Door:
    """Accepts for a listening port while there are descriptors, and lets clients wait while there are not.

    It takes the port's place in the reactor.  Clients wait in the kernel's queue, too, until it is opened.

    @param port: a port that listens.
    @param reactor: the one that it listens with.
    """

    log = Logger()

    def __init__(self, port: Port, reactor: IDoorReactor) -> None:
        self._port = port
        self._reactor = reactor
        self._waiting: IDelayedCall | None = None
        self._said = -QUIET
        port.stopReading()

    def open(self) -> None:
        """Begin to accept."""
        self._waiting = None
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[Any]:
        """Close the port; fires when it is closed."""
        self._reactor.removeReader(self)
        self._stop_waiting()
        return maybeDeferred(self._port.stopListening)

    def doRead(self) -> None:
        """Somebody wants to connect."""
        room = self._room()
        if room:
            self._port.numberAccepts = min(self._port.numberAccepts, room)
            self._port.doRead()
        else:
            self._say()
            self._reactor.removeReader(self)
            self._waiting = self._reactor.callLater(PAUSE, self._look)

    def fileno(self) -> int:
        """The port's own."""
        return int(self._port.fileno())

    def logPrefix(self) -> str:
        """The port's own."""
        return str(self._port.logPrefix())

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is at its end."""
        self._stop_waiting()
        self._port.connectionLost(reason)

    def _look(self) -> None:
        """Go on accepting if there are descriptors again."""
        if self._room():
            self.open()
        else:
            self._waiting = self._reactor.callLater(PAUSE, self._look)

    def _stop_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()

    def _room(self) -> int:
        """How many connections may be accepted in one go.

        The kernel gives the lowest free descriptor, so nothing is taken from the reserve while there is
        another. How many others there are only counting would tell: once the reserve has been touched, it is
        one connection at a time.
        """
        most = limit()
        spare = reserve(most)
        edge = most - spare
        if self._free(0) >= edge:
            return 0
        return spare if self._free(edge) == edge else 1

    def _free(self, least: int) -> int:
        """The lowest free descriptor that is not below `least`; a very high one if none is free."""
        try:
            descriptor = fcntl.fcntl(self._port.fileno(), fcntl.F_DUPFD, least)
        except OSError:
            return sys.maxsize
        os.close(descriptor)
        return descriptor

    def _say(self) -> None:
        now = self._reactor.seconds()
        if now - self._said >= QUIET:
            self._said = now
            self.log.warn(
                "Of {limit} file descriptors, all but a reserve are in use: new connections wait; raise the "
                "limit (ulimit -n, LimitNOFILE=), or lower --max-connections",
                limit=limit(),
            )
