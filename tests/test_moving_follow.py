"""Following a source: in order where that matters, from where it was left, and over all interruptions."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txetcd.jsontext import rfc3339
from txetcd.moving import MovingError
from txetcd.moving.applying import Applying
from txetcd.moving.client import Answer, Client, LostError
from txetcd.moving.fill import Target
from txetcd.moving.follow import CONCURRENCY, Follower
from txetcd.moving.lines import Node
from txetcd.moving.watch import PAUSE, REQUESTS, Watch

NOW = 1_700_000_000_000_000_000
GONE = Answer(400, 0, "", b'{"errorCode":401,"message":"cleared","cause":"","index":50}')


class Source:
    """Stands in for a client: answers to watches are given by the test."""

    url = "http://source"

    def __init__(self) -> None:
        self.reactor = Clock()
        self.asked: list[tuple[int, Deferred[Answer]]] = []

    def wait(self, path: str, timeout: float, **query: str) -> Awaitable[Answer]:
        answer: Deferred[Answer] = Deferred()
        self.asked.append((int(query["waitIndex"]), answer))
        return self._wait(answer)

    async def _wait(self, answer: Deferred[Answer]) -> Answer:
        return await answer

    @property
    def indices(self) -> list[int]:
        """Which indices are being asked for."""
        return [index for index, answer in self.asked if not answer.called]

    def tell(self, answer: Answer | Exception) -> None:
        """Answer the first request that is under way."""
        waiting = next(answer for _, answer in self.asked if not answer.called)
        if isinstance(answer, Answer):
            waiting.callback(answer)
        else:
            waiting.errback(answer)


class Writes:
    """Stands in for a target: keeps what is done, and has it succeed or fail when the test says so."""

    def __init__(self) -> None:
        self.client = Source()
        self.begun: list[str] = []
        self.under_way: list[tuple[str, Deferred[None]]] = []

    def now(self) -> int:
        return NOW

    async def put(self, node: Node) -> None:
        await self._begin(f"{node.key}={node.value}")

    async def delete(self, key: str) -> None:
        await self._begin(f"-{key}")

    async def _begin(self, what: str) -> None:
        done: Deferred[None] = Deferred()
        self.begun.append(what)
        self.under_way.append((what, done))
        await done

    def end(self, what: str, error: Exception | None = None) -> None:
        """It is done, or has failed."""
        (found,) = (entry for entry in self.under_way if entry[0] == what)
        self.under_way.remove(found)
        if error is None:
            found[1].callback(None)
        else:
            found[1].errback(error)

    def end_all(self) -> None:
        """Whatever is under way is done, and what it leads to."""
        while self.under_way:
            self.end(self.under_way[0][0])


def event(index: int, key: str, value: str | None = "v", known: int = 0, **more: Any) -> Answer:
    """A change as a watch tells it; without a value it went away."""
    node = {"key": key, "modifiedIndex": index, "createdIndex": index, **more}
    body = {"action": "delete"} if value is None else {"action": "set"}
    return Answer(
        200,
        max(known, index),
        "",
        json.dumps({**body, "node": node | ({"value": value} if value else {})}).encode(),
    )


class FollowCase(SynchronousTestCase):
    """A follower of /, up to date at index 10."""

    def setUp(self) -> None:
        self.source = Source()
        self.writes = Writes()
        self.said: list[str] = []
        self.compared: list[str] = []
        self.comparison: Deferred[Watch] = Deferred()

    def watch(self, key: str = "/", index: int = 10) -> Watch:
        watch = Watch(cast(Client, self.source), key, index, self.said.append, wait=10)
        self.addCleanup(watch.stop)
        return watch

    def follow(self, key: str = "/", until: int | None = None) -> Deferred[None]:
        async def compare(key: str) -> Watch:
            self.compared.append(key)
            return await self.comparison

        target = cast(Target, self.writes)
        self.follower = Follower(target, key, self.watch(key), compare, self.said.append)
        return self.follower.run(until)


class WatchTests(FollowCase):
    def test_one_request_when_up_to_date(self) -> None:
        watch = self.watch()
        self.assertEqual(self.source.indices, [11])
        self.source.tell(event(13, "/a"))
        self.assertEqual(self.source.indices, [14])
        self.assertEqual([change.index for change in watch.changes], [13])

    def test_several_requests_when_behind(self) -> None:
        """What several of them are told counts once."""
        watch = self.watch()
        self.source.tell(event(11, "/a", known=500))
        self.assertEqual(self.source.indices, list(range(12, 12 + REQUESTS)))
        for index in (14, 14, 14, 15):
            self.source.tell(event(index, "/a", known=500))
        self.assertEqual([change.index for change in watch.changes], [11, 14, 15])
        self.assertEqual((watch.seen, watch.known), (15, 500))
        # Those that are behind what has been seen by now are not asked for again.
        self.assertEqual(self.source.indices, list(range(16, 16 + REQUESTS)))

    def test_nothing_has_come_about(self) -> None:
        watch = self.watch()
        self.source.tell(Answer(200, 40, ""))
        self.assertEqual((watch.seen, self.source.indices), (40, [41]))
        self.source.tell(Answer(200, 30, ""))
        self.assertEqual((watch.seen, self.source.indices), (40, [41]))

    def test_hidden(self) -> None:
        watch = self.watch()
        self.source.tell(event(11, "/a/_b"))
        self.assertEqual((list(watch.changes), watch.seen), ([], 11))

    def test_lost(self) -> None:
        """It goes on where it was, a pause later."""
        watch = self.watch()
        self.source.tell(event(11, "/a", known=500))
        self.source.tell(LostError("gone"))
        self.assertEqual(self.said, ["gone; trying again"])
        self.assertEqual(self.source.indices, [])
        self.source.reactor.advance(PAUSE)
        self.assertEqual(self.source.indices[0], 12)
        self.assertIsNone(watch.failure)

    def test_forgotten(self) -> None:
        watch = self.watch()
        self.source.tell(event(11, "/a", known=500))
        self.source.tell(GONE)
        self.assertTrue(watch.forgotten)
        self.assertEqual((watch.seen, self.source.indices), (11, []))

    def test_refused(self) -> None:
        for answer, pattern in (
            (
                Answer(401, 0, "", b'{"errorCode":110,"message":"m","index":0}'),
                "refuses a watch of /: 110: m; give",
            ),
            (Answer(404, 0, "", b"404 page not found"), "status 404"),
            (Answer(200, 11, "", b"<html>"), "not an event"),
        ):
            watch = self.watch()
            news = watch.news()
            self.source.tell(answer)
            self.successResultOf(news)
            assert watch.failure is not None
            self.assertRegex(watch.failure.getErrorMessage(), pattern)

    def test_stop(self) -> None:
        watch = self.watch()
        self.source.tell(event(11, "/a", known=500))
        watch.stop()
        self.assertEqual(self.source.indices, [])
        self.source.reactor.advance(100)
        self.assertEqual(self.source.indices, [])


class FollowerTests(FollowCase):
    def test_changes(self) -> None:
        self.follow()
        for answer in (
            event(11, "/a", "x"),
            event(12, "/b", None),
            event(13, "/c", expiration=rfc3339(NOW - 1)),
        ):
            self.source.tell(answer)
        self.assertEqual(self.writes.begun, ["/a=x", "-/b", "-/c"])
        self.assertEqual((self.follower.index, self.follower.behind, self.follower.applied), (10, 3, 0))
        self.writes.end("-/b")
        self.assertEqual((self.follower.index, self.follower.behind, self.follower.applied), (10, 3, 1))
        self.writes.end("/a=x")
        self.assertEqual((self.follower.index, self.follower.behind), (12, 1))
        self.writes.end("-/c")
        self.assertEqual((self.follower.index, self.follower.behind, self.follower.applied), (13, 0, 3))

    def test_order(self) -> None:
        """A change waits for those before it of the same key, and of keys above and below."""
        self.follow()
        for answer in (
            event(11, "/d/a", "1"),
            event(12, "/d", None),
            event(13, "/d/b", "2"),
            event(14, "/e"),
        ):
            self.source.tell(answer)
        self.assertEqual(self.writes.begun, ["/d/a=1"])
        self.writes.end("/d/a=1")
        self.assertEqual(self.writes.begun[1:], ["-/d"])
        self.writes.end("-/d")
        self.assertEqual(self.writes.begun[2:], ["/d/b=2", "/e=v"])

    def test_not_too_many(self) -> None:
        self.follow()
        for number in range(CONCURRENCY + 2):
            self.source.tell(event(11 + number, f"/{number}"))
        self.assertEqual(len(self.writes.begun), CONCURRENCY)
        self.writes.end_all()
        self.assertEqual(len(self.writes.begun), CONCURRENCY + 2)

    def test_above(self) -> None:
        """When a directory above the key goes, the key goes."""
        self.follow("/d/e")
        self.source.tell(event(11, "/d", None, dir=True))
        self.assertEqual(self.writes.begun, ["-/d/e"])

    def test_target_away(self) -> None:
        """The change is tried again, and those after it wait."""
        self.follow()
        self.source.tell(event(11, "/a", "1"))
        self.source.tell(event(12, "/a", "2"))
        self.writes.end("/a=1", LostError("target away"))
        self.assertEqual(self.said, ["target away; trying again"])
        self.writes.client.reactor.advance(PAUSE)
        self.assertEqual(self.writes.begun, ["/a=1", "/a=1"])
        self.writes.end("/a=1")
        self.assertEqual(self.writes.begun, ["/a=1", "/a=1", "/a=2"])

    def test_target_refuses(self) -> None:
        following = self.follow(until=12)
        self.source.tell(event(11, "/a"))
        self.writes.end("/a=v", MovingError("refused"))
        self.source.tell(event(12, "/b"))
        self.failureResultOf(following, MovingError)
        self.assertEqual(self.source.indices, [])

    def test_source_refuses(self) -> None:
        following = self.follow()
        self.source.tell(Answer(404, 0, "", b"404 page not found"))
        self.failureResultOf(following, MovingError)

    def test_forgotten(self) -> None:
        """All that is under way ends, all is compared, and the new watch goes on from there."""
        self.follow()
        self.source.tell(event(11, "/a"))
        self.source.tell(GONE)
        self.assertEqual(self.compared, [])
        self.writes.end_all()
        self.assertEqual(self.compared, ["/"])
        self.comparison.callback(self.watch(index=50))
        self.assertEqual(self.source.indices, [51])
        self.assertEqual(self.follower.index, 50)
        self.source.tell(event(51, "/b"))
        self.assertEqual(self.writes.begun, ["/a=v", "/b=v"])

    def test_until(self) -> None:
        """It ends when all up to that index has been applied, and nothing behind it has."""
        following = self.follow(until=12)
        self.source.tell(event(11, "/a"))
        self.source.tell(event(13, "/b"))
        self.assertNoResult(following)
        self.writes.end_all()
        self.successResultOf(following)
        self.assertEqual(self.writes.begun, ["/a=v"])
        self.assertEqual(self.source.indices, [])

    def test_until_without_a_change(self) -> None:
        following = self.follow(until=12)
        self.source.tell(Answer(200, 12, ""))
        self.successResultOf(following)

    def test_stop(self) -> None:
        """What is under way comes to its end."""
        following = self.follow()
        self.source.tell(event(11, "/a"))
        self.follower.stop()
        self.writes.end_all()
        self.successResultOf(following)
        self.assertEqual(self.source.indices, [])

    def test_stop_while_the_target_is_away(self) -> None:
        following = self.follow()
        self.source.tell(event(11, "/a"))
        self.writes.end("/a=v", LostError("away"))
        self.follower.stop()
        self.writes.client.reactor.advance(PAUSE)
        self.successResultOf(following)
        self.assertEqual(self.writes.begun, ["/a=v"])


class ApplyingTests(SynchronousTestCase):
    def test_related(self) -> None:
        for key, other, related in (
            ("/a", "/a", True),
            ("/a", "/a/b", True),
            ("/a/b/c", "/a", True),
            ("/a", "/ab", False),
            ("/a/b", "/a/c", False),
        ):
            for first, second in ((key, other), (other, key)):
                applying = Applying(3)
                done: Deferred[None] = Deferred()

                async def work(done: Deferred[None] = done) -> None:
                    await done

                self.successResultOf(Deferred.fromCoroutine(applying.add(1, first, work)))
                added = Deferred.fromCoroutine(applying.add(2, second, work))
                self.assertEqual(added.called, not related, (first, second))
                done.callback(None)
                self.successResultOf(added)
                self.assertIsNone(applying.oldest)

    def test_failure(self) -> None:
        """One that fails is told at the next, and when all is waited for."""
        applying = Applying(2)

        async def fail() -> None:
            raise MovingError("no")

        async def never() -> None:
            raise AssertionError

        self.successResultOf(add(applying, 1, fail))
        self.failureResultOf(add(applying, 2, never), MovingError)
        self.failureResultOf(Deferred.fromCoroutine(applying.drain()), MovingError)


def add(applying: Applying, index: int, work: Callable[[], Awaitable[None]]) -> Deferred[None]:
    """Add a change of a key of its own."""
    return Deferred.fromCoroutine(applying.add(index, f"/{index}", work))
