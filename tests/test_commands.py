"""txetcd.commands: the operation table of the v2 API, cell by cell, as the JSON that clients read.

The texts are etcd 3.4's.  In these stores C{/f} is a file (index 2), C{/d} a directory with a file C{/d/k}
(3), and C{/e} an empty directory (4).
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txetcd.commands import Command, evaluate
from txetcd.errors import EtcdError
from txetcd.query import Read, Write, parse, parse_form
from txetcd.tree import EMPTY, SECOND, Dir, listing_json

NOW = 1_700_000_000 * SECOND

FILE = '"prevNode":{"key":"/f","value":"1","modifiedIndex":2,"createdIndex":2}'
IN_9_S = '"expiration":"2023-11-14T22:13:29Z","ttl":9'


class StoreCase(SynchronousTestCase):
    """A store to which requests can be put."""

    def setUp(self) -> None:
        self.tree = EMPTY
        self.time = NOW
        self.created = False
        for key, arguments in ("/f", "value=1"), ("/d/k", "value=1"), ("/e", "dir=true"):
            self.ask("PUT", key, arguments)

    def ask(self, method: str, key: str, arguments: str = "") -> str:
        """What a request is answered."""
        query = parse(method, key, parse_form(arguments.encode(), b""), self.time)
        try:
            if isinstance(query, Write):
                return self.do(query.command)
            assert isinstance(query, Read)
            return "".join(listing_json(self.tree.get(key), self.time, query.recursive))
        except EtcdError as error:
            return error.to_json()

    def do(self, command: Command) -> str:
        """What a command that is not refused is answered."""
        self.tree, (event,) = evaluate(self.tree, command)
        self.created = event.created
        return event.to_json()

    def assert_done(
        self, answer: str, method: str, key: str, arguments: str = "", created: bool = False
    ) -> None:
        """A write is done, takes the next index, and answers this, with status 201 if `created`."""
        index = self.tree.index
        self.assertEqual(self.ask(method, key, arguments), answer)
        self.assertEqual(self.tree.index, index + 1)
        self.assertEqual(self.created, created)

    def assert_refused(self, code: int, cause: str, method: str, key: str, arguments: str = "") -> None:
        """A request is refused and leaves everything as it is."""
        before = self.tree
        answer = self.ask(method, key, arguments)
        self.assertEqual(answer, EtcdError(code, cause, before.index).to_json())
        self.assertIs(self.tree, before)


class SetTests(StoreCase):
    def test_missing(self) -> None:
        answer = '{"action":"set","node":{"key":"/x","value":"2","modifiedIndex":5,"createdIndex":5}}'
        self.assert_done(answer, "PUT", "/x", "value=2", created=True)

    def test_missing_parents(self) -> None:
        """They are made with the write's index, and without events."""
        answer = '{"action":"set","node":{"key":"/x/y/z","value":"","modifiedIndex":5,"createdIndex":5}}'
        self.assert_done(answer, "PUT", "/x/y/z", created=True)
        self.assertEqual(
            self.ask("GET", "/x"),
            '{"key":"/x","dir":true,"nodes":['
            '{"key":"/x/y","dir":true,"modifiedIndex":5,"createdIndex":5}'
            '],"modifiedIndex":5,"createdIndex":5}',
        )

    def test_file(self) -> None:
        """It is made anew: its createdIndex is new."""
        answer = (
            f'{{"action":"set","node":{{"key":"/f","value":"2","modifiedIndex":5,"createdIndex":5}},{FILE}}}'
        )
        self.assert_done(answer, "PUT", "/f", "value=2")

    def test_dir(self) -> None:
        self.assert_refused(102, "/d", "PUT", "/d", "value=2")

    def test_dir_on_missing(self) -> None:
        answer = '{"action":"set","node":{"key":"/x","dir":true,"modifiedIndex":5,"createdIndex":5}}'
        self.assert_done(answer, "PUT", "/x", "dir=true&value=dropped", created=True)

    def test_dir_on_file(self) -> None:
        answer = (
            f'{{"action":"set","node":{{"key":"/f","dir":true,"modifiedIndex":5,"createdIndex":5}},{FILE}}}'
        )
        self.assert_done(answer, "PUT", "/f", "dir=true")

    def test_dir_on_dir(self) -> None:
        self.assert_refused(102, "/e", "PUT", "/e", "dir=true")

    def test_below_file(self) -> None:
        self.assert_refused(104, "/f", "PUT", "/f/x/y", "value=2")

    def test_text(self) -> None:
        answer = (
            '{"action":"set","node":{"key":"/\\u003cä\\ufffd","value":"\\u0026\\ufffd\\n\\"\\u2028",'
            '"modifiedIndex":5,"createdIndex":5}}'
        )
        self.assert_done(answer, "PUT", "/<ä\udcff", "value=%26%FE%0A%22%E2%80%A8", created=True)


