"""The programs in examples/: each in process, on the clock of a test, and then as its first lines say."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.documents import CHECKOUT
from tests.e2e import TIMEOUT, EndToEndCase, environment, free_port
from tests.http_harness import Response, conversation
from txetcd.site import Site
from txetcd.testing import TxetcdMixin

EXAMPLES = CHECKOUT / "examples"
if not EXAMPLES.exists():
    raise SkipTest("there is no checkout around the tests")

# They are not installed; what is goes first.
sys.path.append(str(CHECKOUT))

from examples import discovery, election, flags, mounted  # noqa: E402
from examples.lock import Lock  # noqa: E402
from examples.v2client import Client  # noqa: E402


class ExampleCase(TxetcdMixin, SynchronousTestCase):
    """One server in memory, and clients of it."""

    def setUp(self) -> None:
        self.server = self.txetcd()
        self.client = Client(self.server.agent, self.server.url)

    def get(self, site: Site, path: str, headers: list[tuple[str, str]] | None = None) -> Response:
        """Ask a site that has the server's store."""
        return self.ask(site, "GET", path, headers)

    def ask(
        self, site: Site, method: str, path: str, headers: Any = None, body: bytes | None = None
    ) -> Response:
        talk = conversation(site, self.server.clock)
        talk.begin(method, path, [*(headers or []), ("Connection", "close")], body)
        self.server.clock.advance(0)
        response = talk.response()
        assert response is not None
        return response

    def value(self, key: str) -> str | None:
        node: Any = self.server.store.tree.find(key)
        return None if node is None else node.value


class ElectionTests(ExampleCase):
    def candidate(self, name: str, told: list[bool]) -> election.Candidate:
        return election.Candidate(self.server.clock, self.client, "/leader", name, told.append, ttl=9)

    def test_the_next_leads_when_the_leader_resigns(self) -> None:
        told: tuple[list[bool], list[bool]] = ([], [])
        first, second = (self.candidate(name, told[at]) for at, name in enumerate(("a", "b")))
        first.startService()
        second.startService()
        self.server.advance(100)
        self.assertEqual((told, self.value("/leader")), (([True], []), "a"))
        self.server.result(first.stopService() or Deferred())
        self.assertEqual((told, self.value("/leader")), (([True, False], [True]), "b"))
        self.server.result(second.stopService() or Deferred())
        self.assertIsNone(self.value("/leader"))

    def test_the_next_leads_when_the_leader_crashes(self) -> None:
        told: list[bool] = []
        self.server.result(self.server.store.set("/leader", "crashed", ttl=9))
        candidate = self.candidate("b", told)
        candidate.startService()
        self.server.advance(8)
        self.assertEqual(told, [])
        self.server.advance(1)
        self.assertEqual(told, [True])
        self.server.result(candidate.stopService() or Deferred())

    def test_a_leader_that_cannot_refresh_ceases_before_its_time_is_over(self) -> None:
        told: list[bool] = []
        candidate = self.candidate("a", told)
        candidate.startService()
        self.server.hold_writes()
        self.server.advance(5)
        self.assertEqual(told, [True])
        self.server.advance(2)
        self.assertEqual((told, self.value("/leader")), ([True, False], "a"))
        self.server.release_writes()
        candidate.stopService()

    def test_it_outlasts_a_restart_of_the_server(self) -> None:
        told: list[bool] = []
        candidate = self.candidate("a", told)
        candidate.startService()
        self.server.stop()
        self.server.advance(4)
        self.assertEqual(told, [True, False])
        self.server.start()
        self.server.advance(10)
        self.assertEqual(told, [True, False, True])
        self.server.result(candidate.stopService() or Deferred())


class LockTests(ExampleCase):
    def acquire(self, name: str) -> tuple[Lock, Deferred[Lock]]:
        wanted = Lock(self.server.clock, self.client, "/locks/a", name, ttl=9)
        return wanted, Deferred.fromCoroutine(wanted.__aenter__())

    def release(self, held: Lock) -> None:
        self.server.result(Deferred.fromCoroutine(held.__aexit__(None, None, None)))

    def test_in_the_order_of_asking(self) -> None:
        wanted = [self.acquire(name) for name in "abc"]
        self.server.advance(60)
        for held, (acquired, done) in enumerate(wanted):
            self.assertEqual([done.called for _, done in wanted], [at <= held for at in range(3)])
            self.assertIs(self.successResultOf(done), acquired)
            self.release(acquired)
        self.assertEqual(self.server.request("GET", "/v2/keys/locks/a").json["node"].get("nodes"), None)

    def test_who_gives_up_waiting_is_passed_over(self) -> None:
        (first, _), (_, second), (third, third_done) = (self.acquire(name) for name in "abc")
        second.cancel()
        self.failureResultOf(second)
        self.assertFalse(third_done.called)
        self.release(first)
        self.successResultOf(third_done)
        self.release(third)

    def test_it_is_free_when_its_holder_crashes(self) -> None:
        self.server.request("POST", "/v2/keys/locks/a", value="crashed", ttl=9)
        second, done = self.acquire("b")
        self.server.advance(8.5)
        self.assertFalse(done.called)
        self.server.advance(0.5)
        self.successResultOf(done)
        self.release(second)

    def test_a_holder_hears_that_it_was_lost(self) -> None:
        held, done = self.acquire("a")
        self.successResultOf(done)
        self.server.request("DELETE", "/v2/keys/locks/a", recursive=True)
        self.assertNoResult(held.lost)
        self.server.advance(3)
        self.successResultOf(held.lost)
        self.release(held)


