"""The page for everybody: by keyboard, on a small screen, in the dark, and with very many keys."""

from __future__ import annotations

import socket

from tests.dashboard_harness import (
    CONTROL,
    DOWN,
    END,
    ENTER,
    ESCAPE,
    HOME,
    LEFT,
    PHONE,
    RIGHT,
    SPACE,
    TAB,
    UP,
    BrowserCase,
)
from tests.e2e import ServerProcess

MANY = 1000


def put(server: ServerProcess, *keys: str) -> None:
    """Write keys as another client."""
    for key in keys:
        assert server.request("PUT", f"/v2/keys{key}", value="1").status == 201


def put_many(server: ServerProcess, number: int) -> None:
    """Write `number` keys below /many, without waiting for each."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        for start in range(0, number, 500):
            request = "PUT /v2/keys/many/{:06}?value=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
            batch = [request.format(each) for each in range(start, min(start + 500, number))]
            connection.sendall("".join(batch).encode())
            answers = b""
            while answers.count(b'"action"') < len(batch):
                answers += connection.recv(65536)


class KeyboardTests(BrowserCase):
    expected = ("404 (Not Found)",)

    def at(self) -> str:
        """The name that has the focus in the tree."""
        return str(self.page.run("return document.activeElement.getAttribute('aria-label')"))

    def test_tree(self) -> None:
        server = self.start()
        put(server, "/a/1", "/a/2", "/b", "/c")
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/")
        page.item("c")
        for _ in range(20):
            if self.at() == "/":
                break
            page.press(TAB)
        seen = [self.at()]
        for key in (DOWN, RIGHT):
            page.press(key)
            seen.append(self.at())
        page.item("1")
        for key in (RIGHT, DOWN, DOWN, END, UP, "a", LEFT, LEFT, HOME):
            page.press(key)
            seen.append(self.at())
        self.assertEqual(seen, ["/", "a", "a", "1", "2", "b", "c", "b", "a", "a", "/", "/"])
        self.assertEqual(page.names(), ["/", "a", "b", "c"])
        page.press(DOWN, DOWN, ENTER)
        page.wait(lambda: page.text("#detail h2") == "/b")
        page.press(DOWN, SPACE)
        page.wait(lambda: page.text("#detail h2") == "/c")
        self.assertEqual(self.at(), "c")

    def test_focus_stays_when_an_item_goes(self) -> None:
        server = self.start()
        put(server, "/a/1", "/b")
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/")
        page.choose("a", "1")
        server.request("DELETE", "/v2/keys/a/1")
        page.wait(lambda: page.names() == ["/", "a", "b"])
        page.wait(lambda: self.at() == "a")

    def test_all_by_keyboard(self) -> None:
        """A key is made, changed and deleted without a pointer; where the focus is can be seen."""
        server = self.look()
        page = self.page

        def tab_to(text: str) -> None:
            for _ in range(60):
                here = page.run("return document.activeElement.textContent || document.activeElement.id")
                if here == text:
                    break
                page.press(TAB)
            else:
                raise AssertionError(f"the Tab key does not lead to {text!r}")
            outline = "return getComputedStyle(document.activeElement).outlineStyle"
            self.assertEqual(page.run(outline), "solid", text)

        tab_to("New key…")
        page.press(ENTER)
        page.find("dialog")
        page.press("k", TAB, TAB, "v1", TAB, TAB, TAB, ENTER)
        page.wait(lambda: page.all("dialog") == [] and page.text("#detail h2") == "/k")
        self.assertEqual(server.request("GET", "/v2/keys/k").json["node"]["value"], "v1")
        tab_to("Delete…")
        page.press(TAB)
        page.press(END, "+")
        page.press(CONTROL + ENTER)
        page.wait(lambda: "/k is saved" in page.text("#said"))
        self.assertEqual(server.request("GET", "/v2/keys/k").json["node"]["value"], "v1+")
        tab_to("Delete…")
        page.press(ENTER)
        page.find("dialog")
        page.press(ESCAPE)
        page.wait(lambda: page.all("dialog") == [])
        self.assertEqual(page.run("return document.activeElement.textContent"), "Delete…")
        page.press(ENTER)
        page.find("dialog")
        tab_to("Delete")
        page.press(ENTER)
        page.wait(lambda: "/k is deleted" in page.text("#said"))

    def test_names_of_controls(self) -> None:
        """Whoever cannot see a control is told what it is."""
        server = self.start()
        put(server, "/k")
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/#/k")
        page.wait(lambda: page.value() == "1")
        page.button("New key…").click()
        nodes = page.command("Accessibility.getFullAXTree")["nodes"]
        controls = (
            "button",
            "textbox",
            "searchbox",
            "checkbox",
            "combobox",
            "spinbutton",
            "treeitem",
            "tree",
        )
        unnamed = [
            node
            for node in nodes
            if not node["ignored"]
            and node["role"]["value"] in controls
            and not node.get("name", {}).get("value")
        ]
        self.assertEqual(unnamed, [])
        self.assertIn("dialog", [node["role"]["value"] for node in nodes if not node["ignored"]])


class SmallScreenTests(BrowserCase):
    def test_phone(self) -> None:
        """One pane at a time, and nothing beyond the edge."""
        server = self.start()
        put(server, "/services/" + "long" * 30, "/services/a")
        page = self.page
        page.resize(*PHONE)
        page.open(f"http://127.0.0.1:{server.port}/dashboard/")
        page.choose("services")
        page.item("a")
        panes = {"Keys": "#tree", "Key": "#detail h2", "Events": "#events", "Load": "#writes"}
        for name, css in panes.items():
            page.find(f".tabs button:nth-child({list(panes).index(name) + 1})").click()
            page.find(css)
            shown = [each for each in panes.values() if page.all(each)[0].is_displayed()]
            self.assertEqual(shown, [css])
            self.assertLessEqual(page.run("return document.documentElement.scrollWidth"), PHONE[0])
            beyond = """return [...document.querySelectorAll("button, input, select, textarea")]
                .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > innerWidth)
                .map((each) => each.outerHTML)"""
            self.assertEqual(page.run(beyond), [])
        page.find(".tabs button").click()
        page.choose("a")
        page.wait(lambda: page.text("#detail h2") == "/services/a")
        self.assertFalse(page.all("#tree")[0].is_displayed())
        page.write("from a phone")
        page.button("Save").click()
        page.wait(lambda: "is saved" in page.text("#said"))


CONTRASTS = """
    const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const part = (c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = rgb(getComputedStyle(at).backgroundColor);
            if (colour.length < 4 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
        if (!own || !element.checkVisibility() || element.closest(":disabled")) continue;
        const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) found.push(`${element.outerHTML}: ${contrast}`);
    }
    return found;
