"""Read cells between printed rules: boxes for digits, tables, sudokus. Find them, undo perspective, find their ink.

1. rules      the lattice of rules and their crossings (:mod:`.rules`, :mod:`.lattice`)
2. sheet      each cell is mapped from its four crossings to a rectangle, so that bent pages become flat as well
3. depth      how much darker than the paper of its cell each pixel is; rules are subtracted
4. ink        components, each given to the cell that has most of it; print is ink as well
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image

from inkdigits.prediction import Box, Polarity
from inkdigits.preprocess.components import connected, dilate
from inkdigits.reading.ink import REACH, PageInk, grown
from inkdigits.reading.lattice import Lattice, find_lattices
from inkdigits.reading.layout import Block

__all__ = ["Cells", "find_cells", "is_single"]

RULES_SIDE, RULES_PIXELS = 960, 720_000  # pixels, the longer side, and all of the picture that rules are looked for in
DARK = 110  # grey levels; on darker paper, rules are lighter
SMALL_SIDE = 480  # pixels of the longer side; smaller pictures are enlarged to it
CELL = 56  # pixels of a cell's shorter side on the sheet
SHEET_PIXELS = 2_000_000  # of a sheet, at most, and of all of them, about
MARGIN = 0.2  # of the outermost cells, around them
PAPER = 0.7  # share of the pixels of a cell that its paper is fitted to, the lightest
SAMPLES = 14  # rows and columns of them
FITS = 4
INNER = 0.14  # of a cell's side, next to the rules, that its paper and ink are not measured in
BAND = 0.13  # of a cell's shorter side: a rule is no farther from where it should be
RULE = 0.35  # share of the pixels of a rule that may be paper
FULL = 0.02  # share of a cell's pixels that are darker than its full ink
FAINTEST = 0.06  # of the paper's level: fainter ink is none
GRAINS = 5.0  # standard deviations of the paper's grain: fainter ink is none
FAINT = 0.22  # of the usual full ink: fainter ink is none
SOLID = 0.45  # of full ink; a deeper pixel is ink
SOFT = 0.2  # of full ink; a deeper pixel next to solid ink is ink
TALL = 0.2  # of a cell's height: lower ink is not a digit
SPECK = 0.004  # of a cell: smaller components are no ink
WITHIN = 0.4  # of a component's pixels, at least, are not next to rules
LONG, THIN = 0.6, 0.12  # of a cell's side, how long pieces of rules are, and of that, how thick
SHARED = 0.3  # of a component's ink in a second cell, from which it is parted at the rule
ALIKE = 1.6  # times the narrowest width, or the height, that boxes for digits are wide at most
ONE = 1.25  # of its height, that a digit is wide at most
MANY = 0.75  # of the boxes in a row hold no more than a digit each, if they are boxes for digits
CROSSING = 0.3  # of the components in cells cross rules, at most
LEAST = 3  # cells
INKED = 2  # of them, at least, are not empty
RUNS_ON = 2  # sides where the rules of squared paper run on
CLOSED = 0.8  # of the cells have rules around them, if there are rules clearly
WIDE = 0.35  # of the picture's width or height, that rules which are clearly there have


class Cells(NamedTuple):
    """Cells and their ink.

    Attributes:
        page: the ink on the sheet.
        blocks: the ink of each cell that is not empty.
        places: row and column of each.
        shape: rows and columns.
        bounds: of all cells, in pixels of the picture.
        is_boxes: whether they are boxes for one digit each, in one row.
    """

    page: PageInk
    blocks: list[Block]
    places: list[tuple[int, int]]
    shape: tuple[int, int]
    bounds: Box
    is_boxes: bool


def is_single(block: Block) -> bool:
    """Return whether ink is no wider than one digit."""
    left, top, right, bottom = block.box
    return right - left <= ONE * (bottom - top)


def find_cells(page: np.ndarray, step: float, *, clear: bool = False) -> list[Cells]:
    """Find the cells of a picture: those of each lattice of rules, the largest first.

    Args:
        page, step: from :func:`inkdigits.reading.ink.page_grey`.
        clear: only those that are clearly there: closed, large, not of squared paper, with ink that stays within rules.
    """
    polarity: Polarity = "dark-on-light"
    lattices = _lattices(page)
    if not lattices and np.median(page) < DARK:
        page, polarity = 255 - page, "light-on-dark"
        lattices = _lattices(page)
    found: list[Cells] = []
    pixels = 0
    for lattice in lattices:
        if clear and not _is_clear(lattice, page):
            continue
        cells, crossing = _cells(page, step, lattice, polarity)
        if not clear or (crossing <= CROSSING and len(cells.blocks) >= INKED):
            found.append(cells)
        pixels += cells.page.cover.size
        if pixels > SHEET_PIXELS:
            break
    return found


def _is_clear(lattice: Lattice, page: np.ndarray) -> bool:
    """Return whether rules are clearly there, and are not those of squared paper."""
    extent = np.ptp(lattice.points.reshape(-1, 2), axis=0) / page.shape[::-1]
    is_large = bool(extent.max() >= WIDE) and len(lattice.rows) * len(lattice.columns) >= LEAST
    return is_large and lattice.closed >= CLOSED and lattice.runs_on < RUNS_ON


def _lattices(page: np.ndarray) -> list[Lattice]:
    h, w = page.shape
    scale = min(RULES_SIDE / max(h, w), (RULES_PIXELS / (h * w)) ** 0.5)
    scale = min(scale, 1.0) if max(h, w) >= SMALL_SIDE else SMALL_SIDE / max(h, w)
    grey, zoom = page, np.ones(2)
    if scale != 1:
        size = max(1, round(w * scale)), max(1, round(h * scale))
        how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
        grey = np.asarray(Image.fromarray(page).resize(size, how))
        zoom = np.array([w / size[0], h / size[1]])
    return [lattice._replace(points=(lattice.points + 0.5) * zoom) for lattice in find_lattices(grey)]


class _Sheet(NamedTuple):
    """A flat picture of cells.

    Attributes:
        grey: (h, w) float32.
        points: (m + 1, n + 1, 2) where its crossings, with one more on each side for the margin, are on the page.
        xs, ys: where they are on the sheet.
    """

    grey: np.ndarray
    points: np.ndarray
    xs: np.ndarray
    ys: np.ndarray

    def place(self, step: float, box: Sequence[float]) -> Box:
        """Return the bounds, in pixels of the picture, of a box on the sheet."""
        corners = np.array([(x, y) for x in box[::2] for y in box[1::2]])
        column = np.interp(corners[:, 0], self.xs, np.arange(len(self.xs)))
        row = np.interp(corners[:, 1], self.ys, np.arange(len(self.ys)))
        i = np.minimum(row.astype(int), len(self.ys) - 2)
        j = np.minimum(column.astype(int), len(self.xs) - 2)
        v, u = (row - i)[:, None], (column - j)[:, None]
        p = self.points
        above = (1 - u) * p[i, j] + u * p[i, j + 1]
        below = (1 - u) * p[i + 1, j] + u * p[i + 1, j + 1]
        at = ((1 - v) * above + v * below) * step
        x0, y0, x1, y1 = (round(float(value), 2) for value in (*at.min(axis=0), *at.max(axis=0)))
        return Box(max(x0, 0.0), max(y0, 0.0), x1, y1)


def _flat(page: np.ndarray, lattice: Lattice) -> _Sheet:
    """Map each cell to a rectangle."""
    points = lattice.points
    sides = [np.median(np.hypot(*np.moveaxis(np.diff(points, axis=a), -1, 0)), axis=1 - a) for a in (0, 1)]
    heights, widths = (np.maximum(side, 2.0) for side in sides)
    scale = CELL / min(float(np.median(heights[lattice.rows])), float(np.median(widths[lattice.columns])))
    scale = min(scale, (SHEET_PIXELS / ((heights.sum() + 2) * (widths.sum() + 2))) ** 0.5)
    for axis in (0, 1):
        first, last = (points.take(i, axis) for i in ([0], [-1]))
        before, after = (points.take(i, axis) for i in ([1], [-2]))
        outer = first + MARGIN * (first - before), points, last + MARGIN * (last - after)
        points = np.concatenate(outer, axis=axis)
    ys, xs = (
        np.rint(scale * np.cumsum([0, MARGIN * side[0], *side, MARGIN * side[-1]])).astype(int)
        for side in (heights, widths)
    )
    source = Image.fromarray(page)
    shrink = int(1 / scale)
    if shrink > 1:
        source, points = source.reduce(shrink), points / shrink
    mesh = [
        (
            (int(xs[j]), int(ys[i]), int(xs[j + 1]), int(ys[i + 1])),
            tuple(
                float(v) for p in (points[i, j], points[i + 1, j], points[i + 1, j + 1], points[i, j + 1]) for v in p
            ),
        )
        for i in range(len(ys) - 1)
        for j in range(len(xs) - 1)
        if xs[j + 1] > xs[j] and ys[i + 1] > ys[i]
    ]
    flat = source.transform((int(xs[-1]), int(ys[-1])), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
    return _Sheet(np.asarray(flat, np.float32), points * max(shrink, 1), xs, ys)


def _cells(page: np.ndarray, step: float, lattice: Lattice, polarity: Polarity) -> tuple[Cells, float]:
    """Find the ink of the cells of a lattice; return them, and the share of components that cross rules far."""
    sheet = _flat(page, lattice)
    rows, columns = lattice.rows + 1, lattice.columns + 1  # the margin is the first and the last
    depth, full = _depth(sheet, rows, columns)
    cover = np.clip(depth / _spread(full, sheet), 0, 1)
    cover[cover < SOFT] = 0
    solid = cover > SOLID
    found, of, boxes, area, crossing = _components(solid, sheet, rows, columns)
    labels = grown(found, dilate(solid, REACH) & (cover > 0))
    cover = np.where(labels > 0, cover, 0)
    ink = PageInk(cover, labels, boxes, area, step, polarity, partial(sheet.place, step))
    blocks, places = [], []
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            parts = np.flatnonzero(of == row * (len(sheet.xs) - 1) + column)
            if not len(parts):
                continue
            box = *boxes[parts, :2].min(axis=0), *boxes[parts, 2:].max(axis=0)
            left, top, right, bottom = map(int, box)
            if bottom - top >= TALL * (sheet.ys[row + 1] - sheet.ys[row]):
                blocks.append(Block(parts, (left, top, right, bottom), i))
                places.append((i, j))
    shape = len(rows), len(columns)
    width, height = np.diff(sheet.xs)[columns], np.diff(sheet.ys)[rows]
    is_alike = bool(width.max() <= ALIKE * min(width.min(), height.min()))
    is_boxes = shape[0] == 1 and shape[1] > 1 and is_alike and sum(map(is_single, blocks)) >= MANY * len(blocks)
    edges = sheet.xs[columns[0]], sheet.ys[rows[0]], sheet.xs[columns[-1] + 1], sheet.ys[rows[-1] + 1]
    return Cells(ink, blocks, places, shape, sheet.place(step, edges), is_boxes), crossing


def _spread(values: np.ndarray, sheet: _Sheet) -> np.ndarray:
    """Draw a value for each cell, and for those of the margin, at its pixels."""
    return np.repeat(np.repeat(values, np.diff(sheet.ys), axis=0), np.diff(sheet.xs), axis=1)


def _inner(values: np.ndarray, sheet: _Sheet, i: int, j: int) -> np.ndarray:
    """Return the pixels of a cell that are not next to its rules, flat."""
    y0, y1, x0, x1 = sheet.ys[i], sheet.ys[i + 1], sheet.xs[j], sheet.xs[j + 1]
    dy, dx = int(INNER * (y1 - y0)), int(INNER * (x1 - x0))
    return values[y0 + dy : y1 - dy, x0 + dx : x1 - dx].ravel()


def _depth(sheet: _Sheet, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how much darker than its paper each pixel is, a share of it, without rules; and the full ink of each cell.

    Returns:
        (h, w) float32; and (m, n) float32, infinite in cells without ink.
    """
    shape = len(sheet.ys) - 1, len(sheet.xs) - 1
    grain = np.zeros(shape, np.float32)
    depth = np.zeros_like(sheet.grey)
    for i in range(shape[0]):
        for j in range(shape[1]):
            cell = sheet.grey[sheet.ys[i] : sheet.ys[i + 1], sheet.xs[j] : sheet.xs[j + 1]]
            if min(cell.shape) > 2:
                paper, of_paper = _paper(cell)
                grain[i, j] = of_paper / max(float(paper.mean()), 1.0)
                depth[sheet.ys[i] : sheet.ys[i + 1], sheet.xs[j] : sheet.xs[j + 1]] = 1 - cell / np.maximum(paper, 1)
    band = int(BAND * min(np.median(np.diff(sheet.ys)[rows]), np.median(np.diff(sheet.xs)[columns])))
    _subtract_rules(depth, sheet.ys, sheet.xs, band)
    _subtract_rules(depth.T, sheet.xs, sheet.ys, band)
    full = np.full(shape, np.inf, np.float32)
    for i in rows:
        for j in columns:
            pixels = _inner(depth, sheet, i, j)
            n = int(FULL * len(pixels)) + 1
            if len(pixels):
                darkest = float(np.partition(pixels, -n)[-n:].mean())
                if darkest > max(FAINTEST, GRAINS * grain[i, j]):
                    full[i, j] = darkest
    if np.isfinite(full).any():
        full[full < FAINT * np.median(full[np.isfinite(full)])] = np.inf
    return depth, full


