"""Write numbers into the page with a mouse, a finger and a pen, in a real browser: the share that it reads right.

    python benchmarks/page_numbers.py
    python benchmarks/page_numbers.py --device --numbers 40 --no-record

The numbers are CROHME's, from the folder that INKDIGITS_DATA names; they are for measuring alone. Each is drawn stroke
by stroke with pointer events, at a size and a place of its own, with the page's own pen. It counts as right if the page
shows its digits once the last stroke is lifted and read. The server reads, or with --device the page itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import numpy as np
from playwright.sync_api import CDPSession, Page, expect

from inkdigits.evaluation.numbers import same_text
from inkdigits.network import shipped_network
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings

from _common import ROOT, make_parser, percent, print_row, record
from picture_sets import numbers
from picture_sets.tally import Measured

sys.path.insert(0, str(ROOT / "tests"))

from support.browser import NO_WORKER, launched
from support.servers import Server

NUMBERS = 200
SEED = 18
POINTERS = ("touch", "mouse", "pen")  # in this order, as the page takes a finger that follows a pen for a palm
WIDTHS, HEIGHTS = (0.45, 0.9), (0.15, 0.6)  # of the pad's side, at most
STEPS = (3, 14)  # CSS pixels between events
FINE = 14  # events, at least, along the height of a number
SCREEN = {"width": 1280, "height": 800}

# A busy server may refuse a request; the page repeats it once the server is ready again.
SETTLED = """() => document.getElementById('answer').ariaBusy === 'false'
  && document.getElementById('status').dataset.state === 'up'"""

ACTIONS = {  # of the browser's debugging protocol
    "touch": ("touchStart", "touchMove", "touchEnd"),
    "mouse": ("mousePressed", "mouseMoved", "mouseReleased"),
    "pen": ("mousePressed", "mouseMoved", "mouseReleased"),
}


def on_pad(strokes: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Strokes in shares of the pad's side, at a size and a place on it."""
    points = np.concatenate(strokes)
    low, span = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-9)
    scale = float(min(rng.uniform(*WIDTHS) / span[0], rng.uniform(*HEIGHTS) / span[1]))
    corner = rng.uniform(0.04, 0.96 - scale * span)
    return [corner + scale * (stroke - low) for stroke in strokes]


def write(page: Page, session: CDPSession, strokes: Sequence[np.ndarray], pointer: str) -> None:
    """Draw strokes on the pad."""
    box = page.get_by_test_id("pad").bounding_box()
    assert box is not None
    height = float(np.ptp(np.concatenate(strokes)[:, 1])) * box["height"]
    step = float(np.clip(height / FINE, *STEPS))
    for stroke in strokes:
        points = [box["x"], box["y"]] + stroke * [box["width"], box["height"]]
        way = np.concatenate([[0], np.hypot(*np.diff(points, axis=0).T).cumsum()])
        at = np.linspace(0, way[-1], max(2, round(way[-1] / step)))
        path = np.stack([np.interp(at, way, points[:, axis]) for axis in (0, 1)], axis=1)
        for i, (x, y) in enumerate([*path.tolist(), path[-1].tolist()]):
            phase = 0 if i == 0 else 2 if i == len(path) else 1
            action = ACTIONS[pointer][phase]
            if pointer == "touch":
                touches = [] if phase == 2 else [{"x": x, "y": y}]
                session.send("Input.dispatchTouchEvent", {"type": action, "touchPoints": touches})
            else:
                held = {"button": "left", "buttons": int(phase < 2), "clickCount": 1, "pointerType": pointer}
                session.send("Input.dispatchMouseEvent", {"type": action, "x": x, "y": y, "force": 0.6, **held})


def shown(page: Page) -> str:
    """What the page shows once it has read all ink; "" where it shows neither numbers nor a digit."""
    page.wait_for_function(SETTLED)
    if page.get_by_test_id("numbers").is_visible():
        return page.get_by_test_id("numbers").inner_text()
    return page.get_by_test_id("digit").inner_text()


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--device", action="store_true", help="the page reads by itself")
    parser.add_argument("--numbers", type=int, default=NUMBERS, help="how many are written")
    parser.add_argument("--no-record", action="store_true", help="do not append to benchmarks/results/page_numbers.csv")
    args = parser.parse_args()
    recognizer = Recognizer()
    cases = list(numbers.crohme(Measured(recognizer, Settings.from_env())))
    rng = np.random.default_rng(SEED)
    chosen = [cases[i] for i in rng.permutation(len(cases))[: args.numbers]]
    right: dict[str, list[bool]] = {pointer: [] for pointer in POINTERS}
    server = Server()
    try:
        with launched() as browser:
            context = browser.new_context(viewport=SCREEN, has_touch=True)
            context.add_init_script(NO_WORKER)
            page = context.new_page()
            page.goto(server.url)
            page.get_by_test_id("on-device").set_checked(args.device)
            ready = "^Ready on this device" if args.device else "^Ready: "
            expect(page.get_by_test_id("status")).to_have_text(re.compile(ready))
            page.get_by_test_id("pad").scroll_into_view_if_needed()
            session = context.new_cdp_session(page)
            for i, case in enumerate(chosen):
                pointer = POINTERS[i * len(POINTERS) // len(chosen)]
                assert case.strokes is not None
                write(page, session, on_pad(case.strokes, rng), pointer)
                found = shown(page)
                is_right = same_text(case.text, found, digits_only=True)
                right[pointer].append(is_right)
                if not is_right:
                    words = page.get_by_test_id("confidence").text_content()
                    print(f"{i} {pointer}: {case.text} shown as {found!r}, {words}", flush=True)
                page.keyboard.press("Delete")
            version = browser.version
    finally:
        server.stop()
    share = {pointer: float(np.mean(some)) for pointer, some in right.items() if some}
    figures = {
        "reads": "device" if args.device else "server",
        "n": len(chosen),
        "right": percent(float(np.mean(np.concatenate([*right.values()])))),
        **{pointer: percent(found) for pointer, found in share.items()},
        "model": recognizer.model.sha256[:12],
        "line": shipped_network("line")[1][:12],
        "chromium": version,
    }
    (print_row if args.no_record else record)(**figures)


if __name__ == "__main__":
    main()
