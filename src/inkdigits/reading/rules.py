"""Find printed rules in a picture.

1. ridges    pixels that are darker than what is above and below them, at page scale
2. strips    in strips of a few columns, ridges are added up along some slopes: a rule is a peak, however faint
3. chains    peaks of neighboring strips are joined to rules, which may bend and have gaps

Vertical rules are the horizontal ones of the transposed picture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["STRIP", "Rule", "certain_depth", "find_rules", "sampled"]

STRIP = 16  # columns of a strip
SLOPES = tuple(0.1 * i for i in range(-3, 4))  # rows per column, of rules in a strip
REACHES = (2, 4, 8)  # pixels from the middle of a rule to paper
FAINTEST = 3.0  # grey levels; a ridge so deep is a rule for certain
GRAINS = 2.5  # standard deviations of the grain of the picture, likewise
PEAK = 0.65  # mean ridge in a strip, of one that is certain, from which it may be of a rule
PEAKS = 64  # of a strip, the highest
STRAY = 3.0  # pixels that a rule may stray from its course from strip to strip
SKIP = 1  # strips that a rule may be missing in
LEAST = 3  # strips of the shortest rule
CERTAIN = 0.8  # mean ridge along a rule, of one that is certain
RULES = 120  # of each direction, the longest
GAP = 0.15  # of the picture's width: closer rules on one course are one
SHORT = 9  # pixels of a row that ridges are averaged over, odd
NEAR = 2  # pixels that a rule may be from where it is looked for


class Rule(NamedTuple):
    """A rule as a polyline: increasing places along it, and how far across it is at each."""

    along: np.ndarray
    across: np.ndarray

    def at(self, along: np.ndarray) -> np.ndarray:
        """Return where it is at some places; its ends are continued."""
        n = min(len(self.along), 6)
        inside = np.interp(along, self.along, self.across)
        for end, part in ((self.along[0], slice(0, n)), (self.along[-1], slice(-n, None))):
            x, y = self.along[part], self.across[part]
            slope = ((x - x.mean()) @ (y - y.mean())) / max(float(((x - x.mean()) ** 2).sum()), 1e-9)
            beyond = (along - end) * (-1 if part.start == 0 else 1) > 0
            inside = np.where(beyond, inside + slope * (along - end), inside)
        return np.asarray(inside)


def _ridges(grey: np.ndarray, certain: float) -> np.ndarray:
    """Return how certain each pixel is darker than what is above and below it: (h, w) float32, 0 to 1."""
    deepest = np.zeros_like(grey)
    for k in REACHES:
        if 2 * k < len(grey):
            middle = deepest[k:-k]
            np.maximum(middle, np.minimum(grey[: -2 * k], grey[2 * k :]) - grey[k:-k], out=middle)
    deepest *= np.float32(1 / certain)
    np.minimum(deepest, 1, out=deepest)
    return deepest


def certain_depth(grey: np.ndarray) -> float:
    """Return how deep a ridge is that is a rule for certain, in grey levels: more in a picture with grain."""
    rows = grey[:: max(1, len(grey) // 32)]
    difference = np.abs(rows[:, 2:] - 2 * rows[:, 1:-1] + rows[:, :-2])
    grain = float(1.4826 * np.median(difference) / 6**0.5) if difference.size else 0.0  # of second differences
    return max(FAINTEST, GRAINS * grain)


def find_rules(grey: np.ndarray, certain: float) -> tuple[np.ndarray, list[Rule]]:
    """Find the horizontal rules of a picture.

    Args:
        grey: (h, w) float32, 0 to 255, with rules darker than paper.
        certain: from :func:`certain_depth`.

    Returns:
        (h, w) float32, how certain a rule is near each pixel, 0 to 1; and the rules that stand out, the longest first.
    """
    depth = _ridges(grey, certain)
    near = _near(depth)
    if depth.shape[1] < LEAST * STRIP:
        return near, []
    chains = [Rule(STRIP * (np.array(c.strips) + 0.5), np.array(c.across)) for c in _chains(*_strips(depth))]
    lengths = [_standing(rule, near) for rule in chains]
    order = [i for i in np.argsort(lengths)[::-1][: 2 * RULES] if lengths[i] > 0]
    rules = _continued([chains[i] for i in order], depth.shape[1])
    return near, sorted(rules, key=lambda rule: rule.along[0] - rule.along[-1])[:RULES]


def _standing(rule: Rule, near: np.ndarray) -> float:
    """Return the length of a rule; 0 if it is not certain."""
    along = np.arange(rule.along[0], rule.along[-1], 4.0)
    certain = float(sampled(near, np.stack([along, np.interp(along, *rule)], axis=-1)).mean())
    return float(np.ptp(rule.along)) if certain >= CERTAIN else 0.0


def _strips(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean ridge of each strip along the best slope, and that slope: (h, n) float32 each."""
    h, w = depth.shape
    n = w // STRIP
    reach = int(max(SLOPES) * STRIP / 2 + 0.5)
    columns = np.zeros((STRIP, h + 2 * reach, n), np.float32)
    columns[:, reach : reach + h] = depth[:, : n * STRIP].reshape(h, n, STRIP).transpose(2, 0, 1)
    best, slope = np.zeros((2, h, n), np.float32)
    for one in SLOPES:
        total = np.zeros((h, n), np.float32)
        for c, column in enumerate(columns):
            shift = reach + round(one * (c - (STRIP - 1) / 2))
            total += column[shift : shift + h]
        slope[total > best] = one
        np.maximum(best, total, out=best)
    return best / STRIP, slope


