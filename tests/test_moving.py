"""Copies between real servers: a real etcd and txetcd, by file, by pipe and directly, and followed."""

from __future__ import annotations

import signal
import threading
import time
from urllib.parse import quote

from tests.client_harness import (
    CA_FILE,
    CLIENT_CERT_FILE,
    CLIENT_KEY_FILE,
    GUARDED,
    eventually,
)
from tests.e2e import CONSOLE_SCRIPT, TIMEOUT, ServerProcess
from tests.moving_harness import DEEP, NAMES, VALUES, MovingCase, lines
from txetcd.moving.lines import SECOND, Section


class CopyTests(MovingCase):
    def fill(self, url: str) -> dict[str, str | None]:
        """Put what is hard to copy into a server, and return what is to be seen of it."""
        expected: dict[str, str | None] = {}
        for directory in ("", "/d"):
            for name, value in zip(NAMES, VALUES + ("v",) * len(NAMES), strict=False):
                self.put(
                    url,
                    f"{directory}/{quote(name, safe='')}" if name != "%2F" else f"{directory}/%252F",
                    value=value,
                )
                expected[f"{directory}/{name}"] = value
        for number, value in enumerate(VALUES):
            self.put(url, f"/values/{number}", value=value)
            expected[f"/values/{number}"] = value
        self.put(url, DEEP, value="deep")
        expected[DEEP] = "deep"
        self.put(url, "/empty", dir="true")
        self.put(url, "/mortal", value="x", ttl=1000)
        self.put(url, "/mortals", dir="true", ttl=2000)
        self.put(url, "/mortals/a", value="x")
        self.put(url, "/_hidden/a", value="x")
        self.put(url, "/d/_hidden", value="x")
        parents = ["/d", "/values", *("/deep" + "/a" * depth for depth in range(1000))]
        expected |= dict.fromkeys(parents) | {
            "/empty": None,
            "/mortal": "x",
            "/mortals": None,
            "/mortals/a": "x",
        }
        return expected

    def assert_ttls(self, url: str) -> None:
        for key, ttl in (("/mortal", 1000), ("/mortals", 2000)):
            found = self.get(url, key)["ttl"]
            assert isinstance(found, int)
            self.assertTrue(ttl - TIMEOUT < found <= ttl, found)
        self.assertNotIn("ttl", self.get(url, "/empty"))

    def test_from_etcd_and_back(self) -> None:
        etcd, txetcd = self.etcd(), self.txetcd()
        expected = self.fill(etcd)
        copy = self.moved("export", "--endpoint", etcd)
        self.assertEqual(lines(copy)[0], self.section(etcd, copy))
        (self.directory / "copy.jsonl").write_bytes(copy)
        self.moved("import", "--endpoint", txetcd, "copy.jsonl")
        self.assertEqual(self.exported(txetcd), expected)
        self.assert_ttls(txetcd)
        # And directly into a second one, which is the etcd, emptied.
        for key in self.exported(etcd):
            if key.count("/") == 1:
                self.servers[etcd].request("DELETE", f"/v2/keys/{quote(key[1:], safe='')}?recursive=true")
        self.moved("import", "--endpoint", etcd, "--from", txetcd)
        self.assertEqual(self.exported(etcd), expected)
        self.assert_ttls(etcd)

    def section(self, url: str, copy: bytes) -> Section:
        """The head that a copy of all keys of a server must have."""
        found = lines(copy)[0]
        assert isinstance(found, Section)
        self.assertLess(abs(found.time - time.time_ns()), TIMEOUT * SECOND)
        headers = self.servers[url].request("GET", "/v2/keys/").headers
        return Section("/", self.index(url), headers["X-Etcd-Cluster-Id"], found.time)

    def test_indices_and_expirations(self) -> None:
        """A copy tells what the server does."""
        url = self.txetcd()
        self.put(url, "/a", value="x")
        self.put(url, "/a", value="y", ttl=100, prevExist="true")
        node = self.get(url, "/a")
        copy = self.moved("export", "--endpoint", url).decode()
        self.assertIn(
            f'{{"key":"/a","value":"y","expiration":"{node["expiration"]}","createdIndex":2,"modifiedIndex":3}}\n',
            copy,
        )

    def test_some_keys(self) -> None:
        """The keys that are asked for, and hidden ones that are named."""
        source, target = self.txetcd("one"), self.txetcd("two")
        for key in ("/a/b", "/c", "/_h/x", "/_h/_y", "/d/_z"):
            self.put(source, key, value="v")
        self.assertEqual(self.exported(source, "--key", "/c"), {"/c": "v"})
        self.assertEqual(
            self.exported(source, "--key", "a/", "--key", "/c"), {"/a": None, "/a/b": "v", "/c": "v"}
        )
        hidden = ("--hidden", "/_h", "--hidden", "/_h/_y", "--hidden", "/d/_z")
        everything = {
            **{"/a": None, "/a/b": "v", "/c": "v", "/d": None},
            **{"/_h": None, "/_h/x": "v", "/_h/_y": "v", "/d/_z": "v"},
        }
        self.assertEqual(self.exported(source, *hidden), everything)
        self.moved("import", "--endpoint", target, "--from", source, *hidden)
        self.assertEqual(self.exported(target, *hidden), everything)

    def test_merge_and_replace(self) -> None:
        source, target = self.txetcd("one"), self.txetcd("two")
        for key in ("/same", "/other", "/file", "/dir/a", "/new/a"):
            self.put(source, key, value="source")
        self.put(target, "/same", value="source")
        self.put(target, "/other", value="target")
        self.put(target, "/mine/a/b", value="target")
        copy = self.moved("export", "--endpoint", source)
        self.assert_fails(
            "has keys already; empty it, or give", "import", "--endpoint", target, "-", given=copy
        )
        self.moved("import", "--endpoint", target, "--merge", "-", given=copy)
        merged = self.exported(source) | {"/mine": None, "/mine/a": None, "/mine/a/b": "target"}
        self.assertEqual(self.exported(target), merged)
        # Where one has a directory and the other a file, nothing but --replace will do.
        self.servers[target].request("DELETE", "/v2/keys/file")
        self.put(target, "/file/x", value="target")
        self.servers[target].request("DELETE", "/v2/keys/dir?recursive=true")
        self.put(target, "/dir", value="target")
        copying = ("import", "--endpoint", target, "-")
        self.assert_fails(
            "refuses /file: 102: Not a file", *copying, "--merge", "--concurrency=1", given=copy
        )
        before = self.index(target)
        ended = self.run_moving(*copying, "--replace", given=copy)
        self.assertIn(b"1 written, 6 the same, 2 deleted", ended.stderr)
        self.assertEqual(self.exported(target), self.exported(source))
        self.assertEqual(self.index(target), before + 3)
        # Done again there is nothing to do.
        ended = self.run_moving(*copying, "--replace", given=copy)
        self.assertIn(b": 0 written, 7 the same\n", ended.stderr)
        self.assertEqual(self.index(target), before + 3)

    def test_expired(self) -> None:
        """What runs out between export and import is left out."""
        source, target = self.txetcd("one"), self.txetcd("two")
        self.put(source, "/d", dir="true", ttl=1000)
        self.put(source, "/d/a", value="x")
        self.put(source, "/b", value="x")
        copy = self.moved("export", "--endpoint", source)
        year = b'"expiration":"20'
        self.assertEqual(copy.count(year), 1)
        ended = self.run_moving(
            "import", "--endpoint", target, "-", given=copy.replace(year, b'"expiration":"19')
        )
        self.assertIn(b": 1 written, 2 expired\n", ended.stderr)
        self.assertEqual(self.exported(target), {"/b": "x"})

    def test_tls(self) -> None:
        """With certificates, between an etcd and a txetcd that both want them."""
        etcd, txetcd = self.etcd(secure=True), self.txetcd("secure", *GUARDED).replace("http:", "https:")
        files = ("--ca-file", CA_FILE, "--cert-file", CLIENT_CERT_FILE, "--key-file", CLIENT_KEY_FILE)
        copy = b"".join(
            [
                b'{"format":"txetcd-copy","version":1,"key":"/","index":1,"cluster":"","time":"2026-01-01T00:00:00Z"}\n',
                b'{"key":"/a","value":"x"}\n{"nodes":1}\n',
            ]
        )
        self.moved("import", "--endpoint", etcd, *files, "-", given=copy)
        its = [f"--from-{word[2:]}" if word.startswith("--") else word for word in files]
        self.moved("import", "--endpoint", txetcd, *files, "--from", etcd, *its)
        self.assertEqual(self.exported(txetcd, *files), {"/a": "x"})
        for url in (etcd, txetcd):
            self.assert_fails(
                "certificate verify failed.*; give the CA",
                "export",
                "--endpoint",
                url,
                *files[2:],
                "--ca-file",
                CLIENT_CERT_FILE,
            )
            self.assert_fails(
                "TLS fails: .*; give a certificate that it accepts|the connection was lost",
                *("export", "--endpoint", url, "--ca-file", CA_FILE),
            )

    def test_another_host(self) -> None:
        """A certificate has to be that of the host in the URL."""
        url = self.txetcd("secure", *GUARDED, "--bind-addr=0.0.0.0").replace("http:", "https:")
        elsewhere = url.replace("127.0.0.1", "127.0.0.2")
        files = ("--ca-file", CA_FILE, "--cert-file", CLIENT_CERT_FILE, "--key-file", CLIENT_KEY_FILE)
        self.assert_fails(
            "its certificate is not for 127.0.0.2; give", "export", "--endpoint", elsewhere, *files
        )

    def test_users(self) -> None:
        url = self.txetcd()
        server = self.servers[url]
        connection = server.client()
        self.addCleanup(connection.close)
        for path, body in (("users/root", '{"user":"root","password":"pw:x"}'), ("enable", "")):
            connection._connection.request(
                "PUT", f"/v2/auth/{path}", body, {"Content-Type": "application/json"}
            )
            self.assertIn(connection.answer().status, (200, 201))
        connection._connection.request(
            "DELETE", "/v2/auth/roles/guest", headers={"Authorization": "Basic cm9vdDpwdzp4"}
        )
        self.assertEqual(connection.answer().status, 200)
        self.assert_fails("refuses /: 110: .*; give a user", "export", "--endpoint", url)
        self.assertEqual(self.exported(url, "--user", "root:pw:x"), {})
        (self.directory / "user").write_text("root:pw:x\n")
        self.assertEqual(self.exported(url, "--user", "@user"), {})


