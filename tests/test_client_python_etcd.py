"""python-etcd against a real server with client certificates: every call, every error, restarts."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from tests.client_harness import (
    CA_FILE,
    CLIENT_CERT_FILE,
    CLIENT_KEY_FILE,
    SERVER_CERT_FILE,
    SERVER_KEY_FILE,
    ClientCase,
)
from tests.e2e import TIMEOUT, free_port

T = TypeVar("T")

# It has no type hints.  (The name `suppress` alone would mean something to trial.)
etcd: Any = None
with contextlib.suppress(ImportError):
    etcd = importlib.import_module("etcd")


class PythonEtcdCase(ClientCase):
    """A server, with options of the class, and python-etcd's clients of it."""

    skip = "python-etcd is not installed" if etcd is None else None
    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve(*self.options)
        self.client = self.new_client()

    def new_client(self, **arguments: Any) -> Any:
        """Another client."""
        given = {
            "port": self.port,
            "protocol": "https",
            "cert": (CLIENT_CERT_FILE, CLIENT_KEY_FILE),
            "ca_cert": CA_FILE,
            "read_timeout": int(TIMEOUT),
        }
        return etcd.Client(**{**given, **arguments})

    def in_thread(self, call: Callable[[], T]) -> Future[T]:
        """Begin a call that waits for what others do."""
        executor = ThreadPoolExecutor(1)
        self.addCleanup(executor.shutdown)
        return executor.submit(call)


