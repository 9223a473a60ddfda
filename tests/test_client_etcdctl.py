"""etcdctl, of every version that is installed, against a real server with client certificates.

What it prints and its exit status are what they are with the real etcd: where that is installed, it is asked
the same.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from tests.client_harness import (
    CA_FILE,
    CLIENT_CERT_FILE,
    CLIENT_KEY_FILE,
    SERVER_CERT_FILE,
    SERVER_KEY_FILE,
    ClientCase,
)
from tests.e2e import SCRIPTS, TIMEOUT, ServerProcess, free_port

# After the commands in {d}, a directory of their own, what comes of them.  {+2} is the index of the second
# write; a status is only given if it is not 0.
STORY = """\
$ mk {d}/a one
one
$ mk {d}/a two
Error:  105: Key already exists ({d}/a) [{+1}]
status 4
$ get {d}/a
one
$ get -q {d}/a
one
$ get {d}/none
Error:  100: Key not found ({d}/none) [{+1}]
status 4
$ set {d}/a two
two
$ set --swap-with-value two {d}/a three
three
$ set --swap-with-value two {d}/a four
Error:  101: Compare failed ([two != three]) [{+3}]
status 4
$ set --swap-with-index {+3} {d}/a four
four
$ set --swap-with-index {+3} {d}/a five
Error:  101: Compare failed ([{+3} != {+4}]) [{+4}]
status 4
$ set -- {d}/a -five
-five
$ update {d}/a five
five
$ update {d}/none five
Error:  100: Key not found ({d}/none) [{+6}]
status 4
$ mkdir {d}/sub
$ mkdir {d}/sub
Error:  105: Key already exists ({d}/sub) [{+7}]
status 4
$ setdir {d}/sub
Error:  102: Not a file ({d}/sub) [{+7}]
status 4
$ setdir --ttl 100 {d}/set
$ updatedir --ttl 100 {d}/sub
$ updatedir {d}/none
Error:  100: Key not found ({d}/none) [{+9}]
status 4
$ set {d}/sub/x/y z
z
$ set {d}/sub/_hidden z
z
$ ls --sort {d}
{d}/a
{d}/set
{d}/sub
$ ls -p --sort {d}
{d}/a
{d}/set/
{d}/sub/
$ ls -r -p --sort {d}
{d}/a
{d}/set/
{d}/sub/
{d}/sub/x/
{d}/sub/x/y
$ ls {d}/a
{d}/a
$ ls -q {d}/none
Error:  100: Key not found ({d}/none) [{+11}]
status 4
$ get {d}/sub
{d}/sub: is a directory
status 1
$ set {d}/sub v
Error:  102: Not a file ({d}/sub) [{+11}]
status 4
$ rm {d}/sub
Error:  102: Not a file ({d}/sub) [{+11}]
status 4
$ rm --with-value nope {d}/a
Error:  101: Compare failed ([nope != five]) [{+11}]
status 4
$ rm --with-index {+5} {d}/a
Error:  101: Compare failed ([{+5} != {+6}]) [{+11}]
status 4
$ rm --with-value five {d}/a
$ set {d}/a six
six
$ rm {d}/a
PrevNode.Value: six
$ rmdir {d}/sub
Error:  108: Directory not empty ({d}/sub) [{+14}]
status 4
$ rmdir {d}/set
$ rm --recursive {d}/sub
$ rm --recursive {d}/sub
Error:  100: Key not found ({d}/sub) [{+16}]
status 4
$ -o json set {d}/j v
{"action":"set","node":{"key":"{d}/j","value":"v","nodes":null,"createdIndex":{+17},"modifiedIndex":{+17}},"prevNode":null}
$ -o extended get {d}/j
Key: {d}/j
Created-Index: {+17}
Modified-Index: {+17}
TTL: 0
Index: {+17}

