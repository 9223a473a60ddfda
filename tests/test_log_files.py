"""The lines of logs, and the files that they go to."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.logs_harness import fields_of
from tests.properties import properties
from txetcd.observing.files import LOOK, LineFile
from txetcd.observing.lines import FORMATS, Fields, as_json, as_text, readable
from txetcd.observing.logs import Clients, Lines, Logs


class LinesTests(SynchronousTestCase):
    def test_text(self) -> None:
        fields: Fields = {
            "a": "x/y",
            "b": 'say "hi"',
            "c": 1,
            "d": None,
            "e": "-",
            "f": "",
            "g": "ü",
            "h": 0.5,
        }
        self.assertEqual(as_text(fields), r'a=x/y b="say \"hi\"" c=1 d=- e="-" f="" g="\u00fc" h=0.5')

    def test_json(self) -> None:
        self.assertEqual(as_json({"a": "x\ny", "b": 1, "c": None}), r'{"a":"x\ny","b":1}')

    @properties
    @given(st.dictionaries(st.sampled_from(["path", "cn", "user"]), st.text() | st.none()))
    def test_nothing_breaks_out(self, fields: Mapping[str, str | None]) -> None:
        """Whatever the values are, both formats are one line of printable ASCII and say what they were."""
        for render in FORMATS.values():
            self.assertRegex(render(fields), r"\A[ -~]*\Z")
        self.assertEqual(fields_of(as_text(fields)), fields)
        known = {name: value for name, value in fields.items() if value is not None}
        self.assertEqual(json.loads(as_json(fields)), known)

    def test_readable(self) -> None:
        self.assertEqual(readable(b"a\xffb\xc3\xbc", 100), "a\\xffbü")
        self.assertEqual(readable(b"abcdef", 3), "abc...")


class FileCase(SynchronousTestCase):
    """A directory for files."""

    def setUp(self) -> None:
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.path = Path(temporary.name) / "audit.log"
        self.clock = Clock()
        self.said: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event["log_namespace"].startswith("txetcd."):
                self.said.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def open(self) -> LineFile:
        file = LineFile(self.path, self.clock)
        file.open()
        self.addCleanup(file.close)
        return file


class LineFileTests(FileCase):
    def write(self, file: LineFile, *lines: str) -> None:
        for line in lines:
            file({"line": line})

    def test_lines_are_appended(self) -> None:
        self.path.write_text("before\n")
        self.write(self.open(), "one", "two")
        self.assertEqual(self.path.read_text(), "before\none\ntwo\n")

    def test_mode(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.open()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_moved_away(self) -> None:
        file = self.open()
        self.write(file, "one")
        moved = self.path.rename(self.path.with_name("moved"))
        self.write(file, "two")
        self.clock.advance(LOOK)
        self.write(file, "three")
        self.assertEqual((moved.read_text(), self.path.read_text()), ("one\ntwo\n", "three\n"))

    def test_replaced(self) -> None:
        """As logrotate's `create` does."""
        file = self.open()
        self.path.rename(self.path.with_name("moved"))
        self.path.touch()
        self.clock.advance(LOOK)
        self.write(file, "one")
        self.assertEqual(self.path.read_text(), "one\n")

    def test_clock_set_back(self) -> None:
        self.clock.advance(1000)
        file = self.open()
        self.clock.rightNow = 1
        self.path.unlink()
        self.write(file, "one")
        self.assertEqual(self.path.read_text(), "one\n")

    def test_no_place_for_a_new_one(self) -> None:
        """It is said once until it is over; what is lost is counted."""
        file = self.open()
        directory = self.path.parent
        self.path.rename(directory.with_name(directory.name + ".log"))
        self.addCleanup(directory.with_name(directory.name + ".log").unlink)
        directory.rmdir()
        self.clock.advance(LOOK)
        self.write(file, "one")
        self.clock.advance(LOOK)
        self.write(file, "two")
        self.assertEqual(file.lost, 2)
        self.assertEqual(
            self.said, [f"{self.path} cannot be written to, lines are lost: No such file or directory"]
        )
        directory.mkdir()
        self.clock.advance(LOOK)
        self.write(file, "three")
        self.assertEqual((file.lost, self.path.read_text()), (2, "three\n"))
        directory.joinpath(self.path.name).unlink()

    def test_disk_full(self) -> None:
        self.path = Path("/dev/full")
        if not self.path.exists():
            self.skipTest("there is no /dev/full")
        file = self.open()
        self.write(file, "one", "two")
        self.assertEqual((file.lost, len(self.said)), (2, 1))
        self.assertIn("No space left on device", self.said[0])

    def test_pipe_that_nobody_empties(self) -> None:
        """It holds up nobody."""
        os.mkfifo(self.path)
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        file = self.open()
        for _ in range(200):
            self.write(file, "x" * 1000)
        self.assertGreater(file.lost, 0)
        self.assertEqual(len(self.said), 1)
        whole = os.read(reader, 1 << 20)
        self.assertEqual(whole, (b"x" * 1000 + b"\n") * (200 - file.lost))

    def test_pipe_that_nobody_reads(self) -> None:
        os.mkfifo(self.path)
        self.assertRaises(OSError, LineFile(self.path, self.clock).open)

    def test_closed(self) -> None:
        file = self.open()
        file.close()
        self.write(file, "one")
        self.assertEqual(file.lost, 1)


class EventsTests(FileCase):
    """What goes where."""

    def test_a_log_in_a_file_is_not_in_the_main_log(self) -> None:
        logs = Logs(self.path, None, as_json, self.clock)
        logs.files["access"].open()
        self.addCleanup(logs.close)
        assert logs.access is not None
        logs.access.refused(None, 503)
        self.assertEqual(json.loads(self.path.read_text())["status"], 503)
        self.assertEqual((self.said, logs.audit), ([], None))

    def test_fields_are_in_the_event(self) -> None:
        events: list[LogEvent] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            events.append(event)

        Lines("txetcd.x", as_text, self.clock, observe).add({"a": 1})
        [event] = events
        self.assertEqual((event["a"], event["log_namespace"]), (1, "txetcd.x"))
        self.assertEqual(formatEvent(event), "time=1970-01-01T00:00:00.000Z a=1")

    def test_certificates_are_looked_at_once(self) -> None:
        class Transport:
            """Not a TLS one."""

        transport = Transport()
        clients = Clients()
        self.assertIs(clients.of(transport), clients.of(transport))
