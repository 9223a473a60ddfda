"""Answers to reads that a site keeps: never another than the one that would be made."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.auth_harness import basic
from tests.http_harness import Conversation, Response, conversation
from tests.store_harness import StoreTestCase
from txetcd import passwords
from txetcd.auth_commands import CreateUser, DisableAuth, EnableAuth
from txetcd.journal.memory import MemoryJournal
from txetcd.passwords import hash_password
from txetcd.resources.api import API
from txetcd.resources.keys import KeysResource
from txetcd.site import Cache, Site
from txetcd.store import Store

FORM = [("Content-Type", "application/x-www-form-urlencoded")]


class RereadingCase(StoreTestCase):
    """An API whose site has a cache."""

    def setUp(self) -> None:
        super().setUp()
        self.asked = 0
        render = KeysResource.render

        def counting(resource: KeysResource, request: Any) -> Any:
            self.asked += request.method == b"GET"
            return render(resource, request)

        self.patch(KeysResource, "render", counting)
        self.store = self.started()
        root = API(self.store, name="m", client_urls=("http://m",))
        self.talk = self.connect(root)

    def connect(self, root: API) -> Conversation:
        talk = conversation(Site(root, self.clock, cache=Cache()), self.clock)
        self.addCleanup(talk.disconnect)
        return talk

    def get(self, target: str) -> Response:
        self.talk.begin("GET", "/v2/keys" + target)
        self.turn()
        response = self.talk.response()
        assert response is not None
        return response

    def node(self, target: str) -> Any:
        """The node in the answer."""
        return json.loads(self.get(target).body)["node"]

    def put(self, key: str, value: str, **more: Any) -> None:
        self.done(self.store.set(key, value, **more))

    def keep(self, target: str) -> None:
        """Have the answer kept: the resource is asked no more."""
        for _ in range(2):
            self.get(target)
        self.asked = 0
        self.get(target)
        self.assertEqual(self.asked, 0, target)


class RereadingTests(RereadingCase):
    """`Rereading`, behind a site."""

    def test_until_it_is_written(self) -> None:
        self.put("/a", "1")
        self.keep("/a")
        self.put("/a", "2")
        response = self.get("/a")
        self.assertEqual(json.loads(response.body)["node"]["value"], "2")
        self.assertEqual(response.header("X-Etcd-Index"), str(self.store.tree.index))
        self.assertEqual(self.asked, 1)
        self.get("/a")
        self.assertEqual(self.asked, 1)

    def test_written_elsewhere(self) -> None:
        """Other writes change the headers alone, refused ones as well."""
        self.put("/a", "1")
        self.keep("/a")
        self.put("/b", "2")
        self.refused(self.store.update("/c", "3"))
        response = self.get("/a")
        tree = self.store.tree
        self.assertEqual(response.header("X-Etcd-Index"), str(tree.index))
        self.assertEqual(response.header("X-Raft-Index"), str(tree.raft_index))
        self.assertEqual(json.loads(response.body)["node"]["value"], "1")
        self.assertEqual(self.asked, 0)

    def test_deleted_and_made_again(self) -> None:
        self.put("/a", "1")
        self.keep("/a")
        self.done(self.store.delete("/a"))
        self.assertEqual(self.get("/a").status, 404)
        self.put("/a", "1")
        self.assertEqual(self.node("/a")["createdIndex"], self.store.tree.index)
        self.done(self.store.delete("/a"))
        self.put("/a/b", "now a directory")
        self.assertTrue(self.node("/a")["dir"])

    def test_directory(self) -> None:
        for target in "/d", "/d?recursive=true&sorted=true", "/":
            self.put("/d/a", target)
            self.keep(target)
            self.put("/d/sub/a", target)
            self.get(target)
            self.assertEqual(self.asked, 1, target)

    def test_long_value(self) -> None:
        self.put("/a", "x" * 20_000)
        self.keep("/a")
        self.assertEqual(len(self.node("/a")["value"]), 20_000)

    def test_ttl(self) -> None:
        """What counts down is asked for each time; what got its ttl later as well."""
        self.put("/d/a", "1", ttl=100)
        for target in "/d/a", "/d":
            for _ in range(3):
                self.get(target)
            self.assertEqual(self.asked, 3)
            self.asked = 0
        self.put("/b", "1")
        self.keep("/b")
        self.put("/b", "1", ttl=10)
        self.get("/b")
        self.clock.advance(4)
        self.assertEqual(self.node("/b")["ttl"], 6)
        self.clock.advance(6)
        self.turn()
        self.assertEqual(self.get("/b").status, 404)

    def test_quorum(self) -> None:
        """A read that has to ask the others asks them each time."""
        self.put("/a", "1")
        for _ in range(4):
            self.assertEqual(self.get("/a?quorum=true").status, 200)
        self.assertEqual(self.asked, 4)

    def test_not_there(self) -> None:
        for _ in range(4):
            self.assertEqual(self.get("/a").status, 404)
        self.assertEqual(self.asked, 4)

    def test_keys_alone_and_pages(self) -> None:
        """What is not of etcd's API is made each time."""
        self.put("/d/a", "1")
        for target in "/d?keysOnly=true", "/d?limit=1":
            for _ in range(3):
                self.assertEqual(self.get(target).status, 200)
        self.assertEqual(self.asked, 6)

    def test_reads_are_counted(self) -> None:
        self.put("/a", "1")
        self.keep("/a")
        before = self.store.stats.counts["getsSuccess"]
        self.get("/a")
        self.assertEqual(self.asked, 0)
        self.assertEqual(self.store.stats.counts["getsSuccess"], before + 1)

    def test_users(self) -> None:
        """As soon as users matter, each is asked who it is, whatever was answered before."""
        self.patch(passwords, "LOG_N", 4)
        self.put("/a", "1")
        self.keep("/a")
        for command in CreateUser("root", hash_password(b"pw"), None), EnableAuth():
            self.done(self.store.change_auth(command))
        # Guests may read until they have a role of their own.
        for _ in range(3):
            self.assertEqual(self.get("/a").status, 200)
        self.assertEqual(self.asked, 3)
        self.asked = 0
        self.done(self.store.change_auth(DisableAuth()))
        self.get("/a")
        self.get("/a")
        self.assertEqual(self.asked, 1)

    def test_an_answer_to_a_user_is_not_kept(self) -> None:
        self.patch(passwords, "LOG_N", 4)
        self.put("/a", "1")
        for command in CreateUser("root", hash_password(b"pw"), None), EnableAuth():
            self.done(self.store.change_auth(command))
        for _ in range(3):
            self.talk.begin("GET", "/v2/keys/a", basic("nobody", "x"))
            self.turn()
        self.assertEqual(self.asked, 3)

    def test_origin(self) -> None:
        """Headers of CORS stay with an answer."""
        api = API(self.store, name="m", client_urls=("http://m",), cors=("http://page",))
        talk = self.connect(api)
        self.put("/a", "1")
        answers = [talk.request("GET", "/v2/keys/a", [("Origin", "http://page")]) for _ in range(3)]
        self.assertEqual(self.asked, 2)
        for response in answers:
            self.assertEqual(response.header("Access-Control-Allow-Origin"), "http://page")
            self.assertEqual(response.header("Vary"), "Origin")


