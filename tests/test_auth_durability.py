"""Users and rights with a real server: by password, by certificate, over restarts and after a kill."""

from __future__ import annotations

import http.client
import json
import sqlite3
import ssl
from base64 import b64encode
from contextlib import closing
from typing import Any

from tests.certificates import CLIENT, LOOPBACK, SERVER, Authority, Credentials
from tests.e2e import TIMEOUT, Answer, EndToEndCase, ServerProcess, free_port
from txetcd.journal import CHECKPOINT_COMMANDS

ROOT = "root:pw"
ALICE = "alice:a"


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, credentials: str = "", body: Any = None
) -> Answer:
    """One request, with a name and password, if they are given."""
    headers = {"Authorization": "Basic " + b64encode(credentials.encode()).decode()} if credentials else {}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    return Answer(response.status, dict(response.getheaders()), response.read())


def setting_up() -> list[tuple[str, Any]]:
    """What makes alice, who may do everything below /app, and leaves nothing to guests."""
    rights = {"kv": {"read": ["/app/*"], "write": ["/app/*"]}}
    return [
        ("users/root", {"user": "root", "password": "pw"}),
        ("roles/app", {"role": "app", "permissions": rights}),
        ("users/alice", {"user": "alice", "password": "a", "roles": ["app"]}),
        ("roles/guest", {"role": "guest"}),
        ("enable", None),
    ]


class DurabilityTests(EndToEndCase):
    """What was answered is there for good."""

    def connect(self, server: ServerProcess) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
        self.addCleanup(connection.close)
        return connection

    def set_up(self, server: ServerProcess) -> http.client.HTTPConnection:
        connection = self.connect(server)
        for path, body in setting_up():
            answer = ask(connection, "PUT", f"/v2/auth/{path}", body=body)
            self.assertIn(answer.status, (200, 201), answer)
        return connection

    def assert_guarded(self, server: ServerProcess) -> None:
        """Everybody may do what they may, and no more."""
        connection = self.connect(server)
        for credentials, path, status in (
            ("", "/app/x", 401),
            (ALICE, "/app/x", (200, 201)),
            (ALICE, "/other", 401),
            ("alice:b", "/app/x", 401),
            (ROOT, "/other", (200, 201)),
        ):
            answer = ask(connection, "PUT", f"/v2/keys{path}?value=1", credentials)
            wanted = status if isinstance(status, tuple) else (status,)
            self.assertIn(answer.status, wanted, (credentials, path))
        users = ask(connection, "GET", "/v2/auth/users", ROOT).json["users"]
        self.assertEqual([user["user"] for user in users], ["alice", "root"])

    def test_restart(self) -> None:
        server = self.start()
        self.set_up(server)
        self.assert_guarded(server)
        server.stop()
        self.assert_guarded(self.start())

    def test_killed(self) -> None:
        """At once after the last answer."""
        server = self.start()
        self.set_up(server)
        server.kill()
        server = self.start()
        self.assert_guarded(server)
        disabled = ask(self.connect(server), "DELETE", "/v2/auth/enable", ROOT)
        self.assertEqual(disabled.status, 200)
        server.kill()
        self.assertEqual(ask(self.connect(self.start()), "GET", "/v2/keys/app/x").status, 200)

    def test_killed_after_checkpoints(self) -> None:
        """The log in which they were is gone by then."""
        server = self.start()
        connection = self.set_up(server)
        for number in range(2 * CHECKPOINT_COMMANDS + 50):
            answer = ask(connection, "PUT", f"/v2/keys/app/{number % 10}?value={number}", ALICE)
            self.assertIn(answer.status, (200, 201))
        server.kill()
        with closing(sqlite3.connect(self.data_dir / "txetcd.db")) as database:
            log = "".join(text for (text,) in database.execute("SELECT commands FROM log"))
            ((kept,),) = database.execute("SELECT auth FROM auth")
        self.assertNotIn("createUser", log)
        self.assertIn('"alice"', kept)
        self.assert_guarded(self.start())


class CertificateTests(EndToEndCase):
    """The name in a client's certificate is who they are."""

    ca = Authority.create("test CA")
    server = ca.issue("server", purposes=[SERVER], hosts=LOOPBACK)

    def connect(self, port: int, client: Credentials) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cadata=self.ca.certificate_pem.decode())
        context.load_cert_chain(*client.write(self.directory, "client"))
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=context)
        self.addCleanup(connection.close)
        return connection

    def test_certificates(self) -> None:
        """Alice's may write below /app and nowhere else; the others may not write at all."""
        cert_file, key_file = self.server.write(self.directory, "server")
        ca_file, _ = self.ca.write(self.directory, "ca")
        files = (f"--cert-file={cert_file}", f"--key-file={key_file}", f"--ca-file={ca_file}")
        port = free_port()
        server = self.start(f"--addr=127.0.0.1:{port}", *files)
        alice, bob, root = (
            self.connect(port, self.ca.issue(name, purposes=[CLIENT])) for name in ("alice", "bob", "root")
        )
        for path, body in setting_up():
            self.assertIn(ask(bob, "PUT", f"/v2/auth/{path}", body=body).status, (200, 201))
        refused = (401, {110})

        def write(client: http.client.HTTPConnection, key: str, credentials: str = "") -> Any:
            answer = ask(client, "PUT", f"/v2/keys{key}?value=1", credentials)
            return answer.status, {answer.json.get("errorCode")}

        self.assertEqual(write(alice, "/app/x"), (201, {None}))
        self.assertEqual(write(alice, "/other"), refused)
        self.assertEqual(write(bob, "/app/x"), refused)
        self.assertEqual(write(root, "/other"), (201, {None}))
        # A password goes before the certificate.
        self.assertEqual(write(bob, "/app/x", ALICE), (200, {None}))
        self.assertEqual(write(root, "/other", ALICE), refused)
        self.assertEqual(write(alice, "/app/x", "alice:wrong"), refused)
        # So does root's certificate for what only root may do.
        self.assertEqual(ask(alice, "DELETE", "/v2/auth/enable").status, 401)
        self.assertEqual(ask(root, "DELETE", "/v2/auth/users/alice").status, 200)
        self.assertEqual(write(alice, "/app/x"), refused)
        self.assertEqual(ask(root, "DELETE", "/v2/auth/enable").status, 200)
        self.assertEqual(write(bob, "/app/x"), (200, {None}))
        server.stop()
