"""Plays a sequence of steps on both servers at once, until their answers differ."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

from tests.differential.compare import Different, difference, is_of_others, watched_key
from tests.differential.servers import Ask, Etcd, Silence, TheirsOpen, Txetcd
from tests.differential.watches import Watch
from tests.differential.words import NAMES, ODD_NAMES
from tests.http_harness import Response
from tests.reference.conversation import KEYS, Pause, Request, Step
from tests.reference.record import running
from txetcd.journal.memory import MemoryJournal

_PLACEHOLDER = re.compile(r"\{index([+-]\d+)?(:020d)?\}")
_WAIT_INDEX = re.compile(rb"(?<=[?&]waitIndex=)\d+")

_ROOT = Ask(b"GET", KEYS.encode(), (), None)

# A key that makes up for a distance between the indices; nobody asks for it.
_PAD = "_pad"

# A watch may wait for an index this far ahead at most.
_FENCES = 6

# In a pause, txetcd's time goes on in steps of as many seconds.
_TICK = 0.05


@dataclass(frozen=True)
class Difference:
    """Where a sequence showed a difference.

    @ivar steps: those that were played, with the placeholders filled in; the last is the one that showed it.
    @ivar reason: what differed.
    """

    steps: tuple[Ask | Pause, ...]
    reason: str


class Player:
    """Two servers that have been asked the same.

    @ivar compared: how many requests have been answered by both.
    @ivar excused: how often each of the differences `ON_PURPOSE` was met.
    """

    def __init__(self, ours: Txetcd, theirs: Etcd) -> None:
        self._ours = ours
        self._theirs = theirs
        self._index = 0
        self._started = 0.0
        self._live: list[Watch] = []
        self._played: list[Ask | Pause] = []
        self._watched = False
        self._torn = True
        self.compared = 0
        self.excused: Counter[str] = Counter()

    def play(self, steps: Sequence[Step]) -> Difference | None:
        """Play a sequence on stores without keys, and leave them so.

        @return: None if all answers were the same.
        """
        self._begin()
        try:
            for step in steps:
                if isinstance(step, Pause):
                    self._pause(step)
                else:
                    self._step(step)
            self._end()
        except (Different, Silence) as error:
            self._torn = True
            return Difference(tuple(self._played), str(error))
        finally:
            for watch in self._live:
                watch.close()
            self._live.clear()
        return None

    # The servers side by side

    def _begin(self) -> None:
        """Empty both stores, if they may not be empty, and bring their indices together."""
        self._started = time.monotonic()
        self._played = []
        self._watched = False
        if self._torn:
            self._empty()
            self._torn = False
        pad = Ask(b"PUT", f"{KEYS}/{_PAD}".encode(), (), None)
        while (mine := _index(self._ours.ask(_ROOT))) != (other := _index(self._theirs.ask(_ROOT))):
            (self._ours if mine < other else self._theirs).ask(pad)
        self._index = mine

    def _empty(self) -> None:
        """Delete all keys of both stores, whatever they are; those that only etcd hides go by their names."""
        names = {_as_bytes(name) for name in self._ours.store.tree.root.children}
        names.update(name[1:].encode() for name in self._theirs.names())
        names.update(name.encode() for name in (*NAMES, *ODD_NAMES) if name.startswith("_"))
        for name in names:
            self._ours.ask(_deletion(name))
            self._theirs.ask(_deletion(name))
        self._wait_for_watches()

    def _end(self) -> None:
        """See that all watches have got the same, and that nothing is left."""
        while self._live:
            watch = self._live[0]
            self._fence(watch)
            watch.close()
            self._live.remove(watch)
        self._clean()
        self._compare(_ROOT)
        if self._watched:
            self._wait_for_watches()

    def _clean(self) -> None:
        """Delete all keys."""
        for name in list(self._ours.store.tree.root.children):
            if name != _PAD:
                self._compare(_deletion(_as_bytes(name)))

    def _wait_for_watches(self) -> None:
        """Wait until etcd has noticed that watches have gone."""
        for _ in range(1000):
            if self._theirs.watching() == 0:
                break
            time.sleep(0.001)
        if (self._ours.watching(), self._theirs.watching()) != (0, 0):
            raise Different(f"{self._ours.watching()} watches left, etcd {self._theirs.watching()}")

    @property
    def _slack(self) -> float:
        """How far apart in time the two answers to a request may be: longer than the sequence took."""
        return 0.5 + time.monotonic() - self._started

    # Steps

    def _pause(self, pause: Pause) -> None:
        self._played.append(pause)
        until = time.monotonic() + pause.seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _TICK))
            self._ours.pass_time()

    def _step(self, request: Request) -> None:
        ask = self._filled(request)
        if self._theirs.splits_at_semicolons and _has_semicolon(ask):
            self.excused["semicolon"] += 1
            return
        if b"wait" in ask.target and ask.method == b"GET":
            self._watch(ask)
        else:
            self._compare(ask)

    def _filled(self, request: Request) -> Ask:
        def number(match: re.Match[str]) -> str:
            return format(self._index + int(match[1] or 0), (match[2] or ":d")[1:])

        def fill(text: str) -> bytes:
            return _PLACEHOLDER.sub(number, text).encode("utf-8", "surrogateescape")

        headers = tuple((name.encode(), value.encode()) for name, value in request.headers)
        body = None if request.body is None else fill(request.body)
        return Ask(request.method.encode(), fill(request.target), headers, body)

    def _compare(self, ask: Ask) -> None:
        """Ask both servers, and compare."""
        self._played.append(ask)
        theirs = self._theirs.ask(ask)
        if self._theirs.is_3_5 and theirs.status == 500 and b'"cause":"nodePath ' in theirs.body:
            self.excused["directory_ttl_3_5"] += 1
            return
        ours = self._ours.ask(ask)
        self._same(ask, ours, theirs)
        if ask.method == b"HEAD" and b"wait" not in ask.target:
            self._same_length(ask, ours, theirs)

    def _same(self, ask: Ask, ours: Response | None, theirs: Response) -> None:
        if ours is None:
            raise Different(f"no answer yet, etcd {theirs.status} {theirs.body!r}")
        self.compared += 1
        found = difference(ask.method.decode(), ask.target, ours, theirs, self._slack)
        if found is not None:
            raise Different(found)
        self._index = _index(ours) or self._index

    def _same_length(self, head: Ask, ours: Response | None, theirs: Response) -> None:
        """See that the answers to HEAD tell the lengths that those to GET have: times differ in length."""
        get = Ask(b"GET", head.target, head.headers, head.body)
        for name, before, after in (
            ("txetcd", ours, self._ours.ask(get)),
            ("etcd", theirs, self._theirs.ask(get)),
        ):
            told = before and before.header("Content-Length")
            # For long answers etcd tells none.
            if told and (after is None or int(told) != len(after.body)):
                raise Different(f"{name} tells {told} as the length of {after and after.body!r}")

    # Watches

    def _watch(self, ask: Ask) -> None:
        """Ask both servers for what may be a watch, and compare what comes at once."""
        before = self._theirs.watching()
        if self._ours.watching() != before:
            raise Different(f"{self._ours.watching()} watches wait, of etcd {before}")
        ours = self._ours.open(ask)
        if ours.finished() and not ours.so_far().chunks:
            ours.close()
            self._compare(ask)
            return
        self._played.append(ask)
        self._watched = True
        try:
            watch = Watch(ask, ours, self._open_theirs(ask, before))
        except BaseException:
            ours.close()
            raise
        self._live.append(watch)
        self._same(ask, watch.ours_head(), watch.theirs_head())
        waits = self._theirs.watching() > before
        if waits == watch.told():
            raise Different(f"{watch.ours.so_far().body!r}, etcd {'waits' if waits else 'does not wait'}")
        if not waits:
            self.excused["past_stream"] += not watch.ours.finished()
            watch.compare_first(self._slack)
            watch.close()
            self._live.remove(watch)

    def _open_theirs(self, ask: Ask, waiting: int) -> TheirsOpen:
        """Open a watch on etcd, beyond what is "history_of_others"."""
        key = watched_key(ask.target)
        while True:
            theirs = self._theirs.open(ask)
            if theirs.so_far().status != 200 or self._theirs.watching() > waiting:
                return theirs
            event = theirs.first()
            if not is_of_others(event, key):
                return theirs
            theirs.close()
            self.excused["history_of_others"] += 1
            following = b"%d" % (json.loads(event)["node"]["modifiedIndex"] + 1)
            ask = Ask(ask.method, _WAIT_INDEX.sub(following, ask.target, count=1), ask.headers, ask.body)

    def _fence(self, watch: Watch) -> None:
        """Let happen what a watch must see, so that what came before it is all that did."""
        self._clean()
        path = watch.ask.target.partition(b"?")[0]
        if watched_key(path) == "/":
            path = path.rstrip(b"/") + b"/fence"
        for _ in range(_FENCES):
            self._compare(Ask(b"PUT", path + b"?value=fence", (), None))
            if watch.has_seen(self._index):
                break
        self.excused["stream_twice"] += watch.compare_all(self._index, self._slack)


@contextmanager
def playing(program: str) -> Iterator[Player]:
    """A player with a new txetcd and a new etcd, for as long as the context lasts.

    @param program: the etcd to run.
    """
    with running(program, "--unsafe-no-fsync") as etcd:
        ours, theirs = Txetcd(MemoryJournal()), Etcd(etcd.port)
        try:
            yield Player(ours, theirs)
        finally:
            theirs.close()
            ours.close()


def _as_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _deletion(name: bytes) -> Ask:
    """Of a key right below the root and all that is in it."""
    return Ask(b"DELETE", f"{KEYS}/{quote_from_bytes(name, '')}?recursive=true".encode(), (), None)


def _has_semicolon(ask: Ask) -> bool:
    return b";" in ask.target.partition(b"?")[2] + (ask.body or b"")


def _index(response: Response | None) -> int:
    told = response and response.header("X-Etcd-Index")
    return int(told or 0)
