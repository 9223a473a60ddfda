"""The documentation as a site; and the pages that follow the source: options, manual, troubleshooting."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import txetcd
from tests import documents
from tests.documents import CHECKOUT

DOCS = CHECKOUT / "docs"
TROUBLESHOOTING = DOCS / "troubleshooting.md"
PACKAGE = Path(txetcd.__file__).parent

# What is logged with these is not as it should be.
LEVELS = frozenset("warn error critical failure".split())

# The sections of docs/troubleshooting.md whose messages are txetcd's own.
SECTIONS = (
    "It does not start",
    "What the log says",
    "What the server answers",
    "Keys cannot be moved",
    "Certificates cannot be made",
)


def hook(name: str) -> ModuleType:
    """A module of docs/hooks, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_hooks_{name}", DOCS / "hooks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Fetched(HTMLParser):
    """Collects what a browser fetches to show a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        names = ("href",) if tag == "link" else ("src", "srcset", "data", "poster")
        self.addresses += [value or "" for name, value in attrs if name in names]


def is_elsewhere(address: str) -> bool:
    """Whether an address is on another host."""
    return re.match(r"([a-z]+:)?//", address) is not None


class SiteTests(SynchronousTestCase):
    """The site, as CI builds it."""

    def setUp(self) -> None:
        if importlib.util.find_spec("mkdocs") is None:
            raise SkipTest("mkdocs is not installed")
        self.site = Path(self.mktemp()).absolute()

    def build(self, source: Path) -> subprocess.CompletedProcess[str]:
        # Not --quiet: then it counts no warnings, and all is well whatever happens.
        command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
        where = ["--config-file", str(source / "mkdocs.yml"), "--site-dir", str(self.site)]
        return subprocess.run([*command, *where], capture_output=True, text=True, timeout=120)

    def test_every_page_without_a_warning(self) -> None:
        ended = self.build(CHECKOUT)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        sources = [*DOCS.glob("*.md"), Path("index.md"), Path("changelog.md"), Path("security.md")]
        built = {path.stem for path in self.site.glob("*.html")}
        self.assertEqual(built - {"404", "search"}, {path.stem for path in sources})
        self.assert_whole()
        self.assert_nothing_from_elsewhere()

    def assert_whole(self) -> None:
        """No page shows Markdown as it was written, and no link has been lost."""
        for path in self.site.glob("*.html"):
            page = path.read_text("utf-8")
            text = re.sub(r"<pre>.*?</pre>|<code>.*?</code>|<script.*?</script>", "", page, flags=re.DOTALL)
            raw = re.search(r"(?m)```|\]\(|^\s*(<p>)?([-*|] |\|).*", text)
            self.assertIsNone(raw, f"{path.name}: {raw}")
        self.assertIn('href="https.html#', (self.site / "ca.html").read_text("utf-8"))
        self.assertIn('href="security.html"', (self.site / "index.html").read_text("utf-8"))

    def assert_nothing_from_elsewhere(self) -> None:
        """A browser that has the site needs nobody else to show it."""
        for path in self.site.rglob("*.html"):
            fetched = Fetched(path.read_text("utf-8")).addresses
            self.assertTrue(fetched)
            self.assertEqual([address for address in fetched if is_elsewhere(address)], [], path.name)
        for path in self.site.rglob("*.css"):
            urls = re.findall(
                r"""(?:@import|url\()\s*(?:url\()?\s*["']?([^"')\s]+)""", path.read_text("utf-8")
            )
            self.assertEqual([url for url in urls if is_elsewhere(url)], [], path.name)

    def test_broken_links_end_the_build(self) -> None:
        source = Path(self.mktemp()).absolute()
        shutil.copytree(DOCS, source / "docs")
        for path in CHECKOUT.iterdir():
            if path.suffix in (".md", ".yml"):
                shutil.copy(path, source)
        with (source / "docs" / "ca.md").open("a", encoding="utf-8") as page:
            page.write("\n[one](nowhere.md), [two](https.md#nowhere), [three](../README.md#nowhere)\n")
        ended = self.build(source)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        for broken in ("nowhere.md", "https.md#nowhere", "index.md#nowhere"):
            self.assertIn(f"'{broken}'", ended.stderr)


class ReferenceTests(SynchronousTestCase):
    """docs/hooks/reference.py."""

    def test_committed_pages_are_those_of_the_source(self) -> None:
        for name, text in hook("reference").pages().items():
            same = (DOCS / name).read_text("utf-8") == text
            self.assertTrue(same, f"docs/{name} is stale: run python docs/hooks/reference.py")

    def test_manual_pages(self) -> None:
        if shutil.which("groff") is None:
            raise SkipTest("groff is not installed")
        for path in sorted((DOCS / "man").iterdir()):
            command = ["groff", "-man", "-ww", "-Tascii", "-P-cbou", str(path)]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
            self.assertEqual((ended.returncode, ended.stderr), (0, ""))
            self.assertIn("SEE ALSO", ended.stdout)


def text_of(node: ast.expr) -> str | None:
    """A text in the source; what is put into it later is `…`."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "…" for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
        return node.value.decode("latin-1")
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"\{[a-z_]+(![a-z])?(:[^}]*)?\}", "…", node.value)
    return None


def parsed() -> Iterator[ast.AST]:
    """Everything in the source of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield from ast.walk(ast.parse(path.read_text("utf-8")))


def complaints() -> Iterator[str]:
    """The lines that the package writes to the log when something is not as it should be."""
    for node in parsed():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            logger = ast.unparse(node.func.value)
            text = text_of(node.args[0])
            if node.func.attr in LEVELS and logger.split(".")[-1] in ("log", "_log") and text:
                yield text


def told_of(section: str) -> Iterator[str]:
    """The messages in the first column of the tables in a section of docs/troubleshooting.md."""
    text = TROUBLESHOOTING.read_text("utf-8").partition(f"## {section}\n")[2].partition("\n## ")[0]
    for cell in re.findall(r"(?m)^\| ((?:`[^`]*`|[^|`])*) \|", text):
        yield from re.findall(r"`([^`]*)`", cell)


class TroubleshootingTests(SynchronousTestCase):
    """docs/troubleshooting.md."""

    def test_messages_are_in_the_source(self) -> None:
        texts = [text for node in parsed() if isinstance(node, ast.expr) and (text := text_of(node))]
        source = "\n".join(texts)
        found = 0
        for section in SECTIONS:
            for message in told_of(section):
                for part in message.split("…"):
                    self.assertIn(part.strip(" ;:,"), source, f"{section}: {message}")
                found += 1
        self.assertGreater(found, 50)

    def test_complaints_are_told_of(self) -> None:
        told = [re.escape(each).replace("…", ".*") for each in told_of("What the log says")]
        lines = [line for line in complaints() if re.search(r"\w", line.replace("…", ""))]
        self.assertGreater(len(lines), 20)
        for line in lines:
            self.assertTrue(any(re.fullmatch(each, line) for each in told), f"not told of: {line}")


class NavigationTests(SynchronousTestCase):
    def test_every_document_is_in_it(self) -> None:
        pages = re.findall(r"(?m)^ +- .*: (\S+\.md)$", (CHECKOUT / "mkdocs.yml").read_text("utf-8"))
        names = {path.name for path in documents.documents()[1:]}
        self.assertEqual(names - set(pages), set())
