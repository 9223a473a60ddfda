"""The fixtures of pytest, and the blocks of docs/testing.md, in suites that pytest and trial run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.documents import CHECKOUT, code_blocks
from tests.e2e import CODE, TIMEOUT

# Named and not found by itself, so that it does not matter how the package was installed.
PLUGIN = ("-p", "pytest_txetcd")
PYTEST_TWISTED = ("-p", "pytest_twisted")

# What Twisted does to pyOpenSSL, and its Agent to its own readBody.
TWISTEDS_OWN = ("ignore:Passing pyOpenSSL:DeprecationWarning", "ignore:Using readBody:DeprecationWarning")

WITHOUT_IT = """
import sys

def test_nothing_was_imported():
    assert not [name for name in sys.modules if name.partition(".")[0] in ("twisted", "txetcd")]
"""

LEFT_RUNNING = """
import pytest_twisted
from twisted.internet import reactor

servers = []

@pytest_twisted.ensureDeferred
async def test_first(txetcd_live, txetcd_tls, txetcd):
    servers.extend([txetcd_live, txetcd_tls, txetcd])
    for server in (txetcd_live, txetcd_tls):
        assert (await server.request("GET", "/health")).json == {"health": "true"}

def test_second():
    assert not any(server.store.accepting for server in servers) and len(servers) == 3
    assert not [reader for reader in reactor.getReaders() if hasattr(reader, "getHost")]
"""


class SuiteCase(SynchronousTestCase):
    """A directory with test modules, and what comes of running them."""

    def setUp(self) -> None:
        for module in ("pytest", "pytest_twisted"):
            if importlib.util.find_spec(module) is None:
                raise SkipTest(f"{module} is not installed")
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def write(self, name: str, text: str) -> None:
        (self.directory / f"{name}.py").write_text(text, "utf-8")

    def run_python(self, *arguments: str) -> tuple[int, str]:
        """Status and output of Python, run there."""
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")},
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join([str(CODE), str(CHECKOUT)]),
        }
        ran = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        return ran.returncode, ran.stdout

    def assert_pytest_passes(self, tests: int, *arguments: str) -> None:
        """So many tests pass, and there is no warning."""
        warnings = [word for rule in ("error", *TWISTEDS_OWN) for word in ("-W", rule)]
        status, output = self.run_python(
            "-m", "pytest", "-q", "--rootdir=.", "-o", "testpaths=", *warnings, *arguments
        )
        self.assertEqual(status, 0, output)
        self.assertRegex(output, rf"(?m)^{tests} passed in ")


class PluginTests(SuiteCase):
    def test_suites_without_a_fixture_do_not_notice(self) -> None:
        self.write("test_a", WITHOUT_IT)
        self.assert_pytest_passes(1, *PLUGIN)

    def test_servers_are_stopped(self) -> None:
        self.write("test_a", LEFT_RUNNING)
        self.assert_pytest_passes(2, *PYTEST_TWISTED, *PLUGIN)

    def test_in_memory_without_pytest_twisted(self) -> None:
        self.write(
            "test_a", "def test(txetcd):\n    assert txetcd.request('GET', '/version').status == 200\n"
        )
        self.assert_pytest_passes(1, *PLUGIN)


class DocumentTests(SuiteCase):
    """Each block is a module of tests."""

    def setUp(self) -> None:
        super().setUp()
        document = CHECKOUT / "docs" / "testing.md"
        if not document.exists():
            raise SkipTest("there is no checkout around the tests")
        if shutil.which("curl") is None:
            raise SkipTest("curl is not installed")
        self.tests = self.cases = 0
        for number, block in enumerate(code_blocks(document, "python")):
            self.write(f"test_{number}", block)
            tests = len(re.findall(r"^ *(?:async )?def test", block, re.MULTILINE))
            self.assertGreater(tests, 0, block)
            self.tests += tests
            self.cases += tests if "TestCase)" in block else 0
        self.assertGreater(self.cases, 10)

    def test_with_pytest(self) -> None:
        # What the document says of the order.
        self.write(
            "conftest",
            "def pytest_collection_modifyitems(items):\n    items.sort(key=lambda item: item.cls is None)\n",
        )
        self.assert_pytest_passes(self.tests, *PYTEST_TWISTED, *PLUGIN)

    def test_with_trial(self) -> None:
        names = [path.stem for path in sorted(self.directory.glob("test_*.py"))]
        status, output = self.run_python("-m", "twisted.trial", *names)
        self.assertEqual(status, 0, output)
        self.assertIn(f"PASSED (successes={self.cases})", output)
