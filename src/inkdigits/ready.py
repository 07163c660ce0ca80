"""Many 28×28 arrays at once, exactly as :func:`inkdigits.image.normalise` has them one by one.

Pictures of that size come by the million, and the calls that each of them takes would cost more than the network. What
follows takes the steps of :mod:`inkdigits.ink` and :func:`inkdigits.image.lay_out` on all of them together, for the
plain case: no grain, a border of one level, ink as large as MNIST's. A picture of any other kind goes the one way there
is for all. A test holds both to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inkdigits.image import BLANK, BOX_SIDE, CENTRE, SIDE, TIE, Box, Limits, Normalised, lay_out, normalise
from inkdigits.ink import (
    FULL_SHARE,
    INK_QUANTILE,
    ISOLATED,
    MIN_CONTRAST,
    PIECE_SHARE,
    REACH,
    SOFT,
    SOLID,
    UNEVEN,
    UNEVEN_QUANTILES,
    drawn,
    grown,
    ring_of,
    runs,
)

__all__ = ["is_ready", "normalise_ready"]

NEAR_TIE = 1e-3  # pixels: a centre of mass this near to between two is summed up as for a single picture
_RING = ring_of(np.arange(SIDE * SIDE).reshape(SIDE, SIDE))  # where the border is in a flat picture
_LOW, _HIGH = (int(q * (len(_RING) - 1)) for q in UNEVEN_QUANTILES)
_AXIS = np.arange(SIDE)
_SHAPE = (SIDE, SIDE)


def is_ready(image: object, limits: Limits) -> bool:
    """Whether this is a 28×28 array of bytes, and the limits allow it."""
    return (
        isinstance(image, np.ndarray)
        and image.shape == _SHAPE
        and image.dtype == np.uint8
        and limits.min_side <= SIDE
        and limits.max_pixels >= SIDE * SIDE
    )


def normalise_ready(images: Sequence[np.ndarray] | np.ndarray) -> list[Normalised]:
    """Normalise 28×28 arrays of bytes, to the last bit as :func:`inkdigits.image.normalise` does.

    Args:
        images: (N, 28, 28) uint8, or a sequence of such (28, 28).
    """
    levels = images if isinstance(images, np.ndarray) else np.stack(images)
    border = np.sort(levels.reshape(len(levels), -1)[:, _RING], axis=1).astype(np.int16)
    plain = (border[:, _HIGH] - border[:, _LOW] <= UNEVEN) & _no_grain(levels)
    found: list[Normalised] = [BLANK] * len(levels)
    for i in (~plain).nonzero()[0]:
        found[i] = normalise(levels[i])
    if plain.any():
        paper = border[plain, len(_RING) // 2, None, None]
        _plain(levels[plain].astype(np.int16) - paper, plain.nonzero()[0], found)
    return found


def _no_grain(levels: np.ndarray) -> np.ndarray:
    """(N,) bool: where the median of the neighbours' differences is 0."""
    wide = levels.astype(np.int16)
    even = wide[:, :, 2:] - 2 * wide[:, :, 1:-1] + wide[:, :, :-2] == 0
    return even.sum(axis=(1, 2)) > SIDE * (SIDE - 2) // 2


