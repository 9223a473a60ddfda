"""txetcd.auth, auth_commands, auth_query and passwords: who may do what, and how that changes.

The words of refusals, and what HTTP makes of all this, are held against the real etcd's in `test_reference`.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from txetcd import passwords
from txetcd.auth import DISABLED, Access, Auth, Role, User
from txetcd.auth_commands import (
    AuthCommand,
    CreateRole,
    CreateUser,
    DeleteRole,
    DeleteUser,
    DisableAuth,
    EnableAuth,
    UpdateRole,
    UpdateUser,
)
from txetcd.auth_query import parse_role, parse_user
from txetcd.commands import AnyCommand, Set, decode, encode, evaluate, refused
from txetcd.errors import AuthError, EtcdError
from txetcd.passwords import hash_password, verify_password
from txetcd.query import parse_access, parse_key
from txetcd.tree import EMPTY

ALL: tuple[AnyCommand, ...] = (
    CreateUser("a", "hash", None),
    CreateUser("\u00e4<", "hash", ("r", "s")),
    UpdateUser("a", "", ("r",), ()),
    DeleteUser("a"),
    CreateRole("r", None, ("/a", "*")),
    UpdateRole("r", (), ("/b",), (), ("*",)),
    DeleteRole("r"),
    EnableAuth(),
    DisableAuth(),
)


def after(*commands: AuthCommand, auth: Auth = DISABLED) -> Auth:
    """What becomes of users and roles."""
    for command in commands:
        auth = command.apply(auth)
    return auth


def reading(key: str, recursive: bool = False) -> Access:
    return Access(key, False, recursive)


def writing(key: str, recursive: bool = False) -> Access:
    return Access(key, True, recursive)


class RoleTests(SynchronousTestCase):
    """What rights there are in patterns."""

    def test_exact(self) -> None:
        role = Role("r", ("/a/b",), None)
        self.assertTrue(role.allows(reading("/a/b")))
        for access in (reading("/a"), reading("/a/b/"), reading("/a/bc"), reading("/a/b/c"), reading("/A/b")):
            self.assertFalse(role.allows(access), access)

    def test_exact_is_not_recursive(self) -> None:
        """A right to a key is none to what is below it."""
        self.assertFalse(Role("r", ("/a",), ("/a",)).allows(reading("/a", True)))
        self.assertFalse(Role("r", ("/a",), ("/a",)).allows(writing("/a", True)))

    def test_prefix(self) -> None:
        role = Role("r", ("/a/*", "/pre*"), None)
        for key in ("/a/", "/a/b", "/a/b/c", "/pre", "/prefix", "/pre/x"):
            self.assertTrue(role.allows(reading(key)), key)
            self.assertTrue(role.allows(reading(key, True)), key)
        for key in ("", "/", "/a", "/pr", "/b/a/"):
            self.assertFalse(role.allows(reading(key)), key)
            self.assertFalse(role.allows(reading(key, True)), key)

    def test_reading_is_not_writing(self) -> None:
        role = Role("r", ("/a*",), ("/b*",))
        self.assertTrue(role.allows(reading("/a")))
        self.assertFalse(role.allows(writing("/a")))
        self.assertTrue(role.allows(writing("/b")))
        self.assertFalse(role.allows(reading("/b")))

    def test_only_the_last_star_counts(self) -> None:
        role = Role("r", ("/a*b", "/c**", "/d/*/e*"), None)
        for key in ("/a*b", "/c*", "/c*x", "/d/*/ef"):
            self.assertTrue(role.allows(reading(key)), key)
        for key in ("/ab", "/axb", "/c", "/cx", "/d/x/e"):
            self.assertFalse(role.allows(reading(key)), key)

    def test_everything_and_nothing(self) -> None:
        self.assertTrue(Role("r", ("*",)).allows(reading("", True)))
        self.assertFalse(Role("r", ("/*",)).allows(reading("")))
        for patterns in (None, (), ("",)):
            for key in ("", "/", "/a"):
                self.assertFalse(Role("r", patterns).allows(reading(key)), (patterns, key))

    def test_root(self) -> None:
        """Whatever its patterns say."""
        for access in (reading(""), reading("/", True), writing("/a"), writing("", True)):
            self.assertTrue(Role("root").allows(access))


class AuthTests(SynchronousTestCase):
    """Who has which rights."""

    auth = after(
        CreateRole("guest", ("/open/*",), None),
        CreateRole("r", ("/a/*",), None),
        CreateRole("w", None, ("/a/*",)),
        CreateUser("root", "hash", None),
        CreateUser("reader", "hash", ("r", "missing")),
        CreateUser("both", "hash", ("w", "r")),
        CreateUser("none", "hash", None),
        CreateUser("admin", "hash", ("root",)),
        EnableAuth(),
    )

    def test_users(self) -> None:
        may = self.auth.may
        self.assertTrue(may("reader", reading("/a/b")))
        self.assertFalse(may("reader", writing("/a/b")))
        self.assertTrue(may("both", reading("/a/b")))
        self.assertTrue(may("both", writing("/a/b", True)))
        self.assertFalse(may("none", reading("/a/b")))
        for name in ("root", "admin"):
            self.assertTrue(may(name, writing("", True)))

    def test_guests(self) -> None:
        """Their rights are nobody else's."""
        self.assertTrue(self.auth.may(None, reading("/open/x")))
        self.assertFalse(self.auth.may(None, writing("/open/x")))
        self.assertFalse(self.auth.may(None, reading("/a/b")))
        self.assertFalse(self.auth.may("reader", reading("/open/x")))
        self.assertFalse(after(DeleteRole("guest"), auth=self.auth).may(None, reading("/open/x")))

    def test_is_root(self) -> None:
        roots = [name for name in (None, *sorted(self.auth.users)) if self.auth.is_root(name)]
        self.assertEqual(roots, ["admin", "root"])

    def test_disabled(self) -> None:
        """Then everybody may do everything, and is root."""
        auth = after(DisableAuth(), auth=self.auth)
        for name in (None, "none"):
            self.assertTrue(auth.may(name, writing("/a")))
            self.assertTrue(auth.is_root(name))

    def test_root_stays_root(self) -> None:
        """Whatever is revoked."""
        auth = after(UpdateUser("root", "", (), ("root",)), auth=self.auth)
        self.assertEqual(auth.user("root").roles, ())
        self.assertTrue(auth.is_root("root"))
        self.assertTrue(auth.may("root", writing("/a")))
        self.assertIn('"role":"root"', auth.user_json("root"))

    def test_guests_by_default(self) -> None:
        """They may do everything, if nobody has said otherwise."""
        auth = after(CreateUser("root", "hash", None), EnableAuth())
        self.assertTrue(auth.may(None, writing("/a", True)))
        self.assertFalse(auth.is_root(None))

    def test_underscores(self) -> None:
        """Users and roles are listed, whatever their names."""
        auth = after(CreateUser("_u", "hash", None), CreateRole("_r", None, None))
        self.assertEqual(auth.users_json(), '{"users":[{"user":"_u"}]}')
        self.assertIn('"role":"_r"', auth.roles_json())

    def test_json_is_escaped(self) -> None:
        auth = after(CreateRole('<"r">', ("/\u2028",), None), CreateUser("<u>", "hash", ('<"r">',)))
        for text in (auth.user_json("<u>"), auth.users_json(), auth.roles_json(), auth.user("<u>").to_json()):
            self.assertNotIn("<", text)
            json.loads(text)

    def test_no_password_is_told(self) -> None:
        auth = self.auth
        for text in (auth.users_json(), auth.user_json("both"), auth.user("both").to_json()):
            self.assertNotIn("hash", text)


