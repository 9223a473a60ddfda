"""What a site does with a cache: who asks the same gets the same answer, while the resource says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import _IRequestEncoder, _IRequestEncoderFactory
from twisted.web.resource import EncodingResourceWrapper, Resource
from zope.interface import implementer

from tests.http_harness import Conversation, conversation
from tests.site_harness import GET
from txetcd.site import Cache, Site
from txetcd.site.cache import BODY, CANDIDATES, REQUEST, Cached
from txetcd.site.request import Request

OTHER = b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"
DATE = b"Date: Thu, 01 Jan 1970 00:00:%02d GMT\r\n"


class Lasting(Resource):
    """Answers with its text, and lets a site do so again until the test says that it does not hold.

    @ivar asked: the targets that it was asked for.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []
        self.text = b"text"
        self.answer: tuple[Mapping[bytes, bytes], bytes] | None = ({}, b"text")

    def render(self, request: Any) -> bytes:
        self.asked.append(request.uri)
        request.defaultContentType = None
        request.setHeader("x-kept", "yes")
        if request.may_be_kept:
            request.refresh = lambda: self.answer
        return self.text


class Told:
    """Remembers what an observer is told."""

    def __init__(self) -> None:
        self.answers: list[tuple[bytes, bytes, int, int, Any, float]] = []
        self.transports: list[Any] = []

    def answered(self, request: Request, seconds: float) -> None:
        self.transports.append(request.transport)
        self.answers.append(
            (request.method, request.uri, request.code, request.sentLength, request.client, seconds)
        )

    def refused(self, peer: IAddress | None, status: int) -> None:
        raise AssertionError("nothing is refused here")


@implementer(_IRequestEncoderFactory, _IRequestEncoder)
class UpperCase:
    """Makes bodies upper case."""

    def encoderForRequest(self, request: object) -> UpperCase:
        return self

    def encode(self, data: bytes) -> bytes:
        return data.upper()

    def finish(self) -> bytes:
        return b""


class CacheCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.resource: Any = Lasting()
        self.told = Told()
        self.cache = Cache()
        self.site = Site(self.resource, self.clock, observers=[self.told], cache=self.cache)
        self.talk = conversation(self.site)

    def expected(self, text: bytes = b"text", second: int = 0) -> bytes:
        """What goes over the wire."""
        return b"HTTP/1.1 200 OK\r\nX-Kept: yes\r\nContent-Length: %d\r\n%b\r\n%b" % (
            len(text),
            DATE % second,
            text,
        )

    def keep(self, data: bytes = GET) -> None:
        """Have the answer to `data` kept."""
        for _ in range(2):
            self.assertIn(b"200 OK", self.talk.send(data))
        self.resource.asked.clear()


