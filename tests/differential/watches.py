"""A watch that waits on both servers, and whether both get the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.differential.compare import Different, body_difference, once, watched_key
from tests.differential.servers import Ask, OursOpen, Silence, TheirsOpen
from tests.http_harness import Response

# How long etcd is given to tell what it ought not to, in seconds.
_GRACE = 0.01


@dataclass(frozen=True)
class Watch:
    """One request for a watch, as it stands with both servers."""

    ask: Ask
    ours: OursOpen
    theirs: TheirsOpen

    def close(self) -> None:
        """Watch no more."""
        self.ours.close()
        self.theirs.close()

    def ours_head(self) -> Response:
        """The answer of txetcd without its body."""
        return replace(self.ours.so_far(), body=b"", chunks=())

    def theirs_head(self) -> Response:
        """The answer of etcd without its body, unless it is a refusal."""
        if self.theirs.so_far().status != 200:
            return self.theirs.take()
        return replace(self.theirs.so_far(), body=b"", chunks=())

    def told(self) -> bool:
        """Whether there has been an event."""
        return self.ours.so_far().body != b""

    def has_seen(self, index: int) -> bool:
        """Whether txetcd has told the event of that index, or has told enough."""
        return self.ours.finished() or _names(self.ours.so_far().body, index)

    def compare_first(self, slack: float) -> None:
        """Compare the first event, which both have told from the past; of a stream, see "past_stream"."""
        first = self.theirs.first()
        if self.ours.finished():
            self.theirs.wait(self.theirs.finished)
        _same([self.ours.so_far().body.partition(b"\n")[0]], [first], slack)
        if self.ours.finished() != self.theirs.finished():
            raise Different(f"txetcd {_goes_on(self.ours)}, etcd {_goes_on(self.theirs)}")

    def compare_all(self, index: int, slack: float) -> int:
        """Compare all events, the last of which, if there are any, has the given index.

        @return: how many etcd has told twice: see "stream_twice".
        """
        mine = self.ours.so_far().body.splitlines()
        if not mine:
            self._see_silence()
            return 0
        if self.ours.finished():
            self.theirs.wait(self.theirs.finished)
        else:
            self.theirs.wait(lambda: _names(self.theirs.so_far().body, index))
        told = self.theirs.so_far().body.splitlines()
        _same(mine, once(told, watched_key(self.ask.target)), slack)
        if self.ours.finished() != self.theirs.finished():
            raise Different(f"txetcd {_goes_on(self.ours)}, etcd {_goes_on(self.theirs)}")
        return len(told) - len(mine)

    def _see_silence(self) -> None:
        try:
            self.theirs.wait(lambda: self.theirs.so_far().body != b"", _GRACE)
        except Silence:
            return
        raise Different(f"no event, etcd {self.theirs.so_far().body!r}")


def _names(body: bytes, index: int) -> bool:
    return b'"modifiedIndex":%d,' % index in body


def _goes_on(exchange: OursOpen | TheirsOpen) -> str:
    return "has finished" if exchange.finished() else "goes on"


def _same(ours: list[bytes], theirs: list[bytes], slack: float) -> None:
    if len(ours) != len(theirs):
        raise Different(f"events {ours!r}, etcd {theirs!r}")
    for mine, other in zip(ours, theirs, strict=True):
        found = body_difference(mine, other, slack)
        if found is not None:
            raise Different(found)
