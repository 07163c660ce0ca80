"""Ink and paper: which pixels of a grey picture are the digit. The second step of :mod:`inkdigits.image`.

All of it is whole-array arithmetic on at most a few hundred pixels a side. Swapping ink and paper changes nothing but
the polarity: every step treats a picture and its negative alike.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

__all__ = ["Ink", "find_ink"]

FULL_SCALE = 255.0  # grey levels from black to white
MIN_CONTRAST = 15.0  # grey levels; less is a blank sheet
RING = 0.03  # of the shorter side: the border that shows the paper
UNEVEN = 10.0  # grey levels between the border's darker and lighter part (quantiles below) that one paper may have
UNEVEN_QUANTILES = (0.1, 0.9)
WINDOW = 0.3  # of the longer side: wider than any stroke, narrower than what light and shadow do
SURFACE_SAMPLES = 64  # a side, that a surface of paper is fitted to
MOST_INK_ON_BORDER = 0.35  # of the border may be ink that touches it
AS_DEEP = 0.6  # of the deepest ink is what touches the border, if it is ink

GRAINY = 2.5  # grey levels, standard deviation of the paper's grain from which the picture is smoothed first
GRAIN_SIDE = 24  # pixels of the shorter side; in smaller pictures the digit's own edges would be taken for grain
GRAIN_ROWS = 32  # rows that the grain is judged by
SMOOTH = 64  # pixels of the longer side for each pixel that the smoothing reaches
NOISE_FACTOR = 4.5  # ink differs from the paper by more than this many standard deviations of its grain
GRAIN_CUT = 2.0  # standard deviations of the paper's grain; fainter ink is paper

INK_QUANTILE = 0.1  # of the inked pixels are darker than what counts as full ink, so that no hot pixel sets it
FULL_SHARE = 0.004  # of the picture's pixels, at most, are darker than that: stains and rules outnumber thin strokes
SOLID = 0.45  # of full ink, from which a pixel is surely ink
SOFT = 0.2  # of full ink, from which a pixel beside sure ink is ink
SOLID_MOST, SOFT_MOST = 0.7, 0.5  # of full ink: no grain asks for more
REACH = 3  # pixels that soft ink may lie from sure ink
RULE_SIDE = 48  # pixels; in smaller pictures no ruled lines are looked for
RULE_LEVEL = 0.25  # of full ink, from which a pixel may be of a ruled line
RULE_SHARE = 0.8  # of the picture's width that a ruled line covers
RULE_WIDTH = 0.05  # of the picture's height; thicker is no ruled line
RULE_SLOPES = (0.0, -0.01, 0.01, -0.02, 0.02, -0.03, 0.03, -0.04, 0.04, -0.05, 0.05)  # of ruled lines, rise a pixel
MOST_LEFT_ON_EDGE = 0.2  # of the ink on the outermost pixels may be left when the rules are gone
PIECE_SHARE = 0.03  # of the largest piece; smaller pieces are specks
MAIN_SHARE = 0.5  # of the largest piece; smaller pieces may be what a rule left over

SMALL = 28 * 28  # pixels of a picture; in a larger one a single pixel is a speck

ISOLATED = 4  # pixels: full ink is never judged by fewer
_MAD = 1.4826  # median absolute deviation → standard deviation, for normal noise

Polarity = Literal["dark-on-light", "light-on-dark"]


class Ink(NamedTuple):
    """What was found.

    Attributes:
        cover: (y1 - y0, x1 - x0) float32, the ink within its bounds, 0 paper to 1 full ink.
        bounds: x0, y0, x1, y1 of the ink in pixels of the picture; x1 and y1 exclusive.
        polarity: whether the ink is darker or lighter than the paper.
    """

    cover: np.ndarray
    bounds: tuple[int, int, int, int]
    polarity: Polarity


def find_ink(grey: np.ndarray) -> Ink | None:
    """Separate ink from paper.

    Args:
        grey: (h, w) float32, 0 to 255.

    Returns:
        The ink, or None for a blank sheet.
    """
    grey, grain = _smooth(grey)
    floor = max(MIN_CONTRAST, NOISE_FACTOR * grain)
    signed = _above_paper(grey, grain, floor)
    marks = signed[np.abs(signed) >= floor]
    polarity: Polarity = "light-on-dark" if marks.sum() > 0 else "dark-on-light"
    depth, marks = (signed, marks) if polarity == "light-on-dark" else (-signed, -marks)
    rank = max(ISOLATED, int(min(INK_QUANTILE * len(marks), FULL_SHARE * grey.size)))
    if len(marks) < rank:
        return None
    full = float(np.partition(marks, -rank)[-rank])
    if full < floor:  # what is there lies on the other side of the paper's level
        return None
    # Faint marks count beside dark ones only: a line ruled in pale blue, a stain or the other side's print do not.
    strong = depth > max(SOLID * full, min(floor, SOLID_MOST * full))
    solid = pieces(_without_rules(strong, depth > RULE_LEVEL * full))
    if solid is None:
        return None
    x0, y0, x1, y1 = _bounds(solid)
    left, top = max(x0 - REACH - 1, 0), max(y0 - REACH - 1, 0)
    around = slice(top, y1 + REACH + 1), slice(left, x1 + REACH + 1)
    solid, depth = solid[around], depth[around]
    keep = grown(solid, REACH) & (depth > max(SOFT * full, min(floor, SOFT_MOST * full)))
    cover = np.clip(depth * np.float32(1 / full), 0, 1)
    if grain > 0:
        cover[cover < GRAIN_CUT * grain / full] = 0
    cover *= grown(keep, 1)
    x0, y0, x1, y1 = _bounds(keep)
    return Ink(cover[y0:y1, x0:x1], (left + x0, top + y0, left + x1, top + y1), polarity)


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of what is set, x1 and y1 exclusive."""
    rows, columns = (np.logical_or.reduce(mask, axis=axis).nonzero()[0] for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def ring_of(values: np.ndarray) -> np.ndarray:
    """The pixels of the border, flat."""
    b = max(1, int(RING * min(values.shape) + 0.5))
    return np.concatenate(
        [values[:b].ravel(), values[-b:].ravel(), values[b:-b, :b].ravel(), values[b:-b, -b:].ravel()]
    )


def _smooth(grey: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture without its grain, and the standard deviation of the grain that is left."""
    grain = _grain(grey)
    reach = max(grey.shape) // SMOOTH
    if grain <= GRAINY or not reach:
        return grey, grain
    area = 1
    for axis in (0, 1):
        n = grey.shape[axis]
        near = min(reach, (n - 1) // 2)  # across a strip, no farther than it is wide
        padded = np.pad(grey, [(near, near) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        total = np.cumsum(padded, axis=axis, dtype=np.float64)
        total = np.concatenate([np.zeros_like(total.take([0], axis)), total], axis=axis)
        side = 2 * near + 1
        grey = ((total.take(range(side, side + n), axis) - total.take(range(n), axis)) / side).astype(np.float32)
        area *= side
    # Of independent grain a mean of k pixels leaves 1/√k; real grain hangs together somewhat.
    return grey, max(_grain(grey), grain / area**0.5)


def _grain(grey: np.ndarray) -> float:
    """Standard deviation of the grain, from neighbours' differences, which even slopes of light hardly touch."""
    if min(grey.shape) < GRAIN_SIDE:
        return 0.0
    rows = grey[:: max(1, grey.shape[0] // GRAIN_ROWS)]
    difference = np.abs(rows[:, 2:] - 2 * rows[:, 1:-1] + rows[:, :-2]).ravel()
    return float(_MAD * np.partition(difference, difference.size // 2)[difference.size // 2] / 6**0.5)


def _above_paper(grey: np.ndarray, grain: float, floor: float) -> np.ndarray:
    """How far each pixel lies above the level of its paper, by the simplest paper that explains the border.

    One level, if the border is of one level but for ink that touches it; else a smooth surface; else the paper around
    each pixel, for shadows and folds.
    """
    tolerance = UNEVEN + 3 * grain
    ring = np.sort(ring_of(grey))
    flat: np.ndarray = grey - ring[len(ring) // 2]
    if _spread(ring) <= tolerance or _is_ink(flat, floor, tolerance):
        return flat
    surface = _surface(grey)
    above = grey - surface
    if _spread(np.sort(ring_of(above))) > tolerance and not _is_ink(above, floor, tolerance):
        light = _mostly_light_on_dark(grey)
        surface = _surroundings(grey, light)
        above = grey - surface
        above -= np.median(above)  # the closing of grain rides on its peaks
        above = np.maximum(above, 0) if light else np.minimum(above, 0)
    # In half the light the ink stands out half as much: level that by the contrast that each place has to give.
    room = np.where(above < 0, surface, FULL_SCALE - surface)
    levelled: np.ndarray = (above * np.clip(np.median(room) / np.maximum(room, 1), 0.5, 4)).astype(np.float32)
    return levelled


def _spread(ring: np.ndarray) -> float:
    """Between the darker and the lighter part of sorted levels."""
    return float(ring[int(UNEVEN_QUANTILES[1] * (len(ring) - 1))] - ring[int(UNEVEN_QUANTILES[0] * (len(ring) - 1))])


def _is_ink(signed: np.ndarray, floor: float, tolerance: float) -> bool:
    """Whether what deviates on the border is ink that touches it: little, on one side, as deep as the ink inside."""
    ring = ring_of(signed)
    darker, lighter = (ring < -tolerance).mean(), (ring > tolerance).mean()
    if darker + lighter > MOST_INK_ON_BORDER or min(darker, lighter) > 0.1 * max(darker, lighter):
        return False
    ring = np.abs(ring)
    deviant = ring > tolerance
    if not deviant.any():
        return True  # all of the border is near enough to one level
    marks = np.abs(signed)
    marks = np.sort(marks[marks >= floor])
    return len(marks) > 0 and float(np.median(ring[deviant])) > AS_DEEP * marks[int(0.985 * (len(marks) - 1))]


def _surface(grey: np.ndarray) -> np.ndarray:
    """The paper under light from one side: a quadratic surface through the pixels that are paper.

    Iteratively reweighted least squares with Tukey's biweight (A. Beaton and J. Tukey, 1974, doi:10.2307/1267936),
    first on the border, which is mostly paper, then on the whole picture, where ink is the outlier.
    """
    h, w = grey.shape
    stride = max(1, max(h, w) // SURFACE_SAMPLES)
    y, x = np.arange(h) * (2 / h) - 1, np.arange(w) * (2 / w) - 1
    sample = grey[::stride, ::stride].astype(np.float64)
    sy, sx = np.meshgrid(y[::stride], x[::stride], indexing="ij")
    design = np.stack([np.ones_like(sx), sx, sy, sx * sy, sx * sx, sy * sy], axis=-1).reshape(-1, 6)
    edge = np.ones(sample.shape, bool)
    edge[2:-2, 2:-2] = False
    values, chosen = sample.ravel(), edge.ravel()
    c = np.zeros(6)
    c[0] = np.median(values[chosen])
    scale = 0.4 * FULL_SCALE
    for step in range(12):
        if step == 6:
            chosen = np.ones(values.size, bool)
        residual = values[chosen] - design[chosen] @ c
        if step:
            scale = max(4 * _MAD * float(np.median(np.abs(residual))), 0.01 * FULL_SCALE)
        weight = np.clip(1 - (residual / scale) ** 2, 0, None) ** 2
        weighted = design[chosen] * weight[:, None]
        c = np.linalg.solve(weighted.T @ design[chosen] + 1e-6 * np.eye(6), weighted.T @ values[chosen])
    rows, columns = c[0] + c[2] * y + c[5] * y * y, c[1] * x + c[4] * x * x
    surface: np.ndarray = rows[:, None] + columns[None] + c[3] * y[:, None] * x[None]
    return surface


def _surroundings(grey: np.ndarray, light_ink: bool) -> np.ndarray:
    """The paper around each pixel: beside dark ink the morphological closing of the picture, beside light its opening.

    That is what is left when everything narrower than a window is filled up; shadows and folds are wider than strokes.
    J. Serra, Image Analysis and Mathematical Morphology, 1982.
    """
    window = max(3, int(WINDOW * max(grey.shape)))
    if light_ink:
        return _running(_running(grey, window, np.minimum), window, np.maximum)
    return _running(_running(grey, window, np.maximum), window, np.minimum)


def _mostly_light_on_dark(grey: np.ndarray) -> bool:
    """Whether more lies above all levels of the border than below them: those are the paper's, in light and shadow."""
    ring = np.sort(ring_of(grey))
    darkest, lightest = (ring[int(q * (len(ring) - 1))] for q in UNEVEN_QUANTILES)
    above, below = np.maximum(grey - lightest, 0), np.maximum(darkest - grey, 0)
    return float((above * above).sum()) > float((below * below).sum())


def _running(grey: np.ndarray, window: int, extreme: np.ufunc) -> np.ndarray:
    """Running maximum or minimum over a square window, mirrored at the border; log₂(window) steps an axis."""
    for axis in (0, 1):
        n = grey.shape[axis]
        across = min(window, 2 * n - 1)  # from any pixel of the axis that reaches all of them; a wider one sees no more
        before = across // 2
        pad = [(before, across - 1 - before) if a == axis else (0, 0) for a in (0, 1)]
        line = np.pad(grey, pad, mode="reflect" if n > across else "edge")
        line = np.moveaxis(line, axis, 0)
        span = 1
        while span < across:
            shift = min(span, across - span)
            line = extreme(line[:-shift], line[shift:])
            span += shift
        grey = np.moveaxis(line, 0, axis)
    return grey


def _without_rules(mask: np.ndarray, faint: np.ndarray) -> np.ndarray:
    """The mask without ruled lines and table borders, thin lines from border to border, where a digit is left then.

    What is left must hardly touch the border, and its main piece not at all: in a picture cut close around a digit,
    its own bars go from border to border.

    Args:
        mask: the ink.
        faint: the ink and what is too faint to be of a digit beside it, as lines often are.
    """
    if min(mask.shape) < RULE_SIDE or not ring_of(faint).any():
        return mask
    rest = pieces(_without_rules_across(_without_rules_across(mask, faint).T, faint.T).T)
    if rest is None or _on_edge(rest) > MOST_LEFT_ON_EDGE * _on_edge(mask):
        return mask
    main = pieces(rest, MAIN_SHARE)
    return mask if main is not None and _on_edge(main) else rest


def _on_edge(mask: np.ndarray) -> int:
    """How many of the outermost pixels are set; a corner counts twice."""
    return int(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum())


def _without_rules_across(mask: np.ndarray, faint: np.ndarray) -> np.ndarray:
    """Without the lines that go from left to right, sloping by a few degrees at most."""
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
            # A stroke that crosses the line goes on above and below it, and stays.
            crossing = level[max(top - 2, 0)] & level[min(bottom + 1, h - 1)]
            lines = slice(max(top - 1, 0), min(bottom + 1, h))
            wiped = level[lines] & ~crossing
            rows, columns = wiped.nonzero()
            rest[y[lines][rows, columns], columns] = False
            level[lines] &= ~wiped
    return rest


def pieces(mask: np.ndarray, share: float = PIECE_SHARE) -> np.ndarray | None:
    """The mask without specks: 8-connected pieces of at least a share of the largest; None when nothing is left."""
    starts, ends, area = runs(mask)
    if not len(starts):
        return None
    good = area >= max(share * area.max(), 2 if mask.size > SMALL else 1)
    if good.all():
        return mask
    if not good.any():
        return None
    return drawn(starts[good], ends[good], mask.shape)


def drawn(starts: np.ndarray, ends: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mask that has these runs, as :func:`runs` gives them."""
    h, stride = shape[0], shape[1] + 2
    steps = np.zeros(h * stride, np.int8)
    steps[starts + 1] = 1
    steps[ends + 1] = -1
    return np.cumsum(steps, dtype=np.int8).reshape(h, stride)[:, 1:-1].astype(bool)


def runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The runs of set pixels in the rows of a mask, and the pixels of the 8-connected piece that each belongs to.

    Two runs of neighbouring rows that touch are joined, and every run takes the smallest label among its neighbours
    until nothing changes. Labels are followed to their roots after each round, which keeps the rounds to a few, however
    the ink winds.

    Returns:
        Where the runs start and where they end, (R,) int in the flat mask with a column more at either side; and (R,)
        float areas.
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


def grown(mask: np.ndarray, reach: int) -> np.ndarray:
    """The mask, or each of (N, h, w) masks, and all within ``reach`` pixels of it, by rows and columns."""
    for _ in range(reach):
        wide = mask.copy()
        wide[..., 1:, :] |= mask[..., :-1, :]
        wide[..., :-1, :] |= mask[..., 1:, :]
        mask = wide.copy()
        mask[..., 1:] |= wide[..., :-1]
        mask[..., :-1] |= wide[..., 1:]
    return mask