class CacheTests(CacheCase):
    """`txetcd.site.cache`, behind a site."""

    def test_asked_twice_then_no_more(self) -> None:
        """The second request that is the same is the one whose answer is kept."""
        answers = [self.talk.send(GET) for _ in range(5)]
        self.assertEqual(answers, [self.expected()] * 5)
        self.assertEqual(self.resource.asked, [b"/", b"/"])

    def test_other_connections(self) -> None:
        self.keep()
        self.assertEqual(conversation(self.site).send(GET), self.expected())
        self.assertEqual(self.resource.asked, [])

    def test_every_byte_counts(self) -> None:
        self.keep()
        for data in OTHER, GET.replace(b"x", b"y"), GET.replace(b"Host", b"host"), b"\r\n" + GET:
            self.talk.send(data)
        self.assertEqual(self.resource.asked, [b"/other", b"/", b"/", b"/"])

    def test_without_a_cache(self) -> None:
        site = Site(self.resource, self.clock)
        for _ in range(3):
            self.assertEqual(conversation(site).send(GET), self.expected())
        self.assertEqual(len(self.resource.asked), 3)

    def test_a_resource_that_says_nothing(self) -> None:
        class Silent(Lasting):
            def render(self, request: Any) -> bytes:
                self.asked.append(request.uri)
                return self.text

        silent = Silent()
        talk = conversation(Site(silent, self.clock, cache=self.cache))
        for _ in range(3):
            talk.send(GET)
        self.assertEqual(len(silent.asked), 3)
        self.assertEqual(self.cache.size, 0)

    def test_another_answer(self) -> None:
        """Headers take the place of earlier ones, and the length is that of the body."""
        self.keep()
        self.resource.answer = ({b"X-Kept": b"still"}, b"another")
        self.assertEqual(
            self.talk.send(GET), self.expected(b"another").replace(b"X-Kept: yes", b"X-Kept: still")
        )
        self.assertEqual(self.resource.asked, [])

    def test_the_date(self) -> None:
        self.keep()
        self.clock.advance(7)
        self.assertEqual(self.talk.send(GET), self.expected(second=7))

    def test_holds_no_more(self) -> None:
        self.keep()
        self.resource.answer = None
        self.resource.text = b"new"
        self.assertEqual(self.talk.send(GET), self.expected(b"new"))
        self.resource.answer = ({}, b"newer")
        self.assertEqual(self.talk.send(GET), self.expected(b"newer"))
        self.assertEqual(self.resource.asked, [b"/"])

    def test_in_pieces(self) -> None:
        """A request that arrives byte by byte is the same request, and so is one behind another."""
        self.keep()
        received = b"".join(self.talk.send(bytes([byte])) for byte in GET)
        self.assertEqual(received, self.expected())
        self.assertEqual(self.resource.asked, [])
        # The next one can be shorter.
        self.assertIn(b"200 OK", self.talk.send(b"GET / HTTP/1.0\r\n\r\n"))

    def test_several_at_once(self) -> None:
        for _ in range(4):
            self.assertEqual(self.talk.send(GET + OTHER + GET), self.expected() * 3)
        self.assertEqual(self.resource.asked.count(b"/other"), 4)

    def test_a_body_is_no_request(self) -> None:
        """Bytes that belong to the body of a request are not taken for one that was answered."""
        self.keep()
        self.talk.send(b"PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(GET))
        self.assertEqual(self.talk.send(GET), self.expected())
        self.assertEqual(self.resource.asked, [b"/put"])

    def test_the_rest_of_a_request_is_no_request(self) -> None:
        """What completes a GET is not kept for it: another client could send just that."""
        head = b"GET /put HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
        for _ in range(3):
            self.talk.send(head)
            self.talk.send(b"body")
        self.assertEqual(self.cache.size, 0)

    def test_what_waits_is_not_looked_at(self) -> None:
        """Of many requests at once, only the last few bytes are compared with what is kept."""

        class Looked(dict[bytes, Cached]):
            longest = 0

            def get(self, data: bytes, default: Any = None) -> Any:
                self.longest = max(self.longest, len(data))
                return super().get(data, default)

        looked = self.cache.kept = Looked()
        self.talk.send(GET * 1000)
        for _ in range(100):
            self.clock.advance(1)
        self.assertEqual(len(self.resource.asked), 1000)
        self.assertLessEqual(looked.longest, REQUEST)

    def test_only_what_is_read(self) -> None:
        for data in GET.replace(b"GET", b"PUT"), GET.replace(b"GET", b"HEAD"):
            self.keep(data)
            self.talk.send(data)
            self.assertEqual(len(self.resource.asked), 1)
            self.resource.asked.clear()

    def test_no_password_is_kept(self) -> None:
        self.keep(GET.replace(b"Host", b"Authorization: Basic bTpt\r\nHost"))
        self.assertEqual(self.cache.size, 0)

    def test_the_connection_is_to_end(self) -> None:
        data = GET.replace(b"Host", b"Connection: close\r\nHost")
        for _ in range(3):
            talk = conversation(self.site)
            self.assertIn(b"Connection: close", talk.send(data))
            self.assertTrue(talk.closed)
        self.assertEqual(len(self.resource.asked), 3)

    def test_the_version_before(self) -> None:
        data = GET.replace(b"1.1", b"1.0").replace(b"Host", b"Connection: keep-alive\r\nHost")
        answers = {self.talk.send(data) for _ in range(4)}
        self.assertEqual(len(answers), 1)
        self.assertIn(b"Connection: keep-alive\r\n", answers.pop())
        self.assertEqual(len(self.resource.asked), 2)

    def test_a_long_body_is_sent_whole(self) -> None:
        text = b"0123456789" * 50_000
        self.resource.text, self.resource.answer = text, ({}, text)
        self.keep()
        self.assertEqual(self.talk.send(GET), self.expected(text))
        self.assertEqual(self.resource.asked, [])

    def test_an_encoded_answer_is_not_kept(self) -> None:
        root = EncodingResourceWrapper(self.resource, [UpperCase()])
        talk = conversation(Site(root, self.clock, cache=self.cache))
        for _ in range(3):
            self.assertIn(b"TEXT", talk.send(GET))
        self.assertEqual(len(self.resource.asked), 3)

    def test_after_the_end(self) -> None:
        self.keep()
        done = self.site.shutdown(1)
        self.assertTrue(self.talk.closed)
        self.successResultOf(done)
        self.assertEqual(self.talk.send(GET), b"")

    def test_activity(self) -> None:
        """An answer that was kept is a sign of life as any other."""
        self.keep()
        for _ in range(4):
            self.clock.advance(self.site.limits.idle * 0.7)
            self.assertIn(b"200 OK", self.talk.send(GET))
        self.assertEqual(self.resource.asked, [])


class ObserversOfCacheTests(CacheCase):
    """What observers are told of answers that were kept."""

    def test_each_is_told_of(self) -> None:
        peer = IPv4Address("TCP", "192.0.2.9", 9)
        self.keep()
        self.told.answers.clear()
        other = Conversation(self.site, self.clock, peer)
        other.send(GET)
        self.assertEqual(self.told.answers, [(b"GET", b"/", 200, 4, peer, 0.0)])
        self.assertIs(self.told.transports[-1], other.transport)
        self.resource.answer = ({}, b"longer")
        self.talk.send(GET)
        self.assertEqual(self.told.answers[1][3:5], (6, self.talk.protocol.peer))

    def test_no_connection_is_kept(self) -> None:
        self.keep()
        self.talk.send(GET)
        cached = self.cache.kept[GET]
        self.assertIsNone(cached.request.transport)
        self.assertIsNone(cached.request.channel)


class RoomTests(CacheCase):
    """How much a cache keeps."""

    def test_the_oldest_go_first(self) -> None:
        self.keep(OTHER)
        each = self.cache.size
        self.cache = self.site.cache = Cache(room=3 * each)
        self.talk = conversation(self.site)
        paths = [b"GET /other HTTP/1.1\r\nHost: %d\r\n\r\n" % number for number in range(4)]
        for path in paths:
            self.keep(path)
        self.assertEqual(self.cache.size, 3 * each)
        for path in (*paths[1:], paths[0]):
            self.talk.send(path)
        self.assertEqual(self.resource.asked, [b"/other"])

    def test_kept_anew(self) -> None:
        self.keep()
        size = self.cache.size
        self.resource.answer = None
        self.talk.send(GET)
        self.assertEqual(self.cache.size, size)

    def test_long_requests_and_answers(self) -> None:
        self.keep(GET.replace(b"Host", b"X: %b\r\nHost" % (b"x" * REQUEST)))
        self.resource.text = b"x" * (BODY + 1)
        self.keep()
        self.assertEqual(self.cache.size, 0)

    def test_few_are_looked_out_for(self) -> None:
        """A request that comes again after many others is one that has not come before."""
        self.assertFalse(self.cache.is_again(GET))
        for number in range(CANDIDATES):
            self.cache.is_again(b"%d" % number)
        self.assertFalse(self.cache.is_again(GET))
        self.assertTrue(self.cache.is_again(GET))
