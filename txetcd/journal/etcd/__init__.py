"""The journal in an etcd v3 cluster, shared by any number of gateways.

The cluster orders batches and keeps them: a batch is a row, put in a transaction of its own.  Every gateway
follows all batches in the order of the cluster's revisions, and so evaluates the same commands in the same
order.  `rows` tells what rows there are, `client` and `answers` speak with it
in the words of `wire`, and `credentials` prove who we are.  `session` asks until there is an answer;
`reading` reads what is there, `following` follows what comes, `appending` adds to it, `barrier` waits for it,
and `checkpointing` shortens it, by what `checkpoint` does.  `members` tells which gateways there are, each on
a `lease`, and `versions` which etcd it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from txetcd.engine import Engine, parse_engine
from txetcd.journal import Batch, Checkpoint, Deliver, JournalError, Recovered, StartAnew
from txetcd.journal.etcd.appending import Appender
from txetcd.journal.etcd.barrier import Barrier
from txetcd.journal.etcd.checkpointing import CheckpointWriter
from txetcd.journal.etcd.client import Client, HTTPClient
from txetcd.journal.etcd.credentials import Credentials
from txetcd.journal.etcd.following import Follower
from txetcd.journal.etcd.members import Registry
from txetcd.journal.etcd.reading import Entry, Mark, snapshot
from txetcd.journal.etcd.rows import BATCH_BYTES, DamagedError, Layout, encode_batch
from txetcd.journal.etcd.session import Session
from txetcd.journal.etcd.task import Task
from txetcd.journal.etcd.versions import single_clients, warn_of_unsafe
from txetcd.journal.etcd.wire import EngineError, UnwillingError
from txetcd.member import Member

__all__ = ["Engine", "EtcdJournal", "parse_engine"]

_T = TypeVar("_T")

# After how many commands a checkpoint is due: it writes each changed row once, and a key may change often.
CHECKPOINT_COMMANDS = 5000
# A member is waited for this part of the time that there is, so that another can be asked.
_MEMBER_SHARE = 0.4
# How often a gateway that hears nothing asks whether there is something, in seconds.
PULSE = 5.0
# How long an engine that is full, say, is taken for that; in seconds, unless it takes a write sooner.
UNWILLING = 10.0


@dataclass
class _Parts:
    """What there is once the rows are read."""

    follower: Follower
    appender: Appender
    barrier: Barrier
    pulse: Task[None]
    registry: Registry | None
    versions: Task[None]


class EtcdJournal:
    """A journal in an etcd v3 cluster.

    @param engine: the cluster.
    @param timeout: how long an append or a barrier may take, in seconds.
    @param member: what others are to tell clients of this gateway; nothing if None.
    @param client: how to ask it, if not over HTTP.
    @raise TLSError: when the engine's files do not work.
    """

    log = Logger()
    # Even if each has to be escaped, which takes six bytes at most, so many characters fit into a row.
    batch_characters = BATCH_BYTES // 6
    checkpoint_commands = CHECKPOINT_COMMANDS

    def __init__(
        self,
        reactor: IReactorTime,
        engine: Engine,
        *,
        timeout: float = 5.0,
        member: Member | None = None,
        client: Client | None = None,
    ) -> None:
        self._reactor = reactor
        self._prefix = engine.prefix
        self._timeout = timeout
        self._member = member
        self._single: list[tuple[str, Client]] = []
        if client is None:
            credentials = Credentials(engine)
            client = HTTPClient(reactor, engine, credentials)
            self._single = single_clients(reactor, engine, credentials)
        self._client = client
        self._session = Session(reactor, self._client, Layout(engine.prefix), timeout * _MEMBER_SHARE)
        self._deliver: Deliver = _nobody
        self._start_anew: StartAnew | None = None
        self._parts: _Parts | None = None
        self._loading: Task[Recovered] | None = None
        self._own: dict[tuple[str, int], Deferred[None]] = {}
        self._checkpointer = CheckpointWriter(self._session)
        self._checkpointing: Task[None] | None = None
        self._unwilling = ""
        self._unwilling_until = 0.0

    @property
    def trouble(self) -> str:
        """See `Journal.trouble`."""
        now = self._reactor.seconds()
        return self._session.reason or (self._unwilling if now < self._unwilling_until else "")

    @property
    def members(self) -> Sequence[Member]:
        """All gateways of this key space, the oldest first; none while it is not open."""
        parts = self._parts
        return () if parts is None or parts.registry is None else parts.registry.members

    # Opening

    def load(self, deliver: Deliver, start_anew: StartAnew | None = None) -> Deferred[Recovered]:
        """See `Journal.load`.  It goes on until the engine answers."""
        self._deliver = deliver
        self._start_anew = start_anew
        self._loading = Task(self._reactor, self._load())
        return self._loading.done

    async def _load(self) -> Recovered:
        try:
            found = await self._session.persist(lambda: snapshot(self._session))
        except CancelledError:
            raise JournalError("the journal was closed before the engine answered") from None
        except DamagedError as error:
            remedy = "restore a snapshot of the engine, or choose another prefix"
            raise JournalError(f"{self._prefix}: {error}; {remedy}") from None
        except EngineError as error:
            raise JournalError(str(error)) from None
        follower = Follower(self._session, found.mark, self._receive, self._renew)
        appender, barrier = Appender(self._session, follower), Barrier(self._session, follower)
        pulse: Task[None] = Task.endless(self._reactor, self._pulse(barrier))
        registry = None if self._member is None else Registry(self._session, self._member)
        versions = Task.endless(self._reactor, warn_of_unsafe(self._single, self._session.timeout))
        self._parts = _Parts(follower, appender, barrier, pulse, registry, versions)
        self._checkpointer.begin(found)
        # Not at once: whoever loads has yet to hear what there is.
        self._reactor.callLater(0, follower.start)
        if registry is not None:
            registry.start()
        return found.recovered

    async def _pulse(self, barrier: Barrier) -> None:
        """See to it that a watch that has fallen silent is noticed by those, too, who only read."""
        while True:
            await deferLater(self._reactor, PULSE)
            await barrier.wait()

    # Following

    def _receive(self, entry: Entry) -> None:
        """Deliver a batch."""
        if self._parts is not None:
            self._parts.appender.received(entry)
        self._checkpointer.note(entry)
        self._deliver(entry.position, entry.batch)
        self._answer(entry.batch)

    def _answer(self, batch: Batch) -> None:
        """Tell whoever appended a batch that it was delivered."""
        appended = self._own.pop((batch.origin, batch.number), None)
        if appended is not None:
            self._unwilling_until = 0.0
            appended.callback(None)

    def _renew(self) -> Deferred[Mark]:
        return Deferred.fromCoroutine(self._read_anew())

    async def _read_anew(self) -> Mark:
        """Let the store start from what is there."""
        if self._start_anew is None:
            raise EngineError("batches are gone that were not seen here")
        if self._checkpointing is not None:
            self._checkpointing.stop()
        found = await snapshot(self._session)
        self.log.warn(
            "Batches are gone that were not seen here; starting from the rows at batch {position}",
            position=found.mark.position,
        )
        self._checkpointer.begin(found)
        self._start_anew(found.recovered)
        for entry in found.entries:
            self._answer(entry.batch)
        # Nobody can tell any more whether it has been done, so it must not be said again.
        for appended in list(self._own.values()):
            appended.errback(JournalError("the gateway was cut off while this was written"))
        return found.mark

    # Writing

    def append(self, batch: Batch) -> Deferred[None]:
        """See `Journal.append`.

        After a failure the batch may still be delivered, before the next one or never.
        """
        value = encode_batch(batch)
        if len(value) > BATCH_BYTES:
            return fail(JournalError(f"{len(value)} bytes are more than the engine takes ({BATCH_BYTES})"))
        if self._parts is None:
            return fail(JournalError("the journal is closed"))
        key = (batch.origin, batch.number)
        appended: Deferred[None] = Deferred()
        self._own[key] = appended
        sending: Task[None] = Task(self._reactor, self._parts.appender.append(batch, value))

        def failed(failure: Failure) -> None:
            if failure.check(UnwillingError):
                self._unwilling = failure.getErrorMessage()
                self._unwilling_until = self._reactor.seconds() + UNWILLING
            if not appended.called:
                appended.errback(JournalError(failure.getErrorMessage()))

        def over(result: _T) -> _T:
            self._own.pop(key, None)
            sending.stop()
            return result

        began = self._reactor.seconds()

        def gather(_: None) -> Deferred[None]:
            return self._session.gather(began) if len(batch.commands) > 1 else succeed(None)

        sending.done.addErrback(failed)
        ended: Deferred[None] = self._in_time(appended).addBoth(over)
        return ended.addCallback(gather)

    def barrier(self) -> Deferred[None]:
        """See `Journal.barrier`."""
        if self._parts is None:
            return fail(JournalError("the journal is closed"))
        return self._in_time(self._parts.barrier.wait())

    def _in_time(self, asking: Deferred[None]) -> Deferred[None]:
        def late(_: object, seconds: float) -> Failure:
            why = self._session.reason
            text = f"the engine has not answered within {seconds:g} s"
            return Failure(JournalError(f"{text}: {why}" if why else text))

        return asking.addTimeout(self._timeout, self._reactor, late)

    def checkpoint(self, checkpoint: Checkpoint) -> Deferred[None]:
        """See `Journal.checkpoint`.  It is done when this gateway or another has written that or more."""
        assert self._parts is not None, "load it first"
        done: Deferred[None] = Deferred()
        writing: Task[None] = Task(self._reactor, self._checkpointer.write(checkpoint))

        def failed(failure: Failure) -> None:
            if not failure.check(CancelledError):
                self.log.failure("While writing a checkpoint", failure)

        writing.done.addCallbacks(done.callback, failed)
        self._checkpointing = writing
        return done

    # Closing

    def close(self) -> Deferred[None]:
        """See `Journal.close`."""
        if self._loading is not None:
            self._loading.stop()
        if self._checkpointing is not None:
            self._checkpointing.stop()
        for appended in list(self._own.values()):
            appended.errback(JournalError("the journal is closed"))
        parts, self._parts = self._parts, None
        closing: Deferred[Any] = succeed(None)
        if parts is not None:
            parts.pulse.stop()
            parts.versions.stop()
            parts.barrier.close()
            parts.follower.stop()
            closing = parts.appender.close()
            if parts.registry is not None:
                closing = gatherResults([closing, parts.registry.close()])
        return closing.addCallback(lambda _: self._client.close())


def _nobody(*arguments: object) -> None:
    """Whom batches go to before the journal is opened: there are none."""
