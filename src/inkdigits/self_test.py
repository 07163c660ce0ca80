"""The self-test: read known digits, drawn by code, before a model answers requests."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from inkdigits.prediction import CLASSES, SIDE, ModelInfo, Prediction
from inkdigits.preprocess import preprocess

__all__ = ["DIGIT", "known_digit", "probes", "self_test"]

NOISE = 2  # probes of random grey, in addition to the known digits and blank paper
DIGIT = 3  # the digit that examples show
SHADE = 0.6  # of the light is left at one side of a sheet in the shade
# The strokes of each digit, in hundredths of the sheet's side, x to the right and y down.
_STROKES = (
    (((50, 19), (60, 23), (67, 32), (70, 46), (69, 61), (64, 73), (55, 80),
      (45, 80), (36, 73), (31, 61), (30, 46), (33, 32), (40, 23), (50, 19)),),
    (((46, 26), (54, 19), (54, 81)),),
    (((30, 33), (32, 28), (36, 24), (41, 21), (47, 19), (52, 19), (58, 21),
      (64, 27), (67, 32), (67, 37), (63, 48), (30, 81), (70, 81)),),
    (((32, 28), (40, 21), (52, 19), (62, 24), (66, 33), (62, 42), (52, 47), (45, 48),
      (54, 49), (64, 55), (68, 65), (64, 75), (53, 81), (41, 80), (31, 73)),),
    (((50, 19), (28, 57), (72, 57)), ((59, 38), (59, 81))),
    (((36, 19), (40, 43), (52, 43), (59, 46), (65, 51), (68, 57), (67, 68), (57, 79), (49, 81), (38, 78), (31, 74)),
     ((36, 19), (67, 19))),
    (((61, 19), (47, 25), (36, 37), (32, 49), (31, 66), (38, 77), (52, 81), (62, 77),
      (69, 66), (66, 53), (55, 45), (45, 44), (34, 52), (31, 66)),),
    (((30, 19), (70, 19), (45, 81)),),
    (((50, 50), (62, 45), (66, 32), (58, 21), (45, 20), (35, 29), (36, 42), (50, 50),
      (54, 50), (68, 58), (68, 71), (56, 80), (40, 79), (30, 68), (35, 55), (50, 50)),),
    (((67, 37), (66, 31), (61, 23), (55, 20), (46, 20), (40, 22), (34, 29), (33, 36), (34, 45),
      (38, 50), (46, 55), (52, 55), (61, 51), (65, 47), (67, 37), (64, 81)),),
)  # fmt: skip
_DRAWN = 5 * SIDE  # pixels, before scaling down, which makes the edges grey
_PEN = 11  # pixels, as drawn


def known_digit(digit: int = DIGIT) -> Image.Image:
    """Draw a digit, dark on light, (28, 28) mode "L": small enough for any limits that a server may have."""
    sheet = Image.new("L", (_DRAWN, _DRAWN), 255)
    draw = ImageDraw.Draw(sheet)
    for stroke in _STROKES[digit]:
        points = [(x * _DRAWN / 100, y * _DRAWN / 100) for x, y in stroke]
        draw.line(points, fill=0, width=_PEN, joint="curve")
        for x, y in (points[0], points[-1]):  # Pillow's lines have flat ends, a pen's have round ones
            draw.ellipse((x - _PEN / 2, y - _PEN / 2, x + _PEN / 2, y + _PEN / 2), fill=0)
    return sheet.resize((SIDE, SIDE), Image.Resampling.BOX)


def probes() -> np.ndarray:
    """Return the (13, 1, 28, 28) float32 probes of a model's form: the known digits in order, blank paper, noise."""
    digits = [preprocess(known_digit(digit)).image for digit in range(CLASSES)]
    noise = np.random.default_rng(0).random((NOISE, SIDE, SIDE), np.float32)
    return np.concatenate([np.stack([*digits, np.zeros((SIDE, SIDE), np.float32)]), noise])[:, None]


class _Reader(Protocol):
    model: ModelInfo

    def predict(self, image: Image.Image) -> Prediction: ...


def self_test(recognizer: _Reader) -> str:
    """Read each known digit, and one in the shade, for which the ink network is loaded, too.

    Returns:
        What was read wrong, or "" if nothing was.
    """
    sheets = [(digit, known_digit(digit)) for digit in range(CLASSES)]
    shade = np.linspace(SHADE, 1, SIDE)
    shaded = np.rint(np.asarray(known_digit()) * shade).astype(np.uint8)
    sheets.append((DIGIT, Image.fromarray(shaded)))
    seen = [(digit, recognizer.predict(sheet).digit) for digit, sheet in sheets]
    wrong = list(dict.fromkeys(f"{digit} as {read}" for digit, read in seen if digit != read))
    return f"the model {recognizer.model.name} reads known digits wrong: {', '.join(wrong)}" if wrong else ""
