"""The page in a real browser: browsing, watching, and changing keys without overwriting anybody's."""

from __future__ import annotations

from urllib.parse import quote

from tests.dashboard_harness import BrowserCase
from tests.e2e import ServerProcess


def put(server: ServerProcess, key: str, value: str = "", **form: object) -> int:
    """Write a key as another client; give its index."""
    answer = server.request(
        "PUT", f"/v2/keys{quote(key)}", **({"dir": "true"} if form.get("dir") else {"value": value}), **form
    )
    assert answer.status in (200, 201), answer
    return answer.index


def get(server: ServerProcess, key: str) -> object:
    """The value of a key, None if there is none."""
    answer = server.request("GET", f"/v2/keys{quote(key)}")
    return answer.json["node"]["value"] if answer.status == 200 else None


class BrowsingTests(BrowserCase):
    # The browser logs every answer that is an error, and it is one that a key is not there.
    expected = ("404 (Not Found)",)

    def test_browsing(self) -> None:
        server = self.start()
        for key in ("/b/y/1", "/b/x", "/a", "/c"):
            put(server, key, f"value of {key}")
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/")
        self.assertEqual(page.driver.current_url, f"http://127.0.0.1:{server.port}/dashboard/")
        page.wait(lambda: page.names() == ["/", "a", "b", "c"])
        page.choose("b", "y", "1")
        page.wait(lambda: page.text("#detail h2") == "/b/y/1")
        self.assertEqual(page.names(), ["/", "a", "b", "x", "y", "1", "c"])
        self.assertEqual(page.value(), "value of /b/y/1")
        self.assertTrue(page.driver.current_url.endswith("#/b/y/1"))
        page.item("b").find_element("css selector", ".twisty").click()
        page.wait(lambda: page.names() == ["/", "a", "b", "c"])

    def test_address(self) -> None:
        """The address names the key; what is above it is opened."""
        server = self.start()
        put(server, "/deep/er/key", "here")
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/#/deep/er/key")
        page.wait(lambda: page.names() == ["/", "deep", "er", "key"])
        self.assertEqual(page.value(), "here")
        page.driver.back()
        page.open(f"http://127.0.0.1:{server.port}/dashboard/")
        page.fill("#open-key", "deep/nope")
        page.button("Open").click()
        page.wait(lambda: "There is no such key." in page.text("#detail"))

    def test_hidden_key(self) -> None:
        """It is not listed, and there when it is named."""
        server = self.look()
        put(server, "/_hidden", "found")
        page = self.page
        page.fill("#open-key", "/_hidden")
        page.button("Open").click()
        page.wait(lambda: page.text("#detail h2") == "/_hidden")
        self.assertEqual(page.value(), "found")
        self.assertEqual(page.names(), ["/"])

    def test_base(self) -> None:
        """The tree can begin anywhere."""
        server = self.start()
        put(server, "/app/a")
        put(server, "/other/b")
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/")
        page.fill("#base", "/app\n")
        page.wait(lambda: page.names() == ["/app", "a"])
        put(server, "/app/c")
        put(server, "/other/d")
        page.wait(lambda: page.names() == ["/app", "a", "c"])

    def test_filter(self) -> None:
        server = self.start()
        for name in ("alpha", "beta", "gamma"):
            put(server, f"/{name}/{name}-1")
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/")
        page.choose("beta")
        page.item("beta-1")
        page.fill("#tree-filter", "-1")
        page.wait(lambda: page.names() == ["/", "beta", "beta-1"])
        put(server, "/gamma-1")
        put(server, "/delta")
        page.wait(lambda: page.names() == ["/", "beta", "beta-1", "gamma-1"])


