"""Clients of v2 servers: they make requests, one after the other, and put down what came of them."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlencode

from tests.cluster.histories import Answer, Kind, Operation, Outcome, Request, Seen

# How many operations a key sees before another takes its place: few enough to search through.
_OPERATIONS_PER_KEY = 40
# How many files are in use at a time, beside one directory to append to.
_FILES = 3
# Seconds between an answer and the next request, on average.
_PAUSE = 0.005
# The same when there was none.
_PAUSE_AFTER_FAILURE = 0.05
# How likely a client is to turn to another server after an answer.
_RESTLESSNESS = 0.1
# How many of the keys that are created run out, and after how many seconds, first and last.
_PASSING = 0.4
_TTLS = (1, 2)

# What clients ask for, and how often.
_MIX = {
    Kind.SET: 4,
    Kind.CREATE: 2,
    Kind.SWAP: 5,
    Kind.DELETE: 1,
    Kind.APPEND: 3,
    Kind.GET: 5,
    Kind.LIST: 2,
    Kind.LOOK: 4,
}


@dataclass(frozen=True)
class Server:
    """Where a v2 server is.

    @ivar port: on this machine, plain HTTP.
    """

    name: str
    port: int


class Caller:
    """One client's connection to one server.

    @ivar patience: seconds that it waits for an answer.
    """

    def __init__(self, client: str, server: Server, patience: float) -> None:
        self._client = client
        self._server = server
        self._connection = HTTPConnection("127.0.0.1", server.port, timeout=patience)

    def call(self, request: Request) -> Operation:
        """Make a request and wait for what comes of it."""
        began = time.monotonic()
        operation = Operation(self._client, self._server.name, request, began)
        try:
            if self._connection.sock is None:
                self._connection.connect()
        except OSError:
            return _ended(operation, Outcome.FAILED)
        try:
            method, path, body = _spelled(request)
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            return _understood(operation, response.status, json.loads(response.read()), response.headers)
        except (OSError, HTTPException, ValueError):
            self._connection.close()
            return operation

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _spelled(request: Request) -> tuple[str, str, str | None]:
    """A request in v2: method, path and body."""
    path = f"/v2/keys{request.key}"
    if request.kind in (Kind.GET, Kind.LIST):
        return "GET", f"{path}?quorum=true&sorted=true", None
    if request.kind is Kind.LOOK:
        return "GET", path, None
    if request.kind is Kind.DELETE:
        return "DELETE", f"{path}?recursive=true" if request.dir else path, None
    form: dict[str, object] = {"dir": "true"} if request.dir else {"value": request.value}
    if request.ttl is not None:
        form["ttl"] = request.ttl
    if request.kind is Kind.REFRESH:
        form = {"ttl": request.ttl, "refresh": "true", "prevExist": "true"}
    elif request.kind in (Kind.CREATE, Kind.UPDATE):
        form["prevExist"] = str(request.kind is Kind.UPDATE).lower()
    elif request.kind is Kind.SWAP:
        form["prevIndex" if isinstance(request.previous, int) else "prevValue"] = request.previous
    return ("POST" if request.kind is Kind.APPEND else "PUT"), path, urlencode(form)


def _understood(operation: Operation, status: int, said: Any, headers: Any) -> Operation:
    """An operation, with its answer."""
    if status >= 500:
        return operation
    if status >= 400:
        refusal = Answer(int(said["index"]), code=int(said["errorCode"]), cause=said.get("cause", ""))
        return _ended(operation, Outcome.REFUSED, refusal)
    if operation.kind.writes:
        previous = (_seen(said["prevNode"]),) if "prevNode" in said else ()
        return _ended(operation, Outcome.OK, Answer(int(said["node"]["modifiedIndex"]), previous))
    index = int(headers["X-Etcd-Index"])
    nodes = said["node"].get("nodes", ()) if operation.kind is Kind.LIST else (said["node"],)
    return _ended(operation, Outcome.OK, Answer(index, tuple(map(_seen, nodes))))


def _seen(node: Any) -> Seen:
    return Seen(node.get("value", ""), int(node["modifiedIndex"]))


def _ended(operation: Operation, outcome: Outcome, answer: Answer | None = None) -> Operation:
    return replace(operation, returned=time.monotonic(), outcome=outcome, answer=answer)


def passing(server: Server, patience: float = 2.0) -> list[str] | None:
    """The keys at a server that are yet to run out; None if it does not answer."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=patience)
    try:
        connection.request("GET", "/v2/keys/?recursive=true&quorum=true")
        response = connection.getresponse()
        if response.status != 200:
            return None
        nodes, found = [json.loads(response.read())["node"]], []
        while nodes:
            node = nodes.pop()
            nodes += node.get("nodes", ())
            # etcd shows no ttl any more once it is over.
            if "expiration" in node:
                found.append(node["key"])
        return found
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


