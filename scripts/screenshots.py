"""Take screenshots of the page in use, on the real server with the shipped model.

python scripts/screenshots.py                  those that the README and docs show, into docs/images
python scripts/screenshots.py --all FOLDER     every state of the page, on every screen
python scripts/screenshots.py --all FOLDER --only why files
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from conftest import Server  # noqa: E402

from support.browser import NO_WORKER, launched  # noqa: E402
from support.states import STATES  # noqa: E402

IMAGES = ROOT / "docs" / "images"
PHONE = {"device_scale_factor": 2, "has_touch": True, "is_mobile": True}
SCREENS = {
    "small": {"viewport": {"width": 320, "height": 568}, **PHONE},
    "phone": {"viewport": {"width": 390, "height": 844}, **PHONE},
    "sideways": {"viewport": {"width": 667, "height": 331}, **PHONE},
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "4k": {"viewport": {"width": 3840, "height": 2160}},
}
SCHEMES = ("light", "dark")
SHOWN = [
    ("answer", "desktop", "light"),
    ("answer", "phone", "light"),
    ("answer", "phone", "dark"),
    ("files", "desktop", "dark"),
    ("why", "desktop", "light"),
]
COLORS = 128  # of each of the two palettes of a picture for the docs
SETTLE_MS = 700  # milliseconds, until bars and numerals have stopped moving


def shrink(path: Path) -> None:
    """Give a picture a palette, which makes its file several times smaller."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    # One palette has the shades of large areas, the other the colors of small ones.
    kinds = (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE)
    palette = np.concatenate([image.quantize(COLORS, kind).getpalette()[: 3 * COLORS] for kind in kinds])
    # Pillow's search for the nearest color uses the upper bits only, which leaves bands on paper.
    colors, at = np.unique(np.asarray(image).reshape(-1, 3), axis=0, return_inverse=True)
    nearest = [np.square(palette.reshape(-1, 3) - color).sum(axis=1).argmin() for color in colors.astype(int)]
    small = Image.fromarray(np.array(nearest, np.uint8)[at].reshape(image.height, image.width), "P")
    small.putpalette(palette.tolist())
    small.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", metavar="FOLDER", type=Path, help="write every state to FOLDER, on every screen")
    parser.add_argument("--only", metavar="STATE", nargs="+", choices=STATES, default=[*STATES], help="of --all")
    arguments = parser.parse_args()
    everything = arguments.all
    folder = everything or IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(s, d, c) for s in arguments.only for d in SCREENS for c in SCHEMES] if everything else SHOWN
    server = Server()
    try:
        with launched() as browser:
            for state, screen, scheme in wanted:
                context = browser.new_context(color_scheme=scheme, **SCREENS[screen])
                context.add_init_script(NO_WORKER)
                page = context.new_page()
                page.goto(server.url)
                expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready"))
                STATES[state](page)
                page.wait_for_timeout(SETTLE_MS)
                path = folder / f"page-{state}-{screen}-{scheme}.png"
                page.screenshot(path=path, full_page=state in ("files", "why", "card", "device"))
                if not everything:
                    shrink(path)
                print(f"{path} {path.stat().st_size / 1000:.0f} kB")
                context.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
