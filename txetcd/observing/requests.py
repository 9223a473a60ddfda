"""Counts of the requests that a site has answered: a few additions for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from twisted.internet.interfaces import IAddress
from twisted.web.server import Request

from txetcd.stats import Histogram

# The methods that are counted apart.  A client may send any other word, and those are counted as one.
VERBS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")
OTHER = "OTHER"
# A GET that waits for something to happen: how long it took says nothing of the server.
WATCH = "WATCH"

# The status of a request whose client has gone before there was any answer; nginx's number for it.
CLIENT_GONE = 499

# Seconds above which an answer is not one that was at hand.
_SLOW = 0.1

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


def is_watch(request: Request) -> bool:
    """Whether a GET asks to wait: in its query, or as a browser's `EventSource` does."""
    return b"wait=" in request.uri or b"text/event-stream" in (request.getHeader(b"accept") or b"")


def status_of(request: Request) -> int:
    """The status that the client of a request has seen."""
    return request.code if request.startedWriting else CLIENT_GONE


class Verb:
    """Counts of the requests of one method.

    @ivar codes: how many were answered with which status.
    @ivar seconds: how long that took.
    """

    __slots__ = ("codes", "seconds")

    def __init__(self) -> None:
        self.codes: defaultdict[int, int] = defaultdict(int)
        self.seconds = Histogram(_SECONDS)


class RequestCounts:
    """Counts requests: an observer of a `txetcd.site.Site`.

    @ivar watches: those that waited.
    @ivar refusals: how many requests and connections no resource got to see, by status.
    """

    def __init__(self) -> None:
        self._verbs = {name.encode(): Verb() for name in VERBS}
        self.watches = Verb()
        self._others = Verb()
        self.refusals: defaultdict[int, int] = defaultdict(int)

    def answered(self, request: Request, seconds: float) -> None:
        """Count a request that is over."""
        method = request.method
        # Nobody looks twice at what was answered at once.
        if method == b"GET" and (seconds >= _SLOW or b"wait=" in request.uri) and is_watch(request):
            verb = self.watches
        else:
            verb = self._verbs.get(method, self._others)
            verb.seconds.add(seconds)
        verb.codes[request.code if request.startedWriting else CLIENT_GONE] += 1

    def refused(self, peer: IAddress | None, status: int) -> None:
        """Count what no resource got to see."""
        self.refusals[status] += 1

    def verbs(self) -> Iterator[tuple[str, Verb]]:
        """The counts by method, watches apart."""
        for name, verb in self._verbs.items():
            yield name.decode(), verb
        yield OTHER, self._others
        yield WATCH, self.watches