class CommandTests(SynchronousTestCase):
    """How users and roles change.  What is refused is in the recorded conversations."""

    def refused(self, auth: Auth, command: AuthCommand) -> int:
        """The status with which a command is refused."""
        with self.assertRaises(AuthError) as caught:
            command.apply(auth)
        return int(caught.exception.status)

    def test_auth_is_not_changed(self) -> None:
        """There is a new one."""
        before = after(CreateUser("u", "hash", None))
        after(UpdateUser("u", "other", ("r",), ()), DeleteUser("u"), CreateRole("r", None, None), auth=before)
        self.assertEqual(before, after(CreateUser("u", "hash", None)))

    def test_password(self) -> None:
        auth = after(CreateUser("u", "hash", ("r",)), UpdateUser("u", "other", (), ()))
        self.assertEqual(auth.user("u"), User("u", "other", ("r",)))
        auth = after(UpdateUser("u", "", ("q",), ("r",)), auth=auth)
        self.assertEqual(auth.user("u"), User("u", "other", ("q",)))

    def test_root_cannot_be_weakened(self) -> None:
        auth = after(CreateUser("root", "hash", None), EnableAuth())
        self.assertEqual(self.refused(auth, DeleteUser("root")), 403)
        for command in (CreateRole("root", None, None), DeleteRole("root")):
            self.assertEqual(self.refused(auth, command), 403)
        self.assertEqual(self.refused(auth, UpdateRole("root", ("/a",), (), (), ())), 403)

    def test_no_password(self) -> None:
        self.assertEqual(self.refused(DISABLED, CreateUser("u", "", ("r",))), 400)

    def test_deleted_role_comes_back(self) -> None:
        """Users keep its name."""
        auth = after(CreateRole("r", ("/a",), None), CreateUser("u", "hash", ("r",)), DeleteRole("r"))
        self.assertEqual(auth.user("u").roles, ("r",))
        again = after(CreateRole("r", None, None), auth=auth)
        self.assertIn('"role":"r"', again.user_json("u"))

    def test_evaluate(self) -> None:
        """They count as commands, and neither take an index nor make an event."""
        tree, events = evaluate(EMPTY, CreateUser("u", "hash", None))
        self.assertEqual((events, tree.index, tree.raft_index), ([], EMPTY.index, 1))
        self.assertIs(tree.root, EMPTY.root)
        self.assertEqual(list(tree.auth.users), ["u"])
        with self.assertRaises(AuthError):
            evaluate(tree, CreateUser("u", "hash", None))
        self.assertIs(refused(tree).auth, tree.auth)

    def test_keys_leave_it_alone(self) -> None:
        tree, _ = evaluate(EMPTY, CreateUser("u", "hash", None))
        written, _ = evaluate(tree, Set("/a", "v", False, 1, False, 0))
        self.assertIs(written.auth, tree.auth)