class KeysTests(PythonEtcdCase):
    """Reads and writes."""

    def test_write_and_read(self) -> None:
        """Values come back as they were written, with their indices and what was there before."""
        client = self.client
        written = client.write("/foo", "b\N{LATIN SMALL LETTER A WITH DIAERESIS}r&=+\n")
        self.assertEqual((written.action, written.key, written.newKey), ("set", "/foo", True))
        self.assertEqual(written.etcd_index, written.modifiedIndex)
        read = client.read("foo")
        self.assertEqual(read.value, "b\N{LATIN SMALL LETTER A WITH DIAERESIS}r&=+\n")
        self.assertEqual(read.modifiedIndex, written.modifiedIndex)
        self.assertGreaterEqual(read.raft_index, written.raft_index)
        again = client.set("/foo", "")
        self.assertEqual((again.value, again.newKey, again._prev_node.value), ("", False, read.value))
        self.assertEqual(client.get("/foo"), client.read("/foo", quorum=True))
        self.assertTrue("/foo" in client)
        self.assertFalse("/bar" in client)

    def test_directories(self) -> None:
        """Directories are made, listed in order and deleted; appended children sort as they came."""
        client = self.client
        self.assertTrue(client.write("/d", None, dir=True).dir)
        client.write("/d/b/deep", 1)
        client.write("/d/a", 2)
        client.write("/d/_hidden", 3)
        queued = [client.write("/q", text, append=True).key for text in ("x", "y", "z")]
        self.assertEqual(queued, sorted(queued))
        self.assertRegex(queued[0], r"\A/q/\d{20}\Z")
        listed = client.read("/d", recursive=True, sorted=True)
        self.assertEqual(
            [(leaf.key, leaf.value) for leaf in listed.leaves], [("/d/a", "2"), ("/d/b/deep", "1")]
        )
        self.assertEqual([node.key for node in client.read("/q", sorted=True).children], queued)
        everything = client.read("/", recursive=True).get_subtree()
        self.assertEqual({"/d", "/d/b", "/q"}, {node.key for node in everything if node.dir and node.key})
        self.assertTrue(client.delete("/d", recursive=True).dir)
        client.write("/e", None, dir=True, ttl=100)
        self.assertEqual(client.delete("/e", dir=True).action, "delete")
        self.assertFalse("/d" in client)

    def test_conditions(self) -> None:
        """Each condition lets the write through, or not."""
        client = self.client
        made = client.write("/c", "one", prevExist=False)
        self.assertEqual((made.action, made.newKey), ("create", True))
        self.assertEqual(client.write("/c", "two", prevExist=True).action, "update")
        swapped = client.test_and_set("/c", "three", "two", ttl=100)
        self.assertEqual((swapped.action, swapped.ttl), ("compareAndSwap", 100))
        last = client.write("/c", "four", prevIndex=swapped.modifiedIndex)
        self.assertEqual(
            (last.action, last.ttl, last.createdIndex), ("compareAndSwap", None, made.createdIndex)
        )
        for condition in ({"prevValue": "three"}, {"prevIndex": made.modifiedIndex}):
            self.assertRaises(etcd.EtcdCompareFailed, client.write, "/c", "no", **condition)
            self.assertRaises(etcd.EtcdCompareFailed, client.delete, "/c", **condition)

        self.assertEqual(client.delete("/c", prevValue="four").action, "compareAndDelete")
        made = client.write("/c", "five")
        self.assertEqual(client.pop("/c", prevIndex=made.modifiedIndex).value, "five")
        self.assertRaises(etcd.EtcdKeyNotFound, client.pop, "/c")

    def test_update(self) -> None:
        """An object that was read is written back, unless it has changed meanwhile."""
        client = self.client
        client.write("/n", 1, ttl=100)
        mine, others = client.read("/n"), client.read("/n")
        mine.value = int(mine.value) + 1
        updated = client.update(mine)
        self.assertEqual((updated.action, updated.value), ("compareAndSwap", "2"))
        self.assertIn(updated.ttl, (99, 100))
        self.assertRaises(etcd.EtcdCompareFailed, client.update, others)
        client.write("/dir", None, dir=True)
        directory = client.read("/dir")
        directory.ttl = 50
        self.assertEqual(client.update(directory).ttl, 50)

    def test_refresh(self) -> None:
        """A refresh keeps the value, and no watch hears of it."""
        client = self.client
        index = client.write("/r", "kept", ttl=5).modifiedIndex
        refreshed = client.refresh("/r", 100)
        self.assertEqual((refreshed.action, refreshed.value, refreshed.ttl), ("update", "kept", 100))
        client.write("/r", "new")
        self.assertEqual(client.watch("/r", index=index + 1, timeout=TIMEOUT).value, "new")
        self.assertRaises(etcd.EtcdKeyNotFound, client.refresh, "/nope", 100)

    def test_errors(self) -> None:
        """Each error is raised as the class that python-etcd has for it, with what the server said."""
        client = self.client
        client.write("/d/f", "x")
        refused: list[tuple[str, int, Callable[[], Any]]] = [
            ("EtcdKeyNotFound", 100, lambda: client.read("/nope")),
            ("EtcdKeyNotFound", 100, lambda: client.write("/nope", "x", prevExist=True)),
            ("EtcdCompareFailed", 101, lambda: client.test_and_set("/d/f", "y", "z")),
            ("EtcdNotFile", 102, lambda: client.write("/d", "x")),
            ("EtcdNotFile", 102, lambda: client.delete("/d")),
            ("EtcdNotDir", 104, lambda: client.write("/d/f/g", "x")),
            ("EtcdAlreadyExist", 105, lambda: client.write("/d/f", "y", prevExist=False)),
            ("EtcdRootReadOnly", 107, lambda: client.write("/", "x")),
            ("EtcdRootReadOnly", 107, lambda: client.delete("/", recursive=True)),
            ("EtcdDirNotEmpty", 108, lambda: client.delete("/d", dir=True)),
            ("EtcdValueError", 201, lambda: client.write("/d/f", "y", prevValue="")),
            ("EtcdValueError", 202, lambda: client.write("/d/f", "y", ttl="soon")),
            ("EtcdValueError", 203, lambda: client.write("/d/f", "y", prevIndex=-1)),
            ("EtcdValueError", 209, lambda: client.read("/d", recursive="maybe")),
            ("EtcdException", 211, lambda: client.write("/d/f", "y", ttl=1, refresh=True)),
            ("EtcdException", 212, lambda: client.write("/d/f", None, refresh=True)),
        ]
        for name, code, call in refused:
            error = self.assertRaises(etcd.EtcdException, call)
            self.assertEqual((type(error).__name__, error.payload["errorCode"]), (name, code))
        self.assertEqual(client.read("/d/f").value, "x")
        self.assertEqual(client.read("/", recursive=True).etcd_index, 2)


