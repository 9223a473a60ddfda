"""What of the engine's client no real member shows when a test wants it."""

from __future__ import annotations

import json
from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from txetcd.journal.etcd import Engine
from txetcd.journal.etcd.client import KEPT, HTTPClient
from txetcd.journal.etcd.credentials import Credentials
from txetcd.journal.etcd.wire import JSON, EngineError

ENDPOINTS = ("http://127.0.0.1:1", "http://[::1]:2")


class Member(StringTransport):
    """The other end of a connection.

    @ivar endpoint: which member it is.
    @ivar gone: whether it has ended, from either side.
    """

    gone = False

    def __init__(self, endpoint: int, protocol: IProtocol) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.connection = protocol
        protocol.makeConnection(self)

    def asked(self) -> tuple[str, dict[str, str], JSON]:
        """The path, headers and body of the one request that has come."""
        head, _, body = self.value().partition(b"\r\n\r\n")
        self.clear()
        line, *fields = head.decode().split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        assert int(headers["Content-Length"]) == len(body)
        return line, headers, json.loads(body)

    def answer(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.show(b"HTTP/1.1 %d Some\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    def show(self, data: bytes) -> None:
        self.connection.dataReceived(data)

    def lose(self) -> None:
        self.gone = True
        self.connection.connectionLost(Failure(ConnectionDone()))

    def abortConnection(self) -> None:
        if not self.gone:
            self.lose()


class ClientCase(SynchronousTestCase):
    """A client of members that the test plays."""

    engine = Engine(ENDPOINTS)

    def setUp(self) -> None:
        self.clock = Clock()
        self.members: list[Member] = []
        self.up = {0, 1}
        self.client = HTTPClient(self.clock, self.engine, cast(IPolicyForHTTPS, Credentials(self.engine)))
        self.patch(self.client, "_endpoint", self.endpoint)

    def endpoint(self, asked: int) -> IStreamClientEndpoint:
        """The way to a member."""

        @implementer(IStreamClientEndpoint)
        class Way:
            def connect(way, factory: IProtocolFactory) -> Deferred[IProtocol]:
                if asked not in self.up:
                    return fail(ConnectionRefusedError())
                protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
                assert protocol is not None
                self.members.append(Member(asked, protocol))
                return succeed(protocol)

        return Way()

    def post(self, body: JSON | None = None) -> Deferred[JSON]:
        return self.client.post("/kv/range", body or {}, 2.0)


class PostTests(ClientCase):
    def test_request(self) -> None:
        asking = self.post({"key": "a"})
        (member,) = self.members
        line, headers, body = member.asked()
        self.assertEqual((line, body), ("POST /v3/kv/range HTTP/1.1", {"key": "a"}))
        self.assertEqual(headers["Host"], "127.0.0.1:1")
        self.assertEqual(headers["Grpc-Metadata-hasleader"], "true")
        self.assertNotIn("Authorization", headers)
        member.answer({"kvs": []})
        self.assertEqual(self.successResultOf(asking), {"kvs": []})

    def test_connections_are_kept(self) -> None:
        """So many, each for one request at a time."""
        for _ in range(2):
            asking = [self.post() for _ in range(KEPT + 2)]
            for member in self.members:
                if not member.gone and member.value():
                    member.clear()
                    member.answer({})
            for each in asking:
                self.successResultOf(each)
        self.assertEqual(len(self.members), KEPT + 4)
        self.assertEqual(sum(not member.gone for member in self.members), KEPT)

    def test_a_closed_one_is_not_kept(self) -> None:
        for _ in range(2):
            asking = self.post()
            self.members[-1].answer({})
            self.successResultOf(asking)
            self.members[-1].lose()
        self.assertEqual(len(self.members), 2)

    def test_the_next_member_after_a_failure(self) -> None:
        self.up.remove(0)
        self.assertIn(ENDPOINTS[0], str(self.failureResultOf(self.post(), EngineError).value))
        asking = self.post()
        (member,) = self.members
        self.assertEqual(member.endpoint, 1)
        self.assertEqual(member.asked()[1]["Host"], "[::1]:2")
        member.lose()
        self.assertIn(ENDPOINTS[1], str(self.failureResultOf(asking, EngineError).value))
        self.up.add(0)
        self.post()
        self.assertEqual(self.members[-1].endpoint, 0)

    def test_no_answer(self) -> None:
        """In time: the connection is let go of, and the next member asked."""
        asking = self.post()
        self.members[0].show(b"HTTP/1.1 200 OK\r\n")
        self.clock.advance(2.0)
        self.assertIn("no answer within 2 s", str(self.failureResultOf(asking, EngineError).value))
        self.assertTrue(self.members[0].gone)
        self.post()
        self.assertEqual(self.members[-1].endpoint, 1)

    def test_cancelled(self) -> None:
        """The answer is waited for, since the connection can be used again then."""
        asking = self.post()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.members[0].answer({})
        self.post()
        self.assertEqual(len(self.members), 1)
        self.assertFalse(self.members[0].gone)

    def test_refused(self) -> None:
        asking = self.post()
        self.members[0].answer({"error": "no", "message": "no such", "code": 5}, 404)
        self.assertIn("no such", str(self.failureResultOf(asking, EngineError).value))

    def test_closed(self) -> None:
        """All connections go, and whoever waits hears of it."""
        done = self.post()
        busy = self.post()
        self.members[0].answer({})
        self.successResultOf(done)
        self.successResultOf(self.client.close())
        self.failureResultOf(busy)
        self.assertTrue(all(member.gone for member in self.members))
        self.post()
        self.assertEqual(len(self.members), 3)

    def test_closed_without_waiting(self) -> None:
        """Whoever no longer waits for the end hears that, and nothing else; the others hear of it."""
        done = self.post()
        (member,) = self.members
        member.answer({})
        self.successResultOf(done)
        # A real connection is not gone before the reactor's next turn.
        self.patch(member, "abortConnection", lambda: None)
        given_up, waiting = self.client.close(), self.client.close()
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.assertNoResult(waiting)
        member.lose()
        self.successResultOf(waiting)


class StreamTests(ClientCase):
    HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def setUp(self) -> None:
        super().setUp()
        self.received: list[JSON] = []
        self.streaming = self.client.stream("/watch", {}, self.received.append, 2.0)

    def show(self, text: bytes) -> None:
        self.members[0].show(b"%x\r\n%s\r\n" % (len(text), text))

    def test_answers(self) -> None:
        """Each as it comes, however long that takes."""
        self.members[0].show(self.HEAD)
        self.clock.advance(100.0)
        self.show(b'{"result":{"n":1}}\n{"result"')
        self.show(b':{"n":2}}\n')
        self.assertEqual(self.received, [{"n": 1}, {"n": 2}])
        self.assertNoResult(self.streaming)
        self.members[0].show(b"0\r\n\r\n")
        self.successResultOf(self.streaming)
        self.assertTrue(self.members[0].gone)
        # Nobody else gets that connection.
        self.post()
        self.assertEqual(len(self.members), 2)

    def test_never_begins(self) -> None:
        self.clock.advance(2.0)
        self.failureResultOf(self.streaming, EngineError)
        self.assertTrue(self.members[0].gone)

    def test_breaks(self) -> None:
        self.members[0].show(self.HEAD)
        self.members[0].lose()
        self.failureResultOf(self.streaming, EngineError)
        self.post()
        self.assertEqual(self.members[-1].endpoint, 1)

    def test_an_error_comes(self) -> None:
        self.members[0].show(self.HEAD)
        self.show(b'{"error":{"grpc_code":14,"message":"no leader"}}\n')
        self.assertIn("no leader", str(self.failureResultOf(self.streaming, EngineError).value))
        self.assertTrue(self.members[0].gone)

    def test_cancelled(self) -> None:
        for begun in (False, True):
            self.setUp()
            if begun:
                self.members[0].show(self.HEAD)
            self.streaming.cancel()
            self.failureResultOf(self.streaming, CancelledError)
            self.assertTrue(self.members[0].gone)


class TokenTests(ClientCase):
    """Members give a token, and answer only who has the latest."""

    engine = Engine(ENDPOINTS, user="me", password="secret")
    tokens = 0

    def serve(self) -> None:
        """Let the members answer what has come."""
        for member in self.members:
            while not member.gone and member.value():
                line, headers, body = member.asked()
                if "/auth/authenticate" in line:
                    self.assertEqual(body, {"name": "me", "password": "secret"})
                    self.tokens += 1
                    member.answer({"token": f"token{self.tokens}"})
                elif headers["Authorization"] == f"token{self.tokens}":
                    member.answer({"kvs": []})

    def test_kept(self) -> None:
        for _ in range(2):
            asking = self.post()
            self.serve()
            self.successResultOf(asking)
        self.assertEqual(self.tokens, 1)

    def test_forgotten_by_the_member(self) -> None:
        """It is got anew."""
        asking = self.post()
        self.serve()
        self.successResultOf(asking)
        asking = self.post()
        self.members[0].clear()
        self.members[0].answer({"error": "invalid auth token", "code": 16}, 401)
        self.serve()
        self.successResultOf(asking)
        self.assertEqual(self.tokens, 2)

    def test_forgotten_when_there_is_no_answer(self) -> None:
        """Members that were restored from a backup wait for what a token of later knows of, for ever."""
        asking = self.post()
        self.serve()
        self.successResultOf(asking)
        self.tokens = 7
        asking = self.post()
        self.serve()
        self.clock.advance(2.0)
        self.failureResultOf(asking, EngineError)
        asking = self.post()
        self.serve()
        self.successResultOf(asking)
        self.assertEqual(self.tokens, 8)
