"""What is asked of a v2 store: reading and the root here, the rest in the modules beside this one.

Each conversation begins with nothing in its directory.  Where a listing shows several children it asks for
them sorted, as etcd's order is random otherwise.  Values that are compared are never plain numbers, for those
would look like indices.
"""

from __future__ import annotations

from tests.reference import scripts_auth, scripts_http, scripts_time, scripts_writes
from tests.reference.conversation import KEYS, Conversations, Request, get, put

_READING: Conversations = {
    "get_file": [
        put("/f?value=one"),
        get("/f"),
        get("/f?recursive=true"),
        get("/f?sorted=true"),
        get("/f?quorum=true"),
        get("/f?recursive=true&sorted=true&quorum=true"),
        get("/f?dir=true"),
        get("/f?stream=true"),
        get("/f?waitIndex={index+99}"),
        get("/f?consistent=true"),
        get("/f?consistent=nonsense"),
        get("/f?unheard=of&wait=false"),
        get("/f?value=two&ttl=5&prevExist=false&prevValue=x&prevIndex=7"),
        get("/f"),
    ],
    "get_missing": [
        get("/f"),
        get("/a/b/c?recursive=true"),
        put("/d/f?value=one"),
        get("/d/x"),
        get("/d/x/y/z"),
        get("/d/x/y/z?quorum=true"),
        get("/D"),
        get("/d/F"),
    ],
    "get_below_file": [
        put("/f?value=one"),
        get("/f/x"),
        get("/f/x/y?recursive=true"),
        put("/d/e/f?value=one"),
        get("/d/e/f/g"),
    ],
    "get_directory": [
        put("/d/a?value=1"),
        put("/d/b/c?value=2"),
        put("/d/b/d/e?value=3"),
        put("/d/empty?dir=true"),
        get("/d?sorted=true"),
        get("/d/?sorted=true"),
        get("/d?sorted=true&recursive=true"),
        get("/d?sorted=true&recursive=true&quorum=true"),
        get("/d", any_order=True),
        get("/d?recursive=true", any_order=True),
        get("/d/empty"),
        get("/d/empty?recursive=true&sorted=true"),
        get("/d/b/d"),
        get("?sorted=true&recursive=true"),
    ],
    "get_sorted_by_bytes": [
        *(put(f"/d/{name}?value=1") for name in ("b", "a", "Z", "%C3%A9", "10", "9", "a-", "aa", "~", "%20")),
        *(
            put(f"/d/{name}?value=1")
            for name in ("%EF%BF%BD", "%F0%9F%98%80", "%FF", "a!/x", "c%2Fx", "c/a", "+")
        ),
        get("/d?sorted=true"),
        get("/d?sorted=true&recursive=true"),
    ],
    "get_large": [
        put("/f", "value=" + "x" * 3000),
        get("/f"),
    ],
    "root": [
        Request("GET", KEYS),
        Request("GET", KEYS + "/"),
        Request("GET", KEYS + "?recursive=true&sorted=true"),
        *(
            Request("PUT", f"{KEYS}/{query}")
            for query in (
                "?value=x",
                "",
                "?dir=true",
                "?prevExist=true&value=x",
                "?prevExist=false&value=x",
                "?prevExist=true&ttl=5",
                "?prevValue=y&value=x",
                "?prevIndex=3&value=x",
                "?ttl=5",
                "?refresh=true&ttl=5",
            )
        ),
        *(
            Request("DELETE", f"{KEYS}/{query}")
            for query in (
                "",
                "?dir=true",
                "?recursive=true",
                "?dir=true&recursive=true",
                "?prevIndex=1",
                "?prevValue=x",
                "?prevValue=x&recursive=true",
            )
        ),
        Request("PUT", KEYS + "?value=x"),
        Request("DELETE", KEYS + "?recursive=true"),
        put("/f?value=one"),
        Request("GET", KEYS),
        Request("GET", KEYS + "?recursive=true"),
        Request("HEAD", KEYS),
        Request("GET", KEYS),
        Request("GET", KEYS + "?quorum=true"),
        Request("POST", KEYS + "?value=x"),
        Request("POST", KEYS + "/?value=x"),
        Request("GET", KEYS + "/{index+2:020d}"),
        Request("GET", KEYS + "?sorted=true"),
        Request("PUT", KEYS + "/_hidden_root?value=x"),
        Request("GET", KEYS + "?sorted=true"),
        Request("DELETE", KEYS + "/_hidden_root"),
    ],
}

CONVERSATIONS: Conversations = {
    **_READING,
    **scripts_writes.CONVERSATIONS,
    **scripts_time.CONVERSATIONS,
    **scripts_http.CONVERSATIONS,
    **scripts_auth.CONVERSATIONS,
}
