"""The layers, as a test: each module imports only modules below it, and the core only what is pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import txetcd

# The lowest first.  A module imports only from lines above its own; a name ending in .* stands for each
# module of a package that has no line of its own.
LAYERS = """
    bodies heap jsontext pages
    errors
    auth
    tree auth_commands auth_query
    events
    commands
    query
    census changes dismantler expiry stats watchers
    origin sockets
    fanout turns
    journal
    journal.values journal.writer
    journal.tables journal.wal
    journal.*
    engine member
    journal.etcd.task journal.etcd.wire
    journal.etcd.answers journal.etcd.connection journal.etcd.rows
    journal.etcd.client
    journal.etcd.session journal.etcd.versions
    journal.etcd.checkpoint journal.etcd.lease
    journal.etcd.members journal.etcd.reading
    journal.etcd.following
    journal.etcd.appending journal.etcd.barrier
    journal.etcd.checkpointing
    checkpointer committer
    expirer
    store passwords
    tls.policy
    tls.revocation
    tls.rules
    peer
    resources
    resources.endpoint resources.gzipped resources.listings resources.longvalues
    resources.metrics
    resources.late resources.rereading
    resources.guard
    resources.auth resources.keys resources.members
    resources.status
    dashboard
    dashboard.resource
    resources.api
    site.crowd site.http1 site.multipart site.sending
    site.request
    site.cache
    site.channel
    site
    ca
    ca.names
    ca.certificates
    ca.diagnosis ca.directory
    tls.files tls.records tls.refusals
    journal.etcd.credentials
    journal.etcd
    tls.transport
    tls.context tls.connection
    tls.keeper
    tls.endpoints
    tls
    settings.foreign settings.values
    settings.options
    settings.sources settings.usage
    settings
    adopted descriptors notify observing observing.lines
    observing.files observing.requests
    observing.logs observing.metrics
    server
    __init__
    tap
    testing.certificates testing.http testing.journal testing.network
    testing.base
    testing.live testing.memory
    testing.trial
    testing
    moving
    moving.lines
    moving.applying moving.listing
    moving.trust
    moving.client
    moving.export
    moving.fill moving.watch
    moving.follow
    moving.arguments moving.backup moving.progress
    ca.command moving.command
    cli
"""

# The semantics of v2, what the operator can say, what certificates are: functions of their arguments alone.
CORE = frozenset(
    "jsontext pages errors auth tree auth_commands auth_query events commands query"
    " census observing.lines"
    " engine member journal.etcd.wire"
    " tls.policy tls.revocation tls.rules settings settings.foreign settings.values settings.options"
    " settings.sources settings.usage"
    " ca ca.names ca.certificates ca.diagnosis".split()
)
OUTSIDE = frozenset(
    "twisted socket ssl select selectors asyncio threading subprocess sqlite3 os shutil".split()
)

# Whoever imports the reactor installs one.
REACTOR = "twisted.internet.reactor"

PACKAGE = Path(txetcd.__file__).parent
LEVELS = {name: level for level, line in enumerate(LAYERS.split("\n")) for name in line.split()}


def module_name(path: Path) -> str:
    """The module's name below txetcd; that of a package's __init__ is the package's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[-1] == "__init__" and len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def level(module: str) -> int | None:
    """The line of a module in the table."""
    return LEVELS.get(module, LEVELS.get(f"{module.rpartition('.')[0]}.*"))


def imports(module: str, tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The absolute names that a module imports, wherever in it, with the lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise AssertionError(f"{module}:{node.lineno}: import from txetcd by its full name")
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def own_module(name: str) -> str | None:
    """The module of ours that an imported name is, or is in."""
    if name.partition(".")[0] != "txetcd":
        return None
    below = name.removeprefix("txetcd").removeprefix(".")
    while below and below not in MODULES:
        below = below.rpartition(".")[0]
    return below or "__init__"


def breaches(module: str, source: str) -> list[str]:
    """What in a module's imports is against the rules."""
    found = []
    here = level(module)
    for name, line in imports(module, ast.parse(source)):
        where = f"{module}:{line}: imports {name}"
        own = own_module(name)
        there = None if own is None else level(own)
        if here is not None and there is not None and there >= here:
            found.append(f"{where}, which is not below it")
        if module in CORE and name.partition(".")[0] in OUTSIDE:
            found.append(f"{where}, but is part of the pure core")
        if module in CORE and own is not None and own not in CORE:
            found.append(f"{where}, which is not part of the pure core")
        if name == REACTOR and module != "tap":
            found.append(f"{where}, which only tap does")
    return found


class LayersTests(SynchronousTestCase):
    def test_every_module_has_a_layer(self) -> None:
        self.assertEqual([module for module in MODULES if level(module) is None], [])

    def test_every_layer_has_modules(self) -> None:
        self.assertEqual([name for name in LEVELS if not name.endswith(".*") and name not in MODULES], [])

    def test_imports_go_down(self) -> None:
        found = [b for module, path in MODULES.items() for b in breaches(module, path.read_text("utf-8"))]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_reactor_is_imported_in_make_service_only(self) -> None:
        tree = ast.parse(MODULES["tap"].read_text("utf-8"))
        everywhere = [line for name, line in imports("tap", tree) if name == REACTOR]
        inside = [
            line
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == "makeService"
            for name, line in imports("tap", node)
            if name == REACTOR
        ]
        self.assertEqual((len(everywhere), everywhere), (1, inside))


class RulesTests(SynchronousTestCase):
    """The rules themselves notice what they are for."""

    def test_breaches(self) -> None:
        for module, source in (
            ("tree", "from txetcd.store import Store"),
            ("tree", "from txetcd import store"),
            ("tree", "import txetcd.store"),
            ("tree", "import txetcd"),
            ("store", "from txetcd import KeysResource"),
            ("journal", "from txetcd.journal.memory import MemoryJournal"),
            ("journal.memory", "from txetcd.journal.sqlite import SQLiteJournal"),
            ("query", "from twisted.internet.defer import Deferred"),
            ("query", "def f():\n    import socket"),
            ("server", "from twisted.internet import reactor"),
        ):
            self.assertTrue(breaches(module, source), (module, source))

    def test_no_breaches(self) -> None:
        for module, source in (
            ("store", "from txetcd.tree import Tree"),
            ("journal.memory", "from txetcd.journal import Batch"),
            ("tap", "from txetcd import __version__\nfrom twisted.internet import reactor"),
        ):
            self.assertEqual(breaches(module, source), [], (module, source))