class LiveTests(BrowserCase):
    expected = ("404 (Not Found)", "ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY")

    def test_tree_follows(self) -> None:
        server = self.start()
        put(server, "/d/b")
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/")
        page.choose("d")
        put(server, "/d/a")
        put(server, "/d/c/deep")
        put(server, "/e")
        page.wait(lambda: page.names() == ["/", "d", "a", "b", "c", "e"])
        page.choose("c")
        page.item("deep")
        server.request("DELETE", "/v2/keys/d/c?recursive=true")
        server.request("DELETE", "/v2/keys/e")
        page.wait(lambda: page.names() == ["/", "d", "a", "b"])

    def test_events(self) -> None:
        server = self.start()
        put(server, "/old", "1")
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/")
        page.wait(lambda: len(page.events()) == 1)
        self.assertEqual(page.text("#events .when"), "earlier")
        put(server, "/old", "2")
        server.request("DELETE", "/v2/keys/old")
        page.wait(lambda: len(page.events()) == 3)
        self.assertEqual(
            page.events(),
            [["4", "delete", "/old", "2"], ["3", "set", "/old", "12"], ["2", "set", "/old", "1"]],
        )
        page.button("Hold").click()
        put(server, "/new")
        page.fill("#events-filter", "DELETE")
        page.wait(lambda: [row[1] for row in page.events()] == ["delete"])
        page.fill("#events-filter", "/")
        page.button("Hold").click()
        page.wait(lambda: [row[0] for row in page.events()] == ["5", "4", "3", "2"])
        page.button("Clear").click()
        self.assertEqual(page.events(), [])

    def test_value_follows(self) -> None:
        server = self.start()
        put(server, "/k", "1")
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/#/k")
        page.wait(lambda: page.value() == "1")
        put(server, "/k", "2")
        page.wait(lambda: page.value() == "2")
        server.request("DELETE", "/v2/keys/k")
        page.wait(lambda: "There is no such key." in page.text("#detail"))
        put(server, "/k", "3")
        page.wait(lambda: page.value() == "3")

    def test_ttl(self) -> None:
        """It counts down; then the key is gone, and the list says why."""
        server = self.look()
        put(server, "/short", "1", ttl=3)
        put(server, "/long", "1", ttl=7200)
        page = self.page
        page.item("short")
        self.assertRegex(
            page.wait(lambda: page.item("short").find_element("css selector", ".ttl").text), r"^[123] s$"
        )
        self.assertEqual(page.item("long").find_element("css selector", ".ttl").text, "2 h 00 min")
        page.choose("short")
        page.wait(lambda: "Expires in" in page.text("#detail"))
        page.wait(lambda: page.names() == ["/", "long"])
        self.assertEqual(page.events()[0][1:3], ["expire", "/short"])

    def test_refreshed_ttl(self) -> None:
        """A key that is kept alive without a word to those who watch is not taken for overdue."""
        server = self.look()
        put(server, "/session", "1", ttl=1)
        page = self.page
        page.item("session")
        server.request("PUT", "/v2/keys/session", refresh="true", prevExist="true", ttl=500)
        page.wait(lambda: "8:" in page.item("session").find_element("css selector", ".ttl").text)

    def test_restart(self) -> None:
        """The watch goes on where it was when the server is back."""
        server = self.look()
        put(server, "/a")
        page = self.page
        page.item("a")
        server.stop()
        page.wait(lambda: page.text("#state") == "not connected; trying again")
        command = [str(argument) for argument in server.process.args]  # type: ignore[union-attr]
        again = self.launch(command, server.port)
        again.wait_for("Serving on")
        put(again, "/b")
        page.wait(lambda: page.text("#state") == "live")
        page.wait(lambda: page.names() == ["/", "a", "b"])
        self.assertEqual([row[2] for row in page.events()], ["/b", "/a"])

    def test_load(self) -> None:
        """Rates and the latency are plotted."""
        server = self.look()
        page = self.page
        page.wait(lambda: page.text("#latency .now").endswith(" ms"))
        for number in range(30):
            put(server, f"/n/{number}")
        page.wait(lambda: page.text("#writes .peak") not in ("", "peak 0"))
        self.assertEqual(page.text("#watchers"), "1")
        self.assertTrue(page.run("return document.querySelector('#writes polyline').getAttribute('points')"))


