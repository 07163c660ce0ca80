"""Step 5, layout: ink into a 20×20 box by area, then by its center of mass into 28×28, as MNIST's digits lie.

MNIST's own normalization: https://yann.lecun.com/exdb/mnist/. An MNIST image comes out as it went in, but for faint
pixels off the ink.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inkdigits.prediction import SIDE, Box, Polarity
from inkdigits.preprocess.segment import ISOLATED

__all__ = ["BLANK", "NORMALIZATION_VERSION", "Preprocessed", "lay_out"]

NORMALIZATION_VERSION = "2"  # changes when pictures that models are trained on give other pixels: 24 and more a side
BOX_SIDE = 20  # pixels, that the ink is scaled to fit
CENTER = 14  # pixel index that the center of mass is rounded to, in MNIST's own files too
FULL_INK = 0.6  # of the darkest pixels after scaling down, taken as full ink: thin pens come out solid
TIE = 1e-5  # pixels: a symmetric digit's center lies between two, and goes to the same one whatever sums round to


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """One picture, ready for the network.

    Attributes:
        image: (28, 28) float32 in [0, 1], ink 1 on paper 0; all 0 when blank.
        box: where the ink was found, in pixels of the upright picture; None when blank.
        polarity: whether the ink is darker or lighter than the paper; None when blank.
    """

    image: np.ndarray
    box: Box | None
    polarity: Polarity | None


BLANK = Preprocessed(np.zeros((SIDE, SIDE), np.float32), None, None)
BLANK.image.flags.writeable = False


def lay_out(ink: np.ndarray) -> np.ndarray:
    """Lay out ink that is cropped to its bounds, any (h, w) → (28, 28)."""
    h, w = ink.shape
    scale = max(h, w) / BOX_SIDE
    if scale != 1:
        rows, columns = max(1, int(h / scale + 0.5)), max(1, int(w / scale + 0.5))
        ink = _resampling(h, rows) @ ink @ _resampling(w, columns).T
        # Scaled down, a thin pen's line fades to grey; MNIST's lines are solid.
        peak = np.partition(ink, -ISOLATED, axis=None)[-ISOLATED:].mean() if ink.size >= ISOLATED else ink.max()
        if peak < 1:
            ink = ink * np.float32(1 / (peak * (FULL_INK + (1 - FULL_INK) * peak)))
        ink = np.minimum(ink, 1)  # rounding may go beyond by a bit, too
    h, w = ink.shape
    mass = ink.sum()
    y = int((np.arange(h) @ ink.sum(axis=1)) / mass + 0.5 + TIE)
    x = int((np.arange(w) @ ink.sum(axis=0)) / mass + 0.5 + TIE)
    top, left = min(max(CENTER - y, 0), SIDE - h), min(max(CENTER - x, 0), SIDE - w)
    out = np.zeros((SIDE, SIDE), np.float32)
    out[top : top + h, left : left + w] = ink
    return out


def _resampling(size: int, to: int) -> np.ndarray:
    """Return (to, size) float32 weights that resample a line: area average scaling down, linear scaling up."""
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
