"""The files that logs go to: lines are appended, and a file that was moved away is made anew."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

# Seconds between two looks whether the file is still where it was.
LOOK = 1.0


@implementer(ILogObserver)
class LineFile:
    """A log observer that appends the `line` of each event to a file.

    Each line is one write, there for all to see when the call returns.  Whoever rotates logs moves the file
    away, and needs to tell nobody: the next line, a second later at most, goes to a new one.  What cannot be
    written is counted and said once, and holds up nothing.

    @param path: of the file.  A pipe will do, if somebody reads it.
    @param clock: measures time.
    @ivar path: as given.
    @ivar lost: how many lines could not be written.
    """

    log = Logger()

    def __init__(self, path: Path, clock: IReactorTime) -> None:
        self.path = path
        self._clock = clock
        self._file = -1
        self._looked = 0.0
        self._failing = False
        self.lost = 0

    def open(self) -> None:
        """Open the file, with mode 0600 if it is made.

        @raise OSError: it cannot be.
        """
        # A pipe that nobody empties must not hold up the reactor.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        file = os.open(self.path, flags, 0o600)
        self.close()
        self._file = file
        self._looked = self._clock.seconds()

    def close(self) -> None:
        """Let go of the file; lines are lost until it is opened again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __call__(self, event: LogEvent) -> None:
        """Write the line of an event."""
        line = f"{event['line']}\n".encode()
        try:
            now = self._clock.seconds()
            if not 0.0 <= now - self._looked < LOOK:
                self._looked = now
                self._follow()
            if os.write(self._file, line) < len(line):
                raise OSError("there was no room for the whole line")
        except OSError as error:
            self.lost += 1
            self._say(error)
        else:
            self._failing = False

    def _follow(self) -> None:
        """Open the file anew if it is not the one at its path any more."""
        try:
            there, here = os.stat(self.path), os.fstat(self._file)
            if os.path.samestat(there, here):
                return
        except FileNotFoundError:
            pass
        self.open()

    def _say(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            self.log.error(
                "{path} cannot be written to, lines are lost: {reason}",
                path=str(self.path),
                reason=error.strerror or str(error),
            )
