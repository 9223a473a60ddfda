"""Speaking with the members of an etcd v3 cluster: HTTP to their JSON gateways.

One member is asked at a time, and the next when it does not answer.  Whoever asks sees to it that asking
twice does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IConsumer,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from txetcd.engine import Engine
from txetcd.journal.etcd.answers import Lines, Reader, decoded, reason, refusal
from txetcd.journal.etcd.wire import JSON, EngineError, StaleTokenError

_T = TypeVar("_T")

# How long a member may take to accept a connection, in seconds.
CONNECT_TIMEOUT = 1.0


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
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.retryAutomatically = False
        # At once there are an append, a barrier, a checkpoint, and the lease.
        self._pool.maxPersistentPerHost = 4
        self._agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor, policy, _unheeded), self._pool)
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
            response = await self._request(asked, self._agent, path, body)
            pieces: list[bytes] = []
            await Reader.read(response, pieces.append)
            content = decoded(b"".join(pieces))
            if response.code != 200:
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
        connections: list[IProtocol] = []
        endpoints = _Endpoints(self._reactor, self._policy, connections.append)
        agent = Agent.usingEndpointFactory(self._reactor, endpoints)
        lines = Lines(receive)
        try:
            # A member sends the head of its response with the first answer.
            response = await self._asked(asked, self._request(asked, agent, path, body), timeout)
            await self._asked(asked, Reader.read(response, lines.received))
            lines.ended(response.code)
        except StaleTokenError:
            self._token = None
            raise
        finally:
            for connection in connections:
                # To say goodbye would take a member that listens.
                transport: Any = connection.transport  # type: ignore[attr-defined]
                transport.abortConnection()

    def _request(self, asked: int, agent: Agent, path: str, body: JSON) -> Deferred[IResponse]:
        url = f"{self._engine.endpoints[asked]}/v3{path}".encode()
        headers = Headers({b"Content-Type": [b"application/json"]})
        # A member without a leader is to say so, and not to be silent.
        headers.addRawHeader(b"Grpc-Metadata-hasleader", b"true")
        if self._token is not None:
            headers.addRawHeader(b"Authorization", self._token.encode())
        return agent.request(b"POST", url, headers, _Body(json.dumps(body).encode()))

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
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Where an agent connects to.

    @param connected: told of each connection.
    """

    def __init__(
        self, reactor: IReactorTime, policy: IPolicyForHTTPS, connected: Callable[[IProtocol], None]
    ) -> None:
        self._reactor = reactor
        self._policy = policy
        self._connected = connected

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See `IAgentEndpointFactory`."""
        endpoint: IStreamClientEndpoint = HostnameEndpoint(
            self._reactor, uri.host, uri.port, timeout=CONNECT_TIMEOUT
        )
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Telling(endpoint, self._connected)


@implementer(IStreamClientEndpoint)
class _Telling:
    """An endpoint that tells of its connections."""

    def __init__(self, endpoint: IStreamClientEndpoint, connected: Callable[[IProtocol], None]) -> None:
        self._endpoint = endpoint
        self._connected = connected

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""

        def tell(protocol: IProtocol) -> IProtocol:
            transport: Any = protocol.transport  # type: ignore[attr-defined]
            if ITCPTransport.providedBy(transport):
                transport.setTcpNoDelay(True)
                transport.setTcpKeepAlive(True)
            self._connected(protocol)
            return protocol

        # A line in the log for each connection would hide the others.
        protocolFactory.noisy = False  # type: ignore[attr-defined]
        return self._endpoint.connect(protocolFactory).addCallback(tell)


@implementer(IBodyProducer)
class _Body:
    """A request's body, written at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See `IBodyProducer`."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """See `IBodyProducer`."""

    def resumeProducing(self) -> None:
        """See `IBodyProducer`."""

    def stopProducing(self) -> None:
        """See `IBodyProducer`."""


def _unheeded(connection: IProtocol) -> None:
    """For an agent that keeps its connections itself."""


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
