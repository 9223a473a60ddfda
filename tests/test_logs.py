"""The access and audit logs: what is in a line, and what never is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from tests.auth_harness import basic
from tests.http_harness import Response, conversation
from tests.logs_harness import fields_of
from tests.store_harness import HeldJournal, StoreTestCase
from tests.test_tls_job import TLSJobCase
from txetcd.observing.lines import as_text
from txetcd.observing.logs import Logs
from txetcd.resources.api import API
from txetcd.settings.values import MAIN_LOG
from txetcd.site import Limits, Site
from txetcd.store import Store

FORM = ("Content-Type", "application/x-www-form-urlencoded")


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
        self.ask("PUT", "/v2/auth/roles/r", '{"role":"r"}', wrong)
        self.ask("PUT", "/v2/auth/roles/r", '{"role":"r"}', right)
        self.ask("PUT", "/v2/keys/a", "value=1", right)
        self.ask("DELETE", "/v2/members/1", None, right)
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
        self.ask("PUT", "/v2/keys/a", "value=1", basic("root", "x"))
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
        root = basic("root", secret)
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