class DiscoveryTests(ExampleCase):
    def registration(self, name: str, address: str) -> discovery.Registration:
        key = f"/services/web/{name}"
        return discovery.Registration(self.server.clock, self.client, key, address, ttl=9)

    def directory(self, told: list[Mapping[str, str]]) -> discovery.Directory:
        def remember(addresses: Mapping[str, str]) -> None:
            told.append(dict(addresses))

        found = discovery.Directory(self.server.clock, self.client, "/services/web", remember)
        found.startService()
        self.addCleanup(found.stopService)
        return found

    def test_instances_come_and_go(self) -> None:
        told: list[Mapping[str, str]] = []
        self.directory(told)
        first, second = self.registration("a", "10.0.0.1:80"), self.registration("b", "10.0.0.2:80")
        first.startService()
        second.startService()
        self.server.advance(60)
        self.server.result(first.stopService())
        self.assertEqual(
            told,
            [
                {},
                {"a": "10.0.0.1:80"},
                {"a": "10.0.0.1:80", "b": "10.0.0.2:80"},
                {"b": "10.0.0.2:80"},
            ],
        )
        self.server.result(second.stopService())

    def test_one_that_crashes_is_gone(self) -> None:
        self.server.request("PUT", "/v2/keys/services/web/a", value="10.0.0.1:80", ttl=9)
        found = self.directory([])
        self.assertEqual(found.addresses, {"a": "10.0.0.1:80"})
        self.server.advance(9)
        self.assertEqual(found.addresses, {})

    def test_what_was_missed_is_listed(self) -> None:
        found = self.directory([])
        self.server.drop_connections()
        self.server.request("PUT", "/v2/keys/services/web/a", value="10.0.0.1:80")
        self.server.lose_history()
        self.server.advance(1)
        self.assertEqual(found.addresses, {"a": "10.0.0.1:80"})

    def test_a_registration_comes_again(self) -> None:
        registered = self.registration("a", "10.0.0.1:80")
        registered.startService()
        self.server.request("DELETE", "/v2/keys/services/web/a")
        self.server.advance(5)
        self.assertEqual(self.value("/services/web/a"), "10.0.0.1:80")
        self.server.result(registered.stopService())
        self.assertIsNone(self.value("/services/web/a"))


class MountedTests(ExampleCase):
    def setUp(self) -> None:
        super().setUp()
        users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"secret")
        self.site = Site(mounted.application(self.server.store, users), self.server.clock)

    def test_the_api_is_behind_the_login(self) -> None:
        refused = self.ask(self.site, "PUT", "/etcd/v2/keys/message?value=x")
        self.assertEqual((refused.status, self.server.store.tree.index), (401, 1))
        wrong = self.ask(self.site, "GET", "/etcd/v2/keys/", [self.basic("alice:wrong")])
        self.assertEqual(wrong.status, 401)
        self.flushLoggedErrors()
        right = self.ask(self.site, "PUT", "/etcd/v2/keys/message?value=x", [self.basic("alice:secret")])
        self.assertEqual((right.status, self.value("/message")), (201, "x"))

    def test_the_page_reads_the_store(self) -> None:
        self.assertIn(b"The message is: nothing", self.get(self.site, "/").body)
        self.server.result(self.server.store.set("/message", "<hello>"))
        self.assertIn(b"The message is: &lt;hello&gt;", self.get(self.site, "/").body)

    def basic(self, credentials: str) -> tuple[str, str]:
        return "Authorization", f"Basic {b64encode(credentials.encode()).decode()}"


class KleinTests(ExampleCase):
    def setUp(self) -> None:
        super().setUp()
        try:
            from examples import klein_app
        except ImportError:
            raise SkipTest("klein is not installed") from None
        self.site = Site(klein_app.Notes(self.server.store).app.resource(), self.server.clock)

    def test_a_note_is_a_key(self) -> None:
        self.assertEqual(self.get(self.site, "/notes").body, b"{}\n")
        self.assertEqual(self.ask(self.site, "PUT", "/notes/milk", body=b"two bottles").body, b"set 2\n")
        told = self.get(self.site, "/v2/keys/notes/milk")
        self.assertIn(b'"value":"two bottles"', told.body)

    def test_a_key_is_a_note(self) -> None:
        self.assertEqual(self.ask(self.site, "PUT", "/v2/keys/notes/bread?value=one").status, 201)
        self.assertEqual(self.get(self.site, "/notes").body, b'{"bread": "one"}\n')

    def test_refusals(self) -> None:
        refused = self.ask(self.site, "DELETE", "/notes/nothing")
        self.assertEqual((refused.status, refused.body), (404, b"Key not found\n"))


