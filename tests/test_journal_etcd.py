"""The journal in an etcd v3 cluster, on an engine in memory: the contract, and what can go wrong."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorTime

from tests import journal_contract
from tests.etcd_harness import ENGINE, EngineTestCase, Gateway
from tests.fake_engine import FakeEngine, Link
from tests.journal_contract import content, put
from txetcd.journal import Journal
from txetcd.journal.etcd import EtcdJournal
from txetcd.journal.etcd.wire import Put, Remove, txn


class ContractTests(journal_contract.JournalTests):
    """The contract, in the reactor's time."""

    long_value = "\u20acx" * 300_000

    def setUp(self) -> None:
        self._engines: dict[str, FakeEngine] = {}

    def make_journal(self, place: str = "one") -> Journal:
        real = IReactorTime(reactor)
        engine = self._engines.setdefault(place, FakeEngine(real))
        return EtcdJournal(real, ENGINE, client=Link(engine))


class SharingTests(EngineTestCase):
    """Several gateways, one order."""

    def test_same_batches_in_the_same_order(self) -> None:
        one, two = self.gateway(), self.gateway()
        writes = [one.write("/1"), two.write("/2")]
        self.turn()
        writes += [two.write("/3"), one.write("/4")]
        for write in writes:
            self.done(write)
        self.assertEqual(one.delivered, two.delivered)
        self.assertEqual([position for position, _ in one.delivered], [1, 2, 3, 4])
        self.assert_agreed(one, two)

    def test_two_on_nothing(self) -> None:
        """Of two that find no rows one makes them, and both have the same."""
        one, two = Gateway(self.engine, "one"), Gateway(self.engine, "two")
        self.gateways += [one, two]
        starts = [one.start(), two.start()]
        for start in starts:
            self.done(start)
        self.done(one.write("/1"))
        self.assertEqual(two.written, ["/1"])

    def test_late_comer(self) -> None:
        one = self.gateway()
        self.done(one.write("/1"))
        two = self.gateway()
        self.done(two.write("/2"))
        self.assertEqual((one.written, two.written), (["/1", "/2"], ["/2"]))
        self.assert_agreed(one, two)

    def test_foreign_rows(self) -> None:
        """What others have put below the prefix or beside it concerns nobody."""
        one = self.gateway()
        self.done(one.write("/1"))
        for key in ("/px/node/a", "/p/log/foreign", "/p", "/p/other", "/p-/log/head", "/p/log/0/1"):
            self.foreign(key)
            self.done(one.write(key))
        self.foreign("/p/log/foreign", remove=True)
        self.assert_agreed(one)

    def foreign(self, key: str, remove: bool = False) -> None:
        change = Remove(key.encode()) if remove else Put(key.encode(), b"whatever")
        self.engine.handle("/kv/txn", txn((), [change]))

    def test_barrier(self) -> None:
        """A gateway whose watch shows nothing knows what was written elsewhere when its barrier is over."""
        one, two = self.gateway(), self.gateway()
        two.link.shows = False
        self.done(one.write("/1"))
        self.assertEqual(two.written, [])
        barrier = two.journal.barrier()
        self.turn()
        self.assertNoResult(barrier)
        self.done(barrier, 2)
        self.assertEqual(two.written, ["/1"])

    def test_one_question_for_all_who_came_before_it(self) -> None:
        one = self.gateway()
        before = len(self.engine.requests)
        barriers = [one.journal.barrier() for _ in range(5)]
        self.turn()
        for barrier in barriers:
            self.done(barrier)
        # The first has asked at once, and the others wait until that is answered.
        self.assertEqual(len(self.engine.requests) - before, 2)


