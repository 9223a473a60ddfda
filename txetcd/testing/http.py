"""One request, and its whole answer, for tests that want no more than that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from txetcd.bodies import BytesProducer, read_whole
from txetcd.query import FORM


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
        return Response(answer.code, answer.headers, await read_whole(answer))

    return Deferred.fromCoroutine(asked())


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
