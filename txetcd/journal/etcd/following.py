"""Following the log: batches in their order, none left out, whatever happens to the watch.

The engine's watch may break, fall silent, or lose events.  The row `/log/head` is put with each batch, and
its version counts them: so a batch that is missing is noticed with the next one, or when somebody asks how
many there are.  Then the log is read, and watched anew from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger

from txetcd.journal import Batch
from txetcd.journal.etcd.reading import Entry, Mark, missed
from txetcd.journal.etcd.session import Backoff, Session
from txetcd.journal.etcd.task import Task
from txetcd.journal.etcd.wire import JSON, EngineError, row, watch

_T = TypeVar("_T")

# How long the watch may take to show a batch that is known to be there, in seconds.
PATIENCE = 1.0


class GapError(EngineError):
    """The watch has left something out."""

    elsewhere = False


class Follower:
    """Follows the log from a mark on.

    @param receive: called with each batch.
    @param renew: called when batches are gone that were not received; fires with the mark to go on from.
    @ivar mark: the last batch that was received.
    """

    log = Logger()

    def __init__(
        self,
        session: Session,
        mark: Mark,
        receive: Callable[[Entry], None],
        renew: Callable[[], Deferred[Mark]],
    ) -> None:
        self._session = session
        self.mark = mark
        self._receive = receive
        self._renew = renew
        self._waiting: list[tuple[int, Deferred[None]]] = []
        # A batch that will come, by the value of its row.
        self._expected: dict[bytes, Batch] = {}
        self._running: Task[None] | None = None
        self._watching: Deferred[None] | None = None
        self._stopped = False

    def start(self) -> None:
        """Follow from now on."""
        if not self._stopped:
            self._running = Task.endless(self._session.reactor, self._run())

    def stop(self) -> None:
        """Follow no more."""
        self._stopped = True
        if self._running is not None:
            self._running.stop()
        for _, reached in list(self._waiting):
            reached.cancel()

    def expect(self, value: bytes, batch: Batch) -> None:
        """This gateway is about to append a batch, the only one; it need not be made of the row's value."""
        self._expected = {value: batch}

    def offer(self, entry: Entry) -> None:
        """A batch has been appended here: if it is the next, there is no need to wait for the watch."""
        # While there is none, the log is being read, or even left for another.
        if self._watching is not None and entry.position == self.mark.position + 1:
            self._take(entry)

    def reach(self, position: int) -> Deferred[None]:
        """Fires when the batch at a position has been received; if that takes long, the log is read again."""
        if position <= self.mark.position:
            return succeed(None)
        late = self._session.reactor.callLater(PATIENCE, self.look)
        reached: Deferred[None] = Deferred()
        self._waiting.append((position, reached))

        def over(result: _T) -> _T:
            self._waiting = [each for each in self._waiting if each[1] is not reached]
            if late.active():
                late.cancel()
            return result

        return reached.addBoth(over)

    def look(self) -> None:
        """Trust the watch no longer."""
        if self._watching is not None:
            self._watching.cancel()

    async def _run(self) -> None:
        backoff = Backoff(self._session.reactor)
        while True:
            try:
                revision = await self._catch_up()
                self._session.worked()
                await self._watch(revision + 1, backoff)
            except CancelledError:
                if self._stopped:
                    raise
            except GapError as error:
                self.log.info("{reason}", reason=str(error))
            except EngineError as error:
                self._session.failed(str(error))
            except Exception:
                # Nobody else would go on.
                self.log.failure("While following the log")
            await backoff.wait()

    async def _catch_up(self) -> int:
        """Receive what was missed; returns the engine's revision then."""
        while True:
            found = await missed(self._session, self.mark)
            if found is not None:
                entries, revision = found
                for entry in entries:
                    self._take(entry)
                return revision
            self.mark = await self._renew()
            self._fire()

    async def _watch(self, revision: int, backoff: Backoff) -> None:
        """Receive what the watch shows, until it ends."""
        pending: list[JSON] = []

        def receive(result: JSON) -> None:
            nonlocal pending
            if result.get("canceled"):
                raise EngineError(result.get("cancel_reason") or "the engine has ended the watch")
            if result.get("created"):
                backoff.reset()
            pending += result.get("events", ())
            if not result.get("fragment"):
                events, pending = pending, []
                for entry in self._entries(events):
                    self._take(entry)

        body = watch(*self._session.layout.log, revision)
        self._watching = self._session.client.stream("/watch", body, receive, self._session.timeout)
        try:
            await self._watching
        finally:
            self._watching = None

    def _entries(self, events: list[JSON]) -> Iterator[Entry]:
        """The batches in events; those of one revision are together, and one of them is the head."""
        rows = [row(event["kv"]) for event in events]
        layout = self._session.layout
        batches = {each.revision: each for each in rows if layout.is_batch(each.key)}
        for head in rows:
            if head.key != layout.head or head.revision not in batches:
                continue
            position, batch = head.version - 1, batches[head.revision]
            if position <= self.mark.position and batch.revision <= self.mark.revision:
                # It was offered.
                continue
            yield Entry.of(layout, batch, position, self._expected.get(batch.value))

    def _take(self, entry: Entry) -> None:
        """Receive a batch, which has to be the next."""
        if self._stopped:
            raise CancelledError()
        last = self.mark
        if entry.position != last.position + 1:
            raise GapError(f"The watch went from batch {last.position} to {entry.position}")
        self.mark = Mark(entry.position, entry.revision)
        try:
            self._receive(entry)
        except Exception:
            # It would come again to the same; and it is no fault of the engine's.
            self.log.failure("While receiving batch {position}", position=entry.position)
        self._fire()

    def _fire(self) -> None:
        """Tell those who waited for this."""
        for position, reached in list(self._waiting):
            if position <= self.mark.position and not reached.called:
                reached.callback(None)
