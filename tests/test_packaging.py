"""What is in the wheel and in the sdist, and that twistd finds the plugin however txetcd was installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import txetcd

CHECKOUT = Path(__file__).parent.parent
PLUGINS = {"twisted/plugins/txetcd_plugin.py", "twisted/plugins/txetcd_endpoints.py"}
# Files like these would replace Twisted's own, and take them along when txetcd is removed.
NEVER = ("twisted/__init__.py", "twisted/plugins/__init__.py")
FOLDERS = ("docs", "examples", "fixtures", "tests", "twisted", "txetcd")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "dropin.cache")


class PackagingCase(SynchronousTestCase):
    """Builds from a copy, so that the checkout stays as it is."""

    def setUp(self) -> None:
        for module in ("setuptools", "pip"):
            if importlib.util.find_spec(module) is None:
                raise SkipTest(f"{module} is not installed")
        if not (CHECKOUT / "setup.py").exists():
            raise SkipTest("there is no checkout around the tests")
        self.directory = Path(self.mktemp()).absolute()
        self.source = self.directory / "source"
        for folder in FOLDERS:
            shutil.copytree(CHECKOUT / folder, self.source / folder, ignore=LEFT_OUT)
        for path in CHECKOUT.iterdir():
            if path.is_file():
                shutil.copy(path, self.source)

    def run_python(self, python: str, *arguments: str, directory: Path | None = None) -> str:
        """Run Python with what is installed only, and return what it says."""
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.run(
            [python, *arguments],
            cwd=directory or self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        self.assertEqual(process.returncode, 0, process.stdout)
        return process.stdout

    def build(self, what: str) -> Path:
        """Build a wheel or an sdist as a packaging tool does."""
        target = self.directory / what
        target.mkdir()
        program = f"from setuptools import build_meta; build_meta.build_{what}({str(target)!r})"
        self.run_python(sys.executable, "-c", program, directory=self.source)
        (built,) = target.iterdir()
        return built


class ContentsTests(PackagingCase):
    def test_wheel(self) -> None:
        with zipfile.ZipFile(self.build("wheel")) as wheel:
            names = set(wheel.namelist())
            metadata = wheel.read(f"txetcd-{txetcd.__version__}.dist-info/METADATA").decode()
        self.assertLessEqual(
            {
                *PLUGINS,
                "txetcd/py.typed",
                "txetcd/tap.py",
                "txetcd/journal/sqlite.py",
                "txetcd/dashboard/static/index.html",
            },
            names,
        )
        self.assertEqual(names.intersection(NEVER), set())
        outside = {name for name in names if not name.startswith(("txetcd/", "txetcd-"))}
        self.assertEqual(outside, {*PLUGINS, "pytest_txetcd.py"})
        ours = {path.relative_to(self.source).as_posix() for path in (self.source / "txetcd").rglob("*.py")}
        self.assertLessEqual(ours, names)
        self.assertIn(f"Version: {txetcd.__version__}\n", metadata)
        self.assertIn("Requires-Dist: Twisted[tls]>=26.4\n", metadata)

    def test_sdist(self) -> None:
        with tarfile.open(self.build("sdist")) as sdist:
            names = {name.partition("/")[2] for name in sdist.getnames()}
        expected = {
            *PLUGINS,
            "LICENSE",
            "README.md",
            "CHANGELOG.md",
            "SECURITY.md",
            "tox.ini",
            "pyproject.toml",
        }
        for folder in FOLDERS:
            files = [path for path in (self.source / folder).rglob("*") if path.is_file()]
            expected.update(path.relative_to(self.source).as_posix() for path in files)
        self.assertLessEqual(expected, names)
        self.assertEqual(names.intersection(NEVER), set())
        self.assertEqual([name for name in names if name.endswith((".pyc", "dropin.cache"))], [])

    def test_no_init_in_the_checkout(self) -> None:
        self.assertEqual([name for name in NEVER if (CHECKOUT / name).exists()], [])


class InstallTests(PackagingCase):
    """An environment of its own, which sees this one's packages behind its own."""

    def install(self, *what: str) -> None:
        """Install txetcd without what it depends on, and see that it is the one that runs."""
        home = self.directory / "venv"
        venv.create(home, symlinks=True, with_pip=False)
        python = str(home / "bin" / "python")
        (own,) = home.glob("lib/python*/site-packages")
        outer = sysconfig.get_path("purelib"), sysconfig.get_path("platlib")
        (own / "zz_outer.pth").write_text("\n".join(dict.fromkeys(outer)) + "\n")
        self.run_python(
            *(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"),
            *("--ignore-installed", *what),
        )
        place = self.run_python(python, "-c", "import txetcd; print(txetcd.__file__)")
        self.assertTrue(Path(place.strip()).is_relative_to(self.directory), place)
        place = self.run_python(
            python, "-c", "import twisted.plugins.txetcd_plugin as plugin; print(plugin.__file__)"
        )
        self.assertTrue(Path(place.strip()).is_relative_to(self.directory), place)
        twistd = "from twisted.scripts.twistd import run; run()"
        self.assertRegex(self.run_python(python, "-c", twistd, "--help"), r"(?m)^ +txetcd +An etcd server")
        knows = "from twisted.internet.endpoints import serverFromString; serverFromString(None, 'mtls:1')"
        self.assertIn(
            "missing 3 required",
            self.run_python(python, "-c", f"try: {knows}\nexcept TypeError as e: print(e)"),
        )
        version = f"txetcd {txetcd.__version__}\n"
        self.assertEqual(self.run_python(python, "-c", twistd, "txetcd", "--version"), version)
        self.assertEqual(self.run_python(str(home / "bin" / "txetcd"), "--version"), version)
        version = f"txetcd-ca {txetcd.__version__}\n"
        self.assertEqual(self.run_python(str(home / "bin" / "txetcd-ca"), "--version"), version)

    def test_wheel(self) -> None:
        self.install(str(self.build("wheel")))

    def test_sdist(self) -> None:
        self.install(str(self.build("sdist")))

    def test_editable(self) -> None:
        self.install("-e", str(self.source))
