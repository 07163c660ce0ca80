"""A known digit: drawn by code as a pen would, so that a server can prove that its model reads before it gets work."""

from __future__ import annotations

from PIL import Image, ImageDraw

from inkdigits.image import SIDE
from inkdigits.recognizer import Recognizer

__all__ = ["DIGIT", "known_digit", "self_test"]

DIGIT = 3
# A pen's path, in hundredths of the sheet's side, x to the right and y down.
_STROKE = (
    (32, 28), (40, 21), (52, 19), (62, 24), (66, 33), (62, 42), (52, 47), (45, 48),
    (54, 49), (64, 55), (68, 65), (64, 75), (53, 81), (41, 80), (31, 73),
)  # fmt: skip
_DRAWN = 5 * SIDE  # pixels, before it is scaled down, which gives the edges their grey
_PEN = 11  # pixels, as drawn


def known_digit() -> Image.Image:
    """The digit :data:`DIGIT`, dark on light, (28, 28) mode "L": within any limits that a server may have."""
    sheet = Image.new("L", (_DRAWN, _DRAWN), 255)
    draw = ImageDraw.Draw(sheet)
    points = [(x * _DRAWN / 100, y * _DRAWN / 100) for x, y in _STROKE]
    draw.line(points, fill=0, width=_PEN, joint="curve")
    for x, y in (points[0], points[-1]):  # Pillow's lines end flat, a pen's end round
        draw.ellipse((x - _PEN / 2, y - _PEN / 2, x + _PEN / 2, y + _PEN / 2), fill=0)
    return sheet.resize((SIDE, SIDE), Image.Resampling.BOX)


def self_test(recognizer: Recognizer) -> str:
    """Read the known digit once, which also warms the model up. "" when it was read right, else what was wrong."""
    seen = recognizer.predict(known_digit()).digit
    return "" if seen == DIGIT else f"the model {recognizer.model.name} reads a known {DIGIT} as {seen}"
