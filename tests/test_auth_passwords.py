"""Names and passwords over HTTP, under Twisted's Site and under ours: when they are verified, and where."""

from __future__ import annotations

import threading
from base64 import b64encode
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import TestCase

from tests.auth_harness import UsersTestCase, basic, our_site, twisted_site
from txetcd.auth_commands import (
    AuthCommand,
    CreateUser,
    DeleteUser,
    DisableAuth,
    UpdateRole,
    UpdateUser,
)
from txetcd.journal.memory import MemoryJournal
from txetcd.passwords import hash_password, verify_password
from txetcd.resources import guard as guard_module
from txetcd.resources.guard import Guard
from txetcd.store import Store


class _PasswordTests:
    """How a password is checked, and when."""

    def test_allowed(self: Any) -> None:
        self.assertEqual(self.status("/app/x", basic("alice", "a")), 404)
        self.assertEqual(self.status("/app/x?value=1", basic("alice", "a"), "PUT"), 201)
        self.assertEqual(self.status("/other", basic("alice", "a")), 401)
        self.assertEqual(self.status("/open/x"), 404)
        self.assertEqual(self.status("/app/x"), 401)

    def test_nothing_happens_before(self: Any) -> None:
        """Not before the password was found to be right is anything done."""
        talk = self.connect()
        talk.begin("PUT", "/app/x?value=1", basic("alice", "a"))
        self.clock.advance(1)
        self.assertIsNone(talk.so_far())
        self.assertIsNone(self.store.tree.find("/app/x"))
        self.held.run()
        self.clock.advance(0)
        self.assertEqual(talk.response().status, 201)

    def test_remembered(self: Any) -> None:
        """The next time costs nothing, on any connection."""
        for _ in range(3):
            self.assertEqual(self.status("/app/x", basic("alice", "a")), 404)
        self.assertEqual(self.held.asked, 1)

    def test_wrong_is_not_remembered(self: Any) -> None:
        for _ in range(2):
            self.assertEqual(self.status("/app/x", basic("alice", "b")), 401)
        self.assertEqual(self.held.asked, 2)

    def test_together(self: Any) -> None:
        """Those who came with the same before the first was found right are right too, without more ado."""
        talks = [self.connect() for _ in range(3)]
        for talk in talks:
            talk.begin("GET", "/app/x", basic("alice", "a"))
        verified: list[str] = []

        def verify(password: bytes, kept: str) -> bool:
            verified.append(kept)
            return verify_password(password, kept)

        self.patch(guard_module, "verify_password", verify)
        self.held.run()
        self.assertEqual([talk.response().status for talk in talks], [404, 404, 404])
        self.assertEqual(len(verified), 1)

    def test_few_are_remembered(self: Any) -> None:
        self.patch(guard_module, "REMEMBERED", 1)
        for name, password in [("alice", "a"), ("root", "pw"), ("alice", "a"), ("alice", "a")]:
            self.assertEqual(self.status("/app/x", basic(name, password)), 404)
        self.assertEqual(self.held.asked, 3)

    def test_another_password(self: Any) -> None:
        """The one before is worth nothing from then on."""
        self.assertEqual(self.status("/app/x", basic("alice", "a")), 404)
        self.change(UpdateUser("alice", hash_password(b"b"), (), ()))
        self.assertEqual(self.status("/app/x", basic("alice", "a")), 401)
        self.assertEqual(self.status("/app/x", basic("alice", "b")), 404)

    def test_same_password_of_another(self: Any) -> None:
        self.change(CreateUser("bob", hash_password(b"b"), ("app",)))
        self.assertEqual(self.status("/app/x", basic("alice", "a")), 404)
        self.assertEqual(self.status("/app/x", basic("bob", "a")), 401)

    def test_nobody(self: Any) -> None:
        """A name that is none takes as long."""
        self.assertEqual(self.status("/open/x", basic("mallory", "a")), 401)
        self.assertEqual(self.held.asked, 1)

    def test_no_colon_no_name(self: Any) -> None:
        for text in ("alice", "", ":", ":a", "alice:", "\xff:a"):
            header = "Basic " + b64encode(text.encode("latin-1")).decode()
            self.assertEqual(self.status("/open/x", [("Authorization", header)]), 401, text)

    def test_colon_in_password(self: Any) -> None:
        self.change(UpdateUser("alice", hash_password("p:\u00e4:".encode()), (), ()))
        self.assertEqual(self.status("/app/x", basic("alice", "p:\u00e4:")), 404)
        self.assertEqual(self.status("/app/x", basic("alice", "p")), 401)

    def meanwhile(self: Any, *commands: AuthCommand) -> int:
        """The status when something changes while a password is checked."""
        talk = self.connect()
        talk.begin("GET", "/app/x", basic("alice", "a"))
        self.change(*commands)
        self.held.run()
        status: int = talk.response().status
        return status

    def test_password_changed_meanwhile(self: Any) -> None:
        self.assertEqual(self.meanwhile(UpdateUser("alice", hash_password(b"b"), (), ())), 401)

    def test_deleted_meanwhile(self: Any) -> None:
        self.assertEqual(self.meanwhile(DeleteUser("alice")), 401)

    def test_rights_revoked_meanwhile(self: Any) -> None:
        self.assertEqual(self.meanwhile(UpdateRole("app", (), (), ("/app/*",), ())), 401)

    def test_disabled_meanwhile(self: Any) -> None:
        self.assertEqual(self.meanwhile(DisableAuth()), 404)

    def test_gone_meanwhile(self: Any) -> None:
        """Nothing is done for a client that has gone."""
        talk = self.connect()
        talk.begin("PUT", "/app/x?value=1", basic("alice", "a"))
        talk.disconnect()
        self.held.run()
        self.clock.advance(0)
        self.assertIsNone(self.store.tree.find("/app/x"))


class TwistedSitePasswordTests(_PasswordTests, UsersTestCase):
    make_site = staticmethod(twisted_site)


class SitePasswordTests(_PasswordTests, UsersTestCase):
    make_site = staticmethod(our_site)


class ThreadTests(TestCase):
    """What takes long is done elsewhere."""

    async def test_in_a_thread(self) -> None:
        """With a real reactor, in its threads."""
        store = Store(MemoryJournal(), IReactorTime(reactor))
        threads: list[int] = []

        def note(*arguments: object) -> bool:
            threads.append(threading.get_ident())
            return True

        self.patch(guard_module, "verify_password", note)
        self.patch(guard_module, "hash_password", note)
        guard = Guard(store)
        await guard.hash("secret")
        await guard._check(b"a:b", "kept")
        self.assertEqual(len(threads), 2)
        self.assertNotIn(threading.get_ident(), threads)
