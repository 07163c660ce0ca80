"""Step 5, layout: scale the ink to fit 20×20 and center it in 28×28 by its center of mass, as MNIST does.

The ink of a line of digits is scaled to one height, and is as wide as it is.

See https://yann.lecun.com/exdb/mnist/. An MNIST image is left as it is, except for faint pixels off the ink.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inkdigits.prediction import SIDE, Box, Polarity
from inkdigits.preprocess.paper import ISOLATED

__all__ = [
    "BLANK",
    "LINE_FILL",
    "LINE_HEIGHT",
    "NORMALIZATION_VERSION",
    "Preprocessed",
    "from_pixels",
    "lay_out",
    "lay_out_line",
    "resampling",
]

NORMALIZATION_VERSION = "2"  # changes if clean pictures of 24 or more pixels per side, as of data sets, change
BOX_SIDE = 20  # pixels, that the ink is scaled to fit
CENTER = 14  # pixel index that the center of mass is rounded to, as in MNIST's files
FULL_INK = 0.6  # of the darkest pixels after scaling down counts as full ink, so that thin pens give solid lines
LINE_HEIGHT = 32  # pixels of a line as the network sees it
LINE_FILL = 0.82  # of that height, that its ink fills
LINE_MARGIN = 5  # pixels of paper before and after its ink
LINE_PEAK = 0.02  # of the pixels of a line's ink are darker than its full ink
TIE = 1e-5  # pixels; a symmetric digit's center is between two pixels: choose the same one whatever the rounding


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """One picture as the network reads it.

    Attributes:
        image: (28, 28) float32 in [0, 1], ink 1 on paper 0; all 0 when blank.
        box: bounds of the ink, in pixels of the upright picture; None when blank.
        polarity: whether the ink is darker or lighter than the paper; None when blank.
        parts: if the ink consists of parts that are far apart, each of them by itself.
        otherwise: the ink with what the ink network took for rules, frames or other things at the border, where that
            may be part of a digit, or another digit; with its parts.
    """

    image: np.ndarray
    box: Box | None
    polarity: Polarity | None
    parts: tuple[Preprocessed, ...] = ()
    otherwise: Preprocessed | None = None


BLANK = Preprocessed(np.zeros((SIDE, SIDE), np.float32), None, None)
BLANK.image.flags.writeable = False


def from_pixels(seen: np.ndarray) -> Preprocessed:
    """Return the input of a network, (28, 28) uint8, ink 255 on paper 0, as it is: without parts or another choice."""
    box = Box(0, 0, SIDE, SIDE) if seen.any() else None
    return Preprocessed(seen.astype(np.float32) / 255, box, "dark-on-light" if box else None)


def lay_out(ink: np.ndarray) -> np.ndarray:
    """Lay out ink that is cropped to its bounds: any (h, w) to (28, 28)."""
    h, w = ink.shape
    scale = max(h, w) / BOX_SIDE
    if scale != 1:
        rows, columns = max(1, int(h / scale + 0.5)), max(1, int(w / scale + 0.5))
        ink = resampling(h, rows) @ ink @ resampling(w, columns).T
        # Scaling down fades a thin line to grey; MNIST's lines are solid.
        peak = np.partition(ink, -ISOLATED, axis=None)[-ISOLATED:].mean() if ink.size >= ISOLATED else ink.max()
        if peak < 1:
            ink = ink * np.float32(1 / (peak * (FULL_INK + (1 - FULL_INK) * peak)))
        ink = np.minimum(ink, 1)  # also corrects rounding
    h, w = ink.shape
    mass = ink.sum()
    y = int((np.arange(h) @ ink.sum(axis=1)) / mass + 0.5 + TIE)
    x = int((np.arange(w) @ ink.sum(axis=0)) / mass + 0.5 + TIE)
    top, left = min(max(CENTER - y, 0), SIDE - h), min(max(CENTER - x, 0), SIDE - w)
    out = np.zeros((SIDE, SIDE), np.float32)
    out[top : top + h, left : left + w] = ink
    return out


def lay_out_line(ink: np.ndarray) -> tuple[np.ndarray, float]:
    """Lay out the ink of a line, cropped to its bounds: (h, w) to (LINE_HEIGHT, W) float32.

    Returns:
        The line, W even; and pixels of it per pixel of the ink. The ink starts LINE_MARGIN pixels from the left, and is
        centered from top to bottom.
    """
    h, w = ink.shape
    rows = max(1, round(LINE_FILL * LINE_HEIGHT))
    scale = rows / h
    columns = max(1, round(w * scale))
    ink = resampling(h, rows) @ ink @ resampling(w, columns).T
    inked = ink[ink > 0]
    if len(inked):  # scaling down fades thin strokes
        rank = max(1, int(LINE_PEAK * len(inked)))
        ink = np.minimum(ink / max(float(np.partition(inked, -rank)[-rank]), 1e-3), 1)
    top = (LINE_HEIGHT - rows) // 2
    width = columns + 2 * LINE_MARGIN
    line = np.zeros((LINE_HEIGHT, width + width % 2), np.float32)
    line[top : top + rows, LINE_MARGIN : LINE_MARGIN + columns] = ink
    return line, scale


def resampling(size: int, to: int) -> np.ndarray:
    """Return (to, size) float32 weights that resample a line: area average to scale down, linear to scale up."""
    scale = size / to
    if scale >= 1:
        edge = np.arange(to + 1) * scale
        low, high = edge[:-1, None], edge[1:, None]
        pixel = np.arange(size)[None]
        weights = np.clip(np.minimum(pixel + 1, high) - np.maximum(pixel, low), 0, None)
    else:
        center = np.clip((np.arange(to)[:, None] + 0.5) * scale - 0.5, 0, size - 1)
        weights = np.clip(1 - np.abs(np.arange(size)[None] - center), 0, None)
    shares: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
