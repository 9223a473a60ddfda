"""What is said of members that run an etcd which damages what it keeps."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import BrowserLikePolicyForHTTPS
from zope.interface import implementer

from tests.documents import CHECKOUT
from txetcd.engine import Engine
from txetcd.journal.etcd.versions import REMEDY, UNSAFE, single_clients, warn_of_unsafe
from txetcd.journal.etcd.wire import JSON, EngineError, RefusedError


class Answering:
    """A client of one member.

    @param answer: what comes of a question.
    """

    def __init__(self, answer: JSON | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, float]] = []
        self.closed = 0

    def post(self, path: str, body: JSON, timeout: float) -> Deferred[JSON]:
        self.asked.append((path, timeout))
        return fail(self.answer) if isinstance(self.answer, Exception) else succeed(self.answer)

    def stream(
        self, path: str, body: JSON, receive: Callable[[JSON], None], timeout: float
    ) -> Deferred[None]:
        raise NotImplementedError

    def close(self) -> Deferred[None]:
        self.closed += 1
        return succeed(None)


class VersionsTests(SynchronousTestCase):
    def warnings(self, *answers: JSON | Exception) -> list[str]:
        """What the log says when members answer so."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            lines.append(f"{event['log_level'].name}: {event['log_format'].format(**event)}")

        globalLogPublisher.addObserver(observe)
        clients = [Answering(answer) for answer in answers]
        try:
            asking = warn_of_unsafe([(f"http://{n}", client) for n, client in enumerate(clients)], 2.0)
            self.successResultOf(Deferred.fromCoroutine(asking))
        finally:
            globalLogPublisher.removeObserver(observe)
        for client in clients:
            self.assertEqual((client.asked, client.closed), ([("/maintenance/status", 2.0)], 1))
        return lines

    def test_unsafe(self) -> None:
        """One line for all, with who they are and what to do."""
        (line,) = self.warnings({"version": "3.5.1"}, {"version": "3.5.3"}, {"version": "3.5.1"})
        self.assertTrue(line.startswith("warn: The engine runs etcd 3.5.1 (http://0, http://2), "), line)
        self.assertTrue(line.endswith(f": {REMEDY}"), line)
        (line,) = self.warnings({"version": "3.5.2"}, {"version": "3.5.0-rc.1"})
        self.assertIn("etcd 3.5.2 (http://0), 3.5.0-rc.1 (http://1), with", line)

    def test_safe(self) -> None:
        for version in "3.4.22", "3.5.3", "3.5.20", "3.6.0", "":
            self.assertEqual(self.warnings({"version": version}), [])
        self.assertEqual(self.warnings({}), [])

    def test_no_answer(self) -> None:
        """It is not known then, and the others are asked all the same."""
        silent = EngineError("connection refused"), RefusedError("permission denied")
        self.assertEqual(self.warnings(*silent), [])
        self.assertEqual(len(self.warnings(*silent, {"version": "3.5.1"})), 1)

    def test_single_clients(self) -> None:
        """Each is asked by itself, and nobody logs in."""
        engine = Engine(("http://a:1", "http://b:2"), user="me", password="secret")
        found = single_clients(Clock(), engine, BrowserLikePolicyForHTTPS())
        self.assertEqual([url for url, _ in found], ["http://a:1", "http://b:2"])
        for url, client in found:
            self.assertEqual(client._engine.endpoints, (url,))  # type: ignore[attr-defined]
            self.assertEqual(client._engine.user, "")  # type: ignore[attr-defined]

    def test_document(self) -> None:
        """The page on clusters says the same."""
        text = " ".join((CHECKOUT / "docs" / "clustering.md").read_text("utf-8").split())
        self.assertIn(f"{min(UNSAFE)} to {max(UNSAFE)}", text)
        self.assertIn("3.5.6 or later", text)
