"""Find the lattices of printed rules: horizontal and vertical rules that cross, and the cells between them."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from inkdigits.reading.layout import joined
from inkdigits.reading.rules import STRIP, Rule, certain_depth, find_rules, sampled

__all__ = ["Lattice", "find_lattices"]

REACH = 1.5 * STRIP  # pixels that a rule may end before another which it meets
CROSSED = 0.5  # of the rules across, that a rule of a lattice crosses
PAIR = 0.5  # of the largest distance: the edges of boxes side by side are closer
UNLIKE = 0.1  # of the usual distance of rules: how much those of close ones differ, of which one is right
ROUNDS = 3  # lattices at most that are looked for among rules which all meet
CLOSE = 0.3  # of the median distance of rules: closer ones are the edges of one
EDGE = 0.8  # mean ridge of a cell's side, of one that is certain, from which the side is there
CONNECTED = 0.25  # of the vertical rules, at least, connect rows of a lattice
SIDES = 3  # of the four sides of a cell, at least, that are there
ALONG = np.linspace(0.12, 0.88, 15)  # of a side: where it is looked for
BETWEEN = np.linspace(0.25, 0.75, 25)  # of the distance of two rules: where one between them is looked for
AFTER = np.linspace(0.8, 1.2, 21)  # of the distance of the last two rules: where the next one is looked for
BEFORE = 3  # rules beyond the outermost one that are looked for
BEYOND = np.linspace(0.15, 0.4, 6)  # of the distance of the last two rules: where rules that run on are looked for
APART = 4  # steps of BETWEEN: rules are farther apart
MISSED = 0.75  # mean ridge of a rule that was missed
CONTRAST = 0.7  # times as much, at most, has the paper on both sides of it
WIDE = (0.6, 0.25)  # of a cell: a wider space parts fields in one row of boxes, and tables
REGULAR = 6  # rules, at least, of rows that may be regular
LIKE, SHORTER = 0.15, 0.85  # of the usual row: how much like rows differ; and the parts of one are shorter
MANY = 0.6  # of the rows are like the usual one, if rows are regular
FAINT = 0.95  # mean ridge of a rule
SMALLEST = 8.0  # pixels, the sides of a cell
MOST = 2500  # crossings


class Lattice(NamedTuple):
    """Rules that cross.

    Attributes:
        points: (m + 1, n + 1, 2) float64, x and y of the crossings, in pixels.
        rows, columns: which of the m and n spaces between rules hold cells; others are between boxes.
        closed: share of the cells that have rules around them.
        runs_on: sides where rules run on beyond the outermost one; several, as on squared paper.
    """

    points: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    closed: float
    runs_on: int

    @property
    def area(self) -> float:
        """Area of the cells that have rules around them, about, in pixels."""
        (x0, y0), (x1, y1) = self.points[0, 0], self.points[-1, -1]
        return float(abs((x1 - x0) * (y1 - y0)) * self.closed)


def find_lattices(grey: np.ndarray) -> list[Lattice]:
    """Find the lattices of a picture, the largest first.

    Args:
        grey: (h, w) float32, 0 to 255, with rules darker than paper.
    """
    certain = certain_depth(grey)
    flat, across = find_rules(grey, certain)
    if len(across) < 2:
        return []
    upright, down = find_rules(grey.T, certain)
    if len(down) < 2:
        return []
    meets = _crossings(across, down)[2]
    found = []
    known = np.eye(len(across), dtype=bool), np.eye(len(down), dtype=bool)
    for members in joined(np.block([[known[0], meets], [meets.T, known[1]]])):
        left = members[members < len(across)], members[members >= len(across)] - len(across)
        for _ in range(ROUNDS):
            rows, columns = _pruned(meets, *left)
            if len(rows) < 2 or len(columns) < 2:
                break
            found += _lattices([across[i] for i in rows], [down[i] for i in columns], flat, upright)
            # Rules of the longer list may be of other lattices, too, next to or below this one.
            is_tall = len(rows) > len(columns)
            left = (left[0], np.setdiff1d(left[1], columns)) if is_tall else (np.setdiff1d(left[0], rows), left[1])
    return sorted(found, key=lambda lattice: -lattice.area)


def _crossings(across: list[Rule], down: list[Rule]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each pair of rules crosses, x and y, and whether it does: (rows, columns) each."""
    x = np.tile([float(rule.across.mean()) for rule in down], (len(across), 1))
    y = np.zeros_like(x)
    for _ in range(3):
        y = np.stack([rule.at(row) for rule, row in zip(across, x, strict=True)])
        x = np.stack([rule.at(column) for rule, column in zip(down, y.T, strict=True)], axis=1)
    meets = np.ones(x.shape, bool)
    for rules, places in ((across, x), (down, y.T)):
        start, end = (np.array([rule.along[i] for rule in rules])[:, None] for i in (0, -1))
        within = (places >= start - REACH) & (places <= end + REACH)
        meets &= within if rules is across else within.T
    return x, y, meets


