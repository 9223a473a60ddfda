"""Speaking with the members of an etcd v3 cluster: HTTP to their JSON gateways.

One member is asked at a time, and the next when it does not answer.  Whoever asks sees to it that asking
twice does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS

from txetcd.engine import DEFAULT_PORT, Engine
from txetcd.journal.etcd.answers import Lines, decoded, reason, refusal
from txetcd.journal.etcd.connection import Connection, Exchange, Free
from txetcd.journal.etcd.wire import JSON, EngineError, StaleTokenError

_T = TypeVar("_T")

# How long a member may take to accept a connection, in seconds.
CONNECT_TIMEOUT = 1.0
# How many connections to a member are kept: at once there are an append, a barrier, a checkpoint, the lease.
KEPT = 4


class Client(Protocol):
    """How the engine is asked."""

    def post(self, path: str, body: JSON, timeout: float) -> Deferred[JSON]:
        """Ask one member.

        @param path: what of the v3 API, such as `/kv/range`.
        @param timeout: in seconds.
        @return: fires with the answer.  Fails with `EngineError`; with `CancelledError` when cancelled.
        """

    def stream(
        self, path: str, body: JSON, receive: Callable[[JSON], None], timeout: float
    ) -> Deferred[None]:
        """Ask one member for answers without end, over a connection of their own.

        @param receive: called with each answer; what it raises ends the stream.
        @param timeout: until the first answer, in seconds.
        @return: fires, or fails with `EngineError` or what was raised, when there will be no more.  Cancel it
            to end the stream.
        """

    def close(self) -> Deferred[None]:
        """Let go of all connections; they are made again when they are needed."""


class HTTPClient:
    """A client of real members.

    @param policy: verifies members, and says who we are.
    """

    def __init__(self, reactor: IReactorTime, engine: Engine, policy: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._engine = engine
        self._policy = policy
        self._connections: set[Connection] = set()
        # For each member; the one that was used last comes last.
        self._idle: list[list[Connection]] = [[] for _ in engine.endpoints]
        self._current = 0
        self._token: str | None = None
        self._posting: set[Deferred[JSON]] = set()

    def post(self, path: str, body: JSON, timeout: float) -> Deferred[JSON]:
        """See `Client.post`."""
        posting = Deferred.fromCoroutine(self._post(path, body, timeout))
        self._posting.add(posting)

        def over(result: _T) -> _T:
            self._posting.discard(posting)
            return result

        # The answer is on its way: to drop it, the connection would have to be dropped.
        return _detachable(posting.addBoth(over), lambda: None)

    async def _post(self, path: str, body: JSON, timeout: float) -> JSON:
        await self._authenticate(timeout)
        try:
            return await self._exchange(path, body, timeout)
        except StaleTokenError:
            # etcd forgets tokens when nobody uses them, and when it is restarted.
            self._token = None
            await self._authenticate(timeout)
            return await self._exchange(path, body, timeout)

    async def _authenticate(self, timeout: float) -> None:
        if self._engine.user and self._token is None:
            who = {"name": self._engine.user, "password": self._engine.password}
            self._token = (await self._exchange("/auth/authenticate", who, timeout))["token"]

    async def _exchange(self, path: str, body: JSON, timeout: float) -> JSON:
        """One request and its answer."""
        asked = self._current

        async def exchange() -> JSON:
            idle = self._idle[asked]
            connection = idle.pop() if idle else await self._connect(asked, self._keep)
            pieces: list[bytes] = []
            exchange = connection.ask(self._request(asked, path, body), pieces.append)
            status = await exchange.begun
            await exchange.ended
            content = decoded(b"".join(pieces))
            if status != 200:
                raise refusal(content)
            return content

        return await self._asked(asked, Deferred.fromCoroutine(exchange()), timeout)

    def stream(
        self, path: str, body: JSON, receive: Callable[[JSON], None], timeout: float
    ) -> Deferred[None]:
        """See `Client.stream`."""
        streaming = Deferred.fromCoroutine(self._stream(path, body, receive, timeout))
        return _detachable(streaming, streaming.cancel)

    async def _stream(self, path: str, body: JSON, receive: Callable[[JSON], None], timeout: float) -> None:
        await self._authenticate(timeout)
        asked = self._current
        lines = Lines(receive)

        async def begin() -> tuple[Connection, Exchange, int]:
            connection = await self._connect(asked, lambda _, made: made.abort())
            exchange = connection.ask(self._request(asked, path, body), lines.received)
            # A member sends the head of its response with the first answer.
            return connection, exchange, await exchange.begun

        connection, exchange, status = await self._asked(asked, Deferred.fromCoroutine(begin()), timeout)
        try:
            await self._asked(asked, exchange.ended)
            lines.ended(status)
        except StaleTokenError:
            self._token = None
            raise
        finally:
            connection.abort()

    def _request(self, asked: int, path: str, body: JSON) -> bytes:
        content = json.dumps(body).encode()
        head = [
            f"POST /v3{path} HTTP/1.1",
            f"Host: {urlsplit(self._engine.endpoints[asked]).netloc}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            # A member without a leader is to say so, and not to be silent.
            "Grpc-Metadata-hasleader: true",
        ]
        if self._token is not None:
            head.append(f"Authorization: {self._token}")
        return "\r\n".join([*head, "", ""]).encode() + content

    # Connections

    async def _connect(self, asked: int, free: Callable[[int, Connection], None]) -> Connection:
        """Make a connection to a member.

        @param free: called when nobody uses it any more.
        """
        connection = await self._endpoint(asked).connect(_Connections(lambda made: free(asked, made)))
        assert isinstance(connection, Connection)
        transport: Any = connection.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        self._connections.add(connection)
        connection.closed.addCallback(lambda _: self._gone(asked, connection))
        return connection

    def _endpoint(self, asked: int) -> IStreamClientEndpoint:
        url = urlsplit(self._engine.endpoints[asked])
        host, port = (url.hostname or "").encode(), url.port or DEFAULT_PORT
        endpoint = HostnameEndpoint(self._reactor, host, port, timeout=CONNECT_TIMEOUT)
        if url.scheme != "https":
            return endpoint
        return wrapClientTLS(self._policy.creatorForNetloc(host, port), endpoint)

    def _keep(self, asked: int, connection: Connection) -> None:
        """Let the next who asks have it."""
        if len(self._idle[asked]) < KEPT:
            self._idle[asked].append(connection)
        else:
            connection.abort()

    def _gone(self, asked: int, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle[asked]:
            self._idle[asked].remove(connection)

    # Whom to ask

    async def _asked(self, asked: int, asking: Deferred[_T], timeout: float | None = None) -> _T:
        """What comes of asking a member; after a failure it is the next one's turn."""
        endpoint = self._engine.endpoints[asked]

        def late(_: object, seconds: float) -> Failure:
            # A token tells of a moment, and members that were restored from before would wait for that.
            self._token = None
            return Failure(EngineError(f"no answer within {seconds:g} s"))

        if timeout is not None:
            asking.addTimeout(timeout, self._reactor, late)
        try:
            return await asking
        except EngineError as error:
            if error.elsewhere:
                self._go_on(asked)
            raise type(error)(f"{endpoint}: {error}") from None
        except CancelledError:
            raise
        except Exception as error:
            self._go_on(asked)
            raise EngineError(f"{endpoint}: {reason(error)}") from None

    def _go_on(self, asked: int) -> None:
        """Ask the next member from now on, unless that was done meanwhile."""
        if self._current == asked:
            self._current = (asked + 1) % len(self._engine.endpoints)

    def close(self) -> Deferred[None]:
        """See `Client.close`."""
        self._token = None
        for posting in list(self._posting):
            posting.cancel()
        closing = [connection.closed for connection in self._connections]
        for connection in list(self._connections):
            connection.abort()
        closed = gatherResults(closing).addCallback(lambda _: None)
        # Whoever waits no longer is not to keep others from hearing of it.
        return _detachable(closed, lambda: None)


class _Connections(Factory):
    """Makes a connection."""

    # A line in the log for each would hide the others.
    noisy = False

    def __init__(self, free: Free) -> None:
        self._free = free

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """See `IProtocolFactory`."""
        return Connection(self._free)


def _detachable(inner: Deferred[_T], cancelled: Callable[[], None]) -> Deferred[_T]:
    """The same, but it fails with `CancelledError` when it is cancelled, whatever becomes of the other then.

    @param cancelled: called in that case.
    """
    detached = False

    def cancel(_: Deferred[_T]) -> None:
        nonlocal detached
        detached = True
        cancelled()

    outer: Deferred[_T] = Deferred(cancel)

    def end(result: _T | Failure) -> None:
        if not detached:
            outer.callback(result)

    inner.addBoth(end)
    return outer
