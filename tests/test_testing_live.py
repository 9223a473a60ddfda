"""`txetcd.testing` on sockets: plain and with mutual TLS, on real time and on a Clock, and a clean end."""

from __future__ import annotations

import http.client
import json
import ssl
import stat
from pathlib import Path
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectError, ConnectionRefusedError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed, ResponseNeverReceived, readBody

from txetcd import EtcdError
from txetcd.auth_commands import CreateRole, CreateUser, EnableAuth
from txetcd.passwords import hash_password
from txetcd.testing import Certificates, LiveServer, TxetcdMixin, certificates


class LiveCase(TxetcdMixin, TestCase):
    """trial looks for what is left of connections, files and timers."""

    reactor: Any = reactor

    async def code(self, waiting: Deferred[Any]) -> int:
        """The code that it fails with."""
        error: Any = await self.assertFailure(waiting, EtcdError)
        return int(error.code)


class PlainTests(LiveCase):
    async def test_over_http_and_from_python(self) -> None:
        server = self.txetcd_live(self.reactor)
        answer = await server.request("PUT", "/v2/keys/a", value="1")
        self.assertEqual((answer.status, answer.index), (201, 2))
        await server.store.set("/a", "2")
        answer = await server.request("GET", "/v2/keys/a")
        self.assertEqual(answer.json["node"]["value"], "2")
        self.assertEqual((await server.request("GET", "/v2/machines")).body, server.url.encode())

    async def test_with(self) -> None:
        async with LiveServer(self.reactor) as server:
            self.assertEqual((await server.request("GET", "/version")).status, 200)
        await self.assertFailure(server.request("GET", "/version"), ConnectionRefusedError)

    async def test_a_client_that_keeps_its_connection(self) -> None:
        server = self.txetcd_live(self.reactor)
        pool = HTTPConnectionPool(self.reactor)
        answer: Any = await Agent(self.reactor, pool=pool).request(b"GET", f"{server.url}/version".encode())
        await readBody(answer)
        await server.stop()
        await pool.closeCachedConnections()

    async def test_a_client_that_blocks(self) -> None:
        server = self.txetcd_live(self.reactor)
        self.assertEqual((await deferToThread(get, server, "/v2/keys/"))["action"], "get")

    async def test_the_server_is_away(self) -> None:
        server = self.txetcd_live(self.reactor)
        url = server.url
        await server.request("PUT", "/v2/keys/a", value="1")
        watch = await self.watch(server)
        server.hold_writes()
        held = server.store.set("/b", "2")
        await server.stop()
        await server.stop()
        self.assertEqual(((await held).index, await readBody(watch)), (3, b""))
        server.start()
        answer = await server.request("GET", "/v2/keys/a")
        self.assertEqual((answer.json["node"]["value"], server.url), ("1", url))

    async def test_connections_are_dropped(self) -> None:
        server = self.txetcd_live(self.reactor)
        body = readBody(await self.watch(server))
        server.drop_connections()
        await self.assertFailure(body, ResponseFailed)
        self.assertEqual((await server.request("GET", "/version")).status, 200)

    async def test_faults(self) -> None:
        server = self.txetcd_live(self.reactor, history_size=20)
        index = (await server.request("PUT", "/v2/keys/a", value="1")).index
        server.fail_next_write()
        self.assertEqual((await server.request("PUT", "/v2/keys/a", value="2")).json["errorCode"], 300)
        await server.lose_history()
        lost = await server.request("GET", "/v2/keys/a", wait=True, waitIndex=index)
        self.assertEqual(lost.json["errorCode"], 401)

    async def test_a_request_is_cancelled(self) -> None:
        server = self.txetcd_live(self.reactor)
        asked = server.request("GET", "/v2/keys/a", wait=True)
        while not server.store.watching:
            await server.request("GET", "/version")
        asked.cancel()
        self.assertTrue(asked.called)
        asked.addErrback(lambda _: None)

    async def test_another_has_the_port(self) -> None:
        server = self.txetcd_live(self.reactor, certificates=certificates())
        await server.stop()
        other: Any = self.reactor.listenTCP(server.port, Factory(), interface="127.0.0.1")
        self.addCleanup(other.stopListening)
        with self.assertRaises(CannotListenError):
            server.start()
        self.assertFalse(server.store.running or server.files.ca_file.exists())

    def test_no_port_before_the_start(self) -> None:
        with self.assertRaisesRegex(ValueError, "before it is started"):
            LiveServer(self.reactor).url  # noqa: B018

    async def watch(self, server: LiveServer) -> Any:
        """The answer to a watch, with its headers only."""
        return await server.agent.request(b"GET", f"{server.url}/v2/keys/a?wait=true".encode())


