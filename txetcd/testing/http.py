"""One request, and its whole answer, for tests that want no more than that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer

FORM = b"application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Response:
    """An answer.

    @ivar status: the HTTP status.
    @ivar headers: all of them.
    @ivar body: the bytes of the body.
    """

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON says it."""
        return json.loads(self.body)

    @property
    def index(self) -> int:
        """The store's index, as the header tells it.

        @raise KeyError: when there is no such header.
        """
        for text in self.headers.getRawHeaders("X-Etcd-Index", []):
            return int(text)
        raise KeyError("X-Etcd-Index")


def request(agent: IAgent, method: str, url: str, form: Mapping[str, object]) -> Deferred[Response]:
    """Ask for something.

    @param form: is the body of a PUT or POST, and the query of others.
    @return: fires with the whole answer.
    """
    fields = urlencode({name: _text(value) for name, value in form.items()})
    headers, producer = Headers(), None
    if method in ("PUT", "POST"):
        headers.addRawHeader(b"Content-Type", FORM)
        producer = BytesProducer(fields.encode())
    elif fields:
        url = f"{url}{'&' if '?' in url else '?'}{fields}"

    async def asked() -> Response:
        answer: Any = await agent.request(method.encode(), url.encode(), headers, producer)
        body = _Body()
        answer.deliverBody(body)
        return Response(answer.code, answer.headers, await body.whole)

    return Deferred.fromCoroutine(asked())


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Body(Protocol):
    """Takes the body of an answer.  Unlike with Twisted's `readBody`, cancelling does no harm.

    @ivar whole: fires with the body; fails when the connection is lost before its end.
    """

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._lose())
        self._pieces: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        if reason.check(ResponseDone):
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)

    def _lose(self) -> None:
        self.whole.errback(CancelledError())
        if self.transport is not None:
            self.transport.loseConnection()


@implementer(IBodyProducer)
class BytesProducer:
    """The body of a request, written at once: Twisted's `FileBodyProducer` needs a running reactor."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See `IBodyProducer`."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """See `IBodyProducer`."""

    def resumeProducing(self) -> None:
        """See `IBodyProducer`."""

    def stopProducing(self) -> None:
        """See `IBodyProducer`."""
