"""txetcd-ca as documented and as it prints: with real servers, curl, OpenSSL and, where installed, etcd."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys

from twisted.trial.unittest import SkipTest

from tests.client_harness import eventually
from tests.documents import HTTPS, code_blocks
from tests.e2e import EndToEndCase, ServerProcess, free_port
from tests.test_examples import examples, matches
from tests.test_main_job import curl_missing

# The command, without the need for an installed one.
TXETCD_CA = (sys.executable, "-c", "from txetcd.ca.command import main; main()")

# The commands of "The quick way", each with what it prints.
QUICK_WAY = [
    (command, shown)
    for command, shown in examples(code_blocks(HTTPS, "console"))
    if command.startswith("txetcd-ca ") or " ca/ca.crt " in command
]


class LiveCase(EndToEndCase):
    """Runs commands as they are printed, but for the port."""

    skip = curl_missing()

    def setUp(self) -> None:
        super().setUp()
        self.port = free_port()

    def say(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        program, *arguments = shlex.split(command.replace(":4001", f":{self.port}"))
        if program == "curl":
            more = ("-sS", *more)
        return self.run_to_end(*(TXETCD_CA if program == "txetcd-ca" else (program,)), *arguments, *more)

    def printed(self, command: str) -> str:
        """What a command prints when all is well."""
        ended = self.say(command)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), command)
        return ended.stdout

    def next_command(self, output: str, program: str) -> str:
        """The command line for that program in what another has printed."""
        (line,) = re.findall(rf"(?m)^  ({program} .*)$", output)
        return str(line)

    def serve(self, command: str) -> ServerProcess:
        """Start a server and wait until it serves."""
        server = self.launch(shlex.split(command.replace(":4001", f":{self.port}")))
        server.wait_for("Serving on")
        return server

    def certificates(self) -> str:
        """Make a CA, a server and two clients; the server's command line."""
        server = self.next_command(self.printed("txetcd-ca init"), "txetcd-ca server")
        command = self.next_command(self.printed(server), "twistd")
        for name in ("alice", "bob"):
            self.printed(f"txetcd-ca client {name}")
        return command


class QuickWayTests(LiveCase):
    def test_documented_commands(self) -> None:
        server = None
        for command, shown in QUICK_WAY:
            if command.startswith("twistd "):
                server = self.serve(command)
                continue
            printed = self.printed(command).splitlines()
            self.assertEqual(len(printed), len(shown), printed)
            for expected, line in zip(shown, printed, strict=True):
                self.assertTrue(matches(expected, line), line)
        self.assertEqual(len(QUICK_WAY), 5)
        assert server is not None
        server.stop()

    def test_each_command_prints_the_next(self) -> None:
        server = self.next_command(self.printed("txetcd-ca init --dir 'my ca'"), "txetcd-ca server")
        said = self.printed(server)
        self.serve(self.next_command(said, "twistd"))
        curl = self.next_command(self.printed(self.next_command(said, "txetcd-ca client")), "curl")
        self.assertIn('"action":"get"', self.printed(curl))
        self.assertEqual(self.say(curl, "--tls-max", "1.2").returncode, 0)
        without = re.sub(r" --(cert|key) ('[^']*'|\S+)", "", curl)
        self.assertIn(self.say(without).returncode, (35, 56))

    def test_revoked_client(self) -> None:
        server = self.serve(self.certificates())
        curls = {
            name: f"curl --cacert ca/ca.crt --cert ca/clients/{name}.crt --key ca/clients/{name}.key "
            "https://localhost:4001/v2/keys/"
            for name in ("alice", "bob")
        }
        for curl in curls.values():
            self.assertIn('"action":"get"', self.printed(curl))
        self.printed("txetcd-ca revoke alice")
        # The running server sees for itself that the list has changed.
        eventually(lambda: "certificate revoked" in self.say(curls["alice"]).stderr)
        self.assertIn('"action":"get"', self.printed(curls["bob"]))
        server.stop()