class CreateTests(StoreCase):
    def test_missing(self) -> None:
        answer = '{"action":"create","node":{"key":"/x","value":"2","modifiedIndex":5,"createdIndex":5}}'
        self.assert_done(answer, "PUT", "/x", "prevExist=false&value=2", created=True)

    def test_missing_dir(self) -> None:
        answer = '{"action":"create","node":{"key":"/x","dir":true,"modifiedIndex":5,"createdIndex":5}}'
        self.assert_done(answer, "PUT", "/x", "prevExist=false&dir=true", created=True)

    def test_file(self) -> None:
        self.assert_refused(105, "/f", "PUT", "/f", "prevExist=false&value=2")
        self.assert_refused(105, "/f", "PUT", "/f", "prevExist=false&dir=true")

    def test_dir(self) -> None:
        self.assert_refused(105, "/d", "PUT", "/d", "prevExist=false&value=2")
        self.assert_refused(105, "/d", "PUT", "/d", "prevExist=false&dir=true")

    def test_below_file(self) -> None:
        self.assert_refused(104, "/f", "PUT", "/f/x", "prevExist=false")


class InOrderTests(StoreCase):
    def test_missing(self) -> None:
        """The name is the index of the event, in 20 digits."""
        answer = (
            '{"action":"create","node":{"key":"/x/00000000000000000005","value":"2",'
            '"modifiedIndex":5,"createdIndex":5}}'
        )
        self.assert_done(answer, "POST", "/x", "value=2", created=True)

    def test_dir(self) -> None:
        answer = (
            '{"action":"create","node":{"key":"/d/00000000000000000005","dir":true,'
            '"expiration":"2023-11-14T22:13:29Z","ttl":9,"modifiedIndex":5,"createdIndex":5}}'
        )
        self.assert_done(answer, "POST", "/d", "dir=true&ttl=9", created=True)

    def test_root(self) -> None:
        answer = (
            '{"action":"create","node":{"key":"/00000000000000000005","value":"",'
            '"modifiedIndex":5,"createdIndex":5}}'
        )
        self.assert_done(answer, "POST", "/", created=True)

    def test_file(self) -> None:
        self.assert_refused(104, "/f", "POST", "/f", "value=2")
        self.assert_refused(104, "/f", "POST", "/f/x", "value=2")

    def test_gaps(self) -> None:
        """Other writes take indices too."""
        self.ask("POST", "/q")
        self.ask("PUT", "/f", "value=2")
        self.ask("POST", "/q")
        queue = self.tree.get("/q")
        assert isinstance(queue, Dir)
        self.assertEqual(sorted(node.key[-3:] for node in queue.nodes()), ["005", "007"])

    def test_name_taken(self) -> None:
        self.ask("PUT", "/q/00000000000000000006")
        self.assert_refused(105, "/q/00000000000000000006", "POST", "/q")


