"""txetcd.tls.endpoints: ssl: strings, mtls: strings, cipher suites, and every kind of key."""

from __future__ import annotations

import ssl
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from zope.interface.verify import verifyObject

from tests.certificates import CLIENT, LOOPBACK, SERVER, Authority, PrivateKey
from tests.tls_harness import MemoryClient, Recorder, TLSCase
from txetcd.peer import client_certificate, client_name
from txetcd.tls import TLSError, client_auth_options, server_options
from txetcd.tls.connection import Factory
from txetcd.tls.endpoints import server_endpoint
from txetcd.tls.files import files
from txetcd.tls.keeper import Keeper
from txetcd.tls.policy import Policy, suite

PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL


class EndpointCase(TLSCase):
    def listen(self, endpoint: IStreamServerEndpoint, reactor: MemoryReactorClock) -> tuple[Any, ...]:
        """Listen in memory: port, factory, backlog and interface."""
        verifyObject(IStreamServerEndpoint, endpoint)
        self.successResultOf(endpoint.listen(Recorder()))
        [server] = reactor.tcpServers
        self.assertIsInstance(server[1], Factory)
        return server


class ServerEndpointTests(EndpointCase):
    def endpoint(self, ask_clients: bool, host: str = "127.0.0.1") -> tuple[Any, ...]:
        reactor = MemoryReactorClock()
        keeper = self.keeper(clock=reactor)
        return self.listen(
            server_endpoint(reactor, keeper, host, 4001, ask_clients=ask_clients, timeout=3), reactor
        )

    def test_without_client_certificates(self) -> None:
        """Twisted reads the string of the ssl: endpoint; the TLS is ours."""
        for host in ("127.0.0.1", "::1", ""):
            port, factory, backlog, interface = self.endpoint(False, host)
            self.assertEqual((port, backlog, interface), (4001, 4096, host))
            self.assertEqual(factory.timeout, 3)
            self.assertEqual(MemoryClient(factory, self.context()).exchange(), b"served")

    def test_with_client_certificates(self) -> None:
        port, factory, backlog, interface = self.endpoint(True, "::1")
        self.assertEqual((port, backlog, interface), (4001, 4096, "::1"))
        client = self.ca.issue("client", purposes=[CLIENT])
        self.assertEqual(MemoryClient(factory, self.context(client)).exchange(), b"served")
        self.assertRaises(ssl.SSLError, MemoryClient(factory, self.context()).exchange)

    def test_special_characters_in_paths(self) -> None:
        """Colons, backslashes and equals signs have a meaning in string endpoints."""
        directory = self.directory / "a:b=c\\d e"
        directory.mkdir()
        self.cert_file, self.key_file = self.server.write(directory, "x:1=\\:")
        factory = self.endpoint(False)[1]
        self.assertEqual(MemoryClient(factory, self.context()).exchange(), b"served")

    def test_chain_is_sent(self) -> None:
        """The client, which knows only the root, can verify a server below two intermediates."""
        below = self.ca.intermediate("first").intermediate("second")
        self.cert_file, self.key_file = below.issue("server", purposes=[SERVER], hosts=LOOPBACK).write(
            self.directory, "below"
        )
        for content in (self.cert_file.read_bytes(), self.cert_file.read_bytes().replace(b"\n", b"\r\n")):
            self.cert_file.write_bytes(content)
            factory = self.endpoint(False)[1]
            self.assertEqual(MemoryClient(factory, self.context()).exchange(), b"served")


class MutualTests(EndpointCase):
    def description(self, **more: object) -> str:
        arguments = {"privateKey": self.key_file, "certKey": self.cert_file, "caCerts": self.ca_file, **more}
        parts = [f"{name}={quoteStringArgument(str(value))}" for name, value in arguments.items()]
        return ":".join(["mtls", "4001", *parts])

    def factory(self, **more: object) -> Factory:
        reactor = MemoryReactorClock()
        factory = self.listen(serverFromString(reactor, self.description(**more)), reactor)[1]
        assert isinstance(factory, Factory)
        return factory

    def test_serves_clients_of_the_ca(self) -> None:
        client = self.ca.issue("client", purposes=[CLIENT])
        other = Authority.create("other CA").issue("client", purposes=[CLIENT])
        self.assertEqual(MemoryClient(self.factory(), self.context(client)).exchange(), b"served")
        for credentials in (None, other):
            connection = MemoryClient(self.factory(), self.context(credentials))
            self.assertRaises(ssl.SSLError, connection.exchange)

    def test_options(self) -> None:
        alice, bob = (self.ca.issue(name, purposes=[CLIENT]) for name in ("alice", "bob"))
        crl = self.ca.revoke(alice.certificate).public_bytes(serialization.Encoding.PEM)
        factory = self.factory(crl=self.file("ca.crl", crl))
        self.assertRaises(ssl.SSLError, MemoryClient(factory, self.context(alice)).exchange)
        self.assertEqual(MemoryClient(factory, self.context(bob)).exchange(), b"served")
        factory = self.factory(allowedCN="alice,eve", timeout=2.5, interface="::1")
        self.assertEqual(factory.timeout, 2.5)
        self.assertEqual(MemoryClient(factory, self.context(alice)).exchange(), b"served")
        self.assertEqual(MemoryClient(factory, self.context(bob)).exchange(), b"")
        factory = self.factory(allowedHostname="alice")
        self.assertEqual(MemoryClient(factory, self.context(bob)).exchange(), b"")

    def test_nobody_needs_a_reactor_to_try_it_out(self) -> None:
        serverFromString(None, self.description())

    def test_what_is_wrong(self) -> None:
        for more, message in (
            ({"caCerts": "/missing"}, "mtls: caCerts= /missing cannot be read"),
            ({"certKey": self.key_file}, "mtls: certKey= .* holds no certificate in PEM form"),
            ({"privateKey": self.cert_file}, "mtls: privateKey= .* holds no private key in PEM form"),
            ({"crl": self.cert_file}, "mtls: crl= .* holds no CRL"),
        ):
            error = self.assertRaises(TLSError, serverFromString, None, self.description(**more))
            self.assertRegex(str(error), message)
        self.assertRaises(TypeError, serverFromString, None, self.description(nonsense=1))


