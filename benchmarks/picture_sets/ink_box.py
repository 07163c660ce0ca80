"""Find the box of a digit's ink for making pictures, by means other than those that are measured.

Paper is a quadratic surface fitted to the grey levels, refitted without what lies far from it; ink is what is further
from it than 30% of the way to the extreme. Its largest connected component is the digit, with others next to it.
It works at up to 400 pixels a side. It is for pictures of one digit on paper without structure: look at what it cuts
before you trust it with others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import Image
from scipy import ndimage

__all__ = ["Ink", "find"]

SIDE = 400  # pixels, at which larger pictures are looked at
REFITS = 3
FAR = 2.5  # standard deviations, from which a pixel does not count as paper
LEAST = 12.0  # grey levels between paper and ink
NEAR = 0.2  # of the digit's size: how far from it another stroke may be
STROKE = 0.04  # of the largest component's pixels: what a stroke has at least
PART = 0.3  # of the way from the paper to the extreme: from there on it is ink
LINE = 0.8  # of a row or column that is ink, where a printed line runs
MARGIN = 0.25  # of a side: how far from the edge a printed line may run
BESIDE = 3  # pixels next to a printed line that are left out with it

Slices = tuple[slice, slice]


@dataclass(frozen=True)
class Ink:
    """The ink of a digit.

    Attributes:
        box: left, top, right and bottom in pixels of the picture.
        filled: share of the box that is ink, 0 to 1.
        dark: whether it is darker than the paper.
    """

    box: tuple[int, int, int, int]
    filled: float
    dark: bool


def find(picture: Image.Image, *, lines: bool = False) -> Ink | None:
    """Find the ink in a decoded picture; None where nothing stands out.

    Args:
        lines: leave out what lies outside printed lines near the edges, as of forms.
    """
    scale = min(1.0, SIDE / max(picture.size))
    small = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.BOX)
    relief = np.asarray(small.convert("F"))
    relief = relief - _paper(relief)
    dark = abs(np.quantile(relief, 0.005)) >= abs(np.quantile(relief, 0.995))
    depth = -relief if dark else relief
    inner = _within_lines(_inked(depth)) if lines else (slice(None), slice(None))
    depth = depth[inner]
    if depth.max() < LEAST:
        return None
    parts, _ = ndimage.label(_inked(depth), np.ones((3, 3)))
    boxes = dict(enumerate(ndimage.find_objects(parts), 1))
    sizes = {part: int((parts[box] == part).sum()) for part, box in boxes.items()}
    main = max(sizes, key=sizes.__getitem__)
    reach = NEAR * max(axis.stop - axis.start for axis in boxes[main])
    chosen = [p for p in boxes if sizes[p] >= STROKE * sizes[main] and _apart(boxes[p], boxes[main]) <= reach]
    top, left = (min(boxes[part][axis].start for part in chosen) for axis in (0, 1))
    bottom, right = (max(boxes[part][axis].stop for part in chosen) for axis in (0, 1))
    filled = float(np.isin(parts[top:bottom, left:right], chosen).mean())
    y, x = (axis.start or 0 for axis in inner)
    low = [int(at / scale) for at in (left + x, top + y)]
    high = [min(side, ceil(at / scale)) for side, at in zip(picture.size, (right + x, bottom + y), strict=True)]
    return Ink((*low, *high), filled, bool(dark))


def _inked(depth: np.ndarray) -> np.ndarray:
    return depth > PART * max(LEAST, float(np.quantile(depth, 0.998)))


def _apart(one: Slices, other: Slices) -> int:
    """Pixels between two boxes, along the axis on which they are further apart."""
    return max(max(a.start - b.stop, b.start - a.stop) for a, b in zip(one, other, strict=True))


def _within_lines(inked: np.ndarray) -> Slices:
    """Return what lies within the innermost rows and columns, near the edges, that are ink almost throughout."""
    inner = []
    for axis in (0, 1):
        length = inked.shape[axis]
        lines = np.flatnonzero(inked.mean(axis=1 - axis) >= LINE)
        before, after = lines[lines < MARGIN * length], lines[lines > (1 - MARGIN) * length]
        inner.append(slice(before.max() + BESIDE if len(before) else 0, after.min() - BESIDE if len(after) else length))
    return inner[0], inner[1]


def _paper(grey: np.ndarray) -> np.ndarray:
    """Fit a quadratic surface to the paper's levels."""
    y, x = (np.linspace(-1, 1, n) for n in grey.shape)
    y, x = (a.ravel() for a in np.meshgrid(y, x, indexing="ij"))
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    levels = grey.ravel().astype(np.float64)
    paper = np.abs(levels - np.median(levels)) <= max(LEAST, 1.5 * np.median(np.abs(levels - np.median(levels))))
    for _ in range(REFITS):
        surface = terms @ np.linalg.lstsq(terms[paper], levels[paper], rcond=None)[0]
        away = np.abs(levels - surface)
        paper = away <= max(LEAST / 2, FAR * away[paper].std())
    return surface.reshape(grey.shape).astype(np.float32)
