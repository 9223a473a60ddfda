"""node-etcd against a real server with client certificates.

It is looked for where node looks: `npm install --ignore-scripts --prefix DIR node-etcd@7.0.0`, and then
`NODE_PATH=DIR/node_modules` in the environment.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.client_harness import CA_FILE, CLIENT_CERT_FILE, CLIENT_KEY_FILE, ClientCase
from tests.e2e import TIMEOUT

NODE = shutil.which("node") or "node"
SCRIPT = str(Path(__file__).parent / "node_etcd.js")


def node_etcd_missing() -> str | None:
    """Why the tests cannot run, if they cannot."""
    if shutil.which(NODE) is None:
        return "node is not installed"
    loaded = subprocess.run([NODE, "-e", "require('node-etcd')"], capture_output=True, timeout=TIMEOUT)
    return None if loaded.returncode == 0 else "node-etcd is not installed where NODE_PATH says"


class NodeEtcdTests(ClientCase):
    """Each scenario of the script goes well."""

    skip = node_etcd_missing()

    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve("--history-size=5")

    def command(self, scenario: str) -> list[str]:
        """The command that plays a scenario."""
        return [NODE, SCRIPT, scenario, self.url, CA_FILE, CLIENT_CERT_FILE, CLIENT_KEY_FILE]

    def play(self, scenario: str, *steps: str) -> None:
        """Play a scenario; it must take these steps."""
        ended = self.run_to_end(*self.command(scenario))
        self.assertEqual(
            (ended.stdout, ended.returncode), ("".join(f"ok {step}\n" for step in steps), 0), ended
        )

    def test_keys(self) -> None:
        """Everything that reads and writes keys."""
        self.play("keys", "set and get", "compare", "directories", "synchronous")

    def test_companions(self) -> None:
        """Leader, machines, statistics and version."""
        self.play("companions", "companions")

    def test_refused(self) -> None:
        """Without a certificate there is no connection."""
        self.play("refused", "refused")

    def test_watches(self) -> None:
        """Watches, and the watcher that begins anew when what it asks for is not kept any more."""
        self.play("watches", "watch with index", "resync", "watcher")

    def test_restart(self) -> None:
        """The watcher goes on when the server has been stopped and started again."""
        watching = self.launch(self.command("restart"))
        self.wait_for_watches()
        self.server.stop()
        watching.wait_for("ok reconnect")
        self.serve()
        self.wait_for_watches()
        self.connect().request("PUT", "/v2/keys/w/x", value="y")
        watching.wait_for("ok restart")
        self.assertEqual(watching.process.wait(TIMEOUT), 0)
