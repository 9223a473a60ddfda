"""Many long-polls held open from one process of their own.

`python -m benchmarks.watchers PORT COUNT hold` opens them, each for a key of its own, and keeps them until
its standard input ends.  `python -m benchmarks.watchers PORT COUNT SECONDS` opens them for one key, sets it,
waits for all answers and begins again until the time is up; then it prints the seconds that each took.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.figures import Figure, Figures
from benchmarks.servers import BenchmarkError, Server

WOKEN = Figure("all answered after, ms (median)")
WATCH_CPU = Figure("CPU µs a watch, asked for and answered")

# Connections that are opened at a time: a listener's queue holds more.
AT_ONCE = 100
# Files that a process has open besides.
OTHERS = 100


def allow_connections(count: int) -> None:
    """Raise the limit of open files as far as it is needed.  Raises `BenchmarkError` if that is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + OTHERS
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchmarkError(f"{count:,} connections need `ulimit -Hn` of {needed:,}; here it is {hard:,}")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


@contextmanager
def idle_watches(server: Server, count: int) -> Iterator[None]:
    """Keep so many long-polls open for as long as the block takes."""
    command = [sys.executable, "-m", "benchmarks.watchers", str(server.port), str(count), "hold"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise BenchmarkError(f"{count:,} watches cannot be opened")
            yield
        finally:
            process.kill()


def wake(server: Server, count: int, seconds: float) -> Figures:
    """Have one PUT wake so many long-polls, again and again for some seconds."""
    command = [sys.executable, "-m", "benchmarks.watchers", str(server.port), str(count), str(seconds)]
    before = server.cpu()
    ended = subprocess.run(command, stdout=subprocess.PIPE)
    if ended.returncode:
        raise BenchmarkError(f"{count:,} watches were not answered")
    times: list[float] = json.loads(ended.stdout)
    return {
        WOKEN: statistics.median(times) * 1000,
        WATCH_CPU: (server.cpu() - before) / len(times) / count * 1e6,
    }


class Poll(asyncio.Protocol):
    """A connection for one long-poll after another; `ask` begins one.

    `waiting` is done when the server has begun to answer, which is when the watch is there, `answered` when
    the answer is whole.
    """

    def __init__(self, key: str) -> None:
        self._request = f"GET /v2/keys/{key}?wait=true HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        self._transport: asyncio.WriteTransport
        self._received = b""
        self.waiting = self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def ask(self) -> None:
        """Send the request."""
        loop = asyncio.get_running_loop()
        self._received = b""
        self.waiting, self.answered = loop.create_future(), loop.create_future()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """See how far the answer has come."""
        self._received += data
        if not self.waiting.done() and b"\r\n\r\n" in self._received:
            self.waiting.set_result(None)
        # The body is chunked: its length is not known when the head is sent.
        if self._received.endswith(b"\r\n0\r\n\r\n"):
            self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        for future in (self.waiting, self.answered):
            if not future.done():
                future.set_exception(ConnectionError("the server has closed a connection"))


async def _connect(port: int, keys: list[str]) -> list[Poll]:
    loop, polls = asyncio.get_running_loop(), []
    for begin in range(0, len(keys), AT_ONCE):
        made = [
            loop.create_connection(lambda key=key: Poll(key), "127.0.0.1", port)  # type: ignore[misc]
            for key in keys[begin : begin + AT_ONCE]
        ]
        polls += [poll for _, poll in await asyncio.gather(*made)]
    return polls


async def _ask_all(polls: list[Poll]) -> None:
    for poll in polls:
        poll.ask()
    await asyncio.gather(*(poll.waiting for poll in polls))


async def _hold(port: int, count: int) -> None:
    polls = await _connect(port, [f"idle/k{i}" for i in range(count)])
    for begin in range(0, count, AT_ONCE):
        await _ask_all(polls[begin : begin + AT_ONCE])
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _wake(port: int, count: int, seconds: float) -> list[float]:
    polls = await _connect(port, ["watched"] * count)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    put = b"PUT /v2/keys/watched?value=x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
    times: list[float] = []
    end = time.monotonic() + seconds
    while not times or time.monotonic() < end:
        await _ask_all(polls)
        begun = time.perf_counter()
        writer.write(put)
        await asyncio.gather(*(poll.answered for poll in polls))
        times.append(time.perf_counter() - begun)
        await reader.read(65536)
    writer.close()
    return times


def main() -> None:
    """Hold long-polls, or wake them."""
    port, count, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if what == "hold":
        asyncio.run(_hold(port, count))
    else:
        print(json.dumps(asyncio.run(_wake(port, count, float(what)))))


if __name__ == "__main__":
    main()
