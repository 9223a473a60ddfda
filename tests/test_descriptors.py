"""`txetcd.descriptors`: limits, and the door of a listening port, with a kernel that is made up."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import sys
from typing import Any, cast

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txetcd import descriptors
from txetcd.descriptors import PAUSE, QUIET, RESERVE, Door, raise_limit, shortage

LIMIT = 4 * RESERVE
EDGE = LIMIT - RESERVE
FILENO = 3


class Reactor(Clock):
    """Time, and who reads."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[object] = set()

    def addReader(self, reader: object) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.discard(reader)


class Port:
    """A port with clients that wait; each that it accepts takes the lowest free descriptor."""

    def __init__(self, taken: set[int]) -> None:
        self.taken = taken
        self.numberAccepts = 100
        self.waiting = 0
        self.reads = True
        self.ended: list[object] = []

    def doRead(self) -> None:
        accepted = 0
        while self.waiting and accepted < self.numberAccepts:
            self.taken.add(min(set(range(LIMIT)) - self.taken))
            self.waiting -= 1
            accepted += 1
        # As Twisted does.
        self.numberAccepts = self.numberAccepts + 20 if accepted == self.numberAccepts else max(1, accepted)

    def stopReading(self) -> None:
        self.reads = False

    def stopListening(self) -> None:
        self.ended.append(None)

    def connectionLost(self, reason: object) -> None:
        self.ended.append(reason)

    def fileno(self) -> int:
        return FILENO

    def logPrefix(self) -> str:
        return "Port"


class DoorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.taken = set(range(10))
        self.patch(descriptors, "limit", lambda: LIMIT)
        self.patch(fcntl, "fcntl", self.duplicate)
        self.patch(os, "close", self.taken.remove)
        self.lines: list[str] = []
        observe = cast(ILogObserver, self.observe)
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.reactor = Reactor()
        self.port = Port(self.taken)
        self.door = Door(cast(Any, self.port), cast(Any, self.reactor))

    def observe(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "txetcd.descriptors.Door":
            self.lines.append(formatEvent(event))

    def duplicate(self, descriptor: int, command: int, least: int) -> int:
        """What the kernel does."""
        self.assertEqual((descriptor, command), (FILENO, fcntl.F_DUPFD))
        free = set(range(least, LIMIT)) - self.taken
        if not free:
            raise OSError(errno.EMFILE, "Too many open files")
        self.taken.add(min(free))
        return min(free)

    def turn(self) -> None:
        """What the reactor does as long as clients wait."""
        for _ in range(2 * LIMIT):
            if self.port.waiting and self.door in self.reactor.readers:
                self.door.doRead()

    def test_closed_until_it_is_opened(self) -> None:
        self.assertEqual((self.port.reads, self.reactor.readers), (False, set()))
        self.door.open()
        self.assertEqual(self.reactor.readers, {self.door})
        self.assertEqual((self.door.fileno(), self.door.logPrefix()), (FILENO, "Port"))

    def test_accepts(self) -> None:
        self.door.open()
        self.port.waiting = 100
        self.turn()
        self.assertEqual((len(self.taken), self.port.waiting, self.lines), (110, 0, []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_pauses_and_goes_on(self) -> None:
        self.door.open()
        self.port.waiting = 1000
        self.turn()
        self.assertEqual(self.reactor.readers, set())
        # It came down from the first full burst to single steps as soon as the reserve was touched.
        self.assertTrue(EDGE <= len(self.taken) < EDGE + RESERVE, len(self.taken))
        self.assertEqual(len(self.lines), 1)
        self.assertIn(f"Of {LIMIT} file descriptors, all but a reserve are in use", self.lines[0])
        self.reactor.advance(PAUSE)
        self.assertEqual((self.reactor.readers, len(self.reactor.getDelayedCalls())), (set(), 1))
        self.taken.discard(20)
        self.reactor.advance(PAUSE)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ({self.door}, []))
        self.turn()
        self.assertIn(20, self.taken)
        self.assertEqual(self.reactor.readers, set())

    def test_reserve_is_left_alone(self) -> None:
        self.door.open()
        self.taken |= set(range(EDGE - 1))
        self.taken.add(EDGE)
        self.port.waiting = 1000
        self.turn()
        self.assertEqual(len(self.taken), EDGE + 1)

    def test_no_descriptor_at_all(self) -> None:
        self.door.open()
        self.taken |= set(range(LIMIT))
        self.port.waiting = 1
        self.turn()
        self.assertEqual((self.port.waiting, len(self.lines)), (1, 1))

    def test_says_so_now_and_then(self) -> None:
        self.door.open()
        for _ in range(5):
            self.taken |= set(range(EDGE))
            self.port.waiting = 1
            self.turn()
            self.taken.discard(20)
            self.reactor.advance(PAUSE)
            self.turn()
        self.assertEqual(len(self.lines), 1)
        self.reactor.advance(QUIET)
        self.taken |= set(range(EDGE))
        self.port.waiting = 1
        self.turn()
        self.assertEqual(len(self.lines), 2)

    def test_stop(self) -> None:
        self.door.open()
        self.successResultOf(self.door.stopListening())
        self.assertEqual((self.reactor.readers, self.port.ended), (set(), [None]))

    def test_stop_while_it_pauses(self) -> None:
        self.door.open()
        self.taken |= set(range(EDGE))
        self.port.waiting = 1
        self.turn()
        self.successResultOf(self.door.stopListening())
        self.assertEqual((self.reactor.getDelayedCalls(), self.port.ended), ([], [None]))

    def test_end_of_the_reactor(self) -> None:
        self.door.open()
        reason = Failure(ConnectionLost())
        self.door.connectionLost(reason)
        self.assertEqual(self.port.ended, [reason])


class LimitTests(SynchronousTestCase):
    def limits(self, soft: int, hard: int) -> list[tuple[int, int]]:
        """Have these limits; gives those that are set."""
        made = [(soft, hard)]
        self.patch(resource, "getrlimit", lambda kind: made[-1])
        self.patch(resource, "setrlimit", lambda kind, limits: made.append(limits))
        return made

    def test_raised(self) -> None:
        made = self.limits(1024, 4096)
        self.assertEqual(raise_limit(), 4096)
        self.assertEqual(made, [(1024, 4096), (4096, 4096)])

    def test_no_limit(self) -> None:
        self.limits(1024, resource.RLIM_INFINITY)
        self.assertEqual(raise_limit(), sys.maxsize)

    def test_promise_that_is_not_kept(self) -> None:
        self.limits(1024, resource.RLIM_INFINITY)
        for error in (OSError(errno.EINVAL, "Invalid argument"), ValueError("not allowed to raise")):

            def refuse(kind: int, limits: object, error: Exception = error) -> None:
                raise error

            self.patch(resource, "setrlimit", refuse)
            self.assertEqual(raise_limit(), 1024)

    def test_shortage(self) -> None:
        self.assertIsNone(shortage(10_000, 20_000))
        self.assertIsNone(shortage(0, 64))
        room = 1024 - 2 * RESERVE
        self.assertIsNone(shortage(room, 1024))
        told = shortage(room + 1, 1024)
        assert told is not None
        self.assertIn(f"--max-connections {room + 1}: does not fit into the limit of 1024 open files", told)
        self.assertIn(f"set --max-connections to {room}", told)
        self.assertIn("room for 50", shortage(10_000, 100) or "")
