"""Whether a history can be explained by one v2 store that does one operation after the other.

Every answer names an index, and that fixes its place among all others: a write has an index of its own, a
read or refusal comes after the write whose index it names and before the next.  A write of unknown outcome
has its index from those who have seen what it wrote; what nobody has seen is to be placed, or left out, and
that is what is searched for, key by key, with a memory of what was tried.  The order must also agree with
the time: what had ended before something else began comes before it.  A plain read may show the past, so it
has begun, as it were, at the beginning of time; each server's indices must not go back all the same.

Pure.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tests.cluster.histories import Answer, Breach, Kind, Operation, Outcome, Seen, current_in

# Placements that are tried before a key is given up as undecided.
_BUDGET = 200_000
# The same for each step of making a breach shorter.
_SMALL_BUDGET = 5_000


@dataclass(frozen=True)
class Node:
    """A file as the model has it.

    @ivar index: its modifiedIndex, or, if its write has never been answered, an index that it is above.
    @ivar exact: which of the two.
    """

    value: str
    index: int
    exact: bool

    def may_be(self, seen: Seen) -> bool:
        """Whether an answer may show it so."""
        return self.value == seen.value and self.may_have(seen.modified)

    def may_have(self, index: int) -> bool:
        """Whether that may be its modifiedIndex."""
        return self.index == index if self.exact else self.index < index


@dataclass(frozen=True)
class State:
    """A key as the model has it.

    @ivar index: the highest index known so far.
    @ivar nodes: the file, if there is one; a directory's children in order.
    """

    index: int = 0
    nodes: tuple[Node, ...] = ()


def after(state: State, operation: Operation) -> State | None:
    """The state after an operation with that outcome; None if it cannot come next."""
    answer = operation.answer
    if answer is None:
        return _after_unknown(state, operation)
    if operation.outcome is Outcome.REFUSED:
        fits = answer.index >= state.index and _refused(state, operation, answer)
        return replace(state, index=answer.index) if fits else None
    if not operation.kind.writes:
        return _after_read(state, answer)
    if answer.index <= state.index or not _allowed(state, operation):
        return None
    replaced = () if operation.kind is Kind.APPEND else state.nodes
    if operation.done and not _shows(replaced, answer.seen):
        return None
    return State(answer.index, _written(state, operation, Node(operation.request.value, answer.index, True)))


def _after_unknown(state: State, operation: Operation) -> State | None:
    if not operation.kind.writes or not _allowed(state, operation):
        return None
    return replace(state, nodes=_written(state, operation, Node(operation.request.value, state.index, False)))


def _after_read(state: State, answer: Answer) -> State | None:
    if answer.index < state.index or not _shows(state.nodes, answer.seen):
        return None
    if any(seen.modified > answer.index for seen in answer.seen):
        return None
    return State(answer.index, tuple(Node(seen.value, seen.modified, True) for seen in answer.seen))


def _shows(nodes: Sequence[Node], seen: Sequence[Seen]) -> bool:
    return len(nodes) == len(seen) and all(map(Node.may_be, nodes, seen))


def _allowed(state: State, operation: Operation) -> bool:
    """Whether the state lets a write be done."""
    kind, previous = operation.kind, operation.request.previous
    if kind is Kind.CREATE:
        return not state.nodes
    if kind is Kind.DELETE:
        return bool(state.nodes)
    if kind is Kind.SWAP:
        if not state.nodes:
            return False
        node = state.nodes[0]
        return node.may_have(previous) if isinstance(previous, int) else node.value == previous
    return True


def _written(state: State, operation: Operation, node: Node) -> tuple[Node, ...]:
    if operation.kind is Kind.APPEND:
        return (*state.nodes, node)
    return () if operation.kind is Kind.DELETE else (node,)


def _refused(state: State, operation: Operation, answer: Answer) -> bool:
    """Whether the state explains a refusal."""
    if answer.code == 100:
        return not state.nodes and operation.kind not in (Kind.SET, Kind.CREATE, Kind.APPEND)
    if not state.nodes:
        return False
    if answer.code == 105:
        return operation.kind is Kind.CREATE
    if answer.code != 101 or operation.kind is not Kind.SWAP:
        return False
    node, previous, current = state.nodes[0], operation.request.previous, current_in(answer.cause)
    if isinstance(previous, int):
        shown = int(current) if current is not None and current.isdigit() else 0
        return shown != previous and node.may_have(shown)
    return node.value == current != previous


@dataclass
class _Search:
    """The search for an explanation of the operations on one key.

    @ivar reached: how many of the operations whose place is known have been explained at the same time.
    """

    known: list[Operation]
    unknown: list[Operation]
    budget: int
    reached: int = 0

    def __post_init__(self) -> None:
        # The earliest end among the known operations from each place on: what begins later comes later.
        self._ends = [math.inf] * (len(self.known) + 1)
        for place in reversed(range(len(self.known))):
            self._ends[place] = min(self._ends[place + 1], self.known[place].returned)

    def explained(self) -> bool | None:
        """Whether there is an explanation; None if the budget is used up before that is known."""
        for place, operation in enumerate(self.known):
            if _begin(operation) > self._ends[place]:
                self.reached = place
                return False
        first = _Step(0, 0, None, State())
        waiting, tried = [first], {first}
        while waiting:
            here = waiting.pop()
            self.reached = max(self.reached, here.place)
            if here.place == len(self.known):
                return True
            if len(tried) > self.budget:
                return None
            # The last is tried first: to place nothing before the next operation.
            following = [each for each in self._following(here) if each not in tried]
            tried.update(following)
            waiting += following
        return False

    def _following(self, here: _Step) -> Iterator[_Step]:
        for number, operation in enumerate(self.unknown):
            bit = 1 << number
            if here.taken & bit or operation.invoked > self._ends[here.place]:
                continue
            if here.last is not None and operation.kind not in _NEEDS[here.last]:
                continue
            then = after(here.state, operation)
            if then is not None:
                yield _Step(here.place, here.taken | bit, operation.kind, then)
        then = after(here.state, self.known[here.place])
        if then is not None:
            yield _Step(here.place + 1, here.taken, None, then)


class _Step(NamedTuple):
    """How far a search is.

    @ivar place: the next of the operations whose place is known.
    @ivar taken: a bit for each of the others that has been placed.
    @ivar last: what the one of them asked for that was placed last, if it is the last of all.
    """

    place: int
    taken: int
    last: Kind | None
    state: State


# What may make use of a write that nobody has seen, so that both are worth placing, one after the other.
_NEEDS = {
    Kind.SET: (Kind.SWAP,),
    Kind.CREATE: (Kind.SWAP,),
    Kind.SWAP: (Kind.SWAP,),
    Kind.DELETE: (Kind.CREATE,),
}


def _begin(operation: Operation) -> float:
    return -math.inf if operation.kind is Kind.LOOK else operation.invoked


def _search(operations: Sequence[Operation], budget: int) -> _Search:
    shown = {seen.value: seen.modified for each in operations if each.answer for seen in each.answer.seen}
    known, unknown = [], []
    for operation in operations:
        value = operation.request.value
        if operation.answer is not None:
            known.append(operation)
        elif operation.outcome is Outcome.UNKNOWN and operation.kind.writes:
            if value in shown:
                known.append(replace(operation, answer=Answer(shown[value])))
            elif operation.kind is not Kind.APPEND:
                # What was appended is never overwritten: if nobody has seen it, it explains nothing.
                unknown.append(operation)
    known.sort(key=lambda each: (each.index, not _has_written(each), each.invoked))
    return _Search(known, unknown, budget)


def _has_written(operation: Operation) -> bool:
    return operation.kind.writes and operation.outcome is not Outcome.REFUSED


def check(history: Iterable[Operation]) -> list[Breach]:
    """What in a history no v2 store may show; nothing if all is well."""
    operations = list(history)
    return [*index_breaches(operations), *key_breaches(operations)]


def key_breaches(operations: Iterable[Operation]) -> Iterator[Breach]:
    """Keys that nothing explains, each with the shortest history that shows it."""
    keys = defaultdict(list)
    for operation in operations:
        keys[operation.request.key].append(operation)
    for key, own in keys.items():
        explained = _search(own, _BUDGET).explained()
        if explained is None:
            yield Breach(f"{key}: not decided, too many outcomes are unknown", tuple(own))
        elif not explained:
            yield Breach(f"{key}: nothing explains this history", *shorten(own))


def index_breaches(operations: Sequence[Operation]) -> Iterator[Breach]:
    """Answers whose indices are not in the order of time."""
    owners: dict[int, Operation] = {}
    for operation in operations:
        if operation.done and operation.index in owners:
            yield Breach(f"index {operation.index} twice", (owners[operation.index], operation))
        elif operation.done:
            owners[operation.index] = operation
    current = [each for each in operations if each.kind is not Kind.LOOK]
    yield from _going_back(current, "the index goes back")
    for server in sorted({operation.server for operation in operations}):
        own = [operation for operation in operations if operation.server == server]
        for breach in _going_back(own, f"the index goes back at {server}"):
            if any(operation.kind is Kind.LOOK for operation in breach.operations):
                yield breach


def _going_back(operations: Iterable[Operation], reason: str) -> Iterator[Breach]:
    """Operations with an index lower than what had been answered before they began."""
    answered = [each for each in operations if each.outcome in (Outcome.OK, Outcome.REFUSED)]
    ended = iter(sorted(answered, key=lambda each: each.returned))
    upcoming = next(ended, None)
    highest: Operation | None = None
    for operation in sorted(answered, key=lambda each: each.invoked):
        while upcoming is not None and upcoming.returned < operation.invoked:
            if highest is None or upcoming.index > highest.index:
                highest = upcoming
            upcoming = next(ended, None)
        # A write's own index is new, others name one that may have been named before.
        if highest is not None and operation.index < highest.index + operation.done:
            yield Breach(reason, (highest, operation))


def shorten(operations: Sequence[Operation]) -> tuple[tuple[Operation, ...], Operation]:
    """Drop from the history of a key that nothing explains what need not be there.

    Nothing is dropped that could make an explained history one that is not: the end, reads and refusals
    go; that a write was acknowledged is forgotten, so that it may have been done or not.

    @return: what is left, without what was forgotten, and the one of them that cannot come next.
    """
    kept = _beginning(operations)
    forgotten: set[Operation] = set()
    for operation in reversed(kept):
        rest = [each for each in kept if each is not operation]
        if operation.done:
            unknown = _unanswered(operation)
            if _rejected([*rest, unknown]):
                forgotten.add(unknown)
                kept = [*rest, unknown]
        elif operation.answer is not None and _rejected(rest):
            kept = rest
    search = _search(kept, _SMALL_BUDGET)
    search.explained()
    return tuple(each for each in kept if each not in forgotten), search.known[search.reached]


def _unanswered(operation: Operation) -> Operation:
    return replace(operation, returned=math.inf, outcome=Outcome.UNKNOWN, answer=None)


def _rejected(operations: Sequence[Operation]) -> bool:
    return _search(operations, _SMALL_BUDGET).explained() is False


def _beginning(operations: Sequence[Operation]) -> list[Operation]:
    """The shortest beginning that nothing explains."""
    moments = sorted(each.returned for each in operations if not math.isinf(each.returned))
    low, high = 0, len(moments) - 1
    while low < high:
        middle = (low + high) // 2
        if _rejected(_until(operations, moments[middle])):
            high = middle
        else:
            low = middle + 1
    return _until(operations, moments[low])


def _until(operations: Iterable[Operation], moment: float) -> list[Operation]:
    """What there was of a history at that moment."""
    return [
        each if each.returned <= moment else _unanswered(each)
        for each in operations
        if each.invoked <= moment and (each.returned <= moment or each.kind.writes)
    ]
