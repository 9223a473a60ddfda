"""What a crash, a full disk or a damaged file may do to a real server's data, and what not."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import random
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tests.e2e import TIMEOUT, TWISTD, Client, EndToEndCase, ServerProcess, free_port
from txetcd.journal import CHECKPOINT_COMMANDS

ROUNDS = 6
WRITERS = 4
SEED = 20_240_229

# More than the events of all rounds, so that every one of them can be asked for again.
HISTORY = "--history-size=1000000"

# A SQLite page has 4096 bytes, and is written with a header: no transaction can be written below this.
NO_ROOM = 4096

Event = dict[str, Any]


class Witnesses:
    """Clients in threads of their own, and what they were told before the server was killed.

    @ivar acknowledged: the events that answered writes.
    @ivar seen: the events that a watcher was told of.
    @ivar reads: pairs of an index and the node that a read showed at that index.
    @ivar index: the highest X-Etcd-Index that anybody saw.
    """

    def __init__(self, server: ServerProcess, round_: int) -> None:
        self.acknowledged: list[Event] = []
        self.seen: list[Event] = []
        self.reads: list[tuple[int, Event]] = []
        self.index = 0
        self.unexpected: list[str] = []
        self._server = server
        self._round = round_
        self._changed = threading.Condition()
        writers = [partial(self._write, number) for number in range(WRITERS)]
        roles: list[Callable[[Client], None]] = [self._read, self._watch, *writers]
        self._threads = [threading.Thread(target=self._run, args=(role,), daemon=True) for role in roles]

    def kill_after(self, writes: int) -> None:
        """Let them work, kill the server at about the given number of acknowledged writes, and join them."""
        for thread in self._threads:
            thread.start()
        with self._changed:
            enough = self._changed.wait_for(
                lambda: len(self.acknowledged) >= writes and self.seen and self.reads, timeout=TIMEOUT
            )
        self._server.kill()
        for thread in self._threads:
            thread.join(TIMEOUT)
        if not enough or self.unexpected or any(thread.is_alive() for thread in self._threads):
            raise AssertionError(f"{self.unexpected}\n{self._server.output}")

    def _run(self, role: Callable[[Client], None]) -> None:
        client = self._server.client()
        try:
            role(client)
        except (OSError, http.client.HTTPException):
            pass  # The server was killed; what an answer had not come whole for was not acknowledged.
        except Exception as error:
            self.unexpected.append(repr(error))
        finally:
            client.close()

    def _ask(self, client: Client, method: str, path: str, **form: object) -> Event:
        answer = client.request(method, path, **form)
        told: Event = answer.json
        with self._changed:
            self.index = max(self.index, answer.index)
        return told

    def _write(self, writer: int, client: Client) -> None:
        rng = random.Random(f"{SEED} {self._round} {writer}")
        own = f"/v2/keys/writers/{writer}"
        for number in itertools.count():
            choice = rng.randrange(6)
            if choice == 0:
                told = self._ask(client, "PUT", "/v2/keys/shared", value=f"{self._round} {writer} {number}")
            elif choice == 1:
                told = self._ask(client, "POST", "/v2/keys/queue", value=number)
            elif choice == 2:
                told = self._ask(client, "PUT", f"{own}/lease{number}", value=number, ttl=1)
            elif choice == 3:
                told = self._ask(client, "DELETE", f"{own}/{rng.randrange(10)}")
            else:
                told = self._ask(client, "PUT", f"{own}/{rng.randrange(10)}", value=number)
            if "errorCode" not in told:
                with self._changed:
                    self.acknowledged.append(told)
                    self._changed.notify_all()
            elif told["errorCode"] != 100:
                raise AssertionError(told)

    def _read(self, client: Client) -> None:
        while True:
            answer = client.request("GET", "/v2/keys/shared")
            if answer.status == 200:
                self.reads.append((answer.index, answer.json["node"]))

    def _watch(self, client: Client) -> None:
        for event in stream(client, 0):
            self.seen.append(event)


def stream(client: Client, since: int) -> Iterator[Event]:
    """All events from that index on; the last may have come in part and is left out."""
    wait_index = f"&waitIndex={since}" if since else ""
    client.begin("GET", f"/v2/keys/?wait=true&recursive=true&stream=true{wait_index}")
    response = client.response()
    while line := response.readline():
        if line.endswith(b"\n"):
            yield json.loads(line)


def index_of(event: Event) -> int:
    """The event's own index."""
    index: int = event["node"]["modifiedIndex"]
    return index


