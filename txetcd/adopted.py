"""UNIX sockets that systemd has opened and hands over: they stay as they are, and open.

Twisted takes a UNIX socket for its own: it changes the mode of the file, which another user may not, and when
it stops listening it removes the file and shuts the socket down, so that nobody can connect until systemd has
opened it anew.
"""

from __future__ import annotations

import os
import socket
from typing import Any, cast

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.internet.unix import Port as UNIXPort
from twisted.python.failure import Failure
from zope.interface import implementer


class AdoptedPort(UNIXPort):
    """Listens on a UNIX socket that was opened elsewhere and stays open there.

    @param listening: the socket, which is closed here when listening ends.
    """

    # Closing is all that is done to the socket: a shutdown would be felt by all who have it.
    _shouldShutdown = False

    def __init__(self, listening: socket.socket, factory: IProtocolFactory, reactor: Any) -> None:
        super().__init__(os.fsencode(listening.getsockname()), factory, reactor=reactor)
        self._listening = listening

    def startListening(self) -> None:
        """Begin to accept."""
        cast(Factory, self.factory).doStart()
        self.socket = self._listening
        # As Twisted's ports do it: without a socket there is no descriptor.
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self.connected = True
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        """Let go of the socket; the file is systemd's."""
        Port.connectionLost(self, reason)


@implementer(IStreamServerEndpoint)
class AdoptedUNIXEndpoint:
    """An endpoint for a UNIX socket that was handed over.

    @param reactor: listens.
    @param fileno: the socket's descriptor, which is closed when listening ends.
    """

    def __init__(self, reactor: Any, fileno: int) -> None:
        self._reactor = reactor
        self._fileno = fileno

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; once."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        listening = socket.socket(fileno=self._fileno)
        listening.setblocking(False)
        listening.set_inheritable(False)
        port = AdoptedPort(listening, factory, self._reactor)
        port.startListening()
        return port
