"""docs/embedding.md: its blocks of code, run as they stand."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed, ResponseNeverReceived
from twisted.web.resource import Resource

from tests.documents import CHECKOUT, code_blocks
from tests.e2e import EndToEndCase, free_port
from tests.http_harness import conversation
from txetcd import KeysResource, MemoryJournal, Store
from txetcd.site import Limits, Site
from txetcd.testing import TxetcdMixin, certificates

DOCUMENT = CHECKOUT / "docs" / "embedding.md"
if not DOCUMENT.exists():
    raise SkipTest("there is no checkout around the tests")

BLOCKS = code_blocks(DOCUMENT, "python")


def block(name: str) -> str:
    """The block that defines or makes what has a name."""
    (found,) = (
        text for text in BLOCKS if re.search(rf"^((async )?def |class )?{name}\b", text, re.MULTILINE)
    )
    return found


def names(name: str, **given: Any) -> dict[str, Any]:
    """What there is when a block has been run."""
    space: dict[str, Any] = given
    exec(block(name), space)
    return space


class InMemoryTests(TxetcdMixin, SynchronousTestCase):
    def setUp(self) -> None:
        self.server = self.txetcd()
        self.store = self.server.store

    def get(self, root: Any, path: str) -> Any:
        """Ask a site with that root."""
        return conversation(Site(root, self.server.clock)).request("GET", path, [("Connection", "close")])

    def test_every_block_is_run(self) -> None:
        tested = "resources Guarded who tour flag Mirror application Web listen wrapped site Numbers".split()
        self.assertEqual([block(name) for name in tested], BLOCKS)

    def test_mounted(self) -> None:
        root = names("resources")["resources"](self.store)
        self.store.set("/a", "1")
        for path in ("/keys/a", "/etcd/v2/keys/a"):
            self.assertIn(b'"value":"1"', self.get(root, path).body)
        self.assertEqual(self.get(root, "/etcd/v2/machines").body, b"https://www.example.org/etcd")

    def test_guarded(self) -> None:
        members: list[bytes] = []

        def may(request: Any) -> bool:
            return request.getHeader(b"host") in members

        root = Resource()
        root.putChild(b"keys", names("Guarded")["Guarded"](KeysResource(self.store), may))
        self.assertEqual(self.get(root, "/keys/").status, 403)
        members.append(b"127.0.0.1:4001")
        self.assertEqual(self.get(root, "/keys/").status, 200)

    def test_tour(self) -> None:
        printed: list[tuple[object, ...]] = []
        tour = names("tour", print=lambda *texts: printed.append(texts))["tour"]
        self.successResultOf(Deferred.fromCoroutine(tour(self.store)))
        self.assertEqual(
            printed,
            [
                (105, "Key already exists", "/jobs/00000000000000000008", 11),
                ("/jobs", ["first"]),
                ("set", "/config/colour", 2),
            ],
        )

    def test_every_method_is_named(self) -> None:
        text = DOCUMENT.read_text("utf-8")
        methods = [name for name in vars(Store) if not name.startswith("_")]
        told = [name for name in methods if re.search(rf"\b{name}\b", text)]
        # What other parts of txetcd ask for.
        inner = "accepting change_auth figures log startService submit trouble watching write".split()
        self.assertLessEqual(set(methods) - set(told), set(inner))

    def test_the_present(self) -> None:
        space = names("flag")
        self.assertEqual((space["flags"](self.store), space["flag"](self.store, "a")), ([], False))
        self.store.set("/flags/a", "on")
        self.assertEqual((space["flags"](self.store), space["flag"](self.store, "a")), (["/flags/a"], True))

    def test_mirror(self) -> None:
        self.store.set("/a/b", "1")
        mirror = names("Mirror")["Mirror"](self.store, "/a")
        self.store.set("/a/c", "2", ttl=5)
        self.assertEqual(mirror.values, {"/a/b": "1", "/a/c": "2"})
        self.server.advance(5)
        self.store.set("/a/b", "3")
        self.assertEqual(mirror.values, {"/a/b": "3"})
        self.store.set("/a/d/e/f", "4")
        self.store.set("/a/de", "5")
        again = names("Mirror")["Mirror"](self.store, "/a")
        self.assertEqual(again.values, {"/a/b": "3", "/a/d/e/f": "4", "/a/de": "5"})
        self.store.delete("/a/d", recursive=True)
        for each in (mirror, again):
            self.assertEqual(each.values, {"/a/b": "3", "/a/de": "5"})
            each.stop()
        self.store.set("/a/b", "6")
        self.assertEqual((mirror.values["/a/b"], self.store.watching), ("3", 0))

    def test_site(self) -> None:
        root = Resource()
        root.putChild(b"keys", KeysResource(self.store))
        made = names("site")["site"](root, self.server.clock)
        answer = conversation(made).request("PUT", "/keys/a", [("Connection", "close")], b"x" * 65_537)
        self.assertEqual(answer.status, 413)

    def test_defaults_of_the_limits(self) -> None:
        rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
        told = {name: float(number.replace(",", "")) for name, number in rows}
        self.assertEqual(told, {name: getattr(Limits(), name) for name in Limits.__slots__})

    def test_numbers(self) -> None:
        root = Resource()
        root.putChild(b"numbers", names("Numbers")["Numbers"]())
        answer = self.get(root, "/numbers")
        self.assertEqual(len(answer.body.splitlines()), 1_000_000)


class LiveTests(TestCase):
    reactor: Any = reactor

    def setUp(self) -> None:
        self.store = Store(MemoryJournal(), self.reactor)
        before = os.getcwd()
        directory = Path(self.mktemp())
        directory.mkdir()
        self.certificates = certificates()
        files = self.certificates.write(directory)
        self.assertEqual((files.server_key_file.name, files.ca_file.name), ("server.key", "ca.crt"))
        os.chdir(directory)
        self.addCleanup(os.chdir, before)

    async def ask(self, url: str, client: Any = None) -> Any:
        policy = self.certificates.policy(client)
        agent = Agent(self.reactor, policy, pool=HTTPConnectionPool(self.reactor, persistent=False))
        return await agent.request(b"GET", url.encode())

    async def test_web(self) -> None:
        root = Resource()
        root.putChild(b"keys", KeysResource(self.store))
        web = names("Web")["Web"](self.reactor, self.store, root, "tcp:0:interface=127.0.0.1")
        web.startService()
        port = await web.started
        answer = await self.ask(f"http://127.0.0.1:{port.getHost().port}/keys/?wait=true&recursive=true")
        self.assertEqual((answer.code, self.store.watching), (200, 1))
        await web.stopService()
        self.assertFalse(self.store.running)

    async def test_tls(self) -> None:
        """Both ways of listening let in whom they should, and know who it is."""
        seen: list[Any] = []

        class Who(Resource):
            isLeaf = True
            space = names("who")

            def render_GET(self, request: Any) -> bytes:
                seen.append((self.space["who"](request), self.space["until_when"](request)))
                return b"you"

        until = self.certificates.client.certificate.not_valid_after_utc
        for way in ("listen", "wrapped"):
            site = Site(Who(), self.reactor)
            port = await names(way)[way](self.reactor, site, 0)
            url = f"https://127.0.0.1:{port.getHost().port}/"
            self.assertEqual((await self.ask(url)).code, 200)
            self.assertEqual(seen.pop(), ("client", until))
            refused = Deferred.fromCoroutine(self.ask(url, self.certificates.stranger))
            await self.assertFailure(refused, ResponseFailed, ResponseNeverReceived)
            await gatherResults([port.stopListening(), site.shutdown(2.0)])
        self.assertEqual(seen, [])


class ApplicationTests(EndToEndCase):
    """The file for twistd."""

    def test_twistd(self) -> None:
        port = free_port()
        (self.directory / "mine.tac").write_text(block("application").replace(":8080", f":{port}"), "utf-8")
        command = [sys.executable, "-m", "twisted.scripts.twistd", "-ny", "mine.tac", "--pidfile="]
        script = "from twisted.scripts.twistd import run; run()"
        server = self.launch([sys.executable, "-c", script, *command[3:]], port)
        server.wait_for("starting on")
        self.assertEqual(server.request("PUT", "/keys/a", value="1").status, 201)
        server.process.send_signal(signal.SIGINT)
        server.wait_for("Server Shut Down")
        self.assertTrue((self.directory / "mine.etcd").is_dir())
