"""Gateways of an engine tell each other of themselves: on an engine in memory, under a clock."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from tests.etcd_harness import ENGINE, EngineTestCase
from tests.fake_engine import Link
from tests.journal_contract import MiniStore, put
from txetcd.journal import Batch
from txetcd.journal.etcd import EtcdJournal
from txetcd.journal.etcd.members import BEAT, LEASE, decode, encode
from txetcd.journal.etcd.wire import Change, Put, Remove, txn
from txetcd.member import Member


class Listed:
    """A gateway that is listed."""

    def __init__(self, case: RegistryCase, name: str, url: str) -> None:
        self.link = Link(case.engine)
        self.member = Member(name, (url or f"http://{name}:4001",))
        self.journal = EtcdJournal(case.clock, ENGINE, member=self.member, client=self.link)
        store = MiniStore()
        self.loading: Deferred[None] = self.journal.load(store.deliver).addCallback(store.recover)

    @property
    def names(self) -> list[str]:
        """Those that it lists."""
        return [member.name for member in self.journal.members]


class RegistryCase(EngineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.logged: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event["log_namespace"].startswith("txetcd."):
                self.logged.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def listed(self, name: str, url: str = "") -> Listed:
        """A gateway that has just started."""
        gateway = Listed(self, name, url)
        self.addCleanup(self.closed, gateway)
        self.done(gateway.loading)
        return gateway

    def closed(self, gateway: Listed) -> None:
        gateway.link.heal()
        self.done(gateway.journal.close(), 1)

    def change(self, change: Change) -> None:
        """Do that to the rows, as an operator might."""
        self.engine.handle("/kv/txn", txn((), [change]))

    def rows(self) -> list[bytes]:
        return [self.engine.rows[key.encode()].value for key in self.engine.keys("/member/")]


class RegistryTests(RegistryCase):
    def test_they_appear(self) -> None:
        one = self.listed("one")
        self.assertEqual(one.names, ["one"])
        two = self.listed("two")
        self.assertEqual(two.names, ["one", "two"])
        self.pass_time(BEAT)
        self.assertEqual(one.names, ["one", "two"])
        self.assertIn(two.member, one.journal.members)

    def test_rows(self) -> None:
        """They are readable, and below the prefix."""
        self.listed("one")
        (row,) = self.rows()
        self.assertEqual(json.loads(row), {"name": "one", "clientURLs": ["http://one:4001"]})
        self.assertEqual(len(self.engine.keys("/p/member/")), 1)

    def test_a_stopped_one_is_gone_at_once(self) -> None:
        one, two = self.listed("one"), self.listed("two")
        self.done(one.journal.close())
        self.assertEqual([json.loads(row)["name"] for row in self.rows()], ["two"])
        self.pass_time(BEAT)
        self.assertEqual(two.names, ["two"])
        self.assertEqual(list(one.journal.members), [])

    def test_a_killed_one_is_gone_soon(self) -> None:
        one, two = self.listed("one"), self.listed("two")
        self.pass_time(LEASE * 3)
        self.assertEqual(two.names, ["one", "two"])
        one.link.cut(silent=True)
        self.pass_time(LEASE - BEAT - 0.1)
        self.assertEqual(two.names, ["one", "two"])
        self.pass_time(2 * BEAT + 0.2)
        self.assertEqual(two.names, ["two"])

    def test_one_that_was_cut_off_comes_back(self) -> None:
        """Meanwhile it knows those that it knew; then it is the newest."""
        one, two = self.listed("one"), self.listed("two")
        self.pass_time(BEAT)
        one.link.cut()
        self.pass_time(LEASE + 2 * BEAT)
        self.assertEqual((one.names, two.names), (["one", "two"], ["two"]))
        self.assertIn("connection refused", one.journal.trouble)
        one.link.heal()
        self.pass_time(2 * BEAT)
        self.assertEqual((one.names, two.names), (["two", "one"], ["two", "one"]))
        self.assertEqual(one.journal.trouble, "")

    def test_the_oldest_is_first(self) -> None:
        """Whatever it is called, and however often it says that it is there."""
        gateways = [self.listed(name) for name in ("b", "c", "a")]
        self.pass_time(3 * LEASE)
        self.assertEqual([gateway.names for gateway in gateways], [["b", "c", "a"]] * 3)

    def test_restart(self) -> None:
        """One that is killed and started again is listed once, where it was, and stays."""
        one, two = self.listed("one"), self.listed("two")
        one.link.cut(silent=True)
        again = self.listed("one")
        self.assertEqual(again.names, ["one", "two"])
        self.pass_time(2 * LEASE)
        self.assertEqual((again.names, two.names), (["one", "two"], ["one", "two"]))
        self.assertEqual(len(self.rows()), 2)

    def test_a_row_that_was_removed_comes_back(self) -> None:
        one = self.listed("one")
        (key,) = self.engine.keys("/member/")
        self.change(Remove(key.encode()))
        self.pass_time(BEAT)
        self.assertEqual(self.engine.keys("/member/"), [key])
        self.assertEqual(one.names, ["one"])

    def test_what_others_put_there(self) -> None:
        """It is nobody's member."""
        one = self.listed("one")
        for number, value in enumerate([b"", b"{}", b"[1]", b'{"name":"x","clientURLs":[]}', b"\xff"]):
            self.change(Put(b"/p/member/%d" % number, value))
        self.pass_time(BEAT)
        self.assertEqual(one.names, ["one"])

    def test_namesakes(self) -> None:
        """Both are listed, and both say what is wrong, once."""
        one, other = self.listed("one"), self.listed("one", "http://other:4001")
        self.pass_time(3 * BEAT)
        self.assertEqual(list(one.journal.members), [one.member, other.member])
        warnings = [line for line in self.logged if "--name" in line]
        self.assertEqual(len(warnings), 2)
        self.assertIn("listed as one, too, at http://other:4001", "".join(warnings))

    def test_no_space(self) -> None:
        """An engine that takes no row is said so once; the row is put when it does again."""
        self.done(self.gateway().write("/a"))
        self.engine.full = True
        one = self.listed("one")
        self.pass_time(5 * BEAT)
        self.assertEqual((one.names, self.rows()), (["one"], []))
        (line,) = [line for line in self.logged if "Clients are not told" in line]
        self.assertIn("database space exceeded", line)
        self.engine.full = False
        self.pass_time(BEAT)
        self.assertEqual(len(self.rows()), 1)

    def test_a_journal_by_itself(self) -> None:
        """Without a member it tells nobody of itself."""
        gateway = self.gateway()
        self.pass_time(BEAT)
        self.assertEqual((list(gateway.journal.members), self.rows()), ([], []))


