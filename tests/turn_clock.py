"""A clock whose time passes in turns of the reactor, for tests of who has to wait for the next one."""

from __future__ import annotations

from twisted.internet.task import Clock


class TurnClock(Clock):
    """Time that passes in turns, as a reactor's does: what is asked for in one comes in the next."""

    def turn(self) -> None:
        """Make the calls that are due."""
        for call in [each for each in self.calls if each.getTime() <= self.rightNow]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
