"""txetcd inside other Twisted applications: README's examples as they stand, and a clean end to it all."""

from __future__ import annotations

import json
import signal
import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests import documents
from tests.e2e import EndToEndCase, free_port
from txetcd import EtcdError, JournalError, KeysResource, MemoryJournal, SQLiteJournal, Store
from txetcd import site as txetcd_site

APPLICATION, COROUTINE = documents.code_blocks(documents.README, "python")


class ApplicationExampleTests(EndToEndCase):
    """README's application as a program of its own."""

    def test_it_serves_and_keeps(self) -> None:
        port = free_port()
        program = APPLICATION
        for before, after in (
            ("tcp:8080:", f"tcp:{port}:"),
            ("reactor.run()", 'reactor.callWhenRunning(print, "running", flush=True)\nreactor.run()'),
        ):
            self.assertIn(before, program)
            program = program.replace(before, after)
        self.assertIn("http://127.0.0.1:8080/keys/", program)
        command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", program]

        server = self.launch(command, port)
        server.wait_for("running")
        answer = server.request("PUT", "/keys/a", value="1")
        self.assertEqual((answer.status, answer.json["node"]["key"]), (201, "/a"))
        server.process.send_signal(signal.SIGINT)
        self.assertEqual((server.process.wait(30), server.output), (0, "running\n"))

        server = self.launch(command, port)
        server.wait_for("running")
        self.assertEqual(server.request("GET", "/keys/a").json["node"]["value"], "1")


class EmbeddingCase(TestCase):
    """Stores, and resources on real ports, in this process; the reactor must be clean when a test is over."""

    def setUp(self) -> None:
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)
        self.reactor: Any = reactor
        self.pool = HTTPConnectionPool(self.reactor)
        self.agent = Agent(self.reactor, pool=self.pool)

    def store(self, name: str) -> Store:
        """A store in a directory of its own, not started."""
        return Store(SQLiteJournal(self.reactor, self.directory / name), self.reactor)

    async def open(self, store: Store) -> None:
        """Start it; it is stopped at the end, if the test does not do that."""
        store.startService()
        self.addCleanup(store.stopService)
        await store.ready()

    async def listen(self, factory: Any) -> Any:
        """Serve on a port; give the port."""
        endpoint: Any = serverFromString(self.reactor, "tcp:0:interface=127.0.0.1")
        port = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        return port

    async def request(self, method: bytes, port: Any, path: str, body: bytes = b"") -> tuple[int, Any]:
        """Status and JSON of the answer, on a connection that is kept."""
        headers = Headers({b"Content-Type": [b"application/x-www-form-urlencoded"]})
        url = f"http://127.0.0.1:{port.getHost().port}{path}".encode()
        producer = FileBodyProducer(BytesIO(body)) if body else None
        response = await self.agent.request(method, url, headers, producer)
        content = await readBody(response)
        return response.code, json.loads(content) if content else None


class CoroutineExampleTests(EmbeddingCase):
    """README's coroutine, on either journal."""

    async def assert_works(self, store: Store) -> None:
        await self.open(store)
        printed: list[object] = []
        names: dict[str, Any] = {"print": lambda *texts: printed.extend(texts)}
        exec(COROUTINE, names)
        await names["example"](store)
        self.assertEqual(printed, ["set", "/greeting", 2, "hello", "bye"])
        await store.stopService()

    async def test_sqlite(self) -> None:
        await self.assert_works(self.store("a"))

    async def test_memory(self) -> None:
        self.assertIn("`MemoryJournal()`", documents.prose(documents.README))
        await self.assert_works(Store(MemoryJournal(), self.reactor))


class Connections(WrappingFactory):
    """Tells when the connections of another factory are gone: twisted.web's Site does not."""

    def __init__(self, factory: Any) -> None:
        super().__init__(factory)
        self._waiting: list[Deferred[None]] = []

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        super().unregisterProtocol(p)
        while self._waiting and not self.protocols:
            self._waiting.pop().callback(None)

    def gone(self) -> Deferred[None]:
        """Fires when there are none any more."""
        if not self.protocols:
            return succeed(None)
        self._waiting.append(Deferred())
        return self._waiting[-1]


