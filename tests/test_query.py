"""txetcd.query: what a request asks for, and which of its faults is reported."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txetcd.commands import Command, CompareAndDelete, CompareAndSwap, Create, Delete, Set, Update
from txetcd.errors import EtcdError
from txetcd.query import Query, Read, Watch, Write, parse, parse_form
from txetcd.tree import SECOND

NOW = 1_700_000_000 * SECOND
UINT_MAX = (1 << 64) - 1

TRUE = ["1", "t", "T", "TRUE", "true", "True"]
FALSE = ["0", "f", "F", "FALSE", "false", "False"]
NO_BOOL = ["", "tRUE", "yes", "%20true", "true%20", "2", "on", "FaLSE", "%FF"]
NO_UINT = [
    "",
    "+5",
    "-1",
    "0x10",
    "1_000",
    "%205",
    "5%20",
    "1.5",
    "1e3",
    "NaN",
    str(1 << 64),
    "9" * 1_000_000,
]
# Digits to Python, not to Go.
NO_UINT += ["%C2%B2", "%D9%A3"]


def ask(method: str, arguments: str = "", *, key: str = "/k") -> Query:
    """Read a request with these arguments in its query."""
    return parse(method, key, parse_form(arguments.encode(), b""), NOW)


class QueryCase(SynchronousTestCase):
    def assert_refused(self, code: int, cause: str, method: str, arguments: str) -> None:
        error = self.assertRaises(EtcdError, ask, method, arguments)
        self.assertEqual(
            (error.code, error.cause, error.index), (code, cause, 0), f"{method} {arguments[:80]}"
        )

    def assert_command(self, command: Command, method: str, arguments: str = "") -> None:
        self.assertEqual(ask(method, arguments), Write(command, False), f"{method} {arguments}")


class ReadTests(QueryCase):
    def test_plain(self) -> None:
        for method in "GET", "HEAD":
            self.assertEqual(ask(method), Read("/k", False, False))

    def test_recursive(self) -> None:
        self.assertEqual(ask("GET", "recursive=true&sorted=true"), Read("/k", True, False))

    def test_quorum(self) -> None:
        self.assertEqual(ask("GET", "quorum=true"), Read("/k", False, True))

    def test_without_wait(self) -> None:
        """Arguments of a watch do not make one."""
        self.assertEqual(ask("GET", "waitIndex=99&stream=true&wait=false"), Read("/k", False, False))

    def test_unknown_arguments(self) -> None:
        self.assertEqual(ask("GET", "consistent=yes&x=%20&Recursive=bad&value=x"), Read("/k", False, False))


class WatchTests(QueryCase):
    def test_plain(self) -> None:
        self.assertEqual(ask("GET", "wait=true"), Watch("/k", False, 0, False))

    def test_all(self) -> None:
        self.assertEqual(ask("GET", "wait=1&waitIndex=7&recursive=t&stream=True"), Watch("/k", True, 7, True))

    def test_index_zero(self) -> None:
        self.assertEqual(ask("GET", "wait=true&waitIndex=0"), Watch("/k", False, 0, False))

    def test_largest_index(self) -> None:
        self.assertEqual(ask("GET", f"wait=true&waitIndex={UINT_MAX}"), Watch("/k", False, UINT_MAX, False))

    def test_quorum_wins(self) -> None:
        """etcd answers at once."""
        self.assertEqual(ask("GET", "wait=true&quorum=true"), Read("/k", False, True))

    def test_other_methods(self) -> None:
        for method in "HEAD", "PUT", "POST", "DELETE":
            self.assert_refused(209, '"wait" can only be used with GET requests', method, "wait=true")
            self.assertNotIsInstance(ask(method, "wait=false"), Watch)


class WriteTests(QueryCase):
    def test_set(self) -> None:
        self.assert_command(Set("/k", "", False, None, False, NOW), "PUT")
        self.assert_command(Set("/k", "v", False, NOW + 9 * SECOND, False, NOW), "PUT", "value=v&ttl=9")
        self.assert_command(Set("/k", "v", True, None, False, NOW), "PUT", "dir=true&value=v")
        self.assert_command(
            Set("/k", "", False, NOW + 9 * SECOND, True, NOW), "PUT", "refresh=true&ttl=9&value="
        )

    def test_set_without_conditions(self) -> None:
        """A prevIndex of 0 compares nothing."""
        self.assert_command(Set("/k", "3", False, None, False, NOW), "PUT", "prevIndex=0&value=3")
        self.assert_command(Delete("/k", False, False, NOW), "DELETE", "prevIndex=0")

    def test_create(self) -> None:
        self.assert_command(Create("/k", "v", False, None, False, NOW), "PUT", "prevExist=false&value=v")
        self.assert_command(Create("/k", "", True, None, False, NOW), "PUT", "prevExist=0&dir=1")

    def test_create_overlooks_conditions(self) -> None:
        self.assert_command(
            Create("/k", "", False, None, False, NOW), "PUT", "prevExist=false&prevValue=foo&prevIndex=9"
        )

    def test_create_with_refresh(self) -> None:
        self.assert_command(
            Create("/k", "", False, NOW + 9 * SECOND, False, NOW), "PUT", "prevExist=false&refresh=true&ttl=9"
        )

    def test_update(self) -> None:
        self.assert_command(Update("/k", "", None, False, NOW), "PUT", "prevExist=true")
        self.assert_command(Update("/k", "2", None, False, NOW), "PUT", "prevExist=true&dir=true&value=2")
        self.assert_command(Update("/k", "2", None, False, NOW), "PUT", "prevExist=true&prevIndex=0&value=2")
        self.assert_command(
            Update("/k", "", NOW + SECOND, True, NOW), "PUT", "prevExist=true&refresh=true&ttl=1"
        )

    def test_compare_and_swap(self) -> None:
        self.assert_command(CompareAndSwap("/k", "v", "o", 0, None, False, NOW), "PUT", "value=v&prevValue=o")
        self.assert_command(CompareAndSwap("/k", "v", "", 3, None, False, NOW), "PUT", "value=v&prevIndex=3")
        self.assert_command(
            CompareAndSwap("/k", "", "o", 3, NOW + SECOND, True, NOW),
            "PUT",
            "prevValue=o&prevIndex=3&ttl=1&refresh=true&prevExist=true&dir=true",
        )

    def test_post(self) -> None:
        self.assert_command(Create("/k", "v", False, None, True, NOW), "POST", "value=v")
        self.assert_command(
            Create("/k", "v", True, NOW + SECOND, True, NOW),
            "POST",
            "value=v&dir=true&ttl=1&prevExist=true&prevValue=x&prevIndex=3&recursive=true",
        )

    def test_delete(self) -> None:
        self.assert_command(Delete("/k", False, False, NOW), "DELETE")
        self.assert_command(Delete("/k", True, False, NOW), "DELETE", "dir=true&prevExist=true&value=x")
        self.assert_command(Delete("/k", False, True, NOW), "DELETE", "recursive=true&ttl=5")

    def test_compare_and_delete(self) -> None:
        self.assert_command(CompareAndDelete("/k", "o", 0, NOW), "DELETE", "prevValue=o&recursive=true")
        self.assert_command(CompareAndDelete("/k", "", 3, NOW), "DELETE", "prevIndex=3&dir=true")
        self.assert_command(CompareAndDelete("/k", "o", 3, NOW), "DELETE", "prevIndex=3&prevValue=o")

    def test_no_value_on_success(self) -> None:
        for method in "PUT", "POST", "DELETE":
            query = ask(method, "noValueOnSuccess=true")
            assert isinstance(query, Write)
            self.assertTrue(query.no_value)


class ArgumentTests(QueryCase):
    def test_bools(self) -> None:
        for text in TRUE:
            self.assertEqual(ask("GET", f"recursive={text}"), Read("/k", True, False))
        for text in FALSE:
            self.assertEqual(ask("GET", f"recursive={text}"), Read("/k", False, False))

    def test_no_bools(self) -> None:
        """They are looked at with every method, used or not."""
        names = ["recursive", "sorted", "wait", "dir", "quorum", "stream", "noValueOnSuccess"]
        for text in NO_BOOL:
            for name in names:
                for method in "GET", "HEAD", "PUT", "POST", "DELETE":
                    self.assert_refused(209, f'invalid value for "{name}"', method, f"{name}={text}")
            for name in "prevExist", "refresh":
                self.assert_refused(209, f"invalid value for {name}", "DELETE", f"{name}={text}")
        self.assert_refused(209, 'invalid value for "recursive"', "GET", "recursive")

    def test_indices(self) -> None:
        for text, number in ("007", 7), ("0" * 30 + "7", 7), (str(UINT_MAX), UINT_MAX), ("0" * 1_000_000, 0):
            self.assertEqual(ask("GET", f"wait=true&waitIndex={text}"), Watch("/k", False, number, False))
        self.assert_command(CompareAndDelete("/k", "", UINT_MAX, NOW), "DELETE", f"prevIndex={UINT_MAX}")

    def test_no_indices(self) -> None:
        for text in NO_UINT:
            for name in "prevIndex", "waitIndex":
                self.assert_refused(203, f'invalid value for "{name}"', "GET", f"{name}={text}")

    def test_ttl(self) -> None:
        for text, seconds in ("0", 0), ("00", 0), ("1", 1), ("0" * 30 + "60", 60):
            command = Set("/k", "", False, NOW + seconds * SECOND, False, NOW)
            self.assert_command(command, "PUT", f"ttl={text}")

    def test_empty_ttl(self) -> None:
        self.assert_command(Set("/k", "", False, None, False, NOW), "PUT", "ttl=")

    def test_no_ttl(self) -> None:
        for text in NO_UINT[1:]:
            self.assert_refused(202, 'invalid value for "ttl"', "PUT", f"ttl={text}")

    def test_ttl_limit(self) -> None:
        """The last moment that can be written down is the end of the year 9999."""
        seconds = 253_402_300_799 - NOW // SECOND
        command = Set("/k", "", False, 253_402_300_799 * SECOND, False, NOW)
        self.assert_command(command, "PUT", f"ttl={seconds}")
        for ttl in seconds + 1, UINT_MAX:
            self.assert_refused(202, 'invalid value for "ttl"', "PUT", f"ttl={ttl}")

    def test_empty_prev_value(self) -> None:
        for method in "GET", "PUT", "POST", "DELETE":
            self.assert_refused(201, '"prevValue" cannot be empty', method, "prevValue=")

    def test_refresh(self) -> None:
        for method in "GET", "PUT", "POST", "DELETE":
            self.assert_refused(211, "A value was provided on a refresh", method, "refresh=true&value=test")
            self.assert_refused(211, "A value was provided on a refresh", method, "refresh=1&value=a&ttl=5")
            self.assert_refused(212, "No TTL value set", method, "refresh=true")
            self.assert_refused(212, "No TTL value set", method, "refresh=true&ttl=&value=")
        self.assert_command(Set("/k", "x", False, None, False, NOW), "PUT", "refresh=false&value=x")

    def test_order(self) -> None:
        """Of several faults the first in etcd's order is reported, wherever it stands in the request."""
        faults = [
            ("prevIndex=x", 203, 'invalid value for "prevIndex"'),
            ("waitIndex=x", 203, 'invalid value for "waitIndex"'),
            ("recursive=x", 209, 'invalid value for "recursive"'),
            ("sorted=x", 209, 'invalid value for "sorted"'),
            ("wait=x", 209, 'invalid value for "wait"'),
            ("dir=x", 209, 'invalid value for "dir"'),
            ("quorum=x", 209, 'invalid value for "quorum"'),
            ("stream=x", 209, 'invalid value for "stream"'),
            ("wait=true", 209, '"wait" can only be used with GET requests'),
            ("prevValue=", 201, '"prevValue" cannot be empty'),
            ("noValueOnSuccess=x", 209, 'invalid value for "noValueOnSuccess"'),
            ("ttl=x", 202, 'invalid value for "ttl"'),
            ("prevExist=x", 209, "invalid value for prevExist"),
            ("refresh=x", 209, "invalid value for refresh"),
        ]
        for position, (first, code, cause) in enumerate(faults):
            rest = [
                fault
                for fault, _, _ in faults[position:]
                if fault.partition("=")[0] != first.partition("=")[0]
            ]
            self.assert_refused(code, cause, "PUT", "&".join([*reversed(rest), first]))
        self.assert_refused(211, "A value was provided on a refresh", "PUT", "refresh=true&value=1")