class EncodingTests(SynchronousTestCase):
    """As text for journals."""

    def test_commands(self) -> None:
        self.assertEqual(decode(encode(ALL)), list(ALL))

    def test_text(self) -> None:
        """What is in journals; a change here needs a new version of their format."""
        self.assertEqual(
            encode(ALL),
            '[["createUser","a","hash",null],["createUser","\\u00e4<","hash",["r","s"]],'
            '["updateUser","a","",["r"],[]],["deleteUser","a"],["createRole","r",null,["/a","*"]],'
            '["updateRole","r",[],["/b"],[],["*"]],["deleteRole","r"],["enableAuth"],["disableAuth"]]',
        )

    def test_wrong_text(self) -> None:
        for text in ('[["deleteUser"]]', '[["enableAuth",1]]', '[["createUser","a"]]', '[["dropUser","a"]]'):
            self.assertRaises(ValueError, decode, text)

    def test_auth(self) -> None:
        auth = AuthTests.auth
        self.assertEqual(Auth.decode(auth.encode()), auth)
        self.assertEqual(Auth.decode(DISABLED.encode()), DISABLED)
        self.assertEqual(
            after(CreateUser("u", "hash", None), CreateRole("r", (), ("/\u00e4",))).encode(),
            '[false,[["u","hash",null]],[["r",[],["/\\u00e4"]]]]',
        )
        for text in ("", "null", "[]", "[1,2,3]", '[true,[["u"]],[]]', '[true,[],[["r",1,2]]]'):
            self.assertRaises(ValueError, Auth.decode, text)


