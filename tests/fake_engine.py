"""An etcd v3 cluster in memory, as its JSON gateway shows it, and links to it that can be made to fail.

What it refuses and how it counts are etcd's.  Nothing is answered before the next turn of the reactor.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from txetcd.journal.etcd.answers import refusal
from txetcd.journal.etcd.wire import JSON, EngineError

MAX_OPERATIONS = 128
MAX_REQUEST = 1_572_864


@dataclass(frozen=True)
class KeyValue:
    """A row."""

    key: bytes
    value: bytes
    created: int
    modified: int
    version: int
    lease: int = 0

    def to_json(self, keys_only: bool = False) -> JSON:
        numbers = {
            "create_revision": self.created,
            "mod_revision": self.modified,
            "version": self.version,
            "lease": self.lease,
        }
        fields: JSON = {"key": _encode(self.key)} | {name: str(n) for name, n in numbers.items() if n}
        if self.value and not keys_only:
            fields["value"] = _encode(self.value)
        return fields


def _encode(data: bytes) -> str:
    return b64encode(data).decode()


def _decode(text: str | None) -> bytes:
    return b64decode(text or "")


def refuse(text: str, code: int) -> EngineError:
    """The error that etcd's answer is understood as."""
    return refusal({"error": text, "message": text, "code": code})


@dataclass
class Watch:
    """A watch that is open."""

    start: bytes
    end: bytes
    receive: Callable[[JSON], None]
    link: Link


