"""Watches that come back after every break, and put down each event that they are shown."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from tests.cluster.clients import Server
from tests.cluster.events import Event, Watched

# Seconds without an event after which a watch is begun anew: it may be on a link that is dead.
_SILENCE = 2.0
# Seconds before a server that was not there is tried again.
_PAUSE = 0.1


class Watch(threading.Thread):
    """Watches a directory at one server, in a thread of its own.

    @ivar server: whom it asks.
    @ivar watched: what was shown.
    """

    def __init__(self, server: Server, directory: str, first: int, streams: bool) -> None:
        """Prepare.

        @param first: the index from which on to watch.
        @param streams: whether the server is asked to go on after an event; a real etcd falls silent after
            the first from the past.
        """
        super().__init__(name=f"watch at {server.name}", daemon=True)
        self.watched = Watched()
        self.server = server
        self._path = f"/v2/keys{directory}?wait=true&recursive=true&stream={str(streams).lower()}&waitIndex="
        self._next = first
        self._last: int | None = None
        self._given_up = threading.Event()

    def finish(self, last: int) -> None:
        """End when the event of that index has been shown."""
        self._last = last

    def give_up(self) -> None:
        """End soon."""
        self._given_up.set()

    def run(self) -> None:
        """Watch, as often as need be."""
        while not self._over():
            try:
                self._watch(self._over)
            except (OSError, HTTPException, ValueError):
                self._given_up.wait(_PAUSE)

    def _over(self) -> bool:
        return self._given_up.is_set() or (self._last is not None and self._next > self._last)

    def _watch(self, over: Callable[[], bool]) -> None:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=_SILENCE)
        try:
            connection.request("GET", f"{self._path}{self._next}")
            response = connection.getresponse()
            if response.status != 200:
                self._refused(json.loads(response.read()))
            else:
                self._read(response, over)
        finally:
            connection.close()

    def _read(self, response: HTTPResponse, over: Callable[[], bool]) -> None:
        while not over():
            line = response.readline()
            if not line.endswith(b"\n"):
                # The end, or, where the connection broke, half an event.
                return
            event = json.loads(line)
            index = int(event["node"]["modifiedIndex"])
            node = event["node"]
            self.watched.events.append(Event(index, event["action"], node["key"], node.get("value", "")))
            if event["action"] == "expire":
                self.watched.expired.setdefault(node["key"], time.monotonic())
            self._next = max(self._next, index + 1)

    def _refused(self, error: Any) -> None:
        """Put down what the server has no more, and go on with what it has."""
        if error["errorCode"] != 401:
            self._given_up.wait(_PAUSE)
            return
        there = int(error["index"])
        self.watched.gaps.append((self._next, there))
        self._next = there + 1