class LostAnswersTests(EngineTestCase):
    """A batch has its place once, or never, whatever becomes of answers."""

    def test_answer_lost(self) -> None:
        """The same is sent again, and is found to be done."""
        one = self.gateway()
        one.link.lost, one.link.shows = 1, False
        write = one.write("/1")
        self.pass_time(1.5)
        self.assertNoResult(write)
        self.done(write, 3)
        one.link.shows = True
        self.done(one.write("/2"), 1)
        self.assertEqual(one.written, ["/1", "/2"])
        self.assert_agreed(one)

    def test_shown_before_answered(self) -> None:
        """What the watch shows is done, whether the transaction was answered or not."""
        one = self.gateway()
        one.link.lost = 1
        self.done(one.write("/1"))
        self.done(one.write("/2"))
        self.assertEqual(one.written, ["/1", "/2"])

    def test_lands_after_it_was_given_up(self) -> None:
        """It is delivered, once, though nobody waits for it; the next comes after it."""
        one, two = self.gateway(), self.gateway()
        self.done(one.write("/0"))
        one.link.holds = b"/log/"
        write = one.write("/1")
        self.assertIn("has not answered within 5 s", self.failed(write, 6))
        one.link.holds = b""
        self.assertGreater(len(one.link.held), 1)
        for land in one.link.held:
            land()
        self.turn()
        self.done(one.write("/2"), 1)
        self.assertEqual(one.written, ["/0", "/1", "/2"])
        self.assertEqual(one.delivered, two.delivered)

    def test_dies_with_the_next(self) -> None:
        """What was given up and has not landed before the next batch never does."""
        one = self.gateway()
        self.done(one.write("/0"))
        one.link.holds = b"/log/"
        self.failed(one.write("/1"), 6)
        one.link.holds = b""
        self.done(one.write("/2"))
        for land in one.link.held:
            land()
        self.pass_time(2)
        self.assertEqual(one.written, ["/0", "/2"])
        self.done(one.write("/3"))
        self.assert_agreed(one)

    def test_lands_between(self) -> None:
        """What was given up lands while the next is on its way: the next notices, and still comes."""
        one = self.gateway()
        self.done(one.write("/0"))
        one.link.holds = b"/log/"
        self.failed(one.write("/1"), 6)
        write = one.write("/2")
        self.turn()
        *olds, new = one.link.held
        olds[0]()
        new()
        one.link.holds = b""
        self.done(write, 3)
        self.assertEqual(one.written, ["/0", "/1", "/2"])

    def test_name_forgotten(self) -> None:
        """A gateway that was away for longer than its lease takes another name, and writes nothing twice."""
        one = self.gateway()
        self.done(one.write("/0"))
        one.link.lost, one.link.shows = 1, False
        write = one.write("/1")
        self.turn()
        one.link.cut(silent=True)
        self.failed(write, 6)
        self.pass_time(70)
        self.gateway()
        self.assertEqual(self.engine.keys("/gateway/"), [])
        one.link.heal()
        self.done(one.write("/2"), 4)
        self.assertEqual(one.written, ["/0", "/1", "/2"])
        self.assert_agreed(one)

    def test_name_forgotten_while_a_batch_is_on_its_way(self) -> None:
        one = self.gateway()
        self.done(one.write("/0"))
        one.link.holds = b"/log/"
        self.failed(one.write("/1"), 6)
        one.link.holds = b""
        one.link.cut()
        self.pass_time(70)
        one.link.heal()
        self.done(one.write("/2"), 4)
        for land in one.link.held:
            land()
        self.pass_time(2)
        self.assertEqual(one.written, ["/0", "/2"])

    def test_name_is_kept(self) -> None:
        one = self.gateway()
        self.done(one.write("/0"))
        (name,) = self.engine.keys("/gateway/")
        self.pass_time(200)
        self.done(one.write("/1"))
        self.assertEqual(self.engine.keys("/gateway/"), [name])
        self.done(one.journal.close())
        self.assertEqual(self.engine.keys("/gateway/"), [])


