"""Find the ink of a whole page, at a resolution that keeps its numbers legible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from inkdigits.prediction import Box, Polarity
from inkdigits.preprocess.components import connected, dilate
from inkdigits.preprocess.grey import reduced
from inkdigits.preprocess.ink import is_sure, network_marks
from inkdigits.preprocess.paper import level_paper, threshold

__all__ = ["PAGE_PIXELS", "PAGE_SIDE", "PageInk", "find_page_ink", "grown", "page_grey"]

PAGE_SIDE = 1600  # pixels, the longer side of a reduced page
PAGE_PIXELS = 1_500_000  # of a reduced page, at most
REACH = 2  # pixels that soft ink may lie from solid ink
SPECK = 3  # pixels; fewer are no ink, not even a point


class PageInk(NamedTuple):
    """The ink of a page.

    Attributes:
        cover: (h, w) float32, 0 paper to 1 full ink.
        labels: (h, w) int32, the number of the component that a pixel is of, from 1, and 0 for paper.
        boxes: (n, 4) int, left, top, right and bottom of each component.
        area: (n,) pixels of each.
        step: pixels of the picture per pixel of the page.
        polarity: whether the ink is darker or lighter than the paper.
        place: returns a box in pixels of the picture, of one in pixels of the page.
    """

    cover: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    area: np.ndarray
    step: float
    polarity: Polarity
    place: Callable[[Sequence[float]], Box]


def page_grey(picture: Image.Image) -> tuple[np.ndarray, float]:
    """Return a page as :func:`inkdigits.preprocess.grey.reduced` does, at the resolution of reading."""
    return reduced(picture, PAGE_SIDE, PAGE_PIXELS)


def find_page_ink(grey: np.ndarray, step: float) -> PageInk | None:
    """Find the ink of a page from :func:`page_grey`; return None for a blank one."""
    paper = level_paper(grey)
    is_clean = paper is not None and paper.is_clean
    marks, times = (threshold(grey, paper), 1) if paper and is_clean else network_marks(grey)
    if marks is None:
        return None
    solid = marks.depth > marks.solid
    found = connected(solid)
    good = found.area >= (SPECK if solid.size > 48 * 48 else 1)
    if not good.any():
        return None
    numbers = np.where(good, np.cumsum(good), 0)
    labels = grown(found.labels(numbers), dilate(solid, REACH) & (marks.depth > marks.soft))
    cover = np.where(labels > 0, np.clip(marks.depth * np.float32(1 / marks.full), 0, 1), 0)
    if not is_clean and not is_sure(cover):
        return None
    step = step / times
    place = partial(_scaled, step)
    return PageInk(cover, labels, found.boxes()[good], found.area[good], step, marks.polarity, place)


def _scaled(step: float, box: Sequence[float]) -> Box:
    return Box(*(round(value * step, 2) for value in box))


def grown(labels: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """Give pixels of soft ink the label of solid ink near them."""
    for _ in range(REACH):
        near = labels
        for axis in (0, 1):  # the largest of three by three
            wider, before = near.copy().swapaxes(0, axis), near.swapaxes(0, axis)
            np.maximum(wider[1:], before[:-1], out=wider[1:])
            np.maximum(wider[:-1], before[1:], out=wider[:-1])
            near = wider.swapaxes(0, axis)
        labels = np.where((labels == 0) & soft, near, labels)
    return labels
