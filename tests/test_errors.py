"""txetcd.errors: the table, and the text of a refusal."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txetcd import errors
from txetcd.errors import EtcdError

TABLE = [
    (100, 404, "Key not found"),
    (101, 412, "Compare failed"),
    (102, 403, "Not a file"),
    (104, 400, "Not a directory"),
    (105, 412, "Key already exists"),
    (107, 400, "Root is read only"),
    (108, 403, "Directory not empty"),
    (110, 401, "The request requires user authentication"),
    (201, 400, "PrevValue is Required in POST form"),
    (202, 400, "The given TTL in POST form is not a number"),
    (203, 400, "The given index in POST form is not a number"),
    (209, 400, "Invalid field"),
    (210, 400, "Invalid POST form"),
    (211, 400, "Value provided on refresh"),
    (212, 400, "A TTL must be provided on refresh"),
    (300, 500, "Raft Internal Error"),
    (400, 400, "watcher is cleared due to etcd recovery"),
    (401, 400, "The event in requested index is outdated and cleared"),
]


class EtcdErrorTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each code has etcd's message and status, and there is no other."""
        for code, status, message in TABLE:
            error = EtcdError(code)
            self.assertEqual((error.status, error.message), (status, message))
        self.assertEqual(set(errors.MESSAGES), {code for code, _, _ in TABLE})
        constants = {value for name, value in vars(errors).items() if name.isupper() and type(value) is int}
        self.assertEqual(constants, set(errors.MESSAGES))

    def test_json(self) -> None:
        self.assertEqual(
            EtcdError(100, "/x", 7).to_json(),
            '{"errorCode":100,"message":"Key not found","cause":"/x","index":7}',
        )

    def test_json_without_cause(self) -> None:
        self.assertEqual(
            EtcdError(102, index=34).to_json(), '{"errorCode":102,"message":"Not a file","index":34}'
        )

    def test_json_escapes(self) -> None:
        """A cause may hold anything a value may."""
        self.assertEqual(
            EtcdError(101, '["<" != \udcff\n]').to_json(),
            '{"errorCode":101,"message":"Compare failed","cause":"[\\"\\u003c\\" != \\ufffd\\n]","index":0}',
        )

    def test_equality(self) -> None:
        """Two are equal when a client could not tell them apart."""
        error = EtcdError(100, "/x", 7)
        self.assertEqual(error, EtcdError(100, index=7, cause="/x"))
        self.assertEqual(hash(error), hash(EtcdError(100, "/x", 7)))
        for other in EtcdError(101, "/x", 7), EtcdError(100, "/y", 7), EtcdError(100, "/x", 8), ValueError():
            self.assertNotEqual(error, other)

    def test_str(self) -> None:
        self.assertEqual(str(EtcdError(100, "/x", 7)), "100: Key not found (/x) [7]")
        self.assertEqual(str(EtcdError(102)), "102: Not a file [0]")
