"""The `txetcd` command: what `twistd --nodaemon txetcd` is, without a pid file."""

from __future__ import annotations

import sys

from twisted.scripts import twistd


def main() -> None:
    """Run a server in the foreground until SIGINT or SIGTERM."""
    sys.argv[1:1] = ["--nodaemon", "--pidfile=", "txetcd"]
    twistd.run()
