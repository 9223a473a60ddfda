"""`/metrics`: what is counted, what that costs in series, and how it is shown and documented."""

from __future__ import annotations

import random
import re
import ssl
from collections.abc import Iterator
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.documents import CHECKOUT
from tests.e2e import Client, EndToEndCase, free_port
from tests.http_harness import conversation
from tests.store_harness import EPOCH, StoreTestCase
from tests.test_metrics_requests import Slow
from tests.tls_harness import MemoryClient, Recorder, TLSCase
from txetcd.journal import CHECKPOINT_COMMANDS
from txetcd.journal.memory import MemoryJournal
from txetcd.observing.files import LineFile
from txetcd.observing.metrics import Sources, exposition
from txetcd.observing.requests import RequestCounts
from txetcd.resources.api import API
from txetcd.site import Site
from txetcd.stats import Histogram
from txetcd.store import Store
from txetcd.tls.connection import Factory
from txetcd.tree import Dir, File

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    """The samples, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, /, **labels: str) -> float | None:
    """One sample's value; None if there is none."""
    return samples.get((name, tuple(sorted(labels.items()))))


class HistogramTests(SynchronousTestCase):
    def test_buckets(self) -> None:
        histogram = Histogram((1, 2, 4))
        for each in (0.5, 1, 1.5, 4, 4.1, 100):
            histogram.add(each)
        self.assertEqual(list(histogram.cumulative()), [(1, 2), (2, 3), (4, 4), (float("inf"), 6)])
        self.assertAlmostEqual(histogram.sum, 111.1)

    def test_empty(self) -> None:
        self.assertEqual(list(Histogram((1,)).cumulative()), [(1, 0), (float("inf"), 0)])


def files_below(directory: Dir) -> int:
    """How many files there are, by a walk."""
    nodes = list(directory.nodes())
    return sum(files_below(node) if isinstance(node, Dir) else isinstance(node, File) for node in nodes)


class KeysTests(StoreTestCase):
    """The number of keys, which nobody counts by a walk."""

    def settle(self) -> None:
        for _ in range(10):
            self.turn()

    def check(self, store: Store) -> None:
        self.settle()
        self.assertEqual(store.figures().keys, files_below(store.tree.root))

    def test_any_writes(self) -> None:
        chance = random.Random(4001)
        store = self.started()
        for _ in range(600):
            key = "".join(f"/{chance.choice('ab_')}" for _ in range(chance.randint(1, 4)))
            write = chance.randrange(7)
            if write == 0:
                done: Deferred[Any] = store.delete(key, recursive=True)
            elif write == 1:
                done = store.delete(key)
            elif write == 2:
                done = store.set(key, dir=True, ttl=chance.choice((None, 5)))
            elif write == 3:
                done = store.create_in_order(key, "v")
            elif write == 4:
                done = store.update(key, "w")
            else:
                done = store.set(key, "v", ttl=chance.choice((None, 1, 5)))
            done.addErrback(lambda _: None)
            self.settle()
            self.clock.advance(chance.choice((0, 0, 0.3)))
            self.check(store)
        self.assertGreater(store.figures().index, 200)

    def test_restart(self) -> None:
        store = self.started(self.journal)
        for key in ("/a", "/b/c", "/b/d/e", "/_hidden"):
            store.set(key, "v")
        self.turn()
        self.journal.commit()
        self.stopped(store)
        again = Store(self.journal, self.clock, now=self.now)
        again.startService()
        self.addCleanup(self.stopped, again)
        self.assertEqual(again.figures().keys, 4)

    def test_restart_from_a_checkpoint(self) -> None:
        journal = MemoryJournal()
        store = self.started(journal)
        count = CHECKPOINT_COMMANDS + 10
        for number in range(count):
            store.set(f"/{number % 7}/{number}", "v")
        while store.figures().waiting:
            self.turn()
        self.stopped(store)
        self.assertEqual(self.started(journal).figures().keys, count)

    def test_a_removed_directory(self) -> None:
        """All of it goes, over several turns."""
        store = self.started()
        for number in range(5000):
            store.set(f"/d/{number}", "v")
        while store.figures().waiting:
            self.turn()
        self.assertEqual(store.figures().keys, 5000)
        self.done(store.delete("/d", recursive=True))
        self.settle()
        self.assertEqual(store.figures().keys, 0)


