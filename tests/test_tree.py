"""txetcd.tree: looking up, putting and removing, and listings."""

from __future__ import annotations

import json
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from rpds import HashTrieMap
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import START, Step, histories, play, properties
from txetcd import tree as tree_module
from txetcd.auth import DISABLED
from txetcd.errors import EtcdError
from txetcd.tree import (
    EMPTY,
    NAMES,
    SECOND,
    SLICE,
    Dir,
    File,
    Node,
    Page,
    Tree,
    bare,
    build,
    listing_json,
    node_json,
    to_entry,
)

DEEP = 1000


def plant(*keys: str, index: int = 7) -> Tree:
    """A tree of files, and directories where a key ends in a slash."""
    root = EMPTY.root
    for key in keys:
        place = Tree(root, index, 0, DISABLED).open(key.rstrip("/"))
        node = Dir(key.rstrip("/"), HashTrieMap(), 1, 2) if key.endswith("/") else File(key, "v", 3, 4)
        root = place.put(node, index)
    return Tree(root, index, 0, DISABLED)


def listing(node: Node, recursive: bool = True, time: int = 0) -> str:
    return "".join(listing_json(node, time, recursive))


def listed(node: Node) -> list[str]:
    """The keys of a recursive listing in their order, that of the node itself left out."""
    found = []
    stack = json.loads(listing(node)).get("nodes", [])[::-1]
    while stack:
        child = stack.pop()
        found.append(child["key"])
        stack.extend(reversed(child.get("nodes", [])))
    return found


class LookUpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tree = plant("/f", "/d/e/k", "/empty/")

    def assert_refused(self, code: int, cause: str, key: str) -> None:
        error = self.assertRaises(EtcdError, self.tree.get, key)
        self.assertEqual(error, EtcdError(code, cause, 7))
        self.assertIsNone(self.tree.find(key))

    def test_found(self) -> None:
        for key in "/", "/f", "/d", "/d/e", "/d/e/k", "/empty":
            node = self.tree.get(key)
            self.assertEqual(node.key, key)
            self.assertEqual(self.tree.find(key), node)

    def test_missing(self) -> None:
        """The first part that is missing is told."""
        self.assert_refused(100, "/x", "/x")
        self.assert_refused(100, "/x", "/x/y/z")
        self.assert_refused(100, "/d/x", "/d/x/y")
        self.assert_refused(100, "/empty/e", "/empty/e/k")

    def test_file_in_the_way(self) -> None:
        self.assert_refused(104, "/f", "/f/x")
        self.assert_refused(104, "/d/e/k", "/d/e/k/x/y")


class PlaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tree = plant("/f", "/d/e/k")

    def test_open(self) -> None:
        place = self.tree.open("/d/e/k")
        self.assertEqual([parent.key for parent in place.parents], ["/", "/d", "/d/e"])
        self.assertEqual(place.existing(), File("/d/e/k", "v", 3, 4))

    def test_missing(self) -> None:
        for key, missing in ("/x", "/x"), ("/x/y/z", "/x"), ("/d/x/y", "/d/x"), ("/d/e/x", "/d/e/x"):
            place = self.tree.open(key)
            self.assertIsNone(place.node)
            self.assertEqual(self.assertRaises(EtcdError, place.existing), EtcdError(100, missing, 7))

    def test_file_in_the_way(self) -> None:
        for key in "/f/x", "/f/x/y/z":
            self.assertEqual(self.assertRaises(EtcdError, self.tree.open, key), EtcdError(104, "/f", 7))

    def test_put(self) -> None:
        """Missing parents are made; the rest is shared."""
        node = File("/d/x/y/z", "v", 9, 9)
        after = Tree(self.tree.open("/d/x/y/z").put(node, 9), 9, 0, DISABLED)
        self.assertEqual(after.get("/d/x/y/z"), node)
        for key in "/d/x", "/d/x/y":
            self.assertEqual(bare(after.get(key)), Dir(key, HashTrieMap(), 9, 9))
        self.assertIs(after.get("/d/e"), self.tree.get("/d/e"))
        self.assertIs(after.root.children["f"], self.tree.root.children["f"])
        self.assertEqual(bare(after.get("/d")), bare(self.tree.get("/d")))
        self.assertIsNone(self.tree.find("/d/x"))

    def test_remove(self) -> None:
        after = Tree(self.tree.open("/d/e").remove(), 9, 0, DISABLED)
        self.assertIsNone(after.find("/d/e"))
        self.assertEqual(len(after.root.children), 2)
        self.assertIsNotNone(self.tree.find("/d/e/k"))

    def test_deep(self) -> None:
        """Walks are no recursions."""
        key = "/a" * DEEP
        tree = plant(key)
        self.assertEqual(tree.get(key).key, key)
        self.assertEqual(listing(tree.root).count('"dir":true'), DEEP)
        self.assertIsNone(Tree(tree.open(key).remove(), 1, 0, DISABLED).find(key))
        self.assertEqual(
            listing(tree.get("/a" * (DEEP - 1)), recursive=False),
            f'{{"key":"{"/a" * (DEEP - 1)}","dir":true,'
            f'"nodes":[{{"key":"{key}","value":"v","modifiedIndex":4,"createdIndex":3}}],'
            '"modifiedIndex":7,"createdIndex":7}',
        )


