"""The file of a copy, and what servers answer: read, written and refused."""

from __future__ import annotations

import json
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import properties
from txetcd.moving import MovingError
from txetcd.moving.lines import (
    SECOND,
    End,
    Line,
    Node,
    Section,
    decode,
    encode,
    living,
    parse_time,
    time_left,
)
from txetcd.moving.listing import Change, Listing, is_below, is_hidden, parse_change

NOW = 1_700_000_000 * SECOND
SECTION = Section("/", 7, "cdf8", NOW)
text = st.text(st.characters(exclude_categories=["Cs"]))


def encoded(*lines: Line) -> list[bytes]:
    return [encode(line) for line in lines]


class LinesTests(SynchronousTestCase):
    def test_as_they_are_written(self) -> None:
        self.assertEqual(
            encoded(SECTION, Node("/d", None), Node("/f", "é\n", NOW + 5, 3, 4), End(2)),
            [
                b'{"format":"txetcd-copy","version":1,"key":"/","index":7,"cluster":"cdf8",'
                b'"time":"2023-11-14T22:13:20Z"}\n',
                b'{"key":"/d","dir":true}\n',
                '{"key":"/f","value":"é\\n","expiration":"2023-11-14T22:13:20.000000005Z",'
                '"createdIndex":3,"modifiedIndex":4}\n'.encode(),
                b'{"nodes":2}\n',
            ],
        )

    @properties
    @given(
        st.lists(st.builds(Node, text.map("/{}".format), text | st.none(), st.none() | st.integers(0, 2**62)))
    )
    def test_read_back(self, nodes: list[Node]) -> None:
        lines: list[Line] = [SECTION, *nodes, End(len(nodes))]
        self.assertEqual(list(decode("f", encoded(*lines))), lines)

    def test_several_sections(self) -> None:
        lines: list[Line] = [SECTION, Node("/a", ""), End(1), Section("/_h", 9, "", NOW), End(0)]
        self.assertEqual(list(decode("f", encoded(*lines))), lines)

    def assert_refused(self, pattern: str, *lines: bytes) -> None:
        with self.assertRaisesRegex(MovingError, rf"\Af line {pattern}[^\n]*; [^\n]*\Z"):
            list(decode("f", lines))

    def test_cut_off(self) -> None:
        """Wherever it is cut, it is noticed, with the number of the line."""
        whole = b"".join(encoded(SECTION, Node("/a", "x"), Node("/b", "y"), End(2)))
        for length in range(len(whole)):
            lines = whole[:length].splitlines(keepends=True)
            self.assert_refused(f"{len(lines)}: the copy is cut off there", *lines)

    def test_out_of_place(self) -> None:
        node = encode(Node("/a", "x"))
        section, end = encode(SECTION), encode(End(1))
        self.assert_refused("1: the line that a copy begins with is missing", node)
        self.assert_refused("2: 1 keys should come before it, not 0", section, end)
        self.assert_refused("4: 1 keys should come before it, not 2", section, node, node, end)
        self.assert_refused("3: the copy of / has no end", section, node, section)
        self.assert_refused("4: the line that a copy begins with is missing", section, node, end, node)

    def test_no_lines_of_a_copy(self) -> None:
        section = encode(SECTION)
        for line in (
            b"\n",
            b"nonsense\n",
            b"[]\n",
            b"7\n",
            b"\xff\n",
            b'{"format":"other","version":1}\n',
            b'{"key":"/a"}\n',
            b'{"key":"a","value":"x"}\n',
            b'{"key":"/a","value":7}\n',
            b'{"key":"/a","value":"x","expiration":"soon"}\n',
            b'{"nodes":"2"}\n',
        ):
            self.assert_refused("2: it is not a line of a copy", section, line)

    def test_another_version(self) -> None:
        line = encode(SECTION).replace(b'"version":1', b'"version":2')
        self.assert_refused("1: the copy has version 2", line)


