"""The writes that change users, roles, and whether they matter, as data.

They are commands like those for keys: ordered, durable and replayed with them.  None takes an index or makes
an event.  They carry hashes, never passwords.  What is refused, and in which words, is etcd's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from txetcd.auth import GUEST, GUEST_ROLE, ROOT, Auth, Names, Role, User, refusal


class AuthCommand:
    """What they have in common.

    @cvar name: names the command in journals.
    """

    __slots__ = ()
    name: ClassVar[str]

    def apply(self, auth: Auth) -> Auth:
        """What becomes of users and roles.

        @raise AuthError: when it is refused.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class CreateUser(AuthCommand):
    """Make a user.

    @ivar password_hash: empty when no password was given, which is refused.
    """

    name: ClassVar[str] = "createUser"
    user: str
    password_hash: str
    roles: Names

    def apply(self, auth: Auth) -> Auth:
        """@raise AuthError: 400 or 409."""
        if not self.password_hash:
            raise refusal(400, f"Cannot create user {self.user} with an empty password")
        if self.user in auth.users:
            raise refusal(409, f"User {self.user} already exists.")
        user = User(self.user, self.password_hash, self.roles)
        if self.user == ROOT:
            user = replace(user, roles=user.all_roles)
        return auth.with_user(user)


@dataclass(frozen=True, slots=True)
class UpdateUser(AuthCommand):
    """Give a user another password, more roles, or fewer.

    @ivar password_hash: empty to keep the password.
    """

    name: ClassVar[str] = "updateUser"
    user: str
    password_hash: str
    grant: tuple[str, ...]
    revoke: tuple[str, ...]

    def apply(self, auth: Auth) -> Auth:
        """@raise AuthError: 400, 404 or 409."""
        user = auth.user(self.user)
        # For etcd, roles that were never given are not the same as none.
        old = replace(user, roles=user.all_roles or user.roles)
        roles = set(user.all_roles)
        for role in self.grant:
            if role in roles:
                raise refusal(409, f"Granting duplicate role {role} for user {self.user}")
            roles.add(role)
        for role in self.revoke:
            if role not in roles:
                raise refusal(409, f"Revoking ungranted role {role} for user {self.user}")
            roles.remove(role)
        new = User(self.user, self.password_hash or old.password_hash, tuple(sorted(roles)))
        if new == old:
            raise refusal(400, "User not updated. Use grant/revoke/password to update the user.")
        return auth.with_user(new)


@dataclass(frozen=True, slots=True)
class DeleteUser(AuthCommand):
    """Take away a user."""

    name: ClassVar[str] = "deleteUser"
    user: str

    def apply(self, auth: Auth) -> Auth:
        """@raise AuthError: 403 or 404."""
        if auth.enabled and self.user == ROOT:
            raise refusal(403, "Cannot delete root user while auth is enabled.")
        if self.user not in auth.users:
            raise refusal(404, f"User {self.user} does not exist")
        return replace(auth, users=auth.users.remove(self.user))


@dataclass(frozen=True, slots=True)
class CreateRole(AuthCommand):
    """Make a role with these rights."""

    name: ClassVar[str] = "createRole"
    role: str
    read: Names
    write: Names

    def apply(self, auth: Auth) -> Auth:
        """@raise AuthError: 403 or 409."""
        _check_not_root(self.role)
        if self.role in auth.roles:
            raise refusal(409, f"Role {self.role} already exists.")
        return auth.with_role(Role(self.role, self.read, self.write))


@dataclass(frozen=True, slots=True)
class UpdateRole(AuthCommand):
    """Give a role more rights, or fewer; to revoke what it does not have is fine."""

    name: ClassVar[str] = "updateRole"
    role: str
    grant_read: tuple[str, ...]
    grant_write: tuple[str, ...]
    revoke_read: tuple[str, ...]
    revoke_write: tuple[str, ...]

    def apply(self, auth: Auth) -> Auth:
        """@raise AuthError: 400, 403, 404 or 409."""
        _check_not_root(self.role)
        old = auth.role(self.role)
        read = _granted("read", old.read, self.grant_read)
        write = _granted("write", old.write, self.grant_write)
        new = Role(
            self.role,
            tuple(sorted(read.difference(self.revoke_read))),
            tuple(sorted(write.difference(self.revoke_write))),
        )
        if new == old:
            raise refusal(400, "Role not updated. Use grant/revoke to update the role.")
        return auth.with_role(new)


@dataclass(frozen=True, slots=True)
class DeleteRole(AuthCommand):
    """Take away a role; users keep its name, and have it again should it be made again."""

    name: ClassVar[str] = "deleteRole"
    role: str

    def apply(self, auth: Auth) -> Auth:
        """@raise AuthError: 403 or 404."""
        _check_not_root(self.role)
        if self.role not in auth.roles:
            raise refusal(404, f"Role {self.role} doesn't exist.")
        return replace(auth, roles=auth.roles.remove(self.role))


@dataclass(frozen=True, slots=True)
class EnableAuth(AuthCommand):
    """Ask for rights from now on.  Guests keep all theirs, unless there is a role for them already."""

    name: ClassVar[str] = "enableAuth"

    def apply(self, auth: Auth) -> Auth:
        """@raise AuthError: 409."""
        if auth.enabled:
            raise refusal(409, "already enabled")
        if ROOT not in auth.users:
            raise refusal(409, "No root user available, please create one")
        if GUEST not in auth.roles:
            auth = auth.with_role(GUEST_ROLE)
        return replace(auth, enabled=True)


@dataclass(frozen=True, slots=True)
class DisableAuth(AuthCommand):
    """Let everybody do everything again; users and roles stay."""

    name: ClassVar[str] = "disableAuth"

    def apply(self, auth: Auth) -> Auth:
        """@raise AuthError: 409."""
        if not auth.enabled:
            raise refusal(409, "already disabled")
        return replace(auth, enabled=False)


def _check_not_root(role: str) -> None:
    if role == ROOT:
        raise refusal(403, f"Cannot modify role {role}: is root role.")


def _granted(kind: str, old: Names, new: Iterable[str]) -> set[str]:
    """The old rights and the new."""
    rights = set(old or ())
    for right in new:
        if right in rights:
            raise refusal(409, f"Granting duplicate {kind} permission {right}")
        rights.add(right)
    return rights
