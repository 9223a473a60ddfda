"""The page and those who mean it ill: names and values that would be scripts, and pages of other origins."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import quote, quote_from_bytes

from tests.dashboard_harness import BrowserCase
from tests.e2e import ServerProcess

# Markup, what changes how text around it runs, and what means something to scripts and URLs.
NAMES = (
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1<",
    '"><svg onload=window.pwned=1>',
    "javascript:window.pwned=1",
    "' onmouseover='window.pwned=1",
    "{{constructor.constructor('window.pwned=1')()}}",
    "toString",
    "constructor",
    "a\u202etxt.exe",
    "line\nbreak",
    "tab\there",
    "zero\u200bwidth",
    "per%2fcent?query#hash&amp;",
    "ünï-\U0001f600",
    "x" * 1000,
)
VALUES = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "</textarea><script>window.pwned=1</script>",
    "\n\nleading and trailing\n\n",
    "\x01\x7f\u2028\u2029",
)


class ScriptTests(BrowserCase):
    expected = ("404 (Not Found)",)

    def harmless(self) -> None:
        """No name or value has become anything but text."""
        page = self.page
        self.assertIsNone(page.run("return window.pwned ?? null"))
        self.assertEqual(
            page.run("return document.querySelectorAll('img, iframe, script:not([src])').length"), 0
        )
        self.assertEqual(
            page.run("return document.querySelectorAll('[onerror], [onload], [style]').length"), 0
        )

    def shows(self, value: str) -> None:
        """The editor has that value, or will have it."""
        self.page.wait(lambda: self.page.value() == value)

    def said(self, text: str) -> None:
        self.page.wait(lambda: text in self.page.text("#said"))

    def test_names(self) -> None:
        """Each is shown, opened, watched and deleted as what it is."""
        server = self.start()
        for name in NAMES:
            answer = server.request("PUT", f"/v2/keys/{quote(name, safe='')}", value=name)
            self.assertEqual(answer.status, 201, name)
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/")
        page.wait(lambda: len(page.names()) == 1 + len(NAMES))
        page.wait(lambda: len(page.events()) == len(NAMES))
        shown = page.names()
        for text in (
            "<img src=x onerror=window.pwned=1>",
            "a⟨U+202E⟩txt.exe",
            "line⟨U+000A⟩break",
            "zero⟨U+200B⟩width",
        ):
            self.assertIn(text, shown)
        for name in NAMES:
            page.run("location.hash = arguments[0]", "#/" + quote(name, safe=""))
            self.shows(name)
            # A slash in it would be another key.
            self.assertEqual(
                page.run("return document.querySelector('#tree [aria-selected=true]').branch.name"), name
            )
        self.harmless()
        page.button("New key…").click()
        page.button("Cancel").click()
        page.button("Delete…").click()
        page.button("Delete").click()
        page.wait(lambda: len(page.names()) == len(NAMES))
        self.harmless()

    def test_values(self) -> None:
        """Each is shown as it is, and saved as it is."""
        server = self.look()
        page = self.page
        for number, value in enumerate(VALUES):
            server.request("PUT", f"/v2/keys/{number}", value=value)
            page.choose(str(number))
            self.shows(value)
            field = page.find(".editor textarea[name=value]")
            field.send_keys("!")
            page.button("Save").click()
            self.said(f"/{number} is saved")
            written = server.request("GET", f"/v2/keys/{number}").json["node"]["value"]
            self.assertEqual(written, value + "!")
        self.harmless()

    def test_line_ends(self) -> None:
        """A text field has line ends of one kind; a value that had others has them still."""
        server = self.look()
        server.request("PUT", "/v2/keys/dos", value="a\r\nb\r\n")
        server.request("PUT", "/v2/keys/mixed", value="a\r\nb\nc")
        page = self.page
        page.choose("dos")
        page.wait(lambda: page.text("#detail h2") == "/dos")
        page.find(".editor textarea[name=value]").send_keys("c\n")
        page.button("Save").click()
        self.said("/dos is saved")
        self.assertEqual(server.request("GET", "/v2/keys/dos").json["node"]["value"], "a\r\nb\r\nc\r\n")
        page.choose("mixed")
        page.wait(lambda: "line ends of several kinds" in page.text(".note"))
        self.assertFalse(page.button("Save").is_enabled())

    def test_not_text(self) -> None:
        """What cannot be shown is not saved in place of what it is."""
        server = self.start()
        body = "value=" + quote_from_bytes(b"\xff\xfe\0abc")
        client = server.client()
        self.addCleanup(client.close)
        for name in ("value", quote_from_bytes(b"\xffname")):
            client.begin("PUT", f"/v2/keys/{name}?{body}")
            self.assertEqual(client.answer().status, 201)
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/#/value")
        page.wait(lambda: "not UTF-8" in page.text(".note"))
        self.assertFalse(page.button("Save").is_enabled())
        self.assertTrue(page.find(".editor textarea[name=value]").get_property("readOnly"))
        page.button("Edit anyway").click()
        self.assertTrue(page.button("Save").is_enabled())
        self.assertIn("\ufffdname", page.names())

    def test_long(self) -> None:
        """A long value is cut, and whole when it is asked for."""
        server = self.look()
        value = "0123456789" * 50_000
        server.request("PUT", "/v2/keys/long", value=value)
        page = self.page
        page.choose("long")
        page.wait(lambda: "Only the first 100,000 characters" in page.text(".note"))
        self.assertFalse(page.button("Save").is_enabled())
        self.assertEqual(page.value(), value[:100_000])
        self.assertIn("500,000 bytes", page.text("#detail dl"))
        page.button("Show all").click()
        page.wait(lambda: page.button("Save").is_enabled())
        self.assertEqual(len(page.value()), len(value))

    def test_download(self) -> None:
        """A value is saved as a file, under a name that leads nowhere else."""
        server = self.start()
        server.request("PUT", "/v2/keys/" + quote("..%2f.x y<b>", safe=""), value="a\r\nb")
        self.page.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.directory))
        page = self.page
        page.open(f"http://127.0.0.1:{server.port}/dashboard/")
        page.choose("..%2f.x y<b>")
        page.button("Download").click()
        file = self.directory / "_2f.x_y_b_"
        page.wait(file.exists)
        self.assertEqual(file.read_bytes(), b"a\r\nb")


class PolicyTests(BrowserCase):
    """The Content-Security-Policy holds even where the page's own care would not."""

    expected = ("Content Security Policy", "requires 'Trusted", "Failed to execute 'setAttribute'")

    def test_no_markup_from_text(self) -> None:
        self.look()
        with self.assertRaises(Exception) as caught:
            self.page.run("document.body.innerHTML = '<b>x</b>'")
        self.assertIn("TrustedHTML", str(caught.exception))

    def test_no_other_host(self) -> None:
        server = self.look()
        other = f"http://localhost:{server.port}/version"
        script = "return fetch(arguments[0], {mode: 'no-cors'}).then(() => 'sent', () => 'refused')"
        self.assertEqual(self.page.run(script, other), "refused")
        self.assertEqual(self.page.run(script, f"http://127.0.0.1:{server.port}/version"), "sent")

    def test_no_inline_script(self) -> None:
        """Neither as an element nor as an attribute, nor as a link."""
        self.look()
        self.page.run(
            """for (const [tag, name] of [["script", "text"], ["img", "onerror"], ["a", "href"]]) {
                const element = document.createElement(tag);
                try {
                    element.setAttribute(name, "javascript:window.pwned = 1");
                    element[name] = "javascript:window.pwned = 1";
                } catch {}
                if (tag === "img") element.src = "data:,";
                document.body.append(element);
                element.click();
            }
            return new Promise((seen) => setTimeout(seen, 50));"""
        )
        self.assertIsNone(self.page.run("return window.pwned ?? null"))


