"""What a conversation is, and how it is played against any v2 server so that its answers can be compared.

The answers of two servers differ in what is their own: where the index stood, and what the time was.  So
scripts speak of indices as C{{index+2}}, counted from the index before the conversation, and answers are
brought to the same form: C{{index+2}}, or C{{index+2:020d}} in an in-order name, and C{{now+100}} for an
expiration that many seconds after the conversation began.  All else stays as it was sent, byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any, Protocol

KEYS = "/v2/keys"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Request:
    """One request.

    @ivar target: as it is sent, with two placeholders: C{{keys}} for the conversation's own directory and
        C{{index+N}}; like `body`, bytes that are not UTF-8 are surrogate escapes.
    @ivar body: None for no body and no Content-Length.
    @ivar times: how often it is sent; the last answer counts.
    @ivar any_order: the children in its answer come in any order.
    @ivar any_index: its answer may have any index, because what was asked before moves only etcd's.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    times: int = 1
    any_order: bool = False
    any_index: bool = False

    def __str__(self) -> str:
        lines = [f"{self.method} {self.target}", *(f"{name}: {value}" for name, value in self.headers)]
        if self.body is not None:
            lines += ["", self.body]
        return _shortened("\n".join(lines)) + (f"\n({self.times} times)" if self.times > 1 else "")


@dataclass(frozen=True)
class Pause:
    """Some time, in seconds, in which nothing is asked."""

    seconds: float


Step = Request | Pause
Conversations = dict[str, list[Step]]


def get(path: str, *, any_order: bool = False) -> Request:
    """GET a key of the conversation's own directory."""
    return Request("GET", "{keys}" + path, any_order=any_order)


def head(path: str) -> Request:
    """HEAD likewise."""
    return Request("HEAD", "{keys}" + path)


def put(path: str, form: str | None = None, content_type: str = FORM, times: int = 1) -> Request:
    """PUT likewise; with a body, if a form is given."""
    return _write("PUT", path, form, content_type, times)


def post(path: str, form: str | None = None, content_type: str = FORM) -> Request:
    """POST likewise."""
    return _write("POST", path, form, content_type)


def delete(path: str, form: str | None = None, content_type: str = FORM) -> Request:
    """DELETE likewise."""
    return _write("DELETE", path, form, content_type)


def _write(method: str, path: str, form: str | None, content_type: str, times: int = 1) -> Request:
    headers = () if form is None else (("Content-Type", content_type),)
    return Request(method, "{keys}" + path, headers, form, times)


@dataclass(frozen=True)
class Answer:
    """What a server said: the names of its headers are in lower case.

    @ivar finished: whether the body is whole, or is waited for.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    finished: bool = True


class Server(Protocol):
    """A v2 server as a conversation needs it."""

    def ask(
        self, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes | None
    ) -> Answer:
        """Send a request, and Content-Length when there is a body, and wait for the whole answer."""

    def pause(self, seconds: float) -> None:
        """Let that much time go by."""

    def now(self) -> float:
        """The server's wall-clock time, in seconds since the epoch."""


def hold(name: str, steps: Sequence[Step], server: Server) -> Iterator[tuple[Start, Request, Answer]]:
    """Hold a conversation, request by request.

    @param name: of the conversation, and of the directory that it has for its own.
    """
    start = Start(int(server.ask(b"GET", KEYS.encode(), (), None).headers["x-etcd-index"]), server.now())
    for step in steps:
        if isinstance(step, Pause):
            server.pause(step.seconds)
            continue
        body = None if step.body is None else start.fill(step.body).encode("utf-8", "surrogateescape")
        target = start.fill(step.target.replace("{keys}", f"{KEYS}/{name}"))
        headers = [(key.encode(), value.encode()) for key, value in step.headers]
        for _ in range(step.times):
            answer = server.ask(
                step.method.encode(), target.encode("utf-8", "surrogateescape"), headers, body
            )
        yield start, step, answer


def play(name: str, steps: Sequence[Step], server: Server) -> list[dict[str, Any]]:
    """Hold a conversation.

    @return: for each request it and its answer, as `answers.json` has them.
    """
    told = []
    lengths = []
    for start, request, answer in hold(name, steps, server):
        told.append({"request": str(request), **start.comparable(request, answer)})
        lengths.append(str(len(answer.body)))
    # The length of an answer to HEAD depends on how many digits the index has.  So it is compared with that
    # of the next answer, when that is to GET of the same target.
    for (before, following), length in zip(pairwise(told), lengths[1:], strict=True):
        is_pair = following["request"] == before["request"].replace("HEAD", "GET")
        if is_pair and before["headers"].get("content-length") == length:
            before["headers"]["content-length"] = "that of GET"
    return told


