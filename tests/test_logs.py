"""The access and audit logs: what is in a line, what never is, and the files that lines go to."""

from __future__ import annotations

import json
import os
import re
import stat
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.http_harness import Response, conversation
from tests.store_harness import HeldJournal, StoreTestCase
from tests.test_tls_job import TLSJobCase
from txetcd.observing.files import LOOK, LineFile
from txetcd.observing.lines import FORMATS, Fields, as_json, as_text, readable
from txetcd.observing.logs import Clients, Lines, Logs
from txetcd.resources.api import API
from txetcd.settings.values import MAIN_LOG
from txetcd.site import Limits, Site
from txetcd.store import Store

FORM = ("Content-Type", "application/x-www-form-urlencoded")


def fields_of(line: str) -> dict[str, Any]:
    """The fields of a line of text; a dash is None."""
    decoder = json.JSONDecoder()
    fields: dict[str, Any] = {}
    while line:
        name, _, line = line.partition("=")
        if line.startswith('"'):
            fields[name], end = decoder.raw_decode(line)
            line = line[end:]
        else:
            word, space, rest = line.partition(" ")
            fields[name], line = None if word == "-" else word, space + rest
        assert line[:1] in ("", " "), line
        line = line[1:]
    return fields


class LinesTests(SynchronousTestCase):
    def test_text(self) -> None:
        fields: Fields = {
            "a": "x/y",
            "b": 'say "hi"',
            "c": 1,
            "d": None,
            "e": "-",
            "f": "",
            "g": "ü",
            "h": 0.5,
        }
        self.assertEqual(as_text(fields), r'a=x/y b="say \"hi\"" c=1 d=- e="-" f="" g="\u00fc" h=0.5')

    def test_json(self) -> None:
        self.assertEqual(as_json({"a": "x\ny", "b": 1, "c": None}), r'{"a":"x\ny","b":1}')

    @given(st.dictionaries(st.sampled_from(["path", "cn", "user"]), st.text() | st.none()))
    def test_nothing_breaks_out(self, fields: Mapping[str, str | None]) -> None:
        """Whatever the values are, both formats are one line of printable ASCII and say what they were."""
        for render in FORMATS.values():
            self.assertRegex(render(fields), r"\A[ -~]*\Z")
        self.assertEqual(fields_of(as_text(fields)), fields)
        known = {name: value for name, value in fields.items() if value is not None}
        self.assertEqual(json.loads(as_json(fields)), known)

    def test_readable(self) -> None:
        self.assertEqual(readable(b"a\xffb\xc3\xbc", 100), "a\\xffbü")
        self.assertEqual(readable(b"abcdef", 3), "abc...")


class FileCase(SynchronousTestCase):
    """A directory for files."""

    def setUp(self) -> None:
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.path = Path(temporary.name) / "audit.log"
        self.clock = Clock()
        self.said: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event["log_namespace"].startswith("txetcd."):
                self.said.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def open(self) -> LineFile:
        file = LineFile(self.path, self.clock)
        file.open()
        self.addCleanup(file.close)
        return file


