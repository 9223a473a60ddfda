"""Reading a v2 server: what is below a key, at one moment, into a file or into memory."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from txetcd import errors
from txetcd.moving import MovingError
from txetcd.moving.client import KEYS, Answer, Client
from txetcd.moving.lines import End, Line, Node, Section, decode, encode
from txetcd.moving.listing import Listing

# So many items are worked on before the reactor has its turn.
SLICE = 256

_T = TypeVar("_T")


@dataclass(frozen=True)
class Copy:
    """A copy that can be read again and again.

    @ivar name: what to call it in errors.
    @ivar file: where it is; it can seek.
    """

    name: str
    file: IO[bytes]

    def lines(self) -> Iterator[Line]:
        """All of it, from the start.  Raises `MovingError` where it is not what it should be."""
        self.file.seek(0)
        return decode(self.name, self.file)

    def nodes(self) -> Iterator[Node]:
        """The nodes of all sections."""
        return (line for line in self.lines() if isinstance(line, Node))

    async def check(self, clock: IReactorTime) -> tuple[list[Section], int]:
        """Read it to its end, and return its sections and how many nodes it has."""
        sections: list[Section] = []
        nodes = 0
        async for line in in_slices(clock, self.lines()):
            if isinstance(line, Section):
                sections.append(line)
            elif isinstance(line, Node):
                nodes += 1
        return sections, nodes


async def in_slices(clock: IReactorTime, items: Iterable[_T]) -> AsyncIterator[_T]:
    """The items, with time in between for all else that is to be done."""
    for number, item in enumerate(items, 1):
        if number % SLICE == 0:
            await deferLater(clock, 0)
        yield item


async def read(
    client: Client, key: str, begun: Callable[[Answer], object], found: Callable[[Node], None]
) -> None:
    """Read all that is below a key, as it is at one moment.

    @param begun: called first, with the answer's head.  Where there is no such key it is a refusal, and that
        was all.
    @param found: called with each node, parents before children; not with the root, which nobody can set.
    @raise MovingError: when the server refuses for another reason, or sends something else.
    """
    listing = Listing(found)

    def head(answer: Answer) -> Callable[[bytes], object]:
        if not answer.ok and answer.code != errors.KEY_NOT_FOUND:
            raise answer.refused(client.url, key)
        begun(answer)
        return listing.feed

    try:
        answer = await client.read(KEYS + key, head, recursive="true", sorted="true", quorum="true")
        if answer.ok:
            listing.close()
    except ValueError as error:
        raise MovingError(f"{client.url}{KEYS}{key}: {error}; give the URL of a v2 server") from None


async def tree(client: Client, key: str) -> dict[str, Node]:
    """All that is below a key, by key; empty when there is no such key."""
    nodes: dict[str, Node] = {}

    def found(node: Node) -> None:
        nodes[node.key] = node

    await read(client, key, lambda answer: None, found)
    return nodes


async def export(
    client: Client,
    keys: Sequence[str],
    write: Callable[[bytes], object],
    now: Callable[[], int],
    *,
    advance: Callable[[], object] = lambda: None,
    began: Callable[[Section], object] = lambda section: None,
    may_lack: bool = False,
) -> None:
    """Write a copy of all that is below some keys, a section each.

    @param now: the time, in nanoseconds since the epoch.
    @param advance: called for each node.
    @param began: called when the first answer for a key has come, which is when its moment is past.
    @param may_lack: a key that does not exist makes an empty section, instead of a `MovingError`.
    """
    for key in keys:
        nodes = 0

        def begun(answer: Answer, key: str = key) -> None:
            if not answer.ok and not may_lack:
                raise answer.refused(client.url, key)
            section = Section(key, answer.index or answer.error_index, answer.cluster_id, now())
            began(section)
            write(encode(section))

        def found(node: Node) -> None:
            nonlocal nodes
            nodes += 1
            write(encode(node))
            advance()

        await read(client, key, begun, found)
        write(encode(End(nodes)))


async def spool(
    client: Client,
    keys: Sequence[str],
    now: Callable[[], int],
    *,
    advance: Callable[[], object] = lambda: None,
    began: Callable[[Section], object] = lambda section: None,
    may_lack: bool = False,
) -> Copy:
    """Read a server as fast as it goes into a file without a name, which goes with its last user."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it goes with the copy
    await export(client, keys, file.write, now, advance=advance, began=began, may_lack=may_lack)
    return Copy(client.url, file)