class CleanEndTests(EmbeddingCase):
    """Start, requests on kept connections and a waiting watch, stop: trial finds nothing left over."""

    async def assert_serves(self, port: Any, store: Store) -> None:
        """Whatever the site, the store is served, and its stop ends a watch."""
        self.assertEqual((await self.request(b"PUT", port, "/keys/a", b"value=1"))[0], 201)
        status, told = await self.request(b"GET", port, "/keys/a")
        self.assertEqual((status, told["node"]["value"]), (200, "1"))
        await store.set("/a", "from Python")
        status, told = await self.request(b"GET", port, "/keys/a?wait=true&waitIndex=3")
        self.assertEqual(told["node"]["value"], "from Python")
        self.assertEqual((await self.request(b"GET", port, "/keys/b"))[0], 404)
        await store.set("/soon", "x", ttl=3600)
        url = f"http://127.0.0.1:{port.getHost().port}/keys/a?wait=true".encode()
        watching = readBody(await self.agent.request(b"GET", url))
        self.assertEqual(store.watching, 1)
        await store.stopService()
        self.assertEqual(await watching, b"")

    async def test_with_the_site_of_twisted(self) -> None:
        store = self.store("a")
        await self.open(store)
        site: Any = Site(root_for(store))
        connections = Connections(site)
        port = await self.listen(connections)
        await self.assert_serves(port, store)
        await port.stopListening()
        await self.pool.closeCachedConnections()
        await connections.gone()

    async def test_with_the_site_of_txetcd(self) -> None:
        store = self.store("a")
        await self.open(store)
        site = txetcd_site.Site(root_for(store), self.reactor)
        port = await self.listen(site)
        await self.assert_serves(port, store)
        await port.stopListening()
        # The client still keeps its connection; the site is rid of it all the same.
        await site.shutdown(2.0)
        await self.pool.closeCachedConnections()

    async def test_as_a_service_of_an_application(self) -> None:
        application = MultiService()
        store = self.store("a")
        store.setServiceParent(application)
        application.startService()
        await store.ready()
        event = await store.set("/a", "1")
        await application.stopService()
        failed = await self.failure(store.set("/a", "2"))
        self.assertEqual(failed.code, 300)
        application.startService()
        self.addCleanup(application.stopService)
        await store.ready()
        node: Any = await store.get("/a")
        self.assertEqual((node.value, store.tree.index), ("1", event.index))

    async def assert_stops_within_a_callback(self, store: Store) -> None:
        """A stop that begins while a batch is being answered leaves nobody in it without an answer."""
        await self.open(store)
        first, second = store.set("/a", "1"), store.set("/b", "2")
        await first.addCallback(lambda _: store.stopService())
        self.assertEqual((await second).index, 3)
        self.assertFalse(store.accepting)

    async def test_stop_within_a_callback(self) -> None:
        await self.assert_stops_within_a_callback(self.store("a"))
        await self.assert_stops_within_a_callback(Store(MemoryJournal(), self.reactor))

    async def failure(self, waiting: Deferred[Any]) -> Any:
        """The EtcdError that it fails with."""
        try:
            await waiting
        except EtcdError as error:
            return error
        raise AssertionError("it did not fail")


class IndependenceTests(EmbeddingCase):
    async def test_two_stores(self) -> None:
        one, other = self.store("one"), self.store("other")
        root = Resource()
        for name, store in ((b"one", one), (b"other", other)):
            await self.open(store)
            root.putChild(name, KeysResource(store))
        site = txetcd_site.Site(root, self.reactor)
        port = await self.listen(site)
        changed = other.watch("/a")
        await self.request(b"PUT", port, "/one/a", b"value=1")
        self.assertEqual((await self.request(b"GET", port, "/other/a"))[0], 404)
        self.assertEqual((one.tree.index, other.tree.index), (2, 1))
        self.assertNotEqual(one.cluster_id, other.cluster_id)
        await one.stopService()
        self.assertEqual((await self.request(b"PUT", port, "/one/a", b"value=2"))[0], 500)
        self.assertEqual((await self.request(b"PUT", port, "/other/a", b"value=3"))[0], 201)
        self.assertEqual((await changed).index, 2)
        await site.shutdown(2.0)
        await self.pool.closeCachedConnections()

    async def test_two_stores_in_one_directory(self) -> None:
        one, other = self.store("same"), self.store("same")
        await self.open(one)
        other.startService()
        self.addCleanup(other.stopService)
        try:
            await other.ready()
        except JournalError as error:
            self.assertIn("is in use by another", str(error))
        else:
            self.fail("both were opened")
        self.assertEqual((await one.set("/a", "1")).index, 2)
        await one.stopService()
        # What was refused can be tried again.
        await other.stopService()
        await self.open(other)
        node: Any = await other.get("/a")
        self.assertEqual(node.value, "1")


def root_for(store: Store) -> Resource:
    """A resource tree that has the store's keys below /keys."""
    root = Resource()
    root.putChild(b"keys", KeysResource(store))
    return root
