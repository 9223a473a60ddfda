"""Writing to a v2 server: a copy, several keys at a time, and what else makes the server the same as one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from txetcd import errors
from txetcd.moving import MovingError
from txetcd.moving.applying import Applying
from txetcd.moving.client import KEYS, Answer, Client
from txetcd.moving.export import Copy, in_slices
from txetcd.moving.lines import SECOND, Node, living, time_left

# Two servers' times of one expiration differ by what is rounded up, and the way there, in nanoseconds.
_SAME_TIME = 3 * SECOND


@dataclass
class Counts:
    """What came of a copy.

    @ivar written: nodes that were put.
    @ivar same: nodes that were there already.
    @ivar expired: nodes that had run out.
    @ivar deleted: nodes that were there and are not in the copy; a directory counts once.
    """

    written: int = 0
    same: int = 0
    expired: int = 0
    deleted: int = 0

    def __str__(self) -> str:
        parts = [f"{self.written} written"]
        parts += [f"{self.same} the same"] if self.same else []
        parts += [f"{self.expired} expired"] if self.expired else []
        parts += [f"{self.deleted} deleted"] if self.deleted else []
        return ", ".join(parts)


class Target:
    """A server to write to.

    @param client: how to reach it.
    @param now: the time, in nanoseconds since the epoch.
    @ivar client: as given.
    @ivar now: as given.
    """

    def __init__(self, client: Client, now: Callable[[], int]) -> None:
        self.client = client
        self.now = now

    async def is_empty(self) -> bool:
        """Whether it has no keys, as far as it shows them."""
        answer = await self._look("/")
        if not answer.ok:
            raise answer.refused(self.client.url, "/")
        return not self._node(answer).get("nodes")

    def _node(self, answer: Answer) -> dict[str, Any]:
        """What it shows."""
        try:
            node = json.loads(answer.body)["node"]
        except (ValueError, KeyError, TypeError):
            node = None
        if not isinstance(node, dict):
            raise MovingError(f"{self.client.url}: is not a v2 server; give the URL of one")
        return node

    async def _look(self, key: str) -> Answer:
        """Look at a key; one of its children is enough, but a real etcd does not know of limits."""
        return await self.client.request("GET", KEYS + key, limit="1", keysOnly="true")

    async def put(self, node: Node) -> None:
        """Put a node there with the ttl that it still has, for ever if it has none.

        A directory that is there already gets the ttl.  Raises `MovingError` where something is in the way.
        """
        left = time_left(node, self.now())
        form = {} if left is None else {"ttl": str(max(left, 1))}
        if node.value is not None:
            answer = await self._put(node.key, form | {"value": node.value})
        else:
            answer = await self._put(node.key, form | {"dir": "true"})
            if answer.code == errors.NOT_A_FILE:
                answer = await self._update_directory(node.key, form)
            if answer.code == errors.KEY_NOT_FOUND:
                # It was there, and has just run out.
                return await self.put(node)
        if not answer.ok:
            raise answer.refused(self.client.url, node.key)

    async def _update_directory(self, key: str, form: dict[str, str]) -> Answer:
        """Give a directory that is there its ttl, or take it away."""
        answer = await self._look(key)
        if not answer.ok or (not form and "expiration" not in self._node(answer)):
            return answer
        return await self._put(key, form | {"dir": "true", "prevExist": "true"})

    async def _put(self, key: str, form: dict[str, str]) -> Answer:
        return await self.client.request("PUT", KEYS + key, form=form, noValueOnSuccess="true")

    async def delete(self, key: str) -> None:
        """See to it that nothing is there."""
        answer = await self.client.request("DELETE", KEYS + key, recursive="true")
        if not answer.ok and answer.code != errors.KEY_NOT_FOUND:
            raise answer.refused(self.client.url, key)


async def fill(
    copy: Copy,
    target: Target,
    *,
    concurrency: int,
    there: dict[str, Node] | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Counts:
    """Write a copy to a server.

    @param concurrency: how many requests to have under way at a time.
    @param there: what the server has where the copy belongs, if it is to be the same in the end: what is the
        same is not written, and what the copy does not have is deleted.
    @param advance: called for each node of the copy.
    """
    counts = Counts()
    lacking = dict(there or {})
    if lacking:
        await _make_way(copy, target, lacking, counts)

    def expired(node: Node) -> None:
        counts.expired += 1
        advance()

    async def put(node: Node) -> None:
        found = lacking.pop(node.key, None)
        if found is not None and is_same(node, found):
            counts.same += 1
        else:
            await target.put(node)
            counts.written += 1
        advance()

    # A directory is put before what is in it: etcd 3.5 cannot give one that is there already another ttl.
    applying = Applying(concurrency)
    nodes = living(copy.nodes(), target.now, expired)
    try:
        async for number, node in in_slices(target.client.reactor, enumerate(nodes)):
            await applying.add(number, node.key, partial(put, node))
    finally:
        await applying.drain()
    await _delete(target, lacking, counts)
    return counts


async def _make_way(copy: Copy, target: Target, there: dict[str, Node], counts: Counts) -> None:
    """Delete files that stand where the copy has a directory, and the other way round."""
    async for node in in_slices(target.client.reactor, copy.nodes()):
        found = there.get(node.key)
        if found is not None and (node.value is None) != (found.value is None):
            await target.delete(node.key)
            counts.deleted += 1
            for key in [key for key in there if key == node.key or key.startswith(node.key + "/")]:
                del there[key]


async def _delete(target: Target, there: dict[str, Node], counts: Counts) -> None:
    gone: str | None = None
    # A directory comes before what is in it.
    for key in sorted(there, key=lambda key: key.split("/")):
        if gone is None or not key.startswith(gone):
            await target.delete(key)
            counts.deleted += 1
            gone = key + "/"


def is_same(node: Node, found: Node) -> bool:
    """Whether two nodes at one key are the same, as far as a copy goes."""
    if node.value != found.value or (node.expiration is None) != (found.expiration is None):
        return False
    return abs((node.expiration or 0) - (found.expiration or 0)) < _SAME_TIME