"""


class ColourTests(BrowserCase):
    def test_contrast(self) -> None:
        """All text can be read, in the light and in the dark."""
        server = self.start()
        put(server, "/a/1")
        server.request("PUT", "/v2/keys/b", value="1", ttl=100)
        server.request("PUT", "/v2/keys/b?prevValue=1", value="2")
        server.request("DELETE", "/v2/keys/a/1")
        page = self.page
        page.prefer(prefers_color_scheme="light", prefers_reduced_motion="reduce")
        page.open(f"http://127.0.0.1:{server.port}/dashboard/#/b")
        page.wait(lambda: page.value() == "2")
        page.write("mine")
        server.request("PUT", "/v2/keys/b", value="3")
        page.find(".conflict")
        backgrounds = []
        for scheme in ("light", "dark"):
            page.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
            self.assertEqual(page.run(CONTRASTS), [], scheme)
            backgrounds.append(page.run("return getComputedStyle(document.body).backgroundColor"))
        self.assertEqual(len(set(backgrounds)), 2)

    def test_reduced_motion(self) -> None:
        server = self.look()
        page = self.page
        for preference, name in (("no-preference", "lit"), ("reduce", "none")):
            page.prefer(prefers_reduced_motion=preference)
            put(server, f"/{preference}")
            row = page.item(preference)
            self.assertEqual(row.value_of_css_property("animation-name"), name)


class ManyKeysTests(BrowserCase):
    expected = ("404 (Not Found)",)

    def test_large_directory(self) -> None:
        """Of a directory, the page has as much as was asked for, however much there is."""
        server = self.start()
        put_many(server, MANY)
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/")
        page.choose("many")
        page.wait(lambda: len(page.names()) == 2 + 200 + 1)
        self.assertEqual(page.names()[-1], "▼ more than 200: show more")
        page.find(".loader").click()
        page.wait(lambda: len(page.names()) == 2 + 400 + 1)
        # What comes into the part that is shown pushes the last one out; what comes behind it is not shown.
        put(server, "/many/000000a", "/many/zzz")
        page.wait(lambda: page.names()[3] == "000000a")
        self.assertEqual(len(page.names()), 2 + 400 + 1)
        page.fill("input[name=from]", "0005")
        page.button("List").click()
        page.wait(lambda: "000500" in page.names())
        self.assertEqual(page.names()[2:4], ["▲ from the beginning", "000500"])
        page.find(".loader").click()
        page.wait(lambda: page.names()[2] == "000000")

    def test_many_events(self) -> None:
        """A flood of events leaves the page usable, and its lists as long as they may be."""
        server = self.look()
        page = self.page
        put_many(server, MANY)
        last = f"/many/{MANY - 1:06}"
        page.wait(lambda: page.events() and page.events()[0][2] == last)
        self.assertEqual(len(page.events()), 300)
        page.choose("many")
        page.wait(lambda: len(page.names()) == 2 + 200 + 1)
        server.request("DELETE", "/v2/keys/many?recursive=true")
        page.wait(lambda: page.names() == ["/"])
