"""The running store: order, make durable, evaluate, publish, answer.

A write joins the pending batch; the journal gives the batch its place and makes it durable; only then are its
commands evaluated, the new tree published, watchers told and callers answered.  Reads look at the published
tree.  This is the Python API too; it needs no HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txetcd import errors
from txetcd.auth import Auth
from txetcd.auth_commands import AuthCommand
from txetcd.census import Census
from txetcd.checkpointer import Checkpointer
from txetcd.commands import (
    AnyCommand,
    Command,
    CompareAndDelete,
    CompareAndSwap,
    Create,
    Delete,
    Set,
    Update,
    evaluate,
    refused,
)
from txetcd.committer import Committer, Outcome
from txetcd.dismantler import Dismantler
from txetcd.errors import EtcdError, RefusedError
from txetcd.events import Event, History, concerns
from txetcd.expirer import Expirer
from txetcd.fanout import Fanout
from txetcd.journal import Batch, Journal, Recovered
from txetcd.query import clean_key
from txetcd.stats import StoreFigures, StoreStats
from txetcd.tree import SECOND, Dir, Node, Tree, survey
from txetcd.watchers import Watcher, Watchers


class Store(Service):
    """A v2 store on a journal.

    Use it as a Twisted service (`setServiceParent`), or call `startService` and `stopService` yourself; the
    latter's Deferred fires when everything is safely put away.  It can be started again then.

    Every method that returns a Deferred can fail with `EtcdError`; that includes code 300 for a write that
    could not be made durable, or a store that is not running.

    @param journal: where the store is kept.  It must not be shared with another store.
    @param reactor: for timers.
    @param history_size: how many of the latest events can be asked for after the fact.
    @param now: the wall clock, in nanoseconds since the epoch.
    @ivar reactor: as given.
    @ivar stats: what the store was asked for.
    @ivar cluster_id: drawn once, when the journal was made.
    """

    log = Logger()

    def __init__(
        self,
        journal: Journal,
        reactor: IReactorTime,
        *,
        history_size: int = 1000,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._journal = journal
        self.reactor = reactor
        self._history_size = history_size
        self.time = now
        self._ready: list[Deferred[None]] = []
        self._reset()

    def _reset(self) -> None:
        """Be as before the first start."""
        self.stats = StoreStats()
        self.cluster_id = 0
        self._accepting = False
        self._failure: Failure | None = None
        self._tree: Tree | None = None
        self._history = History(self._history_size)
        self._watchers = Watchers()
        self._fanout = Fanout(self.reactor, self._tell)
        self._committer = Committer(self._journal, self.reactor, self._unavailable)
        self._expirer = Expirer(self.reactor, self.time, lambda: self.tree, self._committer)
        self._dismantler = Dismantler(self.reactor)
        self._checkpointer = Checkpointer(self._journal)
        self._census = Census()

    # Starting and stopping

    def startService(self) -> None:
        """Open the journal, replay what it holds, and let expire what ran out meanwhile; see `ready`."""
        super().startService()
        self._failure = None
        loading = self._journal.load(self._deliver, self._start_anew)
        loading.addCallback(self._recover)
        loading.addCallbacks(self._started, self._not_started)

    def ready(self) -> Deferred[None]:
        """Fires once the store answers; fails with `JournalError` when the journal cannot be opened."""
        if self._accepting:
            return succeed(None)
        if self._failure is not None:
            return fail(self._failure)
        waiting: Deferred[None] = Deferred()
        self._ready.append(waiting)
        return waiting

    def _started(self, _: None) -> None:
        if not self.running:
            # It was stopped while keys ran out.
            self._not_started(Failure(self._not_running()))
            return
        self._accepting = True
        self._expirer.start()
        waiting, self._ready = self._ready, []
        for deferred in waiting:
            deferred.callback(None)

    def _not_started(self, failure: Failure) -> None:
        self._failure = failure
        if self.running:
            self.log.error("The store could not be opened: {reason}", reason=failure.getErrorMessage())
        waiting, self._ready = self._ready, []
        for deferred in waiting:
            deferred.errback(failure)

    def _recover(self, recovered: Recovered) -> Deferred[None]:
        self._take_in(recovered)
        self.stats = StoreStats()
        # Nobody is to see what ran out while the store was down.
        return self._expirer.remove_overdue()

    def _start_anew(self, recovered: Recovered) -> None:
        """Go on from what the journal has; what happened since the last batch cannot all be told any more."""
        watchers = self._watchers.clear()
        self._history = History(self._history_size)
        self._take_in(recovered)
        for watcher in watchers:
            self._tell(watcher.cleared)

    def _take_in(self, recovered: Recovered) -> None:
        self.cluster_id = recovered.cluster_id
        self._tree = recovered.tree
        self._checkpointer.load(recovered.tree)
        for event in recovered.events:
            self._history.add(event)
        self._census.files, expiring = survey(recovered.tree)
        self._expirer.load(expiring)
        for position, batch in recovered.log:
            self._deliver(position, batch)

    def stopService(self) -> Deferred[None]:
        """Take no more writes, end all watches, finish what is pending and close the journal."""
        super().stopService()
        self._accepting = False
        self._expirer.stop()
        self._fanout.drain()
        for watcher in self._watchers.clear():
            self._tell(watcher.cleared)
        stopping = self._committer.drain()
        stopping.addCallback(lambda _: self._dismantler.stop())
        stopping.addCallback(lambda _: self._journal.close())
        stopping.addCallback(lambda _: self._reset())
        return stopping

    # Reading

    @property
    def tree(self) -> Tree:
        """The store as it is now.

        @raise EtcdError: 300 when the store is not running.
        """
        if self._tree is None:
            raise self._not_running()
        return self._tree

    @property
    def watching(self) -> int:
        """How many watches are waiting."""
        return len(self._watchers)

    @property
    def accepting(self) -> bool:
        """Whether the store takes writes."""
        return self._accepting

    @property
    def trouble(self) -> str:
        """Why writes cannot be made durable at present, as far as is known, in words; empty if they can."""
        return self._journal.trouble

    def figures(self) -> StoreFigures:
        """How the store is at this moment; nothing is walked through to tell.

        @raise EtcdError: 300 when the store is not running.
        """
        tree, history = self.tree, self._history
        first = history.first
        return StoreFigures(
            accepting=self._accepting,
            index=tree.index,
            raft_index=tree.raft_index,
            keys=self._census.files - self._dismantler.files,
            watching=len(self._watchers),
            waiting=self._committer.unfinished(),
            history=len(history),
            oldest_index=history.oldest(tree.index),
            oldest_time=None if first is None else first.time,
            stats=self.stats,
            commits=self._committer.stats,
        )

    def barrier(self) -> Deferred[None]:
        """Fires when `tree` holds every write that was answered, anywhere, before this call."""
        if not self._accepting:
            return fail(self._not_running())
        return self._journal.barrier().addErrback(self._refuse)

    def get(self, key: str, *, quorum: bool = False) -> Deferred[Node]:
        """Look up a key.

        @param quorum: see every write that was answered, anywhere, before this call.
        @return: fires with the `File` or `Dir`, which never changes; a directory has all that is below it.
        """
        looked: Deferred[None] = self.barrier() if quorum else succeed(None)
        return looked.addCallback(lambda _: self.tree.get(clean_key(key)))

    # Writing

    def set(self, key: str, value: str = "", *, ttl: int | None = None, dir: bool = False) -> Deferred[Event]:
        """Put a file, or with `dir` an empty directory, at a key, whatever file was there.

        @param ttl: how long it is to last, in seconds; for ever if None.
        """
        return self._write(key, lambda key, now: Set(key, value, dir, _expiration(now, ttl), False, now))

    def create(
        self, key: str, value: str = "", *, ttl: int | None = None, dir: bool = False
    ) -> Deferred[Event]:
        """Like `set`, but only where nothing is (105 otherwise)."""
        return self._write(key, lambda key, now: Create(key, value, dir, _expiration(now, ttl), False, now))

    def create_in_order(
        self, key: str, value: str = "", *, ttl: int | None = None, dir: bool = False
    ) -> Deferred[Event]:
        """Create a child of a directory, named so that children sort in the order of their making."""
        return self._write(key, lambda key, now: Create(key, value, dir, _expiration(now, ttl), True, now))

    def update(self, key: str, value: str = "", *, ttl: int | None = None) -> Deferred[Event]:
        """Give an existing key a new value and ttl, or an existing directory a new ttl."""
        return self._write(key, lambda key, now: Update(key, value, _expiration(now, ttl), False, now))

    def refresh(self, key: str, ttl: int) -> Deferred[Event]:
        """Give an existing key a new ttl, in seconds, without telling any watch."""
        return self._write(key, lambda key, now: Update(key, "", _expiration(now, ttl), True, now))

    def compare_and_swap(
        self, key: str, value: str, *, prev_value: str = "", prev_index: int = 0, ttl: int | None = None
    ) -> Deferred[Event]:
        """Give a key a new value and ttl, if its value or index, or both, are as given (101 otherwise).

        @raise ValueError: when neither is given.
        """
        _require_condition(prev_value, prev_index)
        return self._write(
            key,
            lambda key, now: CompareAndSwap(
                key, value, prev_value, prev_index, _expiration(now, ttl), False, now
            ),
        )

    def delete(self, key: str, *, dir: bool = False, recursive: bool = False) -> Deferred[Event]:
        """Take away a file; with `dir` an empty directory; with `recursive` a directory and all below it."""
        return self._write(key, lambda key, now: Delete(key, dir, recursive, now))

    def compare_and_delete(self, key: str, *, prev_value: str = "", prev_index: int = 0) -> Deferred[Event]:
        """Take away a file, if its value or index, or both, are as given (101 otherwise).

        @raise ValueError: when neither is given.
        """
        _require_condition(prev_value, prev_index)
        return self._write(key, lambda key, now: CompareAndDelete(key, prev_value, prev_index, now))

    def _write(self, key: str, make: Callable[[str, int], Command]) -> Deferred[Event]:
        """Write a command made of a cleaned key and the time."""
        try:
            command = make(clean_key(key), self.time())
            _check_text(key, getattr(command, "value", ""))
        except EtcdError:
            return fail()
        return self.write(command)

    def write(self, command: Command) -> Deferred[Event]:
        """Put a command in order and make it durable.

        @return: fires with the command's event when it has been evaluated.
        """
        if not self._accepting:
            return fail(self._not_running())
        # Only an expiry may come to nothing.
        return cast("Deferred[Event]", self._committer.add(command))

    def submit(self, command: Command, answer: Callable[[Outcome], None]) -> None:
        """Like `write`, without the cost of a Deferred.

        @param answer: is called once, with the command's event or the `EtcdError` that it was refused with.
        """
        if self._accepting:
            self._committer.submit(command, answer)
        else:
            answer(self._not_running())

    def change_auth(self, command: AuthCommand) -> Deferred[Auth]:
        """Put a change of users, roles, or whether they matter, in order and make it durable.

        @return: fires with all users and roles as they are after it.  Fails with `AuthError`, too.
        """
        if not self._accepting:
            return fail(self._not_running())
        return cast("Deferred[Auth]", self._committer.add(command))

    # Evaluating

    def _deliver(self, position: int, batch: Batch) -> None:
        """Evaluate a batch that has its place in the order, publish the outcome and answer its callers."""
        answers = iter(self._committer.waiting_for(batch))
        for command in batch.commands:
            outcome = self._evaluate(command)
            answer = next(answers, None)
            if answer is not None:
                self._tell(answer, outcome)
        self._expirer.schedule()
        self._checkpointer.take_if_due(position, self.tree, self._history)

    def _evaluate(self, command: AnyCommand) -> Outcome:
        """Evaluate one command, publish the tree and tell those concerned."""
        before = self.tree
        self._checkpointer.changes.count(command)
        try:
            self._tree, events = evaluate(before, command)
        except RefusedError as error:
            self._tree = refused(before)
            self.stats.write(command, 0)
            return error
        self.stats.write(command, len(events))
        # Of keys that run out together, each finds those before it gone already; where nobody looks, that
        # need not be worked out.
        one_by_one = len(events) > 1 and (
            len(self._watchers) > 0 or any(event.removes_dir for event in events)
        )
        for event in events:
            self._history.add(event)
            self._checkpointer.changes.add(event)
            self._census.add(event)
            self._expirer.add(event, self._tree)
            concerned = self._watchers.concerned(event, before)
            if concerned:
                self._fanout.add(concerned, event)
            if event.removes_dir:
                removed = before.find(event.key)
                assert isinstance(removed, Dir)
                self._dismantler.add(removed)
            if one_by_one:
                root = before.open(event.key).remove()
                before = Tree(root, event.index, before.raft_index, before.auth)
        if isinstance(command, AuthCommand):
            return self._tree.auth
        return events[-1] if events else None

    # Watching

    def watch(self, key: str, *, recursive: bool = False, since: int = 0) -> Deferred[Event]:
        """Wait for one change.

        @param recursive: of the key or anything below it.
        @param since: the first index that is wanted, which may be past; 0 for a change from now on.
        @return: fires with the event.  Fails with code 401 when `since` is too old to be known, and with 400
            when the store is stopped.  Cancel it to wait no more.
        """
        try:
            key = clean_key(key)
            index = self._watched_index()
            past = self._history.find(key, recursive, since, index) if since else None
        except EtcdError:
            return fail()
        if past is not None:
            return succeed(past)

        def notify(event: Event) -> None:
            self.unwatch(watcher)
            changed.callback(event)

        def cleared() -> None:
            changed.errback(EtcdError(errors.WATCHER_CLEARED))

        watcher = Watcher(key, recursive, since, notify, cleared)
        changed: Deferred[Event] = Deferred(lambda _: self.unwatch(watcher))
        self._watchers.add(watcher)
        return changed

    def stream(
        self,
        key: str,
        notify: Callable[[Event], None],
        cleared: Callable[[], None],
        *,
        recursive: bool = False,
        since: int = 0,
    ) -> Watcher:
        """Be told of every change, in order and without gaps, until `unwatch`.

        @param notify: called with each event; with those that are past before this returns.
        @param cleared: called once if the store is stopped.
        @return: what `unwatch` takes.
        @raise EtcdError: 401 when `since` is too old to be known, and 300 when the store is not running.
        """
        key = clean_key(key)
        index = self._watched_index()
        past = list(self._history.since(since, index)) if since else []
        watcher = Watcher(key, recursive, since, notify, cleared)
        self._watchers.add(watcher)
        for event in past:
            if concerns(event, key, recursive):
                self._tell(notify, event)
        return watcher

    def _watched_index(self) -> int:
        """The index when a watch begins; a store that is stopping could never tell of its end."""
        if not self._accepting:
            raise self._not_running()
        return self.tree.index

    def unwatch(self, watcher: Watcher) -> None:
        """End a watch; harmless when it has ended."""
        self._watchers.remove(watcher)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        """Call somebody who waits; what goes wrong there is no concern of the store or of the others."""
        try:
            callback(*arguments)
        except Exception:
            self.log.failure("While telling somebody who waits")

    # Refusing

    def _unavailable(self, reason: str) -> EtcdError:
        return EtcdError(errors.RAFT_INTERNAL, reason, 0 if self._tree is None else self._tree.index)

    def _not_running(self) -> EtcdError:
        return self._unavailable("the store is not running")

    def _refuse(self, failure: Failure) -> None:
        raise self._unavailable(failure.getErrorMessage())


def _check_text(*texts: str) -> None:
    """Refuse what stands for no bytes, before a journal fails with it and with all that comes after.

    @raise EtcdError: 209.
    """
    try:
        "".join(texts).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise EtcdError(errors.INVALID_FIELD, "a lone surrogate is no text") from None


def _require_condition(prev_value: str, prev_index: int) -> None:
    if not prev_value and not prev_index:
        raise ValueError("give prev_value, prev_index or both; an empty value cannot be compared with")


def _expiration(now: int, ttl: int | None) -> int | None:
    return None if ttl is None else now + ttl * SECOND
