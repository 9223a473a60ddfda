"""An existing twisted.web application with the v2 API mounted in it, behind the application's own login.

    echo alice:secret > users.txt
    python -m examples.mounted users.txt tcp:8080:interface=127.0.0.1
    curl -u alice:secret http://127.0.0.1:8080/etcd/v2/keys/message -XPUT -d value=hello
    curl http://127.0.0.1:8080/

The page is for everybody and reads the store from Python; the API is for those in `users.txt`.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from typing import Any

from twisted.cred.checkers import FilePasswordDB, ICredentialsChecker
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.web.guard import BasicCredentialFactory, HTTPAuthSessionWrapper
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request
from zope.interface import Interface, implementer

from txetcd import API, File, SQLiteJournal, Store
from txetcd.site import Site


class Page(Resource):
    """What the application was there for."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def render_GET(self, request: Request) -> bytes:
        """Show the message."""
        request.setHeader(b"content-type", b"text/html; charset=utf-8")
        node = self._store.tree.find("/message")
        text = node.value if isinstance(node, File) else "nothing"
        return f"<p>The message is: {escape(text)}</p>\n".encode()


@implementer(IRealm)
class Realm:
    """Gives everybody who has logged in the same resource."""

    def __init__(self, resource: IResource) -> None:
        self._resource = resource

    def requestAvatar(self, avatarId: object, mind: object, *interfaces: type[Interface]) -> Any:
        """See `IRealm`."""
        return IResource, self._resource, lambda: None


def application(store: Store, users: ICredentialsChecker) -> Resource:
    """The whole site."""
    api = API(store, name="mounted", client_urls=("http://127.0.0.1:8080/etcd",))
    root = Resource()
    root.putChild(b"", Page(store))
    login = BasicCredentialFactory(b"etcd")
    root.putChild(b"etcd", HTTPAuthSessionWrapper(Portal(Realm(api), [users]), [login]))
    return root


async def main(reactor: Any, users: str, address: str) -> None:
    """Serve until Ctrl-C."""
    store = Store(SQLiteJournal(reactor, Path("mounted.etcd")), reactor)
    store.startService()
    reactor.addSystemEventTrigger("before", "shutdown", store.stopService)
    await store.ready()
    site = Site(application(store, FilePasswordDB(users)), reactor)
    endpoint: Any = serverFromString(reactor, address)
    await endpoint.listen(site)
    print(f"Serving on {address}", flush=True)
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
