"""txetcd.events: shapes, who is told, and the history."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rpds import HashTrieMap
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import Step, histories, play, properties
from txetcd.errors import EtcdError
from txetcd.events import Event, History, concerns, is_below, is_hidden
from txetcd.tree import Dir, File

UINT_MAX = (1 << 64) - 1


def a_set(index: int, key: str = "/a") -> Event:
    return Event("set", index, 0, File(key, "v", index, index), None)


def removal(key: str, directory: bool, action: str = "delete") -> Event:
    prev = Dir(key, HashTrieMap(), 2, 2) if directory else File(key, "v", 2, 2)
    return Event(action, 9, 0, None, prev)


class EventTests(SynchronousTestCase):
    def test_new_node(self) -> None:
        event = a_set(5)
        self.assertEqual(
            event.to_json(),
            '{"action":"set","node":{"key":"/a","value":"v","modifiedIndex":5,"createdIndex":5}}',
        )
        self.assertEqual((event.key, event.removes_dir), ("/a", False))

    def test_removal(self) -> None:
        for action in "delete", "compareAndDelete", "expire":
            event = removal("/a", False, action)
            self.assertEqual(
                event.to_json(),
                f'{{"action":"{action}","node":{{"key":"/a","modifiedIndex":9,"createdIndex":2}},'
                '"prevNode":{"key":"/a","value":"v","modifiedIndex":2,"createdIndex":2}}',
            )
            self.assertEqual((event.key, event.removes_dir), ("/a", False))

    def test_removal_of_directory(self) -> None:
        for action in "delete", "expire":
            event = removal("/a", True, action)
            self.assertEqual(
                event.to_json(),
                f'{{"action":"{action}","node":{{"key":"/a","dir":true,"modifiedIndex":9,"createdIndex":2}},'
                '"prevNode":{"key":"/a","dir":true,"modifiedIndex":2,"createdIndex":2}}',
            )
            self.assertTrue(event.removes_dir)

    def test_refresh_is_not_shown(self) -> None:
        event = a_set(5)
        event.refresh = True
        self.assertEqual(event.to_json(), a_set(5).to_json())

    def test_rendered_once(self) -> None:
        event = a_set(5)
        self.assertIs(event.to_json(), event.to_json())
        self.assertEqual(event, a_set(5))

    def test_created(self) -> None:
        """The API answers 201 to a create, and to a set of what was not there."""
        node, prev = File("/a", "v", 5, 5), File("/a", "o", 2, 2)
        for action, before, created in (
            ("create", None, True),
            ("set", None, True),
            ("set", prev, False),
            ("update", prev, False),
            ("compareAndSwap", prev, False),
        ):
            self.assertEqual(Event(action, 5, 0, node, before).created, created)
        self.assertFalse(removal("/a", False).created)

    def test_encoding(self) -> None:
        event = Event(
            "update", 9, 7, File("/a\udcff", "\udcfe", 2, 9, 1 << 70), File("/a\udcff", "", 2, 3), True
        )
        text = event.encode()
        self.assertEqual(
            text,
            '["update",9,7,["/a\\udcff","\\udcfe",2,9,1180591620717411303424],["/a\\udcff","",2,3,null],true]',
        )
        self.assertEqual(Event.decode(text), event)
        for other in removal("/d", True), removal("/f", False), a_set(5):
            self.assertEqual(Event.decode(other.encode()), other)


class KeyTests(SynchronousTestCase):
    def test_is_below(self) -> None:
        for key, directory, below in (
            ("/a", "/", True),
            ("/a/b", "/", True),
            ("/", "/", False),
            ("/a/b", "/a", True),
            ("/a/b/c", "/a", True),
            ("/a", "/a", False),
            ("/ab", "/a", False),
            ("/a", "/a/b", False),
            ("/", "/a", False),
        ):
            self.assertEqual(is_below(key, directory), below, (key, directory))

    def test_is_hidden(self) -> None:
        for key, directory, hidden in (
            ("/_a", "/", True),
            ("/a/_b", "/", True),
            ("/a/b_", "/", False),
            ("/a_/b", "/", False),
            ("/_d/x", "/_d", False),
            ("/_d/_x", "/_d", True),
            ("/d/_e/x", "/d", True),
            ("/d/_e/x", "/d/_e", False),
        ):
            self.assertEqual(is_hidden(key, directory), hidden, (key, directory))


class ConcernsTests(SynchronousTestCase):
    def assert_told(self, event: Event, told: dict[tuple[str, bool], bool]) -> None:
        for (key, recursive), expected in told.items():
            self.assertEqual(concerns(event, key, recursive), expected, (event.key, key, recursive))

    def test_file(self) -> None:
        """Whatever happens to it, its own watches and recursive ones above are told."""
        told = {
            ("/d/k", False): True,
            ("/d/k", True): True,
            ("/d", False): False,
            ("/d", True): True,
            ("/", False): False,
            ("/", True): True,
            ("/d/k/x", True): False,
            ("/d/k2", True): False,
            ("/e", True): False,
        }
        for event in a_set(5, "/d/k"), removal("/d/k", False), removal("/d/k", False, "expire"):
            self.assert_told(event, told)

    def test_directory_gone(self) -> None:
        """Watches on what was in it are told too, hidden or not; no sibling whose name begins alike is."""
        told = {
            ("/w", False): True,
            ("/w/a/b", False): True,
            ("/w/_h", False): True,
            ("/w/a", True): True,
            ("/", True): True,
            ("/", False): False,
            ("/wother", False): False,
            ("/wother", True): False,
            ("/x", True): False,
        }
        for action in "delete", "expire":
            self.assert_told(removal("/w", True, action), told)

    def test_directory_made(self) -> None:
        event = Event("set", 5, 0, Dir("/w", HashTrieMap(), 5, 5), None)
        self.assert_told(event, {("/w", False): True, ("/w/a", True): False, ("/", True): True})

    def test_hidden(self) -> None:
        """Hidden is what begins with an underscore below the watch."""
        told = {
            ("/", True): False,
            ("/d", True): False,
            ("/d/_h", True): True,
            ("/d/_h", False): True,
            ("/d/_h/x", True): True,
            ("/d/_h/x", False): True,
        }
        self.assert_told(a_set(5, "/d/_h/x"), told | {("/d/_h", False): False})

    def test_refresh(self) -> None:
        event = a_set(5)
        event.refresh = True
        self.assert_told(event, {("/a", False): False, ("/a", True): False, ("/", True): False})


class HistoryTests(SynchronousTestCase):
    def history(self, size: int, last: int, first: int = 2) -> History:
        history = History(size)
        for index in range(first, last + 1):
            history.add(a_set(index))
        return history

    def since(self, history: History, index: int, store_index: int) -> list[int]:
        return [event.index for event in history.since(index, store_index)]

    def assert_cleared(self, history: History, index: int, store_index: int, pair: str) -> None:
        error = EtcdError(401, f"the requested history has been cleared [{pair}]", store_index)
        self.assertEqual(self.assertRaises(EtcdError, history.since, index, store_index), error)
        self.assertEqual(self.assertRaises(EtcdError, history.find, "/a", True, index, store_index), error)

    def test_young_store(self) -> None:
        """Nothing has been lost yet, so any index will do."""
        history = self.history(3, 4)
        for index in 1, 2:
            self.assertEqual(self.since(history, index, 4), [2, 3, 4])
        self.assertEqual(self.since(history, 4, 4), [4])
        self.assertEqual(self.since(history, 5, 4), [])

    def test_cleared(self) -> None:
        history = self.history(1000, 2007)
        self.assertEqual(self.since(history, 1008, 2007), list(range(1008, 2008)))
        self.assert_cleared(history, 1007, 2007, "1008/1007")
        self.assert_cleared(history, 8, 2007, "1008/8")
        self.assertEqual(history.oldest(2007), 1008)

    def test_new_store(self) -> None:
        for index in 0, 1, 2, 9:
            self.assertEqual(self.since(History(10), index, 1), [])

    def test_lost(self) -> None:
        """A store that is not new but has no events can give none."""
        self.assertEqual(History(10).oldest(5), 6)
        self.assert_cleared(History(10), 5, 5, "6/5")
        self.assertEqual(self.since(History(10), 6, 5), [])

    def test_future(self) -> None:
        """Up to the largest index that can be asked for."""
        history = self.history(10, 4)
        for index in 5, 1 << 63, UINT_MAX:
            self.assertEqual(self.since(history, index, 4), [])
            self.assertIsNone(history.find("/", True, index, 4))

    def test_refreshes_take_a_place(self) -> None:
        history = self.history(3, 4)
        refresh = a_set(5)
        refresh.refresh = True
        history.add(refresh)
        self.assertEqual(history.oldest(5), 3)
        self.assertIsNone(history.find("/a", False, 5, 5))
        found = history.find("/a", False, 4, 5)
        assert found is not None
        self.assertEqual(found.index, 4)

    @properties
    @given(
        histories,
        st.integers(1, 30),
        st.sampled_from(["/", "/a", "/a/x", "/_s", "/ab", "/gone"]),
        st.booleans(),
    )
    def test_brute_force(self, steps: list[Step], size: int, key: str, recursive: bool) -> None:
        """What is found is the first in a list of all events that fits, unless that list was cut before."""
        moments = play(steps)
        events = [event for moment in moments for event in moment.events]
        store_index = moments[-1].after.index
        history = History(size)
        for event in events:
            history.add(event)
        kept = events[-size:]
        oldest = kept[0].index if kept else store_index + 1
        self.assertEqual(history.oldest(store_index), oldest)
        for index in range(store_index + 3):
            if len(events) > size and index < oldest:
                self.assert_cleared(history, index, store_index, f"{oldest}/{index}")
                continue
            wanted = [event for event in kept if event.index >= index]
            self.assertEqual(list(history.since(index, store_index)), wanted)
            fitting = [event for event in wanted if concerns(event, key, recursive)]
            self.assertIs(history.find(key, recursive, index, store_index), fitting[0] if fitting else None)
