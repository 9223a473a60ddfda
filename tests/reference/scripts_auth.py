"""What is asked about users, roles and rights.

Each conversation begins and ends without any, and with authentication disabled.  In etcd a change of them
takes an index; so indices in what follows one are not compared.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from typing import Any

from tests.reference.conversation import Conversations, Request, Step, delete, get, head, post, put

Headers = tuple[tuple[str, str], ...]


def basic(credentials: str) -> Headers:
    """The header of a user that shows a password."""
    return (("Authorization", f"Basic {b64encode(credentials.encode()).decode()}"),)


ROOT = basic("root:pw")


def look(path: str, headers: Headers = ()) -> Request:
    """GET something below /v2/auth."""
    return Request("GET", f"/v2/auth/{path}", headers)


def change(path: str, body: Any = None, headers: Headers = ()) -> Request:
    """PUT something below /v2/auth: JSON, or text as it is."""
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    return Request("PUT", f"/v2/auth/{path}", headers, None if body is None else text)


def remove(path: str, headers: Headers = ()) -> Request:
    """DELETE something below /v2/auth."""
    return Request("DELETE", f"/v2/auth/{path}", headers)


def user(name: str, headers: Headers = (), **fields: Any) -> Request:
    """PUT a user."""
    return change(f"users/{name}", {"user": name, **fields}, headers)


def role(name: str, headers: Headers = (), **fields: Any) -> Request:
    """PUT a role; its fields are pairs of patterns to read and to write."""
    rights = {field: {"kv": {"read": read, "write": write}} for field, (read, write) in fields.items()}
    return change(f"roles/{name}", {"role": name, **rights}, headers)


def as_user(credentials: str, *requests: Request) -> list[Step]:
    """The same requests with a password."""
    return [replace(request, headers=basic(credentials) + request.headers) for request in requests]


def any_index(*steps: Step) -> list[Step]:
    """The same requests; any index in their answers will do."""
    return [replace(step, any_index=True) if isinstance(step, Request) else step for step in steps]


def enabled() -> list[Step]:
    """Make root and enable authentication."""
    return [user("root", password="pw"), change("enable")]


def disabled(*entries: str) -> list[Step]:
    """Disable authentication and leave nothing."""
    paths = ("enable", *entries, "roles/guest", "users/root")
    return [replace(remove(path), headers=ROOT if path == "enable" else ()) for path in paths]


_USERS = [
    look("users"),
    look("users/"),
    look("users/x"),
    remove("users/x"),
    user("x"),
    user("x", password=""),
    user("x", grant=["r"]),
    user("x", revoke=["r"]),
    user("x", password="p"),
    look("users/x"),
    look("users"),
    user("x", password="q"),
    user("x", password="q", roles=["r"]),
    user("x", roles=["r"]),
    user("x"),
    user("x"),
    user("x", grant=[]),
    user("x", roles=[]),
    user("x", grant=["r", "a"], password="n"),
    user("x", grant=["r"]),
    user("x", grant=["b", "b"]),
    user("x", grant=["b"], roles=["c"]),
    user("x", revoke=["nope"]),
    user("x", revoke=["a", "r"], grant=["z"]),
    user("x", grant=["y"], revoke=["y"]),
    look("users/x"),
    look("users"),
    role("z", permissions=(["/b", "/a"], None)),
    look("users/x"),
    look("users"),
    user("y", password="p", roles=["z", "none", "z"]),
    user("y"),
    user("y"),
    look("users/y"),
    look("users"),
    remove("roles/z"),
    look("users"),
    user("root", password="p", roles=["z"]),
    look("users/root"),
    user("root"),
    user("root"),
    user("root", grant=["root"]),
    user("root", revoke=["root", "z"]),
    user("root", revoke=["root"]),
    look("users/root"),
    user("root", password="q"),
    user("other", password="p", roles=["root"]),
    look("users/other"),
    remove("users/root"),
    remove("users/other"),
    remove("users/x"),
    remove("users/y"),
    look("users"),
]

_ROLES = [
    look("roles"),
    look("roles/"),
    look("roles/x"),
    look("roles/root"),
    look("roles/guest"),
    remove("roles/x"),
    remove("roles/root"),
    role("root", permissions=(["/a"], None)),
    role("root", grant=(["/a"], None)),
    role("x", grant=(["/a"], None)),
    role("x", revoke=(["/a"], None)),
    role("x"),
    role("x"),
    role("x", permissions=(["/a"], None)),
    role("x", permissions=(["/a"], None), grant=(["/a"], None)),
    role("x", permissions=(["/a"], None), revoke=(["/a"], None)),
    role("x", permissions=([], []), grant=(["/b", "/a/*"], None)),
    role("x", grant=(["/b"], None)),
    role("x", grant=(None, ["/w", "/w"])),
    role("x", grant=(["/c"], ["/w"]), revoke=(["/b"], ["/nope"])),
    role("x", revoke=(["/nope"], None)),
    role("x", revoke=(None, ["/w"])),
    look("roles/x"),
    role("y", permissions=(["/b", "/a", "/a"], [])),
    role("y", revoke=(["/nope"], None)),
    role("y", revoke=(["/nope"], None)),
    look("roles"),
    role("guest", permissions=(["*"], None)),
    look("roles"),
    remove("roles/x"),
    remove("roles/y"),
    remove("roles/guest"),
    look("roles"),
]

_JSON = [
    *(
        change("users/x", body)
        for body in (
            None,
            "",
            "nojson",
            "null",
            "[]",
            '"x"',
            "{",
            '{"user":"x","password":5}',
            '{"user":"x","password":"p","roles":"r"}',
            '{"user":"x","password":"p","roles":[5]}',
            '{"user":5}',
            '{"user":"y","password":"p"}',
            '{"password":"p"}',
            '{"user":"x","password":NaN}',
            '{"user":"x","password":"a\nb"}',
            ' \n{"USER":"x","passWord":"p","what":{"ever":[1.5,null]}} tail',
            '{"user":"x","grant":null,"revoke":null}',
            '{"user":"x","grant":["<\\u00e9\\ud800>"]}',
        )
    ),
    look("users/x"),
    change("users/%3Cx%3E", '{"user":"<x>","password":"p"}'),
    look("users/%3Cx%3E"),
    look("users/%C3%A9"),
    *(
        change("roles/x", body)
        for body in (
            "",
            "{}",
            '{"role":"y"}',
            '{"role":"x","permissions":5}',
            '{"role":"x","permissions":{"kv":[]}}',
            '{"role":"x","permissions":{"kv":{"read":"/a"}}}',
            '{"role":"x","grant":{"kv":{"read":[5]}}}',
            '{"role":"x","Permissions":{"KV":{"READ":["/a"]}},"grant":null}',
            '{"role":"x","permissions":null,"grant":{"kv":null}}',
        )
    ),
    look("roles/x"),
    remove("users/x"),
    remove("users/%3Cx%3E"),
    remove("roles/x"),
]

_PATHS = [
    *(
        Request(method, f"/v2/auth/{path}")
        for method in ("POST", "PATCH", "HEAD")
        for path in ("users", "roles")
    ),
    *(Request(method, f"/v2/auth/{path}") for method in ("PUT", "DELETE") for path in ("users", "roles/")),
    *(
        Request(method, f"/v2/auth/{path}")
        for method in ("POST", "PATCH", "HEAD", "OPTIONS")
        for path in ("users/x", "roles/x", "enable")
    ),
    *(look(path) for path in ("", "nope", "enable/", "enable/x", "users/a/b", "users/a%2Fb", "users/a/")),
    *(Request(method, "/v2/auth/roles/a/b") for method in ("PUT", "POST", "DELETE")),
]

_ENABLED = [
    look("enable"),
    change("enable"),
    remove("enable"),
    user("root", password="pw"),
    user("alice", password="a"),
    change("enable"),
    look("enable"),
    *(
        replace(request, headers=headers)
        for headers in ((), basic("alice:a"), basic("root:"), basic("root:no"), basic("no:pw"))
        for request in (
            look("users"),
            look("users/alice"),
            look("roles"),
            look("roles/root"),
            user("bob", password="p"),
            user("alice", password="p"),
            remove("users/alice"),
            role("x"),
            remove("roles/guest"),
            change("enable"),
            remove("enable"),
            Request("DELETE", "/v2/members/123"),
            Request("PUT", "/v2/members/123"),
        )
    ),
    *(
        look("users", (("Authorization", text),))
        for text in ("basic cm9vdDpwdw==", "Basic", "Basic cm9vdA==", "Basic zzz", "Bearer cm9vdDpwdw==", "")
    ),
    look("users", (("Authorization", "BASIC cm9vdDpwdw=="),)),
    *(look(path, ROOT) for path in ("users", "roles", "roles/guest", "users/root", "users/nope")),
    look("users/a/b"),
    Request("POST", "/v2/auth/users"),
    Request("PATCH", "/v2/members"),
    Request("DELETE", "/v2/members/123", ROOT),
    Request("GET", "/v2/members/123"),
    change("enable", headers=ROOT),
    remove("users/root", ROOT),
    user("root", ROOT, revoke=["root"]),
    user("root", ROOT, password="pw2"),
    look("users", ROOT),
    user("root", basic("root:pw2"), password="pw"),
    user("alice", ROOT, grant=["root"]),
    look("users", basic("alice:a")),
    remove("users/alice", ROOT),
    look("users", basic("alice:a")),
    *disabled(),
    remove("enable"),
    look("roles"),
]


def _touches(path: str) -> list[Request]:
    """What can be done to a key."""
    return [
        put(path, "value=one"),
        get(path),
        head(path),
        get(path + "?recursive=true"),
        get(path + "?quorum=true"),
        get(path + "?wait=true&waitIndex={index+1}&recursive=true"),
        put(path + "?recursive=true", "value=two"),
        put(path, "value=two&recursive=true"),
        put(path + "?prevExist=true&recursive=false", "value=three"),
        delete(path + "?recursive=true"),
        delete(path + "?prevValue=no"),
        delete(path),
        post(path, "value=one"),
    ]


def _rights(name: str) -> list[Step]:
    """Rights of many kinds, and what they give."""
    own = f"/{name}"
    without_watches = [
        [request for request in _touches(path) if "wait=" not in request.target]
        for path in (
            "/r/a",
            "/w/a",
            "/exact",
            "/exact/",
            "/exact/x",
            "/exactly",
            "/pre",
            "/prefix/x",
            "/dir",
            "/dir/",
        )
    ]
    patterns = [f"{own}/exact", f"{own}/pre*", f"{own}/dir/*"]
    return [
        role("reader", permissions=([f"{own}/r/*", *patterns], None)),
        role("writer", permissions=(None, [f"{own}/w/*", *patterns])),
        user("reader", password="p", roles=["reader"]),
        user("writer", password="p", roles=["writer"]),
        user("both", password="p", roles=["missing", "reader", "writer"]),
        user("none", password="p"),
        user("admin", password="p", roles=["root"]),
        role("guest", permissions=([f"{own}/r/*"], [f"{own}/w/*"])),
        *enabled(),
        *any_index(
            *(
                step
                for touches in without_watches
                for who in ("reader", "both")
                for step in as_user(f"{who}:p", *touches)
            ),
            *as_user("writer:p", *_touches("/r/a")),
            *as_user("none:p", *_touches("/r/a")),
            *as_user("reader:no", *_touches("/r/a")),
            *as_user("nobody:p", *_touches("/r/a")),
            *as_user("admin:p", *_touches("/other")),
            *as_user("root:pw", *_touches("/other")),
            *(
                request
                for path in ("/r/a", "/w/a", "/x")
                for request in _touches(path)
                if "wait=" not in request.target
            ),
        ),
        *disabled(
            *(f"users/{who}" for who in ("reader", "writer", "both", "none", "admin")),
            "roles/reader",
            "roles/writer",
        ),
    ]


_ROOT_KEY = [
    user("root", password="pw"),
    role("guest", permissions=(["/*"], None)),
    role("all", permissions=(["*"], None)),
    user("all", password="p", roles=["all"]),
    change("enable"),
    *any_index(
        *(
            replace(Request(method, f"/v2/keys{path}"), headers=headers, any_order=method == "GET")
            for method in ("GET", "HEAD")
            for path in ("", "/", "?recursive=true", "/?recursive=true")
            for headers in ((), basic("all:p"), ROOT)
        ),
    ),
    *disabled("users/all", "roles/all"),
]

_SYNTAX_FIRST = [
    user("root", password="pw"),
    role("guest"),
    change("enable"),
    get("/f?bad=%zz"),
    get("/f?recursive=bad"),
    put("/f?prevValue="),
    put("/f", "ttl=x"),
    Request("PATCH", "{keys}/f"),
    Request("OPTIONS", "{keys}/f"),
    get("/f"),
    get("/f?wait=true"),
    get("/f?wait=true&waitIndex=1&stream=true"),
    head("/f"),
    delete("/f"),
    *disabled(),
]

CONVERSATIONS: Conversations = {
    "auth_users": list(_USERS),
    "auth_roles": list(_ROLES),
    "auth_json": list(_JSON),
    "auth_paths": list(_PATHS),
    "auth_enabled": list(_ENABLED),
    "auth_rights": _rights("auth_rights"),
    "auth_root_key": _ROOT_KEY,
    "auth_syntax_first": _SYNTAX_FIRST,
}