class OpenSSLTests(LiveCase):
    def verify(self, path: str, purpose: str, *more: str) -> str:
        """What OpenSSL, as strict as it can be, thinks of a certificate."""
        if shutil.which("openssl") is None:
            raise SkipTest("openssl is not installed")
        strict = ("-x509_strict", "-policy_check", "-CAfile", "ca/ca.crt", "-auth_level", "2")
        ended = self.run_to_end("openssl", "verify", *strict, "-purpose", purpose, *more, path)
        return ended.stdout + ended.stderr

    def test_strict(self) -> None:
        self.certificates()
        self.printed("txetcd-ca revoke bob")
        crl = ("-crl_check", "-CRLfile", "ca/ca.crl")
        server, alice, bob = "ca/servers/localhost.crt", "ca/clients/alice.crt", "ca/clients/bob.crt"
        for path, purpose in ((server, "sslserver"), (alice, "sslclient"), ("ca/ca.crt", "any")):
            self.assertEqual(self.verify(path, purpose), f"{path}: OK\n")
            self.assertEqual(self.verify(path, purpose, *crl), f"{path}: OK\n")
        self.assertIn("certificate revoked", self.verify(bob, "sslclient", *crl))
        self.printed("txetcd-ca member a.lan")
        for purpose in "sslserver", "sslclient":
            self.assertEqual(self.verify("ca/members/a.lan.crt", purpose), "ca/members/a.lan.crt: OK\n")
        for path, purpose in ((server, "sslclient"), (alice, "sslserver")):
            self.assertIn("purpose", self.verify(path, purpose))
        for host in ("localhost", "127.0.0.1", "::1"):
            kind = "-verify_hostname" if host == "localhost" else "-verify_ip"
            self.assertEqual(self.verify(server, "sslserver", kind, host), f"{server}: OK\n")


class EtcdTests(LiveCase):
    """The real etcd and its etcdctl: Go's TLS on both sides."""

    def serve_etcd(self, *more: str) -> ServerProcess:
        """Start etcd with the certificates."""
        if shutil.which("etcd") is None or shutil.which("etcdctl") is None:
            raise SkipTest("etcd is not installed")
        url, peers = f"https://localhost:{self.port}", f"http://127.0.0.1:{free_port()}"
        etcd = self.launch(
            [
                *("etcd", "--enable-v2", "--data-dir", "etcd", "--logger", "zap"),
                *("--listen-client-urls", f"https://127.0.0.1:{self.port}", "--advertise-client-urls", url),
                *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
                *(
                    "--initial-cluster",
                    f"default={peers}",
                    "--client-cert-auth",
                    "--trusted-ca-file",
                    "ca/ca.crt",
                ),
                *("--cert-file", "ca/servers/localhost.crt", "--key-file", "ca/servers/localhost.key", *more),
            ]
        )
        etcd.wait_for("serving client")
        return etcd

    def etcdctl(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Ask etcd as that client, through its v3 API."""
        files = (
            "--cacert",
            "ca/ca.crt",
            "--cert",
            f"ca/clients/{name}.crt",
            "--key",
            f"ca/clients/{name}.key",
        )
        endpoint = ("--endpoints", f"https://localhost:{self.port}")
        return self.run_to_end("env", "ETCDCTL_API=3", "etcdctl", *endpoint, *files, *arguments)

    def test_etcd_and_etcdctl(self) -> None:
        self.certificates()
        self.printed("txetcd-ca revoke bob")
        etcd = self.serve_etcd("--client-crl-file", "ca/ca.crl")
        ended = self.etcdctl("alice", "put", "a", "b")
        self.assertEqual((ended.returncode, ended.stdout), (0, "OK\n"), ended)
        refused = self.etcdctl("bob", "--dial-timeout=1s", "--command-timeout=1s", "put", "a", "c")
        self.assertNotEqual(refused.returncode, 0, refused)
        etcd.wait_for(" revoked")
        self.assertIn("b", self.etcdctl("alice", "get", "a").stdout.split())
        curl = "curl --cacert ca/ca.crt --cert ca/clients/alice.crt --key ca/clients/alice.key"
        self.assertIn('"action":"get"', self.printed(f"{curl} https://127.0.0.1:4001/v2/keys/"))

    def test_etcdctl_with_our_server(self) -> None:
        server = self.serve(self.certificates())
        if shutil.which("etcdctl") is None:
            raise SkipTest("etcdctl is not installed")
        files = "--ca-file ca/ca.crt --cert-file ca/clients/alice.crt --key-file ca/clients/alice.key"
        endpoint = f"--endpoints https://localhost:{self.port}"
        etcdctl = f"env ETCDCTL_API=2 etcdctl {endpoint} {files}"
        self.assertEqual(self.say(f"{etcdctl} set /a b").stdout, "b\n")
        self.assertEqual(self.say(f"{etcdctl} get /a").stdout, "b\n")
        server.stop()