v
$ -o json get {d}/j
{"action":"get","node":{"key":"{d}/j","value":"v","nodes":null,"createdIndex":{+17},"modifiedIndex":{+17}},"prevNode":null}
$ mk --in-order {d}/q first
first
$ watch --after-index {+1} {d}/a
two
$ watch --after-index {+5} {d}/a
five
$ watch -r --after-index {+17} {d}
[create] {d}/q/{+18:020}
first
$ watch -r --after-index {+16} {d}/j
[set] {d}/j
v
"""


def installed(name: str, version: str) -> dict[str, str]:
    """The programs of that name, by version: the one beside the tests' Python, and those in PATH.

    @param version: a pattern of what a program has to say of itself, with its version as a group.
    """
    found: dict[str, str] = {}
    for directory in [str(SCRIPTS), *os.environ.get("PATH", os.defpath).split(os.pathsep)]:
        program = Path(directory) / name
        if os.access(program, os.X_OK):
            said = subprocess.run(
                [program, "--version"],
                env={**os.environ, "ETCDCTL_API": "2"},
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
            if match := re.search(version, said.stdout):
                found.setdefault(match[1], str(program))
    return found


ETCDCTLS = installed("etcdctl", r"etcdctl version: (\S+)\n.*API version: 2\n")
# 3.5 refuses some TTLs of directories that 3.4 takes.
ETCD = next(iter(installed("etcd", r"etcd Version: (3\.4\.\d+)").values()), None)


class EtcdctlCase(ClientCase):
    """Runs etcdctl, each version in its turn."""

    skip = None if ETCDCTLS else "etcdctl is not installed, or knows no v2 API"

    def command(self, program: str, *arguments: str) -> list[str]:
        """The whole command."""
        unset = [f"-u{name}" for name in os.environ if name.startswith("ETCDCTL_")]
        certificates = (
            f"--cert-file={CLIENT_CERT_FILE}",
            f"--key-file={CLIENT_KEY_FILE}",
            f"--ca-file={CA_FILE}",
        )
        options = (f"--endpoints={self.url}", *certificates, f"--total-timeout={TIMEOUT:.0f}s")
        return ["env", *unset, "ETCDCTL_API=2", program, *options, *arguments]

    def etcdctl(self, program: str, *arguments: str) -> str:
        """Run a command to its end; all that it prints, and its exit status if that is not 0."""
        ended = self.run_to_end(*self.command(program, *arguments))
        output = (ended.stdout + ended.stderr).rstrip()
        return f"{output}\nstatus {ended.returncode}".lstrip() if ended.returncode else output

    def index(self) -> int:
        """The server's index."""
        return self.connect().request("GET", "/v2/keys/").index

    def assert_story(self) -> None:
        """All of the story comes true, with each etcdctl."""
        for version, program in ETCDCTLS.items():
            directory, base = f"/{version}", self.index()

            def concrete(text: str, directory: str = directory, base: int = base) -> str:
                text = text.replace("{d}", directory)
                return re.sub(
                    r"\{\+(\d+)(:\d+)?\}", lambda m: format(base + int(m[1]), (m[2] or ":")[1:]), text
                )

            for step in STORY.removeprefix("$ ").split("\n$ "):
                command, _, expected = concrete(step).partition("\n")
                self.assertEqual(
                    self.etcdctl(program, *shlex.split(command)), expected.rstrip(), f"{version}: {command}"
                )