class RequestTests(SynchronousTestCase):
    """Bodies, and what requests touch."""

    def test_user(self) -> None:
        request = parse_user("u", b'{"user":"u","password":"p","roles":["r",null]}')
        self.assertEqual((request.password, request.roles), ("p", ("r", "")))
        self.assertEqual((request.grant, request.revoke), ((), ()))

    def test_role(self) -> None:
        request = parse_role("r", b'{"role":"r","grant":{"kv":{"read":["/a"]}},"revoke":{}}')
        self.assertEqual(request.grant.read, ("/a",))
        self.assertTrue(request.grant)
        self.assertFalse(request.revoke or request.permissions)

    def test_no_surrogates(self) -> None:
        """They would be taken for bytes."""
        self.assertEqual(parse_user("\ufffd", b'{"user":"\\udc80","password":"\\ud800"}').password, "\ufffd")

    def test_monstrous(self) -> None:
        """Nothing that is sent is more than no JSON."""
        for body in (
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"\xff\xfe",
            b'{"user":' + b"9" * 5000 + b"}",
            b"{" * 9,
        ):
            error = self.assertRaises(AuthError, parse_user, "u", body)
            self.assertEqual(error, AuthError(400, "Invalid JSON in request body."))

    def access(self, path: bytes, method: str = "GET", **form: str) -> Access:
        return parse_access(method, path, parse_key(path), form)

    def test_access(self) -> None:
        self.assertEqual(self.access(b"/a/b"), reading("/a/b"))
        self.assertEqual(self.access(b"/a", "HEAD", recursive="true"), reading("/a", True))
        for method in ("PUT", "POST", "DELETE"):
            self.assertEqual(self.access(b"/a", method, recursive="1"), writing("/a", True))
            self.assertEqual(self.access(b"/a", method, recursive="F"), writing("/a"))

    def test_slashes(self) -> None:
        for path, key in (
            (b"", ""),
            (b"/", "/"),
            (b"//", "/"),
            (b"/a/", "/a/"),
            (b"/a%2F", "/a/"),
            (b"/a//", "/a/"),
            (b"/a/.", "/a"),
            (b"/a/../", "/"),
        ):
            self.assertEqual(self.access(path), reading(key), path)

    def test_detours(self) -> None:
        """It is the key that counts, whatever the way to it."""
        for path in (b"/open/../a", b"/open/%2e%2e/a", b"//a", b"/./a", b"/open/..%2Fa"):
            self.assertEqual(self.access(path), reading("/a"), path)


class PasswordTests(SynchronousTestCase):
    def test_verify(self) -> None:
        kept = hash_password(b"secret")
        self.assertTrue(verify_password(b"secret", kept))
        for other in (b"", b"Secret", b"secret ", b"secre"):
            self.assertFalse(verify_password(other, kept))

    def test_salted(self) -> None:
        self.patch(passwords, "LOG_N", 4)
        self.assertNotEqual(hash_password(b"secret"), hash_password(b"secret"))

    def test_old_costs_still_verify(self) -> None:
        self.patch(passwords, "LOG_N", 4)
        kept = hash_password(b"secret")
        self.patch(passwords, "LOG_N", 5)
        self.assertTrue(verify_password(b"secret", kept))

    def test_shape(self) -> None:
        """It does not show the password, and says how it was made."""
        kept = hash_password(b"secret")
        self.assertRegex(kept, r"\A\$scrypt\$ln=15,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}\Z")
        self.assertNotIn("secret", kept)

    def test_unknown(self) -> None:
        """It is of the shape of the others, and no password is right."""
        self.assertEqual(len(passwords.UNKNOWN), len(hash_password(b"x")))
        self.assertFalse(verify_password(b"", passwords.UNKNOWN))
        for nonsense in ("", "secret", "$scrypt$ln=15,r=8,p=1$$"):
            self.assertFalse(verify_password(b"secret", nonsense))


class ErrorTests(SynchronousTestCase):
    def test_auth_error(self) -> None:
        error = AuthError(404, "auth: <x>")
        self.assertEqual(error.to_json(), '{"message":"auth: \\u003cx\\u003e"}')
        self.assertEqual((error.status, str(error)), (404, "auth: <x>"))
        self.assertEqual(error, AuthError(404, "auth: <x>"))
        for other in (AuthError(400, "auth: <x>"), AuthError(404, "auth: x"), EtcdError(100)):
            self.assertNotEqual(error, other)
