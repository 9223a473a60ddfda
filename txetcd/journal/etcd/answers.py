"""What comes back from a member over HTTP: bodies, answers a line each, and errors in an operator's words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from txetcd.journal.etcd.wire import (
    JSON,
    CompactedError,
    EngineError,
    RefusedError,
    StaleTokenError,
    UnwillingError,
)

# etcd's codes (they are gRPC's) of what is no use to ask again.
_REFUSALS = frozenset({3, 5, 12})
_UNWILLING = frozenset({7, 8})
_COMPACTED = "required revision has been compacted"
_BUSY = "too many requests"
# What etcd says to a token that was good once.
_STALE = ("invalid auth token", "revision of auth store is old")


class Lines:
    """Answers, a line of JSON each.

    @param receive: called with each result.
    """

    def __init__(self, receive: Callable[[JSON], None]) -> None:
        self._receive = receive
        self._pieces: list[bytes] = []

    def received(self, data: bytes) -> None:
        """Take in what came.

        @raise EngineError: for an answer that is an error.
        """
        first, *rest = data.split(b"\n")
        self._pieces.append(first)
        for piece in rest:
            self._line(b"".join(self._pieces))
            self._pieces = [piece]

    def ended(self, code: int) -> None:
        """No more comes.

        @param code: of the response.
        @raise EngineError: for an error without a line's end, and for one without words.
        """
        self._line(b"".join(self._pieces))
        if code != 200:
            raise EngineError(f"HTTP status {code}")

    def _line(self, line: bytes) -> None:
        if not line.strip():
            return
        message = decoded(line)
        if "result" not in message:
            raise refusal(message)
        self._receive(message["result"])


def decoded(content: bytes) -> JSON:
    """An answer.

    @raise EngineError: when it is no JSON object.
    """
    try:
        message = json.loads(content)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise EngineError("this is no etcd v3 that answers")
    return message


def refusal(message: JSON) -> EngineError:
    """The error that an answer tells of."""
    # In a stream it is an object, else an object's field and its neighbours.
    error: Any = message.get("error")
    fields = error if isinstance(error, dict) else message
    text = str(fields.get("message") or error or "an error without words")
    code = fields.get("grpc_code", fields.get("code"))
    if _COMPACTED in text:
        return CompactedError(text)
    if any(words in text for words in _STALE):
        return StaleTokenError(text)
    if code in _UNWILLING and _BUSY not in text:
        return UnwillingError(text)
    if code in _REFUSALS:
        return RefusedError(text)
    return EngineError(text)


def reason(error: BaseException) -> str:
    """Why a request has failed, in words."""
    text = str(error).strip() or type(error).__name__
    if type(error).__module__.startswith("OpenSSL"):
        # Its arguments are lists of tuples: library, function, reason.
        text = "TLS: " + (", ".join(parts[-1] for parts in error.args[0]) if error.args else "closed")
    return text
