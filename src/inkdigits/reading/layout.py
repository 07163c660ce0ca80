"""Group the components of a page's ink into lines, and lines into numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inkdigits.preprocess.strokes import weighted_median

__all__ = ["Block", "characters", "group", "joined", "table_of"]

MOST = 3000  # components of a page, the largest
TALL = (0.45, 3.0)  # of a common digit's height: what is not within is a mark, or no writing
LEVEL = 0.4  # of the lower height: digits whose rows overlap so much are on one line
FAR = 4.0  # of a digit's height; digits farther apart are not compared
SAME_ROW = 0.5  # of the lower height: lines whose rows overlap so much are on one row
MARK_ABOVE, MARK_BELOW = 0.25, 0.4  # of a digit's height, that marks reach above and below their line
LONG = 0.75  # of a common digit's height: the longest comma
HANGS = 0.1  # of a digit's height, that a long comma starts below its line, at most
MARK_FAR = 1.0  # of a digit's height, from a mark to the nearest digit
GAP = 0.9  # of a digit's height; numbers are farther apart
SAME_COLUMN = 0.5  # of the narrower width: components that overlap so much are one character


class Block(NamedTuple):
    """The components of one number.

    Attributes:
        parts: their indices.
        box: left, top, right and bottom of their ink.
        row: the line of the page that it is on.
    """

    parts: np.ndarray
    box: tuple[int, int, int, int]
    row: int


def group(boxes: np.ndarray, area: np.ndarray, *, is_one: bool = False) -> list[Block]:
    """Group components into numbers.

    Args:
        boxes: (n, 4) int, left, top, right and bottom of each component.
        area: (n,) pixels of each.
        is_one: whether all of them are one number, whatever the gaps.

    Returns:
        Numbers by row, and from left to right.
    """
    order = np.argsort(-area, kind="stable")[:MOST]
    boxes, area = boxes[order], area[order]
    height = boxes[:, 3] - boxes[:, 1]
    common = weighted_median(height, area)
    tall = (height >= TALL[0] * common) & (height <= TALL[1] * common)
    lines = _lines(boxes, tall, common)
    if is_one:
        lines = [np.concatenate(lines)]
    lines, hanging = _hanging(lines, boxes, common)
    low = np.flatnonzero(~tall & (height < TALL[0] * common))
    lines = _with_marks(lines, boxes, np.concatenate([low, hanging]), common)
    rows = _rows(lines, boxes)
    blocks = []
    for row, members in enumerate(rows):
        for parts in members:
            for some in [parts] if is_one else _numbers(parts, boxes, common):
                box = *boxes[some, :2].min(axis=0), *boxes[some, 2:].max(axis=0)
                left, top, right, bottom = map(int, box)
                blocks.append(Block(order[some], (left, top, right, bottom), row))
    return sorted(blocks, key=lambda block: (block.row, block.box[0]))


def _overlap(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return how much each pair of (n,) intervals overlaps, as a share of the shorter: (n, n), negative if apart."""
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    shares: np.ndarray = shared / np.maximum(np.minimum((high - low)[:, None], high - low), 1)
    return shares


def joined(near: np.ndarray) -> list[np.ndarray]:
    """Return the connected groups of a (n, n) relation, by their members."""
    label = np.arange(len(near))
    while True:
        lowest = np.where(near, label[None], len(near)).min(axis=1, initial=len(near))
        lowest = np.minimum(label, lowest)
        if np.array_equal(lowest, label):
            break
        label = lowest
    return [np.flatnonzero(label == i) for i in np.unique(label)]


def _lines(boxes: np.ndarray, tall: np.ndarray, common: float) -> list[np.ndarray]:
    chosen = np.flatnonzero(tall)
    left, top, right, bottom = boxes[chosen].T
    apart = np.maximum(left[:, None], left) - np.minimum(right[:, None], right)
    near = (_overlap(top, bottom) >= LEVEL) & (apart <= FAR * common)
    return [chosen[members] for members in joined(near)]