class _Chain:
    """Peaks of neighboring strips."""

    def __init__(self, strip: int, across: float, slope: float) -> None:
        self.strips, self.across, self.slope = [strip], [across], slope

    def expected(self, strip: int) -> float:
        return self.across[-1] + self.slope * STRIP * (strip - self.strips[-1])

    def add(self, strip: int, across: float) -> None:
        self.strips.append(strip)
        self.across.append(across)
        first = max(0, len(self.strips) - 5)
        self.slope = (across - self.across[first]) / (STRIP * (strip - self.strips[first]))


def _chains(score: np.ndarray, slope: np.ndarray) -> list[_Chain]:
    """Join the peaks of neighboring strips."""
    peak = score >= PEAK
    for d in (1, 2):
        peak[d:] &= score[d:] >= score[:-d]
        peak[:-d] &= score[:-d] > score[d:]
    done: list[_Chain] = []
    active: list[_Chain] = []
    for strip in range(score.shape[1]):
        rows = np.flatnonzero(peak[:, strip])
        if len(rows) > PEAKS:
            rows = np.sort(rows[np.argsort(-score[rows, strip], kind="stable")[:PEAKS]])
        taken = np.zeros(len(rows), bool)
        if active and len(rows):
            away = np.abs(np.array([chain.expected(strip) for chain in active])[:, None] - rows)
            nearest, rival = away.argmin(axis=1), away.argmin(axis=0)
            for i, chain in enumerate(active):
                j = int(nearest[i])
                if rival[j] == i and away[i, j] <= STRAY:
                    chain.add(strip, float(rows[j]))
                    taken[j] = True
        done += [chain for chain in active if strip - chain.strips[-1] > SKIP]
        active = [chain for chain in active if strip - chain.strips[-1] <= SKIP]
        active += [_Chain(strip, float(row), float(slope[row, strip])) for row in rows[~taken]]
    return [chain for chain in done + active if len(chain.strips) >= LEAST]


def _continued(rules: list[Rule], width: int) -> list[Rule]:
    """Join rules on one course."""
    if not rules:
        return []
    start, end = (np.array([rule.along[i] for rule in rules]) for i in (0, -1))
    first, last = (np.array([rule.across[i] for rule in rules]) for i in (0, -1))
    gap = start - end[:, None]  # of each rule to each that may continue it
    length = end - start
    after = np.array([rule.at(start) for rule in rules]) - first
    before = np.array([rule.at(end) for rule in rules]).T - last[:, None]
    fits = (gap > 0) & (gap <= GAP * width) & (gap <= np.maximum(length, length[:, None]))
    fits &= np.minimum(np.abs(after), np.abs(before)) <= STRAY
    fits &= np.maximum(np.abs(after), np.abs(before)) <= STRAY + 0.1 * np.maximum(gap, 0)
    cost = np.where(fits, gap, np.inf)
    follower = {
        i: int(cost[i].argmin())
        for i in range(len(rules))
        if np.isfinite(cost[i].min()) and cost[:, cost[i].argmin()].argmin() == i
    }
    whole = []
    for i in set(range(len(rules))) - set(follower.values()):
        parts = [rules[i]]
        while i in follower:
            i = follower[i]
            parts.append(rules[i])
        whole.append(Rule(*(np.concatenate([part[k] for part in parts]) for k in (0, 1))))
    return whole


def _near(depth: np.ndarray) -> np.ndarray:
    """Return the highest mean ridge of short rows within NEAR rows of each pixel."""
    total = np.cumsum(np.pad(depth, ((0, 0), (SHORT // 2 + 1, SHORT // 2))), axis=1)
    depth = (total[:, SHORT:] - total[:, :-SHORT]) * np.float32(1 / SHORT)
    highest = depth.copy()
    for d in range(1, NEAR + 1):
        np.maximum(highest[d:], depth[:-d], out=highest[d:])
        np.maximum(highest[:-d], depth[d:], out=highest[:-d])
    return highest


def sampled(depth: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the ridges at points, (..., 2) x and y; 0 outside of the picture."""
    x, y = np.rint(points[..., 0]).astype(int), np.rint(points[..., 1]).astype(int)
    h, w = depth.shape
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    return np.asarray(np.where(inside, depth[np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)], 0))
