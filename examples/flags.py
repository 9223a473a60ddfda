"""Feature flags: the application asks for them at no cost, a page switches them, and every open page follows.

    python -m examples.flags tcp:8080:interface=127.0.0.1
    curl http://127.0.0.1:8080/v2/keys/flags/dark-mode -XPUT -d value=on

Look at http://127.0.0.1:8080/ meanwhile. The page is told of changes by server-sent events, which `/v2/keys`
speaks by itself.
"""

from __future__ import annotations

import string
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import Request

from txetcd import Dir, File, KeysResource, SQLiteJournal, Store
from txetcd.site import Site

PAGE = string.Template("""<!DOCTYPE html>
<meta charset="utf-8"><title>Flags</title>
<h1>Flags</h1>
<ul id="flags">$items</ul>
<script>
const keys = "/v2/keys/flags"
const show = (name, value) => {
  const item = document.getElementById(name) || document.createElement("li")
  item.id = name
  item.textContent = name + ": " + value
  item.onclick = () => fetch(keys + "/" + name + "?value=" + (value === "on" ? "off" : "on"), {method: "PUT"})
  document.getElementById("flags").append(item)
}
for (const item of document.querySelectorAll("li")) show(item.id, item.dataset.value)
new EventSource(keys + "?recursive=true&waitIndex=$next").onmessage = (message) => {
  const {node} = JSON.parse(message.data)
  const name = node.key.slice("/flags/".length)
  if (node.value === undefined) document.getElementById(name)?.remove()
  else show(name, node.value)
}
</script>
""")


class Flags(Mapping[str, bool]):
    """The flags: a look at the store as it is now, no request and no waiting."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _nodes(self) -> dict[str, File]:
        directory = self._store.tree.find("/flags")
        nodes = directory.nodes() if isinstance(directory, Dir) else ()
        return {node.key.removeprefix("/flags/"): node for node in nodes if isinstance(node, File)}

    def __getitem__(self, name: str) -> bool:
        node = self._store.tree.find(f"/flags/{name}")
        if not isinstance(node, File):
            raise KeyError(name)
        return node.value == "on"

    def __iter__(self) -> Any:
        return iter(sorted(self._nodes()))

    def __len__(self) -> int:
        return len(self._nodes())


class Page(Resource):
    """All flags; a click switches one."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._flags = Flags(store)

    def render_GET(self, request: Request) -> bytes:
        """Show them as they are; the page follows what changes from here on."""
        request.setHeader(b"content-type", b"text/html; charset=utf-8")
        items = [
            f'<li id="{escape(name)}" data-value="{"on" if on else "off"}"></li>'
            for name, on in self._flags.items()
        ]
        return PAGE.substitute(items="\n".join(items), next=self._store.tree.index + 1).encode()


def application(store: Store) -> Resource:
    """The page, and the API that it uses."""
    root, v2 = Resource(), Resource()
    root.putChild(b"", Page(store))
    root.putChild(b"v2", v2)
    v2.putChild(b"keys", KeysResource(store))
    return root


async def main(reactor: Any, address: str) -> None:
    """Serve until Ctrl-C."""
    store = Store(SQLiteJournal(reactor, Path("flags.etcd")), reactor)
    store.startService()
    reactor.addSystemEventTrigger("before", "shutdown", store.stopService)
    await store.ready()
    endpoint: Any = serverFromString(reactor, address)
    await endpoint.listen(Site(application(store), reactor))
    print(f"Serving on {address}", flush=True)
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
