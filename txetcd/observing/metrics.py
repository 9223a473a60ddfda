"""`/metrics`: what is counted elsewhere, gathered when somebody looks and written as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from txetcd.errors import EtcdError
from txetcd.observing.files import LineFile
from txetcd.observing.requests import RequestCounts
from txetcd.stats import Histogram, StoreFigures
from txetcd.store import Store
from txetcd.tls.keeper import Keeper
from txetcd.tree import SECOND

# What a store was asked for, by etcd's own names of it.
_OPERATIONS = {
    "gets": "get",
    "sets": "set",
    "create": "create",
    "update": "update",
    "delete": "delete",
    "compareAndSwap": "compareAndSwap",
    "compareAndDelete": "compareAndDelete",
}


@dataclass(frozen=True)
class Sources:
    """Where the figures of a server come from.

    @ivar version: of txetcd.
    @ivar name: of the server.
    @ivar engine: what keeps its data.
    @ivar requests: counts requests.
    @ivar connections: tells how many connections there are.
    @ivar store: the store.
    @ivar keeper: has the figures of TLS, if TLS is spoken.
    @ivar files: the files of logs, by what is in them.
    """

    version: str
    name: str
    engine: str
    requests: RequestCounts
    connections: Callable[[], int]
    store: Store
    keeper: Keeper | None
    files: dict[str, LineFile]


def exposition(sources: Sources) -> Callable[[], str]:
    """What gives all figures of one server, those of its process included, as text of the format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Server(sources))
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry).decode()


class _Server(Collector):
    """Gathers the figures of a server."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        """The figures, each family in one piece."""
        sources = self._sources
        yield _gauge(
            "txetcd_info",
            "Which txetcd this is, and what keeps its data; always 1.",
            ["version", "name", "engine"],
            [([sources.version, sources.name, sources.engine], 1)],
        )
        yield from _requests(sources.requests)
        yield _gauge("txetcd_connections", "Connections that are open.", value=sources.connections())
        yield from _store(sources.store)
        if sources.keeper is not None:
            yield from _tls(sources.keeper)
        if sources.files:
            yield _counter(
                "txetcd_log_lines_lost_total",
                "Lines of the access and audit logs that could not be written.",
                ["log"],
                [([log], file.lost) for log, file in sources.files.items()],
            )


def _requests(requests: RequestCounts) -> Iterator[Metric]:
    verbs = list(requests.verbs())
    yield _counter(
        "txetcd_requests_total",
        "Requests that are over, by method and status; 499: the client went away before it was answered.",
        ["verb", "code"],
        [([name, str(code)], count) for name, verb in verbs for code, count in sorted(verb.codes.items())],
    )
    yield _counter(
        "txetcd_requests_refused_total",
        "Requests and connections refused before they were looked at: malformed, too large, too many.",
        ["code"],
        [([str(code)], count) for code, count in sorted(requests.refusals.items())],
    )
    yield _histogram(
        "txetcd_request_seconds",
        "From a request's last byte in to its answer's last byte out, watches excepted.",
        ["verb"],
        [([name], verb.seconds) for name, verb in verbs if verb.codes and verb is not requests.watches],
    )


def _store(store: Store) -> Iterator[Metric]:
    try:
        figures = store.figures()
    except EtcdError:
        # It is not open yet, or not any more.
        yield _gauge("txetcd_accepting_writes", _ACCEPTING, value=0)
        return
    yield _gauge("txetcd_accepting_writes", _ACCEPTING, value=figures.accepting and not store.trouble)
    yield _gauge("txetcd_keys", "Keys that have a value, hidden ones too.", value=figures.keys)
    yield _gauge("txetcd_index", "The index of the latest change (X-Etcd-Index).", value=figures.index)
    yield _gauge("txetcd_raft_index", "Commands evaluated (X-Raft-Index).", value=figures.raft_index)
    yield _gauge("txetcd_watches", "Watches that wait.", value=figures.watching)
    yield _gauge("txetcd_writes_waiting", "Writes that are not yet durable.", value=figures.waiting)
    yield from _history(figures)
    yield _counter(
        "txetcd_operations_total",
        "What the store was asked for, by its kind and result.",
        ["operation", "result"],
        [
            ([operation, result.lower()], figures.stats.counts[name + result])
            for name, operation in _OPERATIONS.items()
            for result in ("Success", "Fail")
        ],
    )
    yield _counter("txetcd_expired_keys_total", "Keys that ran out.", value=figures.stats.expired)
    commits = figures.commits
    yield _histogram(
        "txetcd_commit_commands", "Commands in each batch made durable.", [], [([], commits.commands)]
    )
    yield _histogram(
        "txetcd_commit_seconds",
        "How long it took until a batch was durable and evaluated.",
        [],
        [([], commits.seconds)],
    )
    yield _counter(
        "txetcd_commits_failed_total", "Batches that could not be made durable.", value=commits.failed
    )


_ACCEPTING = "1 while writes are taken, else 0; what /health tells."


def _history(figures: StoreFigures) -> Iterator[Metric]:
    yield _gauge("txetcd_history_events", "Events kept for watches of the past.", value=figures.history)
    yield _gauge(
        "txetcd_history_oldest_index", "The oldest index that can be asked for.", value=figures.oldest_index
    )
    if figures.oldest_time is not None:
        yield _gauge(
            "txetcd_history_oldest_timestamp_seconds",
            "When the oldest event kept was asked for.",
            value=figures.oldest_time / SECOND,
        )


def _tls(keeper: Keeper) -> Iterator[Metric]:
    figures = keeper.figures
    yield _counter(
        "txetcd_tls_handshakes_total",
        "Handshakes that are over, by what came of them.",
        ["result"],
        [(["welcomed"], figures.welcomed), (["turned_away"], figures.turned_away)],
    )
    yield _counter(
        "txetcd_tls_refusals_total",
        "Clients refused, by the reason that the log gives, up to its first comma or colon.",
        ["reason"],
        [([reason], count) for reason, count in sorted(keeper.refusals.counts.items())],
    )
    yield _counter(
        "txetcd_tls_reloads_total",
        "Changes of the certificate files, by whether they could be used.",
        ["result"],
        [(["success"], figures.reloads), (["fail"], figures.failed_reloads)],
    )
    yield _gauge(
        "txetcd_tls_not_after_timestamp_seconds",
        "When the first of the certificates in use, CAs included, runs out.",
        value=figures.not_after.timestamp(),
    )


# Families.

Samples = Sequence[tuple[list[str], float]]


def _gauge(
    name: str, help: str, labels: Sequence[str] = (), samples: Samples = (), *, value: float | None = None
) -> Metric:
    family = GaugeMetricFamily(name, help, labels=labels)
    for label_values, number in samples if value is None else [([], value)]:
        family.add_metric(label_values, number)
    return family


def _counter(
    name: str, help: str, labels: Sequence[str] = (), samples: Samples = (), *, value: float | None = None
) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)
    for label_values, number in samples if value is None else [([], value)]:
        family.add_metric(label_values, number)
    return family


def _histogram(
    name: str, help: str, labels: Sequence[str], samples: Sequence[tuple[list[str], Histogram]]
) -> Metric:
    family = HistogramMetricFamily(name, help, labels=labels)
    for label_values, histogram in samples:
        buckets = [(_bound(bound), float(count)) for bound, count in histogram.cumulative()]
        family.add_metric(label_values, buckets, histogram.sum)
    return family


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else f"{bound:g}"
