"""`txetcd import`, `txetcd export` and `txetcd backup`: their arguments, and what they do in turn."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import FirstError, gatherResults
from twisted.internet.task import LoopingCall, react

from txetcd.moving import MovingError
from txetcd.moving.arguments import endpoint, keys, parsers
from txetcd.moving.arguments import source as origin_of
from txetcd.moving.backup import backup
from txetcd.moving.client import Client
from txetcd.moving.export import Copy, export, spool, tree
from txetcd.moving.fill import Target, fill
from txetcd.moving.follow import Follower
from txetcd.moving.lines import Section
from txetcd.moving.progress import Progress
from txetcd.moving.trust import Server
from txetcd.moving.watch import REQUESTS, Watch
from txetcd.pages import with_page


def main(name: str, arguments: Sequence[str]) -> None:
    """Run one of the commands; ends with one line on stderr and status 1 if it cannot be done.

    @param name: `import`, `export` or `backup`.
    @param arguments: what follows it on the command line.
    """
    progress = Progress(f"txetcd {name}", sys.stderr)
    try:
        given = parsers()[name].parse_args(arguments)
        if name == "backup":
            _backup(given, progress)
        elif name == "export":
            source = endpoint(given)
            _run(lambda reactor: _export(reactor, source, given, progress))
        else:
            target, origin = endpoint(given), origin_of(given)
            _run(lambda reactor: _import(reactor, origin, target, given, progress))
    except (MovingError, OSError) as error:
        raise SystemExit(f"txetcd {name}: {with_page(error, MovingError.page)}") from None


def _run(command: Callable[[Any], Awaitable[None]]) -> None:
    """Run a command under the reactor, which it is called with."""
    failures: list[Exception] = []
    done = False

    async def run(reactor: Any) -> None:
        nonlocal done
        try:
            await command(reactor)
        except (MovingError, OSError) as error:
            failures.append(error)
        done = True

    with contextlib.suppress(SystemExit):
        react(run)
    if failures:
        raise failures[0]
    if not done:
        raise MovingError("ended before it was done")


async def _export(reactor: Any, source: Server, given: argparse.Namespace, progress: Progress) -> None:
    client = Client(reactor, source, say=progress.say)
    output = sys.stdout.buffer
    with progress.bar("reading") as advance:
        await export(client, keys(given), output.write, time.time_ns, advance=advance)
    output.flush()


async def _import(
    reactor: Any, origin: Server | None, endpoint: Server, given: argparse.Namespace, progress: Progress
) -> None:
    source = None
    if origin is not None:
        source = Client(reactor, origin, connections=len(keys(given)) * REQUESTS, say=progress.say)
    target = Target(Client(reactor, endpoint, connections=given.concurrency, say=progress.say), time.time_ns)
    if not (given.merge or given.replace) and not await target.is_empty():
        remedy = "empty it, or give --merge or --replace"
        raise MovingError(f"--endpoint {given.url}: has keys already; {remedy}")
    watches: dict[str, Watch] = {}

    def began(section: Section) -> None:
        # At once: a real etcd has forgotten a change when there have been a thousand others.
        if source is not None and given.follow:
            watches[section.key] = Watch(source, section.key, section.index, progress.say)

    if source is None:
        copy = _opened(given.file)
    else:
        with progress.bar("reading") as advance:
            copy = await spool(source, keys(given), time.time_ns, advance=advance, began=began)
    sections, nodes = await copy.check(reactor)
    there = None
    if given.replace:
        there = {}
        for section in sections:
            there.update(await tree(target.client, section.key))
    with progress.bar("writing", nodes) as advance:
        counts = await fill(copy, target, concurrency=given.concurrency, there=there, advance=advance)
    progress.say(f"{given.url}: {counts}")
    if source is not None and given.follow:
        await _follow(reactor, given, progress, source, target, watches)


def _opened(name: str) -> Copy:
    """The copy in a file; one that comes through a pipe is put into a file first."""
    file = sys.stdin.buffer if name == "-" else open(name, "rb")  # noqa: SIM115 - it goes with the copy
    name = "standard input" if name == "-" else name
    if file.seekable():
        return Copy(name, file)
    spooled = tempfile.TemporaryFile()  # noqa: SIM115 - it goes with the copy
    shutil.copyfileobj(file, spooled)
    return Copy(name, spooled)


async def _follow(
    reactor: Any,
    given: argparse.Namespace,
    progress: Progress,
    source: Client,
    target: Target,
    watches: dict[str, Watch],
) -> None:
    """Apply what changes at the source until it is time, then compare."""

    async def compare(key: str, began: Callable[[Section], object] = lambda section: None) -> None:
        with progress.bar(f"comparing {key}") as advance:
            copy = await spool(source, [key], time.time_ns, began=began, may_lack=True)
            there = await tree(target.client, key)
            counts = await fill(copy, target, concurrency=given.concurrency, there=there, advance=advance)
        ((section,), _) = await copy.check(reactor)
        progress.say(f"{key} as of index {section.index}: {counts}")

    async def begin_anew(key: str) -> Watch:
        watches: list[Watch] = []
        await compare(key, lambda at: watches.append(Watch(source, key, at.index, progress.say)))
        return watches[0]

    followers = [Follower(target, key, watch, begin_anew, progress.say) for key, watch in watches.items()]

    def stop() -> None:
        for follower in followers:
            follower.stop()

    before = _on_interrupt(reactor, stop)
    with progress.status() as show:
        telling = LoopingCall(lambda: show(", ".join(map(_told, followers))))
        telling.clock = reactor
        telling.start(1 if progress.on_terminal else 10)
        following = [follower.run(given.until_index) for follower in followers]
        try:
            await gatherResults(following, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
        finally:
            telling.stop()
            signal.signal(signal.SIGINT, before)
    for follower in followers:
        await compare(follower.key)


def _told(follower: Follower) -> str:
    changes = f"{follower.applied} changes applied"
    return f"{follower.key} at index {follower.index}, {follower.behind} behind, {changes}"


def _on_interrupt(reactor: Any, stop: Callable[[], object]) -> Any:
    """Have the first SIGINT call that, and the next one end the process; returns what was there before."""

    def interrupted(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        reactor.callFromThread(stop)

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, interrupted)
    return before


def _backup(given: argparse.Namespace, progress: Progress) -> None:
    with progress.bytes("copying") as show:
        size = backup(given.data_dir, given.file, show)
    progress.say(f"{given.file}: {size} bytes, whole and checked")
