"""The least that a server on Twisted can do: `python -m benchmarks.bare PORT` answers all requests alike.

It reads nothing of a request but its end, so it measures the reactor, the transport and the kernel.
"""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorCore, IReactorTCP
from twisted.internet.protocol import Protocol, ServerFactory

BODY = b'{"action":"get","node":{"key":"/fill/0/k1","value":"%b","modifiedIndex":2,"createdIndex":2}}\n' % (
    b"x" * 100
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Etcd-Cluster-Id: 0123456789abcdef\r\n"
    b"X-Etcd-Index: 1001\r\nX-Raft-Index: 1000\r\nX-Raft-Term: 1\r\nContent-Length: %d\r\n"
    b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n%b" % (len(BODY), BODY)
)


class Bare(Protocol):
    """Answers each request that has come whole, as wrk's do."""

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        assert self.transport is not None
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


def main() -> None:
    """Serve until SIGTERM."""
    factory = ServerFactory()
    factory.protocol = Bare
    IReactorTCP(reactor).listenTCP(int(sys.argv[1]), factory, interface="127.0.0.1")
    IReactorCore(reactor).run()


if __name__ == "__main__":
    main()
