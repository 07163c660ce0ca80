"""Step 2, ink: find the ink in a picture.

On clean paper thresholds find it (:mod:`.paper`). On any other paper, with rules, squares, shadows, stains or things at
the edge, a small convolutional network does, which was trained on composed pages (:mod:`inkdigits.training.ink`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inkdigits.prediction import Polarity
from inkdigits.preprocess.components import Ink, components, dilate, stroke_width
from inkdigits.preprocess.layout import resampling
from inkdigits.preprocess.paper import Marks, level_paper, threshold
from inkdigits.preprocess.planes import planes

if TYPE_CHECKING:
    from inkdigits.network import ShippedNetwork

__all__ = [
    "STRIDE",
    "Found",
    "enlarged",
    "enlargement",
    "find_ink",
    "ink_probability",
    "is_sure",
    "network_marks",
    "padded",
]

STRIDE = 16  # sides of the network's input are multiples of it
LEAST_SIDE = 80  # pixels of the longer side; a smaller picture is enlarged for the network
ENLARGED_SIDE = 112  # pixels, about, that it is enlarged to, by a whole factor
PAPER = 0.15  # probability at which a pixel is all paper
INK = 0.85  # probability at which a pixel is all ink
SOLID_INK = 0.5  # probability above which a pixel is ink
SOFT_INK = 0.25  # probability above which a pixel next to solid ink is ink
FILLED = 0.7  # of a picture's width and height, at least, that ink has in a picture that is cut at it
SURE = 0.45  # of ink, the mean cover, below which the network is not sure that it is ink
WIDER = 1.25  # times the strokes that the network found, at most, is ink that it may have missed; else, it is a thing
RING = (1, 4)  # pixels from the ink, where the paper is that its polarity is compared with


class Found(NamedTuple):
    """The ink of a picture.

    Attributes:
        inks: the ink, and its parts, as :func:`.components.components` returns them; empty for a blank picture.
        times: how many pixels of the ink a pixel of the picture became.
        otherwise: what thresholds found, and its parts, in pixels of the picture, where the network and they may
            differ: on level paper, something touches the border.
    """

    inks: list[Ink]
    times: int = 1
    otherwise: Sequence[Ink] = ()


def find_ink(grey: np.ndarray) -> Found:
    """Find the ink of a picture.

    Args:
        grey: (h, w) float32, 0 to 255.
    """
    paper = level_paper(grey)
    marks = threshold(grey, paper) if paper else None
    plain = components(marks) if marks else []
    if paper and paper.is_clean and not (plain and plain[0].is_framed):
        return Found(plain)
    marks, times = network_marks(grey)
    inks = components(marks)
    if inks and not is_sure(inks[0].cover):
        inks = []
    if not inks and plain and _fills(plain[0].bounds, grey.shape):
        return Found(plain[:1])
    if not inks or not plain or stroke_width(plain[0]) > WIDER * stroke_width(inks[0]) / times:
        return Found(inks, times)
    return Found(inks, times, plain)


def network_marks(grey: np.ndarray) -> tuple[Marks, int]:
    """Let the network find the ink of a picture; return it, and how many times the picture was enlarged for it."""
    times = enlargement(*grey.shape)
    large = enlarged(grey, times)
    return _marks(large, ink_probability(large)), times


def _fills(bounds: tuple[int, int, int, int], shape: tuple[int, int]) -> bool:
    """Return whether ink fills a picture, as a 1 does that is cut at its ink."""
    x0, y0, x1, y1 = bounds
    return x1 - x0 >= FILLED * shape[1] and y1 - y0 >= FILLED * shape[0]


def is_sure(cover: np.ndarray) -> bool:
    """Return whether the network is sure that cover is ink, as it is not of what it finds in noise or in a texture."""
    return float(cover.sum(dtype=np.float64)) >= SURE * int(np.count_nonzero(cover))


def ink_probability(grey: np.ndarray) -> np.ndarray:
    """Run the network: (h, w) float32 grey, 0 to 255, to the probability of each pixel to be ink, (h, w) float32."""
    h, w = grey.shape
    logits = _network().run(padded(planes(grey))[None])[0, 0]
    top, left = -h % STRIDE // 2, -w % STRIDE // 2
    logits = logits[top : top + h, left : left + w]
    probability: np.ndarray = 0.5 + 0.5 * np.tanh(0.5 * logits)
    return probability


def padded(values: np.ndarray) -> np.ndarray:
    """Repeat the border of (..., h, w) values on all sides until both sides are multiples of the network's stride."""
    extra = [0] * (values.ndim - 2) + [-side % STRIDE for side in values.shape[-2:]]
    return np.pad(values, [(n // 2, n - n // 2) for n in extra], mode="edge")


@cache
def _network() -> ShippedNetwork:
    from inkdigits.network import ShippedNetwork  # clean paper needs no runtime

    return ShippedNetwork("ink")


def _marks(grey: np.ndarray, probability: np.ndarray) -> Marks:
    scale = 1 / (INK - PAPER)
    depth = (probability - np.float32(PAPER)) * np.float32(scale)
    ink = probability > SOLID_INK
    ring = dilate(ink, RING[1]) & ~dilate(ink, RING[0]) & (depth < 0)
    is_light = ink.any() and ring.any() and float(grey[ink].mean()) > float(grey[ring].mean())
    polarity: Polarity = "light-on-dark" if is_light else "dark-on-light"
    return Marks(depth, 1.0, (SOLID_INK - PAPER) * scale, (SOFT_INK - PAPER) * scale, 0.0, polarity)


def enlargement(height: int, width: int) -> int:
    """Return how many times a picture is enlarged for the network."""
    side = max(height, width)
    return max(1, round(ENLARGED_SIDE / side)) if side < LEAST_SIDE else 1


def enlarged(values: np.ndarray, times: int) -> np.ndarray:
    """Enlarge (h, w) float32 by a whole factor, linearly."""
    if times == 1:
        return values
    h, w = values.shape
    large: np.ndarray = resampling(h, times * h) @ values @ resampling(w, times * w).T
    return large
