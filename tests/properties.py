"""How hypothesis runs here, and the histories that it makes up.

Runs are quick and always the same; for a long and random one, set C{TXETCD_HYPOTHESIS_EXAMPLES} to how many
examples each property is to be tried with::

    TXETCD_HYPOTHESIS_EXAMPLES=5000 trial tests.test_model
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from txetcd.commands import (
    Command,
    CompareAndDelete,
    CompareAndSwap,
    Create,
    Delete,
    Expire,
    Set,
    Update,
    evaluate,
    refused,
)
from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.tree import EMPTY, SECOND, Dir, Node, Tree, bare

EXAMPLES = "TXETCD_HYPOTHESIS_EXAMPLES"

properties = settings(
    derandomize=EXAMPLES not in os.environ,
    max_examples=int(os.environ.get(EXAMPLES, "100")),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

# When histories begin, with a fraction that is printed.
START = 1_700_000_000 * SECOND + 25_000_000

KEYS = ["/a", "/a/x", "/a/x/y", "/a/x/y", "/a/_h", "/ab", "/_s/z"]
VALUES = ["", "1", "2", "\udcff<"]
KINDS = [Set, Set, Set, Create, Create, Update, CompareAndSwap, Delete, CompareAndDelete, Expire]

keys = st.sampled_from([*KEYS, *KEYS, "/"])


@dataclass(frozen=True)
class Step:
    """A command but for the store that it meets.

    @ivar prev_index: one of C{none}, C{right} and C{wrong}.
    @ivar pause: how long after the step before, in nanoseconds.
    """

    kind: type[Command]
    key: str
    value: str
    prev_value: str
    prev_index: str
    ttl: int | None
    dir: bool
    flag: bool
    pause: int

    def command(self, tree: Tree, time: int) -> Command:
        """The command as it is when given to a store in this state, at this time."""
        key, value = self.key, self.value
        expiration = None if self.ttl is None else time + self.ttl * SECOND
        refresh = self.flag and expiration is not None
        node = tree.find(key)
        right = node.modified if node is not None else tree.index
        prev_index = {"none": 0, "right": right, "wrong": right + 1}[self.prev_index]
        if self.kind is Set:
            return Set(key, value, self.dir, expiration, refresh, time)
        if self.kind is Create:
            return Create(key, value, self.dir, expiration, self.flag, time)
        if self.kind is Update:
            return Update(key, value, expiration, refresh, time)
        if self.kind is CompareAndSwap:
            return CompareAndSwap(key, value, self.prev_value, prev_index, expiration, refresh, time)
        if self.kind is Delete:
            return Delete(key, self.dir, self.flag, time)
        if self.kind is CompareAndDelete:
            return CompareAndDelete(key, self.prev_value, prev_index, time)
        return Expire((key, *KEYS) if self.flag else (key,), time)


steps = st.builds(
    Step,
    kind=st.sampled_from(KINDS),
    key=keys,
    value=st.sampled_from(VALUES),
    prev_value=st.sampled_from(["", "", "1", "2", "\udcff<"]),
    prev_index=st.sampled_from(["none", "right", "right", "wrong"]),
    ttl=st.sampled_from([None, None, None, 0, 1, 3, 60]),
    dir=st.booleans(),
    flag=st.booleans(),
    pause=st.sampled_from([0, 1, SECOND // 2, SECOND]),
)

histories = st.lists(steps, min_size=20, max_size=50)


@dataclass(frozen=True)
class Moment:
    """One command of a history and what came of it.

    @ivar outcome: the events, or the refusal.
    """

    before: Tree
    command: Command
    outcome: list[Event] | EtcdError
    after: Tree

    @property
    def events(self) -> list[Event]:
        """The events; none for a refusal."""
        return [] if isinstance(self.outcome, EtcdError) else self.outcome


def do(tree: Tree, command: Command) -> Moment:
    """Evaluate one command."""
    try:
        after, events = evaluate(tree, command)
    except EtcdError as error:
        return Moment(tree, command, error, refused(tree))
    return Moment(tree, command, events, after)


def play(history: list[Step]) -> list[Moment]:
    """Evaluate a history from an empty store on."""
    moments: list[Moment] = []
    tree, time = EMPTY, START
    for step in history:
        time += step.pause
        moments.append(do(tree, step.command(tree, time)))
        tree = moments[-1].after
    return moments


def rows(tree: Tree) -> dict[str, Node]:
    """The nodes of a tree by key, each without children, hidden ones too; all but the root, parents first."""
    found: dict[str, Node] = {}
    nodes: list[Node] = [tree.root]
    while nodes:
        node = nodes.pop()
        found[node.key] = bare(node)
        if isinstance(node, Dir):
            nodes.extend(node.nodes())
    del found["/"]
    return found
