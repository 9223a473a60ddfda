"""The `txetcd` command: what `twistd --nodaemon txetcd` is, without a pid file, and commands beside it."""

from __future__ import annotations

import sys

from twisted.scripts import twistd

COMMANDS = ("import", "export", "backup")


def main() -> None:
    """Run a server in the foreground until SIGINT or SIGTERM; or the command that comes first, to its end."""
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        # Not before: a server has no use for an HTTP client.
        from txetcd.moving import command

        command.main(sys.argv[1], sys.argv[2:])
        return
    sys.argv[1:1] = ["--nodaemon", "--pidfile=", "txetcd"]
    twistd.run()
