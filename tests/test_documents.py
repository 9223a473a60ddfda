"""The documents say what is so: links lead somewhere, options exist, tables are those of the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import documents
from tests.documents import API, CHECKOUT, HTTPS, README
from txetcd import errors
from txetcd.cli import COMMANDS
from txetcd.moving.arguments import parsers
from txetcd.settings import foreign, options, sources

OPTIONS = {name: option for option in options.TABLE for name in (option.name, *option.aliases)}

# Options of other programs that the text names: curl's, openssl's and twistd's.
FOREIGN = frozenset("--cacert --cert --cert-type --key -days -k -newkey --logfile --syslog".split())

# Those of the commands beside the server.
# Of `python -m benchmarks`.
BENCHMARKS = {f"--{name}" for name in "rounds seconds rows keys etcd list write".split()}
MOVING = frozenset(
    option for parser in parsers().values() for action in parser._actions for option in action.option_strings
)

# The error that a client of this server never gets: a stop ends watches otherwise.
UNUSED = frozenset([errors.WATCHER_CLEARED])


def anchors(path: Path) -> set[str]:
    """The names of a document's headings in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(path: Path) -> Iterator[str]:
    """The lines that run txetcd, in blocks of code and in the text."""
    blocks = [block for language in ("sh", "console") for block in documents.code_blocks(path, language)]
    for line in "\n".join(blocks).splitlines():
        yield from (part for part in line.split(" && ") if re.search(r"(^|[ /])txetcd ", part))
    for code in inline_code(path):
        if code.startswith(("txetcd ", "twistd ")) and code.removeprefix("txetcd ") not in COMMANDS:
            yield code


def inline_code(path: Path) -> list[str]:
    """What stands between backquotes in the text."""
    return re.findall(r"`([^`\n]+)`", documents.prose(path))


class LinkTests(SynchronousTestCase):
    def test_links(self) -> None:
        for path in (*documents.documents(), CHECKOUT / "fixtures" / "ca" / "README.md"):
            links = re.findall(r"\]\(([^)\s]+)\)", documents.prose(path))
            for link in links:
                if link.startswith("https://"):
                    continue
                name, _, anchor = link.partition("#")
                target = path.parent / name if name else path
                self.assertTrue(target.exists(), f"{path.name}: {link}")
                if anchor:
                    self.assertIn(anchor, anchors(target), f"{path.name}: {link}")

    def test_readme_leads_to_every_document(self) -> None:
        links = re.findall(r"\]\(([^)\s]+)\)", README.read_text("utf-8"))
        for path in documents.documents()[1:]:
            self.assertIn(f"docs/{path.name}", links)

    def test_fixtures(self) -> None:
        for path in documents.documents():
            for name in re.findall(r"\./(fixtures/[\w./-]*\w)", path.read_text("utf-8")):
                self.assertTrue((CHECKOUT / name).exists(), f"{path.name}: {name}")


class OptionTests(SynchronousTestCase):
    def test_options_in_the_text(self) -> None:
        found = 0
        for path in documents.documents():
            for code in inline_code(path):
                for word in code.split() if code.startswith("-") else ():
                    if not word.startswith("-") or word in FOREIGN | MOVING | BENCHMARKS:
                        continue
                    name = word.lstrip("-").partition("=")[0]
                    # Etcd's own, which the text names to say what becomes of them.
                    self.assertTrue(name in OPTIONS or foreign.is_known(name), f"{path.name}: {word}")
                    found += 1
        self.assertGreater(found, 20)

    def test_options_in_commands(self) -> None:
        found = 0
        for path in documents.documents():
            for line in command_lines(path):
                words = shlex.split(line)
                rest = words[[word.rpartition("/")[2] for word in words].index("txetcd") + 1 :]
                if rest[:1] and rest[0] in COMMANDS:
                    parsers()[rest[0]].parse_args(rest[1 : rest.index(">")] if ">" in rest else rest[1:])
                else:
                    given = sources.parse_arguments(rest)
                    self.assertEqual(given.warnings, [], f"{path.name}: {line}")
                found += 1
        self.assertGreater(found, 6)

    def test_variables(self) -> None:
        for path in documents.documents():
            for name in re.findall(r"\bETCD_([A-Z][A-Z_]*)", documents.prose(path)):
                self.assertIn(name.lower().replace("_", "-"), OPTIONS, path.name)

    def test_configuration_files(self) -> None:
        blocks = [block for path in documents.documents() for block in documents.code_blocks(path, "toml")]
        self.assertTrue(blocks)
        for block in blocks:
            self.assertEqual(sources.parse_file(block, "etcd.toml").warnings, [])

    def test_defaults_of_the_limits(self) -> None:
        rows = re.findall(r"^\| `--([a-z-]+)` \| (\d+) \|", self.operating(), re.MULTILINE)
        self.assertGreater(len(rows), 4)
        for name, default in rows:
            self.assertEqual(float(default), OPTIONS[name].default, name)

    def operating(self) -> str:
        return (CHECKOUT / "docs" / "operating.md").read_text("utf-8")

    def test_the_commands_of_the_readme_are_those_of_https(self) -> None:
        # Those are run in test_main_job.
        (install,) = (line for line in documents.code_blocks(README, "sh") if "twistd" in line)
        run = install.strip().rpartition(" && ")[2].removeprefix(".venv/bin/")
        self.assertEqual(run, documents.commands(HTTPS, "twistd")[0])
        self.assertEqual(documents.commands(README, "curl"), documents.commands(HTTPS, "curl")[:1])


class ErrorTableTests(SynchronousTestCase):
    def test_it_is_the_code_s(self) -> None:
        rows = re.findall(r"^\| (\d{3}) \| (\d{3}) \| ([^|]+) \|", API.read_text("utf-8"), re.MULTILINE)
        described = [(int(code), int(status), message.strip()) for code, status, message in rows]
        table = [
            (code, errors.EtcdError(code).status, message)
            for code, message in errors.MESSAGES.items()
            if code not in UNUSED
        ]
        self.assertEqual(described, table)