class UpdateTests(StoreCase):
    def test_missing(self) -> None:
        self.assert_refused(100, "/x", "PUT", "/x", "prevExist=true&value=2")
        self.assert_refused(100, "/d/x", "PUT", "/d/x/y", "prevExist=true&value=2")

    def test_file(self) -> None:
        answer = (
            '{"action":"update","node":{"key":"/f","value":"2","modifiedIndex":5,"createdIndex":2},'
            + FILE
            + "}"
        )
        self.assert_done(answer, "PUT", "/f", "prevExist=true&value=2&dir=true")

    def test_file_without_value(self) -> None:
        answer = (
            '{"action":"update","node":{"key":"/f","value":"","modifiedIndex":5,"createdIndex":2},'
            + FILE
            + "}"
        )
        self.assert_done(answer, "PUT", "/f", "prevExist=true")

    def test_dir(self) -> None:
        """It shows a new modifiedIndex but keeps its own, and its children."""
        answer = (
            f'{{"action":"update","node":{{"key":"/d","dir":true,{IN_9_S},"modifiedIndex":5,"createdIndex":3}},'
            '"prevNode":{"key":"/d","dir":true,"modifiedIndex":3,"createdIndex":3}}'
        )
        self.assert_done(answer, "PUT", "/d", "prevExist=true&ttl=9")
        self.assertEqual(
            self.ask("GET", "/d"),
            f'{{"key":"/d","dir":true,{IN_9_S},"nodes":['
            '{"key":"/d/k","value":"1","modifiedIndex":3,"createdIndex":3}'
            '],"modifiedIndex":3,"createdIndex":3}',
        )
        answer = (
            '{"action":"update","node":{"key":"/d","dir":true,"modifiedIndex":6,"createdIndex":3},'
            f'"prevNode":{{"key":"/d","dir":true,{IN_9_S},"modifiedIndex":3,"createdIndex":3}}}}'
        )
        self.assert_done(answer, "PUT", "/d", "prevExist=true")

    def test_dir_with_value(self) -> None:
        self.assert_refused(102, "/d", "PUT", "/d", "prevExist=true&value=2")

    def test_below_file(self) -> None:
        self.assert_refused(104, "/f", "PUT", "/f/x/y", "prevExist=true")


class CompareAndSwapTests(StoreCase):
    def test_missing(self) -> None:
        self.assert_refused(100, "/x", "PUT", "/x", "prevValue=1&value=2")
        self.assert_refused(100, "/x", "PUT", "/x/y", "prevIndex=2&value=2&prevExist=true")

    def test_file(self) -> None:
        answer = (
            '{"action":"compareAndSwap","node":{"key":"/f","value":"2","modifiedIndex":5,"createdIndex":2},'
            + FILE
            + "}"
        )
        conditions = "prevValue=1", "prevIndex=2", "prevValue=1&prevIndex=2", "prevExist=true&prevIndex=2"
        start = self.tree
        for condition in conditions:
            self.tree = start
            self.assert_done(answer, "PUT", "/f", f"value=2&{condition}")

    def test_other_file(self) -> None:
        """Only what differs is told."""
        self.assert_refused(101, "[0 != 1]", "PUT", "/f", "value=2&prevValue=0")
        self.assert_refused(101, "[77 != 2]", "PUT", "/f", "value=2&prevIndex=77")
        self.assert_refused(101, "[77 != 2]", "PUT", "/f", "value=2&prevValue=1&prevIndex=77")
        self.assert_refused(101, "[0 != 1]", "PUT", "/f", "value=2&prevValue=0&prevIndex=2")
        self.assert_refused(101, "[0 != 1] [77 != 2]", "PUT", "/f", "value=2&prevValue=0&prevIndex=77")

    def test_bytes(self) -> None:
        """Values are compared as they are, not as they are shown."""
        self.ask("PUT", "/b", "value=%FF")
        self.assert_refused(101, "[\udcfe != \udcff]", "PUT", "/b", "prevValue=%FE")

    def test_dir(self) -> None:
        self.assert_refused(102, "/d", "PUT", "/d", "prevValue=1")
        self.assert_refused(102, "/d", "PUT", "/d", "prevIndex=3&prevExist=true")

    def test_below_file(self) -> None:
        self.assert_refused(104, "/f", "PUT", "/f/x", "prevValue=1")


