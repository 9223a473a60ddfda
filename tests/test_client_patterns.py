"""What known programs ask of etcd, request by request, over TLS with a client certificate: Patroni and confd.

And that the URLs which clients are told are ones that they can use.
"""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from tests.client_harness import GUARDED, ClientCase, SecureClient
from tests.e2e import TWISTD, Answer, Client, free_port


class PatroniTests(ClientCase):
    """Patroni: a leader's key with a TTL, writes under prevIndex=0, and the whole cluster in one read."""

    def setUp(self) -> None:
        super().setUp()
        self.serve()
        self.client = self.connect()

    def put(self, name: str, **form: object) -> Answer:
        """Write with all options in the form."""
        return self.client.request("PUT", f"/v2/keys/service/batman/{name}", **form)

    def delete(self, name: str, **query: object) -> Answer:
        """Delete with all options in the query."""
        return self.client.request("DELETE", f"/v2/keys/service/batman/{name}?{urlencode(query)}")

    def assert_refused(self, answer: Answer, status: int, code: int) -> None:
        """The answer is this error."""
        self.assertEqual((answer.status, answer.json["errorCode"]), (status, code))

    def test_leader(self) -> None:
        """One becomes the leader and stays it as long as it says so; nobody else can take or drop the key."""
        self.assertEqual(self.put("leader", value="pg1", ttl=30, prevExist="false").status, 201)
        self.assert_refused(self.put("leader", value="pg2", ttl=30, prevExist="false"), 412, 105)
        renewed = self.put("leader", value="pg1", ttl=30, prevValue="pg1")
        self.assertEqual((renewed.status, renewed.json["action"]), (200, "compareAndSwap"))
        self.assertIn(renewed.json["node"]["ttl"], (29, 30))
        self.assert_refused(self.put("leader", value="pg2", ttl=30, prevValue="pg2"), 412, 101)
        self.assert_refused(self.delete("leader", prevValue="pg2"), 412, 101)
        self.assertEqual(self.put("leader", value="pg1", ttl=30, prevExist="true").json["action"], "update")
        self.assertEqual(self.delete("leader", prevValue="pg1").json["action"], "compareAndDelete")
        self.assert_refused(self.put("leader", value="pg1", ttl=30, prevExist="true"), 404, 100)

    def test_prev_index_of_nought(self) -> None:
        """prevIndex=0 is no condition, in writes and in deletes."""
        first = self.put("config", value="{}", prevIndex=0)
        self.assertEqual((first.status, first.json["action"]), (201, "set"))
        self.assertEqual(self.put("config", value='{"ttl":30}', prevIndex=0).status, 200)
        self.assert_refused(self.put("config", value="{}", prevIndex=first.index), 412, 101)
        self.assertEqual(self.delete("config", prevIndex=0).json["action"], "delete")

    def test_cluster(self) -> None:
        """The cluster is read as a whole; the wait for the leader's key is over when it is gone."""
        self.put("initialize", value="6789", prevExist="false")
        self.put("members/pg1", value='{"role":"master"}', ttl=30)
        leader = self.put("leader", value="pg1", ttl=1, prevExist="false")
        read = self.client.request("GET", "/v2/keys/service/batman/?recursive=true&quorum=true")
        self.assertEqual(read.index, leader.index)
        keys = [node["key"].rpartition("/")[2] for node in read.json["node"]["nodes"]]
        self.assertEqual(keys, ["initialize", "leader", "members"])
        following = leader.json["node"]["modifiedIndex"] + 1
        gone = self.client.request("GET", f"/v2/keys/service/batman/leader?wait=true&waitIndex={following}")
        self.assertEqual(gone.json["action"], "expire")
        self.assertEqual(self.delete("", recursive="true").status, 200)


class ConfdTests(ClientCase):
    """confd: everything below some prefixes, and again when something changes."""

    def test_read_and_watch(self) -> None:
        """The values come sorted; a watch with waitIndex=0 hears of the next change below."""
        self.serve()
        client, writer = self.connect(), self.connect()
        for name, value in (("url", "db.example"), ("pool/size", "5"), ("_draft", "x"), ("Port", "5432")):
            writer.request("PUT", f"/v2/keys/app/{name}", value=value)
        read = client.request("GET", "/v2/keys/app?quorum=true&recursive=true&sorted=true")
        nodes = read.json["node"]["nodes"]
        self.assertEqual([node["key"] for node in nodes], ["/app/Port", "/app/pool", "/app/url"])
        self.assertEqual(nodes[1]["nodes"][0]["value"], "5")
        client.begin("GET", "/v2/keys/app?recursive=true&wait=true&waitIndex=0")
        waiting = client.response()
        self.assertEqual(int(waiting.headers["X-Etcd-Index"]), read.index)
        writer.request("PUT", "/v2/keys/other", value="x")
        writer.request("PUT", "/v2/keys/app/pool/size", value="6")
        self.assertIn(b'"key":"/app/pool/size","value":"6"', waiting.read())
        past = client.request("GET", f"/v2/keys/app?recursive=true&wait=true&waitIndex={read.index + 1}")
        self.assertEqual(past.json["node"]["value"], "6")


class AddressesTests(ClientCase):
    """`/v2/machines` and `/v2/members` name URLs that a client can use, certificate and all."""

    def assert_usable(self, expected: list[str], *arguments: str) -> None:
        """With these options, clients are told these URLs, and each leads to the server."""
        server = self.launch([*TWISTD, "--data-dir=data", *GUARDED, *arguments])
        server.wait_for("Serving on")
        client = self.connect()
        machines = client.request("GET", "/v2/machines").body.decode().split(", ")
        self.assertEqual(machines, expected)
        (member,) = client.request("GET", "/v2/members").json["members"]
        self.assertEqual(member["clientURLs"], expected)
        self.assertEqual(client.request("GET", "/v2/leader").body.decode(), expected[0])
        for number, url in enumerate(expected):
            parts = urlsplit(url)
            assert parts.hostname is not None and parts.port is not None
            secure = parts.scheme == "https"
            other = SecureClient(parts.port, parts.hostname) if secure else Client(parts.port)
            self.addCleanup(other.close)
            other.request("PUT", "/v2/keys/x", value=number)
            self.assertEqual(client.request("GET", "/v2/keys/x").json["node"]["value"], str(number))

    def test_addr(self) -> None:
        """--addr is told, also where the server listens on another address."""
        address = f"localhost:{self.port}"
        self.assert_usable([f"https://{address}"], f"--addr={address}", f"--bind-addr=127.0.0.1:{self.port}")

    def test_bind_addr(self) -> None:
        """Without --addr it is the address where the server listens."""
        self.assert_usable([self.url], f"--bind-addr=127.0.0.1:{self.port}")

    def test_advertise_client_urls(self) -> None:
        """--advertise-client-urls are told as they are given."""
        urls = [f"https://localhost:{self.port}", self.url]
        self.assert_usable(urls, f"--addr=127.0.0.1:{self.port}", f"--advertise-client-urls={','.join(urls)}")

    def test_listen_client_urls(self) -> None:
        """All of --listen-client-urls are told, those without TLS too."""
        urls = [self.url, f"http://127.0.0.1:{free_port()}"]
        self.assert_usable(urls, f"--listen-client-urls={','.join(urls)}")