class WatchTests(PythonEtcdCase):
    """Watches."""

    options = ("--history-size=5",)

    def test_from_now(self) -> None:
        """A watch without an index tells the next change, of all below if it is recursive."""
        one = self.in_thread(lambda: self.client.watch("/w", timeout=TIMEOUT))
        below = self.in_thread(lambda: self.new_client().watch("/w", recursive=True, timeout=TIMEOUT))
        self.wait_for_watches(2)
        writer = self.new_client()
        writer.write("/w/x", "deep")
        self.assertEqual(below.result(TIMEOUT).key, "/w/x")
        self.wait_for_watches(1)
        writer.delete("/w", recursive=True)
        event = one.result(TIMEOUT)
        self.assertEqual((event.action, event.key, event._prev_node.dir), ("delete", "/w", True))

    def test_past(self) -> None:
        """A watch with an index tells what was, as long as it is kept; each one goes on from the last."""
        client = self.client
        first = client.write("/w", 0).modifiedIndex
        for number in range(1, 5):
            client.write("/w", number)
        past = client.read("/w", wait=True, waitIndex=first + 1, timeout=TIMEOUT)
        self.assertEqual((past.value, past.etcd_index), ("1", first + 4))
        events = islice(client.eternal_watch("/w", index=first + 1), 5)
        self.assertEqual([event.value for event in islice(events, 4)], list("1234"))
        following = self.in_thread(lambda: next(events))
        self.wait_for_watches()
        self.new_client().write("/w", 5)
        self.assertEqual(following.result(TIMEOUT).value, "5")
        error = self.assertRaises(etcd.EtcdEventIndexCleared, client.watch, "/w", index=first)
        self.assertEqual(error.payload["index"], client.read("/w").etcd_index)

    def test_time_out(self) -> None:
        """A watch that its client gives up leaves nothing behind."""
        self.assertRaises(etcd.EtcdWatchTimedOut, self.client.watch, "/w", timeout=0.1)
        self.wait_for_watches(0)
        self.assertEqual(self.client.write("/w", "x").value, "x")

    def test_expiry(self) -> None:
        """A key that expires tells its watch."""
        index = self.client.write("/t", "brief", ttl=1).modifiedIndex
        event = self.client.watch("/t", index=index + 1, timeout=TIMEOUT)
        self.assertEqual((event.action, event.value, event._prev_node.value), ("expire", None, "brief"))
        self.assertFalse("/t" in self.client)


class LockTests(PythonEtcdCase):
    """etcd.Lock, which is made of appended keys, TTLs and watches."""

    def test_one_client(self) -> None:
        """A lock is taken, renewed and released."""
        lock = etcd.Lock(self.client, "job")
        self.assertFalse(lock.is_acquired)
        self.assertTrue(lock.acquire(lock_ttl=100))
        self.assertTrue(lock.is_acquired)
        self.assertTrue(lock.acquire(lock_ttl=50))
        self.assertIn(self.client.read(lock.lock_key).ttl, (49, 50))
        lock.release()
        self.assertFalse(lock.is_acquired)
        with lock:
            self.assertTrue(lock.is_acquired)
            self.assertEqual(self.client.read(lock.lock_key).ttl, None)
        self.assertRaises(etcd.EtcdKeyNotFound, self.client.read, lock.lock_key)

    def test_contention(self) -> None:
        """Who comes second waits until the first is done; who does not want to wait is told."""
        mine, theirs = etcd.Lock(self.client, "job"), etcd.Lock(self.new_client(), "job")
        self.assertTrue(mine.acquire())
        waiting = self.in_thread(theirs.acquire)
        self.wait_for_watches()
        impatient = etcd.Lock(self.new_client(), "job")
        self.assertFalse(impatient.acquire(blocking=False))
        self.assertFalse(waiting.done())
        mine.release()
        self.assertTrue(waiting.result(TIMEOUT))
        self.assertTrue(theirs.is_acquired)
        self.assertFalse(mine.is_acquired)
        theirs.release()
        self.assertTrue(impatient.acquire())

    def test_expired(self) -> None:
        """A lock whose holder has gone falls to the next when its time is over."""
        gone, heir = etcd.Lock(self.client, "job"), etcd.Lock(self.new_client(), "job")
        self.assertTrue(gone.acquire(lock_ttl=1))
        self.assertTrue(heir.acquire())
        self.assertFalse(gone.is_acquired)

    def test_many(self) -> None:
        """Two clients in threads never hold it at once."""
        held: list[str] = []

        def work(name: str) -> None:
            lock = etcd.Lock(self.new_client(), "job")
            for _ in range(5):
                with lock:
                    held.append(name)
                    self.assertEqual(held, [name])
                    held.remove(name)

        for finished in [self.in_thread(partial(work, name)) for name in ("one", "two")]:
            finished.result(TIMEOUT)
        self.assertEqual(list(self.client.read("/_locks/job")._children), [])

    def test_calls_that_are_gone(self) -> None:
        """The calls for etcd 0.x's modules say so themselves."""
        self.assertRaises(NotImplementedError, self.client.get_lock)
        self.assertRaises(NotImplementedError, lambda: self.client.election)