class SameAnswersTests(SynchronousTestCase):
    """Two sites of one store, one of them with a cache, in a long random history."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = Store(MemoryJournal(), self.clock, now=lambda: round(self.clock.seconds() * 1e9))
        self.store.startService()
        self.addCleanup(self.store.stopService)
        root = API(self.store, name="m", client_urls=("http://m",))
        self.plain = conversation(Site(root, self.clock), self.clock)
        self.cache = Cache(room=40_000)
        self.cached = conversation(Site(root, self.clock, cache=self.cache), self.clock)

    def ask(self, talk: Conversation, method: str, target: str, body: bytes | None = None) -> bytes:
        talk.begin(method, target, FORM if body is not None else [], body)
        self.clock.advance(0)
        return talk.receive()

    def test_every_byte_is_the_same(self) -> None:
        random = Random(20)
        keys = ["/a", "/b", "/d", "/d/a", "/d/b", "/d/e/a", "/long"]
        queries = ["", "", "", "?recursive=true", "?sorted=true", "?quorum=true", "?keysOnly=true"]
        hits = 0
        for _ in range(3000):
            key = random.choice(keys)
            step = random.random()
            if step < 0.08:
                size = 5000 if key == "/long" else 3
                ttl = random.choice(["", "", "", "&ttl=3"])
                self.ask(
                    self.plain,
                    "PUT",
                    "/v2/keys" + key,
                    f"value={random.randrange(3)}{'x' * size}{ttl}".encode(),
                )
            elif step < 0.1:
                self.ask(self.plain, "DELETE", f"/v2/keys{key}?recursive=true")
            elif step < 0.12:
                self.clock.advance(random.choice([0.4, 1.0, 2.5]))
            else:
                target = f"/v2/keys{key}{random.choice(queries)}"
                hits += self._bytes(target) in self.cache.kept
                self.assertEqual(self.ask(self.cached, "GET", target), self.ask(self.plain, "GET", target))
        self.assertGreater(hits, 500)

    def _bytes(self, target: str) -> bytes:
        return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:4001\r\n\r\n".encode()
