"""The examples of docs/api.md, run as written: real curl against a real server, the answers as shown.

A console block is a shell's: what follows `$ ` is a command, the lines under it what it prints.  All blocks
together are one session with a new server.  `…` stands for what differs from run to run; of the headers that
`curl -i` prints, those that are shown must be there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

from twisted.trial.unittest import SkipTest

from tests.documents import API, code_blocks
from tests.e2e import TIMEOUT, EndToEndCase, environment

ADDRESS = "127.0.0.1:4001"


def examples(blocks: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The commands, each with the lines that it prints."""
    for block in blocks:
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *output = entry.rstrip("\n").split("\n")
            yield command, output


def matches(shown: str, line: str) -> bool:
    """Whether a line is what was shown."""
    return re.fullmatch(re.escape(shown).replace("…", ".*"), line) is not None


class ExampleTests(EndToEndCase):
    """docs/api.md."""

    def test_session(self) -> None:
        """Each command prints what the document shows."""
        if shutil.which("curl") is None:
            raise SkipTest("curl is not installed")
        server = self.start("--name=machine0")
        count = 0
        for command, shown in examples(code_blocks(API, "console")):
            here = command.replace(ADDRESS, f"127.0.0.1:{server.port}").replace("curl ", "curl -sS ", 1)
            ran = subprocess.run(
                ["sh", "-c", here],
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                env=environment(self.directory),
                cwd=self.directory,
            )
            printed = ran.stdout.replace(f"127.0.0.1:{server.port}", ADDRESS).splitlines()
            problem = f"{command}\n" + "\n".join([*printed, ran.stderr])
            self.assertEqual(ran.returncode, 0, problem)
            if " -i " in command:
                end = printed.index("")
                heads, printed = printed[:end], printed[end:]
                end = shown.index("")
                for header in shown[:end]:
                    self.assertTrue(any(matches(header, line) for line in heads), f"{header}: {problem}")
                shown = shown[end:]
            self.assertEqual(len(printed), len(shown), problem)
            for expected, line in zip(shown, printed, strict=True):
                self.assertTrue(matches(expected, line), problem)
            count += 1
        self.assertGreater(count, 20)
        server.stop()
