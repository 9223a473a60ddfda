"""HTTP to a v2 server: requests that are tried again while it may come back, and what they fail with."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from txetcd.bodies import BytesProducer, read
from txetcd.moving import MovingError
from txetcd.moving.trust import Server
from txetcd.query import FORM

# Seconds: to make a connection, to begin an answer or go on with one, to go on trying, and between tries.
CONNECT = 10.0
ANSWER = 30.0
PATIENCE = 60.0
PAUSES = (0.1, 5.0)

# txetcd closes an idle connection after 60 seconds.
_KEEP = 30

KEYS = "/v2/keys"

_T = TypeVar("_T")

Feed = Callable[[bytes], object]


class LostError(MovingError):
    """The server does not answer; later it may."""


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    @ivar index: X-Etcd-Index; 0 if there is none.
    @ivar cluster_id: X-Etcd-Cluster-Id; empty if there is none.
    """

    status: int
    index: int
    cluster_id: str
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether what was asked for was done."""
        return self.status in (200, 201)

    def _error(self) -> dict[str, Any]:
        try:
            error = json.loads(self.body)
        except ValueError:
            return {}
        return error if isinstance(error, dict) else {}

    @property
    def code(self) -> int:
        """The errorCode; 0 if there is none."""
        code = self._error().get("errorCode")
        return code if isinstance(code, int) else 0

    @property
    def error_index(self) -> int:
        """The store's index, as an error tells it."""
        index = self._error().get("index")
        return index if isinstance(index, int) else 0

    def refused(self, url: str, what: str) -> MovingError:
        """The error that says so.

        @param url: the server's.
        @param what: what it has refused.
        """
        remedy = "; give a user or certificate that has the right" if self.status == 401 else ""
        return MovingError(f"{url} refuses {what}: {self.refusal}{remedy}")

    @property
    def refusal(self) -> str:
        """Why it was not done, in one line."""
        error = self._error()
        if "errorCode" in error:
            cause = f" ({error['cause']})" if error.get("cause") else ""
            text = f"{error['errorCode']}: {error.get('message')}{cause}"
        else:
            text = (
                f"status {self.status}, {error.get('message') or self.body[:100].decode('utf-8', 'replace')}"
            )
        return " ".join(text.split())