class FollowingTests(EngineTestCase):
    """No batch is left out, and none comes twice."""

    def test_own_batches_need_no_watch(self) -> None:
        """Whoever appended the next batch knows what it is; what the watch shows later is not new."""
        one, two = self.gateway(), self.gateway()
        one.link.lag = 0.2
        before = len(self.engine.requests)
        for number in range(3):
            self.done(one.write(f"/{number}"))
        self.pass_time(0.1)
        self.done(one.write("/3"))
        self.pass_time(1)
        self.done(two.write("/4"))
        self.pass_time(1)
        self.assertEqual(one.written, [f"/{number}" for number in range(5)])
        self.assertEqual(one.delivered, two.delivered)
        # Nothing was missed, so nobody has asked: five have been written, by two with a name each.
        self.assertEqual(self.engine.requests[before:].count("/kv/txn"), 7)

    def test_own_batches_wait_for_those_before(self) -> None:
        one, two = self.gateway(), self.gateway()
        one.link.lag = 0.2
        self.done(two.write("/1"))
        write = one.write("/2")
        self.turn()
        self.assertNoResult(write)
        self.done(write, 0.3)
        self.assertEqual(one.written, ["/1", "/2"])
        self.pass_time(1)
        self.assertEqual(one.delivered, two.delivered)

    def test_own_batches_wait_while_the_log_is_read(self) -> None:
        """Something else might come of that than what is known."""
        one = self.gateway()
        self.done(one.write("/1"))
        parts = one.journal._parts
        assert parts is not None
        parts.follower.look()
        write = one.write("/2")
        self.turn()
        self.assertNoResult(write)
        self.done(write, 0.3)
        self.assertEqual(one.written, ["/1", "/2"])

    def test_event_lost(self) -> None:
        """The watch leaves something out and goes on: it is noticed with the next."""
        one, two = self.gateway(), self.gateway()
        two.link.shows = False
        self.done(one.write("/1"))
        two.link.shows = True
        self.done(one.write("/2"))
        self.pass_time(0.2)
        self.assertEqual(two.written, ["/1", "/2"])
        self.assertEqual(one.delivered, two.delivered)

    def test_fragments(self) -> None:
        """What comes in pieces is taken whole."""
        one, two = self.gateway(), self.gateway()
        two.link.fragments = True
        for number in range(3):
            self.done(one.write(f"/{number}"))
        self.assertEqual(one.delivered, two.delivered)

    def test_silence_is_noticed(self) -> None:
        """By one that neither writes nor asks, too, within some seconds."""
        one, two = self.gateway(), self.gateway()
        two.link.shows = False
        self.done(one.write("/1"))
        self.pass_time(7)
        self.assertEqual(two.written, ["/1"])

    def test_cut_off(self) -> None:
        """Writes and barriers fail in time, with the reason; afterwards all is made up for."""
        for silent in (False, True):
            one, two = self.gateway(), self.gateway()
            one.link.cut(silent=silent)
            self.done(two.write("/1"))
            write, barrier = one.write("/x"), one.journal.barrier()
            self.pass_time(4.9)
            self.assertNoResult(write)
            reason = "no answer" if silent else "connection"
            for result in (write, barrier):
                text = self.failed(result, 0.2)
                self.assertIn("the engine has not answered within 5 s", text)
                self.assertIn(reason, text)
            self.assertEqual(one.written, [])
            one.link.heal()
            # A watch that was silent while its way was cut is still there, and deaf.
            self.done(one.journal.barrier(), 4)
            self.assertEqual(one.delivered, two.delivered)
            self.assertEqual(one.anew, 0)

    def test_compacted(self) -> None:
        """The engine has forgotten what happened, but the batches are still there."""
        one, two = self.gateway(), self.gateway()
        two.link.cut()
        for number in range(5):
            self.done(one.write(f"/{number}"))
        self.engine.handle("/kv/compaction", {"revision": str(self.engine.revision)})
        two.link.heal()
        self.pass_time(2)
        self.assertEqual(one.delivered, two.delivered)
        self.assertEqual(two.anew, 0)

    def checkpointed(self, gateway: Gateway) -> None:
        position = gateway.delivered[-1][0]
        self.done(gateway.journal.checkpoint(gateway.checkpoint(position)), 0.5)

    def test_checkpoint_behind_its_back(self) -> None:
        """After one checkpoint, the batches before it are still there; after two, it is started anew."""
        one, two = self.gateway(), self.gateway()
        for rounds, anew in ((1, 0), (2, 1)):
            two.link.cut()
            for number in range(rounds):
                self.done(one.append(put(f"/{rounds}/{number}"), put("/x", str(number))))
                self.checkpointed(one)
            two.link.heal()
            self.pass_time(2)
            self.assertEqual(two.anew, anew)
            self.assertTrue(content(one.tree) == content(two.tree))
        # What comes next is delivered as ever.
        self.done(one.write("/after"))
        self.done(two.write("/wards"))
        self.assertEqual(two.written, ["/after", "/wards"])
        self.assert_agreed(one, two)

    def test_own_batch_behind_its_back(self) -> None:
        """A batch of which nobody can tell any more whether it was done is not said again."""
        one, two = self.gateway(), self.gateway()
        self.done(two.write("/0"))
        two.link.lost, two.link.shows = 1, False
        write = two.write("/1")
        self.turn()
        two.link.cut()
        for number in range(2):
            self.done(one.write(f"/x{number}"))
            self.checkpointed(one)
        two.link.heal()
        self.assertIn("cut off", self.failed(write, 1))
        self.assertEqual(two.anew, 1)
        self.done(two.write("/2"))
        self.assert_agreed(one, two)
        self.assertEqual(sum(key.startswith("/1") for key in one.written), 1)

    def test_engine_restored(self) -> None:
        """From a backup: what was written since then is not there, and nobody acts as if it were."""
        one = self.gateway()
        self.done(one.write("/kept"))
        revision = self.engine.revision
        self.done(one.write("/gone"))
        self.engine.restore(revision)
        self.pass_time(2)
        self.assertEqual(one.anew, 1)
        self.assertIsNone(one.tree.find("/gone"))
        self.done(one.write("/new"), 2)
        self.assert_agreed(one)

    def test_engine_emptied(self) -> None:
        one = self.gateway()
        self.done(one.write("/gone"))
        self.engine.restore(1)
        self.pass_time(2)
        self.done(one.write("/new"), 2)
        self.assertIsNone(one.tree.find("/gone"))
        self.assert_agreed(one)

    def test_no_space(self) -> None:
        """Writes are refused at once, with the engine's words; the rest goes on, and so do they later."""
        one = self.gateway()
        self.done(one.write("/1"))
        self.engine.full = True
        self.assertIn("database space exceeded", self.failed(one.write("/2")))
        self.done(one.journal.barrier())
        self.assertIn("database space exceeded", one.journal.trouble)
        self.engine.full = False
        self.done(one.write("/3"))
        self.assertEqual(one.journal.trouble, "")
        self.assertEqual(one.written, ["/1", "/3"])

    def test_no_space_and_nobody_writes(self) -> None:
        """It is not taken for full for ever: who looks at health might send no writes then."""
        one = self.gateway()
        self.engine.full = True
        self.failed(one.write("/1"))
        self.assertNotEqual(one.journal.trouble, "")
        self.pass_time(11)
        self.assertEqual(one.journal.trouble, "")

    def test_room_for_those_who_were_answered(self) -> None:
        """After a batch of several, the next is asked for a little later; after one of one, at once."""
        one = self.gateway()
        for count, later in ((1, False), (2, True)):
            one.link.cut()
            appended = one.append(*(put(f"/{count}/{number}") for number in range(count)))
            self.pass_time(1)
            one.link.heal()
            written = len(one.written)
            while len(one.written) == written:
                self.clock.advance(0.01)
                self.turn()
            if later:
                self.assertNoResult(appended)
                self.pass_time(0.5)
            self.successResultOf(appended)

    def test_too_long(self) -> None:
        one = self.gateway()
        self.assertIn("more than the engine takes", self.failed(one.write("/1", "x" * 1_500_001)))
        self.done(one.write("/2", "x" * 1_400_000))


