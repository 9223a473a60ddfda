"""Users by their client certificates: whose name counts, and when."""

from __future__ import annotations

from types import SimpleNamespace

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.ssl import CertificateOptions
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from tests.auth_harness import Headers, UsersTestCase, basic, our_site, twisted_site
from tests.certificates import CLIENT, Credentials
from tests.tls_harness import MemoryClient, TLSCase
from txetcd.auth_commands import (
    DeleteUser,
)
from txetcd.peer import client_name
from txetcd.resources.keys import KeysResource
from txetcd.tls import client_auth_options, server_options


class CertificateTests(UsersTestCase, TLSCase):
    """The name in a client's certificate."""

    make_site = staticmethod(our_site)
    alice = TLSCase.ca.issue("alice", purposes=[CLIENT])
    mallory = TLSCase.ca.issue("mallory", purposes=[CLIENT])

    def setUp(self) -> None:
        TLSCase.setUp(self)
        UsersTestCase.setUp(self)

    def answers(
        self, client: Credentials, *requests: tuple[str, Headers], options: CertificateOptions | None = None
    ) -> list[int]:
        """The statuses of answers on one connection, the same under both Sites."""
        options = options or client_auth_options(self.cert_file, self.key_file, self.ca_file)
        told = []
        for make_site in (twisted_site, our_site):
            site = make_site(KeysResource(self.store), self.clock)
            connection = MemoryClient(options, self.context(client), factory=site)
            statuses = []
            for target, headers in requests:
                lines = [
                    f"GET {target} HTTP/1.1",
                    "Host: localhost",
                    *(": ".join(h) for h in headers),
                    "",
                    "",
                ]
                statuses.append(int(connection.exchange("\r\n".join(lines).encode())[9:12]))
            told.append(statuses)
            connection.server.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(told[0], told[1])
        return told[0]

    def test_user(self) -> None:
        """It is the user's, on all of the connection."""
        self.assertEqual(
            self.answers(self.alice, ("/app/x", []), ("/other", []), ("/app/y", [])), [404, 401, 404]
        )

    def test_unknown(self) -> None:
        """A name that is no user's is the guest's."""
        self.assertEqual(self.answers(self.mallory, ("/app/x", []), ("/open/x", [])), [401, 404])

    def test_password_first(self) -> None:
        """A password counts more, right or wrong."""
        self.assertEqual(
            self.answers(
                self.alice,
                ("/other", basic("root", "pw")),
                ("/app/x", basic("alice", "wrong")),
                ("/app/x", basic("mallory", "")),
                ("/app/x", [("Authorization", "Bearer x")]),
                ("/app/x", []),
            ),
            [404, 401, 401, 401, 404],
        )

    def test_root(self) -> None:
        root = self.ca.issue("root", purposes=[CLIENT])
        self.assertEqual(self.answers(root, ("/other", [])), [404])

    def test_leaf_only(self) -> None:
        """A CA called like a user makes nobody that user."""
        intermediate = self.ca.intermediate("alice")
        client = intermediate.issue("mallory", purposes=[CLIENT])
        self.assertEqual(self.answers(client, ("/app/x", [])), [401])

    def test_deleted(self) -> None:
        """A certificate that is still good is the guest's when its user has gone."""
        self.change(DeleteUser("alice"))
        self.assertEqual(self.answers(self.alice, ("/app/x", []), ("/open/x", [])), [401, 404])

    def test_not_verified(self) -> None:
        """Where clients are not asked for certificates, the name is nobody's."""
        options = server_options(self.cert_file, self.key_file)
        self.assertEqual(self.answers(self.alice, ("/app/x", []), options=options), [401])

    def test_shown_but_not_verified(self) -> None:
        """A certificate that a connection has not verified can be anybody's."""
        certificate = self.alice.certificate
        for mode, name in ((SSL.VERIFY_NONE, None), (SSL.VERIFY_PEER, "alice")):
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_verify(mode)
            connection = SimpleNamespace(
                get_context=lambda context=context: context, get_peer_certificate=lambda **_: certificate
            )
            transport = SimpleNamespace(getHandle=lambda connection=connection: connection)
            directlyProvides(transport, ISSLTransport)
            self.assertEqual(client_name(transport), name)

    def test_headers_do_not_count(self) -> None:
        headers = [("X-Client-CN", "alice"), ("X-SSL-Client-S-DN", "CN=alice"), ("Forwarded", "for=alice")]
        self.assertEqual(self.answers(self.mallory, ("/app/x", headers)), [401])
