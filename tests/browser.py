"""A real browser for tests of the viewer: Debian's Chromium, driven by playwright, and watched."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from live_server import ROOT
from tools import absent, program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
"""A processor stands in for a graphics card, which a test machine lacks."""
NO_CARD = FLAGS[:1]
"""The browser draws its window as it chooses to where no graphics card is: by software, and none stands in."""
VIEWER_TOOLS = ROOT / ".ci-viewer" / "node_modules"
"""What ``.ci/tools`` gets from npm."""
PATIENCE = 150_000
"""Milliseconds: a machine for tests does much at once."""


def chromium() -> str:
    """The path of the browser; a test that needs it is skipped where it or playwright is absent."""
    if importlib.util.find_spec("playwright") is None:
        absent("playwright is not installed; the extra [test] brings it")
    return program(*PROGRAMS)


class Watched:
    """A page, and what no page of ours may do: errors in the console, requests to other hosts."""

    def __init__(self, context: BrowserContext, url: str, listening: bool = True) -> None:
        self.url, self.page = url, context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self.requests: list[str] = []
        if listening:
            self.page.on("console", self._said)
            self.page.on("pageerror", lambda error: self.errors.append(str(error)))
            self.page.on("request", lambda request: self._asked(request.url))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def _asked(self, url: str) -> None:
        self.requests.append(url)
        if urlsplit(url).scheme in ("http", "https", "ws") and urlsplit(url).netloc != urlsplit(self.url).netloc:
            self.foreign.append(url)

    def open(self, path: str, ready: str) -> Page:
        """Go to a page, such as ``slides``, and wait until it says that it is complete."""
        self.page.goto(f"{self.url}/#/{path}")
        self.wait(ready)
        return self.page

    def wait(self, ready: str) -> None:
        """Wait until a page is complete; a strict policy forbids playwright to look by a script of its own."""
        self.page.wait_for_selector(f"html[data-ready='{ready}']", state="attached")

    def drawn(self) -> None:
        """Wait until all tiles of the view are on the screen."""
        self.frames()  # a change of the view is noticed with the next frame
        self.page.wait_for_selector(".pane[data-drawn='true']")
        self.frames()

    def frames(self) -> None:
        """Wait for two frames of the browser."""
        self.run("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(null))))")

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds; fail where it never does."""
        deadline = time.monotonic() + PATIENCE / 1000
        while not condition():
            assert time.monotonic() < deadline, "it never came"
            self.page.wait_for_timeout(50)

    def turn_to(self, target: str) -> None:
        """Change the part of the address after ``#``, as a user would, and wait until the page has noticed."""
        self.run(
            "(target) => new Promise((done) => { if (location.hash === target) { done(null); return; }"
            " addEventListener('hashchange', () => done(null), {once: true}); location.hash = target; })",
            target,
        )

    def run(self, script: str, *values: Any) -> Any:
        """Run a script in the page and return its value."""
        return self.page.evaluate(script, *values)

    def module(self, path: str) -> str:
        """Return the address that the page has for a module of the viewer, such as ``lib/format.js``."""
        main = self.page.get_attribute("script[src$='main.js']", "src")
        assert main is not None
        return main.replace("js/main.js", f"js/{path}")

    def clean(self, *allowed: str) -> None:
        """Assert that nothing was said or asked that should not be.

        Args:
            allowed: Parts of messages that are expected, such as that a server which was stopped does not answer.
        """
        unexpected = [error for error in self.errors if not any(part in error for part in allowed)]
        assert unexpected == [], unexpected
        assert self.foreign == []


def middle(page: Page, part: str = ".stage") -> tuple[float, float]:
    """Where the middle of a part of a page is, by default of the slide, in pixels of the window."""
    box = page.locator(part).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def touch(page: Page, kind: str, x: float, y: float, pointer: int = 7) -> None:
    """Let a finger do something over the tool that is in use, such as ``pointerdown``, at a place of the window."""
    page.evaluate(
        "([kind, clientX, clientY, pointerId]) => { const one = document.querySelector('.tool-layer.active');"
        " one.setPointerCapture = () => undefined;"  # for which the browser would want a real finger
        " one.dispatchEvent(new PointerEvent(kind, {clientX, clientY, pointerId, pointerType: 'touch',"
        " isPrimary: pointerId === 7, bubbles: true, cancelable: true})); }",
        [kind, x, y, pointer],
    )


def sign_in(page: Page, key: str) -> None:
    """Give a key to the form that asks for one."""
    page.fill("#key", key)
    page.keyboard.press("Enter")


@contextmanager
def launched(flags: list[str] = FLAGS) -> Iterator[Browser]:
    """A browser; it is closed at the end."""
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags, timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def browsing(
    browser: Browser, url: str, width: int = 1000, height: int = 700, *, listening: bool = True, **more: Any
) -> Iterator[Watched]:
    """A page that knows nothing of others, and in which nothing glides: views are there at once.

    Without ``listening`` nothing is noted of it, which costs a measurement some milliseconds for each request.
    """
    choices = {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce"} | more
    context = browser.new_context(**choices)
    try:
        yield Watched(context, url, listening)
    finally:
        context.close()
