"""The plugin and the command: what options name is tried out, errors are one line, a start may fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

import txetcd
from txetcd import pages
from txetcd.tap import Options, Starter

CHECKOUT = Path(__file__).parent.parent
CERTIFICATES = CHECKOUT / "fixtures" / "ca"

TWISTD = "from twisted.scripts.twistd import run; run()"
COMMAND = "from txetcd.cli import main; main()"

# A plugin whose server fails when it is told to.
FAKE_PLUGIN = """
    from twisted.application.service import ServiceMaker

    fake = ServiceMaker("fake", "fake_tap", "Fails.", "fake")
"""
FAKE_TAP = """
    import os
    import signal

    from twisted.application.service import Service
    from twisted.python import usage

    from txetcd.server import StartError
    from txetcd.tap import Starter


    class Options(usage.Options):
        optParameters = [["fail", None, ""]]


    class Server(Service):
        def __init__(self, fail):
            self.fail = fail

        def privilegedStartService(self):
            self.attempt("privileged")

        def startService(self):
            self.attempt("start")
            if self.fail == "interrupted":
                os.kill(os.getpid(), signal.SIGINT)
            else:
                from twisted.internet import reactor
                reactor.callWhenRunning(reactor.stop)

        def stopService(self):
            print("stopped in order")

        def attempt(self, what):
            if self.fail == what:
                raise StartError("--data-dir /d: " + "is in use " * 20)
            if self.fail == "bug":
                raise RuntimeError("a bug")


    def makeService(config):
        from twisted.internet import reactor
        return Starter(reactor, Server(config["fail"]), config.parent, lambda: None)
