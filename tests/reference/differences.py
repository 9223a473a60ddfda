"""Where txetcd answers otherwise than etcd 3.4 on purpose.

What etcd says is recorded all the same, and is asserted of nobody; what txetcd says is here.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.conversation import KEYS, Request, Step, delete, get, post, put


@dataclass(frozen=True)
class Ours:
    """What of txetcd's answer is asserted; None stands for "anything".

    @ivar key: the key of the node in the answer, with C{{keys}} for the conversation's directory.
    @ivar value: the value of that node, and
    @ivar ttl: its ttl.
    @ivar waits: there is no answer yet, beyond the head.
    """

    status: int
    code: int | None = None
    key: str | None = None
    value: str | None = None
    ttl: int | None = None
    waits: bool = False


@dataclass(frozen=True)
class Difference:
    """A conversation in which txetcd answers otherwise.

    @ivar reason: why txetcd does, for users.
    @ivar asked: each request with what txetcd says.
    """

    reason: str
    asked: tuple[tuple[Request, Ours], ...]

    @property
    def steps(self) -> list[Step]:
        """What is asked, for `play`."""
        return [request for request, _ in self.asked]


_JSON = "application/json"
_MULTIPART = 'multipart/form-data; boundary="b"'
_PART = '--b\r\nContent-Disposition: form-data; name="value"\r\n\r\ntwo\r\n--b--\r\n'
_REFUSED = Ours(400, 210)
_KEPT = (get("/f"), Ours(200, key="{keys}/f", value="one"))
_MADE = (put("/f?value=one"), Ours(201, value="one"))

_GUEST = (
    '{"role":"guest","permissions":{"kv":'
    '{"read":["/differs_guest_recursive/d"],"write":["/differs_guest_recursive/d"]}}}'
)
_ROOT = (("Authorization", "Basic cm9vdDpwdw=="),)


def _auth(path: str, body: str = "") -> Request:
    """PUT something below /v2/auth."""
    return Request("PUT", f"/v2/auth/{path}", (), body)


DIFFERENCES: dict[str, Difference] = {
    "differs_body_not_a_form": Difference(
        "a body that is not a form would be dropped and the key overwritten with an empty value",
        (
            _MADE,
            (put("/f", "value=two", "text/plain"), _REFUSED),
            (put("/f", '{"value":"two"}', _JSON), _REFUSED),
            (put("/f", _PART, _MULTIPART), _REFUSED),
            (Request("PUT", "{keys}/f", (), "value=two"), _REFUSED),
            (Request("PUT", "{keys}/f", (("Content-Type", ""),), "value=two"), _REFUSED),
            (put("/f?value=two", "x", "text/plain"), _REFUSED),
            (put("/f?prevExist=true", "value=two", _JSON), _REFUSED),
            (put("/f?refresh=true&ttl=5", "x", _JSON), _REFUSED),
            (post("/q", "value=two", _JSON), _REFUSED),
            _KEPT,
            (get("/q"), Ours(404, 100)),
        ),
    ),
    "differs_path_normalised": Difference(
        "many HTTP clients turn a redirected PUT into a GET",
        (
            (put("//f?value=one"), Ours(201, key="{keys}/f", value="one")),
            (put("/./f?value=two"), Ours(200, key="{keys}/f", value="two")),
            (put("/x/../f?value=three"), Ours(200, key="{keys}/f", value="three")),
            (put("/x/%2e%2e/f?value=four"), Ours(200, key="{keys}/f", value="four")),
            (put("/%2e/f?value=five"), Ours(200, key="{keys}/f", value="five")),
            (put("/a%2f%2fb?value=one"), Ours(201, key="{keys}/a/b", value="one")),
            (post("//q?value=one"), Ours(201, value="one")),
            (get("/f/."), Ours(200, key="{keys}/f", value="five")),
            (get("/f//"), Ours(200, key="{keys}/f", value="five")),
            (get("/a/.."), Ours(200, key="{keys}")),
            (delete("//f"), Ours(200, key="{keys}/f")),
        ),
    ),
    "differs_path_refused": Difference(
        "a path that leaves the key space, or has a NUL in it, is a mistake or an attack",
        (
            (Request("GET", KEYS + "/../machines"), Ours(400, 209)),
            (Request("PUT", KEYS + "/../../x?value=one"), Ours(400, 209)),
            (Request("GET", KEYS + "/a/%2e%2e/../../stats/self"), Ours(400, 209)),
            (put("/a%00b?value=one"), Ours(400, 209)),
            (get("/a%00b"), Ours(400, 209)),
        ),
    ),
    "differs_path_escapes": Difference(
        "a malformed escape is refused before the API sees it, in the HTTP parser's own words",
        (
            (put("/a%zz?value=one"), Ours(400)),
            (get("/a%"), Ours(400)),
            (get("/a%4"), Ours(400)),
        ),
    ),
    "differs_connect": Difference(
        "CONNECT is for proxies: it is refused before the API sees it",
        ((Request("CONNECT", "{keys}/f"), Ours(405)),),
    ),
    "differs_ttl_large": Difference(
        "a TTL beyond about 235 years would be dropped",
        ((put("/f?value=one&ttl=9223372037"), Ours(201, value="one", ttl=9223372037)),),
    ),
    "differs_ttl_too_large": Difference(
        "a TTL that no date can hold would be dropped or count backwards",
        (
            _MADE,
            (put("/f?value=two&ttl=253402300800"), Ours(400, 202)),
            (put("/f?value=two&ttl=18446744073709551615"), Ours(400, 202)),
            (put("/f?prevExist=true&value=two&ttl=18446744073709551615"), Ours(400, 202)),
            _KEPT,
        ),
    ),
    "differs_body_too_large": Difference(
        "the limit is lower than etcd's 10 MiB: such values are no configuration",
        (_MADE, (put("/f", "value=" + "x" * (2 << 20)), _REFUSED), _KEPT),
    ),
    "differs_history_of_siblings": Difference(
        "a deleted directory is no concern of another whose name begins alike",
        (
            (put("/y/x?value=one"), Ours(201, value="one")),
            (delete("/y?recursive=true"), Ours(200, key="{keys}/y")),
            (get("/yyy?wait=true&waitIndex={index+2}"), Ours(200, waits=True)),
            (get("/yyy/z?wait=true&recursive=true&waitIndex={index+2}"), Ours(200, waits=True)),
        ),
    ),
    "differs_guest_recursive": Difference(
        "for etcd, a guest's right to a key is also one to all below it",
        (
            (put("/d/f?value=one"), Ours(201, value="one")),
            (_auth("users/root", '{"user":"root","password":"pw"}'), Ours(201)),
            (_auth("roles/guest", _GUEST), Ours(201)),
            (_auth("enable"), Ours(200)),
            (get("/d"), Ours(200, key="{keys}/d")),
            (get("/d?recursive=true"), Ours(401, 110)),
            (delete("/d?recursive=true"), Ours(401, 110)),
            (Request("DELETE", "/v2/auth/enable", _ROOT), Ours(200)),
            (Request("DELETE", "/v2/auth/users/root"), Ours(200)),
            (Request("DELETE", "/v2/auth/roles/guest"), Ours(200)),
        ),
    ),
    "differs_history_hides": Difference(
        "a hidden key shows as little in the past as in the present",
        (
            (put("/h/_s?value=one"), Ours(201, value="one")),
            (get("/h?wait=true&recursive=true&waitIndex={index+1}"), Ours(200, waits=True)),
            (put("/h/s?value=two"), Ours(201, value="two")),
            (get("/h?wait=true&recursive=true&waitIndex={index+1}"), Ours(200, value="two")),
        ),
    ),
}
