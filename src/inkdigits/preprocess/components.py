"""Step 3, components: which connected components of the ink are the digit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inkdigits.prediction import SIDE, Polarity
from inkdigits.preprocess.paper import LARGE, Marks

__all__ = ["Connected", "Ink", "components", "connected", "dilate", "stroke_width"]

REACH = 3  # pixels that soft ink may lie from solid ink
PIECE_SHARE = 0.03  # of the largest component; smaller components are specks
SMALL = SIDE * SIDE  # pixels of a picture; in a larger one a single pixel is a speck
CUT = 0.5  # weight of a component that touches the border, as a cut neighbor does
CUT_GAP = 0.08  # of the largest component's longer side, up to which one that the border cuts belongs to it
PART_SHARE = 0.15  # of the largest component; a smaller one belongs to it only if it is near
PART_GAP = 0.35  # of the largest component's longer side, that is near
PART_SIDE = 0.5  # of the longest part; a shorter one is not a digit of its own
SOLID_COVER = 0.5  # share of a pixel that ink covers, above which it counts for the width of strokes
MOST_PARTS = 4  # the largest
MOST_COMPONENTS = 300  # components, the largest, that the digit is chosen from
TALL = 0.75  # of the largest component's longer side; a shorter component that the border cuts is a piece


class Ink(NamedTuple):
    """The ink of one digit, or of what may be one.

    Attributes:
        cover: (y1 - y0, x1 - x0) float32, the ink within its bounds, 0 paper to 1 full ink.
        bounds: x0, y0, x1, y1 of the ink in pixels of the picture; x1 and y1 exclusive.
        polarity: whether it is darker or lighter than the paper.
        is_framed: whether one component lies within the bounds of another.
    """

    cover: np.ndarray
    bounds: tuple[int, int, int, int]
    polarity: Polarity
    is_framed: bool = False


class Connected(NamedTuple):
    """Connected components by number, and the runs of pixels in rows that they consist of.

    Attributes:
        starts, ends, of: (R,) int, of each run in the flat mask with one more column on each side, and its component.
        area: (N,) pixels.
        shape: of the mask.
    """

    starts: np.ndarray
    ends: np.ndarray
    of: np.ndarray
    area: np.ndarray
    shape: tuple[int, int]

    def boxes(self) -> np.ndarray:
        """Return x0, y0, x1, y1 of each component, (N, 4) int, x1 and y1 exclusive."""
        h, w = self.shape
        row, x0 = np.divmod(self.starts, w + 2)
        boxes = np.full((len(self.area), 4), (w, h, 0, 0))
        np.minimum.at(boxes[:, 0], self.of, x0)
        np.minimum.at(boxes[:, 1], self.of, row)
        np.maximum.at(boxes[:, 2], self.of, x0 + self.ends - self.starts)
        np.maximum.at(boxes[:, 3], self.of, row + 1)
        return boxes

    def drawn(self, chosen: np.ndarray) -> np.ndarray:
        """Draw the mask of the components that (N,) bool chooses."""
        runs = chosen[self.of]
        h, stride = self.shape[0], self.shape[1] + 2
        steps = np.zeros(h * stride, np.int8)
        steps[self.starts[runs] + 1] = 1
        steps[self.ends[runs] + 1] = -1
        return np.cumsum(steps, dtype=np.int8).reshape(h, stride)[:, 1:-1].astype(bool)

    def labels(self, numbers: np.ndarray) -> np.ndarray:
        """Draw (N,) numbers at the pixels of each component, 0 elsewhere: (h, w) int32."""
        h, stride = self.shape[0], self.shape[1] + 2
        steps = np.zeros(h * stride, np.int32)
        steps[self.starts + 1] = numbers[self.of]
        steps[self.ends + 1] -= numbers[self.of].astype(np.int32)
        return np.cumsum(steps, dtype=np.int32).reshape(h, stride)[:, 1:-1]


def components(marks: Marks) -> list[Ink]:
    """Choose the components of the digit, without specks and pieces of neighbors.

    Returns:
        The ink, or nothing if there is none. If there are parts that are far apart, or tall ones at the border, the
        parts follow, the longest first: each of them may be the digit, or they are several digits.
    """
    mask = marks.depth > marks.solid
    found = connected(mask)
    good = found.area >= max(PIECE_SHARE * found.area.max(initial=0), 2 if mask.size > SMALL else 1)
    if not good.any():
        return []
    if good.sum() > MOST_COMPONENTS:
        largest = np.argsort(-np.where(good, found.area, 0), kind="stable")[:MOST_COMPONENTS]
        good = np.isin(np.arange(len(good)), largest)
    if min(mask.shape) < LARGE or good.sum() == 1:
        return [_ink(marks, mask if good.all() else found.drawn(good))]
    places = np.flatnonzero(good)
    boxes = found.boxes()[places]
    chosen, parts = _chosen(found.area[places], boxes, mask.shape)
    drawn = [np.isin(np.arange(len(good)), places[some]) for some in (chosen, *parts)]
    whole, *rest = (_ink(marks, found.drawn(some), found.drawn(good & ~some)) for some in drawn)
    return [whole._replace(is_framed=_is_framed(boxes[chosen])), *rest]


def stroke_width(ink: Ink) -> float:
    """Return the mean width of the ink's strokes, in pixels: twice its area by its outline."""
    mask = np.pad(ink.cover > SOLID_COVER, 1)
    inner = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return float(2 * mask.sum() / max(mask.sum() - inner.sum(), 1))