class TroubleTests(RegistryCase):
    """Whether the engine can be used, as it is told."""

    def lines(self) -> list[str]:
        return [line for line in self.logged if line.startswith("The engine can")]

    def test_it_is_noticed_soon(self) -> None:
        """Also by a gateway that nobody writes to, whose connections merely fall silent."""
        for silent in (False, True):
            one = self.listed("one")
            one.link.cut(silent=silent)
            self.pass_time(6)
            self.assertNotEqual(one.journal.trouble, "", f"{silent=}")
            one.link.heal()
            self.pass_time(6)
            self.assertEqual(one.journal.trouble, "", f"{silent=}")

    def test_it_is_said_once(self) -> None:
        """One line when it begins, though everything fails again and again, and one when it is over."""
        one = self.listed("one")
        one.link.cut()
        self.failureResultOf(self.cut_off(one, 60))
        self.assertEqual(len(self.lines()), 2, self.lines())
        self.assertRegex(self.lines()[0], "cannot be used: connection (lost|refused)")
        one.link.heal()
        self.pass_time(30)
        self.assertEqual(self.lines()[2:], ["The engine can be used again"])

    def cut_off(self, gateway: Listed, seconds: float) -> Deferred[None]:
        """A write that comes to nothing in that time."""
        writing = gateway.journal.append(Batch("me", 1, (put("/a"),)))
        self.pass_time(seconds)
        return writing


class RowsTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for member in (Member("a", ("http://a:1",)), Member("\u00e4", ("http://a:1", "https://[::1]:2"))):
            self.assertEqual(decode(encode(member)), member)

    def test_no_rows(self) -> None:
        for value in (b"", b"null", b"3", b'{"name":"a"}', b'{"name":1,"clientURLs":["a"]}'):
            self.assertIsNone(decode(value), value)
        self.assertIsNone(decode(b'{"name":"a","clientURLs":["a",1]}'))
        self.assertIsNone(decode(b'{"name":"a","clientURLs":"a"}'))
