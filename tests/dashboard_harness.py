"""A real browser for tests of the page: headless Chromium, driven over WebDriver.

    class SomeTests(BrowserCase):
        def test_it(self) -> None:
            server = self.start()
            page = self.open(f"http://127.0.0.1:{server.port}/dashboard/")
            page.item("config").click()

Whatever a test waits for, it waits for with `Page.wait`. It fails when the page has logged an error.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from twisted.trial.unittest import SkipTest

from tests.e2e import TIMEOUT, EndToEndCase, ServerProcess

try:
    from selenium import webdriver
    from selenium.common.exceptions import NoAlertPresentException, StaleElementReferenceException
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.remote.webelement import WebElement
except ImportError:
    MISSING = "Selenium is not installed"
else:
    MISSING = ""

T = TypeVar("T")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
if not MISSING and not (CHROMIUM and DRIVER):
    MISSING = "Chromium or its driver is not installed"

# The sandbox needs what a container does not give to root; the rest keeps the browser to itself.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en-US",
)
WIDE = (1280, 900)
PHONE = (360, 740)


class Page:
    """The page in a browser.

    @ivar driver: WebDriver's own view of it.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Load the page, and wait until it shows keys or says that it cannot."""
        self.driver.get("about:blank")
        self.driver.get(url)
        self.wait(lambda: self.text("#state") not in ("", "…"))

    def wait(self, condition: Callable[[], T | None]) -> T:
        """Look again and again until that is true; give what it is."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                found = condition()
            except (NoAlertPresentException, StaleElementReferenceException):
                found = None
            if found:
                return found
            if time.monotonic() > deadline:
                said = self.text("body")
                raise AssertionError(f"it has not come about in time; the page says:\n{said}")
            time.sleep(0.02)

    def all(self, css: str) -> list[WebElement]:
        """All elements that a selector finds now."""
        found: list[WebElement] = self.driver.find_elements(By.CSS_SELECTOR, css)
        return found

    def find(self, css: str) -> WebElement:
        """The first that is to be seen, as soon as there is one."""
        return self.wait(lambda: next((each for each in self.all(css) if each.is_displayed()), None))

    def text(self, css: str) -> str:
        """The text of the first element, nothing if there is none."""
        found = self.all(css)
        return found[0].text if found else ""

    def button(self, text: str) -> WebElement:
        """The button to be seen that says that, as soon as there is one."""
        return self.wait(
            lambda: next(
                (each for each in self.all("button") if each.text == text and each.is_displayed()), None
            )
        )

    def names(self) -> list[str]:
        """What the tree shows, from above to below."""
        script = """
            return [...document.querySelectorAll("#tree [role=treeitem]:not([hidden])")]
                .map((item) => item.getAttribute("aria-label") ?? item.textContent)"""
        shown: list[str] = self.driver.execute_script(script)
        return shown

    def item(self, name: str) -> WebElement:
        """The row of a name in the tree, as soon as there is one."""
        script = """
            return [...document.querySelectorAll("#tree [role=treeitem]")]
                .find((item) => item.getAttribute("aria-label") === arguments[0])?.querySelector(".row")"""

        def row() -> WebElement | None:
            found: WebElement | None = self.driver.execute_script(script, name)
            return found

        return self.wait(row)

    def choose(self, *names: str) -> None:
        """Click on one row of the tree after the other."""
        for name in names:
            self.item(name).click()

    def value(self) -> str:
        """What stands in the editor."""
        return str(self.find(".editor textarea[name=value]").get_property("value"))

    def write(self, text: str) -> None:
        """Type a value into the editor, in place of the one there."""
        field = self.find(".editor textarea[name=value]")
        field.clear()
        field.send_keys(text)

    def fill(self, css: str, text: str) -> None:
        """Type into a field, in place of what is there."""
        field = self.find(css)
        field.clear()
        field.send_keys(text)

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def events(self) -> list[list[str]]:
        """The rows of the list of events: index, action, key, change."""
        script = """
            return [...document.querySelectorAll("#events tr")]
                .map((row) => [...row.cells].slice(1).map((cell) => cell.textContent))"""
        rows: list[list[str]] = self.driver.execute_script(script)
        return rows

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page, and give what it returns."""
        return self.driver.execute_script(script, *arguments)

    def resize(self, width: int, height: int) -> None:
        """Make the page as large as that."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, **media: str) -> None:
        """Have what somebody prefers: `prefers_color_scheme="dark"`."""
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.command("Emulation.setEmulatedMedia", features=features)

    def command(self, name: str, **arguments: object) -> Any:
        """A command of the browser's own protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def complaints(self) -> list[str]:
        """What the browser has logged since the last time: errors, violations of the policy."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


def start_browser(directory: Path, home: Path | None = None, certificate_for: str = "") -> Any:
    """Start a browser whose files are in a new directory.

    @param home: the directory that it takes for its user's own.
    @param certificate_for: the URL for which its user has said that the one certificate is to be shown.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.accept_insecure_certs = True
    for flag in (*FLAGS, f"--user-data-dir={directory}", f"--window-size={WIDE[0]},{WIDE[1]}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.set_capability("unhandledPromptBehavior", "ignore")
    if certificate_for:
        choice: dict[str, Any] = {f"{certificate_for},*": {"setting": {"filters": [{}]}}}
        options.add_experimental_option(
            "prefs", {"profile.content_settings.exceptions.auto_select_certificate": choice}
        )
    environment = {**os.environ, "HOME": str(home or directory)}
    return webdriver.Chrome(options=options, service=Service(str(DRIVER), env=environment))


class BrowserCase(EndToEndCase):
    """Has a browser of its own for each test.

    @cvar expected: what the browser may log as an error, as parts of its messages.
    @ivar page: what it shows.
    """

    expected: Sequence[str] = ()

    def setUp(self) -> None:
        if MISSING:
            raise SkipTest(MISSING)
        super().setUp()
        self.page = Page(self.launch_browser())
        self.page.resize(*WIDE)
        self.page.prefer(prefers_color_scheme="light")

    def launch_browser(self, home: Path | None = None, certificate_for: str = "") -> Any:
        """Start a browser that is gone when the test is over."""
        profile = TemporaryDirectory()
        self.addCleanup(profile.cleanup)
        driver = start_browser(Path(profile.name), home, certificate_for)
        self.addCleanup(driver.quit)
        return driver

    def launch(self, command: list[str], port: int = 0) -> ServerProcess:
        """Start a process and do not wait for it; before it is killed, the browser must be content."""
        server = super().launch(command, port)
        self.addCleanup(self.check_complaints)
        return server

    def check_complaints(self) -> None:
        """The browser has nothing to complain about, but what is expected."""
        found = [text for text in self.page.complaints() if not any(part in text for part in self.expected)]
        self.assertEqual(found, [])

    def look(self, *arguments: str, path: str = "/dashboard/") -> ServerProcess:
        """Start a server, and open its page."""
        server = self.start(*arguments)
        self.page.open(f"http://127.0.0.1:{server.port}{path}")
        return server


# The keys as WebDriver spells them, also where Selenium, which has names for them, is not installed.
ENTER, TAB, SPACE, ESCAPE, CONTROL = "\ue007", "\ue004", " ", "\ue00c", "\ue009"
DOWN, UP, LEFT, RIGHT, HOME, END = "\ue015", "\ue013", "\ue012", "\ue014", "\ue011", "\ue010"
