"""What the tests of users and rights over HTTP share: an API with users, under either Site."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from twisted.web.server import Site as TwistedSite

from tests.http_harness import Conversation, conversation
from txetcd import passwords
from txetcd.auth_commands import (
    AuthCommand,
    CreateRole,
    CreateUser,
    EnableAuth,
)
from txetcd.journal.memory import MemoryJournal
from txetcd.passwords import hash_password
from txetcd.resources.guard import Guard, Run
from txetcd.resources.keys import KeysResource
from txetcd.site import Site
from txetcd.store import Store

Headers = list[tuple[str, str]]


def basic(name: str, password: str) -> Headers:
    """The header of a user that shows a password."""
    return [("Authorization", "Basic " + b64encode(f"{name}:{password}".encode()).decode())]


def twisted_site(root: IResource, clock: Clock) -> Factory:
    return cast(Factory, TwistedSite(root, reactor=clock))


def our_site(root: IResource, clock: Clock) -> Factory:
    return Site(root, clock)


class Held:
    """Runs what takes long when the test says so.

    @ivar asked: how often it was asked to.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._waiting: list[Callable[[], None]] = []

    def __call__(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        self.asked += 1
        done: Deferred[Any] = Deferred()
        self._waiting.append(lambda: done.callback(function(*arguments)))
        return done

    def run(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()


class UsersTestCase(SynchronousTestCase):
    """A store with users: alice may do everything below /app, guests may read below /open."""

    make_site: Callable[[IResource, Clock], Factory]

    def setUp(self) -> None:
        self.patch(passwords, "LOG_N", 4)
        self.clock = Clock()
        self.store = Store(MemoryJournal(), self.clock, now=lambda: round(self.clock.seconds() * 1e9))
        self.store.startService()
        self.addCleanup(self.store.stopService)
        self.held = Held()
        self.guard = Guard(self.store, cast(Run, self.held))
        self.change(
            CreateUser("root", hash_password(b"pw"), None),
            CreateUser("alice", hash_password(b"a"), ("app",)),
            CreateRole("app", ("/app/*",), ("/app/*",)),
            CreateRole("guest", ("/open/*",), None),
            EnableAuth(),
        )

    def change(self, *commands: AuthCommand) -> None:
        """Make changes, as another client would."""
        for command in commands:
            changed = self.store.change_auth(command)
            self.clock.advance(0)
            self.successResultOf(changed)

    def connect(self, root: IResource | None = None) -> Conversation:
        """A connection to keys whose guard is held."""
        root = root or KeysResource(self.store, guard=self.guard)
        return conversation(type(self).make_site(root, self.clock), self.clock)

    def status(self, target: str, headers: Headers | None = None, method: str = "GET") -> int:
        """The status of an answer that comes once what takes long has run."""
        talk = self.connect()
        talk.begin(method, target, headers or [])
        self.held.run()
        self.clock.advance(0)
        response = talk.response()
        assert response is not None
        talk.disconnect()
        return response.status