class Client:
    """A v2 server.

    @param reactor: a real one.
    @param server: which one.
    @param connections: how many may be kept.
    @param say: told, in a line, when something has to be tried again.
    @ivar reactor: as given.
    @ivar url: the server's.
    """

    def __init__(
        self,
        reactor: Any,
        server: Server,
        *,
        connections: int = 1,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.url = server.url
        self.reactor = reactor
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = connections
        self._pool.cachedConnectionTimeout = _KEEP
        # What has to be tried again is, here.
        self._pool.retryAutomatically = False
        self._agent = Agent(reactor, server.policy, connectTimeout=CONNECT, pool=self._pool)
        self._headers: dict[bytes, list[bytes]] = {b"User-Agent": [b"txetcd"]}
        if server.user is not None:
            credentials = base64.b64encode(":".join(server.user).encode())
            self._headers[b"Authorization"] = [b"Basic " + credentials]
        self._say = say
        self._reached = False
        self._said = -PAUSES[1]

    async def request(
        self, method: str, path: str, *, form: dict[str, str] | None = None, **query: str
    ) -> Answer:
        """Ask, again and again if need be, and return the whole answer.

        @param path: in text; what is special in URLs is quoted here.
        @param form: the body.
        @raise LostError: when the server has not answered for `PATIENCE` seconds, or never has.
        @raise MovingError: when TLS fails.
        """

        async def once() -> Answer:
            return await self._whole(await self._send(method, path, query, form))

        return await self._persist(once)

    async def read(self, path: str, begun: Callable[[Answer], Feed], **query: str) -> Answer:
        """Read an answer that may be long; one that breaks off is a `LostError`, and is not tried again.

        @param begun: called with the head of the answer, and all of it if it is a refusal; returns what takes
            the pieces of the body.
        @return: what `begun` was called with.
        """

        async def once() -> tuple[IResponse, Answer]:
            response = await self._send("GET", path, query, None)
            if response.code == 200:
                return response, _answer(response, b"")
            return response, await self._whole(response)

        response, answer = await self._persist(once)
        feed = begun(answer)
        if answer.status == 200:
            await self._lossy(self._deliver(response, feed))
        return answer

    async def _whole(self, response: IResponse) -> Answer:
        """The answer with its body; fails when it is the server that has a problem."""
        pieces: list[bytes] = []
        await self._deliver(response, pieces.append)
        answer = _answer(response, b"".join(pieces))
        # So etcd 3.5 answers what it will never do.
        if answer.status >= 500 and "nodePath" not in answer.refusal:
            raise LostError(f"{self.url}: {answer.refusal}")
        return answer

    async def wait(self, path: str, timeout: float, **query: str) -> Answer:
        """Ask for something that may come about; it is not tried again.

        @param timeout: how many seconds to wait behind the head of the answer.
        @return: the answer; its body is empty if nothing has come about.
        """
        response = await self._lossy(self._send("GET", path, query, None, timeout + ANSWER))
        pieces: list[bytes] = []
        try:
            await self._lossy(self._deliver(response, pieces.append, timeout))
        except _SilenceError:
            pieces.clear()
        return _answer(response, b"".join(pieces))

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        form: dict[str, str] | None,
        timeout: float = ANSWER,
    ) -> Deferred[IResponse]:
        target = self.url + quote(path, safe="/") + ("?" + urlencode(query) if query else "")
        headers, body = Headers(self._headers), None
        if form is not None:
            headers.setRawHeaders(b"Content-Type", [FORM])
            body = BytesProducer(urlencode(form).encode())
        asked = self._agent.request(method.encode(), target.encode(), headers, body)
        return cast("Deferred[IResponse]", asked.addTimeout(timeout, self.reactor))

    def _deliver(self, response: IResponse, feed: Feed, timeout: float = ANSWER) -> Deferred[None]:
        """Hand on the body of an answer.

        @param timeout: after how many seconds of silence to give up.
        @return: fires when all has been taken.
        """
        silence: IDelayedCall = self.reactor.callLater(timeout, lambda: reading.cancel())

        def received(data: bytes) -> None:
            silence.reset(timeout)
            feed(data)

        def over(result: Failure | None) -> Failure | None:
            if not silence.active():
                return Failure(_SilenceError())
            silence.cancel()
            return result

        reading: Deferred[None] = read(response, received)
        return reading.addBoth(over)

    async def _lossy(self, doing: Awaitable[_T]) -> _T:
        try:
            result = await doing
        except _FAILURES as error:
            raise self._explain(error) from None
        self._reached = True
        return result

    async def _persist(self, once: Callable[[], Awaitable[_T]]) -> _T:
        began, pause = self.reactor.seconds(), PAUSES[0]
        while True:
            try:
                return await self._lossy(once())
            except LostError as error:
                late = self.reactor.seconds() + pause - began > PATIENCE
                if late or not self._reached:
                    raise
                self._complain(error, pause)
            await deferLater(self.reactor, pause)
            pause = min(2 * pause, PAUSES[1])

    def _complain(self, error: LostError, pause: float) -> None:
        """Say what has to be tried again; of many requests at a time, one is enough."""
        now = self.reactor.seconds()
        if pause >= 1 and now - self._said >= PAUSES[1]:
            self._said = now
            self._say(f"{error}; trying again")

    def _explain(self, error: Exception) -> MovingError:
        """The error that tells it in one line."""
        if isinstance(error, LostError):
            return error
        if isinstance(error, (ResponseFailed, RequestTransmissionFailed)):
            for reason in error.reasons:
                if isinstance(reason.value, VerificationError):
                    host = urlsplit(self.url).hostname
                    return MovingError(
                        f"{self.url}: its certificate is not for {host}; give the name it is for"
                    )
                if isinstance(reason.value, SSL.Error) and (text := _tls_reason(reason.value)):
                    return MovingError(f"{self.url}: TLS fails: {text}; {_remedy(text)}")
        if isinstance(error, (ResponseFailed, RequestTransmissionFailed)):
            return LostError(f"{self.url}: the connection was lost before the answer")
        if isinstance(error, (_SilenceError, TimeoutError)):
            return LostError(f"{self.url}: does not answer in time")
        if isinstance(error, DNSLookupError):
            return LostError(f"{self.url}: there is no such host")
        if isinstance(error, ConnectError) and error.osError:
            return LostError(f"{self.url}: cannot be reached ({os.strerror(error.osError)})")
        return LostError(f"{self.url}: cannot be reached ({' '.join(str(error).split()).rstrip('.')})")


class _SilenceError(Exception):
    """Nothing came for too long."""


_FAILURES = (
    ConnectError,
    ConnectionClosed,
    DNSLookupError,
    LostError,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
    TimeoutError,
    _SilenceError,
)


def _tls_reason(error: SSL.Error) -> str:
    """OpenSSL's words; empty when it is only the connection that broke."""
    entries = error.args[0] if error.args else ()
    return ", ".join(entry[-1] for entry in entries if entry[-1]) if isinstance(entries, list) else ""


def _remedy(text: str) -> str:
    if "verify failed" in text:
        return "give the CA of its certificate as --ca-file"
    if "alert" in text:
        return "give a certificate that it accepts as --cert-file and --key-file"
    return "see whether that port speaks HTTPS"


def _answer(response: IResponse, body: bytes) -> Answer:
    def header(name: str) -> str:
        found = response.headers.getRawHeaders(name)
        return found[0] if found else ""

    index = header("X-Etcd-Index")
    return Answer(response.code, int(index) if index.isdigit() else 0, header("X-Etcd-Cluster-Id"), body)