class FakeEngine:
    """The cluster.

    @ivar full: whether there is no space.
    @ivar requests: the paths of what was asked for, in order.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self.reactor = reactor
        self.cluster = "1"
        self.revision = 1
        self.compacted = 0
        self.full = False
        self.rows: dict[bytes, KeyValue] = {}
        self.requests: list[str] = []
        self.watches: list[Watch] = []
        self._past: dict[int, dict[bytes, KeyValue]] = {1: {}}
        self._events: list[tuple[int, list[JSON]]] = []
        self._leases: dict[int, tuple[int, float]] = {}

    def keys(self, part: str = "") -> list[str]:
        """The keys that there are, those with a part in them."""
        return [key.decode() for key in sorted(self.rows) if part in key.decode()]

    def restore(self, revision: int) -> None:
        """Be another cluster, made of a backup of that revision; all watches end."""
        self.cluster += "'"
        self.revision, self.rows = revision, self._past[revision]
        self._past = {at: rows for at, rows in self._past.items() if at <= revision}
        self._events = [each for each in self._events if each[0] <= revision]
        for watch in list(self.watches):
            watch.link.cut()
            watch.link.heal()

    # Requests

    def handle(self, path: str, body: JSON) -> JSON:
        """Answer a request, or raise the error that the answer is."""
        self.requests.append(path)
        self._expire()
        handlers: dict[str, Callable[[JSON], JSON]] = {
            "/kv/range": self._range,
            "/kv/txn": self._txn,
            "/kv/compaction": self._compact,
            "/lease/grant": self._grant,
            "/lease/keepalive": self._keep_alive,
            "/lease/revoke": self._revoke,
        }
        return self._header() | handlers[path](body)

    def _header(self) -> JSON:
        return {"header": {"cluster_id": self.cluster, "revision": str(self.revision)}}

    def _range(self, body: JSON) -> JSON:
        start, end = _decode(body["key"]), _decode(body.get("range_end"))
        revision = int(body.get("revision", 0)) or self.revision
        if revision < self.compacted:
            raise refuse("etcdserver: mvcc: required revision has been compacted", 11)
        if revision > self.revision:
            raise refuse("etcdserver: mvcc: required revision is a future revision", 11)
        at = max(each for each in self._past if each <= revision)
        low, high = int(body.get("min_mod_revision", 0)), int(body.get("max_mod_revision", 0))
        found = [
            kv
            for key, kv in sorted(self._past[at].items())
            if _covers(start, end, key) and kv.modified >= low and (not high or kv.modified <= high)
        ]
        limit = int(body.get("limit", 0)) or len(found)
        answer: JSON = {"kvs": [kv.to_json(body.get("keys_only", False)) for kv in found[:limit]]}
        return answer | ({"more": True} if len(found) > limit else {})

    def _txn(self, body: JSON) -> JSON:
        size = sum(len(_decode(str(text))) for part in ("success", "failure") for text in _texts(body[part]))
        if size > MAX_REQUEST:
            raise refuse("etcdserver: request is too large", 3)
        for branch in ("success", "failure"):
            _check(body[branch])
        # Old releases end when one that only reads is given up.
        assert any("request_range" not in operation for operation in body["success"] + body["failure"])
        succeeded = all(self._holds(condition) for condition in body["compare"])
        operations = body["success" if succeeded else "failure"]
        if self.full and any("request_put" in operation for operation in operations):
            raise refuse("etcdserver: mvcc: database space exceeded", 8)
        revision = self.revision + 1
        rows, events, responses = dict(self.rows), list[JSON](), list[JSON]()
        for operation in operations:
            ((kind, request),) = operation.items()
            if kind == "request_range":
                # What the transaction itself has done is seen.
                found = [kv.to_json() for key, kv in rows.items() if key == _decode(request["key"])]
                responses.append({"response_range": {"kvs": found} if found else {}})
            elif kind == "request_put":
                events.append({"kv": self._put(rows, request, revision).to_json()})
                responses.append({"response_put": {}})
            else:
                start, end = _decode(request["key"]), _decode(request.get("range_end"))
                for key in [key for key in rows if _covers(start, end, key)]:
                    del rows[key]
                    events.append(
                        {"type": "DELETE", "kv": {"key": _encode(key), "mod_revision": str(revision)}}
                    )
                responses.append({"response_delete_range": {}})
        self._commit(rows, events)
        answer: JSON = self._header() | {"responses": responses}
        return answer | ({"succeeded": True} if succeeded else {})

    def _put(self, rows: dict[bytes, KeyValue], request: JSON, revision: int) -> KeyValue:
        key, lease = _decode(request["key"]), int(request.get("lease", 0))
        before = rows.get(key)
        if request.get("ignore_lease"):
            if before is None:
                raise refuse("etcdserver: key not found", 3)
            lease = before.lease
        elif lease and lease not in self._leases:
            raise refuse("etcdserver: requested lease not found", 5)
        value = _decode(request.get("value"))
        if before is None:
            after = KeyValue(key, value, revision, revision, 1, lease)
        else:
            after = replace(before, value=value, modified=revision, version=before.version + 1, lease=lease)
        rows[key] = after
        return after

    def _holds(self, condition: JSON) -> bool:
        kv = self.rows.get(_decode(condition["key"]))
        assert condition["result"] == "EQUAL"
        if condition["target"] == "VERSION":
            return (kv.version if kv else 0) == int(condition["version"])
        assert condition["target"] == "MOD"
        return (kv.modified if kv else 0) == int(condition["mod_revision"])

    def _commit(self, rows: dict[bytes, KeyValue], events: list[JSON]) -> None:
        if not events:
            return
        self.revision += 1
        self.rows = rows
        self._past[self.revision] = rows
        self._events.append((self.revision, events))
        for watch in list(self.watches):
            self._show(watch, events)

    def _compact(self, body: JSON) -> JSON:
        revision = int(body["revision"])
        if revision <= self.compacted:
            raise refuse("etcdserver: mvcc: required revision has been compacted", 11)
        self.compacted = revision
        self._past = {at: rows for at, rows in self._past.items() if at >= revision}
        self._past.setdefault(revision, self.rows)
        self._events = [each for each in self._events if each[0] > revision]
        return {}

    # Leases

    def _grant(self, body: JSON) -> JSON:
        lease, ttl = len(self._leases) + 1000, int(body["TTL"])
        self._leases[lease] = ttl, self.reactor.seconds() + ttl
        return {"ID": str(lease), "TTL": str(ttl)}

    def _keep_alive(self, body: JSON) -> JSON:
        lease = int(body["ID"])
        if lease not in self._leases:
            return {"result": {"ID": str(lease)}}
        ttl, _ = self._leases[lease]
        self._leases[lease] = ttl, self.reactor.seconds() + ttl
        return {"result": {"ID": str(lease), "TTL": str(ttl)}}

    def _revoke(self, body: JSON) -> JSON:
        self._end(int(body["ID"]))
        return {}

    def _expire(self) -> None:
        for lease, (_, end) in list(self._leases.items()):
            if end <= self.reactor.seconds():
                self._end(lease)

    def _end(self, lease: int) -> None:
        self._leases.pop(lease, None)
        gone = [key for key, kv in self.rows.items() if kv.lease == lease]
        events: list[JSON] = [{"type": "DELETE", "kv": {"key": _encode(key)}} for key in gone]
        self._commit({key: kv for key, kv in self.rows.items() if key not in gone}, events)

    # Watching

    def watch(self, link: Link, body: JSON, receive: Callable[[JSON], None]) -> Watch:
        """Begin to watch."""
        request = body["create_request"]
        start, end, revision = (
            _decode(request["key"]),
            _decode(request["range_end"]),
            request["start_revision"],
        )
        watch = Watch(start, end, receive, link)
        receive(self._header() | {"created": True})
        if int(revision) <= self.compacted:
            receive(self._header() | {"canceled": True, "compact_revision": str(self.compacted)})
        for at, events in self._events:
            if at >= int(revision):
                self._show(watch, events)
        self.watches.append(watch)
        return watch

    def _show(self, watch: Watch, events: list[JSON]) -> None:
        shown = [
            event
            for event in events
            if "type" not in event and _covers(watch.start, watch.end, _decode(event["kv"]["key"]))
        ]
        if not shown or not watch.link.shows:
            return
        if watch.link.fragments:
            *most, shown = [[event] for event in shown]
            for each in most:
                watch.receive(self._header() | {"events": each, "fragment": True})
        watch.receive(self._header() | {"events": shown})


@dataclass
class Link:
    """A gateway's way to the engine: what an `EtcdJournal` has for a client.

    @ivar up: whether requests get through; else they are refused at once, or not answered at all if `silent`.
    @ivar shows: whether the watch shows what happens; it stays open.
    @ivar lag: how much later than it happens, in seconds.
    @ivar fragments: whether the watch shows one row at a time.
    @ivar most: more rows than that at once are not read in time.
    @ivar lost: how many of the next appends are done without an answer.
    @ivar left: after how many more transactions it is cut; None for never.
    @ivar holds: transactions that put a key with this in it do not get through yet, but wait in `held` to be
        done by whomever calls them; empty for none.
    """

    engine: FakeEngine
    up: bool = True
    silent: bool = False
    shows: bool = True
    lag: float = 0.0
    fragments: bool = False
    most: int = 1_000_000
    lost: int = 0
    left: int | None = None
    holds: bytes = b""
    held: list[Callable[[], None]] = field(default_factory=list)
    _streams: list[tuple[Watch, Deferred[None]]] = field(default_factory=list)

    def post(self, path: str, body: JSON, timeout: float) -> Deferred[JSON]:
        """See `Client.post`."""
        reactor = self.engine.reactor
        call = reactor.callLater(timeout, lambda: fail("no answer"))
        answered: Deferred[JSON] = Deferred(lambda _: end(lambda _: None, None))

        def fail(reason: str) -> None:
            if not answered.called:
                answered.errback(EngineError(reason))

        def arrive() -> None:
            if not self.up:
                if not self.silent:
                    end(fail, "connection refused")
            elif path == "/kv/range" and int(body["limit"]) > self.most:
                pass
            elif self.holds and path == "/kv/txn" and _puts(body, self.holds):
                self.held.append(do)
            else:
                do()

        def do() -> None:
            if self.left is not None and path == "/kv/txn":
                self.left -= 1
                if self.left < 0:
                    self.cut()
                    end(fail, "connection lost")
                    return
            try:
                answer = self.engine.handle(path, body)
            except EngineError as error:
                end(answered.errback, error)
                return
            if self.lost and path == "/kv/txn" and answer.get("succeeded") and _puts(body, b"/log/"):
                self.lost -= 1
            else:
                reactor.callLater(0, end, answered.callback, answer)

        def end(how: Callable[[Any], object], what: Any) -> None:
            if call.active():
                call.cancel()
            if not answered.called:
                how(what)

        reactor.callLater(0, arrive)
        return answered

    def stream(
        self, path: str, body: JSON, receive: Callable[[JSON], None], timeout: float
    ) -> Deferred[None]:
        """See `Client.stream`."""
        reactor = self.engine.reactor
        ended: Deferred[None] = Deferred(lambda _: self._drop(ended))

        def show(result: JSON) -> None:
            reactor.callLater(self.lag, told, result)

        def told(result: JSON) -> None:
            if ended.called:
                return
            try:
                receive(result)
            except Exception:
                self._drop(ended)
                ended.errback()

        def begin() -> None:
            if ended.called:
                return
            if self.up:
                self._streams.append((self.engine.watch(self, body, show), ended))
            else:
                ended.errback(EngineError("connection refused"))

        reactor.callLater(0, begin)
        return ended

    def _drop(self, ended: Deferred[None]) -> None:
        for watch, stream in self._streams:
            if stream is ended:
                self.engine.watches.remove(watch)
        self._streams = [each for each in self._streams if each[1] is not ended]

    def cut(self, *, silent: bool = False) -> None:
        """Let nothing through; without a word if `silent`."""
        self.up, self.silent = False, silent
        if silent:
            self.shows = False
            return
        for _, ended in list(self._streams):
            self._drop(ended)
            ended.errback(EngineError("connection lost"))

    def heal(self) -> None:
        """Let everything through; a watch that has missed something does not know."""
        self.up = self.shows = True

    def close(self) -> Deferred[None]:
        """See `Client.close`."""
        return succeed(None)


def _covers(start: bytes, end: bytes, key: bytes) -> bool:
    return start <= key < end if end else key == start


def _puts(body: JSON, part: bytes) -> bool:
    """Whether a transaction puts a key with that in it."""
    keys = (operation.get("request_put", {}).get("key") for operation in body["success"])
    return any(part in _decode(key) for key in keys)


def _texts(operations: list[JSON]) -> list[str]:
    requests = [request for operation in operations for request in operation.values()]
    return [request.get(name, "") for request in requests for name in ("key", "value", "range_end")]


def _check(operations: list[JSON]) -> None:
    """Refuse what etcd refuses before anything is done."""
    if len(operations) > MAX_OPERATIONS:
        raise refuse("etcdserver: too many operations in txn request", 3)
    puts = [_decode(each["request_put"]["key"]) for each in operations if "request_put" in each]
    removed = [each["request_delete_range"] for each in operations if "request_delete_range" in each]
    spans = [(_decode(each["key"]), _decode(each.get("range_end"))) for each in removed]
    if len(set(puts)) < len(puts) or any(_covers(*span, key) for span in spans for key in puts):
        raise refuse("etcdserver: duplicate key given in txn request", 3)