class EtcdctlTests(EtcdctlCase):
    """etcdctl and txetcd."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve("--name=machine0")

    def test_story(self) -> None:
        """Everything that reads and writes keys."""
        self.assert_story()

    def test_root(self) -> None:
        """The root is listed."""
        for program in ETCDCTLS.values():
            self.assertEqual(self.etcdctl(program, "set", "/x/y", "z"), "z")
            self.assertEqual(self.etcdctl(program, "ls"), "/x")
            self.assertEqual(self.etcdctl(program, "ls", "-r", "-p", "/"), "/x/\n/x/y")
            self.assertEqual(
                self.etcdctl(program, "rm", "-r", "/"),
                f"Error:  107: Root is read only (/) [{self.index()}]\nstatus 4",
            )
            self.assertEqual(self.etcdctl(program, "rm", "-r", "/x"), "")

    def test_ttl(self) -> None:
        """A ttl goes along with all that take one, and in time what it was given to goes."""
        client = self.connect()
        for program in ETCDCTLS.values():
            for command in (
                "set --ttl 100 /t v",
                "update --ttl 100 /t v",
                "mk --ttl 100 /m v",
                "mkdir --ttl 100 /d",
            ):
                key = command.split()[3]
                self.assertNotIn("status", self.etcdctl(program, *command.split()))
                self.assertIn(client.request("GET", f"/v2/keys{key}").json["node"]["ttl"], (99, 100))
            for key in ("/t", "/m", "/d"):
                client.request("DELETE", f"/v2/keys{key}?recursive=true")
            self.etcdctl(program, "set", "--ttl", "1", "/brief", "v")
            self.assertEqual(
                self.etcdctl(program, "watch", "-r", "--after-index", str(self.index()), "/brief"),
                "[expire] /brief",
            )

    def test_watches(self) -> None:
        """`watch --forever` prints, and `exec-watch` runs, every time that something changes."""
        client = self.connect()
        script = 'echo "$ETCD_WATCH_ACTION $ETCD_WATCH_KEY=$ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX."'
        for program in ETCDCTLS.values():
            watching = self.launch(self.command(program, "watch", "-f", "-r", "/w"))
            once = self.launch(self.command(program, "watch", "/w/x"))
            running = self.launch(self.command(program, "exec-watch", "-r", "/w", "--", "sh", "-c", script))
            self.wait_for_watches(3)
            first = client.request("PUT", "/v2/keys/w/x?value=one").index
            watching.wait_for("[set] /w/x")
            running.wait_for(f"set /w/x=one {first}.")
            self.assertEqual(once.process.wait(TIMEOUT), 0)
            once.wait_for("one")
            self.wait_for_watches(2)
            client.request("PUT", "/v2/keys/w/y?value=two")
            watching.wait_for("two")
            running.wait_for(f"set /w/y=two {first + 1}.")
            self.wait_for_watches(2)
            client.request("DELETE", "/v2/keys/w/x")
            watching.wait_for("[delete] /w/x")
            running.wait_for(f"delete /w/x= {first + 2}.")
            watching.kill()
            running.kill()
            self.wait_for_watches(0)

    def test_cluster(self) -> None:
        """The members, and how they are."""
        member = self.connect().request("GET", "/v2/members").json["members"][0]["id"]
        for program in ETCDCTLS.values():
            self.assertEqual(
                self.etcdctl(program, "member", "list"),
                f"{member}: name=machine0 peerURLs= clientURLs={self.url} isLeader=true",
            )
            self.assertEqual(
                self.etcdctl(program, "cluster-health"),
                f"member {member} is healthy: got healthy result from {self.url}\ncluster is healthy",
            )

    def test_refused(self) -> None:
        """Without a certificate there is no connection."""
        for program in ETCDCTLS.values():
            arguments = [f"--endpoints={self.url}", f"--ca-file={CA_FILE}", "set", "/x", "y"]
            ended = self.run_to_end("env", "ETCDCTL_API=2", program, *arguments)
            self.assertEqual((ended.returncode, ended.stdout), (4, ""), ended)
            # The alert that is sent under TLS 1.3, or that under TLS 1.2.
            self.assertRegex(ended.stderr, "remote error: tls: (certificate required|handshake failure)")
        self.assertEqual(self.index(), 1)


class RealEtcdTests(EtcdctlCase):
    """etcdctl and the real etcd: that the story is true."""

    skip = EtcdctlCase.skip or (None if ETCD else "etcd 3.4 is not installed")

    def real(self) -> ServerProcess:
        """Start the real etcd and wait until it serves."""
        peer = f"http://127.0.0.1:{free_port()}"
        urls = (f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}")
        peers = (
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=m={peer}",
        )
        files = (
            f"--cert-file={SERVER_CERT_FILE}",
            f"--key-file={SERVER_KEY_FILE}",
            f"--trusted-ca-file={CA_FILE}",
        )
        assert ETCD is not None
        server = self.launch(
            [ETCD, "--enable-v2", "--name=m", "--data-dir=etcd", *urls, *peers, *files, "--client-cert-auth"]
        )
        # It writes its own version down once it leads; only then is the index its clients' alone.
        server.wait_for("enabled capabilities for version")
        return server

    def test_story(self) -> None:
        """It prints the same there."""
        self.real()
        self.assert_story()
