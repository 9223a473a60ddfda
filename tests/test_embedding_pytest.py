"""txetcd in a test suite of pytest and pytest-twisted, as its users write one.

trial imports this module too and finds no tests in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.web.client import Agent, readBody
from twisted.web.resource import Resource

from txetcd import KeysResource, MemoryJournal, SQLiteJournal, Store
from txetcd.site import Site

try:
    import pytest_twisted  # type: ignore[import-untyped]
except ImportError:
    pass  # Under trial alone there is nothing to show.
else:

    @pytest_twisted.async_yield_fixture()  # type: ignore[untyped-decorator]
    async def url() -> AsyncIterator[bytes]:
        """A server in this process: a store and a site, started before and stopped after the test."""
        from twisted.internet import reactor

        running: Any = reactor
        store = Store(MemoryJournal(), running)
        store.startService()
        root = Resource()
        root.putChild(b"keys", KeysResource(store))
        site = Site(root, running)
        endpoint: Any = serverFromString(running, "tcp:0:interface=127.0.0.1")
        port = await endpoint.listen(site)
        yield b"http://127.0.0.1:%d/keys" % port.getHost().port
        await port.stopListening()
        await site.shutdown(2.0)
        await store.stopService()

    @pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
    async def test_over_http(url: bytes) -> None:
        from twisted.internet import reactor

        agent = Agent(reactor)
        response = await agent.request(b"POST", url + b"/queue?value=1")
        assert response.code == 201
        assert b'"action":"create"' in await readBody(response)
        response = await agent.request(b"GET", url + b"/nothing")
        assert response.code == 404
        assert b'"errorCode":100' in await readBody(response)

    @pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
    async def test_each_test_has_a_store_of_its_own(url: bytes) -> None:
        from twisted.internet import reactor

        response = await Agent(reactor).request(b"GET", url + b"/queue")
        assert response.code == 404
        await readBody(response)

    @pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
    async def test_from_python(tmp_path: Path) -> None:
        from twisted.internet import reactor

        running: Any = reactor
        store = Store(SQLiteJournal(running, tmp_path / "data"), running)
        store.startService()
        changed = store.watch("/a")
        await store.set("/a", "1")
        assert (await changed).index == 2
        await store.stopService()
