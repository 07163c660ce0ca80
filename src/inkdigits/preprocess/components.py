"""Step 4, components: keep the connected components of the digit, without ruled lines and specks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inkdigits.prediction import SIDE, Polarity
from inkdigits.preprocess.background import border
from inkdigits.preprocess.segment import Marks

__all__ = ["Ink", "components", "connected_components", "dilate"]

REACH = 3  # pixels that soft ink may lie from sure ink
GRAIN_CUT = 2.0  # standard deviations of the paper's grain; fainter ink is paper
RULE_SIDE = 48  # pixels; smaller pictures are not searched for ruled lines
RULE_SHARE = 0.8  # of the picture's width that a ruled line covers
RULE_WIDTH = 0.05  # of the picture's height; a thicker line is not a ruled line
RULE_SLOPES = (0.0, -0.01, 0.01, -0.02, 0.02, -0.03, 0.03, -0.04, 0.04, -0.05, 0.05)  # of ruled lines, rise per pixel
MOST_LEFT_ON_EDGE = 0.2  # of the ink on the outermost pixels may remain when the rules are removed
PIECE_SHARE = 0.03  # of the largest component; smaller components are specks
MAIN_SHARE = 0.5  # of the largest component; smaller components may be remains of a rule
SMALL = SIDE * SIDE  # pixels of a picture; in a larger one a single pixel is a speck


class Ink(NamedTuple):
    """A digit's ink.

    Attributes:
        cover: (y1 - y0, x1 - x0) float32, the ink within its bounds, 0 paper to 1 full ink.
        bounds: x0, y0, x1, y1 of the ink in pixels of the picture; x1 and y1 exclusive.
        polarity: whether it is darker or lighter than the paper.
    """

    cover: np.ndarray
    bounds: tuple[int, int, int, int]
    polarity: Polarity


def components(marks: Marks) -> Ink | None:
    """Keep the sure ink without rules and specks, and the soft ink around it; return None if nothing is left."""
    solid = connected_components(_without_rules(marks.solid, marks.faint))
    if solid is None:
        return None
    x0, y0, x1, y1 = _bounds(solid)
    left, top = max(x0 - REACH - 1, 0), max(y0 - REACH - 1, 0)
    around = slice(top, y1 + REACH + 1), slice(left, x1 + REACH + 1)
    depth = marks.depth[around]
    keep = dilate(solid[around], REACH) & (depth > marks.soft)
    cover = np.clip(depth * np.float32(1 / marks.full), 0, 1)
    if marks.grain > 0:
        cover[cover < GRAIN_CUT * marks.grain / marks.full] = 0
    cover *= dilate(keep, 1)
    x0, y0, x1, y1 = _bounds(keep)
    return Ink(cover[y0:y1, x0:x1], (left + x0, top + y0, left + x1, top + y1), marks.polarity)


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 of the pixels that are set, x1 and y1 exclusive."""
    rows, columns = (np.logical_or.reduce(mask, axis=axis).nonzero()[0] for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _without_rules(mask: np.ndarray, faint: np.ndarray) -> np.ndarray:
    """Remove ruled lines and table borders, thin lines from border to border, if a digit remains.

    The rest must hardly touch the border, and its main component not at all: in a tight crop of a digit, its own bars
    go from border to border.

    Args:
        mask: the ink.
        faint: the ink, and marks too faint for a digit next to it, as lines often are.
    """
    if min(mask.shape) < RULE_SIDE or not border(faint).any():
        return mask
    rest = connected_components(_without_rules_across(_without_rules_across(mask, faint).T, faint.T).T)
    if rest is None or _on_edge(rest) > MOST_LEFT_ON_EDGE * _on_edge(mask):
        return mask
    main = connected_components(rest, MAIN_SHARE)
    return mask if main is not None and _on_edge(main) else rest


def _on_edge(mask: np.ndarray) -> int:
    """Count the outermost pixels that are set; a corner counts twice."""
    return int(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum())


def _without_rules_across(mask: np.ndarray, faint: np.ndarray) -> np.ndarray:
    """Remove the lines that go from left to right, sloping by a few degrees at most."""
    h, w = mask.shape
    x = np.arange(w)
    rest = mask
    near = faint.copy()  # a line wavers by a pixel
    near[1:] |= faint[:-1]
    near[:-1] |= faint[1:]
    for slope in RULE_SLOPES:
        shift = np.rint(slope * (x - w / 2)).astype(int)
        y = np.arange(h)[:, None] + shift  # lines of this slope become rows
        inside = (y >= 0) & (y < h)
        y = np.clip(y, 0, h - 1)
        share = (near[y, x] & inside).sum(axis=1) / np.maximum(inside.sum(axis=1), w // 2)
        if share.max() < RULE_SHARE:
            continue
        level = rest[y, x] & inside
        rest = rest.copy()
        rule = share > RULE_SHARE
        edges = np.diff(np.concatenate([[0], rule.astype(np.int8), [0]]))
        for top, bottom in zip((edges == 1).nonzero()[0], (edges == -1).nonzero()[0], strict=True):
            if bottom - top > max(2, RULE_WIDTH * h) + 2:
                continue
            # Keep strokes that cross the line: they continue above and below it.
            crossing = level[max(top - 2, 0)] & level[min(bottom + 1, h - 1)]
            lines = slice(max(top - 1, 0), min(bottom + 1, h))
            wiped = level[lines] & ~crossing
            rows, columns = wiped.nonzero()
            rest[y[lines][rows, columns], columns] = False
            level[lines] &= ~wiped
    return rest


def connected_components(mask: np.ndarray, share: float = PIECE_SHARE) -> np.ndarray | None:
    """Keep the 8-connected components of at least a share of the largest; return None if nothing is left."""
    starts, ends, area = _runs(mask)
    if not len(starts):
        return None
    good = area >= max(share * area.max(), 2 if mask.size > SMALL else 1)
    if good.all():
        return mask
    if not good.any():
        return None
    return _drawn(starts[good], ends[good], mask.shape)


def _drawn(starts: np.ndarray, ends: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Draw a mask from its runs, as :func:`_runs` returns them."""
    h, stride = shape[0], shape[1] + 2
    steps = np.zeros(h * stride, np.int8)
    steps[starts + 1] = 1
    steps[ends + 1] = -1
    return np.cumsum(steps, dtype=np.int8).reshape(h, stride)[:, 1:-1].astype(bool)


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the runs of set pixels in the rows of a mask, and the area of each run's component.

    Runs of neighboring rows that touch are joined, and each run takes the smallest label among its neighbors until
    nothing changes. Labels are followed to their roots after each round, so that a few rounds are enough for any ink.

    Returns:
        Starts and ends of the runs, (R,) int, in the flat mask with one more column on each side; and (R,) float areas.
    """
    h, w = mask.shape
    padded = np.zeros((h, w + 2), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded.ravel())
    starts, ends = (change == 1).nonzero()[0], (change == -1).nonzero()[0]
    stride = w + 2
    # A run [s, e) touches those of the next row that end after s - 1 and start before e + 1 there.
    first = np.searchsorted(ends, starts + stride, side="left")
    last = np.searchsorted(starts, ends + stride, side="right")
    counts = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), counts)
    lower = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    label = np.arange(len(starts))
    while True:
        before = label.copy()
        smallest = np.minimum(label[upper], label[lower])
        np.minimum.at(label, label[upper], smallest)
        np.minimum.at(label, label[lower], smallest)
        np.minimum.at(label, upper, smallest)
        np.minimum.at(label, lower, smallest)
        while not np.array_equal(label, root := label[label]):
            label = root
        if np.array_equal(label, before):
            break
    return starts, ends, np.bincount(label, weights=ends - starts, minlength=len(starts))[label]


def dilate(mask: np.ndarray, reach: int) -> np.ndarray:
    """Dilate a mask by ``reach`` pixels along rows and columns."""
    for _ in range(reach):
        wide = mask.copy()
        wide[1:] |= mask[:-1]
        wide[:-1] |= mask[1:]
        mask = wide.copy()
        mask[:, 1:] |= wide[:, :-1]
        mask[:, :-1] |= wide[:, 1:]
    return mask