def files_of(node: Event) -> dict[str, tuple[str, int]]:
    """Values and indices of all files in a listing."""
    if "nodes" not in node:
        return {} if node.get("dir") else {node["key"]: (node["value"], node["modifiedIndex"])}
    return {key: file for child in node["nodes"] for key, file in files_of(child).items()}


def replayed(history: list[Event]) -> dict[str, tuple[str, int]]:
    """What the events, told from the first on, come to."""
    files: dict[str, tuple[str, int]] = {}
    for event in history:
        node = event["node"]
        if event["action"] in ("delete", "expire"):
            files.pop(node["key"], None)
        else:
            files[node["key"]] = (node["value"], node["modifiedIndex"])
    return files


class KillTests(EndToEndCase):
    """kill -9 under load, over and over on one data directory."""

    def test_nothing_acknowledged_or_seen_is_lost(self) -> None:
        rng = random.Random(SEED)
        server = self.start(HISTORY)
        known: list[Event] = []
        for round_ in range(ROUNDS):
            witnesses = Witnesses(server, round_)
            witnesses.kill_after(rng.randrange(20, 800))
            server = self.start(HISTORY)
            known = self.check(server, witnesses, known)
        server.stop()

    def check(self, server: ServerProcess, witnesses: Witnesses, known: list[Event]) -> list[Event]:
        """Compare what the server says now with what clients were told; return its whole history."""
        listing, history = self.whole(server)
        self.assertEqual([index_of(event) for event in history], list(range(2, len(history) + 2)))
        self.assertEqual(history[: len(known)], known)
        by_index = {index_of(event): event for event in history}
        self.assertGreaterEqual(max(by_index), witnesses.index)
        for event in (*witnesses.acknowledged, *witnesses.seen):
            self.assertEqual(without_ttl(by_index.get(index_of(event))), without_ttl(event))
        for index, node in witnesses.reads:
            self.assertEqual(by_index[node["modifiedIndex"]]["node"], node)
            self.assertLessEqual(index, max(by_index))
        self.assertEqual(files_of(listing), replayed(history))
        return history

    def whole(self, server: ServerProcess) -> tuple[Event, list[Event]]:
        """A listing of everything, and all events up to it; leases run out meanwhile."""
        client, streamed = server.client(), server.client()
        self.addCleanup(client.close)
        self.addCleanup(streamed.close)
        answer = client.request("GET", "/v2/keys/?recursive=true")
        history: list[Event] = []
        for event in stream(streamed, 2):
            history.append(event)
            if index_of(event) == answer.index:
                break
        client.close()
        streamed.close()
        return answer.json["node"], history

    def test_killed_while_starting(self) -> None:
        server = self.start()
        first = server.request("PUT", "/v2/keys/a", value="1")
        server.kill()
        for line in ("starting up", "reactor class", "Site starting", "at index"):
            port = free_port()
            server = self.launch([*TWISTD, "--data-dir=data", f"--addr=127.0.0.1:{port}"], port)
            server.wait_for(line)
            server.kill()
        found = self.start().request("GET", "/v2/keys/a")
        self.assertEqual((found.json["node"]["value"], found.index), ("1", first.index))
        self.assertEqual(found.headers["X-Etcd-Cluster-Id"], first.headers["X-Etcd-Cluster-Id"])


def without_ttl(event: Event | None) -> Event | None:
    """The event without the ttl of its nodes, which counts down."""
    if event is None:
        return None
    return {
        name: {key: value for key, value in part.items() if key != "ttl"} if isinstance(part, dict) else part
        for name, part in event.items()
    }