class Keys:
    """The keys in use at the moment, for all clients; safe in threads.

    @ivar root: the directory that they are in.
    @ivar passing: the directory of those that run out; it is in that.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.passing = f"{root}/passing"
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, rng: random.Random, kind: Kind) -> str:
        """A key for one more operation: a file's, or a directory's to append to."""
        slot = "list" if kind in (Kind.APPEND, Kind.LIST) else f"file{rng.randrange(_FILES)}"
        with self._lock:
            number = self._taken[slot] // _OPERATIONS_PER_KEY
            self._taken[slot] += 1
        return f"{self.root}/{slot}-{number}"


class Client:
    """Makes up one request after the other."""

    def __init__(
        self, name: str, servers: Sequence[Server], keys: Keys, seed: int, patience: float, looks: bool
    ) -> None:
        """Prepare.

        @param patience: seconds that it waits for an answer.
        @param looks: whether it also makes plain reads.
        """
        self._name = name
        self._keys = keys
        self._rng = random.Random(f"{seed} {name}")
        self._callers = [Caller(name, server, patience) for server in servers]
        self._kinds = [kind for kind in _MIX if looks or kind is not Kind.LOOK]
        self._last_seen: dict[str, Seen] = {}
        self._written = 0

    def run(self, stop: threading.Event, record: Callable[[Operation], object]) -> None:
        """Make requests until told to stop."""
        caller = self._rng.choice(self._callers)
        while not stop.wait(self._rng.uniform(0, 2 * _PAUSE)):
            operation = caller.call(self._request())
            record(operation)
            self._learn(operation)
            if operation.answer is None:
                stop.wait(_PAUSE_AFTER_FAILURE)
            if operation.answer is None or self._rng.random() < _RESTLESSNESS:
                caller = self._rng.choice(self._callers)
        for each in self._callers:
            each.close()

    def _request(self) -> Request:
        (kind,) = self._rng.choices(self._kinds, [_MIX[kind] for kind in self._kinds])
        key = self._keys.take(self._rng, kind)
        last = self._last_seen.get(key)
        if kind is Kind.SWAP and last is None:
            kind = Kind.SET
        if not kind.writes or kind is Kind.DELETE:
            return Request(kind, key)
        self._written += 1
        value = f"{self._name}.{self._written}"
        if kind is Kind.CREATE and self._rng.random() < _PASSING:
            return Request(kind, f"{self._keys.passing}/{value}", value, ttl=self._rng.randint(*_TTLS))
        previous = self._rng.choice(last) if kind is Kind.SWAP and last else None
        return Request(kind, key, value, previous)

    def _learn(self, operation: Operation) -> None:
        """Remember what there is to compare with."""
        request, answer = operation.request, operation.answer
        if operation.outcome is not Outcome.OK or answer is None:
            return
        if operation.kind in (Kind.GET, Kind.LOOK):
            self._last_seen[request.key] = answer.seen[0]
        elif request.value:
            self._last_seen[request.key] = Seen(request.value, answer.index)