def _plain(depth: np.ndarray, place: np.ndarray, found: list[Normalised]) -> None:
    """Find the ink in pictures of level paper and put what was found in its place; blank ones are left out.

    Args:
        depth: (N, 28, 28) int16, above the paper's level.
        place: (N,) int, where each is in ``found``.
    """
    marks = np.abs(depth) >= MIN_CONTRAST
    light = (depth * marks).sum(axis=(1, 2), dtype=np.int64) > 0
    depth = np.where(light[:, None, None], depth, -depth)
    many = marks.sum(axis=(1, 2))
    rank = np.maximum(ISOLATED, np.minimum(INK_QUANTILE * many, FULL_SHARE * SIDE * SIDE).astype(int))
    ordered = np.sort(np.where(marks, depth, -SIDE * SIDE).reshape(len(depth), -1), axis=1)
    full = ordered[np.arange(len(depth)), -rank].astype(np.float64)
    inked = (many >= rank) & (full >= MIN_CONTRAST)
    depth, full, light, place = depth[inked].astype(np.float32), full[inked], light[inked], place[inked]
    if not len(depth):
        return

    def deeper_than(share: float, floor: float) -> np.ndarray:
        least = np.maximum(share * full, np.minimum(MIN_CONTRAST, floor * full))
        return depth > least.astype(np.float32)[:, None, None]

    solid = _without_specks(deeper_than(SOLID, 0.7))
    keep = grown(solid, REACH) & deeper_than(SOFT, 0.5)
    cover = np.clip(depth * (1 / full).astype(np.float32)[:, None, None], 0, 1)
    rows, columns = keep.any(axis=2), keep.any(axis=1)
    (y0, y1), (x0, x1) = _bounds(rows), _bounds(columns)
    cover *= grown(keep, 1) & _between(y0, y1)[:, :, None] & _between(x0, x1)[:, None, :]

    # Where the middle of the ink is, as lay_out has it: sums of float32 in another order may differ in the last bit.
    y, near_y = _middle(cover.sum(axis=2, dtype=np.float64), y0)
    x, near_x = _middle(cover.sum(axis=1, dtype=np.float64), x0)
    as_it_is = (np.maximum(y1 - y0, x1 - x0) == BOX_SIDE) & ~near_y & ~near_x
    top = np.clip(CENTRE - y, 0, SIDE - (y1 - y0))
    left = np.clip(CENTRE - x, 0, SIDE - (x1 - x0))
    laid = _moved(cover, top - y0, left - x0)
    for i, (at, a, b, c, d) in enumerate(zip(place, x0.tolist(), y0.tolist(), x1.tolist(), y1.tolist(), strict=True)):
        image = laid[i] if as_it_is[i] else lay_out(cover[i, b:d, a:c])
        polarity = "light-on-dark" if light[i] else "dark-on-light"
        found[at] = Normalised(image, Box(float(a), float(b), float(c), float(d)), polarity)


def _without_specks(masks: np.ndarray) -> np.ndarray:
    """:func:`inkdigits.ink.pieces` of (N, 28, 28) masks, none of them empty."""
    n = len(masks)
    sheet = np.zeros((n, SIDE + 1, SIDE), bool)  # one below the other, a row of paper between
    sheet[:, :SIDE] = masks
    starts, ends, area = runs(sheet.reshape(-1, SIDE))
    of_mask = starts // ((SIDE + 1) * (SIDE + 2))
    first = np.searchsorted(of_mask, np.arange(n))
    good = area >= np.maximum(PIECE_SHARE * np.maximum.reduceat(area, first), 1)[of_mask]
    return drawn(starts[good], ends[good], (n * (SIDE + 1), SIDE)).reshape(sheet.shape)[:, :SIDE]


def _bounds(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 28) bool → the first that is set in each, and the one after the last."""
    return lines.argmax(axis=1), SIDE - lines[:, ::-1].argmax(axis=1)


def _between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(N, 28) bool, set from ``low`` until ``high``."""
    return (low[:, None] <= _AXIS) & (high[:, None] > _AXIS)


def _middle(sums: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixel, counted from ``start``, that the centre of mass is rounded to, and whether that is a near thing."""
    middle = sums @ _AXIS / sums.sum(axis=1) - start + 0.5 + TIE
    pixel = middle.astype(int)
    return pixel, np.abs(middle - np.rint(middle)) < NEAR_TIE


def _moved(images: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Each of (N, 28, 28) images moved; what comes in from outside is paper."""
    laid = images.copy()
    for i in ((down != 0) | (right != 0)).nonzero()[0]:
        y, x = int(down[i]), int(right[i])
        laid[i] = 0
        source = images[i, max(-y, 0) : SIDE - max(y, 0), max(-x, 0) : SIDE - max(x, 0)]
        laid[i, max(y, 0) : SIDE + min(y, 0), max(x, 0) : SIDE + min(x, 0)] = source
    return laid