def _chosen(area: np.ndarray, boxes: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the components of the ink, (N,) bool, and those of each of its parts if there are several."""
    h, w = shape
    x0, y0, x1, y1 = boxes.T
    is_cut = (x0 == 0) | (y0 == 0) | (x1 == w) | (y1 == h)
    main = int(np.argmax(area * np.where(is_cut, CUT, 1)))
    side = np.maximum(x1 - x0, y1 - y0)
    gap = _gaps(boxes, boxes[main])
    share = area / area[main]
    chosen = (share >= PIECE_SHARE) & ~((share < PART_SHARE) & (gap > PART_GAP * side[main]))
    cut_off = is_cut & (gap > CUT_GAP * side[main]) & ~is_cut[main]
    chosen &= ~cut_off
    parts = [np.arange(len(side)) == i for i in np.flatnonzero(cut_off & (side >= TALL * side[main]))]
    rest = chosen.copy()
    while rest.any():
        part = np.zeros_like(rest)
        part[np.argmax(np.where(rest, area, 0))] = True
        while True:
            bounds = np.concatenate([boxes[part, :2].min(axis=0), boxes[part, 2:].max(axis=0)])
            near = rest & (_gaps(boxes, bounds) <= PART_GAP * max(bounds[2] - bounds[0], bounds[3] - bounds[1]))
            if not (near & ~part).any():
                break
            part |= near
        parts.append(part)
        rest &= ~part
    sides = np.array([max(np.ptp(boxes[part][:, [0, 2]]), np.ptp(boxes[part][:, [1, 3]])) for part in parts])
    parts = [parts[i] for i in np.argsort(-sides, kind="stable") if sides[i] >= PART_SIDE * sides.max()]
    return chosen, parts[:MOST_PARTS] if len(parts) > 1 else []


def _gaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the distance of (N, 4) boxes from one box along the axis where it is larger; 0 if they overlap."""
    gaps: np.ndarray = np.maximum(boxes[:, :2] - box[2:], box[:2] - boxes[:, 2:]).max(axis=1).clip(0)
    return gaps


def _is_framed(boxes: np.ndarray) -> bool:
    """Return whether one of (N, 4) boxes lies within another."""
    within = (boxes[:, None, :2] < boxes[None, :, :2]).all(axis=2) & (boxes[:, None, 2:] > boxes[None, :, 2:]).all(
        axis=2
    )
    return bool(within.any())


def _ink(marks: Marks, solid: np.ndarray, others: np.ndarray | None = None) -> Ink:
    """Return solid ink and the soft ink around it that is not one of the others."""
    x0, y0, x1, y1 = _bounds(solid)
    left, top = max(x0 - REACH - 1, 0), max(y0 - REACH - 1, 0)
    around = slice(top, y1 + REACH + 1), slice(left, x1 + REACH + 1)
    depth = marks.depth[around]
    keep = dilate(solid[around], REACH) & (depth > marks.soft)
    if others is not None:
        keep &= ~others[around]
    cover = np.clip(depth * np.float32(1 / marks.full), 0, 1)
    if marks.grain > 0:
        cover[cover < marks.grain / marks.full] = 0
    cover *= dilate(keep, 1)
    if others is not None:
        cover[others[around]] = 0
    x0, y0, x1, y1 = _bounds(keep)
    return Ink(cover[y0:y1, x0:x1], (left + x0, top + y0, left + x1, top + y1), marks.polarity)


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 of the pixels that are set, x1 and y1 exclusive."""
    rows, columns = (np.logical_or.reduce(mask, axis=axis).nonzero()[0] for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def connected(mask: np.ndarray) -> Connected:
    """Find the 8-connected components of a mask.

    Runs of neighboring rows that touch are joined, and each run takes the smallest label among its neighbors until
    nothing changes. Labels are followed to their roots after each round, so that a few rounds are enough for any ink.
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
    roots, of = np.unique(label, return_inverse=True)
    area = np.bincount(of, weights=ends - starts, minlength=len(roots))
    return Connected(starts, ends, of, area, (h, w))


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