class LineFileTests(FileCase):
    def write(self, file: LineFile, *lines: str) -> None:
        for line in lines:
            file({"line": line})

    def test_lines_are_appended(self) -> None:
        self.path.write_text("before\n")
        self.write(self.open(), "one", "two")
        self.assertEqual(self.path.read_text(), "before\none\ntwo\n")

    def test_mode(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.open()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_moved_away(self) -> None:
        file = self.open()
        self.write(file, "one")
        moved = self.path.rename(self.path.with_name("moved"))
        self.write(file, "two")
        self.clock.advance(LOOK)
        self.write(file, "three")
        self.assertEqual((moved.read_text(), self.path.read_text()), ("one\ntwo\n", "three\n"))

    def test_replaced(self) -> None:
        """As logrotate's `create` does."""
        file = self.open()
        self.path.rename(self.path.with_name("moved"))
        self.path.touch()
        self.clock.advance(LOOK)
        self.write(file, "one")
        self.assertEqual(self.path.read_text(), "one\n")

    def test_clock_set_back(self) -> None:
        self.clock.advance(1000)
        file = self.open()
        self.clock.rightNow = 1
        self.path.unlink()
        self.write(file, "one")
        self.assertEqual(self.path.read_text(), "one\n")

    def test_no_place_for_a_new_one(self) -> None:
        """It is said once until it is over; what is lost is counted."""
        file = self.open()
        directory = self.path.parent
        self.path.rename(directory.with_name(directory.name + ".log"))
        self.addCleanup(directory.with_name(directory.name + ".log").unlink)
        directory.rmdir()
        self.clock.advance(LOOK)
        self.write(file, "one")
        self.clock.advance(LOOK)
        self.write(file, "two")
        self.assertEqual(file.lost, 2)
        self.assertEqual(
            self.said, [f"{self.path} cannot be written to, lines are lost: No such file or directory"]
        )
        directory.mkdir()
        self.clock.advance(LOOK)
        self.write(file, "three")
        self.assertEqual((file.lost, self.path.read_text()), (2, "three\n"))
        directory.joinpath(self.path.name).unlink()

    def test_disk_full(self) -> None:
        self.path = Path("/dev/full")
        if not self.path.exists():
            self.skipTest("there is no /dev/full")
        file = self.open()
        self.write(file, "one", "two")
        self.assertEqual((file.lost, len(self.said)), (2, 1))
        self.assertIn("No space left on device", self.said[0])

    def test_pipe_that_nobody_empties(self) -> None:
        """It holds up nobody."""
        os.mkfifo(self.path)
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        file = self.open()
        for _ in range(200):
            self.write(file, "x" * 1000)
        self.assertGreater(file.lost, 0)
        self.assertEqual(len(self.said), 1)
        whole = os.read(reader, 1 << 20)
        self.assertEqual(whole, (b"x" * 1000 + b"\n") * (200 - file.lost))

    def test_pipe_that_nobody_reads(self) -> None:
        os.mkfifo(self.path)
        self.assertRaises(OSError, LineFile(self.path, self.clock).open)

    def test_closed(self) -> None:
        file = self.open()
        file.close()
        self.write(file, "one")
        self.assertEqual(file.lost, 1)


class LogCase(StoreTestCase):
    """A server's site with both logs on, whose lines are kept."""

    limits = Limits(body=1000, connections=3)

    def setUp(self) -> None:
        super().setUp()
        self.store = self.started()
        self.events: dict[str, list[LogEvent]] = {"access": [], "audit": []}
        logs = Logs(MAIN_LOG, MAIN_LOG, as_text, self.clock)

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            namespace = event["log_namespace"]
            if namespace in ("txetcd.access", "txetcd.audit"):
                self.events[namespace.partition(".")[2]].append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.api = API(self.store, name="m", client_urls=("http://m",), audit=logs.audit)
        assert logs.access is not None
        self.site = Site(self.api, self.clock, self.limits, observers=[logs.access])

    def lines(self, log: str) -> list[dict[str, Any]]:
        """The fields of a log's lines, without those that are always the same."""
        lines = [fields_of(formatEvent(event)) for event in self.events[log]]
        for line in lines:
            self.assertEqual(line.pop("address"), "192.0.2.1:54321")
            self.assertRegex(line.pop("time"), r"\A2023-11-14T22:13:2\d\.\d{3}Z\Z")
        return lines

    def ask(
        self, method: str, target: str, body: str | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> Response:
        talk = conversation(self.site, self.clock)
        encoded = None if body is None else body.encode()
        talk.begin(method, target, [FORM, *headers] if body is not None else headers, encoded)
        self.turn()
        response = talk.response()
        assert response is not None
        talk.disconnect()
        return response


def basic(user: str, password: str) -> tuple[str, str]:
    """An Authorization header."""
    return ("Authorization", "Basic " + b64encode(f"{user}:{password}".encode()).decode())


class AccessTests(LogCase):
    def test_request(self) -> None:
        response = self.ask("PUT", "/v2/keys/a%20b?ttl=5", "value=secret")
        [line] = self.lines("access")
        self.assertEqual(
            line,
            {
                "cn": None,
                "verb": "PUT",
                "path": "/v2/keys/a%20b",
                "status": "201",
                "bytes": str(len(response.body)),
                "ms": "0.0",
            },
        )

    def test_watch(self) -> None:
        talk = conversation(self.site, self.clock)
        talk.begin("GET", "/v2/keys/a?wait=true")
        self.assertEqual(self.lines("access"), [])
        self.clock.advance(1.5)
        talk.disconnect()
        [line] = self.lines("access")
        self.assertEqual((line["verb"], line["status"], line["ms"]), ("WATCH", "200", "1500.0"))

    def test_client_gone(self) -> None:
        talk = conversation(self.site, self.clock)
        talk.begin("PUT", "/v2/keys/a", [FORM], b"value=1")
        talk.disconnect()
        self.turn()
        [line] = self.lines("access")
        self.assertEqual((line["verb"], line["status"]), ("PUT", "499"))

    def test_refused(self) -> None:
        talk = conversation(self.site, self.clock)
        talk.send(b"GET /v2/keys/a\x01b HTTP/1.1\r\n\r\n")
        self.assertEqual(self.lines("access"), [{"status": "400"}])

    def test_bytes_of_a_path(self) -> None:
        """Nothing in it ends the line; what is too long is cut."""
        talk = conversation(self.site, self.clock)
        talk.send(b"GET /v2/keys/\xff\xc3\xbc\"'\\x HTTP/1.1\r\nHost: a\r\n\r\n")
        talk.disconnect()
        self.ask("GET", "/v2/keys/" + "x" * 20_000)
        strange, long = self.lines("access")
        self.assertEqual(strange["path"], "/v2/keys/\\xffü\"'\\x")
        self.assertEqual(len(long["path"]), 3 * 4096 + 64 + len("..."))


class AuditTests(LogCase):
    def test_writes(self) -> None:
        self.ask("PUT", "/v2/keys/a%20b", "value=1")
        self.ask("POST", "/v2/keys/queue", "value=1")
        self.ask("PUT", "/v2/keys/a%20b?prevValue=1", "value=2")
        self.ask("DELETE", "/v2/keys/a%20b")
        self.ask("GET", "/v2/keys/queue")
        nobody = {"subject": None, "user": None, "error": None}
        self.assertEqual(
            self.lines("audit"),
            [
                {
                    **nobody,
                    **{"verb": verb, "path": path, "key": key, "action": action},
                    **{"index": index, "status": status},
                }
                for verb, path, key, action, index, status in (
                    ("PUT", "/v2/keys/a%20b", "/a b", "set", "2", "201"),
                    ("POST", "/v2/keys/queue", "/queue/00000000000000000003", "create", "3", "201"),
                    ("PUT", "/v2/keys/a%20b", "/a b", "compareAndSwap", "4", "200"),
                    ("DELETE", "/v2/keys/a%20b", "/a b", "delete", "5", "200"),
                )
            ],
        )

    def test_refused(self) -> None:
        self.ask("PUT", "/v2/keys/a", "value=1")
        self.ask("PUT", "/v2/keys/a", "value=2&prevValue=other")
        self.ask("DELETE", "/v2/keys/b")
        self.ask("PUT", "/v2/keys/a?ttl=x", "value=3")
        told = [(line["status"], line["error"], line["index"], line["key"]) for line in self.lines("audit")]
        self.assertEqual(
            told[1:],
            [
                ("412", "101 Compare failed", "2", None),
                ("404", "100 Key not found", "2", None),
                ("400", "202 The given TTL in POST form is not a number", "0", None),
            ],
        )

    def test_not_made_durable(self) -> None:
        journal = HeldJournal()
        store = Store(journal, self.clock, now=self.now)
        store.startService()
        self.addCleanup(store.stopService)
        logs = Logs(None, MAIN_LOG, as_text, self.clock)
        site = Site(API(store, name="m", client_urls=("http://m",), audit=logs.audit), self.clock)
        talk = conversation(site, self.clock)
        talk.begin("PUT", "/v2/keys/a", [FORM], b"value=1")
        self.turn()
        self.assertEqual(self.lines("audit"), [])
        journal.refuse("the disk is full")
        [line] = self.lines("audit")
        self.assertEqual((line["status"], line["error"]), ("500", "300 Raft Internal Error"))
        talk.disconnect()

    def test_client_gone(self) -> None:
        """The write counts all the same."""
        for target in ("/v2/keys/a", "/v2/keys/a?prevExist=false"):
            talk = conversation(self.site, self.clock)
            talk.begin("PUT", target, [FORM], b"value=1")
            talk.disconnect()
            self.turn()
        told = [(line["index"], line["status"], line["error"]) for line in self.lines("audit")]
        self.assertEqual(told, [("2", "201", None), ("2", "412", "105 Key already exists")])

    def test_users(self) -> None:
        body = '{"user":"root","password":"hunter2"}'
        self.assertEqual(self.ask("PUT", "/v2/auth/users/root", body).status, 201)
        self.assertEqual(self.ask("PUT", "/v2/auth/enable", "").status, 200)
        wrong, right = basic("root", "hunter3"), basic("root", "hunter2")
        self.ask("PUT", "/v2/auth/roles/r", '{"role":"r"}', [wrong])
        self.ask("PUT", "/v2/auth/roles/r", '{"role":"r"}', [right])
        self.ask("PUT", "/v2/keys/a", "value=1", [right])
        self.ask("DELETE", "/v2/members/1", None, [right])
        told = [(line["path"], line["user"], line["status"], line["error"]) for line in self.lines("audit")]
        self.assertEqual(
            told,
            [
                ("/v2/auth/users/root", None, "201", None),
                ("/v2/auth/enable", None, "200", None),
                ("/v2/auth/roles/r", "root", "401", "Insufficient credentials"),
                ("/v2/auth/roles/r", "root", "201", None),
                ("/v2/keys/a", "root", "201", None),
                ("/v2/members/1", "root", "404", None),
            ],
        )

    def test_names_that_nobody_asks_for(self) -> None:
        """Whoever says that they are root is not believed while users do not matter."""
        self.ask("PUT", "/v2/keys/a", "value=1", [basic("root", "x")])
        self.assertIsNone(self.lines("audit")[0]["user"])

    def test_keys_that_run_out(self) -> None:
        self.ask("PUT", "/v2/keys/a", "value=1&ttl=1")
        self.clock.advance(2)
        self.assertEqual(self.store.tree.index, 3)
        self.assertEqual(len(self.lines("audit")), 1)


class SecretsTests(LogCase):
    def test_no_value_and_no_password(self) -> None:
        """Wherever in a request they are."""
        secret = "s3cret"
        root = [basic("root", secret)]
        self.ask("PUT", "/v2/auth/users/root", f'{{"user":"root","password":"{secret}"}}')
        self.ask("PUT", "/v2/auth/enable", "")
        for headers in (root, [], [("Authorization", f"Bearer {secret}")]):
            for method in ("PUT", "POST", "DELETE", "GET"):
                for query, body in (
                    (f"?value={secret}", ""),
                    ("", f"value={secret}"),
                    (f"?prevValue={secret}", "value=1"),
                    ("", f"value={secret}&prevValue={secret}"),
                    (f"?{secret}", secret),
                    (f"?ttl={secret}", f"value={secret}&prevExist={secret}"),
                ):
                    self.ask(method, f"/v2/keys/a{query}", body, headers)
        self.ask("PUT", "/v2/auth/users/u", f'{{"user":"{secret}","password":"{secret}"}}', root)
        self.assertGreater(len(self.events["access"]), 70)
        self.assertGreater(len(self.events["audit"]), 50)
        for event in self.events["access"] + self.events["audit"]:
            shown = {name: value for name, value in event.items() if not name.startswith("log_")}
            self.assertNotIn(secret, repr(shown))


class EventsTests(FileCase):
    """What goes where."""

    def test_a_log_in_a_file_is_not_in_the_main_log(self) -> None:
        logs = Logs(self.path, None, as_json, self.clock)
        logs.files["access"].open()
        self.addCleanup(logs.close)
        assert logs.access is not None
        logs.access.refused(None, 503)
        self.assertEqual(json.loads(self.path.read_text())["status"], 503)
        self.assertEqual((self.said, logs.audit), ([], None))

    def test_fields_are_in_the_event(self) -> None:
        events: list[LogEvent] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            events.append(event)

        Lines("txetcd.x", as_text, self.clock, observe).add({"a": 1})
        [event] = events
        self.assertEqual((event["a"], event["log_namespace"]), (1, "txetcd.x"))
        self.assertEqual(formatEvent(event), "time=1970-01-01T00:00:00.000Z a=1")

    def test_certificates_are_looked_at_once(self) -> None:
        class Transport:
            """Not a TLS one."""

        transport = Transport()
        clients = Clients()
        self.assertIs(clients.of(transport), clients.of(transport))


class ServerTests(TLSJobCase):
    def test_files(self) -> None:
        logs = {name: self.directory / f"{name}.log" for name in ("access", "audit")}
        server = self.serve(*(f"--{name}-log={path}" for name, path in logs.items()), "--log-format=json")
        connection = self.connect(server.port)
        connection.request("PUT", "/v2/keys/a?value=1")
        connection.getresponse().read()
        connection.request("GET", "/v2/keys/a")
        connection.getresponse().read()
        [audit] = [json.loads(line) for line in logs["audit"].read_text().splitlines()]
        self.assertEqual((audit["subject"], audit["key"], audit["index"]), ("CN=client,O=txetcd", "/a", 2))
        self.assertRegex(audit["address"], r"\A127\.0\.0\.1:\d+\Z")
        put, get = [json.loads(line) for line in logs["access"].read_text().splitlines()]
        self.assertEqual((put["cn"], put["verb"], get["verb"]), ("client", "PUT", "GET"))
        # The first request of a connection is a watch, and its client goes away.
        watcher = self.connect(server.port)
        watcher.request("GET", "/v2/keys/a?wait=true")
        watcher.getresponse()
        watcher.sock.close()
        watcher.close()
        server.stop()
        last = json.loads(logs["access"].read_text().splitlines()[-1])
        self.assertEqual((last["cn"], last["verb"]), ("client", "WATCH"))
        self.assertNotIn("/v2/keys/a", server.output)

    def test_in_the_log_of_the_server(self) -> None:
        server = self.serve("--access-log=-", "--audit-log=-")
        connection = self.connect(server.port)
        connection.request("PUT", "/v2/keys/a?value=1")
        connection.getresponse().read()
        server.wait_for("path=/v2/keys/a status=201")
        self.assertRegex(server.output, r"\[txetcd\.audit#info\] time=\S+ address=\S+ subject=")
        server.stop()

    def test_a_file_that_cannot_be(self) -> None:
        self.assert_does_not_start(
            re.escape("--audit-log /nowhere/a: No such file or directory; name a file"),
            "--audit-log=/nowhere/a",
        )
