"""Who is asking, and whether they may: from the Authorization header or the client's certificate."""

from __future__ import annotations

import binascii
import os
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Any, ClassVar, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET, Request

from txetcd.auth import Auth
from txetcd.errors import AuthError, EtcdError, RefusedError
from txetcd.events import Event
from txetcd.passwords import UNKNOWN, hash_password, verify_password
from txetcd.peer import client_name
from txetcd.resources.endpoint import JSON, Endpoint, not_allowed
from txetcd.resources.late import Late
from txetcd.store import Store

INSUFFICIENT = "Insufficient credentials"

# How many right passwords are remembered.
REMEMBERED = 1000

_T = TypeVar("_T")


Audit = Callable[[Request, str | None, Event | RefusedError | None], None]
"""Is told of each write and what came of it: the request, the user's name that came with a password, if users
matter, and the event, or why it was refused; None for a change of something else than keys."""


class Run(Protocol):
    """Calls a function that takes long where it holds up nobody."""

    def __call__(self, function: Callable[..., _T], *arguments: object) -> Deferred[_T]:
        """Fires with what the function returns."""


class Guard:
    """Tells who asks, and whether they may.

    A name and password in the Authorization header count first, and must be right.  Without that header it is
    the common name in the client's certificate, if the connection is one that verifies those.  A name that is
    no user's, or none at all, is the guest.

    @param store: whose users they are.
    @param run: calls what takes long; in the store's reactor's threads if None, or at once if it has none.
    @param audit: is told of writes.
    """

    def __init__(self, store: Store, run: Run | None = None, audit: Audit | None = None) -> None:
        self._store = store
        self._audit = audit
        self._run = run or _in_threads_of(store.reactor)
        self._key = os.urandom(blake2b.MAX_KEY_SIZE)
        # Digests of right passwords, the latest last.
        self._remembered: dict[bytes, None] = {}
        self._names: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()

    def allows(self, request: Request, allowed: Callable[[Auth, str | None], bool]) -> Deferred[bool]:
        """Whether whoever asks is who they say, and allowed.

        @param allowed: whether a user, or None for the guest, may.
        """
        auth = self._store.tree.auth
        if not auth.enabled:
            return succeed(True)
        header = request.getHeader(b"authorization")
        if not header:
            name = self._common_name(request.transport)
            return succeed(allowed(auth, name if name in auth.users else None))
        credentials = _basic(header)
        if credentials is None:
            return succeed(False)
        user = _user(credentials)
        known = auth.users.get(user)
        # The time that it takes is not to tell which users there are.
        kept = UNKNOWN if known is None else known.password_hash

        def checked(right: bool) -> bool:
            # Meanwhile the user may have gone, or have been given another password.
            auth = self._store.tree.auth
            known = auth.users.get(user)
            return right and known is not None and known.password_hash == kept and allowed(auth, user)

        return self._check(credentials, kept).addCallback(checked)

    def record(self, request: Request, outcome: Event | RefusedError | None) -> None:
        """Tell the audit, if there is one, what came of a write."""
        if self._audit is not None:
            self._audit(request, self._named(request), outcome)

    def _named(self, request: Request) -> str | None:
        """The name that came with a password, right or not; None if nobody asks for names."""
        if not self._store.accepting or not self._store.tree.auth.enabled:
            return None
        credentials = _basic(request.getHeader(b"authorization") or b"")
        return None if credentials is None else _user(credentials)

    def hash(self, password: str) -> Deferred[str]:
        """What is kept of a password; nothing of an empty one."""
        return self._run(hash_password, password.encode()) if password else succeed("")

    def _check(self, credentials: bytes, kept: str) -> Deferred[bool]:
        """Whether a password is right; quickly, if the same was not long ago."""
        # What is kept is part of it: another password makes another digest.
        digest = blake2b(b"%b\0%b" % (kept.encode(), credentials), key=self._key).digest()
        if digest in self._remembered:
            return succeed(True)

        def verify() -> bool:
            # The same may have come many times before it was found to be right.
            return digest in self._remembered or verify_password(credentials.partition(b":")[2], kept)

        def verified(right: bool) -> bool:
            if right:
                self._remembered[digest] = None
                if len(self._remembered) > REMEMBERED:
                    del self._remembered[next(iter(self._remembered))]
            return right

        return self._run(verify).addCallback(verified)

    def _common_name(self, transport: Any) -> str | None:
        """The name in the certificate that a client has shown, looked up once for each connection."""
        if transport not in self._names:
            self._names[transport] = client_name(transport)
        return self._names[transport]


def _in_threads_of(reactor: Any) -> Run:
    if IReactorThreads.providedBy(reactor):
        return partial(deferToThreadPool, reactor, reactor.getThreadPool())
    return cast(Run, maybeDeferred)


def _basic(header: bytes) -> bytes | None:
    """The name and password, with a colon between, in an Authorization header; None if there are none."""
    scheme, _, encoded = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        credentials = b64decode(encoded, validate=True)
    except binascii.Error:
        return None
    return credentials if b":" in credentials else None


def _user(credentials: bytes) -> str:
    """The name in a name and password."""
    return credentials.partition(b":")[0].decode("utf-8", "surrogateescape")


class Guarded(Endpoint):
    """An endpoint that takes being root, once authentication is enabled.

    @cvar open_methods: those that anybody may use.
    """

    open_methods: ClassVar[tuple[bytes, ...]] = ()

    def __init__(self, store: Store, guard: Guard) -> None:
        super().__init__()
        self._store = store
        self._guard = guard

    def render(self, request: Request) -> bytes | int:
        """Answer, or begin to."""
        if request.method not in self.methods:
            return not_allowed(request, self.methods)
        late = Late(request)
        if request.method in self.open_methods:
            may = succeed(True)
        else:
            may = maybeDeferred(self._guard.allows, request, Auth.is_root)

        def known(may: bool) -> Deferred[str]:
            if not may:
                raise AuthError(401, INSUFFICIENT)
            request.setHeader(b"x-etcd-cluster-id", b"%x" % self._store.cluster_id)
            return self.reply(request)

        def replied(body: str) -> None:
            request.setHeader(b"content-type", self.content_type)
            if request.method != b"GET":
                self._guard.record(request, None)
            late.answer(body.encode())

        may.addCallback(known).addCallback(replied).addErrback(self._refuse, late)
        return NOT_DONE_YET

    def reply(self, request: Request) -> Deferred[str]:
        """Fires with the text of the answer; may set another status on the request."""
        return succeed(self.body(request))

    def _refuse(self, failure: Failure, late: Late) -> None:
        error = failure.value
        if not isinstance(error, RefusedError):
            late.fail(failure)
            return
        request, text = late.request, error.to_json()
        if request.method != b"GET":
            self._guard.record(request, error)
        if isinstance(error, EtcdError):
            request.setHeader(b"x-etcd-index", b"%d" % error.index)
            text += "\n"
        request.setResponseCode(error.status)
        request.setHeader(b"content-type", JSON)
        late.answer(text.encode())