HOSTILE_PAGE = b"""<!doctype html><title>hostile</title>
<iframe name="sink"></iframe>
<iframe id="framed"></iframe>
<form method="POST" target="sink"><input name="value" value="stolen"></form>
"""


class HostilePage(BaseHTTPRequestHandler):
    """Serves the page from which attacks are made."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(HOSTILE_PAGE)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class OtherOriginTests(BrowserCase):
    """A page of another origin, in a browser that the server would trust."""

    expected = ("",)

    def setUp(self) -> None:
        super().setUp()
        self.server: ServerProcess = self.start()
        self.server.request("PUT", "/v2/keys/k", value="safe")
        hostile = HTTPServer(("127.0.0.1", 0), HostilePage)
        thread = threading.Thread(target=hostile.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(hostile.server_close)
        self.addCleanup(hostile.shutdown)
        # The same site for the browser, or quite another one: it is refused alike.
        self.places = [f"http://{host}:{hostile.server_port}/" for host in ("127.0.0.1", "localhost")]
        self.target = f"http://127.0.0.1:{self.server.port}"

    def untouched(self) -> None:
        node = self.server.request("GET", "/v2/keys/?recursive=true").json["node"]
        self.assertEqual([(each["key"], each.get("value")) for each in node["nodes"]], [("/k", "safe")])

    def test_form(self) -> None:
        for place in self.places:
            self.page.driver.get(place)
            self.page.run(
                """const form = document.querySelector("form");
                form.action = arguments[0];
                const sink = document.querySelector("[name=sink]");
                const done = new Promise((seen) => sink.addEventListener("load", seen, { once: true }));
                form.submit();
                return done.then(() => true);""",
                f"{self.target}/v2/keys/?value=stolen",
            )
            self.untouched()

    def test_requests(self) -> None:
        """Of whatever kind a script can send them."""
        script = """return fetch(arguments[0], arguments[1]).then((r) => r.type, () => "refused");"""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for place in self.places:
            self.page.driver.get(place)
            for options in (
                {"method": "POST", "mode": "no-cors", "headers": form, "body": "value=stolen"},
                {"method": "POST", "headers": form, "body": "value=stolen", "credentials": "include"},
                {"method": "PUT", "headers": form, "body": "value=stolen"},
                {"method": "DELETE"},
                {"method": "GET"},
            ):
                key = "" if options["method"] == "POST" else "k"
                answer = self.page.run(script, f"{self.target}/v2/keys/{key}", options)
                self.assertIn(answer, ("refused", "opaque"), options)
                self.untouched()

    def test_frame(self) -> None:
        """The page is not to be had in a frame, under somebody else's pictures."""
        self.page.driver.get(self.places[0])
        self.page.run("document.getElementById('framed').src = arguments[0]", f"{self.target}/dashboard/")
        frame = self.page.find("#framed")
        self.page.wait(lambda: any("frame-ancestors" in text for text in self.page.complaints()))
        self.page.driver.switch_to.frame(frame)
        self.assertEqual(self.page.all("#tree"), [])
        self.page.driver.switch_to.default_content()
