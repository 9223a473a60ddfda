"""A klein application and the v2 API over one store.

    python -m examples.klein_app tcp:8080:interface=127.0.0.1
    curl http://127.0.0.1:8080/notes/milk -XPUT -d 'two bottles'
    curl http://127.0.0.1:8080/notes
    curl http://127.0.0.1:8080/v2/keys/notes/milk

A note made here is a key there, and the other way round.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request

from txetcd import Dir, EtcdError, File, KeysResource, SQLiteJournal, Store
from txetcd.site import Site


class Notes:
    """Notes, as a page of JSON, and each for itself.

    @param store: where they are.
    """

    app = Klein()

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = KeysResource(store)

    @app.route("/notes", methods=["GET"])
    def all(self, request: Request) -> str:
        """All notes, by name."""
        request.setHeader("Content-Type", "application/json")
        directory = self._store.tree.find("/notes")
        nodes = directory.nodes() if isinstance(directory, Dir) else ()
        notes = {node.key.removeprefix("/notes/"): node.value for node in nodes if isinstance(node, File)}
        return json.dumps(notes, sort_keys=True) + "\n"

    @app.route("/notes/<name>", methods=["PUT"])
    async def put(self, request: Any, name: str) -> str:
        """Write one; the answer comes when the note is safe."""
        event = await self._store.set(f"/notes/{name}", request.content.read().decode("utf-8", "replace"))
        return f"{event.action} {event.index}\n"

    @app.route("/notes/<name>", methods=["DELETE"])
    async def delete(self, request: Request, name: str) -> str:
        """Take one away."""
        event = await self._store.delete(f"/notes/{name}")
        return f"{event.action} {event.index}\n"

    @app.handle_errors(EtcdError)
    def refused(self, request: Any, failure: Failure) -> str:
        """Tell what the store has against it."""
        error: Any = failure.value
        request.setResponseCode(error.status)
        return f"{error.message}\n"

    @app.route("/v2/keys", branch=True)
    def keys(self, request: Request) -> Resource:
        """The v2 API."""
        return self._keys


async def main(reactor: Any, address: str) -> None:
    """Serve until Ctrl-C."""
    store = Store(SQLiteJournal(reactor, Path("notes.etcd")), reactor)
    store.startService()
    reactor.addSystemEventTrigger("before", "shutdown", store.stopService)
    await store.ready()
    endpoint: Any = serverFromString(reactor, address)
    await endpoint.listen(Site(Notes(store).app.resource(), reactor))
    print(f"Serving on {address}", flush=True)
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