# What clients read; the values of the latter are every server's own.
_HEADERS = ("content-type", "x-etcd-index", "allow", "location")
_OWN_HEADERS = ("x-raft-index", "x-raft-term", "x-etcd-cluster-id")

_PLACEHOLDER = re.compile(r"\{index(?:\+(\d+))?(:020d)?\}")
_INDEX = re.compile(r'("(?:modifiedIndex|createdIndex|index)":)(\d+)')
_IN_ORDER = re.compile(r'(?<=/)\d{20}(?=["/])')
_PAIR = re.compile(r"\[(\d+)( != |/)(\d+)\]")
_EXPIRATION = re.compile(r'(?<="expiration":")([^"]*)(?=")')
_RELATIVE = re.compile(r"\{index[+-]\d+(?=[}:])")
_RUN = re.compile(r"(.)\1{99,}")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{0,8}[1-9])?Z")


@dataclass(frozen=True)
class Start:
    """Where a conversation began: the server's index and time."""

    index: int
    time: float

    def fill(self, text: str) -> str:
        """Put numbers in the place of C{{index+N}}."""

        def number(match: re.Match[str]) -> str:
            return format(self.index + int(match[1] or 0), (match[2] or ":d")[1:])

        return _PLACEHOLDER.sub(number, text)

    def relative(self, number: str, width: str = "") -> str:
        """The opposite.  No index is 0; that stays."""
        distance = int(number) - self.index
        if int(number) == 0:
            return number
        return f"{{index{f'{distance:+d}' if distance else ''}{width}}}"

    def comparable(self, request: Request, answer: Answer) -> dict[str, Any]:
        """An answer without what is the server's own."""
        headers = {name: answer.headers[name] for name in _HEADERS if name in answer.headers}
        if "x-etcd-index" in headers:
            headers["x-etcd-index"] = self.relative(headers["x-etcd-index"])
        headers.update((name, "present") for name in _OWN_HEADERS if name in answer.headers)
        if request.method == "HEAD" and "content-length" in answer.headers and not request.any_index:
            headers["content-length"] = answer.headers["content-length"]
        body = self._text(answer.body.decode("utf-8"))
        if request.any_order:
            body = json.dumps(_in_order(json.loads(answer.body)), sort_keys=True, separators=(",", ":"))
            body = self._text(body)
        if request.any_index:
            body = _RELATIVE.sub("{index", body)
            headers = {name: _RELATIVE.sub("{index", value) for name, value in headers.items()}
        return {"status": answer.status, "headers": headers, "body": body}

    def _text(self, body: str) -> str:
        body = _INDEX.sub(lambda match: match[1] + self.relative(match[2]), body)
        body = _IN_ORDER.sub(lambda match: self.relative(match[0], ":020d"), body)
        body = _PAIR.sub(
            lambda match: f"[{self.relative(match[1])}{match[2]}{self.relative(match[3])}]", body
        )
        return _shortened(_EXPIRATION.sub(self._expiration, body))

    def _expiration(self, match: re.Match[str]) -> str:
        parts = _TIME.fullmatch(match[1])
        if parts is None:
            return f"{match[1]} (not in RFC 3339)"
        seconds = datetime.fromisoformat(parts[1]).replace(tzinfo=timezone.utc).timestamp()
        return f"{{now{round(seconds + float(parts[2] or 0) - self.time):+d}}}"


def _shortened(text: str) -> str:
    """The text with long runs of one character told, not shown."""
    return _RUN.sub(lambda match: f"{{{match[1]} x {len(match[0])}}}", text)


def _in_order(value: Any) -> Any:
    """Decoded JSON with the children of each node sorted by their keys."""
    if isinstance(value, dict):
        value = {name: _in_order(inner) for name, inner in value.items()}
        if "nodes" in value:
            value["nodes"].sort(key=lambda node: node["key"])
    elif isinstance(value, list):
        value = [_in_order(inner) for inner in value]
    return value
