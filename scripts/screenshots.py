"""Photograph the page, in real use, on the real server with the shipped model.

    python scripts/screenshots.py                  the few pictures that the README and docs show, into docs/images
    python scripts/screenshots.py --all FOLDER     every state of the page, to look at

A pen draws, pressed harder on the way down, as a hand does.
"""

import argparse
import io
import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from browser import launched, place  # noqa: E402
from conftest import Server  # noqa: E402
from drawings import picture  # noqa: E402

IMAGES = ROOT / "docs" / "images"
SCREENS = {
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
    "desktop": {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1},
}
SCHEMES = ("light", "dark")
SHOWN = [
    ("answer", "desktop", "light"),
    ("answer", "phone", "light"),
    ("answer", "phone", "dark"),
    ("files", "desktop", "dark"),
    ("why", "desktop", "light"),
]
SETTLE_MS = 700  # milliseconds, until bars and numerals have come to rest
STEP = 0.02  # of the pad's side, between a pen's events

# Through these points a hand writes, x to the right and y downwards in a unit box.
FIVE = [
    [(0.62, 0.06), (0.40, 0.075), (0.21, 0.07), (0.17, 0.27), (0.14, 0.46), (0.27, 0.405), (0.44, 0.42), (0.585, 0.53),
     (0.60, 0.72), (0.48, 0.89), (0.28, 0.945), (0.08, 0.88)],
]  # fmt: skip
FOUR = [
    [(0.36, 0.05), (0.28, 0.24), (0.17, 0.44), (0.07, 0.61), (0.24, 0.625), (0.46, 0.61), (0.68, 0.60)],
    [(0.52, 0.36), (0.50, 0.56), (0.47, 0.76), (0.455, 0.97)],
]


def write(page: Page, strokes: list[list[tuple[float, float]]]) -> None:
    """Draw with a pen along smooth curves through the points."""
    pen = page.context.new_cdp_session(page)
    for stroke in strokes:
        [path] = place(page, [smooth(np.array(stroke))], size=0.76, at=(0.2, 0.12))
        moves = [*pairwise(path), (path[-1], path[-1])]
        for i, (before, (x, y)) in enumerate([(path[0], path[0]), *moves]):
            kind = "mousePressed" if i == 0 else "mouseReleased" if i == len(moves) else "mouseMoved"
            way = np.hypot(x - before[0], y - before[1]) or 1
            force = 0.34 + 0.4 * max(0.0, (y - before[1]) / way)
            state = {"button": "left", "buttons": int(i < len(moves)), "clickCount": 1, "force": force}
            pen.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "pointerType": "pen", **state})


def smooth(points: np.ndarray) -> np.ndarray:
    """A Catmull-Rom spline through the points, (n, 2) → (m, 2) about STEP apart."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        t = np.linspace(0, 1, max(2, round(np.hypot(*(c - b)) / STEP)), endpoint=False)[:, None]
        pieces.append(b + 0.5 * t * ((c - a) + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    return np.concatenate([*pieces, points[-1:]])


def scan(digit: int, **how: int) -> dict[str, object]:
    """An image file of a digit, as the upload control takes it."""
    data = io.BytesIO()
    Image.fromarray(picture(digit, 320, height=240, **how)).save(data, "PNG")
    return {"name": f"meter-reading-{digit}.png", "mimeType": "image/png", "buffer": data.getvalue()}


def empty(page: Page) -> None:
    """As it opens."""


def hint(page: Page) -> None:
    """Predict was pressed before anything was drawn."""
    page.get_by_test_id("predict").click()


def answer(page: Page) -> None:
    """A digit drawn and read."""
    write(page, FIVE)
    expect(page.get_by_test_id("digit")).to_have_text("5")


def why(page: Page) -> None:
    """With the ink that decided, and what is known of the model, on the device."""
    page.get_by_test_id("on-device").check()
    page.get_by_text("Why this digit").click()
    page.get_by_text("About").click()
    write(page, FIVE)
    expect(page.get_by_test_id("digit")).to_have_text("5")


def seen(page: Page) -> None:
    """With what the network saw."""
    page.get_by_text("What the network saw").click()
    write(page, FOUR)
    expect(page.get_by_test_id("digit")).to_have_text("4")


def files(page: Page) -> None:
    """Image files read, one of them broken."""
    seen(page)
    broken = {"name": "half-a-download.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n"}
    inverted = scan(2, paper=20, ink=235)
    page.get_by_test_id("upload").set_input_files([scan(3), inverted, broken, scan(8), scan(0)])
    expect(page.get_by_test_id("progress")).to_have_text("5 images done, 1 could not be read")
    page.evaluate("scrollTo(0, 0)")


def away(page: Page) -> None:
    """The server went away before one drew."""
    page.route(re.compile("/(predict|ready|vendor)"), lambda route: route.abort())
    write(page, FOUR)
    expect(page.get_by_test_id("status")).to_have_text(re.compile("does not answer"))


STATES = {state.__name__: state for state in (empty, hint, answer, why, seen, files, away)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", metavar="FOLDER", type=Path, help="write every state there, not only those shown")
    everything = parser.parse_args().all
    folder = everything or IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(s, d, c) for s in STATES for d in SCREENS for c in SCHEMES] if everything else SHOWN
    server = Server()
    try:
        with launched() as browser:
            for state, screen, scheme in wanted:
                context = browser.new_context(color_scheme=scheme, **SCREENS[screen])
                page = context.new_page()
                page.goto(server.url)
                expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready"))
                STATES[state](page)
                page.wait_for_timeout(SETTLE_MS)
                path = folder / f"page-{state}-{screen}-{scheme}.png"
                page.screenshot(path=path, full_page=state in ("files", "why"))
                print(f"{path} {path.stat().st_size / 1000:.0f} kB")
                context.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