class TimeTests(SynchronousTestCase):
    def test_as_etcd_prints_it(self) -> None:
        for printed, expected in (
            ("2023-11-14T22:13:20Z", NOW),
            ("2023-11-14T22:13:20.5Z", NOW + SECOND // 2),
            ("2023-11-14T22:13:20.000000001Z", NOW + 1),
            ("2023-11-14T17:13:20-05:00", NOW),
            ("2023-11-15T03:43:20+05:30", NOW),
        ):
            self.assertEqual(parse_time(printed), expected)
        for printed in ("", "2023-11-14", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z"):
            self.assertRaises(ValueError, parse_time, printed)

    def test_time_left(self) -> None:
        for expiration, expected in ((NOW + 1, 1), (NOW + SECOND, 1), (NOW + SECOND + 1, 2), (NOW, 0)):
            self.assertEqual(time_left(Node("/a", "", expiration), NOW), expected)
        self.assertIsNone(time_left(Node("/a", ""), NOW))

    def test_living(self) -> None:
        """What is in a directory that has run out has run out with it."""
        nodes = [
            Node("/a", "x", NOW),
            Node("/d", None, NOW - 1),
            Node("/d/e", None),
            Node("/d/e/f", "x", NOW + SECOND),
            Node("/d1", "x"),
            Node("/d2", None, NOW + 1),
            Node("/d2/a", "x"),
        ]
        expired: list[str] = []
        alive = [node.key for node in living(nodes, lambda: NOW, lambda node: expired.append(node.key))]
        self.assertEqual(alive, ["/d1", "/d2", "/d2/a"])
        self.assertEqual(expired, ["/a", "/d", "/d/e", "/d/e/f"])


class ListingTests(SynchronousTestCase):
    ANSWER: ClassVar[dict[str, object]] = {
        "action": "get",
        "node": {
            "dir": True,
            "nodes": [
                {"key": "/e", "dir": True, "modifiedIndex": 4, "createdIndex": 4},
                {
                    "key": "/d",
                    "dir": True,
                    "expiration": "2023-11-14T22:13:20Z",
                    "ttl": 3,
                    "nodes": [
                        {"key": "/d/f", "value": '{"nodes":[]}', "modifiedIndex": 5, "createdIndex": 3}
                    ],
                    "modifiedIndex": 2,
                    "createdIndex": 2,
                },
                {"key": "/z", "value": "", "modifiedIndex": 6, "createdIndex": 6},
            ],
        },
    }

    def read(self, answer: bytes, size: int) -> list[Node]:
        found: list[Node] = []
        listing = Listing(found.append)
        for start in range(0, len(answer), size):
            listing.feed(answer[start : start + size])
        listing.close()
        return found

    def test_in_pieces(self) -> None:
        answer = json.dumps(self.ANSWER).encode()
        expected = [
            Node("/e", None),
            Node("/d", None, NOW),
            Node("/d/f", '{"nodes":[]}', None, 3, 5),
            Node("/z", "", None, 6, 6),
        ]
        for size in (1, 7, 100, len(answer)):
            self.assertEqual(self.read(answer, size), expected)

    def test_a_file_alone(self) -> None:
        self.assertEqual(
            self.read(b'{"action":"get","node":{"key":"/f","value":"x"}}\n', 5), [Node("/f", "x")]
        )

    def test_handed_on_as_it_comes(self) -> None:
        found: list[Node] = []
        listing = Listing(found.append)
        listing.feed(b'{"action":"get","node":{"dir":true,"nodes":[{"key":"/a","dir":true,"nodes":[')
        self.assertEqual(found, [Node("/a", None)])

    def test_no_listing(self) -> None:
        for answer in (
            b"",
            b"<html>",
            b'{"action":"get","node":{',
            b'{"node":{"key":"/a"}}',
            b'{"node":{"key":7}}',
            b"[[]]",
        ):
            with self.assertRaisesRegex(ValueError, "not a whole listing|not a thing|a key"):
                self.read(answer, 100)


class ChangeTests(SynchronousTestCase):
    def change(self, action: str, **node: object) -> Change:
        return parse_change(json.dumps({"action": action, "node": {"modifiedIndex": 9, **node}}).encode())

    def test_changes(self) -> None:
        for action in ("set", "create", "update", "compareAndSwap"):
            self.assertEqual(
                self.change(action, key="/a", value="x", createdIndex=8),
                Change(9, "/a", Node("/a", "x", None, 8, 9)),
            )
        for action in ("delete", "expire", "compareAndDelete"):
            self.assertEqual(self.change(action, key="/a", dir=True), Change(9, "/a", None))
        self.assertEqual(self.change("set", key="/a", dir=True), Change(9, "/a", Node("/a", None)))

    def test_no_change(self) -> None:
        for body in (b"", b"{", b"[]", b'"x"', b'{"action":"set"}', b'{"action":"set","node":{"key":"/a"}}'):
            self.assertRaises(ValueError, parse_change, body)

    def test_below_and_hidden(self) -> None:
        for key, root, below, hidden in (
            ("/a", "/", True, False),
            ("/_a", "/", True, True),
            ("/a/_b/c", "/a", True, True),
            ("/_a/b", "/_a", True, False),
            ("/_a/_b", "/_a", True, True),
            ("/ab", "/a", False, False),
            ("/_a", "/_a/b", False, False),
        ):
            self.assertEqual((is_below(key, root), is_hidden(key, root)), (below, hidden), (key, root))
