"""The JSON that clients send to change users and roles, read as Go reads it for etcd.

Names of fields count in any case, those that are not known do not count, null is as if not given, and what
comes after the first value is overlooked.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from txetcd.auth import Names
from txetcd.errors import AuthError

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class UserRequest:
    """What is asked for a user.

    @ivar password: empty if not given.
    """

    password: str
    roles: Names
    grant: tuple[str, ...]
    revoke: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rights:
    """Patterns of keys, to read and to write."""

    read: Names = None
    write: Names = None

    def __bool__(self) -> bool:
        return bool(self.read or self.write)


@dataclass(frozen=True, slots=True)
class RoleRequest:
    """What is asked for a role."""

    permissions: Rights
    grant: Rights
    revoke: Rights


def parse_user(name: str, body: bytes) -> UserRequest:
    """Read the body of a PUT of a user.

    @param name: the user's in the URL.
    @raise AuthError: 400.
    """
    fields = _Fields(_parse(body))
    if fields.text("user") != name:
        raise AuthError(400, "User JSON name does not match the name in the URL")
    request = UserRequest(
        fields.text("password"),
        fields.texts("roles"),
        fields.texts("grant") or (),
        fields.texts("revoke") or (),
    )
    if request.roles and (request.grant or request.revoke):
        raise AuthError(400, "User JSON contains both roles and grant/revoke")
    return request


def parse_role(name: str, body: bytes) -> RoleRequest:
    """Read the body of a PUT of a role.

    @param name: the role's in the URL.
    @raise AuthError: 400.
    """
    fields = _Fields(_parse(body))
    if fields.text("role") != name:
        raise AuthError(400, "Role JSON name does not match the name in the URL")
    request = RoleRequest(fields.rights("permissions"), fields.rights("grant"), fields.rights("revoke"))
    if request.permissions and (request.grant or request.revoke):
        raise AuthError(400, "Role JSON contains both permissions and grant/revoke")
    return request


def _parse(body: bytes) -> Any:
    try:
        text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
        value, _ = json.JSONDecoder(parse_constant=_malformed).raw_decode(text)
    except (ValueError, RecursionError):
        _malformed()
    return value


def _malformed(_: object = None) -> NoReturn:
    raise AuthError(400, "Invalid JSON in request body.")


class _Fields:
    """The fields of a JSON object, by name."""

    def __init__(self, value: Any) -> None:
        if value is not None and not isinstance(value, dict):
            _malformed()
        self._values = {name.lower(): field for name, field in (value or {}).items() if field is not None}

    def text(self, name: str) -> str:
        """A string; empty if it is not given."""
        return _text(self._values.get(name))

    def texts(self, name: str) -> Names:
        """A list of strings; None if it is not given."""
        values = self._values.get(name)
        if values is None:
            return None
        if not isinstance(values, list):
            _malformed()
        return tuple(_text(value) for value in values)

    def rights(self, name: str) -> Rights:
        """Rights to keys; none if they are not given."""
        keys = _Fields(_Fields(self._values.get(name))._values.get("kv"))
        return Rights(keys.texts("read"), keys.texts("write"))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        _malformed()
    # Halves of characters, which JSON can write and UTF-8 cannot.
    return _SURROGATE.sub("\ufffd", value)