class BuildTests(SynchronousTestCase):
    def test_any_order(self) -> None:
        """As long as parents come before what is in them."""
        nodes: list[Node] = [
            Dir("/d", HashTrieMap(), 2, 2, 99),
            File("/f", "v", 3, 3),
            File("/d/k", "v", 2, 2),
            Dir("/a", HashTrieMap(), 4, 4),
            Dir("/d/e", HashTrieMap(), 5, 5),
            File("/a/k", "v", 4, 4),
            File("/d/e/k", "v", 5, 5),
        ]
        tree = build(map(to_entry, nodes), 5, 9)
        self.assertEqual((tree.index, tree.raft_index), (5, 9))
        self.assertEqual(listed(tree.root), ["/a", "/a/k", "/d", "/d/e", "/d/e/k", "/d/k", "/f"])
        for node in nodes:
            self.assertEqual(bare(tree.get(node.key)), node)

    def test_nothing(self) -> None:
        self.assertEqual(build(iter([]), EMPTY.index, EMPTY.raft_index), EMPTY)
        self.assertEqual(listing(EMPTY.root), '{"dir":true}')

    def test_orphans(self) -> None:
        child = File("/d/k", "v", 2, 2)
        cases: list[tuple[list[Node], str]] = [
            ([child], "/d/k"),
            ([child, Dir("/d", HashTrieMap(), 2, 2)], "/d/k"),
            ([File("/d", "v", 2, 2), child], "/d/k"),
            ([Dir("/", HashTrieMap(), 0, 0)], "/"),
        ]
        for nodes, orphan in cases:
            error = self.assertRaises(ValueError, build, map(to_entry, nodes), 2, 1)
            self.assertEqual(str(error), f"{orphan!r} is not in a directory")

    def test_deep(self) -> None:
        nodes = [Dir("/a" * depth, HashTrieMap(), 2, 2) for depth in range(1, DEEP)]
        tree = build(map(to_entry, nodes), 2, 1)
        self.assertEqual(bare(tree.get(nodes[-1].key)), nodes[-1])


class NodeTextTests(SynchronousTestCase):
    def test_file(self) -> None:
        self.assertEqual(
            node_json(File("/a", "", 3, 4), 0), '{"key":"/a","value":"","modifiedIndex":4,"createdIndex":3}'
        )

    def test_dir(self) -> None:
        self.assertEqual(
            node_json(plant("/a/k").get("/a"), 0),
            '{"key":"/a","dir":true,"modifiedIndex":7,"createdIndex":7}',
        )

    def test_other_modified_index(self) -> None:
        self.assertEqual(
            node_json(File("/a", "", 3, 4), 0, modified=9),
            '{"key":"/a","value":"","modifiedIndex":9,"createdIndex":3}',
        )

    def test_ttl(self) -> None:
        node = File("/a", "v", 3, 4, 100 * SECOND)
        for time, ttl in (
            (0, ',"ttl":100'),
            (1, ',"ttl":100'),
            (100 * SECOND - 1, ',"ttl":1'),
            (100 * SECOND, ""),
        ):
            self.assertEqual(
                node_json(node, time),
                f'{{"key":"/a","value":"v","expiration":"1970-01-01T00:01:40Z"{ttl},'
                '"modifiedIndex":4,"createdIndex":3}',
            )


