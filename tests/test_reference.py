"""txetcd answers as the real etcd does: the recorded conversations, held again with txetcd.

Each conversation in `tests.reference` is a test, with Twisted's Site and with ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from twisted.web.server import Site as TwistedSite

from tests.http_harness import Response, conversation, parse_response
from tests.reference.conversation import Answer, hold, play
from tests.reference.differences import DIFFERENCES, Ours
from tests.reference.scripts import CONVERSATIONS
from txetcd import passwords
from txetcd.journal.memory import MemoryJournal
from txetcd.resources.api import API
from txetcd.server import refuse
from txetcd.site import Site
from txetcd.store import Store

ANSWERS: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("reference").joinpath("answers.json").read_text(encoding="ascii")
)
NANOSECONDS = 1_000_000_000
SiteMaker = Callable[[IResource, Clock], Factory]


class Txetcd:
    """A txetcd in memory, as a `tests.reference.conversation.Server`."""

    def __init__(self, make_site: SiteMaker) -> None:
        self.clock = Clock()
        self.clock.advance(1_600_000_000.25)
        self.store = Store(MemoryJournal(), self.clock, now=lambda: round(self.clock.seconds() * NANOSECONDS))
        self.store.startService()
        api = API(self.store, name="default", client_urls=("http://127.0.0.1:4001",))
        self.site = make_site(api, self.clock)

    def ask(
        self, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes | None
    ) -> Answer:
        """See `Server.ask`."""
        talk = conversation(self.site, self.clock)
        talk.begin(method, target, headers, body)
        self.clock.advance(0)
        response, finished = talk.response(), True
        if response is None:
            response, finished = _head_of(bytes(talk.transport.received)), False
        talk.disconnect()
        fields = {
            name.decode().lower(): b", ".join(values).decode()
            for name, values in response.headers.getAllRawHeaders()
        }
        return Answer(response.status, fields, response.body, finished)

    def pause(self, seconds: float) -> None:
        """See `Server.pause`."""
        self.clock.advance(seconds)

    def now(self) -> float:
        """See `Server.now`."""
        return self.clock.seconds()


def _head_of(data: bytes) -> Response:
    """An answer of which only the head is there: it is whole as an answer to HEAD."""
    parsed = parse_response(data, b"HEAD", closed=False)
    assert parsed is not None, f"no answer: {data!r}"
    assert len(data) == parsed[1], f"a part of an answer: {data!r}"
    return parsed[0]


class _Conversations(SynchronousTestCase):
    """What the tests of both Sites need."""

    maxDiff = None
    not_for_it: ClassVar[frozenset[str]] = frozenset()

    def make_site(self, root: IResource, clock: Clock) -> Factory:
        """Make the Site under test."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.patch(passwords, "LOG_N", 4)
        self.server = Txetcd(self.make_site)
        self.addCleanup(self.server.store.stopService)

    def compare(self, name: str) -> None:
        """Hold a conversation, and compare each answer with the one of the real etcd."""
        answers = play(name, CONVERSATIONS[name], self.server)
        recorded = ANSWERS[name]
        self.assertEqual(
            [answer["request"] for answer in answers],
            [answer["request"] for answer in recorded],
            "the script has changed: record the answers again",
        )
        wrong = [pair for pair in zip(answers, recorded, strict=True) if pair[0] != pair[1]]
        self.assertEqual([ours for ours, _ in wrong], [theirs for _, theirs in wrong])

    def differ(self, name: str) -> None:
        """Hold a conversation in which txetcd answers otherwise, and see that it does."""
        difference = DIFFERENCES[name]
        held = hold(name, difference.steps, self.server)
        alike = []
        for (start, request, answer), (_, ours), recorded in zip(
            held, difference.asked, ANSWERS[name], strict=True
        ):
            self.check(name, str(request), answer, ours)
            told = {"request": str(request), **start.comparable(request, answer)}
            alike.append(told == recorded)
        self.assertFalse(all(alike), f"no difference (any more): {difference.reason}")

    def check(self, name: str, request: str, answer: Answer, ours: Ours) -> None:
        """Compare an answer with what txetcd is to say."""
        self.assertEqual(answer.status, ours.status, f"{request}: {answer}")
        self.assertEqual(answer.finished, not ours.waits, request)
        if ours.waits:
            self.assertEqual(answer.body, b"", request)
            return
        if ours.code is not None:
            self.assertEqual(json.loads(answer.body)["errorCode"], ours.code, request)
        if ours.key is not None:
            self.assertEqual(_node(answer)["key"], ours.key.replace("{keys}", f"/{name}"), request)
        if ours.value is not None:
            self.assertEqual(_node(answer)["value"], ours.value, request)
        if ours.ttl is not None:
            self.assertEqual(_node(answer)["ttl"], ours.ttl, request)


def _node(answer: Answer) -> dict[str, Any]:
    node: dict[str, Any] = json.loads(answer.body)["node"]
    return node


def _add_tests(cls: type[_Conversations]) -> type[_Conversations]:
    """Give a class a test method for each conversation."""

    def add(name: str, play_it: Callable[[_Conversations, str], None]) -> None:
        def test(self: _Conversations) -> None:
            play_it(self, name)

        test.__name__ = f"test_{name}"
        test.__qualname__ = f"{cls.__qualname__}.test_{name}"
        setattr(cls, test.__name__, test)

    for name in CONVERSATIONS.keys() - cls.not_for_it:
        add(name, _Conversations.compare)
    for name in DIFFERENCES.keys() - cls.not_for_it:
        add(name, _Conversations.differ)
    return cls


@_add_tests
class TwistedSiteReferenceTests(_Conversations):
    """With the Site that comes with Twisted."""

    # It refuses targets with bytes beyond ASCII, takes absolute ones for paths, and lets CONNECT through.
    not_for_it = frozenset({"raw_targets", "absolute_targets", "differs_connect"})

    def make_site(self, root: IResource, clock: Clock) -> Factory:
        """Make it."""
        return cast(Factory, TwistedSite(root, reactor=clock))


@_add_tests
class SiteReferenceTests(_Conversations):
    """With our own Site."""

    def make_site(self, root: IResource, clock: Clock) -> Factory:
        """Make it."""
        return Site(root, clock, refusal=refuse)


class RecordingTests(SynchronousTestCase):
    """The recording is of these very conversations."""

    def test_complete(self) -> None:
        """Every conversation is recorded, and nothing else is."""
        self.assertEqual(sorted(ANSWERS), sorted([*CONVERSATIONS, *DIFFERENCES]))
