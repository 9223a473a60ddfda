"""The commands of docs/clustering.md, from certificates to passwords, as written but for ports."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.client_harness import eventually
from tests.cluster.members import etcd_program
from tests.documents import CHECKOUT, code_blocks
from tests.e2e import EndToEndCase, ServerProcess, free_port
from tests.test_main_job import curl_missing

ENGINE_CA, CLIENT_CA, MEMBER, GATEWAY, CLIENTS, PASSWORDS = code_blocks(
    CHECKOUT / "docs" / "clustering.md", "sh"
)[:6]

# What a question to a member needs, as a gateway asks it.
ASK = 'curl -sS --cacert engine-ca/ca.crt https://127.0.1.1:2379/v3/kv/range -d \'{"key": "AA=="}\''


def missing() -> str | None:
    """What is not there that the commands need."""
    if shutil.which("etcdctl") is None:
        return "there is no etcdctl"
    return curl_missing() or (None if etcd_program() else "there is no etcd")


class ClusteringTests(EndToEndCase):
    skip = missing()

    def setUp(self) -> None:
        super().setUp()
        self.ports = {f":{port}": f":{free_port()}" for port in (2379, 2380, 4001)}
        # The etcd to run goes before any other.
        (self.directory / "bin").mkdir()
        (self.directory / "bin" / "etcd").symlink_to(Path(etcd_program() or "").resolve())

    def script(self, text: str, n: int = 0) -> list[str]:
        """What runs a block of the document, or something like it, on machine `n`."""
        for port, free in self.ports.items():
            text = text.replace(port, free)
        return ["bash", "-ec", f'PATH="$PWD/bin:$PATH"\nn={n}\n{text}']

    def say(self, text: str) -> str:
        """What comes out of it when all is well."""
        ended = self.run_to_end(*self.script(text))
        self.assertEqual(ended.returncode, 0, ended)
        return ended.stdout

    def serve(self, n: int, *options: str) -> ServerProcess:
        """The gateway of machine `n`."""
        command = GATEWAY.replace("gateway1", f"gateway{n}").replace("127.0.1.1:4001", f"127.0.1.{n}:4001")
        command = command.replace("servers/127.0.1.1", f"servers/127.0.1.{n}")
        server = self.launch(self.script(f"exec {' '.join([command.strip(), *options])}"))
        server.wait_for("Serving on")
        return server

    def test_commands(self) -> None:
        self.say(ENGINE_CA)
        self.say(CLIENT_CA)
        for n in 1, 2, 3:
            self.launch(self.script(f"exec {MEMBER}", n))
        gateways = [self.serve(n) for n in (1, 2)]
        self.assertIn('"value":"Hello world"', self.say(CLIENTS).splitlines()[-1])
        self.passwords(gateways)
        self.revocation()

    def passwords(self, gateways: list[ServerProcess]) -> None:
        """With authentication on, a gateway needs its password, and no certificate stands in its way."""
        self.say(re.sub(r"(?m)user add (\w+)$", r"user add \1:secret", PASSWORDS))
        for gateway in gateways:
            gateway.stop()
        (self.directory / "password").write_text("gateway:secret\n")
        (self.directory / "password").chmod(0o600)
        for n in 1, 2:
            self.serve(n, "--engine-user-file", "password")
        self.assertIn('"value":"Hello world"', self.say(CLIENTS).splitlines()[-1])

    def revocation(self) -> None:
        """Members refuse a gateway whose certificate was revoked, and no other."""

        def ask(gateway: str) -> str:
            shown = f"--cert engine-ca/gateways/{gateway}.crt --key engine-ca/gateways/{gateway}.key"
            return self.run_to_end(*self.script(f"{ASK} {shown}")).stdout

        self.assertIn("user name is empty", ask("gateway3"))
        self.say("txetcd-ca revoke --dir engine-ca gateway3")
        eventually(lambda: not ask("gateway3"))
        self.assertIn("user name is empty", ask("gateway2"))