class KeyTests(TLSCase):
    def pairs(self) -> list[tuple[PrivateKey, list[serialization.PrivateFormat]]]:
        return [
            (rsa.generate_private_key(65537, 2048), [PKCS8, TRADITIONAL]),
            (ec.generate_private_key(ec.SECP256R1()), [PKCS8, TRADITIONAL]),
            (ec.generate_private_key(ec.SECP384R1()), [PKCS8, TRADITIONAL]),
            (ed25519.Ed25519PrivateKey.generate(), [PKCS8]),
        ]

    def test_every_kind_in_every_form(self) -> None:
        for key, forms in self.pairs():
            certificate = self.ca.issue("server", purposes=[SERVER], hosts=LOOPBACK, key=key)
            client = self.ca.issue("client", purposes=[CLIENT], key=key)
            for form in forms:
                content = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
                self.file("server.crt", certificate.certificate_pem)
                self.file("server.key", content)
                reactor = MemoryReactorClock()
                keeper = self.keeper(clock=reactor)
                for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                    connection = MemoryClient(keeper, self.context(client, version))
                    self.assertEqual(connection.exchange(), b"served", (key, form))
                # Twisted can read the pair too.
                server_endpoint(reactor, keeper, "", 1, ask_clients=False)


class PolicyTests(TLSCase):
    def connect(self, policy: Policy, **limits: ssl.TLSVersion) -> MemoryClient:
        context = self.context(self.ca.issue("client", purposes=[CLIENT]))
        for name, value in limits.items():
            setattr(context, name, value)
        return MemoryClient(self.keeper(policy=policy), context)

    def test_minimum(self) -> None:
        policy = Policy("TLS1.3")
        self.assertEqual(self.connect(policy).exchange(), b"served")
        old = self.connect(policy, maximum_version=ssl.TLSVersion.TLSv1_2)
        error = self.assertRaises(ssl.SSLError, old.exchange)
        self.assertIn("ALERT_PROTOCOL_VERSION", error.reason)

    def test_suites(self) -> None:
        policy = Policy(
            suites=(suite("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"), suite("TLS_CHACHA20_POLY1305_SHA256"))
        )
        for version, expected in (
            (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-GCM-SHA384"),
            (ssl.TLSVersion.TLSv1_3, "TLS_CHACHA20_POLY1305_SHA256"),
        ):
            connection = self.connect(policy, maximum_version=version)
            connection.exchange()
            cipher = connection.tls.cipher()
            assert cipher is not None
            self.assertEqual(cipher[0], expected)

    def test_suites_that_do_not_go_with_the_key(self) -> None:
        suites = (suite("ECDHE-RSA-AES128-GCM-SHA256"),)
        error = self.assertRaises(TLSError, self.keeper, policy=Policy(suites=suites))
        self.assertRegex(
            str(error),
            "--cipher-suites has none for TLS 1.2 that goes with the EC key of --cert-file .*/server.crt; "
            "add one with ECDSA in its name, or give --tls-min-version TLS1.3",
        )
        self.keeper(policy=Policy("TLS1.3", suites))


class PeerTests(TLSCase):
    def test_name(self) -> None:
        client = self.ca.issue("alice", purposes=[CLIENT])
        for options in (self.keeper(), client_auth_options(self.cert_file, self.key_file, self.ca_file)):
            connection = MemoryClient(options, self.context(client))
            connection.exchange()
            self.assertEqual(client_certificate(connection.server), client.certificate)
            self.assertEqual(client_name(connection.server), "alice")

    def test_nobody(self) -> None:
        """Nobody has verified a certificate that was not asked for."""
        client = self.ca.issue("alice", purposes=[CLIENT])
        connection = MemoryClient(server_options(self.cert_file, self.key_file), self.context(client))
        connection.exchange()
        self.assertIsNone(client_name(connection.server))
        self.assertIsNone(client_name(connection.transport))

    def test_after_a_resumption(self) -> None:
        keeper = Keeper(files(self.cert_file, self.key_file, self.ca_file), Policy(), Clock())
        context = self.context(self.ca.issue("alice", purposes=[CLIENT]))
        first = MemoryClient(keeper, context)
        first.exchange()
        again = MemoryClient(keeper, context, session=first.tls.session)
        again.exchange()
        self.assertTrue(again.tls.session_reused)
        self.assertEqual(client_name(again.server), "alice")