class FlagsTests(ExampleCase):
    def setUp(self) -> None:
        super().setUp()
        self.site = Site(flags.application(self.server.store), self.server.clock)

    def test_the_application_asks(self) -> None:
        found = flags.Flags(self.server.store)
        self.assertEqual(dict(found), {})
        self.assertFalse(found.get("dark-mode", False))
        self.ask(self.site, "PUT", "/v2/keys/flags/dark-mode?value=on")
        self.ask(self.site, "PUT", "/v2/keys/flags/beta?value=off")
        self.assertEqual(list(found.items()), [("beta", False), ("dark-mode", True)])
        self.assertTrue(found["dark-mode"])

    def test_the_page_follows(self) -> None:
        self.ask(self.site, "PUT", "/v2/keys/flags/a?value=on")
        page = self.get(self.site, "/").body.decode()
        self.assertIn('<li id="a" data-value="on"></li>', page)
        source = re.search(r"\?recursive=true&waitIndex=\d+", page)
        assert source is not None
        self.ask(self.site, "PUT", "/v2/keys/flags/a?value=off")
        stream = conversation(self.site, self.server.clock)
        stream.begin("GET", f"/v2/keys/flags{source.group()}", [("Accept", "text/event-stream")])
        told = stream.so_far()
        assert told is not None
        self.assertEqual(told.body.count(b"data: "), 1)
        self.assertIn(b'"value":"off"', told.body)
        stream.disconnect()


class ProgramTests(EndToEndCase):
    """The commands of the examples' own first lines, against a server on a socket."""

    def commands(self, name: str) -> list[str]:
        """What is indented in the first lines of an example."""
        text = (EXAMPLES / f"{name}.py").read_text("utf-8").split('"""')[1]
        return re.findall(r"^    (\S.*)$", text, re.MULTILINE)

    def begin(self, command: str, port: int) -> subprocess.Popen[str]:
        words = re.sub(":(4001|8080)", f":{port}", command).split()
        self.assertEqual(words[:2], ["python", "-m"])
        process = subprocess.Popen(
            [sys.executable, *words[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment(self.directory), "PYTHONPATH": str(CHECKOUT)},
            cwd=self.directory,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()

    def line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline()

    def test_election(self) -> None:
        server = self.start()
        (command,) = self.commands("election")
        first = self.begin(command.replace("NAME", "a"), server.port)
        self.assertEqual(self.line(first), "a leads\n")
        second = self.begin(command.replace("NAME", "b"), server.port)
        first.send_signal(signal.SIGINT)
        self.assertEqual(self.line(first), "a does not lead any more\n")
        self.assertEqual(self.line(second), "b leads\n")
        server.stop()

    def test_lock(self) -> None:
        server = self.start()
        (command,) = self.commands("lock")
        run = self.begin(command.replace("COMMAND ARGUMENT...", "/bin/echo locked"), server.port)
        self.assertEqual(run.communicate(timeout=TIMEOUT), ("locked\n", None))
        self.assertEqual(run.returncode, 0)
        server.stop()

    def test_discovery(self) -> None:
        server = self.start()
        (command,) = self.commands("discovery")
        found = self.begin(command.replace("NAME ADDRESS", "a 10.0.0.1:80"), server.port)
        self.assertEqual([self.line(found), self.line(found)], ["{}\n", "{'a': '10.0.0.1:80'}\n"])
        server.stop()

    def test_flags(self) -> None:
        command, put = self.commands("flags")
        self.assert_serves(command, [put], '"key":"/flags/dark-mode","value":"on"')

    def test_klein(self) -> None:
        command, put, *gets = self.commands("klein_app")
        told = ["set 2", '{"milk": "two bottles"}', '"key":"/notes/milk","value":"two bottles"']
        self.assert_serves(command, [put, *gets], *told)

    def test_mounted(self) -> None:
        users, command, put, get = self.commands("mounted")
        subprocess.run(["sh", "-c", users], check=True, cwd=self.directory)
        self.assert_serves(command, [put, get], '"value":"hello"', "The message is: hello")

    def assert_serves(self, command: str, curls: list[str], *told: str) -> None:
        """Each curl is told what it is to be, and Ctrl-C ends the program."""
        if shutil.which("curl") is None:
            raise SkipTest("curl is not installed")
        port = free_port()
        program = self.begin(command, port)
        self.assertIn("Serving on", self.line(program))
        for curl, text in zip(curls, told, strict=True):
            here = curl.replace("curl ", "curl -sS ").replace(":8080", f":{port}")
            ran = self.run_to_end("sh", "-c", here)
            self.assertIn(text, ran.stdout, f"{here}\n{ran.stderr}")
        program.send_signal(signal.SIGINT)
        self.assertEqual(program.wait(TIMEOUT), 0)