class StartTests(EngineTestCase):
    def test_pages(self) -> None:
        """What cannot be read at once is read in parts, however small those have to be."""
        one = self.gateway()
        self.done(one.append(*(put(f"/{number}") for number in range(1234))))
        self.done(one.journal.checkpoint(one.checkpoint(1)))
        for most in (1_000_000, 30, 4):
            two = Gateway(self.engine, "two")
            self.gateways.append(two)
            two.link.most = most
            start = two.start()
            while not start.called:
                self.pass_time(1)
            self.assertTrue(content(two.tree) == content(one.tree))

    def test_no_engine_at_start(self) -> None:
        """It waits, and says so once."""
        gateway = Gateway(self.engine, "one")
        self.gateways.append(gateway)
        gateway.link.cut()
        start = gateway.start()
        self.pass_time(30)
        self.assertNoResult(start)
        gateway.link.heal()
        self.done(start, 2)
        self.done(gateway.write("/1"))

    def test_closed_before_there_is_an_engine(self) -> None:
        gateway = Gateway(self.engine, "one")
        self.gateways.append(gateway)
        gateway.link.cut()
        start = gateway.start()
        self.pass_time(1)
        gateway.journal.close()
        self.assertIn("closed", self.failed(start))

    def test_other_format(self) -> None:
        one = self.gateway()
        self.done(one.write("/1"))
        self.engine.handle("/kv/txn", txn((), [Put(b"/p/checkpoint", b'{"format":2}')]))
        gateway = Gateway(self.engine, "two")
        self.gateways.append(gateway)
        self.assertIn("format 2", self.failed(gateway.start()))

    def test_closed_with_everything_under_way(self) -> None:
        one = self.gateway()
        self.done(one.write("/1"))
        one.link.cut(silent=True)
        one.journal.checkpoint(one.checkpoint(1))
        results = [one.write("/2"), one.journal.barrier()]
        self.pass_time(1)
        one.journal.close()
        for result in results:
            self.assertIn("closed", self.failed(result))
