"""Who may do what: users, the roles that they have, and the rights that roles give.

Data and rules alone, those of etcd's v2 authentication.  A right is to one key, or with a trailing `*` to
every key that begins with what stands before it; to touch all that is below a key takes one of the latter
kind.  How users prove who they are is not decided here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from rpds import HashTrieMap

from txetcd.errors import AuthError
from txetcd.jsontext import quote

# The user that can do everything, and the role that makes others such users.
ROOT = "root"
# The role of those who do not say who they are.
GUEST = "guest"

Names = tuple[str, ...] | None
"""A list in etcd's data, which tells one that was never given (null) from an empty one."""


@dataclass(frozen=True, slots=True)
class Access:
    """What of the key space a request touches.

    @ivar key: as the request names it: behind `/d/` stands the same directory as behind `/d`, and another
        right.
    @ivar recursive: what is below it too.
    """

    key: str
    write: bool
    recursive: bool


@dataclass(frozen=True, slots=True)
class Role:
    """A name for rights.

    @ivar read: the patterns of the keys that it may look at, and
    @ivar write: of those that it may change.
    """

    name: str
    read: Names = None
    write: Names = None

    def allows(self, access: Access) -> bool:
        """Whether the role gives the right to that."""
        if self.name == ROOT:
            return True
        key, recursive = access.key, access.recursive
        for pattern in (self.write if access.write else self.read) or ():
            if pattern.endswith("*"):
                if key.startswith(pattern[:-1]):
                    return True
            elif key == pattern and not recursive and pattern:
                return True
        return False

    def to_json(self) -> str:
        """The role as the v2 API prints it."""
        rights = f'{{"kv":{{"read":{_list(self.read)},"write":{_list(self.write)}}}}}'
        return f'{{"role":{quote(self.name)},"permissions":{rights}}}'


ROOT_ROLE = Role(ROOT, ("/*",), ("/*",))
GUEST_ROLE = Role(GUEST, ("/*",), ("/*",))
"""What guests may do when nobody has said otherwise before authentication is enabled."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can prove who they are.

    @ivar password_hash: what tells the right password, as the caller chooses; never the password.
    @ivar roles: those granted to it; there need not be such roles.
    """

    name: str
    password_hash: str
    roles: Names = None

    @property
    def all_roles(self) -> tuple[str, ...]:
        """Its roles; root is root, whatever was granted or revoked."""
        roles = self.roles or ()
        return (*roles, ROOT) if self.name == ROOT and ROOT not in roles else roles

    def to_json(self) -> str:
        """The user as the v2 API prints it after a change: roles by name, no password."""
        return f'{{"user":{quote(self.name)},"roles":{_list(self.roles)}}}'


@dataclass(frozen=True, slots=True)
class Auth:
    """All users and roles at one moment, and whether they matter.

    @ivar enabled: whether rights are asked for at all.
    """

    enabled: bool
    users: HashTrieMap[str, User]
    roles: HashTrieMap[str, Role]

    def user(self, name: str) -> User:
        """@raise AuthError: 404, when there is no such user."""
        user = self.users.get(name)
        if user is None:
            raise refusal(404, f"User {name} does not exist.")
        return user

    def role(self, name: str) -> Role:
        """@raise AuthError: 404, when there is no such role; `root` always is."""
        role = ROOT_ROLE if name == ROOT else self.roles.get(name)
        if role is None:
            raise refusal(404, f"Role {name} does not exist.")
        return role

    def may(self, user: str | None, access: Access) -> bool:
        """Whether a user, or None for a guest, has the right to that."""
        if not self.enabled:
            return True
        for name in (GUEST,) if user is None else self.user(user).all_roles:
            role = ROOT_ROLE if name == ROOT else self.roles.get(name)
            if role is not None and role.allows(access):
                return True
        return False

    def is_root(self, user: str | None) -> bool:
        """Whether a user, or None for a guest, may change users, roles and members."""
        return not self.enabled or (user is not None and ROOT in self.user(user).all_roles)

    def with_user(self, user: User) -> Auth:
        """The same with a user put or replaced."""
        return replace(self, users=self.users.insert(user.name, user))

    def with_role(self, role: Role) -> Auth:
        """The same with a role put or replaced."""
        return replace(self, roles=self.roles.insert(role.name, role))

    # Telling

    def user_json(self, name: str) -> str:
        """A user with the rights of its roles as the v2 API prints it.

        @raise AuthError: 404, when there is no such user, or not one of its roles.
        """
        user = self.user(name)
        return _user_json(user, [self.role(role) for role in user.all_roles])

    def users_json(self) -> str:
        """All users likewise; roles that there are not are left out."""
        texts = []
        for _, user in sorted(self.users.items()):
            there = [role for role in user.all_roles if role == ROOT or role in self.roles]
            texts.append(_user_json(user, [self.role(role) for role in there]))
        return f'{{"users":{_array(texts)}}}'

    def roles_json(self) -> str:
        """All roles as the v2 API prints them."""
        return f'{{"roles":{_array([self.role(name).to_json() for name in sorted([ROOT, *self.roles])])}}}'

    # Keeping

    def encode(self) -> str:
        """The same as text for a journal."""
        users = [(user.name, user.password_hash, user.roles) for _, user in sorted(self.users.items())]
        roles = [(role.name, role.read, role.write) for _, role in sorted(self.roles.items())]
        return json.dumps([self.enabled, users, roles], separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Auth:
        """What `encode` made the text of.

        @raise ValueError: when the text is none of its.
        """
        try:
            enabled, users, roles = json.loads(text)
            return cls(
                bool(enabled),
                HashTrieMap({name: User(name, secret, names(held)) for name, secret, held in users}),
                HashTrieMap({name: Role(name, names(read), names(write)) for name, read, write in roles}),
            )
        except TypeError as error:
            raise ValueError(f"these are no users and roles: {error}") from error


DISABLED = Auth(False, HashTrieMap(), HashTrieMap())
"""How it is in a new store: no users, and everybody may do everything."""


def names(values: list[Any] | None) -> Names:
    """A list out of JSON, to be kept."""
    return None if values is None else tuple(values)


def refusal(status: int, text: str) -> AuthError:
    """The error of a refused change, in etcd's words."""
    return AuthError(status, f"auth: {text}")


def _user_json(user: User, roles: list[Role]) -> str:
    shown = f',"roles":{_array([role.to_json() for role in roles])}' if roles else ""
    return f'{{"user":{quote(user.name)}{shown}}}'


def _list(values: Names) -> str:
    return "null" if values is None else f"[{','.join(map(quote, values))}]"


def _array(texts: list[str]) -> str:
    """A list as Go prints one that was only ever appended to."""
    return f"[{','.join(texts)}]" if texts else "null"