"""
FAKE_MESSAGE = f"txetcd: --data-dir /d: {'is in use ' * 20}; more in {pages.START}\n"


class OptionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def options(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Options:
        """What twistd makes of the arguments."""
        self.patch(os, "environ", dict(environment or {}))
        made = Options()
        made.parseOptions(arguments)
        return made

    def assert_refused(
        self, message: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """The process ends with one line."""
        stopped = self.assertRaises(SystemExit, self.options, *arguments, environment=environment)
        line = str(stopped.code)
        self.assertTrue(line.startswith("txetcd: ") and line.isprintable(), line)
        self.assertIn(message, line)

    def config(self, text: str | bytes) -> str:
        """The path of a file with this text."""
        path = self.directory / "etcd.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def test_settings(self) -> None:
        made = self.options("-name", "x", environment={"ETCD_DATA_DIR": str(self.directory)})
        self.assertEqual((made.settings.name, made.settings.data_dir), ("x", self.directory))

    def test_relative_paths_are_made_absolute(self) -> None:
        # The daemon may run elsewhere.
        self.assertEqual(self.options("--data-dir", "d").settings.data_dir, Path.cwd() / "d")

    def test_config(self) -> None:
        config = self.config('name = "x"')
        self.assertEqual(self.options("--config", config).settings.name, "x")
        self.assertEqual(self.options(environment={"ETCD_CONFIG": config}).settings.name, "x")

    def test_config_refused(self) -> None:
        missing = str(self.directory / "missing")
        self.assert_refused(
            f"--config {missing}: No such file or directory; name a file", "--config", missing
        )
        self.assert_refused("ETCD_CONFIG", environment={"ETCD_CONFIG": str(self.directory)})
        self.assert_refused("etcd.toml: nmae: unknown key", "--config", self.config('nmae = "x"'))
        self.assert_refused("is not text in UTF-8", "--config", self.config(b"\xff"))

    def test_certificates_are_tried_out(self) -> None:
        good = ["--cert-file", str(CERTIFICATES / "server.crt"), "--key-file"]
        self.options(*good, str(CERTIFICATES / "server.key.insecure"))
        self.assert_refused("--key-file", *good, str(CERTIFICATES / "server2.key.insecure"))
        self.assert_refused("--cert-file /x", "--cert-file", "/x")
        self.assert_refused("--ca-file /x", "--ca-file", "/x")

    def test_data_dir_is_tried_out(self) -> None:
        file = self.directory / "file"
        file.touch()
        dangling = self.directory / "dangling"
        dangling.symlink_to("missing")
        for path in (file, file / "below", dangling):
            self.assert_refused(f"--data-dir {path}: ", "--data-dir", str(path))
        self.options("--data-dir", str(self.directory / "new" / "newer"))

    def test_data_dir_that_cannot_be_written_to(self) -> None:
        self.patch(os, "access", lambda path, mode: False)
        self.assert_refused("cannot be written to", "--data-dir", str(self.directory))

    def test_listen_is_tried_out(self) -> None:
        self.options("--listen", "tcp:0:interface=127.0.0.1")
        for endpoint in ("nonsense:1", "tcp:x", "tcp:1:nonsense=1", "ssl:1:privateKey=/missing"):
            self.assert_refused(f"--listen {endpoint}: is no endpoint", "--listen", endpoint)

    def test_shell_completion_knows_the_options(self) -> None:
        made = Options()
        self.assertLessEqual({"cert-file=", "config=", "force", "version", "help"}, set(made.longOpt))


class ProcessCase(SynchronousTestCase):
    """Runs real processes in a directory of their own."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        (self.directory / "twisted" / "plugins").mkdir(parents=True)
        (self.directory / "twisted" / "plugins" / "fake_plugin.py").write_text(dedent(FAKE_PLUGIN))
        (self.directory / "fake_tap.py").write_text(dedent(FAKE_TAP))
        self.environment = {name: text for name, text in os.environ.items() if not name.startswith("ETCD_")}
        package = Path(txetcd.__file__).parent.parent
        self.environment["PYTHONPATH"] = f"{self.directory}:{package}"

    def run_to_end(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run until the process, and a daemon that it may have started, has ended."""
        ended, end = os.pipe()
        try:
            process = subprocess.run(
                [sys.executable, "-c", program, *arguments],
                cwd=self.directory,
                env=self.environment,
                capture_output=True,
                text=True,
                pass_fds=[end],
                timeout=60,
            )
        finally:
            os.close(end)
            with open(ended, "rb") as pipe:
                # Nobody writes; this ends when the last process that has the other end is gone.
                pipe.read()
        return process

    def log_text(self) -> str:
        """What the daemon logged."""
        return (self.directory / "twistd.log").read_text()


class CommandTests(ProcessCase):
    def test_wrong_use_is_one_line(self) -> None:
        for program, arguments in ((TWISTD, ["-n", "txetcd"]), (TWISTD, ["txetcd"]), (COMMAND, [])):
            process = self.run_to_end(program, *arguments, "-cert-file=/x")
            self.assertEqual((process.returncode, process.stdout), (1, ""), process.stderr)
            self.assertRegex(process.stderr, r"\Atxetcd: --cert-file /x .*\n\Z")

    def test_version(self) -> None:
        for program, arguments in ((TWISTD, ["txetcd"]), (COMMAND, [])):
            process = self.run_to_end(program, *arguments, "--version")
            self.assertEqual(
                (process.returncode, process.stdout, process.stderr),
                (0, f"txetcd {txetcd.__version__}\n", ""),
            )

    def test_help(self) -> None:
        for program, arguments in ((TWISTD, ["txetcd"]), (COMMAND, [])):
            process = self.run_to_end(program, *arguments, "-h", "-config=/missing")
            self.assertEqual((process.returncode, process.stderr), (0, ""))
            self.assertIn("--cert-file FILE", process.stdout)

    def test_twistd_lists_it(self) -> None:
        self.assertRegex(self.run_to_end(TWISTD, "--help").stdout, r"(?m)^ +txetcd +An etcd server")

    def test_serves_until_a_signal(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, "-v", "-bind-addr=127.0.0.1:0", "-data-dir=d"],
                cwd=self.directory,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            self.addCleanup(process.kill)
            with process:
                assert process.stdout is not None and process.stderr is not None
                stdout = ""
                for line in process.stdout:
                    stdout += line
                    if "Serving on" in line:
                        process.send_signal(number)
                stderr = process.stderr.read()
            self.assertEqual((process.returncode, stderr), (-number, ""), stdout)
            self.assertIn("-v is ignored", stdout)
            self.assertIn("Server Shut Down", stdout)
            self.assertIn(pages.LOG, stdout)
            self.assertFalse((self.directory / "twistd.pid").exists())


class HangUpTests(SynchronousTestCase):
    """What a SIGHUP does while a server runs, and before and after."""

    def test_reload(self) -> None:
        stopping: Deferred[None] = Deferred()

        class Server(Service):
            def stopService(self) -> Deferred[None]:
                return stopping

        class Reactor:
            def callWhenRunning(self, call: Callable[..., object], *arguments: object) -> None:
                call(*arguments)

            def callFromThread(self, call: Callable[[], object]) -> None:
                call()

        told: list[str] = []
        running: Any = Reactor()
        before = signal.getsignal(signal.SIGHUP)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        starter = Starter(running, Server(), {}, lambda: told.append("reload"))
        starter.privilegedStartService()
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(told, ["reload"])
        stopped: Any = starter.stopService()
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(told, ["reload"] * 2)
        stopping.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)


class StarterTests(ProcessCase):
    """A start that fails after all."""

    def test_in_the_foreground(self) -> None:
        for fail in ("privileged", "start"):
            process = self.run_to_end(TWISTD, "-n", "fake", "--fail", fail)
            self.assertEqual((process.returncode, process.stderr), (1, FAKE_MESSAGE), fail)
            self.assertNotIn("Traceback", process.stdout)
            self.assertFalse((self.directory / "twistd.pid").exists())

    def test_in_the_background(self) -> None:
        for fail in ("privileged", "start"):
            process = self.run_to_end(TWISTD, "fake", "--fail", fail)
            self.assertEqual(
                (process.returncode, process.stdout, process.stderr), (1, "", FAKE_MESSAGE), fail
            )
            self.assertFalse((self.directory / "twistd.pid").exists())
        self.assertIn(FAKE_MESSAGE.removeprefix("txetcd: "), self.log_text())
        self.assertNotIn("Traceback", self.log_text())

    def test_a_bug_is_reported_as_twistd_does(self) -> None:
        for arguments in (["-n"], []):
            process = self.run_to_end(TWISTD, *arguments, "fake", "--fail", "bug")
            self.assertEqual(process.returncode, 1)
            self.assertIn("a bug", process.stdout if arguments else process.stderr)

    def test_success(self) -> None:
        for arguments in (["-n"], []):
            process = self.run_to_end(TWISTD, *arguments, "fake")
            self.assertEqual((process.returncode, process.stderr), (0, ""), process.stdout)
        self.assertIn("Server Shut Down", self.log_text())
        self.assertFalse((self.directory / "twistd.pid").exists())

    def test_a_signal_waits_for_the_reactor(self) -> None:
        process = self.run_to_end(TWISTD, "-n", "fake", "--fail", "interrupted")
        self.assertEqual((process.returncode, process.stderr), (-signal.SIGINT, ""))
        self.assertIn("stopped in order", process.stdout)
        self.assertNotIn("Traceback", process.stdout)