class StoreFiguresTests(StoreTestCase):
    def test_commits(self) -> None:
        store = self.started(self.journal)
        for number in range(3):
            store.set(f"/{number}", "v")
        self.assertEqual(store.figures().waiting, 3)
        self.turn()
        store.set("/late", "v").addErrback(lambda _: None)
        self.assertEqual(store.figures().waiting, 4)
        self.clock.advance(0.02)
        self.journal.commit()
        self.assertEqual(store.figures().waiting, 1)
        self.turn()
        self.journal.refuse("the disk is full")
        commits = store.figures().commits
        self.assertEqual((commits.commands.sum, commits.failed), (3, 1))
        self.assertAlmostEqual(commits.seconds.sum, 0.02)
        self.assertEqual(store.figures().waiting, 0)

    def test_history(self) -> None:
        store = self.started(history_size=2)
        figures = store.figures()
        self.assertEqual((figures.history, figures.oldest_index, figures.oldest_time), (0, 2, None))
        for _ in range(4):
            self.done(store.set("/a", "v"))
            self.clock.advance(1)
        figures = store.figures()
        self.assertEqual((figures.history, figures.oldest_index), (2, 4))
        self.assertEqual(figures.oldest_time, (EPOCH + 2) * 10**9)


class ExpositionCase(StoreTestCase):
    """Everything that a server shows."""

    def setUp(self) -> None:
        super().setUp()
        self.requests = RequestCounts()
        self.lost = LineFile(CHECKOUT / "nowhere" / "log", self.clock)

    def text(self, store: Store, keeper: Any = None) -> str:
        sources = Sources(
            version="1.2.3",
            name="machine0",
            engine="memory",
            requests=self.requests,
            connections=lambda: 7,
            store=store,
            keeper=keeper,
            files={"audit": self.lost},
        )
        return exposition(sources)()

    def samples(self, store: Store) -> Samples:
        return parse(self.text(store))


class ExpositionTests(ExpositionCase):
    def test_samples(self) -> None:
        store = self.started()
        self.done(store.set("/a", "v"))
        self.done(store.set("/b", "v", ttl=1))
        store.compare_and_swap("/a", "w", prev_value="x").addErrback(lambda _: None)
        store.watch("/c").addErrback(lambda _: None)
        self.clock.advance(1)
        self.turn()
        self.lost({"line": "x"})
        self.flushLoggedErrors()
        samples = self.samples(store)
        for name, expected in {
            "txetcd_connections": 7,
            "txetcd_accepting_writes": 1,
            "txetcd_keys": 1,
            "txetcd_index": 4,
            "txetcd_raft_index": 4,
            "txetcd_watches": 1,
            "txetcd_writes_waiting": 0,
            "txetcd_history_events": 3,
            "txetcd_history_oldest_index": 2,
            "txetcd_history_oldest_timestamp_seconds": EPOCH,
            "txetcd_expired_keys_total": 1,
            "txetcd_commit_commands_count": 4,
            "txetcd_commits_failed_total": 0,
        }.items():
            self.assertEqual(value(samples, name), expected, name)
        self.assertEqual(value(samples, "txetcd_info", version="1.2.3", name="machine0", engine="memory"), 1)
        operations = "txetcd_operations_total"
        self.assertEqual(value(samples, operations, operation="set", result="success"), 2)
        self.assertEqual(value(samples, operations, operation="compareAndSwap", result="fail"), 1)
        self.assertEqual(value(samples, "txetcd_log_lines_lost_total", log="audit"), 1)
        self.assertEqual(value(samples, "txetcd_commit_commands_bucket", le="+Inf"), 4)
        self.assertIsNotNone(value(samples, "process_cpu_seconds_total"))

    def test_a_store_that_does_not_run(self) -> None:
        store = Store(self.journal, self.clock)
        samples = self.samples(store)
        self.assertEqual(value(samples, "txetcd_accepting_writes"), 0)
        self.assertIsNone(value(samples, "txetcd_keys"))

    def test_clients_cannot_make_series(self) -> None:
        """However many keys and methods there are."""
        store = self.started()
        site = Site(API(store, name="x", client_urls=("http://x",)), self.clock, observers=[self.requests])
        talk = conversation(site, self.clock)
        self.addCleanup(talk.disconnect)

        def ask(key: int, method: str) -> None:
            for each in ("GET", "PUT", method):
                talk.begin(each, f"/v2/keys/{key}", body=b"value=v")
                self.turn()
                self.assertIsNotNone(talk.response())

        ask(0, "AAA")
        before = len(self.samples(store))
        for key in range(1, 30):
            ask(key, f"BBB{key}")
        # An existing key is a 200 in place of the first one's 404 at most.
        self.assertLessEqual(len(self.samples(store)), before + 2)