class ListingTests(SynchronousTestCase):
    def test_children_only(self) -> None:
        self.assertEqual(
            listing(plant("/d/e/k", "/f").root, recursive=False),
            '{"dir":true,"nodes":['
            '{"key":"/d","dir":true,"modifiedIndex":7,"createdIndex":7},'
            '{"key":"/f","value":"v","modifiedIndex":4,"createdIndex":3}]}',
        )

    def test_recursive(self) -> None:
        self.assertEqual(
            listing(plant("/d/e/k", "/d/f", "/d/empty/").get("/d")),
            '{"key":"/d","dir":true,"nodes":['
            '{"key":"/d/e","dir":true,"nodes":['
            '{"key":"/d/e/k","value":"v","modifiedIndex":4,"createdIndex":3}],'
            '"modifiedIndex":7,"createdIndex":7},'
            '{"key":"/d/empty","dir":true,"modifiedIndex":2,"createdIndex":1},'
            '{"key":"/d/f","value":"v","modifiedIndex":4,"createdIndex":3}],'
            '"modifiedIndex":7,"createdIndex":7}',
        )

    def test_file(self) -> None:
        node = File("/a", "v", 3, 4)
        self.assertEqual(listing(node), node_json(node, 0))
        self.assertEqual(listing(node, recursive=False), node_json(node, 0))

    def test_hidden(self) -> None:
        """Left out from above, at any depth; shown to who asks for them by name."""
        tree = plant("/_s/k", "/d/_h", "/d/x", "/d/_e/f/", "/o/_h", "/_s/_t", "/x_y")
        self.assertEqual(listed(tree.root), ["/d", "/d/x", "/o", "/x_y"])
        self.assertEqual(listed(tree.get("/_s")), ["/_s/k"])
        self.assertEqual(listed(tree.get("/d/_e")), ["/d/_e/f"])
        self.assertEqual(
            listing(tree.get("/o")), '{"key":"/o","dir":true,"modifiedIndex":7,"createdIndex":7}'
        )
        self.assertIn('"key":"/d/_h"', listing(tree.get("/d/_h")))

    def test_order(self) -> None:
        """By the bytes of names, be they UTF-8 or not."""
        names = ["-", "0", "A", "a", "a b", "a-b", "ab"]
        names += ["\udcc3", "ä", "\uffff", "\udcf0", "\U0001f600", "\udcff"]
        directory = plant(*(f"/{name}" for name in reversed(names))).root
        self.assertEqual(list(directory.visible()), [directory.child(name) for name in names])

    def test_large(self) -> None:
        """The names of a large directory are put in order some at a time, with the same outcome."""
        names = ["b", "_h", "ä", "a", "\udcff", "c", "_i"]
        directory = plant(*(f"/{name}" for name in names)).root
        for page in None, Page(2, ""), Page(0, "a"), Page(2, "b"), Page(5, "c"), Page(0, "\udcff"):
            whole = list(directory.visible(page))
            with patch.object(tree_module, "NAMES", 2):
                sliced = list(directory.visible(page))
            self.assertEqual(sliced, [None] * 4 + whole)

    def test_pieces(self) -> None:
        """A long listing comes in pieces of a bounded size that make up the whole."""
        root = plant("/d/").root
        text = "v" * 100
        children: list[Node] = [File(f"/d/{number:05d}", text, 3, 4) for number in range(NAMES - 1)]
        root = build(map(to_entry, [Dir("/d", HashTrieMap(), 2, 2), *children]), 9, 9).root
        pieces = list(listing_json(root, 0, True))
        longest = max(len(node_json(child, 0)) + 1 for child in children)
        self.assertGreater(len(pieces), 3)
        self.assertTrue(all(SLICE <= len(piece) < SLICE + longest for piece in pieces[:-1]))
        self.assertLess(len(pieces[-1]), SLICE + longest)
        nodes = json.loads("".join(pieces))["nodes"][0]["nodes"]
        self.assertEqual([node["key"] for node in nodes], [child.key for child in children])

    def test_one_piece(self) -> None:
        self.assertEqual(len(list(listing_json(plant("/d/e/k", "/f").root, 0, True))), 1)

    def test_lazy(self) -> None:
        """A piece is made when it is asked for, of a tree that cannot have changed meanwhile."""
        with patch.object(tree_module, "SLICE", 1):
            pieces = listing_json(plant("/a", "/b").root, 0, True)
            self.assertEqual(
                next(pieces),
                '{"dir":true,"nodes":[{"key":"/a","value":"v","modifiedIndex":4,"createdIndex":3}',
            )

    @properties
    @given(histories, st.integers(1, 300), st.booleans())
    def test_pieces_of_any_size(self, history: list[Step], size: int, recursive: bool) -> None:
        tree = play(history)[-1].after
        for node in tree.root, *tree.root.nodes():
            whole = listing(node, recursive, START)
            with patch.object(tree_module, "SLICE", size):
                pieces = list(listing_json(node, START, recursive))
            self.assertEqual("".join(pieces), whole)
            self.assertTrue(all(pieces[:-1]))
            self.assertEqual(
                json.dumps(json.loads(whole), separators=(",", ":"), ensure_ascii=False), shown(whole)
            )


def shown(text: str) -> str:
    """JSON text with the two escapes undone that Go makes and the standard library does not."""
    return text.replace("\\u003c", "<").replace("\\ufffd", "\ufffd")
