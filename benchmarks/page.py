"""The page in a real browser, against its own server on loopback: how soon it can be drawn on, what it weighs, how far
it shifts, and how long after a pen's event the answer to it stands on the screen.

The first load is measured in a fresh browser profile each time, from the start of navigation to the later of two
moments: the page's script has run, so that a pen leaves ink, and the first paint. The answers are measured while a pen
writes ten digits at 60 events a second: from the browser's own time of an event to the frame that shows the first
answer to a drawing that holds its ink. With ``--device`` the page reads by itself instead of asking.
"""

from __future__ import annotations

import argparse
import re
import sys
import time

import numpy as np
from playwright.sync_api import Browser, Page, expect

from _common import ROOT, record

sys.path.insert(0, str(ROOT / "tests"))

from support.browser import NO_WORKER, launched, place
from support.drawings import DIGITS
from support.servers import Server

LOADS = 20
ROUNDS = 3  # times that the ten digits are written
PACE = 1 / 60  # seconds between a pen's events
EVENTS = 30  # of a stroke
SCREEN = {"width": 1280, "height": 800}

# `asks` are the moments at which a drawing was turned into a picture, `shown` those of the frames that show an answer,
# each with the number of the ask that it answers: there is at most one under way.
WATCH = """() => {
  const [events, asks, shown] = [[], [], []];
  window.watched = { events, asks, shown, shift: 0 };
  for (const type of ['pointerdown', 'pointermove']) {
    addEventListener(type, (event) => {
      if (event.buttons) events.push({ at: event.timeStamp, handled: performance.now() });
    }, true);
  }
  const { convertToBlob } = OffscreenCanvas.prototype;
  OffscreenCanvas.prototype.convertToBlob = function (...options) {
    asks.push(performance.now());
    return convertToBlob.apply(this, options);
  };
  new PerformanceObserver((list) => list.getEntries().forEach(({ value }) => (watched.shift += value)))
    .observe({ type: 'layout-shift', buffered: true });
  addEventListener('DOMContentLoaded', () => {
    new MutationObserver(() => {
      const ask = asks.length - 1;
      requestAnimationFrame(() => setTimeout(() => shown.push({ ask, at: performance.now() })));
    }).observe(document.getElementById('bars'), { childList: true, subtree: true });
  });
}"""
LOADED = """() => {
  const [navigation] = performance.getEntriesByType('navigation');
  const [paint] = performance.getEntriesByName('first-contentful-paint');
  const files = [navigation, ...performance.getEntriesByType('resource')];
  return {
    drawable: Math.max(navigation.domContentLoadedEventEnd, paint.startTime),
    bytes: files.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0),
    files: files.length,
    shift: watched.shift,
  };
}"""


def opened(browser: Browser, url: str, ready: str = "^Ready") -> Page:
    """The page in a profile of its own, watched from its beginning."""
    context = browser.new_context(viewport=SCREEN)
    context.add_init_script(f"({WATCH})()")
    context.add_init_script(NO_WORKER)  # what is kept for later is no part of the first load
    page = context.new_page()
    page.goto(url)
    expect(page.get_by_test_id("status")).to_have_text(re.compile(ready))
    return page


def load(browser: Browser, url: str) -> dict[str, float]:
    page = opened(browser, url)
    page.wait_for_load_state("networkidle")
    found = page.evaluate(LOADED)
    page.context.close()
    return found


def write(page: Page) -> None:
    """All ten digits with a pen at a hand's pace, each cleared away before the next."""
    pen = page.context.new_cdp_session(page)
    for digit, strokes in DIGITS.items():
        for stroke in place(page, strokes):
            points = np.array(stroke)
            way = np.concatenate([[0], np.hypot(*np.diff(points, axis=0).T).cumsum()])
            at = np.linspace(0, way[-1], EVENTS)
            path = np.stack([np.interp(at, way, points[:, axis]) for axis in (0, 1)], axis=1)
            due = time.perf_counter()
            for i, (x, y) in enumerate([*path, path[-1]]):
                kind = "mousePressed" if i == 0 else "mouseReleased" if i == len(path) else "mouseMoved"
                held = {"button": "left", "buttons": int(i < len(path)), "clickCount": 1, "force": 0.5}
                time.sleep(max(0.0, due - time.perf_counter()))
                pen.send(
                    "Input.dispatchMouseEvent",
                    {"type": kind, "x": float(x), "y": float(y), "pointerType": "pen", **held},
                )
                due += PACE
        expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
        expect(page.get_by_test_id("digit")).to_have_text(str(digit))
        page.keyboard.press("Delete")


def waits(watched: dict[str, list]) -> np.ndarray:
    """Milliseconds from each event to the frame with the first answer to a drawing that holds its ink."""
    frames = {}
    for each in watched["shown"]:
        frames.setdefault(each["ask"], each["at"])
    asked = np.array([watched["asks"][ask] for ask in frames])
    seen = np.array(list(frames.values()))
    handled = np.array([event["handled"] for event in watched["events"]])
    happened = np.array([event["at"] for event in watched["events"]])
    first = np.searchsorted(asked, handled)
    answered = first < len(asked)
    return seen[first[answered]] - happened[answered]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--device", action="store_true", help="the page reads by itself")
    on_device = parser.parse_args().device
    server = Server()
    try:
        with launched() as browser:
            version = browser.version
            loads = [load(browser, server.url) for _ in range(LOADS)]
            page = opened(browser, server.url)
            if on_device:
                page.get_by_test_id("on-device").check()
                expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready on this device"))
            write(page)  # to warm up
            page.evaluate("Object.values(watched).forEach((list) => Array.isArray(list) && list.splice(0))")
            for _ in range(ROUNDS):
                write(page)
            watched = page.evaluate("watched")
            page.context.close()
    finally:
        server.stop()
    drawable = np.array([each["drawable"] for each in loads])
    waited = waits(watched)
    record(
        reads="device" if on_device else "server",
        events=len(waited),
        answers=len({each["ask"] for each in watched["shown"]}),
        event_to_answer_p50_ms=f"{np.median(waited):.1f}",
        event_to_answer_p95_ms=f"{np.quantile(waited, 0.95):.1f}",
        event_to_answer_max_ms=f"{waited.max():.1f}",
        loads=LOADS,
        drawable_median_ms=f"{np.median(drawable):.0f}",
        drawable_max_ms=f"{drawable.max():.0f}",
        first_load_bytes=int(max(each["bytes"] for each in loads)),
        first_load_files=int(loads[0]["files"]),
        first_load_shift=f"{max(each['shift'] for each in loads):.4f}",
        drawing_shift=f"{watched['shift']:.4f}",  # of all its answers together
        chromium=version,
    )


if __name__ == "__main__":
    main()
