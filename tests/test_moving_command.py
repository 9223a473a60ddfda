"""What the commands refuse, in one line each."""

from __future__ import annotations

import contextlib
import io
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.client_harness import CA_FILE, CLIENT_CERT_FILE
from tests.moving_harness import MovingCase
from txetcd.cli import COMMANDS
from txetcd.moving import command
from txetcd.moving.arguments import parsers

URL = "http://127.0.0.1:1"
HTTPS = "https://127.0.0.1:1"
HEAD = (
    b'{"format":"txetcd-copy","version":1,"key":"/","index":1,"cluster":"","time":"2026-01-01T00:00:00Z"}\n'
)


class ArgumentTests(SynchronousTestCase):
    def assert_refused(self, pattern: str, name: str, *arguments: str) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(err):
            error = self.assertRaises(SystemExit, command.main, name, arguments)
        self.assertRegex(str(error.code), rf"\Atxetcd {name}: [^\n]*{pattern}[^\n]*\Z")
        self.assertEqual(err.getvalue(), "")

    def test_arguments(self) -> None:
        importing = ("import", "--endpoint", URL)
        for pattern, *arguments in (
            ("--endpoint; see txetcd import --help", "import", "f"),
            ("--endpoint; see txetcd export --help", "export"),
            ("--data-dir, FILE; see txetcd backup", "backup"),
            ("give a FILE or --from URL", *importing),
            ("give a FILE or --from URL", *importing, "f", "--from", URL),
            ("--until-index is of no use alone", *importing, "--from", URL, "--until-index", "7"),
            ("--merge does not go with --replace", *importing, "f", "--merge", "--replace"),
            ("--merge does not go with --follow", *importing, "--from", URL, "--merge", "--follow"),
            ("--follow is of no use with a file", *importing, "f", "--follow"),
            ("--key is of no use with a file", *importing, "f", "--key", "/a"),
            ("--from-ca-file is of no use with a file", *importing, "f", "--from-ca-file", "x"),
            ("'0' is not a whole number above 0", *importing, "f", "--concurrency", "0"),
            ("unrecognized arguments: --nope", *importing, "f", "--nope"),
            (r"'/\.\.': the path leaves", "export", "--endpoint", URL, "--key", "/.."),
        ):
            self.assert_refused(pattern, *arguments)

    def test_servers(self) -> None:
        for pattern, *arguments in (
            ("--endpoint nonsense: is not the URL of a server; give", "nonsense"),
            ("is not the URL", "ftp://h:1"),
            ("is not the URL", "http://h:port"),
            ("is not the URL", "http://h"),
            ("is not the URL", "http://h:1/v2"),
            ("is not the URL", "http://u:p@h:1"),
            ("--cert-file is of no use alone; give --key-file", HTTPS, "--cert-file", "c"),
            ("--key-file is of no use alone; give --cert-file", HTTPS, "--key-file", "c"),
            ("c is of no use over HTTP; give an https URL", URL, "--ca-file", "c"),
            ("--ca-file none cannot be read .*; give the CA", HTTPS, "--ca-file", "none"),
            (
                "--cert-file none cannot be read .*; give the client's",
                HTTPS,
                "--cert-file",
                "none",
                "--key-file",
                "none",
            ),
            (
                "does not fit|holds no private key",
                HTTPS,
                "--cert-file",
                CLIENT_CERT_FILE,
                "--key-file",
                CA_FILE,
            ),
            ("--user: there is no name and password; give", URL, "--user", "name"),
            ("--user @none: cannot be read .*; name a file", URL, "--user", "@none"),
        ):
            self.assert_refused(pattern, *self.parsed(arguments))

    def parsed(self, arguments: list[str]) -> Iterator[str]:
        yield from ("export", "--endpoint", *arguments)

    def test_commands(self) -> None:
        self.assertEqual(tuple(parsers()), COMMANDS)


class EndTests(MovingCase):
    """What goes wrong later on."""

    def test_help(self) -> None:
        for name in COMMANDS:
            self.assertIn(f"usage: txetcd {name}".encode(), self.moved(name, "--help"))

    def test_files(self) -> None:
        importing = ("import", "--endpoint", self.txetcd())
        self.assert_fails("No such file or directory: 'none'", *importing, "none")
        (self.directory / "cut").write_bytes(HEAD + b'{"key":"/a","value":"x"}\n{"key":"/b","val')
        self.assert_fails("cut line 3: the copy is cut off there; export", *importing, "cut")
        self.assert_fails("standard input line 1: it is not", *importing, "-", given=b"nonsense\n")
        # Nothing of them was written.
        self.assertEqual(self.exported(importing[2]), {})

    def test_refused_key(self) -> None:
        url = self.txetcd("data", "--max-request-bytes=100")
        node = b'{"key":"/a","value":"%s"}\n{"nodes":1}\n' % (b"x" * 200)
        self.assert_fails("refuses /a: 210: .*too large", "import", "--endpoint", url, "-", given=HEAD + node)

    def test_nobody_there(self) -> None:
        refused = r"127.0.0.1:1: cannot be reached \(Connection refused\)"
        self.assert_fails(refused, "export", "--endpoint", URL)
        self.assert_fails(refused, "import", "--endpoint", URL, "--from", self.txetcd())
        self.assert_fails(refused, "import", "--endpoint", self.txetcd("two"), "--from", URL)

    def test_no_such_key(self) -> None:
        url = self.txetcd()
        self.assert_fails("refuses /a: 100: Key not found", "export", "--endpoint", url, "--key", "/a")

    def test_breaks_off(self) -> None:
        """A copy is whole, or the command fails."""
        body = b'{"action":"get","node":{"dir":true,"nodes":[{"key":"/a","value":"x"},'
        for answer, pattern in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + body, "the connection was lost"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
                "is not a whole listing",
            ),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "is not a whole listing"),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nhi", "refuses /: status 404, hi"),
            (b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nhi", "status 503, hi"),
            (b"nonsense\r\n\r\n", "the connection was lost|cannot be reached"),
        ):
            self.assert_fails(pattern, "export", "--endpoint", self.answering(answer))

    def answering(self, answer: bytes) -> str:
        """A server that gives one answer, and goes away."""
        listening = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            with listening, listening.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    def test_server_command_is_as_before(self) -> None:
        """Other words than those of the commands are the server's."""
        ended = self.run_to_end(str(Path(sys.executable).parent / "txetcd"), "--version")
        self.assertRegex(ended.stdout, r"\Atxetcd \d")
