"""docs/tutorial.md, from its first command to its last, with real servers and curl: answers are as shown."""

from __future__ import annotations

import re
import shlex
import subprocess
from functools import partial

from tests.client_harness import eventually
from tests.documents import CHECKOUT, code_blocks
from tests.e2e import TIMEOUT, EndToEndCase, ServerProcess, environment, free_port
from tests.test_ca_live import TXETCD_CA
from tests.test_examples import examples, matches
from tests.test_main_job import curl_missing

TUTORIAL = CHECKOUT / "docs" / "tutorial.md"
PORT = "4001"


def shows(shown: list[str], printed: str) -> bool:
    """Whether that is what was shown."""
    lines = printed.splitlines()
    return len(lines) == len(shown) and all(map(matches, shown, lines))


class TutorialTests(EndToEndCase):
    """All blocks are one session, in several terminals.

    @ivar server: the one that runs in a terminal of its own.
    @ivar waiting: commands that wait for what another will do, in other terminals.
    """

    skip = curl_missing()

    def setUp(self) -> None:
        super().setUp()
        self.port = str(free_port())
        self.server: ServerProcess | None = None
        self.waiting: list[ServerProcess] = []
        (file,) = code_blocks(TUTORIAL, "toml")
        (self.directory / "txetcd.toml").write_text(file.replace(PORT, self.port), "utf-8")
        _, self.words = code_blocks(TUTORIAL, "sh")

    def shell(self, command: str) -> list[str]:
        """The command line that has a shell run a command of the document."""
        command = command.replace(f":{PORT}", f":{self.port}")
        command = re.sub(r"^txetcd-ca ", f"{shlex.join(TXETCD_CA)} ", command)
        return ["sh", "-c", f"{self.words}\n{command}"]

    def printed(self, command: str) -> str:
        """What a command prints, on both outputs."""
        return subprocess.run(
            self.shell(command),
            cwd=self.directory,
            env=environment(self.directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        ).stdout

    def serve(self, command: str, shown: list[str]) -> None:
        """Start a server in the place of the one that runs."""
        if self.server is not None:
            self.server.stop()
        server = self.server = self.launch(shlex.split(command))
        for expected in shown:
            text = max(expected.replace(PORT, self.port).split("…"), key=len)
            server.wait_for(text)

    def wait(self, command: str) -> None:
        """Start a command that waits; when this returns, the server knows of it."""
        watch = self.launch(self.shell(f"{command} -v"))
        watch.wait_for("< X-Etcd-Index")
        self.waiting.append(watch)

    def answered(self, event: str) -> None:
        """Who waited has got the event that another was told of."""
        for watch in self.waiting:
            watch.wait_for(event.rstrip())
            self.assertEqual(watch.process.wait(TIMEOUT), 0, watch.output)
        self.waiting = []

    def is_as_shown(self, command: str, shown: list[str]) -> bool:
        """Run a command; whether it prints what was shown."""
        return shows(shown, self.printed(command))

    def run_as_shown(self, command: str, shown: list[str]) -> None:
        """Run a command that ends; it prints what was shown."""
        printed = self.printed(command)
        if not shows(shown, printed):
            raise AssertionError(f"{command}\n{printed}")
        self.answered(printed)

    def test_session(self) -> None:
        commands = list(examples(code_blocks(TUTORIAL, "console")))
        for command, shown in commands:
            if command.startswith("txetcd --"):
                self.serve(command, shown)
            elif "wait=true" in command and not shown:
                self.wait(command)
            else:
                if "alert certificate revoked" in "".join(shown):
                    # The server looks at its files from time to time.
                    eventually(partial(self.is_as_shown, command, shown))
                self.run_as_shown(command, shown)
        self.assertGreater(len(commands), 20)
        assert self.server is not None
        self.server.stop()
