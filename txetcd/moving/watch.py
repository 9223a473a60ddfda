"""Watching a v2 server: every change below a key, from an index on, kept until somebody takes it.

Each request is for one event: a stream of a real etcd falls silent when it begins in the past, or when its
reader is slow.  Where there is much to catch up with, several are under way, each for an index of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from txetcd import errors
from txetcd.moving import MovingError
from txetcd.moving.client import KEYS, Answer, Client, LostError
from txetcd.moving.listing import Change, is_hidden, parse_change

# Seconds that a watch waits before it is begun anew, and between tries when a server is away.
WAIT = 5.0
PAUSE = 1.0

# So many requests are under way at the most.
REQUESTS = 8


class Watch:
    """Watches at once, and until it is stopped, the server forgets or refuses; but not less while it is away.

    @param key: what to watch, with all that is below it and not hidden.
    @param index: the index behind which to begin.
    @param say: told, in a line, when the server is away.
    @param wait: how many seconds to wait at a time.
    @ivar changes: what has been told and not been taken.
    @ivar seen: every change up to this index has been told.
    @ivar known: the server's index, when it was last heard of.
    @ivar forgotten: the server does not know any more what came behind `seen`.
    @ivar failure: what else has ended it.
    """

    def __init__(
        self, source: Client, key: str, index: int, say: Callable[[str], None], *, wait: float = WAIT
    ) -> None:
        self.changes: deque[Change] = deque()
        self.seen = self.known = index
        self.forgotten = False
        self.failure: Failure | None = None
        self._source = source
        self._key = key
        self._say = say
        self._wait = wait
        self._waiting: Deferred[None] | None = None
        self._asked: deque[Deferred[Answer]] = deque()
        self._asked_index = index
        self._stopped = False
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._failed)

    def news(self) -> Deferred[None]:
        """Fires when anything of this is not as it was.  One at a time."""
        self._waiting = Deferred(lambda _: self._forget())
        return self._waiting

    def stop(self) -> None:
        """Watch no more."""
        self._stopped = True
        self._running.cancel()

    def _forget(self) -> None:
        self._waiting = None

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _failed(self, failure: Failure) -> None:
        if not self._stopped:
            self.failure = failure
            self._tell()

    async def _run(self) -> None:
        while not self._stopped and not self.forgotten:
            try:
                await self._step()
            except LostError as error:
                if self._stopped:
                    raise CancelledError from None
                self._take_back()
                self._say(f"{error}; trying again")
                await deferLater(self._source.reactor, PAUSE)
            finally:
                if self._stopped or self.forgotten:
                    self._take_back()
            self._tell()

    def _ask(self) -> None:
        """See to it that enough requests are under way."""
        if not self._asked:
            self._asked_index = self.seen
        while len(self._asked) < min(max(self.known - self.seen, 1), REQUESTS):
            self._asked_index = max(self._asked_index, self.seen) + 1
            asked = self._source.wait(
                KEYS + self._key,
                self._wait,
                wait="true",
                recursive="true",
                waitIndex=str(self._asked_index),
                # A real etcd does not know of this one, and has its connection closed.
                waitTimeout=str(max(round(self._wait), 1)),
            )
            self._asked.append(Deferred.fromCoroutine(asked))

    def _take_back(self) -> None:
        """Have no request under way."""
        while self._asked:
            asked = self._asked.popleft()
            asked.addErrback(lambda _: None)
            asked.cancel()

    async def _step(self) -> None:
        """Wait for the next answer, which may be one that was there before."""
        self._ask()
        answer = await self._asked.popleft()
        if answer.code == errors.EVENT_INDEX_CLEARED:
            self.forgotten = True
            return
        if not answer.ok:
            raise answer.refused(self._source.url, f"a watch of {self._key}")
        self.known = max(self.known, answer.index)
        if not answer.body.strip():
            # Up to where it began to wait, there was nothing for it.
            self.seen = max(self.seen, answer.index)
            return
        try:
            change = parse_change(answer.body)
        except ValueError as error:
            raise MovingError(f"{self._source.url}{KEYS}{self._key}: the answer {error}") from None
        # A watch for what is past shows hidden keys too.
        if change.index > self.seen and not is_hidden(change.key, self._key):
            self.changes.append(change)
        self.seen = max(self.seen, change.index)
        self.known = max(self.known, change.index)
