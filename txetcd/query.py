"""A v2 request (method, path, arguments) read as what it asks for: a read, a watch or a command.

All validation of requests is here.  Where several things are wrong with one, the first in etcd's order of
checks is reported.  Nothing here asks the store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from txetcd import errors
from txetcd.auth import Access
from txetcd.commands import Command, CompareAndDelete, CompareAndSwap, Create, Delete, Set, Update
from txetcd.errors import EtcdError
from txetcd.tree import SECOND, Page

# In characters.  Each directory on the way holds its own path: one deep path could fill the memory.
LONGEST_KEY = 4096

FORM = b"application/x-www-form-urlencoded"

# The end of the year 9999, beyond which a time cannot be written down.
_LAST_EXPIRATION = 253_402_300_800 * SECOND

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
# What most writes say.
_VALUE_ALONE = {"value"}
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PARAMETER = re.compile(
    rb"\s*;\s*(%b)\s*=\s*(?:%b|\"(?:\\.|[^\"\\\r\n])*\")" % (_TOKEN.pattern, _TOKEN.pattern)
)
_GO_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


@dataclass(slots=True)
class Read:
    """A look at a key.

    @ivar quorum: it must see every write that was answered, anywhere, before it was asked.
    @ivar keys_only: a listing without values.
    @ivar page: a part of a listing; None for the whole.
    """

    key: str
    recursive: bool = False
    quorum: bool = False
    keys_only: bool = False
    page: Page | None = None


@dataclass(slots=True)
class Watch:
    """A wait for changes.

    @ivar since: the first index that is wanted; 0 for what comes from now on.
    @ivar stream: for all of them, not only the first.
    @ivar timeout: after how many seconds to give up; 0 for never.
    """

    key: str
    recursive: bool
    since: int
    stream: bool
    timeout: int = 0


@dataclass(slots=True)
class Write:
    """A command for the journal.

    @ivar no_value: the answer is to be the action alone.
    """

    command: Command
    no_value: bool


Query = Read | Watch | Write


@lru_cache(maxsize=1024)
def parse_key(path: bytes) -> str:
    """The key that a request's path names.

    @param path: what follows `/v2/keys`, as it came.  It is decoded before it is split; empty parts, `.` and
        `..` are resolved.
    @raise EtcdError: 209 for a bad escape, a NUL, or a path that climbs out of the key space.
    """
    if b"%" in path:
        bad = _BAD_ESCAPE.search(path)
        if bad:
            raise EtcdError(errors.INVALID_FIELD, _invalid_escape(bad.group()))
        path = unquote_to_bytes(path)
    return clean_key(path.decode("utf-8", "surrogateescape"))


def clean_key(key: str) -> str:
    """A key in its one form: a leading slash, no empty parts, no `.` or `..`.

    @raise EtcdError: 209 for a NUL, a path that climbs out of the key space, or one that is too long.
    """
    if len(key) > LONGEST_KEY:
        raise EtcdError(errors.INVALID_FIELD, f"a key cannot be longer than {LONGEST_KEY} characters")
    if "\0" in key:
        raise EtcdError(errors.INVALID_FIELD, "a key cannot contain NUL")
    if key.startswith("/") and "//" not in key and "/." not in key and not key.endswith("/"):
        return key
    names: list[str] = []
    for name in key.split("/"):
        if name == "..":
            if not names:
                raise EtcdError(errors.INVALID_FIELD, "the path leaves the key space")
            names.pop()
        elif name and name != ".":
            names.append(name)
    return "/" + "/".join(names)


def parse_access(method: str, path: bytes, key: str, form: dict[str, str]) -> Access:
    """What a request touches, as rights tell it: they know the path as it was asked for.

    @param path: what follows `/v2/keys`, as it came, and
    @param key: the key that it names.  `/d` and `/d/` name the same one.
    """
    asked = unquote_to_bytes(path)
    if not asked:
        key = ""
    elif asked.endswith(b"/") and key != "/":
        key += "/"
    return Access(key, method not in ("GET", "HEAD"), _bool(form, "recursive"))


def parse_form(query: bytes, body: bytes) -> dict[str, str]:
    """The arguments of a request.

    @param query: the part of the target behind the question mark.
    @param body: the form, or nothing; it wins over the query, and the first of equal names over the others.
    @raise EtcdError: 210, as for anything that is no form.
    """
    form: dict[str, str] = {}
    for text in (body, query):
        if text:
            _parse_pairs(text, form)
    return form


def _parse_pairs(text: bytes, form: dict[str, str]) -> None:
    error = ""
    # Looking for something is many times faster than splitting what is long.
    for pair in text.split(b"&") if b"&" in text else (text,):
        if b";" in pair:
            error = "invalid semicolon separator in query"
            continue
        name, _, value = pair.partition(b"=")
        bad = (_BAD_ESCAPE.search(name) or _BAD_ESCAPE.search(value)) if b"%" in pair else None
        if bad:
            error = error or _invalid_escape(bad.group())
        elif pair:
            form.setdefault(_unquote(name), _unquote(value))
    if error:
        raise EtcdError(errors.INVALID_FORM, error)


def _unquote(text: bytes) -> str:
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" in text:
        text = unquote_to_bytes(text)
    return text.decode("utf-8", "surrogateescape")


def _invalid_escape(escape: bytes) -> str:
    text = "".join(_go_quoted(char) for char in escape.decode("utf-8", "surrogateescape"))
    return f'invalid URL escape "{text}"'


def _go_quoted(char: str) -> str:
    """A character as Go prints it in a quoted string."""
    if char in _GO_ESCAPES:
        return _GO_ESCAPES[char]
    if char.isprintable():
        return char
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return f"\\x{ord(char):02x}" if char < "\x80" else f"\\u{ord(char):04x}"


def form_body(content_type: bytes | None, body: bytes) -> bytes:
    """The body of a PUT or POST, if it is a form.

    etcd overlooks a body that it does not take for a form, and empties the key; here it is refused.

    @param content_type: the Content-Type header, if there is one.
    @raise EtcdError: 210 for a malformed Content-Type, or a body of another type.
    """
    if content_type == FORM:
        return body
    kind = _media_type(content_type) if content_type else b""
    if kind == FORM:
        return body
    if body:
        found = "not " + repr(kind.decode("latin-1")) if kind else "without a Content-Type"
        raise EtcdError(errors.INVALID_FORM, f"the body must be {FORM.decode()}, {found}")
    return b""


def _media_type(content_type: bytes) -> bytes:
    """The media type of a Content-Type header, in lower case; the header is checked as Go does it.

    @raise EtcdError: 210 for a malformed one.
    """
    kind, semicolon, parameters = content_type.partition(b";")
    kind = kind.strip().lower()
    typ = _TOKEN.match(kind)
    if typ is None:
        raise EtcdError(errors.INVALID_FORM, "mime: no media type")
    if typ.end() < len(kind):
        if not kind.startswith(b"/", typ.end()):
            raise EtcdError(errors.INVALID_FORM, "mime: expected slash after first token")
        subtype = _TOKEN.match(kind, typ.end() + 1)
        if subtype is None:
            raise EtcdError(errors.INVALID_FORM, "mime: expected token after slash")
        if subtype.end() < len(kind):
            raise EtcdError(errors.INVALID_FORM, "mime: unexpected content after media subtype")
    rest, position = semicolon + parameters, 0
    names: set[bytes] = set()
    while parameter := _PARAMETER.match(rest, position):
        name = parameter.group(1).lower()
        if name in names:
            raise EtcdError(errors.INVALID_FORM, "mime: duplicate parameter name")
        names.add(name)
        position = parameter.end()
    if rest[position:].strip() not in (b"", b";"):
        raise EtcdError(errors.INVALID_FORM, "mime: invalid media parameter")
    return kind


def parse(method: str, key: str, form: dict[str, str], time: int) -> Query:
    """Read a request.

    @param method: GET, HEAD, PUT, POST or DELETE.
    @param key: as `parse_key` gives it.
    @param form: as `parse_form` gives it.
    @param time: now, in nanoseconds since the epoch.
    @raise EtcdError: for the first argument that is not as it must be, used or not; its index is 0.
    """
    if not form and method in ("GET", "HEAD"):
        return Read(key)
    if method == "PUT" and form.keys() == _VALUE_ALONE:
        return Write(Set(key, form["value"], False, None, False, time), False)
    prev_index = _uint(form, "prevIndex", errors.INDEX_NOT_A_NUMBER)
    since = _uint(form, "waitIndex", errors.INDEX_NOT_A_NUMBER)
    recursive = _bool(form, "recursive")
    _bool(form, "sorted")  # listings always are
    wait = _bool(form, "wait")
    dir = _bool(form, "dir")
    quorum = _bool(form, "quorum")
    stream = _bool(form, "stream")
    if wait and method != "GET":
        raise EtcdError(errors.INVALID_FIELD, '"wait" can only be used with GET requests')
    prev_value = form.get("prevValue", "")
    if not prev_value and "prevValue" in form:
        raise EtcdError(errors.PREV_VALUE_REQUIRED, '"prevValue" cannot be empty')
    no_value = _bool(form, "noValueOnSuccess")
    expiration = _expiration(form, time)
    prev_exist = _bool(form, "prevExist", "invalid value for prevExist") if "prevExist" in form else None
    refresh = _refresh(form, expiration)

    if method in ("GET", "HEAD"):
        if wait and not quorum:
            return Watch(key, recursive, since, stream, _uint(form, "waitTimeout", errors.INVALID_FIELD))
        return Read(key, recursive, quorum, _bool(form, "keysOnly"), _page(form))
    value = form.get("value", "")
    command: Command
    if method == "POST":
        command = Create(key, value, dir, expiration, True, time)
    elif method == "DELETE":
        if prev_index or prev_value:
            command = CompareAndDelete(key, prev_value, prev_index, time)
        else:
            command = Delete(key, dir, recursive, time)
    elif prev_exist is False:
        command = Create(key, value, dir, expiration, False, time)
    elif prev_index or prev_value:
        command = CompareAndSwap(key, value, prev_value, prev_index, expiration, refresh, time)
    elif prev_exist:
        command = Update(key, value, expiration, refresh, time)
    else:
        command = Set(key, value, dir, expiration, refresh, time)
    return Write(command, no_value)


def _page(form: dict[str, str]) -> Page | None:
    """The part of a listing that is asked for; what it starts after can be a name or the whole key."""
    if "limit" not in form and "startAfter" not in form:
        return None
    limit = _uint(form, "limit", errors.INVALID_FIELD)
    return Page(limit, form.get("startAfter", "").rpartition("/")[2])


def want_event_stream(form: dict[str, str], last_event_id: bytes | None) -> None:
    """Make of a request what a browser's `EventSource` means: a stream, from behind the last event it saw.

    @param form: as `parse_form` gives it; it is changed.
    @param last_event_id: the Last-Event-ID header, if there is one.
    @raise EtcdError: 203 when that is no index.
    """
    form["wait"] = form["stream"] = "true"
    if last_event_id:
        seen = _uint(
            {"Last-Event-ID": last_event_id.decode("latin-1")}, "Last-Event-ID", errors.INDEX_NOT_A_NUMBER
        )
        form["waitIndex"] = str(seen + 1)


def _uint(form: dict[str, str], name: str, code: int) -> int:
    """A number as Go reads it: ASCII digits, below 2**64; 0 when it is not given."""
    text = form.get(name)
    if text is None:
        return 0
    # The length is looked at first: Python refuses to read a number of thousands of digits.
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0") or "0"
        if len(digits) <= 20 and int(digits) < 1 << 64:
            return int(digits)
    raise EtcdError(code, f'invalid value for "{name}"')


def _bool(form: dict[str, str], name: str, cause: str = "") -> bool:
    """A truth value as Go reads it; False when it is not given."""
    text = form.get(name)
    if text is None or text in _FALSE:
        return False
    if text in _TRUE:
        return True
    raise EtcdError(errors.INVALID_FIELD, cause or f'invalid value for "{name}"')


def _expiration(form: dict[str, str], time: int) -> int | None:
    """When a node with the given ttl, in seconds, runs out; an empty ttl is none."""
    if not form.get("ttl"):
        return None
    expiration = time + _uint(form, "ttl", errors.TTL_NOT_A_NUMBER) * SECOND
    if expiration >= _LAST_EXPIRATION:
        raise EtcdError(errors.TTL_NOT_A_NUMBER, 'invalid value for "ttl"')
    return expiration


def _refresh(form: dict[str, str], expiration: int | None) -> bool:
    refresh = _bool(form, "refresh", "invalid value for refresh")
    if refresh:
        if form.get("value"):
            raise EtcdError(errors.REFRESH_VALUE, "A value was provided on a refresh")
        if expiration is None:
            raise EtcdError(errors.REFRESH_TTL_REQUIRED, "No TTL value set")
    return refresh