class DeleteTests(StoreCase):
    def test_missing(self) -> None:
        for arguments in "", "dir=true", "recursive=true":
            self.assert_refused(100, "/x", "DELETE", "/x", arguments)
            self.assert_refused(100, "/d/x", "DELETE", "/d/x/y", arguments)

    def test_file(self) -> None:
        answer = f'{{"action":"delete","node":{{"key":"/f","modifiedIndex":5,"createdIndex":2}},{FILE}}}'
        start = self.tree
        for arguments in "", "dir=true", "recursive=true", "prevIndex=0":
            self.tree = start
            self.assert_done(answer, "DELETE", "/f", arguments)
            self.assert_refused(100, "/f", "GET", "/f")

    def test_dir(self) -> None:
        self.assert_refused(102, "/d", "DELETE", "/d")
        self.assert_refused(102, "/e", "DELETE", "/e")
        self.assert_refused(108, "/d", "DELETE", "/d", "dir=true")

    def test_empty_dir(self) -> None:
        answer = (
            '{"action":"delete","node":{"key":"/e","dir":true,"modifiedIndex":5,"createdIndex":4},'
            '"prevNode":{"key":"/e","dir":true,"modifiedIndex":4,"createdIndex":4}}'
        )
        self.assert_done(answer, "DELETE", "/e", "dir=true")

    def test_hidden_children_count(self) -> None:
        self.ask("PUT", "/e/_h")
        self.assertEqual(self.ask("GET", "/e"), '{"key":"/e","dir":true,"modifiedIndex":4,"createdIndex":4}')
        self.assert_refused(108, "/e", "DELETE", "/e", "dir=true")

    def test_recursive(self) -> None:
        """One event for all, which does not list what was inside."""
        answer = (
            '{"action":"delete","node":{"key":"/d","dir":true,"modifiedIndex":5,"createdIndex":3},'
            '"prevNode":{"key":"/d","dir":true,"modifiedIndex":3,"createdIndex":3}}'
        )
        self.assert_done(answer, "DELETE", "/d", "recursive=true")
        self.assert_refused(100, "/d", "GET", "/d/k")

    def test_last_child(self) -> None:
        """A directory stays when it has become empty."""
        self.ask("DELETE", "/d/k")
        self.assertEqual(self.ask("GET", "/d"), '{"key":"/d","dir":true,"modifiedIndex":3,"createdIndex":3}')

    def test_below_file(self) -> None:
        self.assert_refused(104, "/f", "DELETE", "/f/x/y", "recursive=true")


class CompareAndDeleteTests(StoreCase):
    def test_missing(self) -> None:
        self.assert_refused(100, "/x", "DELETE", "/x", "prevValue=1")

    def test_file(self) -> None:
        answer = (
            f'{{"action":"compareAndDelete","node":{{"key":"/f","modifiedIndex":5,"createdIndex":2}},{FILE}}}'
        )
        start = self.tree
        for arguments in "prevValue=1", "prevIndex=2", "prevValue=1&prevIndex=2":
            self.tree = start
            self.assert_done(answer, "DELETE", "/f", arguments)

    def test_other_file(self) -> None:
        self.assert_refused(101, "[0 != 1]", "DELETE", "/f", "prevValue=0")
        self.assert_refused(101, "[0 != 1] [77 != 2]", "DELETE", "/f", "prevValue=0&prevIndex=77")

    def test_dir(self) -> None:
        for arguments in "prevValue=1", "prevIndex=3&recursive=true", "prevIndex=3&dir=true":
            self.assert_refused(102, "/d", "DELETE", "/d", arguments)

    def test_below_file(self) -> None:
        self.assert_refused(104, "/f", "DELETE", "/f/x", "prevValue=1")


class RootTests(StoreCase):
    def test_writes(self) -> None:
        for arguments in (
            "value=1",
            "dir=true",
            "prevExist=false",
            "prevExist=true&ttl=5",
            "prevValue=1",
            "prevIndex=1",
            "refresh=true&ttl=5",
        ):
            self.assert_refused(107, "/", "PUT", "/", arguments)
        for arguments in "", "dir=true", "recursive=true":
            self.assert_refused(107, "/", "DELETE", "/", arguments)

    def test_compare_and_delete(self) -> None:
        """This one alone is told otherwise, and without a cause."""
        self.assert_refused(102, "", "DELETE", "/", "prevIndex=1")
        self.assert_refused(102, "", "DELETE", "/", "prevValue=1&recursive=true")

    def test_read(self) -> None:
        self.assertEqual(
            self.ask("GET", "/"),
            '{"dir":true,"nodes":['
            '{"key":"/d","dir":true,"modifiedIndex":3,"createdIndex":3},'
            '{"key":"/e","dir":true,"modifiedIndex":4,"createdIndex":4},'
            '{"key":"/f","value":"1","modifiedIndex":2,"createdIndex":2}]}',
        )

    def test_read_empty(self) -> None:
        self.tree = EMPTY
        self.assertEqual(self.ask("GET", "/", "recursive=true"), '{"dir":true}')
