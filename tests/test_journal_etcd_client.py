"""What of the engine's client no real member shows when a test wants it."""

from __future__ import annotations

import json
from typing import cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IPolicyForHTTPS

from txetcd.journal.etcd import Engine
from txetcd.journal.etcd.client import HTTPClient
from txetcd.journal.etcd.credentials import Credentials
from txetcd.journal.etcd.wire import EngineError

ENGINE = Engine(("http://127.0.0.1:1", "http://127.0.0.1:2"), user="me", password="secret")


class Response:
    """A member's answer."""

    code = 200

    def __init__(self, content: object) -> None:
        self._content = json.dumps(content).encode()

    def deliverBody(self, protocol: IProtocol) -> None:
        protocol.dataReceived(self._content)
        protocol.connectionLost(Failure(ResponseDone()))


class Members:
    """An agent that asks members who give a token, and answer only who has the latest.

    @ivar tokens: how many they have given.
    """

    tokens = 0

    def request(self, method: bytes, uri: bytes, headers: Headers, body: object) -> Deferred[Response]:
        if uri.endswith(b"/auth/authenticate"):
            self.tokens += 1
            return succeed(Response({"token": f"token{self.tokens}"}))
        if headers.getRawHeaders(b"Authorization") == [b"token%d" % self.tokens]:
            return succeed(Response({"kvs": []}))
        return Deferred()


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.members = Clock(), Members()
        self.client = HTTPClient(self.clock, ENGINE, cast(IPolicyForHTTPS, Credentials(ENGINE)))
        self.patch(self.client, "_agent", cast(Agent, self.members))

    def test_kept(self) -> None:
        for _ in range(2):
            self.successResultOf(self.client.post("/kv/range", {}, 2.0))
        self.assertEqual(self.members.tokens, 1)

    def test_forgotten_when_there_is_no_answer(self) -> None:
        """Members that were restored from a backup wait for what a token of later knows of, for ever."""
        self.successResultOf(self.client.post("/kv/range", {}, 2.0))
        self.members.tokens = 7
        asking = self.client.post("/kv/range", {}, 2.0)
        self.assertNoResult(asking)
        self.clock.advance(2.0)
        self.failureResultOf(asking, EngineError)
        self.successResultOf(self.client.post("/kv/range", {}, 2.0))
        self.assertEqual(self.members.tokens, 8)