def _hanging(lines: list[np.ndarray], boxes: np.ndarray, common: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Part lines from long commas, each of which looks like a line of its own as it hangs below that of its digits."""
    tops, bottoms = boxes[:, 1], boxes[:, 3]
    hanging = []
    for [mark] in (line for line in lines if len(line) == 1 and np.ptp(boxes[line[0], [1, 3]]) < LONG * common):
        others = np.concatenate([line for line in lines if line[0] != mark] or [np.zeros(0, int)])
        apart = np.maximum(boxes[others, 0] - boxes[mark, 2], boxes[mark, 0] - boxes[others, 2])
        base = bottoms[others]
        starts = (tops[mark] > (tops[others] + base) / 2) & (tops[mark] <= base + HANGS * common)
        if (starts & (bottoms[mark] > base) & (apart <= GAP * common)).any():
            hanging.append(int(mark))
    return [line for line in lines if line[0] not in hanging], np.array(hanging, int)


def _with_marks(lines: list[np.ndarray], boxes: np.ndarray, marks: np.ndarray, common: float) -> list[np.ndarray]:
    """Give each mark to the line of the nearest digit, if it is on a level with it."""
    given: list[list[int]] = [[] for _ in lines]
    for mark in marks:
        left, top, right, bottom = boxes[mark]
        middle = min((top + bottom) / 2, top + TALL[0] / 2 * common)  # of a long comma: where it starts
        nearest, best = -1, MARK_FAR * common
        for i, line in enumerate(lines):
            x0, y0, x1, y1 = boxes[line].T
            level = (middle > y0 - MARK_ABOVE * common) & (middle < y1 + MARK_BELOW * common)
            gaps = np.maximum(np.maximum(x0 - right, left - x1), 0)
            gap = float(np.where(level, gaps, np.inf).min())
            if gap <= best:
                nearest, best = i, gap
        if nearest >= 0:
            given[nearest].append(int(mark))
    return [np.concatenate([line, np.array(marks, int)]) for line, marks in zip(lines, given, strict=True)]


def _rows(lines: list[np.ndarray], boxes: np.ndarray) -> list[list[np.ndarray]]:
    """Put lines at one height on one row, from top to bottom."""
    top = np.array([boxes[line, 1].min() for line in lines])
    bottom = np.array([boxes[line, 3].max() for line in lines])
    rows = joined(_overlap(top, bottom) >= SAME_ROW)
    rows.sort(key=lambda members: float(np.mean(top[members] + bottom[members])))
    return [[lines[i] for i in members] for members in rows]


def _numbers(parts: np.ndarray, boxes: np.ndarray, common: float) -> list[np.ndarray]:
    parts = parts[np.argsort(boxes[parts, 0], kind="stable")]
    reached = np.maximum.accumulate(boxes[parts, 2])
    gaps = boxes[parts[1:], 0] - reached[:-1]
    return np.split(parts, np.flatnonzero(gaps > GAP * common) + 1)


def characters(boxes: np.ndarray) -> list[np.ndarray]:
    """Group the components of a number that stand over each other: one character, or several that touch."""
    return joined(_overlap(boxes[:, 0], boxes[:, 2]) >= SAME_COLUMN)


def table_of(blocks: list[Block]) -> list[list[int | None]] | None:
    """Arrange numbers in columns: rows of indices, None where a row has none; None if they are no table."""
    rows = sorted({block.row for block in blocks})
    if len(rows) < 2 or len(blocks) <= len(rows):
        return None
    left, right = (np.array([block.box[i] for block in blocks]) for i in (0, 2))
    columns = joined(_overlap(left, right) > 0)
    columns.sort(key=lambda members: float(np.mean(left[members] + right[members])))
    cells: dict[tuple[int, int], int] = {}
    for column, members in enumerate(columns):
        for i in members:
            place = rows.index(blocks[i].row), column
            if place in cells:
                return None
            cells[place] = int(i)
    return [[cells.get((row, column)) for column in range(len(columns))] for row in range(len(rows))]
