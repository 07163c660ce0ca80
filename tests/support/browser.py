"""A real browser for the page's tests and screenshots, and a hand that draws in it.

Run as a program it prints the browser that the tests use, and fails where there is none that starts.
"""

import math
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from support.paths import ROOT

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Chromium's own interface, as web pages that nobody sees here, takes as much processor time as the page.
    "--disable-features="
    "PreloadTopChromeWebUI,WebUITabStrip,WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,WebUIReloadButton",
]
START_SECONDS = 60  # that a browser may take to print its version
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
NO_WORKER = "delete Navigator.prototype.serviceWorker"  # a page without one: it answers in the place of routes
STEP_PIXELS = 40  # CSS pixels between the events of a mouse that draws
SMALL_STEPS = 12  # that a drawing is long, where it is small
WAIT_MS = 15_000  # milliseconds that a test waits for what it expects; machines that test are often busy
POLL_MS = 20  # milliseconds
# Collects what moves on the page, as window.shifts.
SHIFTS = """() => {
  window.shifts = [];
  new PerformanceObserver((list) => list.getEntries().forEach(({ value, sources }) => {
    window.shifts.push([value, ...sources.map(({ node }) => node?.id || node?.className || node?.textContent)]);
  })).observe({ type: 'layout-shift', buffered: true });
}"""

expect.set_options(timeout=WAIT_MS)


def find_browser(playwright):
    """Path of an installed Chromium or Chrome that starts, else of the one that Playwright downloaded.

    Raises:
        FileNotFoundError: there is neither.
    """
    candidates = [*filter(None, map(shutil.which, NAMES)), playwright.chromium.executable_path]
    for path in candidates:
        if Path(path).exists() and _starts(path):
            return path
    raise FileNotFoundError(
        f"no browser for the page's tests: none of {', '.join(NAMES)} is on PATH and starts; run scripts/get-browser.sh"
    )


def _starts(path):
    # A name on PATH may be a stub that asks for a snap.
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=START_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@contextmanager
def launched():
    """A headless browser, closed at the end."""
    with sync_playwright() as playwright:
        # Chromium's sandbox cannot be set up by root.
        arguments = [*ARGUMENTS, "--no-sandbox"] if os.geteuid() == 0 else ARGUMENTS
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture(scope="module")
def chromium():
    """The browser, one for a module's tests."""
    with launched() as browser:
        yield browser


@pytest.fixture
def visit(chromium, live_server):
    """Opens the page: ``visit(path, width=…, height=…, allow=…, **context options)`` → a Playwright page.

    When the test ends, whatever a page complained of fails it: errors and warnings on the console, which is where a
    breach of the Content-Security-Policy shows too, uncaught errors, and requests to another origin. ``allow`` is a
    pattern of complaints that the test provokes; ``before`` is called with the page before it is opened; ``server`` is
    the address of another server than the shared one; ``offline`` lets the page install its service worker,
    which would otherwise answer in the place of routes; ``elsewhere`` is another origin that the page may ask.
    """
    contexts, complaints = [], []

    def open_page(
        path="/",
        *,
        server=live_server,
        width=1280,
        height=800,
        allow=None,
        before=None,
        offline=False,
        elsewhere=None,
        **options,
    ):
        def complain(text):
            if not (allow and re.search(allow, text)):
                complaints.append(text)

        def on_console(message):
            if message.type in ("error", "warning"):
                complain(f"console {message.type}: {message.text}")

        def on_request(request):
            if not request.url.startswith((server, "blob:", "data:", elsewhere or server)):
                complain(f"request to another origin: {request.url}")

        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        if not offline:
            context.add_init_script(NO_WORKER)
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", on_console)
        page.on("pageerror", lambda error: complain(f"uncaught: {error}"))
        page.on("request", on_request)
        if before:
            before(page)
        page.goto(server.rstrip("/") + path)
        return page

    open_page.complaints = complaints
    yield open_page
    for context in contexts:
        context.close()
    assert not complaints, complaints


def place(page, strokes, size=0.62, at=(0.28, 0.18)):
    """Strokes in a unit box → the same on the page's pad in CSS pixels, ``size`` of its side, moved to ``at``."""
    page.get_by_test_id("pad").scroll_into_view_if_needed()
    box = page.get_by_test_id("pad").bounding_box()
    return [
        [
            (box["x"] + (at[0] + size * x) * box["width"], box["y"] + (at[1] + size * y) * box["height"])
            for x, y in stroke
        ]
        for stroke in strokes
    ]


def until(page, condition):
    """Wait for what no locator can: that ``condition()`` is true."""
    for _ in range(WAIT_MS // POLL_MS):
        if condition():
            return
        page.wait_for_timeout(POLL_MS)
    raise AssertionError("what the test waits for did not come about")


def draw(page, strokes, **where):
    """Draw strokes with the mouse as a hand does, in moves of about STEP_PIXELS, or less where the drawing is small."""
    placed = place(page, strokes, **where)
    ink = [*chain.from_iterable(placed)]
    small = min(STEP_PIXELS, max(math.dist(ink[0], point) for point in ink) / SMALL_STEPS)
    for stroke in (thinned(stroke, small) for stroke in placed):
        page.mouse.move(*stroke[0])
        page.mouse.down()
        for before, after in pairwise(stroke):
            page.mouse.move(*after, steps=max(1, round(math.dist(before, after) / STEP_PIXELS)))
        page.mouse.up()


def thinned(stroke, least):
    """The points of a stroke without those nearer to their predecessor than ``least``; its ends stay."""
    kept = stroke[:1]
    for point in stroke[1:-1]:
        if math.dist(kept[-1], point) >= least:
            kept.append(point)
    return [*kept, stroke[-1]]


def settled(page):
    """Wait until the answer shown is of the drawing on the pad, and give its digit."""
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    return page.get_by_test_id("digit").inner_text()


def axe(page):
    """What axe-core finds wrong with the page as it is: rules with the elements that break them."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    # Colours that are fading have no contrast yet.
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {})))")
    return page.evaluate(
        "async () => (await axe.run()).violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])"
    )


if __name__ == "__main__":
    with sync_playwright() as running:
        try:
            print(find_browser(running))
        except FileNotFoundError as error:
            sys.exit(str(error))
