"""What of the journal in an etcd v3 cluster needs no cluster: addresses, rows, requests, answers, files."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

from rpds import HashTrieMap
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import Authority, pem
from tests.journal_contract import BINARY, LATE, file, put, random_change, random_step
from tests.properties import START
from txetcd.commands import AnyCommand, Expire
from txetcd.engine import Engine, parse_engine
from txetcd.events import Event
from txetcd.journal import Batch, Checkpoint
from txetcd.journal.etcd.answers import Lines, refusal
from txetcd.journal.etcd.checkpoint import plan
from txetcd.journal.etcd.credentials import Credentials
from txetcd.journal.etcd.rows import (
    BATCH_BYTES,
    DamagedError,
    Layout,
    State,
    decode_batch,
    decode_changes,
    encode_batch,
    encode_change,
)
from txetcd.journal.etcd.wire import (
    OPERATIONS,
    REQUEST_BYTES,
    Change,
    CompactedError,
    EngineError,
    Put,
    RefusedError,
    Remove,
    Row,
    StaleTokenError,
    UnwillingError,
    answer,
    fits,
    groups,
    row,
)
from txetcd.tls.files import TLSError
from txetcd.tree import EMPTY, Dir, Node, to_entry

LAYOUT = Layout("/p")


class AddressTests(SynchronousTestCase):
    def test_whole(self) -> None:
        self.assertEqual(
            parse_engine("etcd://h1:2379,10.0.0.2:4001,[::1]:1/my/prefix/"),
            Engine(("http://h1:2379", "http://10.0.0.2:4001", "http://[::1]:1"), "/my/prefix"),
        )

    def test_defaults(self) -> None:
        for url in ("etcd+https://h1,[fe80::1]", "etcd+https://h1,[fe80::1]/"):
            self.assertEqual(
                parse_engine(url), Engine(("https://h1:2379", "https://[fe80::1]:2379"), "/txetcd")
            )

    def test_refused(self) -> None:
        for url, words in (
            ("http://h1:2379", "is not the URL of an engine"),
            ("h1:2379", "is not the URL of an engine"),
            ("etcd://", "is not the address"),
            ("etcd://h1,,h2", "is not the address"),
            ("etcd://h1:99999", "is not the address"),
            ("etcd://h1:", "is not the address"),
            ("etcd://h1:x", "is not the address"),
            ("etcd://h 1", "is not the address"),
            ("etcd://[::1", "is not the address"),
            ("etcd://user:secret@h1", "leave user and password out"),
            ("etcd://h1/p?q", "is no prefix"),
            ("etcd://h1/a//b", "is no prefix"),
            ("etcd://h1/a\nb", "is no prefix"),
        ):
            with self.assertRaisesRegex(ValueError, words) as caught:
                parse_engine(url)
            self.assertNotIn("\n", str(caught.exception))
            self.assertNotIn("secret", str(caught.exception))


class RowsTests(SynchronousTestCase):
    """What is written is what is read."""

    def as_row(self, put: Put) -> Row:
        return Row(put.key, put.value, 1, 1)

    def test_nodes(self) -> None:
        nodes: list[Node] = [
            file("/a", "1", 2),
            file("/" + BINARY, BINARY, 3, LATE),
            file("/empty", "", 4),
            Dir("/d/" + BINARY, HashTrieMap(), 5, 6, 7),
            Dir("/d", HashTrieMap(), 5, 6),
        ]
        for node in nodes:
            self.assertEqual(LAYOUT.to_entry(self.as_row(LAYOUT.put_node(node))), to_entry(node))

    def test_nodes_can_be_read(self) -> None:
        put = LAYOUT.put_node(file("/a/b", "\u4f60<", 2, 9))
        self.assertEqual(put.key, b"/p/node/a/b")
        self.assertEqual(put.value, '{"value":"\u4f60<","created":2,"modified":2,"expiration":9}'.encode())

    def test_batches(self) -> None:
        rng = random.Random(1)
        for number in range(200):
            commands: list[AnyCommand] = [
                random_change(rng) if rng.random() < 0.3 else random_step(rng).command(EMPTY, START)
                for _ in range(rng.randint(0, 5))
            ]
            commands.append(Expire(("/a", "/" + BINARY), START))
            batch = Batch("origin", number, tuple(commands))
            self.assertEqual(decode_batch(encode_batch(batch)), batch)

    def test_a_batch_takes_no_more_than_its_text(self) -> None:
        """Text that is not ASCII, or is no text, is not blown up."""
        for value in ("\u4f60" * 100_000, "\udcff" * 100_000):
            batch = Batch("me", 1, (put("/a", value),))
            self.assertLess(len(encode_batch(batch)), 3 * 100_000 + 200)

    def test_state(self) -> None:
        state = State(1, 2, 3, 4, 5, 6, "writer", "stage")
        self.assertEqual(State.decode(state.encode()), state)
        for value, words in (
            (b"", "is not txetcd's"),
            (b"[]", "is not txetcd's"),
            (b"{}", "is not txetcd's"),
            (b'{"format":2}', "format 2"),
            (b'{"format":1}', "is damaged"),
        ):
            self.assertRaisesRegex(DamagedError, words, State.decode, value)

    def test_changes(self) -> None:
        changes: list[Change] = [
            Put(b"k\n\xff", b"v\n\xff\0"),
            Put(b"k", b""),
            Remove(b"a\xff"),
            Remove(b"a", b"b\n"),
        ]
        for some in (changes, changes[::-1], changes[:1], []):
            self.assertEqual(list(decode_changes(b"".join(map(encode_change, some)))), some)

    def test_events(self) -> None:
        """However long, they are put together again from rows that fit."""
        long = "\u4f60" * 400_000
        events = [
            Event("set", 2, START, file("/" + BINARY, BINARY, 2), None),
            Event("set", 3, START, file("/a", long, 3), file("/a", long[::-1], 2)),
            Event("delete", 4, START, None, Dir("/d", HashTrieMap(), 1, 2)),
        ]
        puts = LAYOUT.put_events(events)
        self.assertGreater(len(puts), 1)
        self.assertLess(max(put.size for put in puts), REQUEST_BYTES)
        rows = [self.as_row(put) for put in puts]
        self.assertTrue(LAYOUT.to_events(rows, 2, 4) == events)
        self.assertTrue(LAYOUT.to_events(rows, 3, 4) == events[1:])
        for damaged in (rows[:-1], rows[1:], []):
            self.assertRaises(DamagedError, LAYOUT.to_events, damaged, 2, 4)
        self.assertEqual(LAYOUT.to_events([], 5, 4), [])

    def test_removed_events(self) -> None:
        """Those that end before the oldest that counts, and no others."""
        remove = LAYOUT.remove_events(1000)
        for last, gone in ((2, True), (999, True), (1000, False), (10_000, False)):
            (put,) = LAYOUT.put_events([Event("set", last, START, file("/a", "", last), None)])
            self.assertEqual(remove.covers(put.key), gone)

    def test_damaged_nodes(self) -> None:
        for value in (b"", b"{", b"[]", b"null", b'{"value":"x"}', b"\xff"):
            self.assertRaises(DamagedError, LAYOUT.to_entry, Row(b"/p/node/a", value, 1, 1))

    def test_whose_batch(self) -> None:
        key = LAYOUT.batch("0123456789abcdef", 7)
        self.assertTrue(LAYOUT.is_batch(key))
        self.assertEqual(LAYOUT.named(key), ("0123456789abcdef", 7))
        for other in (LAYOUT.head, LAYOUT.log[0] + b"x", key + b"/x", LAYOUT.checkpoint):
            self.assertFalse(LAYOUT.is_batch(other))

    def test_what_fits_in_a_batch_fits_in_a_checkpoint(self) -> None:
        """The longest value makes a row, and that one put aside, that are not too long for a request."""
        empty = len(encode_batch(Batch("me", 1, (put("/a"),))))
        change = LAYOUT.put_node(file("/a", "x" * (BATCH_BYTES - empty), 2, LATE))
        aside = Put(LAYOUT.stage("0" * 16), encode_change(change))
        self.assertLess(max(change.size, aside.size), REQUEST_BYTES)


class PlanTests(SynchronousTestCase):
    """What becomes of a checkpoint."""

    def test_events_that_are_there_are_left_out(self) -> None:
        """Another gateway has written them, maybe in other pieces."""
        events = [Event("set", index, START, file("/a", "", index), None) for index in (5, 6, 7)]
        state = State(1, 1, 1, 6, 6, 2, "")
        changes = list(plan(LAYOUT, state, Checkpoint(3, 7, 9, [], [], [], events, 2)))
        rows = [Row(put.key, put.value, 1, 1) for put in changes if isinstance(put, Put)]
        self.assertEqual(LAYOUT.to_events(rows, 7, 7), events[2:])
        self.assertRaises(DamagedError, LAYOUT.to_events, rows, 6, 7)

    def test_removals_first(self) -> None:
        checkpoint = Checkpoint(3, 7, 9, ["/d"], ["/f"], [file("/d/x", "", 7)], [], 8, EMPTY.auth)
        changes = list(plan(LAYOUT, State(1, 1, 1, 6, 6, 2, ""), checkpoint))
        self.assertEqual(changes[:2], [Remove(b"/p/node/d/", b"/p/node/d0"), Remove(b"/p/node/f")])
        kinds = [type(change) for change in changes]
        self.assertEqual(kinds, sorted(kinds, key=[Remove, Put].index))
        self.assertFalse(fits(changes))

    def test_fits(self) -> None:
        puts: list[Change] = [Put(b"%d" % number, b"") for number in range(OPERATIONS)]
        self.assertTrue(fits(puts))
        self.assertFalse(fits([*puts, Put(b"x", b"")]))
        self.assertFalse(fits([Put(b"x", b"x" * REQUEST_BYTES)]))
        self.assertFalse(fits([Remove(b"x"), Put(b"x", b"")]))
        self.assertTrue(fits([Remove(b"a", b"x"), Put(b"x", b"")]))

    def test_groups(self) -> None:
        changes: list[Change] = [Remove(b"%d" % number) for number in range(150)]
        changes += [Put(b"%d" % number, b"x" * (REQUEST_BYTES // 3)) for number in range(7)]
        changes.append(Put(b"long", b"x" * 2 * REQUEST_BYTES))
        parts = list(groups(changes))
        self.assertEqual([change for part in parts for change in part], changes)
        self.assertEqual([len(part) for part in parts], [100, 50, 2, 2, 2, 1, 1])
        self.assertEqual(list(groups([])), [])


class AnswersTests(SynchronousTestCase):
    def test_what_is_left_out(self) -> None:
        """A failed transaction, an empty value, a row that is not there."""
        found = answer({"header": {"revision": "7"}, "responses": [{"response_range": {}}]})
        self.assertEqual((found.succeeded, found.revision, found.gets), (False, 7, [None]))
        self.assertEqual(row({"key": "YQ=="}), Row(b"a", b"", 0, 0))

    def test_refusals(self) -> None:
        for text, code, kind in (
            ("etcdserver: mvcc: required revision has been compacted", 11, CompactedError),
            ("etcdserver: mvcc: database space exceeded", 8, UnwillingError),
            ("etcdserver: too many requests", 8, EngineError),
            ("etcdserver: request is too large", 3, RefusedError),
            ("etcdserver: invalid auth token", 16, StaleTokenError),
            ("etcdserver: revision of auth store is old", 3, StaleTokenError),
            ("etcdserver: permission denied", 7, UnwillingError),
            ("etcdserver: request timed out", 14, EngineError),
            ("etcdserver: leader changed", 14, EngineError),
        ):
            for message in (
                {"error": text, "message": text, "code": code},
                {"error": {"grpc_code": code, "http_code": 400, "message": text}},
            ):
                error = refusal(message)
                self.assertIs(type(error), kind)
                self.assertEqual(str(error), text)

    def test_lines(self) -> None:
        """However they are cut."""
        text = b"".join(b'{"result":{"n":%d}}\n' % number for number in range(5))
        for size in (1, 7, 30, len(text)):
            found: list[int] = []
            lines = Lines(lambda result, found=found: found.append(result["n"]))  # type: ignore[misc]
            for start in range(0, len(text), size):
                lines.received(text[start : start + size])
            lines.ended(200)
            self.assertEqual(found, list(range(5)))

    def test_line_with_an_error(self) -> None:
        lines = Lines(self.fail)
        error = json.dumps({"error": {"grpc_code": 14, "message": "no leader"}}).encode()
        self.assertRaisesRegex(EngineError, "no leader", lines.received, error + b"\n")
        lines = Lines(self.fail)
        lines.received(b'{"error":"x","message":"not whole","code":14}')
        self.assertRaisesRegex(EngineError, "not whole", lines.ended, 503)
        self.assertRaisesRegex(EngineError, "503", Lines(self.fail).ended, 503)

    def test_no_etcd(self) -> None:
        for text in (b"<html>\n", b"[]\n", b"\xff\n"):
            self.assertRaisesRegex(EngineError, "no etcd", Lines(self.fail).received, text)


class CredentialsTests(SynchronousTestCase):
    """Files that cannot work are refused when the journal is made, in one line."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        authority = Authority.create("CA")
        self.ca_file = self.directory / "ca.crt"
        self.ca_file.write_bytes(pem(authority.certificate))
        self.cert_file, self.key_file = authority.issue("gateway").write(self.directory, "gateway")

    def refused(self, words: str, **files: Path) -> None:
        engine = replace(Engine(("https://127.0.0.1:2379",)), **files)  # type: ignore[arg-type]
        with self.assertRaisesRegex(TLSError, words) as caught:
            Credentials(engine)
        self.assertNotIn("\n", str(caught.exception))

    def test_refused(self) -> None:
        nothing = self.directory / "nothing"
        self.refused("--peer-cert-file is of no use alone; give --peer-key-file", cert_file=self.cert_file)
        self.refused("--peer-key-file is of no use alone; give --peer-cert-file", key_file=self.key_file)
        self.refused("--peer-ca-file .*nothing cannot be read", ca_file=nothing)
        self.refused("--peer-ca-file .* holds no certificate", ca_file=self.key_file)
        self.refused("--peer-key-file .* no private key", cert_file=self.cert_file, key_file=self.ca_file)

    def test_new_files(self) -> None:
        """What is there now is used, unless it does not work; nothing is read again for nothing."""
        engine = Engine(("https://127.0.0.1:2379",), ca_file=self.ca_file)
        credentials = Credentials(engine)
        first = credentials.creatorForNetloc(b"127.0.0.1", 2379)
        self.assertIs(credentials.creatorForNetloc(b"127.0.0.1", 2379), first)
        good = self.ca_file.read_bytes()
        self.ca_file.write_bytes(good[:100])
        self.assertIs(credentials.creatorForNetloc(b"127.0.0.1", 2379), first)
        self.ca_file.write_bytes(good + good)
        self.assertIsNot(credentials.creatorForNetloc(b"127.0.0.1", 2379), first)