def _pruned(meets: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop the rules that cross few others, until each crosses many of the others."""
    while len(rows) and len(columns):
        part = meets[np.ix_(rows, columns)]
        shares = part.mean(axis=1), part.mean(axis=0)
        worst = [float(share.min()) for share in shares]
        if min(worst) >= CROSSED:
            break
        if worst[0] <= worst[1]:
            rows = np.delete(rows, shares[0].argmin())
        else:
            columns = np.delete(columns, shares[1].argmin())
    return rows, columns


def _lattices(across: list[Rule], down: list[Rule], flat: np.ndarray, upright: np.ndarray) -> list[Lattice]:
    """Make lattices of rules that cross, one or several side by side.

    Args:
        across, down: the rules.
        flat, upright: how certain a rule is near each pixel, of the picture and of the transposed picture.
    """
    across, down = _apart(across), _apart(down)
    x, y, _ = _crossings(across, down)
    points = _completed(np.stack([x, y], axis=-1), flat)
    found = []
    for rows in _connected(points, upright):
        found += _of_rows(points[rows[0] : rows[-1] + 2], flat, upright)
    return found


def _connected(points: np.ndarray, upright: np.ndarray) -> list[np.ndarray]:
    """Return the spaces between rows, in groups that vertical rules connect."""
    if len(points) < 2:
        return []
    there = _sides(points[..., ::-1].transpose(1, 0, 2), upright).T >= EDGE
    good = np.flatnonzero((there.sum(axis=1) >= 2) & (there.mean(axis=1) >= CONNECTED))
    return np.split(good, np.flatnonzero(np.diff(good) > 1) + 1) if len(good) else []


def _of_rows(points: np.ndarray, flat: np.ndarray, upright: np.ndarray) -> list[Lattice]:
    """Make lattices of the crossings of horizontal rules that are certain and vertical ones that may be."""
    if len(points) * points.shape[1] > MOST:
        return []
    points = _completed(points[..., ::-1].transpose(1, 0, 2), upright)[..., ::-1].transpose(1, 0, 2)
    if min(points.shape[:2]) < 2 or points.shape[0] * points.shape[1] > MOST:
        return []
    sides = _sides(points, flat), _sides(points[..., ::-1].transpose(1, 0, 2), upright).T
    there = [side >= EDGE for side in sides]
    closed = (there[0][:-1].astype(int) + there[0][1:] + there[1][:, :-1] + there[1][:, 1:]) >= SIDES
    found = []
    for columns in _spans(closed, _lengths(points, 1)):
        for rows in _spans(closed[:, columns].T, _lengths(points, 0)):
            first, last = (rows[0], columns[0]), (rows[-1] + 2, columns[-1] + 2)
            part = points[first[0] : last[0], first[1] : last[1]]
            share = float(closed[np.ix_(rows, columns)].mean())
            if min(np.median(_lengths(part, axis)) for axis in (0, 1)) < SMALLEST:
                continue
            found.append(Lattice(part, rows - first[0], columns - first[1], share, _runs_on(part, flat, upright)))
    return found


def _apart(rules: list[Rule]) -> list[Rule]:
    """Order rules that run side by side, and keep one of those that are close together.

    That is the one as far from the next rules as rules usually are, or the longest.
    """
    middle = np.mean([(rule.along[0] + rule.along[-1]) / 2 for rule in rules])
    place = np.array([float(rule.at(middle)) for rule in rules])
    order = np.argsort(place)
    rules, place = [rules[i] for i in order], place[order]
    while len(rules) > 2:
        gaps = np.diff(place)
        usual = float(np.median(gaps))
        i = int(gaps.argmin())
        close = gaps < PAIR * gaps.max()
        if gaps[i] >= CLOSE * usual or (len(gaps) > 2 and close[1::2].all() and not close[::2].any()):
            break  # apart, or the edges of boxes side by side
        others = np.delete(place, [i, i + 1])
        away = np.abs(np.abs(place[i : i + 2, None] - others) / usual - 1).min(axis=1)
        length = [float(np.ptp(rule.along)) for rule in rules[i : i + 2]]
        is_first = away[0] < away[1] if abs(away[0] - away[1]) > UNLIKE else length[0] >= length[1]
        out = i + 1 if is_first else i
        rules, place = rules[:out] + rules[out + 1 :], np.delete(place, out)
    return rules


def _between(points: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return points between neighbors along the second axis: (m, n, 2) to (m, n - 1, len(samples), 2)."""
    return np.asarray(points[:, :-1, None] + (points[:, 1:] - points[:, :-1])[:, :, None] * samples[:, None])


def _sides(points: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Return how certain the horizontal side from each crossing to the next is, in its weakest third: (m, n - 1)."""
    certain = sampled(flat, _between(points, ALONG))
    return np.asarray(certain.reshape(*certain.shape[:2], 3, -1).mean(axis=-1).min(axis=-1))


def _certain(points: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Return how certain each horizontal rule is, but for the faintest third of its length: (m,)."""
    sides = _sides(points, flat)
    order = np.argsort(sides, axis=1)
    length = np.hypot(*np.moveaxis(np.diff(points, axis=1), -1, 0))
    reached = np.cumsum(np.take_along_axis(length, order, axis=1), axis=1)
    third = (reached < reached[:, -1:] / 3).sum(axis=1)
    return np.asarray(np.take_along_axis(sides, order, axis=1)[np.arange(len(sides)), third])


def _completed(points: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Insert the horizontal rules between others that were missed: (m, n, 2) to (more, n, 2)."""
    if points.shape[1] < 2:
        return points[:0]
    points = points[_certain(points, flat) >= EDGE]
    if len(points) < 2:
        return points
    rows = list(points)
    for above, below in pairwise(points):
        rows += _missed(above, below, BETWEEN, flat)
    for side in (points, points[::-1]):
        last, before = side[0], side[1]
        for _ in range(BEFORE):
            found = _missed(last, 2 * last - before, AFTER, flat)
            if not found:
                break
            last, before = found[0], last
            rows.append(last)
    return _regular(np.array(sorted(rows, key=lambda row: float(row[:, 1].mean()))), flat)


def _regular(points: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Drop faint rules, as folds are, that part one of many like rows."""
    while len(points) >= REGULAR:
        lengths, certain = _lengths(points, 0), _certain(points, flat)
        usual = max(float(np.median(lengths)), 1.0)
        whole = lengths[:-1] + lengths[1:]
        extra = (np.abs(whole / usual - 1) < LIKE) & (np.maximum(lengths[:-1], lengths[1:]) < SHORTER * usual)
        extra &= certain[1:-1] < FAINT
        if not extra.any() or np.mean(np.abs(lengths / usual - 1) < LIKE) < MANY:
            break
        points = np.delete(points, 1 + int(extra.argmax()), axis=0)
    return points


def _missed(above: np.ndarray, below: np.ndarray, places: np.ndarray, flat: np.ndarray) -> list[np.ndarray]:
    """Find rules at some places between two, or beyond one, of (n, 2) points each."""
    lines = above + (below - above) * places[:, None, None]
    certain = _certain(lines, flat)
    found = []
    while certain.max() >= MISSED:
        best = int(certain.argmax())
        if max(certain[: best + 1].min(), certain[best:].min()) < CONTRAST * certain[best]:
            found.append(lines[best])
        certain[max(0, best - APART) : best + APART + 1] = 0
    return found


def _lengths(points: np.ndarray, axis: int) -> np.ndarray:
    """Return the median length of the sides along an axis."""
    lengths = np.hypot(*np.moveaxis(np.diff(points, axis=axis), -1, 0))
    return np.asarray(np.median(lengths, axis=1 - axis))


def _spans(closed: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Return the columns of cells that belong together: those not parted by a wide space without cells."""
    good = np.flatnonzero(closed.mean(axis=0) >= CROSSED)
    if not len(good):
        return []
    usual = float(np.median(lengths[good]))
    wide = WIDE[len(closed) > 1] * usual
    far = [lengths[a + 1 : b].sum() > wide for a, b in pairwise(good)]
    return np.split(good, np.flatnonzero(far) + 1)


def _runs_on(points: np.ndarray, flat: np.ndarray, upright: np.ndarray) -> int:
    """Return at how many sides most rules run on beyond the last rule that they cross."""
    turned = points[..., ::-1].transpose(1, 0, 2)
    sides = 0
    for part, depth in ((points, flat), (points[:, ::-1], flat), (turned, upright), (turned[:, ::-1], upright)):
        beyond = sampled(depth, part[:, 0, None] + (part[:, 0] - part[:, 1])[:, None] * BEYOND[:, None])
        sides += bool(np.median(beyond.mean(axis=-1)) > EDGE)
    return sides