class DiskFullTests(EndToEndCase):
    if not hasattr(resource, "prlimit"):
        skip = "this system cannot limit another process"

    def limit(self, server: ServerProcess, size: int) -> None:
        """Let the server write to no place beyond this in any file: so a disk is full for it."""
        hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def test_writes_are_refused_until_there_is_room(self) -> None:
        server = self.start()
        unlimited = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[0]
        watcher = server.client()
        self.addCleanup(watcher.close)
        watcher.begin("GET", "/v2/keys/b?wait=true")
        watching = watcher.response()
        server.request("PUT", "/v2/keys/a", value="kept")
        self.limit(server, NO_ROOM)
        for error in self.at_once(server, 20):
            self.assertEqual(error["errorCode"], 300)
            self.assertEqual((error["message"], error["index"]), ("Raft Internal Error", 2))
            self.assertIn("txetcd.db", error["cause"])
        answer = server.request("PUT", "/v2/keys/b", value="no")
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (500, "application/json"))
        self.assertEqual(answer.index, 2)
        found = server.request("GET", "/v2/keys/?recursive=true")
        self.assertEqual((found.status, found.index), (200, 2))
        self.assertEqual(files_of(found.json["node"]), {"/a": ("kept", 2)})
        self.assertIn("could not be made durable", server.output)

        self.limit(server, unlimited)
        answer = server.request("PUT", "/v2/keys/b", value="yes")
        self.assertEqual((answer.status, answer.index), (201, 3))
        self.assertEqual(json.loads(watching.read()), answer.json)
        self.assertNotIn("Traceback", server.output)
        server.kill()
        found = self.start().request("GET", "/v2/keys/?recursive=true")
        self.assertEqual(files_of(found.json["node"]), {"/a": ("kept", 2), "/b": ("yes", 3)})
        self.assertEqual(found.index, 3)

    def test_a_checkpoint_that_has_no_room(self) -> None:
        server = self.start()
        unlimited = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[0]
        client = server.client()
        self.addCleanup(client.close)
        kept: dict[str, tuple[str, int]] = {}
        statuses: dict[int, set[int]] = {}
        # After the first of these, the next write has to take a checkpoint along.
        for room, writes in (
            (unlimited, CHECKPOINT_COMMANDS),
            (NO_ROOM, 20),
            (100_000, 20),
            (1_000_000, 20),
            (unlimited, 20),
        ):
            self.limit(server, room)
            statuses[room] = set()
            for number in range(writes):
                key, value = f"/{number % 150}", f"{room} {number} " + "x" * 3900
                answer = client.request("PUT", f"/v2/keys{key}", value=value)
                statuses[room].add(answer.status)
                if answer.status == 500:
                    self.assertEqual(answer.json["errorCode"], 300)
                else:
                    kept[key] = (value, answer.index)
            found = client.request("GET", "/v2/keys/?recursive=true")
            self.assertEqual(files_of(found.json["node"]), kept)
        self.assertEqual((statuses[NO_ROOM], statuses[unlimited]), ({500}, {200}))
        server.kill()
        with contextlib.closing(sqlite3.connect(self.data_dir / "txetcd.db")) as connection:
            ((batches,),) = connection.execute("SELECT count(*) FROM log")
        self.assertLess(batches, 100, "there was a checkpoint after all")
        found = self.start().request("GET", "/v2/keys/?recursive=true")
        self.assertEqual(files_of(found.json["node"]), kept)

    def at_once(self, server: ServerProcess, count: int) -> list[Event]:
        """The answers to writes that wait together, on connections of their own."""
        clients = [server.client() for _ in range(count)]
        for number, client in enumerate(clients):
            self.addCleanup(client.close)
            client.begin("PUT", f"/v2/keys/many{number}", value="no")
        answers = [client.answer() for client in clients]
        self.assertEqual({answer.status for answer in answers}, {500})
        return [answer.json for answer in answers]


class DamageTests(EndToEndCase):
    """A start that must not be: one line and status 1."""

    def setUp(self) -> None:
        super().setUp()
        server = self.start()
        for number in range(50):
            server.request("PUT", f"/v2/keys/{number}", value="some value " * 50)
        server.stop()
        self.file = self.data_dir / "txetcd.db"
        self.assertFalse((self.data_dir / "txetcd.db-wal").exists(), "all of it is in the one file")

    def assert_refused(self, reason: str) -> None:
        """Nothing serves the file, and nothing changes it either."""
        content = self.file.read_bytes()
        self.assert_does_not_start(
            f"--data-dir {self.file} {reason}", "--data-dir=data", f"--addr=127.0.0.1:{free_port()}"
        )
        self.assertEqual(self.file.read_bytes(), content)

    def test_flipped_byte(self) -> None:
        """In each place: SQLite leaves copies behind that are not in use."""
        content = self.file.read_bytes()
        self.assertIn(b"some value", content)
        self.file.write_bytes(content.replace(b"some value", b"somd value"))
        self.assert_refused("is damaged: .*start anew with --force")

    def test_truncated(self) -> None:
        content = self.file.read_bytes()
        self.file.write_bytes(content[: len(content) // 2])
        self.assert_refused("is damaged: .*start anew with --force")

    def test_overwritten(self) -> None:
        self.file.write_bytes(random.Random(SEED).randbytes(self.file.stat().st_size))
        self.assert_refused("is damaged: .*start anew with --force")

    def test_force_is_the_remedy(self) -> None:
        self.file.write_bytes(b"nothing")
        server = self.start("--force")
        self.assertEqual(server.request("PUT", "/v2/keys/a", value="1").index, 2)
        server.stop()