class ChangingTests(BrowserCase):
    expected = ("404 (Not Found)", "412 (Precondition Failed)", "403 (Forbidden)")

    def open_key(self, key: str, value: str) -> ServerProcess:
        server = self.start()
        put(server, key, value)
        self.page.open(f"http://127.0.0.1:{server.port}/dashboard/#{quote(key)}")
        self.page.wait(lambda: self.page.value() == value)
        return server

    def said(self, text: str) -> None:
        self.page.wait(lambda: text in self.page.text("#said"))

    def test_save(self) -> None:
        server = self.open_key("/k", "old")
        page = self.page
        page.write("new")
        page.button("Save").click()
        self.said("/k is saved at index 3")
        self.assertEqual(get(server, "/k"), "new")
        page.wait(lambda: page.events() and page.events()[0] == ["3", "compareAndSwap", "/k", "oldnew"])
        page.write("newer")
        page.button("Save").click()
        self.said("/k is saved at index 4")
        self.assertEqual(page.all(".conflict:not([hidden])"), [])

    def test_conflict(self) -> None:
        """Somebody else was faster: nothing is overwritten before one has seen it."""
        server = self.open_key("/k", "old")
        self.page.write("mine")
        put(server, "/k", "theirs")
        self.resolve(server, "/k")

    def test_conflict_unseen(self) -> None:
        """No watch tells of a hidden key: it is the server that refuses."""
        server = self.open_key("/_k", "old")
        self.page.write("mine")
        put(server, "/_k", "theirs")
        self.page.button("Save").click()
        self.resolve(server, "/_k")

    def resolve(self, server: ServerProcess, key: str) -> None:
        page = self.page
        page.wait(lambda: "Somebody has changed this key meanwhile, at index 3." in page.text(".conflict"))
        self.assertEqual((get(server, key), page.value()), ("theirs", "mine"))
        theirs = page.find(".sides textarea[readonly]")
        self.assertEqual(theirs.get_property("value"), "theirs")
        page.button("Save mine over it").click()
        self.said(f"{key} is saved at index 4")
        self.assertEqual(get(server, key), "mine")

    def test_take_theirs(self) -> None:
        server = self.open_key("/k", "old")
        page = self.page
        page.write("mine")
        put(server, "/k", "theirs")
        page.button("Take theirs").click()
        page.wait(lambda: page.value() == "theirs")
        self.assertEqual(server.request("GET", "/v2/keys/k").index, 3)

    def test_deleted_meanwhile(self) -> None:
        server = self.open_key("/k", "old")
        page = self.page
        page.write("mine")
        server.request("DELETE", "/v2/keys/k")
        page.wait(lambda: "Somebody has deleted this key meanwhile." in page.text(".conflict"))
        page.button("Create it anew").click()
        self.said("/k is saved")
        self.assertEqual(get(server, "/k"), "mine")

    def test_unsaved(self) -> None:
        """What is not saved is not left without being asked."""
        server = self.open_key("/k", "old")
        put(server, "/other")
        page = self.page
        page.write("mine")
        page.choose("other")
        page.wait(lambda: page.driver.switch_to.alert).dismiss()
        self.assertEqual((page.text("#detail h2"), page.value()), ("/k", "mine"))
        page.choose("other")
        page.wait(lambda: page.driver.switch_to.alert).accept()
        page.wait(lambda: page.text("#detail h2") == "/other")

    def test_ttl_is_kept(self) -> None:
        """A new value does not take the time away that a key had, unless that is asked for."""
        server = self.start()
        put(server, "/k", "old", ttl=500)
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/#/k")
        page.write("new")
        page.button("Save").click()
        self.said("/k is saved at index 3")
        node = server.request("GET", "/v2/keys/k").json["node"]
        self.assertTrue(480 < node["ttl"] <= 500, node)
        page.find("select[name=expiry] option[value=never]").click()
        page.button("Save").click()
        self.said("/k is saved at index 4")
        self.assertNotIn("ttl", server.request("GET", "/v2/keys/k").json["node"])
        page.find("select[name=expiry] option[value=after]").click()
        page.fill("input[name=ttl]", "77")
        page.button("Save").click()
        self.said("/k is saved at index 5")
        self.assertTrue(70 < server.request("GET", "/v2/keys/k").json["node"]["ttl"] <= 77)

    def test_create(self) -> None:
        server = self.look()
        page = self.page
        page.button("New key…").click()
        page.fill("dialog input[name=key]", "/dir/new")
        page.fill("dialog textarea", "value")
        page.fill("dialog input[name=ttl]", "100")
        page.button("Create").click()
        page.wait(lambda: page.text("#detail h2") == "/dir/new")
        node = server.request("GET", "/v2/keys/dir/new").json["node"]
        self.assertEqual((node["value"], 90 < node["ttl"] <= 100), ("value", True))
        page.button("New key…").click()
        self.assertEqual(page.find("dialog input[name=key]").get_property("value"), "/dir/")
        page.find("dialog input[name=key]").send_keys("sub")
        page.find("dialog input[name=dir]").click()
        page.button("Create").click()
        page.wait(lambda: page.text("#detail h2") == "/dir/sub")
        self.assertTrue(server.request("GET", "/v2/keys/dir/sub").json["node"]["dir"])

    def test_create_what_is_there(self) -> None:
        server = self.open_key("/k", "old")
        page = self.page
        page.button("New key…").click()
        page.fill("dialog input[name=key]", "/k")
        page.fill("dialog textarea", "new")
        page.button("Create").click()
        page.wait(lambda: page.text("dialog .wrong") == "/k exists already")
        self.assertEqual(get(server, "/k"), "old")
        page.button("Cancel").click()
        page.wait(lambda: page.all("dialog") == [])

    def test_delete(self) -> None:
        server = self.open_key("/_k", "old")
        page = self.page
        page.button("Delete…").click()
        put(server, "/_k", "changed")
        page.button("Delete").click()
        page.wait(lambda: "Compare failed" in page.text("dialog .wrong"))
        self.assertEqual(get(server, "/_k"), "changed")
        page.button("Cancel").click()
        page.button("Revert").click()
        page.wait(lambda: page.value() == "changed")
        page.button("Delete…").click()
        page.button("Delete").click()
        self.said("/_k is deleted")
        self.assertIsNone(get(server, "/_k"))

    def test_delete_directory(self) -> None:
        server = self.start()
        put(server, "/d/k")
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/#/d")
        page.button("Delete…").click()
        page.button("Delete").click()
        page.wait(lambda: page.text("dialog .wrong") == "There is something in it, perhaps hidden")
        self.assertIsNotNone(get(server, "/d/k"))
        page.find("dialog input[name=all]").click()
        page.button("Delete").click()
        self.said("/d is deleted")
        self.assertIsNone(get(server, "/d/k"))
        page.wait(lambda: page.names() == ["/"])
