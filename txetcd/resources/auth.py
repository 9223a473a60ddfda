"""`/v2/auth`: users, roles, and whether they matter."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.defer import Deferred, succeed
from twisted.web.resource import IResource
from twisted.web.server import Request

from txetcd.auth import Auth
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
from txetcd.errors import AuthError
from txetcd.resources.endpoint import JSON, Directory, Endpoint, answer
from txetcd.resources.guard import Guard, Guarded
from txetcd.store import Store

# A body has a few names and patterns.
MAX_BODY = 1_572_864

_CHANGEABLE = (b"GET", b"PUT", b"DELETE")


class AuthResource(Directory):
    """All of `/v2/auth`."""

    def __init__(self, store: Store, guard: Guard) -> None:
        super().__init__()
        self.putChild(b"enable", Switch(store, guard))
        self.putChild(b"users", Users(store, guard))
        self.putChild(b"roles", Roles(store, guard))


class _AuthEndpoint(Guarded):
    """What the endpoints have in common."""

    @property
    def _auth(self) -> Auth:
        return self._store.tree.auth

    def _change(self, command: AuthCommand) -> Deferred[str]:
        """Make a change that is answered with nothing."""
        return self._store.change_auth(command).addCallback(lambda _: "")


class Switch(_AuthEndpoint):
    """`/v2/auth/enable`: whether rights are asked for; anybody may look."""

    methods: ClassVar[tuple[bytes, ...]] = _CHANGEABLE
    open_methods: ClassVar[tuple[bytes, ...]] = (b"GET",)

    def reply(self, request: Request) -> Deferred[str]:
        """Tell, or switch."""
        if request.method == b"GET":
            return succeed(f'{{"enabled":{"true" if self._auth.enabled else "false"}}}\n')
        return self._change(EnableAuth() if request.method == b"PUT" else DisableAuth())


class _Collection(_AuthEndpoint):
    """A list, and below it its entries by name."""

    def getChild(self, path: bytes, request: Request) -> IResource:
        """The entry; the list again behind a trailing slash."""
        parts = b"/".join([path, *(request.postpath or [])]).decode("utf-8", "surrogateescape").split("/")
        names = [part for part in parts if part not in ("", ".")]
        request.postpath = []
        if not names:
            return self
        if len(names) > 1 or names == [".."]:
            return InvalidPath()
        return self.entry(names[0])

    def entry(self, name: str) -> IResource:
        """The entry of a name, whether there is one or not."""
        raise NotImplementedError


class Users(_Collection):
    """`/v2/auth/users`."""

    def entry(self, name: str) -> IResource:
        """A user."""
        return OneUser(self._store, self._guard, name)

    def body(self, request: Request) -> str:
        """All users."""
        return self._auth.users_json() + "\n"


class Roles(_Collection):
    """`/v2/auth/roles`."""

    def entry(self, name: str) -> IResource:
        """A role."""
        return OneRole(self._store, self._guard, name)

    def body(self, request: Request) -> str:
        """All roles."""
        return self._auth.roles_json() + "\n"


class InvalidPath(Endpoint):
    """What is below a user or a role."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Answer 400, whatever the method."""
        return answer(request, 400, JSON, AuthError(400, "Invalid path").to_json().encode())


class _Entry(_AuthEndpoint):
    """A user or a role.

    @param name: its name, which need not be one.
    """

    isLeaf = True
    methods: ClassVar[tuple[bytes, ...]] = _CHANGEABLE

    def __init__(self, store: Store, guard: Guard, name: str) -> None:
        super().__init__(store, guard)
        self._name = name


class OneUser(_Entry):
    """`/v2/auth/users/NAME`."""

    def reply(self, request: Request) -> Deferred[str]:
        """Tell, make, change or take away the user."""
        if request.method == b"GET":
            return succeed(self._auth.user_json(self._name) + "\n")
        if request.method == b"DELETE":
            return self._change(DeleteUser(self._name))
        asked = parse_user(self._name, _body(request))

        def hashed(password_hash: str) -> Deferred[str]:
            updates = asked.grant or asked.revoke
            # With roles it is meant to be new; with a password alone it may be either.
            creates = asked.roles or (not updates and self._name not in self._auth.users)
            command: AuthCommand
            if creates:
                command = CreateUser(self._name, password_hash, asked.roles)
            else:
                command = UpdateUser(self._name, password_hash, asked.grant, asked.revoke)

            def changed(auth: Auth) -> str:
                request.setResponseCode(201 if creates and not asked.roles else 200)
                return auth.user(self._name).to_json() + "\n"

            return self._store.change_auth(command).addCallback(changed)

        return self._guard.hash(asked.password).addCallback(hashed)


class OneRole(_Entry):
    """`/v2/auth/roles/NAME`."""

    def reply(self, request: Request) -> Deferred[str]:
        """Tell, make, change or take away the role."""
        if request.method == b"GET":
            return succeed(self._auth.role(self._name).to_json() + "\n")
        if request.method == b"DELETE":
            return self._change(DeleteRole(self._name))
        asked = parse_role(self._name, _body(request))
        updates = bool(asked.grant or asked.revoke)
        command: AuthCommand
        if updates:
            command = UpdateRole(
                self._name,
                *(asked.grant.read or (), asked.grant.write or ()),
                *(asked.revoke.read or (), asked.revoke.write or ()),
            )
        else:
            command = CreateRole(self._name, asked.permissions.read, asked.permissions.write)

        def changed(auth: Auth) -> str:
            request.setResponseCode(200 if updates else 201)
            return auth.role(self._name).to_json() + "\n"

        return self._store.change_auth(command).addCallback(changed)


def _body(request: Request) -> bytes:
    if request.content is None:
        return b""
    request.content.seek(0)
    # One that is cut off is no JSON.
    body: bytes = request.content.read(MAX_BODY)
    return body
