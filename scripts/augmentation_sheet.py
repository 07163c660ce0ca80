"""Draw the pictures of docs/augmentation.md: every kind of corruption and of non-digit.

    INKDIGITS_DATA=… python scripts/augmentation_sheet.py

The digits are pen strokes of the UCI repository's data set 81.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from inkdigits.data.pen import load_pendigits
from inkdigits.settings import Settings
from inkdigits.synthesis.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from inkdigits.synthesis.corruptions.sheet import colored
from inkdigits.synthesis.non_digits import NON_DIGITS, lookalikes, non_digit_pictures
from inkdigits.synthesis.strokes import draw, place

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIDE = 168  # pixels of a digit's picture when it is corrupted
CELL = 84  # pixels of it on the sheet
GAP = 4  # pixels
PENS = (7.0, 13.0)  # pixels; one digit each
COLORS = 48  # of a sheet; noise does not compress
EXAMPLES = 9  # pictures per kind of non-digit
SEED = 5


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    digits = load_pendigits(Settings.from_env())
    for i, name in enumerate(CORRUPTIONS):
        bases = []
        for j, pen in enumerate(PENS):
            digit = next(d for d in digits[(i * 2 + j) * 60 :] if d.label == (i + 5 * j) % 10)
            strokes = place(digit.strokes, 112, (0, 0))
            at = (SIDE - np.concatenate(strokes).max(axis=0)) / 2
            bases.append(draw([s + at for s in strokes], SIDE, SIDE, pen=pen, paper=244, ink=30))
        rng = np.random.default_rng((SEED, zlib.crc32(name.encode())))
        pictures = [corrupt(base, name, severity, rng) for severity in SEVERITIES.values() for base in bases]
        save(pictures, f"augmentation-{name}.png")
    for part in ("train", "test"):
        shown = non_digit_pictures(EXAMPLES * len(NON_DIGITS), SEED, part)
        save([p for kind in NON_DIGITS for name, p in shown if name == kind], f"augmentation-non-digits-{part}.png", 56)
    save([picture for _, picture in lookalikes(EXAMPLES * 2, SEED, "test")], "augmentation-lookalikes.png", 56)


def save(pictures: list[np.ndarray], name: str, cell: int = CELL) -> None:
    """Save pictures in rows of at most :data:`EXAMPLES` as a PNG of few colors."""
    columns = min(len(pictures), EXAMPLES)
    rows = -(-len(pictures) // columns)
    step = cell + GAP
    sheet = Image.new("RGB", (columns * step - GAP, rows * step - GAP), "white")
    for i, picture in enumerate(pictures):
        image = Image.fromarray(colored(picture))
        scale = cell / max(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX)
        sheet.paste(image, (i % columns * step, i // columns * step))
    sheet.quantize(COLORS, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
    print(f"{name} {(IMAGES / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
