"""The page as a Resource: its files, and who it is that looks at it."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

from twisted.web.http import CACHED
from twisted.web.server import NOT_DONE_YET, Request

from txetcd.auth import GUEST, ROOT, ROOT_ROLE, Auth
from txetcd.peer import client_certificate
from txetcd.resources.endpoint import JSON, Directory, Endpoint, NotFound, answer, not_allowed
from txetcd.resources.guard import INSUFFICIENT, Guard
from txetcd.resources.late import Late
from txetcd.store import Store

STATIC = Path(__file__).parent / "static"

_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_READ = (b"GET", b"HEAD")

# Nothing but the page's own files and the server's own API; nothing inline, nothing from elsewhere.
_POLICY = b"; ".join(
    [
        b"default-src 'none'",
        b"script-src 'self'",
        b"style-src 'self'",
        b"connect-src 'self'",
        b"img-src 'self' data:",
        b"base-uri 'none'",
        b"form-action 'none'",
        b"frame-ancestors 'none'",
        b"require-trusted-types-for 'script'",
        b"trusted-types 'none'",
    ]
)
_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Dashboard(Directory):
    """The page and all that belongs to it, to be mounted as `/dashboard` beside `/v2`.

    @param store: the store that the page shows.
    @param guard: tells who looks at it.
    """

    def __init__(self, store: Store, guard: Guard) -> None:
        super().__init__()
        for path in STATIC.iterdir():
            name = "" if path.name == "index.html" else path.name
            self.putChild(name.encode(), File(_TYPES[path.suffix], path.read_bytes()))
        self.putChild(b"whoami", WhoAmI(store, guard))

    def render(self, request: Request) -> bytes:
        """Lead to the page itself, which is behind a slash so that its files are beside it."""
        if request.method not in _READ:
            return not_allowed(request, _READ)
        return _see(request, b"%b/" % (request.prepath or [b"dashboard"])[-1])


class Door(Endpoint):
    """The root of the server: leads browsers to the page; for all others there is nothing, as in etcd."""

    def render(self, request: Request) -> bytes:
        """Answer 302 or 404."""
        if request.method in _READ and b"text/html" in (request.getHeader(b"accept") or b""):
            return _see(request, b"dashboard/")
        return NotFound().render(request)


class File(Endpoint):
    """One file of the page, kept in memory; a browser asks each time whether it is still the same.

    @param kind: its Content-Type.
    """

    def __init__(self, kind: bytes, content: bytes) -> None:
        super().__init__()
        self._kind = kind
        self._content = content
        self._tag = b'"%b"' % blake2b(content, digest_size=12).hexdigest().encode()

    def render(self, request: Request) -> bytes:
        """Answer with the file, or that it has not changed."""
        if request.method not in _READ:
            return not_allowed(request, _READ)
        _protect(request)
        request.setHeader(b"cache-control", b"no-cache")
        if request.setETag(self._tag) == CACHED:
            return b""
        return answer(request, 200, self._kind, self._content)


class WhoAmI(Endpoint):
    """`/dashboard/whoami`: who asks, by address, certificate and name, and what they may read.

    A wrong name or password is answered with 401.
    """

    def __init__(self, store: Store, guard: Guard) -> None:
        super().__init__()
        self._store = store
        self._guard = guard

    def render(self, request: Request) -> bytes | int:
        """Answer when it is known."""
        if request.method not in self.methods:
            return not_allowed(request, self.methods)
        _protect(request)
        request.setHeader(b"cache-control", b"no-store")
        late = Late(request)
        users: list[str | None] = []

        def note(auth: Auth, user: str | None) -> bool:
            users.append(user)
            return True

        def known(right: bool) -> None:
            if not late.alive:
                return
            status, figures = 200, {"message": INSUFFICIENT}
            if right:
                figures = self._about(request, users[0] if users else None)
            else:
                status = 401
            late.answer(answer(request, status, JSON, json.dumps(figures).encode()))

        self._guard.allows(request, note).addCallback(known).addErrback(late.fail)
        return NOT_DONE_YET

    def _about(self, request: Request, user: str | None) -> dict[str, Any]:
        auth = self._store.tree.auth
        return {
            "address": getattr(request.getClientAddress(), "host", None),
            "certificate": _certificate(request.transport),
            "auth": auth.enabled,
            "user": user,
            "read": _readable(auth, user) if auth.enabled else list(ROOT_ROLE.read or ()),
        }


def _certificate(transport: Any) -> dict[str, str] | None:
    """What the page tells of the certificate that a client has shown."""
    certificate = client_certificate(transport)
    if certificate is None:
        return None
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "expires": certificate.not_valid_after_utc.isoformat(),
    }


def _readable(auth: Auth, user: str | None) -> list[str]:
    """The patterns of the keys that somebody may read; None is the guest."""
    known = None if user is None else auth.users.get(user)
    names = (GUEST,) if known is None else known.all_roles
    roles = [ROOT_ROLE if name == ROOT else auth.roles.get(name) for name in names]
    return sorted({pattern for role in roles if role is not None for pattern in role.read or ()})


def _see(request: Request, location: bytes) -> bytes:
    """Send a browser on; the location is relative, so that a prefix that a proxy adds does not matter."""
    request.setHeader(b"location", location)
    return answer(request, 302, b"text/plain; charset=utf-8", b"")


def _protect(request: Request) -> None:
    for name, value in _HEADERS:
        request.setHeader(name, value)
