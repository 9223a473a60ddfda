"""The page and who looks at it: by password, and by a client certificate in the browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from twisted.trial.unittest import SkipTest

from tests.certificates import CLIENT, LOOPBACK, SERVER, Authority, pem
from tests.dashboard_harness import BrowserCase
from tests.e2e import TWISTD, ServerProcess, free_port


class PasswordTests(BrowserCase):
    expected = ("401 (Unauthorized)",)

    def setUp(self) -> None:
        super().setUp()
        self.server = self.start()
        for path, body in (
            ("users/root", {"user": "root", "password": "pw"}),
            ("roles/app", {"role": "app", "permissions": {"kv": {"read": ["/app/*"], "write": ["/app/*"]}}}),
            ("users/ünï", {"user": "ünï", "password": "pä:ss", "roles": ["app"]}),
            ("roles/guest", {"role": "guest", "permissions": {"kv": {"read": ["/open/*"], "write": None}}}),
        ):
            self.tell("PUT", f"/v2/auth/{path}", body)
        self.server.request("PUT", "/v2/keys/app/k", value="secret")
        self.server.request("PUT", "/v2/keys/open/k", value="for all")
        self.tell("PUT", "/v2/auth/enable")

    def tell(self, method: str, path: str, body: object = None) -> None:
        """Change users or roles."""
        client = self.server.client()
        client._connection.request(method, quote(path), json.dumps(body).encode() if body else None)
        answer = client.answer()
        client.close()
        self.assertIn(answer.status, (200, 201), answer.body)

    def sign_in(self, user: str, password: str) -> None:
        page = self.page
        if not page.all("dialog"):
            page.find("#who summary").click()
            page.button("Sign in…").click()
        page.fill("dialog input[name=user]", user)
        page.fill("dialog input[name=password]", password)
        page.find("dialog button[type=submit]").click()

    def test_users(self) -> None:
        """Each sees what it may, and is told of it live."""
        page = self.page
        page.open(f"http://127.0.0.1:{self.server.port}/dashboard/")
        page.wait(lambda: page.names() == ["/open", "k"])
        self.assertEqual(page.text("#who summary"), "guest")
        page.choose("k")
        page.wait(lambda: page.value() == "for all")
        page.write("changed")
        page.button("Save").click()
        page.wait(lambda: "requires user authentication" in page.text("#said"))
        page.button("Revert").click()
        self.sign_in("ünï", "wrong")
        page.wait(lambda: page.text("dialog .wrong") == "User or password is wrong")
        self.sign_in("ünï", "pä:ss")
        page.wait(lambda: page.names() == ["/app", "k"])
        self.assertEqual(page.text("#who summary"), "ünï")
        page.wait(lambda: page.text("#state") == "live")
        page.choose("k")
        page.wait(lambda: page.value() == "secret")
        page.write("changed")
        page.button("Save").click()
        page.wait(lambda: "/app/k is saved" in page.text("#said"))
        page.wait(lambda: page.events() and page.events()[0][1:3] == ["compareAndSwap", "/app/k"])
        page.find("#who summary").click()
        page.button("Sign out").click()
        page.wait(lambda: page.names() == ["/open", "k"])

    def test_password_is_nowhere(self) -> None:
        """It is in memory alone, and gone with the page."""
        page = self.page
        page.open(f"http://127.0.0.1:{self.server.port}/dashboard/")
        self.sign_in("root", "pw")
        page.wait(lambda: page.names() == ["/", "app", "open"])
        kept = (
            "return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
        )
        self.assertNotIn("pw", page.run(kept))
        page.driver.refresh()
        page.wait(lambda: page.text("#who summary") == "guest")


class CertificateTests(BrowserCase):
    """A browser that has a client certificate in its user's own certificate store."""

    def setUp(self) -> None:
        for tool in ("certutil", "pk12util"):
            if shutil.which(tool) is None:
                raise SkipTest(f"{tool} is not installed")
        self.ca = Authority.create("test CA")
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        super().setUp()

    def launch_browser(self, home: Path | None = None, certificate_for: str = "") -> Any:
        """The browser of somebody who has a certificate, and has said that it is the one to show."""
        home = self.directory / "home"
        store = home / ".pki" / "nssdb"
        store.mkdir(parents=True)
        alice = self.ca.issue("alice", purposes=[CLIENT])
        bundle = self.directory / "client.p12"
        encryption = BestAvailableEncryption(b"pw")
        bundle.write_bytes(
            pkcs12.serialize_key_and_certificates(b"client", alice.key, alice.certificate, None, encryption)
        )
        for command in (
            ["certutil", "-N", "-d", f"sql:{store}", "--empty-password"],
            ["pk12util", "-i", str(bundle), "-d", f"sql:{store}", "-W", "pw"],
        ):
            subprocess.run(command, check=True, capture_output=True, timeout=30)
        return super().launch_browser(home, self.url)

    def serve(self) -> ServerProcess:
        """A server that lets in only those who have a certificate."""
        server = self.ca.issue("server", purposes=[SERVER], hosts=LOOPBACK)
        cert_file, key_file = server.write(self.directory, "server")
        ca_file = self.directory / "ca.crt"
        ca_file.write_bytes(pem(self.ca.certificate))
        files = (f"--cert-file={cert_file}", f"--key-file={key_file}", f"--ca-file={ca_file}")
        address = f"--addr=127.0.0.1:{self.port}"
        process = self.launch([*TWISTD, "--data-dir=data", address, *files], self.port)
        process.wait_for("Serving on")
        return process

    def test_certificate(self) -> None:
        """The page tells whose it is, and is as usable as without TLS."""
        self.serve()
        page = self.page
        page.open(f"{self.url}/dashboard/")
        page.wait(lambda: page.text("#state") == "live")
        self.assertEqual(page.text("#who summary"), "alice")
        page.find("#who summary").click()
        self.assertIn("CN=alice", page.text("#who .card"))
        self.assertIn("CN=test CA", page.text("#who .card"))
        page.find("#who summary").click()
        page.button("New key…").click()
        page.fill("dialog input[name=key]", "/k")
        page.button("Create").click()
        page.wait(lambda: page.names() == ["/", "k"])
        page.wait(lambda: page.events() and page.events()[0][1:3] == ["create", "/k"])