class DocumentTests(ExpositionCase, TLSCase):
    """docs/observing.md has every metric, and no other."""

    def setUp(self) -> None:
        ExpositionCase.setUp(self)
        TLSCase.setUp(self)

    def families(self) -> Iterator[tuple[str, str, set[str]]]:
        store = self.started()
        self.done(store.set("/a", "v"))
        slow = Slow()
        talk = conversation(Site(slow, self.clock, observers=[self.requests]), self.clock)
        talk.begin("GET", "/")
        slow.asked.pop().finish()
        talk.send(b"NONSENSE\r\n\r\n")
        keeper = self.keeper(clock=self.clock)
        keeper.refusals.tell(None, "it has shown no certificate")
        keeper.refusals.stop()
        for family in text_string_to_metric_families(self.text(store, keeper)):
            if family.name.startswith("txetcd_"):
                name = family.name + ("_total" if family.type == "counter" else "")
                labels = {label for sample in family.samples for label in sample.labels} - {"le"}
                yield name, family.type, labels

    def test_table(self) -> None:
        text = (CHECKOUT / "docs" / "observing.md").read_text("utf-8")
        rows = re.findall(r"^\| `(txetcd_\w+)` \| (\w+) \| ([^|]*)\|", text, re.MULTILINE)
        documented = [(name, kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows]
        self.assertEqual(sorted(documented), sorted(self.families()))
        named = set(re.findall(r"\btxetcd_\w+", text)) - {name for name, _, _ in documented}
        suffixes = re.compile(r"_(bucket|sum|count)$")
        self.assertEqual(
            {suffixes.sub("", name) for name in named} - {name for name, _, _ in documented}, set()
        )


class TLSMetricsTests(TLSCase):
    def test_refusals(self) -> None:
        clock = Clock()
        keeper = self.keeper(clock=clock)
        factory = Factory(keeper, Recorder(), clock, 10, True)
        factory.doStart()
        self.addCleanup(factory.doStop)
        with self.logged():
            for _ in range(2):
                client = MemoryClient(keeper, self.context(None))
                self.assertRaises(ssl.SSLError, client.exchange)
                client.close()
        sources = Sources(
            "1", "x", "memory", RequestCounts(), lambda: 0, Store(MemoryJournal(), clock), keeper, {}
        )
        samples = parse(exposition(sources)())
        reason = "it has shown no certificate"
        self.assertEqual(value(samples, "txetcd_tls_refusals_total", reason=reason), 2)


class ServerTests(EndToEndCase):
    def test_both_addresses(self) -> None:
        probe = free_port()
        server = self.start(f"--listen-metrics-urls=http://127.0.0.1:{probe}")
        server.wait_for(f"Serving /health and /metrics alone on http://127.0.0.1:{probe}")
        server.request("PUT", "/v2/keys/a", value="v")
        prober = Client(probe)
        self.addCleanup(prober.close)
        for answer in (server.request("GET", "/metrics"), prober.request("GET", "/metrics")):
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
            samples = parse(answer.body.decode())
            self.assertEqual(value(samples, "txetcd_keys"), 1)
            self.assertEqual(value(samples, "txetcd_requests_total", verb="PUT", code="201"), 1)
            self.assertEqual(value(samples, "txetcd_commit_commands_sum"), 1)
        self.assertEqual(server.request("PUT", "/metrics").status, 405)
        server.stop()