class ClockTests(LiveCase):
    async def test_time_passes_when_told(self) -> None:
        server = self.txetcd_live(self.reactor, clock=Clock())
        answer = await server.request("PUT", "/v2/keys/a", value="1", ttl=5)
        self.assertEqual(answer.json["node"]["expiration"], "2020-01-01T00:00:05Z")
        watch = server.store.watch("/a")
        server.advance(4)
        self.assertEqual((await server.request("GET", "/v2/keys/a")).json["node"]["ttl"], 1)
        server.advance(1)
        self.assertEqual((await watch).action, "expire")

    async def test_keys_run_out_while_it_is_away(self) -> None:
        server = self.txetcd_live(self.reactor, clock=Clock())
        await server.store.set("/a", "1", ttl=5)
        await server.stop()
        server.advance(5)
        server.start()
        await server.store.ready()
        self.assertEqual(await self.code(server.store.get("/a")), 100)

    def test_real_time_does_as_it_likes(self) -> None:
        with self.assertRaisesRegex(ValueError, "give the server a clock"):
            self.txetcd_live(self.reactor).advance(1)


class MutualTLSTests(LiveCase):
    def setUp(self) -> None:
        self.certificates = certificates()
        self.server = self.txetcd_live(self.reactor, certificates=self.certificates)

    async def test_with_a_certificate(self) -> None:
        self.assertTrue(self.server.url.startswith("https://127.0.0.1:"))
        self.assertEqual((await self.server.request("PUT", "/v2/keys/a", value="1")).status, 201)

    async def test_with_the_certificate_of_a_stranger(self) -> None:
        policy = self.certificates.policy(self.certificates.stranger)
        asked = Agent(self.reactor, policy).request(b"GET", f"{self.server.url}/version".encode())
        await self.assertFailure(asked, ResponseFailed, ResponseNeverReceived, ConnectError)

    async def test_a_client_that_blocks(self) -> None:
        files = self.server.files
        own = ssl.create_default_context(cafile=str(files.ca_file))
        own.load_cert_chain(files.client_cert_file, files.client_key_file)
        for context in (self.certificates.ssl_context(), own):
            told = await deferToThread(get, self.server, "/v2/keys/", context)
            self.assertEqual(told["action"], "get")

    async def test_files_go_with_the_server(self) -> None:
        files = self.server.files
        self.assertTrue(files.ca_file.exists())
        self.assertEqual(stat.S_IMODE(files.server_key_file.stat().st_mode), 0o600)
        await self.server.stop()
        self.assertFalse(files.ca_file.parent.exists())
        self.server.start()
        self.assertEqual((await self.server.request("GET", "/version")).status, 200)

    async def test_who_the_peer_is(self) -> None:
        """A certificate's common name is the name of a user."""
        store = self.server.store
        await store.set("/a", "1")
        await store.change_auth(CreateRole("readers", ("/a",), ()))
        await store.change_auth(CreateUser("root", hash_password(b"secret"), ()))
        await store.change_auth(CreateUser("alice", hash_password(b"other"), ("readers",)))
        await store.change_auth(EnableAuth())
        await self.server.request("GET", "/version")
        policy = self.certificates.policy(self.certificates.issue_client("alice"))
        agent = Agent(self.reactor, policy, pool=HTTPConnectionPool(self.reactor, persistent=False))
        answer: Any = await agent.request(b"GET", f"{self.server.url}/v2/keys/a".encode())
        self.assertEqual((answer.code, b'"value":"1"' in await readBody(answer)), (200, True))


class CertificatesTests(SynchronousTestCase):
    def test_those_of_the_process(self) -> None:
        self.assertIs(certificates(), certificates())
        self.assertNotEqual(Certificates.create().ca.certificate, certificates().ca.certificate)

    def test_what_they_are(self) -> None:
        made = certificates()
        for pair, name in ((made.client, "client"), (made.issue_client("alice"), "alice")):
            (attribute,) = pair.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            self.assertEqual((attribute.value, made.ca.has_signed(pair.certificate)), (name, True))
        self.assertFalse(made.ca.has_signed(made.stranger.certificate))
        self.assertEqual(made.stranger.certificate.subject, made.client.certificate.subject)
        (usage,) = [e for e in made.server.certificate.extensions if e.oid.dotted_string == "2.5.29.37"]
        self.assertEqual(list(usage.value), [ExtendedKeyUsageOID.SERVER_AUTH])

    def test_written(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        files = certificates().write(directory)
        self.assertEqual(len(list(directory.iterdir())), 7)
        self.assertEqual(files.stranger_key_file.read_bytes(), certificates().stranger.key_pem)


def get(server: LiveServer, path: str, context: ssl.SSLContext | None = None) -> Any:
    """Ask as a client that knows nothing of reactors does."""
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=context)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
