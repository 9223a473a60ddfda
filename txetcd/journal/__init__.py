"""What a journal is: it gives batches of commands their place in one order and keeps them.

A store hands its journal batches and evaluates whatever the journal delivers, in that order and only then.
So nobody sees a value that a crash could take back, and it is all the same to the store whether the order is
made by one file or by a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred

from txetcd.auth import Auth
from txetcd.commands import AnyCommand
from txetcd.events import Event
from txetcd.tree import Node, Tree


class JournalError(Exception):
    """The journal cannot do what it was asked to; the text says why, for an operator."""


# How many characters are enough for a batch: neither its commit nor its evaluation is to take long.
BATCH_CHARACTERS = 4 * 1024 * 1024
# After how many commands a checkpoint is due, if nothing else matters.
CHECKPOINT_COMMANDS = 1000


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands that get their place in the order together.

    @ivar origin: names the store, and the run of it, that asked for them.
    @ivar number: which of its batches this is.
    """

    origin: str
    number: int
    commands: tuple[AnyCommand, ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a journal knew when it was opened.

    @ivar cluster_id: drawn once, when the journal was made.
    @ivar tree: the store, users and roles included, as of the latest checkpoint.
    @ivar events: the recent events up to there.
    @ivar log: the batches after it, each with its position.
    """

    cluster_id: int
    tree: Tree
    events: list[Event]
    log: list[tuple[int, Batch]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What to write down of a store's state, so that the log up to a position can go.

    It is applied as a whole: first what is below `dropped` goes, then `removed`, then `rows` are put.

    @ivar position: of the last batch that it includes.
    @ivar index: the store's index, and
    @ivar raft_index: its count of commands, there.
    @ivar dropped: directories that went, with all that was below them at any time since the last checkpoint.
    @ivar removed: keys that are no more.
    @ivar rows: nodes, without children, as they are now.
    @ivar events: those since the last checkpoint, as far as the history goes.
    @ivar oldest_event: the index of the oldest event still in the history; older ones can go.
    @ivar auth: the users and roles as they are now; None when they are as at the last checkpoint.
    """

    position: int
    index: int
    raft_index: int
    dropped: list[str]
    removed: list[str]
    rows: list[Node]
    events: list[Event]
    oldest_event: int
    auth: Auth | None = None


Deliver = Callable[[int, Batch], None]
StartAnew = Callable[[Recovered], None]


class Journal(Protocol):
    """The seam between a store and where its commands are kept.

    @ivar batch_characters: how many characters the values of a batch may have; a single command may have
        more, and then it is the journal that refuses it.
    @ivar checkpoint_commands: after how many commands a checkpoint is due.
    """

    batch_characters: int
    checkpoint_commands: int

    @property
    def trouble(self) -> str:
        """Why nothing can be written at present, as far as is known, in words; empty if it can."""

    def load(self, deliver: Deliver, start_anew: StartAnew | None = None) -> Deferred[Recovered]:
        """Open the journal.

        @param deliver: called in order with each batch that gets its place from now on and with its position,
            which only ever grows; the store's own batches as well as, in a cluster, those of others.
        @param start_anew: called when batches are gone that were not delivered, as can be for a gateway that
            was cut off from its cluster for long; with what there is instead.  What is delivered next comes
            after that.  Without it the journal is of no use then.
        @return: fires with what is there already.  Fails with `JournalError`.
        """

    def append(self, batch: Batch) -> Deferred[None]:
        """Give a batch its place and make it durable.  One at a time.

        @return: fires once the batch has been delivered.  Fails with `JournalError` when it has no place in
            the order as far as can be told; another may be tried.  In a cluster it may get one yet, before
            the next batch.
        """

    def checkpoint(self, checkpoint: Checkpoint) -> Deferred[None]:
        """Write down the state, when it does not delay a batch, and forget the log before it.  One at a time.

        @return: fires when that is done, by this store or, in a cluster, by another.  Until then the journal
            is whole without it.
        """

    def barrier(self) -> Deferred[None]:
        """Fires once every batch that is durable anywhere now has been delivered here.

        Fails with `JournalError` when that cannot be told.
        """

    def close(self) -> Deferred[None]:
        """Finish what is under way and let go of everything; fires when that is done."""
