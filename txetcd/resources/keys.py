"""`/v2/keys`: requests in, answers out.

What a request asks for is decided in `txetcd.query`, what comes of it in the store; here is how it is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from txetcd import errors
from txetcd.auth import Access
from txetcd.committer import Outcome
from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.query import (
    Query,
    Read,
    Watch,
    Write,
    form_body,
    parse,
    parse_access,
    parse_form,
    parse_key,
    want_event_stream,
)
from txetcd.resources.endpoint import JSON, SAFE, not_allowed, set_headers
from txetcd.resources.guard import INSUFFICIENT, Guard
from txetcd.resources.gzipped import accepts_gzip, gzip
from txetcd.resources.late import COPIED, Late, Listing, Streaming, json_line, server_sent_event
from txetcd.resources.listings import EXPIRATION, Listings
from txetcd.resources.longvalues import LONG, LongValues, is_long
from txetcd.resources.rereading import Rereading
from txetcd.store import Store
from txetcd.tree import Dir, File, Node, Tree, listing_json, node_json

METHODS = {method.encode(): method for method in ("HEAD", "GET", "PUT", "POST", "DELETE")}

# The term of the leader that put writes in order.  A store of its own has had no other leader.
RAFT_TERM = b"1"

MAX_BODY = 1_572_864

# Listings shorter than this, in bytes, are not worth compressing.
GZIP_FROM = 1400

# Bytes of a listing that are made in one go.
AT_ONCE = 256 * 1024

EVENT_STREAM = b"text/event-stream"


class KeysResource(Resource):
    """The key space of a store, to be mounted as `/v2/keys` or anywhere else.

    @param store: a running `Store`.
    @param max_body: how many bytes a form may have; over that it is refused with 400 and code 210.
    @param guard: tells who may do what; one of its own if None.
    """

    isLeaf = True

    def __init__(self, store: Store, *, max_body: int = MAX_BODY, guard: Guard | None = None) -> None:
        super().__init__()
        self._store = store
        self._max_body = max_body
        self._guard = guard or Guard(store)
        self._listings = Listings()
        self._long_values = LongValues()

    def render(self, request: Request) -> bytes | int:
        """Answer, or begin to."""
        method = METHODS.get(request.method)
        if method is None:
            return not_allowed(request, tuple(METHODS))
        try:
            path, query_text = _below(request.uri, request.prepath or [])
            form = self._form(request, query_text)
            key = parse_key(path)
            query = parse(method, key, form, self._store.time())
            if self._store.tree.auth.enabled:
                return self._answer_if(request, query, parse_access(method, path, key, form))
            return self._answer(request, query)
        except EtcdError as error:
            return self._refusal(request, error)

    def _answer(self, request: Request, query: Query) -> bytes | int:
        if isinstance(query, Write):
            return self._write(request, query)
        if isinstance(query, Watch):
            return self._watch(request, query)
        if query.quorum:
            return self._read_after(request, query, self._store.barrier())
        return self._read(request, query)

    def _answer_if(self, request: Request, query: Query, access: Access) -> int:
        """Answer once it is known who asks, if they may."""
        late = Late(request)

        def known(may: bool) -> None:
            if not may:
                raise EtcdError(errors.UNAUTHORIZED, INSUFFICIENT)
            if late.alive:
                late.rendered(self._answer(request, query))

        may = self._guard.allows(request, lambda auth, user: auth.may(user, access))
        may.addCallback(known).addErrback(self._refuse_late, late)
        return NOT_DONE_YET

    def _form(self, request: Request, query: bytes) -> dict[str, str]:
        """The arguments."""
        body = b""
        if request.method in (b"PUT", b"POST") and request.content is not None:
            request.content.seek(0)
            body = request.content.read(self._max_body + 1)
            if len(body) > self._max_body:
                raise EtcdError(errors.INVALID_FORM, f"the body is larger than {self._max_body} bytes")
            body = form_body(request.getHeader(b"content-type"), body)
        form = parse_form(query, body) if query or body else {}
        if _is_event_source(request):
            want_event_stream(form, request.getHeader(b"last-event-id"))
        return form

    # Reads

    def _read(self, request: Request, query: Read) -> bytes | int:
        tree = self._store.tree
        try:
            node = tree.get(query.key)
        except EtcdError:
            self._store.stats.read(False)
            raise
        self._store.stats.read(True)
        self._set_headers(request, tree.index, tree)
        if isinstance(node, File) and not query.keys_only:
            if len(node.value) > LONG:
                long = self._long_values.node(node, self._store.time())
                if sum(map(len, long)) >= COPIED:
                    Late(request).answer_in_pieces(long)
                    return NOT_DONE_YET
                return self._lasting(request, query, node, b"".join(long))
            text = f'{{"action":"get","node":{node_json(node, self._store.time())}}}\n'
            return self._lasting(request, query, node, text.encode())
        if isinstance(node, Dir) and not query.keys_only and query.page is None:
            return self._list(request, query, node)
        pieces = self._pieces(node, query)
        if isinstance(node, Dir) and accepts_gzip(request):
            pieces = self._compressed(request, pieces)
        return self._send(request, pieces)

    def _lasting(self, request: Any, query: Read, node: Node, body: bytes) -> bytes:
        """Answer with a body that may hold for the next who ask the same; if so, say until when."""
        if (
            # A request of `txetcd.site`, with a cache.
            getattr(request, "may_be_kept", False)
            and not query.quorum
            and not self._store.tree.auth.enabled
            and EXPIRATION not in body
        ):
            request.refresh = Rereading(self._store, node, body, self._headers)
        return body

    def _list(self, request: Request, query: Read, directory: Dir) -> bytes | int:
        """Answer with a whole directory: as it was sent before if nothing has changed."""
        recursive = query.recursive
        wants_gzip = accepts_gzip(request)
        listing = self._listings.get(directory, recursive, False)
        if listing is None:
            pieces = self._pieces(directory, Read("", recursive))
            begun = []
            size = 0
            for piece in pieces:
                begun.append(piece)
                size += len(piece)
                if not piece or size > AT_ONCE:
                    # It takes long: others are to have their turn meanwhile.
                    pieces = chain(begun, pieces)
                    return self._send(request, self._compressed(request, pieces) if wants_gzip else pieces)
            listing = b"".join(begun)
            self._listings.keep(directory, recursive, listing)
        if not wants_gzip or len(listing) < GZIP_FROM:
            return self._lasting(request, query, directory, listing)
        self._say_gzip(request)
        compressed = self._listings.get(directory, recursive, True)
        if compressed is None:
            compressed = b"".join(gzip(iter((listing,))))
            self._listings.keep_compressed(directory, recursive, compressed)
        return compressed

    def _pieces(self, node: Node, query: Read) -> Iterator[bytes]:
        """The answer to a read, in pieces; empty ones stand for work that is done."""
        before, after = '{"action":"get","node":', "}\n"
        pieces = listing_json(
            node, self._store.time(), query.recursive, page=query.page, keys_only=query.keys_only
        )
        piece = next(pieces)
        for following in pieces:
            yield (before + piece).encode() if piece else b""
            before, piece = before if not piece else "", following
        yield (before + piece + after).encode()

    def _compressed(self, request: Request, pieces: Iterator[bytes]) -> Iterator[bytes]:
        self._say_gzip(request)
        return gzip(pieces)

    def _say_gzip(self, request: Request) -> None:
        request.setHeader(b"content-encoding", b"gzip")
        request.responseHeaders.addRawHeader(b"vary", b"Accept-Encoding")

    def _send(self, request: Request, pieces: Iterator[bytes]) -> bytes | int:
        """Answer with what comes in pieces, one in each turn of the reactor; at once if there is only one."""
        first = next(pieces)
        second = next(pieces, None)
        if second is None:
            return first
        Listing(request, chain((first, second), pieces), self._store.reactor)
        return NOT_DONE_YET

    def _read_after(self, request: Request, query: Read, current: Deferred[None]) -> int:
        late = Late(request)

        def read(_: None) -> None:
            if late.alive:
                late.rendered(self._read(request, query))

        current.addCallback(read).addErrback(self._refuse_late, late)
        return NOT_DONE_YET

    # Writes

    def _write(self, request: Request, query: Write) -> int:
        late = Late(request)

        def answer(outcome: Outcome) -> None:
            try:
                body = self._written(request, query, outcome)
                if isinstance(body, bytes):
                    late.answer(body)
                else:
                    late.answer_in_pieces(body)
            except Exception:
                late.fail(Failure())

        self._store.submit(query.command, answer)
        return NOT_DONE_YET

    def _written(self, request: Request, query: Write, outcome: Outcome) -> bytes | list[bytes]:
        if isinstance(outcome, EtcdError):
            return self._refusal(request, outcome)
        assert isinstance(outcome, Event)
        self._guard.record(request, outcome)
        if outcome.created:
            request.setResponseCode(201)
        self._set_headers(request, outcome.index, self._store.tree)
        if query.no_value and outcome.node is not None:
            return f'{{"action":"{outcome.action}"}}\n'.encode()
        if is_long(outcome.node) or is_long(outcome.prev):
            return self._long_values.event(outcome)
        return (outcome.to_json() + "\n").encode()

    # Watches

    def _watch(self, request: Request, query: Watch) -> int:
        tree = self._store.tree
        self._set_headers(request, tree.index, tree)
        if query.stream:
            encode = json_line
            if _is_event_source(request):
                encode = server_sent_event
                request.setHeader(b"content-type", EVENT_STREAM)
                request.setHeader(b"cache-control", b"no-store")
            try:
                Streaming(request, self._store, query, encode)
            except EtcdError:
                _take_back(request)
                raise
            return NOT_DONE_YET
        changed = self._store.watch(query.key, recursive=query.recursive, since=query.since)
        if query.timeout:
            changed.addTimeout(query.timeout, self._store.reactor)
        late = Late(request, changed.cancel)

        def told(event: Event) -> None:
            late.end(json_line(event))

        def ended(failure: Failure) -> None:
            error = failure.value
            if isinstance(error, EtcdError) and error.code == errors.WATCHER_CLEARED:
                late.end()
            elif isinstance(error, TimeoutError) and late.alive:
                # The client can go on from here: nothing that it waits for has happened before.
                self._set_headers(request, self._store.tree.index, self._store.tree)
                late.answer(b"")
            elif not isinstance(error, CancelledError):
                _take_back(request)
                self._refuse_late(failure, late)

        changed.addCallbacks(told, ended)
        if late.alive and not query.timeout:
            request.write(b"")
        return NOT_DONE_YET

    # Telling

    def _set_headers(self, request: Request, index: int, tree: Tree | None) -> None:
        """Set what clients read beside the body."""
        set_headers(request, self._headers(index, tree))

    def _headers(self, index: int, tree: Tree | None) -> dict[bytes, bytes]:
        """What clients read beside the body; a refusal has no tree."""
        headers = {
            b"Content-Type": JSON,
            b"X-Etcd-Cluster-Id": b"%x" % self._store.cluster_id,
            b"X-Etcd-Index": b"%d" % index,
        }
        if tree is not None:
            headers[b"X-Raft-Index"] = b"%d" % tree.raft_index
            headers[b"X-Raft-Term"] = RAFT_TERM
        return headers

    def _refusal(self, request: Request, error: EtcdError) -> bytes:
        if request.method not in SAFE:
            self._guard.record(request, error)
        request.setResponseCode(error.status)
        self._set_headers(request, error.index, None)
        return (error.to_json() + "\n").encode()

    def _refuse_late(self, failure: Failure, late: Late) -> None:
        error = failure.value
        if not isinstance(error, EtcdError):
            late.fail(failure)
        else:
            late.answer(self._refusal(late.request, error))


def _take_back(request: Request) -> None:
    """Unset what a watch that is refused after all has promised."""
    for name in (b"x-raft-index", b"x-raft-term"):
        request.responseHeaders.removeHeader(name)


def _is_event_source(request: Request) -> bool:
    """Whether it is a browser's `EventSource` that asks."""
    return request.method == b"GET" and EVENT_STREAM in (request.getHeader(b"accept") or b"")


def _below(uri: bytes, above: list[bytes]) -> tuple[bytes, bytes]:
    """What of the path, as it came, lies below the resource; and the query."""
    path, _, query = uri.partition(b"?")
    prefix = b"/" + b"/".join(above)
    if path.startswith(prefix):
        return path[len(prefix) :], query
    return b"/" + b"/".join(path.split(b"/")[1 + len(above) :]), query