class FollowTests(MovingCase):
    """The source changes all the time; in the end both are the same."""

    def follow(self, source: str, target: str, *arguments: str) -> ServerProcess:
        return self.launch(
            [*CONSOLE_SCRIPT, "import", "--endpoint", target, "--from", source, "--follow", *arguments]
        )

    def assert_ends(self, following: ServerProcess) -> None:
        self.assertEqual(following.process.wait(TIMEOUT), 0, following.output)
        self.assertNotIn("Traceback", following.output)

    def writing(self, url: str, stop: threading.Event) -> threading.Thread:
        """Writes all kinds of things until it is told to stop."""

        def write() -> None:
            client = self.servers[url].client()
            try:
                number = 0
                while not stop.is_set():
                    number += 1
                    place = f"/v2/keys/busy/{number % 7}"
                    client.request("PUT", f"{place}/{number % 11}", value=number)
                    client.request("POST", f"{place}/queue", value=number)
                    client.request("PUT", f"{place}/brief/{number % 3}", value=number, ttl=1)
                    if number % 5 == 0:
                        client.request("DELETE", f"{place}?recursive=true")
                    if number % 20 == 0:
                        client.request("PUT", place, value="a file")
                        client.request("DELETE", place)
            finally:
                client.close()

        thread = threading.Thread(target=write)
        thread.start()
        self.addCleanup(thread.join, TIMEOUT)
        self.addCleanup(stop.set)
        return thread

    def cut_over(self, source: str, target: str, *keys: str) -> None:
        self.put(source, "/before", value="x")
        stop = threading.Event()
        writing = self.writing(source, stop)
        following = self.follow(source, target)
        following.wait_for(" written")
        eventually(lambda: "/busy" in self.exported(target))
        stop.set()
        writing.join(TIMEOUT)
        self.put(source, "/last", value="x")
        eventually(lambda: "/last" in self.exported(target))
        # Nobody is told of a refresh; the comparison sees it.
        self.put(source, "/kept", value="x", ttl=100)
        self.servers[source].request("PUT", "/v2/keys/kept?refresh=true&ttl=1000&prevExist=true")
        eventually(lambda: "/kept" in self.exported(target))
        following.process.send_signal(signal.SIGINT)
        self.assert_ends(following)
        self.assertIn("/ as of index", following.output)
        eventually(lambda: self.exported(target) == self.exported(source))
        ttl = self.get(target, "/kept")["ttl"]
        assert isinstance(ttl, int)
        self.assertGreater(ttl, 100)

    def test_etcd_to_txetcd(self) -> None:
        self.cut_over(self.etcd(), self.txetcd())

    def test_txetcd_to_etcd(self) -> None:
        self.cut_over(self.txetcd(), self.etcd())

    def test_until_index(self) -> None:
        """It ends by itself; a hidden key that is named is followed too."""
        source, target = self.txetcd("one"), self.txetcd("two")
        self.put(source, "/_h/a", value="1")
        until = self.index(source) + 2
        following = self.follow(source, target, "--hidden", "/_h", "--until-index", str(until))
        following.wait_for(" written")
        self.put(source, "/_h/a", value="2")
        self.put(source, "/b", value="2")
        self.assert_ends(following)
        self.assertEqual(self.exported(target, "--hidden", "/_h"), {"/b": "2", "/_h": None, "/_h/a": "2"})

    def test_source_and_target_away(self) -> None:
        """Both are restarted in the middle of it."""
        source, target = self.txetcd("one"), self.txetcd("two")
        following = self.follow(source, target)
        following.wait_for(" written")
        for url, name in ((source, "one"), (target, "two")):
            server = self.servers[url]
            server.stop()
            if url == target:
                self.put(source, "/meanwhile", value="x")
            again = self.launch(
                [*CONSOLE_SCRIPT, f"--data-dir={name}", f"--addr=127.0.0.1:{server.port}"], server.port
            )
            again.wait_for("Serving on")
            self.servers[url] = again
            self.put(source, f"/{name}", value="x")
        eventually(lambda: "/two" in self.exported(target))
        following.process.send_signal(signal.SIGINT)
        self.assert_ends(following)
        self.assertEqual(self.exported(target), {"/one": "x", "/two": "x", "/meanwhile": "x"})

    def test_forgotten(self) -> None:
        """When the source has forgotten what changed, all keys are compared."""
        source, target = self.txetcd("one", "--history-size=1"), self.txetcd("two")
        self.put(source, "/old", value="x")
        following = self.follow(source, target)
        following.wait_for(" written")
        # Five changes while it is stopped.
        following.process.send_signal(signal.SIGSTOP)
        for number in range(5):
            self.put(source, f"/{number}", value="x")
        self.servers[source].request("DELETE", "/v2/keys/old")
        following.process.send_signal(signal.SIGCONT)
        following.wait_for("has forgotten what came after")
        eventually(lambda: self.exported(target) == self.exported(source))
        following.process.send_signal(signal.SIGINT)
        self.assert_ends(following)
