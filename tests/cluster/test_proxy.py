"""Links, between a real client and a real server."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.cluster.proxy import Link


class _Echo(Protocol):
    """Says what it is told; keeps it in what made it too."""

    transport: Any

    def __init__(self, maker: _EchoFactory) -> None:
        self._maker = maker

    def connectionMade(self) -> None:
        self._maker.served.append(self)

    def dataReceived(self, data: bytes) -> None:
        self._maker.heard += data
        self.transport.write(data)


class _EchoFactory(ServerFactory):
    noisy = False

    def __init__(self) -> None:
        self.heard = b""
        self.served: list[_Echo] = []

    def buildProtocol(self, addr: object) -> Protocol:
        return _Echo(self)


class _Client(Protocol):
    transport: Any

    def __init__(self) -> None:
        self.heard = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True


class LinkTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.clock: Any = reactor
        self.echo = _EchoFactory()
        listening: Any = self.clock.listenTCP(0, self.echo, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.link = Link(self.clock, listening.getHost().port)
        self.addCleanup(self.link.cut)

    async def connect(self) -> _Client:
        endpoint = TCP4ClientEndpoint(self.clock, "127.0.0.1", self.link.port)
        client: _Client = await connectProtocol(endpoint, _Client())
        self.addCleanup(client.transport.abortConnection)
        return client

    async def until(self, condition: Any) -> None:
        while not condition():
            await deferLater(self.clock, 0.001, lambda: None)

    async def pause(self) -> None:
        """Time enough for what must not happen."""
        await deferLater(self.clock, 0.05, lambda: None)

    async def test_passes(self) -> None:
        client = await self.connect()
        client.transport.write(b"hello")
        await self.until(lambda: client.heard == b"hello")
        client.transport.loseConnection()
        await self.until(lambda: client.lost and not self.echo.served[0].transport.connected)

    async def test_ends_when_the_server_does(self) -> None:
        client = await self.connect()
        await self.until(lambda: self.echo.served)
        self.echo.served[0].transport.write(b"farewell")
        self.echo.served[0].transport.loseConnection()
        await self.until(lambda: client.lost)
        self.assertEqual(client.heard, b"farewell")

    async def test_cut(self) -> None:
        client = await self.connect()
        await self.link.cut()
        await self.until(lambda: client.lost)
        with self.assertRaises(ConnectionRefusedError):
            await self.connect()
        self.link.heal()
        client = await self.connect()
        client.transport.write(b"again")
        await self.until(lambda: client.heard == b"again")

    async def test_stall(self) -> None:
        before = await self.connect()
        before.transport.write(b"1")
        await self.until(lambda: before.heard == b"1")
        self.link.stall()
        since = await self.connect()
        before.transport.write(b"2")
        since.transport.write(b"3")
        await self.pause()
        self.assertEqual((self.echo.heard, before.heard, since.heard), (b"1", b"1", b""))
        self.link.heal()
        await self.until(lambda: (before.heard, since.heard) == (b"12", b"3"))

    async def test_lost_answers(self) -> None:
        client, silent = await self.connect(), await self.connect()
        await self.until(lambda: len(self.echo.served) == 2)
        self.link.drop_answers()
        client.transport.write(b"1")
        await self.until(lambda: self.echo.heard == b"1")
        await self.pause()
        self.link.heal()
        await self.until(lambda: client.lost)
        self.assertEqual((client.heard, silent.lost), (b"", False))

    async def test_delay(self) -> None:
        self.link.slow(0.02)
        client = await self.connect()
        began = self.clock.seconds()
        for word in (b"a", b"b", b"c"):
            client.transport.write(word)
            await deferLater(self.clock, 0.001, lambda: None)
        await self.until(lambda: client.heard == b"abc")
        self.assertGreaterEqual(self.clock.seconds() - began, 0.04)

    async def test_refuses_some(self) -> None:
        client, other = await self.connect(), await self.connect()
        await self.until(lambda: len(self.echo.served) == 2)
        port = client.transport.getHost().port
        self.link.refuse(lambda source: bool(source == port))
        await self.until(lambda: client.lost)
        self.assertFalse(other.lost)
