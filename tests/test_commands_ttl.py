"""txetcd.commands: ttl, refresh and expiry; and commands as text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.test_commands import IN_9_S, NOW, StoreCase
from txetcd.commands import (
    Command,
    CompareAndDelete,
    CompareAndSwap,
    Create,
    Delete,
    Expire,
    Set,
    Update,
    decode,
    encode,
    evaluate,
    refused,
)
from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.tree import EMPTY, SECOND


class TTLTests(StoreCase):
    def test_set(self) -> None:
        answer = (
            f'{{"action":"set","node":{{"key":"/x","value":"",{IN_9_S},"modifiedIndex":5,"createdIndex":5}}}}'
        )
        self.assert_done(answer, "PUT", "/x", "ttl=9", created=True)

    def test_dir(self) -> None:
        answer = (
            f'{{"action":"set","node":{{"key":"/x","dir":true,{IN_9_S},"modifiedIndex":5,"createdIndex":5}}}}'
        )
        self.assert_done(answer, "PUT", "/x", "dir=true&ttl=9", created=True)

    def test_zero(self) -> None:
        """It runs out at once, and shows no ttl until it is taken away."""
        answer = (
            '{"action":"set","node":{"key":"/x","value":"","expiration":"2023-11-14T22:13:20Z",'
            '"modifiedIndex":5,"createdIndex":5}}'
        )
        self.assert_done(answer, "PUT", "/x", "ttl=0", created=True)
        self.time += 5 * SECOND
        self.assertEqual(
            self.ask("GET", "/x"),
            '{"key":"/x","value":"","expiration":"2023-11-14T22:13:20Z","modifiedIndex":5,"createdIndex":5}',
        )

    def test_rounded_up(self) -> None:
        self.ask("PUT", "/x", "ttl=9")
        for passed, ttl in (0, 9), (1, 9), (SECOND - 1, 9), (SECOND, 8), (9 * SECOND - 1, 1):
            self.time = NOW + passed
            self.assertIn(f'"expiration":"2023-11-14T22:13:29Z","ttl":{ttl},', self.ask("GET", "/x"))
        for passed in 9 * SECOND, 9 * SECOND + 1, 60 * SECOND:
            self.time = NOW + passed
            self.assertIn('"expiration":"2023-11-14T22:13:29Z","modifiedIndex":5', self.ask("GET", "/x"))

    def test_dropped(self) -> None:
        """Any write without a ttl makes a key last for ever."""
        for arguments in "", "value=1", "prevExist=true", "prevValue=1", "dir=true":
            self.tree = EMPTY
            self.ask("PUT", "/x", "value=1&ttl=9")
            self.assertIn(f'"prevNode":{{"key":"/x","value":"1",{IN_9_S},', self.ask("PUT", "/x", arguments))
            self.assertNotIn("expiration", self.ask("GET", "/x"))

    def test_kept_by_refusals(self) -> None:
        self.ask("PUT", "/x", "value=1&ttl=9")
        self.ask("PUT", "/x", "prevExist=false")
        self.ask("PUT", "/x", "prevValue=2")
        self.assertIn(IN_9_S, self.ask("GET", "/x"))


class RefreshTests(StoreCase):
    def refresh(self, key: str, arguments: str = "") -> str:
        return self.ask("PUT", key, "refresh=true&ttl=9&" + arguments)

    def test_file(self) -> None:
        """The value is kept; set makes the file anew, as ever."""
        for arguments, action, created in (
            ("", "set", 5),
            ("prevExist=true", "update", 2),
            ("prevValue=1", "compareAndSwap", 2),
            ("prevIndex=2", "compareAndSwap", 2),
        ):
            self.setUp()
            self.assertEqual(
                self.refresh("/f", arguments),
                f'{{"action":"{action}","node":{{"key":"/f","value":"1",{IN_9_S},'
                f'"modifiedIndex":5,"createdIndex":{created}}},'
                '"prevNode":{"key":"/f","value":"1","modifiedIndex":2,"createdIndex":2}}',
            )
            self.assertFalse(self.created)

    def test_event(self) -> None:
        """Events say that they are refreshes; a create is none."""
        for command, refresh in (
            (Set("/f", "", False, NOW, True, NOW), True),
            (Set("/f", "", False, NOW, False, NOW), False),
            (Update("/f", "", NOW, True, NOW), True),
            (Update("/d", "", NOW, True, NOW), True),
            (CompareAndSwap("/f", "", "1", 0, NOW, True, NOW), True),
            (CompareAndSwap("/f", "", "1", 0, NOW, False, NOW), False),
        ):
            _, (event,) = evaluate(self.tree, command)
            self.assertEqual(event.refresh, refresh)

    def test_missing(self) -> None:
        for arguments in "", "prevExist=true", "prevValue=1":
            self.assert_refused(100, "/x", "PUT", "/x/y", "refresh=true&ttl=9&" + arguments)

    def test_create(self) -> None:
        node = f'{{"key":"/x","value":"",{IN_9_S},"modifiedIndex":5,"createdIndex":5}}'
        answer = f'{{"action":"create","node":{node}}}'
        self.assert_done(answer, "PUT", "/x", "refresh=true&ttl=9&prevExist=false", created=True)

    def test_file_to_dir(self) -> None:
        self.assertIn(f'"node":{{"key":"/f","dir":true,{IN_9_S},', self.refresh("/f", "dir=true"))

    def test_dir(self) -> None:
        self.assert_refused(102, "/d", "PUT", "/d", "refresh=true&ttl=9")
        self.assertIn(
            f'"action":"update","node":{{"key":"/d","dir":true,{IN_9_S},', self.refresh("/d", "prevExist=1")
        )

    def test_below_file(self) -> None:
        self.assert_refused(104, "/f", "PUT", "/f/x", "refresh=true&ttl=9")


class ExpireTests(StoreCase):
    def expire(self, *keys: str) -> list[Event]:
        """Let keys expire at `time`."""
        self.tree, events = evaluate(self.tree, Expire(keys, self.time))
        return events

    def test_file(self) -> None:
        self.ask("PUT", "/x", "value=1&ttl=9")
        self.time += 9 * SECOND
        (event,) = self.expire("/x")
        self.assertEqual(
            event.to_json(),
            '{"action":"expire","node":{"key":"/x","modifiedIndex":6,"createdIndex":5},'
            '"prevNode":{"key":"/x","value":"1","expiration":"2023-11-14T22:13:29Z",'
            '"modifiedIndex":5,"createdIndex":5}}',
        )
        self.assert_refused(100, "/x", "GET", "/x")

    def test_dir(self) -> None:
        """All goes with one event; what was inside does not expire again."""
        self.ask("PUT", "/d", "prevExist=true&ttl=5")
        self.ask("PUT", "/d/t", "ttl=5")
        self.time += 7 * SECOND
        (event,) = self.expire("/d", "/d/t")
        self.assertEqual(
            event.to_json(),
            '{"action":"expire","node":{"key":"/d","dir":true,"modifiedIndex":7,"createdIndex":3},'
            '"prevNode":{"key":"/d","dir":true,"expiration":"2023-11-14T22:13:25Z",'
            '"modifiedIndex":3,"createdIndex":3}}',
        )

    def test_several(self) -> None:
        """Each takes an index, in the order given; the command counts once."""
        self.ask("PUT", "/x", "ttl=1")
        self.ask("PUT", "/d/y", "ttl=2")
        self.time += 2 * SECOND
        count = self.tree.raft_index
        self.assertEqual(
            [(event.key, event.index) for event in self.expire("/d/y", "/x")], [("/d/y", 7), ("/x", 8)]
        )
        self.assertEqual((self.tree.index, self.tree.raft_index), (8, count + 1))

    def test_nothing_to_do(self) -> None:
        """Keys without ttl, with more time, gone, or named twice take no index."""
        self.ask("PUT", "/x", "ttl=9")
        index, root, count = self.tree.index, self.tree.root, self.tree.raft_index
        self.time += 9 * SECOND - 1
        self.assertEqual(self.expire("/x", "/f", "/d", "/gone", "/f/below", "/"), [])
        self.assertEqual((self.tree.index, self.tree.raft_index), (index, count + 1))
        self.assertIs(self.tree.root, root)
        self.time += 1
        self.assertEqual(len(self.expire("/x", "/x")), 1)
        self.assertEqual(self.expire("/x"), [])
        self.assertEqual(self.expire(), [])

    def test_proposed_twice(self) -> None:
        """A key that was made again since keeps its new time."""
        self.ask("PUT", "/x", "ttl=1")
        self.time += SECOND
        late = Expire(("/x",), self.time)
        self.expire("/x")
        self.ask("PUT", "/x", "ttl=1")
        self.assertEqual(evaluate(self.tree, late)[1], [])

    def test_below_a_file(self) -> None:
        """Where its directory was there can be a file by then."""
        self.ask("PUT", "/e/x", "ttl=1")
        self.time += SECOND
        self.ask("DELETE", "/e", "recursive=true")
        self.ask("PUT", "/e", "value=1")
        self.assertEqual(self.expire("/e/x"), [])


class CountTests(StoreCase):
    def test_counts(self) -> None:
        """The index counts changes, the raft index commands."""
        self.assertEqual((self.tree.index, self.tree.raft_index), (4, 3))
        self.ask("PUT", "/f", "refresh=true&ttl=9")
        self.assertEqual((self.tree.index, self.tree.raft_index), (5, 4))

    def test_refused(self) -> None:
        after = refused(self.tree)
        self.assertEqual((after.index, after.raft_index), (4, 4))
        self.assertIs(after.root, self.tree.root)

    def test_new_store(self) -> None:
        self.assertEqual((EMPTY.index, EMPTY.raft_index), (1, 0))


class EncodingTests(SynchronousTestCase):
    COMMANDS: tuple[Command, ...] = (
        Set("/a", "v", False, None, False, NOW),
        Set("/a", "", True, NOW + 1, True, NOW),
        Create("/a", '\udcff"\n\0\u2028\U0001f600', True, NOW, True, NOW),
        Update("/ä\udc80", "", NOW, True, NOW),
        CompareAndSwap("/a", "v", "o", (1 << 64) - 1, 253_402_300_799 * SECOND, False, NOW),
        Delete("/a", True, False, NOW),
        CompareAndDelete("/a", "o", 7, NOW),
        Expire(("/a", "/b/c"), NOW),
        Expire((), NOW),
    )

    def test_round_trip(self) -> None:
        self.assertEqual(decode(encode(self.COMMANDS)), list(self.COMMANDS))
        for command in self.COMMANDS:
            (again,) = decode(encode([command]))
            self.assertEqual((again, type(again)), (command, type(command)))
        self.assertEqual(decode(encode([])), [])

    def test_text(self) -> None:
        """What is in journals; a change here needs a new version of their format."""
        self.assertEqual(
            encode(self.COMMANDS),
            '[["set","/a","v",false,null,false,1700000000000000000],'
            '["set","/a","",true,1700000000000000001,true,1700000000000000000],'
            '["create","/a","\\udcff\\"\\n\\u0000\\u2028\\ud83d\\ude00",true,1700000000000000000,true,'
            "1700000000000000000],"
            '["update","/\\u00e4\\udc80","",1700000000000000000,true,1700000000000000000],'
            '["compareAndSwap","/a","v","o",18446744073709551615,253402300799000000000,false,'
            "1700000000000000000],"
            '["delete","/a",true,false,1700000000000000000],'
            '["compareAndDelete","/a","o",7,1700000000000000000],'
            '["expire",["/a","/b/c"],1700000000000000000],'
            '["expire",[],1700000000000000000]]',
        )

    def test_other_text(self) -> None:
        for text in (
            "",
            "[",
            "{",
            "7",
            "[7]",
            "[[]]",
            '[["nope",1]]',
            '[["set","/a"]]',
            '[["expire"]]',
            "[[[]]]",
        ):
            self.assertRaises(ValueError, decode, text)


class DeterminismTests(StoreCase):
    def test_same_again(self) -> None:
        """The same command on the same tree does the same, as often as you like."""
        for command in EncodingTests.COMMANDS:
            outcomes: list[object] = []
            for _ in range(2):
                try:
                    tree, events = evaluate(self.tree, command)
                    outcomes.append((tree, events, [event.to_json() for event in events]))
                except EtcdError as error:
                    outcomes.append(error)
            self.assertEqual(outcomes[0], outcomes[1])
