"""`txetcd.testing` in memory: a server without a reactor, that does things at once and fails to order."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, Cooperator, LoopingCall
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import FileBodyProducer, ResponseFailed, readBody
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface.verify import verifyObject

from tests.e2e import CODE
from txetcd import EtcdError
from txetcd.testing import InMemoryServer, TxetcdMixin
from txetcd.testing.base import EPOCH
from txetcd.tree import SECOND

# What has been imported when a module has, in a new process.
IMPORTED = "import sys, {module}; print('twisted.internet.reactor' in sys.modules)"


class Reader(Protocol):
    """Takes what arrives while it is connected, and remembers how that ended.

    @ivar eager: whether it reads at all.
    """

    transport: Any

    def __init__(self, eager: bool = True) -> None:
        self.eager = eager
        self.received = b""
        self.ended: Failure | None = None

    def connectionMade(self) -> None:
        if not self.eager:
            self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = reason


class InMemoryCase(TxetcdMixin, SynchronousTestCase):
    """A server in memory; when it has stopped, its clock has nothing left to do."""

    def setUp(self) -> None:
        self.clock = Clock()
        # Registered first, done last.
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.server = self.txetcd(self.clock, history_size=20)

    def get(self, path: str) -> Deferred[Any]:
        """Begin to ask over HTTP."""
        return self.server.agent.request(b"GET", (self.server.url + path).encode())

    def connect(self, reader: Reader) -> Reader:
        """Connect without an HTTP client."""
        self.successResultOf(self.server.endpoint.connect(Factory.forProtocol(lambda: reader)))
        return reader

    def refused(self, waiting: Deferred[Any]) -> int:
        """The code that a Deferred has failed with."""
        error: Any = self.failureResultOf(waiting, EtcdError).value
        return int(error.code)


class PromptTests(InMemoryCase):
    """Nothing has to be pumped."""

    def test_over_http(self) -> None:
        answer = self.server.request("PUT", "/v2/keys/a", value="1", prevExist=False)
        self.assertEqual((answer.status, answer.json["node"]["value"], answer.index), (201, "1", 2))
        answer = self.server.request("GET", "/v2/keys/a?quorum=true", sorted=True)
        self.assertEqual((answer.status, answer.json["node"]["value"]), (200, "1"))
        self.assertEqual(self.server.request("DELETE", "/v2/keys/b").status, 404)
        self.assertEqual(self.server.request("GET", "/v2/machines").body, self.server.url.encode())
        with self.assertRaises(KeyError):
            self.server.request("GET", "/version").index  # noqa: B018

    def test_from_python(self) -> None:
        event = self.successResultOf(self.server.store.set("/a", "1"))
        self.assertEqual((event.index, self.server.store.tree.index), (2, 2))
        self.assertEqual(self.refused(self.server.store.create("/a", "2")), 105)

    def test_with_agent(self) -> None:
        self.assertTrue(verifyObject(IAgent, self.server.agent))
        answer = self.successResultOf(self.get("/v2/keys/"))
        self.assertIn(b'"dir":true', self.successResultOf(readBody(answer)))

    def test_with_a_coroutine(self) -> None:
        async def talk() -> bytes:
            answer: Any = await self.get("/v2/keys/")
            await self.server.store.set("/a", "1")
            return await readBody(answer)

        self.assertIn(b'"dir":true', self.successResultOf(Deferred.fromCoroutine(talk())))

    def test_bodies_may_come_late(self) -> None:
        clock = Clock()
        cooperator = Cooperator(scheduler=lambda step: clock.callLater(1, step))
        producer = FileBodyProducer(BytesIO(b"value=" + b"x" * 500_000), cooperator)
        form = Headers({b"Content-Type": [b"application/x-www-form-urlencoded"]})
        url = f"{self.server.url}/v2/keys/a".encode()
        asked = self.server.agent.request(b"PUT", url, form, producer)
        self.assertNoResult(asked)
        clock.pump([1] * 10)
        self.assertEqual(self.successResultOf(asked).code, 201)

    def test_whatever_the_host(self) -> None:
        asked = self.server.agent.request(b"GET", b"http://etcd.example.org/version")
        self.assertEqual(self.successResultOf(asked).code, 200)
        self.failureResultOf(self.server.agent.request(b"GET", b"https://a/version"), SchemeNotSupported)

    def test_listings_of_many_pieces(self) -> None:
        for number in range(300):
            self.server.store.set(f"/many/{number}", "x" * 2000)
        answer = self.server.request("GET", "/v2/keys/many")
        self.assertEqual(len(answer.json["node"]["nodes"]), 300)

    def test_result(self) -> None:
        self.assertEqual(self.server.result(self.server.store.set("/a", "1")).index, 2)
        with self.assertRaises(EtcdError):
            self.server.result(self.server.store.get("/b"))
        with self.assertRaisesRegex(AssertionError, "waits for something to change"):
            self.server.result(self.server.store.watch("/a"))

    def test_a_request_that_waits(self) -> None:
        with self.assertRaisesRegex(AssertionError, "waits"):
            self.server.request("GET", "/v2/keys/a", wait=True)


class WatchTests(InMemoryCase):
    def test_watch(self) -> None:
        body = readBody(self.successResultOf(self.get("/v2/keys/a?wait=true")))
        self.assertNoResult(body)
        self.server.store.set("/a", "1")
        self.assertEqual(json.loads(self.successResultOf(body))["node"]["value"], "1")

    def test_stream(self) -> None:
        reader = Reader()
        self.successResultOf(self.get("/v2/keys/?wait=true&stream=true&recursive=true")).deliverBody(reader)
        for value in "ab":
            self.server.store.set("/a", value)
        told = [json.loads(line)["node"]["value"] for line in reader.received.splitlines()]
        self.assertEqual(told, ["a", "b"])

    def test_a_slow_reader_holds_nobody_up(self) -> None:
        """It is paced as on a socket, and closed when it lets too much pile up."""
        request = b"GET /v2/keys/a?wait=true&stream=true HTTP/1.1\r\nHost: a\r\n\r\n"
        slow, quick = self.connect(Reader(eager=False)), self.connect(Reader())
        for reader in (slow, quick):
            reader.transport.write(request)
        for _ in range(4):
            self.server.store.set("/a", "x" * 400_000)
        self.assertGreater(len(quick.received), 1_600_000)
        self.assertEqual((slow.received, self.server.store.watching), (b"", 1))
        slow.transport.resumeProducing()
        self.assertLess(len(slow.received), 1_600_000)
        assert slow.ended is not None
        self.assertIsNone(quick.ended)

    def test_a_client_that_goes(self) -> None:
        reader = self.connect(Reader())
        reader.transport.write(b"GET /v2/keys/a?wait=true HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(self.server.store.watching, 1)
        reader.transport.loseConnection()
        self.assertEqual(self.server.store.watching, 0)
        reader = self.connect(Reader())
        reader.transport.write(b"GET /v2/keys/a?wait=true HTTP/1.1\r\nHost: a\r\n\r\n")
        reader.transport.abortConnection()
        self.assertEqual(self.server.store.watching, 0)
        assert reader.ended is not None
        self.assertIsInstance(reader.ended.value, ConnectionAborted)


class TimeTests(InMemoryCase):
    def test_keys_run_out(self) -> None:
        answer = self.server.request("PUT", "/v2/keys/a", value="1", ttl=5)
        self.assertEqual(answer.json["node"]["expiration"], "2020-01-01T00:00:05Z")
        changed = self.server.store.watch("/a")
        self.server.advance(4.9)
        self.assertEqual(self.server.request("GET", "/v2/keys/a").json["node"]["ttl"], 1)
        self.assertNoResult(changed)
        self.server.advance(0.1)
        self.assertEqual(self.successResultOf(changed).action, "expire")

    def test_the_clock_of_the_test_will_do(self) -> None:
        self.server.store.set("/a", "1", ttl=5)
        self.clock.advance(5)
        self.assertEqual(self.refused(self.server.store.get("/a")), 100)

    def test_each_thing_at_its_own_time(self) -> None:
        """Who refreshes in time keeps a key, however far the clock is moved at a time."""
        expirations: list[int] = []

        def refresh() -> None:
            node = self.successResultOf(self.server.store.refresh("/a", 5)).node
            assert node is not None and node.expiration is not None
            expirations.append(node.expiration // SECOND - EPOCH)

        self.server.store.set("/a", "1", ttl=5)
        refreshing = LoopingCall(refresh)
        refreshing.clock = self.clock
        refreshing.start(2)
        self.server.advance(60)
        self.assertEqual((expirations, self.clock.seconds()), ([*range(5, 66, 2)], 60))
        refreshing.stop()
        self.server.advance(60)
        self.assertEqual(self.refused(self.server.store.get("/a")), 100)

    def test_a_clock_that_does_not_begin_at_zero(self) -> None:
        clock = MemoryReactorClock()
        clock.advance(1_700_000_000.25)
        server = self.txetcd(clock)
        server.store.set("/a", "1", ttl=5)
        server.advance(5)
        self.assertEqual(server.request("GET", "/v2/keys/a").status, 404)

    def test_watches_with_a_timeout(self) -> None:
        asked = self.get("/v2/keys/a?wait=true&waitTimeout=3")
        self.server.advance(2)
        self.assertNoResult(asked)
        self.server.advance(1)
        self.assertEqual(self.successResultOf(readBody(self.successResultOf(asked))), b"")


class FaultTests(InMemoryCase):
    def test_a_write_fails(self) -> None:
        self.server.fail_next_write("no space left on device")
        self.server.fail_next_write()
        refused = self.server.request("PUT", "/v2/keys/a", value="1")
        self.assertEqual((refused.status, refused.json["errorCode"]), (500, 300))
        self.assertEqual(refused.json["cause"], "no space left on device")
        self.assertEqual(self.refused(self.server.store.set("/a", "2")), 300)
        self.assertEqual(self.server.request("PUT", "/v2/keys/a", value="3").index, 2)

    def test_writes_wait(self) -> None:
        self.server.hold_writes()
        written, other = self.server.store.set("/a", "1"), self.server.store.set("/b", "2")
        self.assertEqual(self.server.request("GET", "/v2/keys/a").status, 404)
        self.assertNoResult(written)
        self.server.release_writes()
        indices = [self.successResultOf(waiting).index for waiting in (written, other)]
        self.assertEqual(indices, [2, 3])
        self.assertEqual(self.successResultOf(self.server.store.set("/c", "3")).index, 4)

    def test_history_is_lost(self) -> None:
        index = self.server.request("PUT", "/v2/keys/a", value="1").index
        self.assertEqual(self.server.request("GET", f"/v2/keys/a?wait=true&waitIndex={index}").status, 200)
        self.successResultOf(self.server.lose_history())
        lost = self.server.request("GET", f"/v2/keys/a?wait=true&waitIndex={index}")
        self.assertEqual((lost.status, lost.json["errorCode"]), (400, 401))
        self.assertEqual(len(self.server.request("GET", "/v2/keys/").json["node"]["nodes"]), 1)

    def test_connections_are_dropped(self) -> None:
        asked = readBody(self.successResultOf(self.get("/v2/keys/a?wait=true")))
        reader = self.connect(Reader())
        self.server.drop_connections()
        error: Any = self.failureResultOf(asked, ResponseFailed).value
        self.assertIsInstance(error.reasons[0].value, ConnectionLost)
        self.assertIsNotNone(reader.ended)
        self.assertEqual(
            (self.server.store.watching, self.server.request("GET", "/version").status), (0, 200)
        )

    def test_the_server_is_away(self) -> None:
        self.server.request("PUT", "/v2/keys/a", value="1")
        watch = readBody(self.successResultOf(self.get("/v2/keys/a?wait=true")))
        idle, deaf = self.connect(Reader()), self.connect(Reader(eager=False))
        deaf.transport.write(b"GET /v2/keys/ HTTP/1.1\r\nHost: a\r\n\r\n")
        self.server.hold_writes()
        held = self.server.store.set("/b", "2")
        self.successResultOf(self.server.stop())
        self.successResultOf(self.server.stop())
        self.assertEqual(self.successResultOf(held).index, 3)
        self.assertEqual(self.successResultOf(watch), b"")
        assert idle.ended is not None
        self.failureResultOf(self.get("/version"), ConnectionRefusedError)
        self.assertEqual(self.refused(self.server.store.get("/a")), 300)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.server.start()
        self.assertEqual(self.server.request("GET", "/v2/keys/a").json["node"]["value"], "1")
        self.assertEqual(self.server.request("GET", "/v2/keys/b?wait=true&waitIndex=3").index, 3)

    def test_keys_run_out_meanwhile(self) -> None:
        self.server.request("PUT", "/v2/keys/a", value="1", ttl=5)
        self.server.stop()
        self.server.advance(5)
        self.server.start()
        self.assertEqual(self.server.request("GET", "/v2/keys/a").index, 3)


class LifeTests(SynchronousTestCase):
    def test_with(self) -> None:
        with InMemoryServer() as server:
            self.assertEqual(server.request("GET", "/health").json["health"], "true")
        self.failureResultOf(server.agent.request(b"GET", b"http://a/"), ConnectionRefusedError)
        self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_each_has_data_of_its_own(self) -> None:
        with InMemoryServer() as one, InMemoryServer() as other:
            one.store.set("/a", "1")
            self.assertEqual(other.request("GET", "/v2/keys/a").status, 404)

    def test_endpoint(self) -> None:
        server = InMemoryServer()
        self.assertTrue(verifyObject(IStreamClientEndpoint, server.endpoint))
        connecting = server.endpoint.connect(Factory.forProtocol(Reader))
        self.failureResultOf(connecting, ConnectionRefusedError)

    def test_importing_chooses_no_reactor(self) -> None:
        for module in ("txetcd.testing", "pytest_txetcd"):
            program = IMPORTED.format(module=module)
            ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=CODE)
            self.assertEqual(ran.stdout, "False\n", ran.stderr)
