"""Compose numbers of two and three digits as one person may write them: what a reader of single digits must reject.

The digits have one slant and one pen, and differ in size, baseline and distance: from overlapping or touching to more
than a digit's width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from inkdigits.synthesis.corruptions import corrupt
from inkdigits.synthesis.strokes import draw, place

__all__ = ["cover_of", "cropped", "number", "number_picture", "photographed"]

HEIGHTS = (40.0, 90.0)  # pixels, of a digit
PENS = (0.04, 0.18)  # of the height, for strokes
SLANT, OWN_SLANT = 0.12, 0.06  # standard deviation of a hand's slant, and of each digit's
SIZES, OWN_SIZE = (0.55, 1.0), 0.08  # of a digit that is smaller than the others; standard deviation of the log of all
BASELINE, FAR_BASELINE = 0.06, 0.4  # of the height: standard deviation, and largest offset of a digit off the line
SMALL, OFF_LINE, TOUCHING = 0.2, 0.2, 0.3  # shares of the digits
TOUCH = (-0.06, 0.03)  # of the height, between the ink of touching digits
GAPS = (0.0, 1.25)  # of a digit's width, between the boxes of others
NARROW = 0.35  # of the height; a narrower digit counts as this wide
PAPERS, INKS = (190, 255), (0, 90)  # grey levels
MARGINS = (0.1, 1.0)  # of the height
CORRUPTED = 0.3  # share of the pictures that are corrupted in one way
SEVERITIES = (0.1, 0.7)
KINDS = ("texture", "faint", "stains", "light", "shadow", "fog", "blur", "noise", "jpeg")
INK = 0.25  # cover, at least, of what counts as ink


def cropped(cover: np.ndarray) -> np.ndarray:
    """Return cover within the bounds of its ink; unchanged without ink."""
    rows, columns = (np.flatnonzero((cover > INK).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return cover
    return cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def cover_of(source: np.ndarray | Sequence[np.ndarray], height: float, pen: float, slant: float) -> np.ndarray:
    """Render a digit, cropped to its ink: (h, w) float32, 0 to 1.

    Args:
        source: (28, 28) uint8, ink 255 on paper 0; or strokes, each (n, 2), x to the right and y downwards.
        height: of the longer side, in pixels.
        pen: width of the line in pixels, for strokes.
        slant: to the right, tangent.
    """
    if not isinstance(source, np.ndarray):
        leaning = [stroke - [[slant, 0]] * stroke[:, 1:] for stroke in source]
        strokes = place(leaning, max(height - pen, 4), (pen / 2 + 1, pen / 2 + 1))
        side = np.ceil(np.concatenate(strokes).max(axis=0) + pen / 2 + 2).astype(int)
        return cropped(draw(strokes, *side, pen=pen, paper=0, ink=255).astype(np.float32) / 255)
    ink = Image.fromarray(cropped(source))
    scale = height / max(ink.size)
    size = max(2, round(ink.width * scale)), max(2, round(ink.height * scale))
    cover = ink.resize(size, Image.Resampling.BICUBIC)
    reach = int(abs(slant) * size[1]) + 1
    wide = Image.new("L", (size[0] + 2 * reach, size[1]))
    wide.paste(cover, (reach, 0))
    sloped = wide.transform(
        wide.size, Image.Transform.AFFINE, (1, slant, -slant * size[1] / 2, 0, 1, 0), Image.Resampling.BICUBIC
    )
    sharp = (np.asarray(sloped, np.float32) / 255 - 0.5) * max(1.0, scale / 2) + 0.5
    return cropped(np.clip(sharp, 0, 1))


def number(sources: Sequence[np.ndarray | Sequence[np.ndarray]], rng: np.random.Generator) -> np.ndarray:
    """Write digits next to each other: their cover, cropped to the ink, (h, w) float32 of 0 to 1.

    Args:
        sources: of one hand, as for :func:`cover_of`.
        rng: source of all randomness.
    """
    height = rng.uniform(*HEIGHTS)
    pen = height * float(np.exp(rng.uniform(*np.log(PENS))))
    slant = rng.normal(0, SLANT)
    touching = rng.random() < TOUCHING
    line = np.zeros((1, 1), np.float32)
    top = 0.0  # of the line so far, above the baseline
    for i, source in enumerate(sources):
        size = np.exp(rng.normal(0, OWN_SIZE)) * (rng.uniform(*SIZES) if rng.random() < SMALL else 1)
        digit = cover_of(source, height * size, pen, slant + rng.normal(0, OWN_SLANT))
        rise = rng.normal(0, BASELINE) if rng.random() > OFF_LINE else rng.uniform(-FAR_BASELINE, FAR_BASELINE)
        rise = round(rise * height)
        if not i:
            line, top = digit, float(len(digit))
            continue
        line, digit, top = _level(line, digit, top, rise)
        if touching:
            apart = round(rng.uniform(*TOUCH) * height) - _free(line, digit)
        else:
            apart = round(rng.uniform(*GAPS) * max(digit.shape[1], NARROW * height))
        line = _beside(line, digit, max(apart, -digit.shape[1] // 2))
    return cropped(line)


def _level(line: np.ndarray, digit: np.ndarray, top: float, rise: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Pad a line and a digit that stands ``rise`` pixels above its baseline to the same rows."""
    above, below = int(top), len(line) - int(top)
    up, down = max(above, len(digit) + rise), max(below, -rise)
    line = np.pad(line, ((up - above, down - below), (0, 0)))
    digit = np.pad(digit, ((up - len(digit) - rise, down + rise), (0, 0)))
    return line, digit, float(up)


def _free(line: np.ndarray, digit: np.ndarray) -> int:
    """Return the least number of pixels between the ink of two pictures next to each other, nearly level."""
    near = ndimage.maximum_filter1d(line, 5, axis=0) > INK
    after = np.where(near.any(axis=1), near[:, ::-1].argmax(axis=1), line.shape[1] + digit.shape[1])
    ink = digit > INK
    before = np.where(ink.any(axis=1), ink.argmax(axis=1), line.shape[1] + digit.shape[1])
    return int(min((after + before).min(), digit.shape[1]))


def _beside(line: np.ndarray, digit: np.ndarray, apart: int) -> np.ndarray:
    start = max(line.shape[1] + apart, 0)
    both = np.zeros((len(line), max(line.shape[1], start + digit.shape[1])), np.float32)
    both[:, : line.shape[1]] = line
    part = both[:, start : start + digit.shape[1]]
    np.maximum(part, digit, out=part)
    return both


def _on_paper(cover: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put cover on a larger sheet of any tone: (H, W) uint8, dark on light."""
    paper, ink = rng.uniform(*PAPERS), rng.uniform(*INKS)
    margins = np.maximum(4, rng.uniform(*MARGINS, 4) * min(len(cover), HEIGHTS[1])).astype(int)
    sheet = np.pad(cover, (tuple(margins[:2]), tuple(margins[2:])))
    picture: np.ndarray = np.rint(paper + sheet * (ink - paper)).astype(np.uint8)
    return picture


def photographed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Corrupt some pictures in one way, as paper and cameras do; return the others as they are."""
    if rng.random() >= CORRUPTED:
        return picture
    return corrupt(picture, str(rng.choice(KINDS)), rng.uniform(*SEVERITIES), rng)


def number_picture(
    sources: Sequence[np.ndarray | Sequence[np.ndarray]], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Write digits next to each other on paper: the picture, (H, W) uint8, and the number's cover, :func:`number`."""
    cover = number(sources, rng)
    return photographed(_on_paper(cover, rng), rng), cover