def _paper(cell: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the paper of a cell, a plane of grey levels that fits its lighter pixels, and its grain."""
    h, w = cell.shape
    y, x = np.linspace(-1, 1, h, dtype=np.float32), np.linspace(-1, 1, w, dtype=np.float32)
    dy, dx = int(INNER * h), int(INNER * w)
    picked = slice(dy, h - dy, max(1, h // SAMPLES)), slice(dx, w - dx, max(1, w // SAMPLES))
    seen = cell[picked].ravel()
    at = np.stack([np.ones(seen.size), *(a[picked].ravel() for a in np.broadcast_arrays(x, y[:, None]))], axis=1)
    plane = np.array([np.partition(seen, int(PAPER * seen.size))[int(PAPER * seen.size)], 0, 0])
    for _ in range(FITS):
        over = seen - at @ plane
        light = over >= np.partition(over, int((1 - PAPER) * over.size))[int((1 - PAPER) * over.size)]
        plane = np.linalg.lstsq(at[light], seen[light], rcond=None)[0]
    over = np.sort(seen - at @ plane)
    grain = float(over[int(0.9 * len(over))] - over[int(0.6 * len(over))])
    return (plane[0] + plane[1] * x + plane[2] * y[:, None]).astype(np.float32), grain


def _subtract_rules(depth: np.ndarray, ys: np.ndarray, xs: np.ndarray, band: int) -> None:
    """Subtract horizontal rules, but keep ink that crosses them."""
    for y in ys[1:-1]:
        top = max(y - band, 0)
        for left, right in pairwise(xs):
            if right - left < 3:
                continue
            strip = depth[top : y + band + 1, left:right]
            rule = np.quantile(strip, RULE, axis=1)
            if rule.max() <= 0:
                continue
            thick = np.maximum(rule, np.maximum(np.append(rule[1:], 0), np.insert(rule[:-1], 0, 0)))
            thick = np.maximum(thick, 0)[:, None]
            dark = np.flatnonzero(rule > 0.3 * rule.max())
            first, last = max(int(dark[0]) - 2, 0), min(int(dark[-1]) + 2, len(strip) - 1)
            least = 0.7 * float(rule.max())
            crosses = (strip[first] > least) & (strip[last] > least) & (first > 0) & (last < len(strip) - 1)
            strip -= np.where(crosses, 0, thick)


def _from_edge(edges: np.ndarray) -> np.ndarray:
    """Return how far each pixel is from the nearest edge."""
    at = np.arange(edges[-1])
    i = np.searchsorted(edges, at, side="right")
    return np.asarray(np.minimum(at - edges[i - 1], edges[i] - 1 - at))


def _components(
    solid: np.ndarray, sheet: _Sheet, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Give the components of the ink to cells.

    Returns:
        labels: (h, w) int32, the component of each pixel, from 1, and 0 for paper.
        of: (n,) the cell of each, by rows.
        boxes: (n, 4) its bounds.
        area: (n,) its pixels.
        crossing: share of the components that cross rules far.
    """
    across = len(sheet.xs) - 1
    usual = float(np.median(np.diff(sheet.ys)[rows]) * np.median(np.diff(sheet.xs)[columns]))
    found = connected(solid)
    good = found.area >= max(SPECK * usual, 2)
    labels = found.labels(np.where(good, np.cumsum(good), 0))
    y, x = np.nonzero(labels)
    cell = (np.searchsorted(sheet.ys, y, side="right") - 1) * across + np.searchsorted(sheet.xs, x, side="right") - 1
    number = labels[y, x].astype(np.int64) - 1
    cells = across * (len(sheet.ys) - 1)
    pairs, which, count = np.unique(number * cells + cell, return_inverse=True, return_counts=True)
    component, place = np.divmod(pairs, cells)
    most = np.zeros(int(good.sum()), np.int64)
    np.maximum.at(most, component, count)
    total = np.bincount(component, weights=count, minlength=len(most))
    home = np.zeros(len(most), np.int64)
    is_most = count == most[component]
    home[component[is_most]] = place[is_most]
    parted = most < (1 - SHARED) * total
    target = np.where(parted[component], place, home[component])
    real = np.zeros((len(sheet.ys) - 1, across), bool)
    real[np.ix_(rows, columns)] = True
    is_kept = real.ravel()[target]
    keys, new = np.unique(np.where(is_kept, component * cells + target, -1), return_inverse=True)
    offset = int(bool(len(keys)) and keys[0] == -1)
    new = new - offset  # -1: no cell's
    final = new[which]
    n = len(keys) - offset
    boxes = np.full((n, 4), (solid.shape[1], solid.shape[0], 0, 0))
    area = np.bincount(final[final >= 0], minlength=n)
    for column, values, reduce in (
        (0, x, np.minimum),
        (1, y, np.minimum),
        (2, x + 1, np.maximum),
        (3, y + 1, np.maximum),
    ):
        reduce.at(boxes[:, column], final[final >= 0], values[final >= 0])
    of = keys[offset:] % cells
    band = BAND * usual**0.5
    edges = np.minimum(_from_edge(sheet.ys)[y], _from_edge(sheet.xs)[x]) >= band
    inner = np.bincount(final[(final >= 0) & edges], minlength=n)
    inside = (area >= SPECK * usual) & (inner >= WITHIN * area)
    i, j = np.divmod(of, across)
    size = np.stack([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]], axis=1)
    long = size >= LONG * np.stack([np.diff(sheet.xs)[j], np.diff(sheet.ys)[i]], axis=1)
    inside &= ~(long & (size[:, ::-1] <= THIN * size)).any(axis=1)  # pieces of rules
    ids = np.where(inside, np.cumsum(inside), 0)
    labels[y, x] = np.where(final >= 0, ids[np.maximum(final, 0)], 0) if n else 0
    inked = max(int(is_kept.sum()), 1)
    return labels, of[inside], boxes[inside], area[inside], float(parted[component[is_kept]].sum()) / inked