class ClusterTests(PythonEtcdCase):
    """What a client is told of the server, and what it makes of it when the server goes."""

    options = ("--name=machine0",)

    def test_companions(self) -> None:
        """Machines, members, leader, statistics and versions, as python-etcd reads them."""
        client = self.client
        self.assertEqual(client.machines, [self.url])
        ((member_id, member),) = client.members.items()
        self.assertEqual((member["name"], member["clientURLs"]), ("machine0", [self.url]))
        self.assertEqual(client.leader, member)
        self.assertEqual((client.stats["id"], client.stats["state"]), (member_id, "StateLeader"))
        self.assertEqual(client.leader_stats, {"leader": member_id, "followers": {}})
        client.write("/x", "y")
        self.assertEqual(client.store_stats["setsSuccess"], 1)
        self.assertEqual((client.version, client.cluster_version), ("3.4.23", "3.4.0"))
        self.assertRegex(client.expected_cluster_id, r"\A[0-9a-f]+\Z")

    def test_reconnect(self) -> None:
        """With a list of machines, the client passes over those that do not answer."""
        hosts = (("127.0.0.1", free_port()), ("127.0.0.1", self.port))
        client = self.new_client(host=hosts, allow_reconnect=True)
        self.assertEqual(client.write("/x", "y").value, "y")
        self.assertEqual(client.base_uri, self.url)

    def test_restart(self) -> None:
        """The same client goes on after a restart on the same port: same keys, index and cluster."""
        client = self.new_client(allow_reconnect=True)
        before = client.write("/x", "y", ttl=1000)
        self.server.stop()
        self.assertRaises(etcd.EtcdConnectionFailed, client.read, "/x")
        self.serve(*self.options)
        after = client.read("/x")
        self.assertEqual((after.value, after.etcd_index), ("y", before.etcd_index))
        self.assertGreater(client.write("/x", "z").etcd_index, before.etcd_index)

    def test_restart_while_watching(self) -> None:
        """A watch that ends with the server is an error, and nothing is missed after it."""
        index = self.client.write("/x", "y").modifiedIndex
        watching = self.in_thread(lambda: self.client.watch("/x", timeout=TIMEOUT))
        self.wait_for_watches()
        self.server.stop()
        self.assertIsInstance(watching.exception(TIMEOUT), etcd.EtcdException)
        self.serve(*self.options)
        self.new_client().write("/x", "z")
        self.assertEqual(self.client.watch("/x", index=index + 1, timeout=TIMEOUT).value, "z")

    def test_another_store(self) -> None:
        """A client is warned when there is another store behind the address."""
        self.client.write("/x", "y")
        self.server.kill()
        self.serve(*self.options, "--force")
        self.assertRaises(etcd.EtcdClusterIdChanged, self.client.read, "/x")
        self.assertRaises(etcd.EtcdKeyNotFound, self.client.read, "/x")

    def test_refused(self) -> None:
        """Without a certificate, or with one for servers only, there is no connection."""
        for cert in (None, (SERVER_CERT_FILE, SERVER_KEY_FILE)):
            client = self.new_client(cert=cert)
            self.assertRaises(etcd.EtcdConnectionFailed, client.write, "/x", "y")
        self.assertFalse("/x" in self.client)
