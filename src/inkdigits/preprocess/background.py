"""Step 2, background: subtract the paper from a picture, in any light.

All of it is array arithmetic that ports to other languages. It treats a picture and its negative alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Relief", "background", "border"]

FULL_SCALE = 255.0  # grey levels from black to white
MIN_CONTRAST = 15.0  # grey levels; a picture with less is blank
BORDER = 0.03  # of the shorter side: the border that shows the paper
UNEVEN = 10.0  # grey levels between the border's darker and lighter part (quantiles below) that one paper may have
UNEVEN_QUANTILES = (0.1, 0.9)
WINDOW = 0.3  # of the longer side: wider than any stroke, narrower than what light and shadow do
SURFACE_SAMPLES = 64  # per side, that the surface of the paper is fitted to
MOST_INK_ON_BORDER = 0.35  # of the border, at most, is ink that touches it
AS_DEEP = 0.6  # of the deepest ink; what touches the border is ink only if it is deeper than that
MAD = 1.4826  # median absolute deviation → standard deviation, for normal noise
GRAINY = 2.5  # grey levels; a picture whose grain has a larger standard deviation is smoothed first
GRAIN_SIDE = 24  # pixels of the shorter side; in smaller pictures the digit's edges would count as grain
GRAIN_ROWS = 32  # rows that the grain is estimated from
SMOOTH = 64  # pixels of the longer side per pixel of the smoothing radius
NOISE_FACTOR = 4.5  # ink differs from the paper by more than this many standard deviations of its grain


class Relief(NamedTuple):
    """A picture without its paper.

    Attributes:
        above: (h, w) float32, grey levels above the paper's; negative for ink that is darker than the paper.
        grain: standard deviation of the remaining grain.
        floor: grey levels by which ink differs from the paper, at least.
    """

    above: np.ndarray
    grain: float
    floor: float


def background(grey: np.ndarray) -> Relief:
    """Subtract the paper from a picture.

    Args:
        grey: (h, w) float32, 0 to 255.
    """
    grey, grain = _smooth(grey)
    floor = max(MIN_CONTRAST, NOISE_FACTOR * grain)
    return Relief(_above_paper(grey, grain, floor), grain, floor)


def border(values: np.ndarray) -> np.ndarray:
    """Return the pixels of the border, flat."""
    b = max(1, int(BORDER * min(values.shape) + 0.5))
    return np.concatenate(
        [values[:b].ravel(), values[-b:].ravel(), values[b:-b, :b].ravel(), values[b:-b, -b:].ravel()]
    )


def _smooth(grey: np.ndarray) -> tuple[np.ndarray, float]:
    """Smooth a grainy picture; also return the standard deviation of the grain that remains."""
    grain = _grain(grey)
    reach = max(grey.shape) // SMOOTH
    if grain <= GRAINY or not reach:
        return grey, grain
    area = 1
    for axis in (0, 1):
        n = grey.shape[axis]
        near = min(reach, (n - 1) // 2)  # at most the width of a strip
        padded = np.pad(grey, [(near, near) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        total = np.cumsum(padded, axis=axis, dtype=np.float64)
        total = np.concatenate([np.zeros_like(total.take([0], axis)), total], axis=axis)
        side = 2 * near + 1
        grey = ((total.take(range(side, side + n), axis) - total.take(range(n), axis)) / side).astype(np.float32)
        area *= side
    # A mean of k pixels reduces independent grain to 1/√k; real grain is somewhat correlated.
    return grey, max(_grain(grey), grain / area**0.5)


def _grain(grey: np.ndarray) -> float:
    """Estimate the grain's standard deviation from second differences, which uneven light hardly changes."""
    if min(grey.shape) < GRAIN_SIDE:
        return 0.0
    rows = grey[:: max(1, grey.shape[0] // GRAIN_ROWS)]
    difference = np.abs(rows[:, 2:] - 2 * rows[:, 1:-1] + rows[:, :-2]).ravel()
    return float(MAD * np.partition(difference, difference.size // 2)[difference.size // 2] / 6**0.5)


def _above_paper(grey: np.ndarray, grain: float, floor: float) -> np.ndarray:
    """Subtract the simplest paper that explains the border.

    That is one level, if the border has one level apart from ink that touches it; else a smooth surface; else the paper
    around each pixel, for shadows and folds.
    """
    tolerance = UNEVEN + 3 * grain
    ring = np.sort(border(grey))
    flat: np.ndarray = grey - ring[len(ring) // 2]
    if _spread(ring) <= tolerance or _is_ink(flat, floor, tolerance):
        return flat
    surface = _surface(grey)
    above = grey - surface
    if _spread(np.sort(border(above))) > tolerance and not _is_ink(above, floor, tolerance):
        light = _mostly_light_on_dark(grey)
        surface = _surroundings(grey, light)
        above = grey - surface
        above -= np.median(above)  # the closing of grain lies on its peaks
        above = np.maximum(above, 0) if light else np.minimum(above, 0)
    # In half the light, ink has half the contrast: scale it by the contrast that is possible at each pixel.
    room = np.where(above < 0, surface, FULL_SCALE - surface)
    leveled: np.ndarray = (above * np.clip(np.median(room) / np.maximum(room, 1), 0.5, 4)).astype(np.float32)
    return leveled


def _spread(ring: np.ndarray) -> float:
    """Return the distance between the darker and the lighter part of sorted levels."""
    return float(ring[int(UNEVEN_QUANTILES[1] * (len(ring) - 1))] - ring[int(UNEVEN_QUANTILES[0] * (len(ring) - 1))])


def _is_ink(signed: np.ndarray, floor: float, tolerance: float) -> bool:
    """Return whether deviations on the border are ink that touches it: few, of one sign, as deep as the ink inside."""
    ring = border(signed)
    darker, lighter = (ring < -tolerance).mean(), (ring > tolerance).mean()
    if darker + lighter > MOST_INK_ON_BORDER or min(darker, lighter) > 0.1 * max(darker, lighter):
        return False
    ring = np.abs(ring)
    deviant = ring > tolerance
    if not deviant.any():
        return True  # the whole border is close to one level
    marks = np.abs(signed)
    marks = np.sort(marks[marks >= floor])
    return len(marks) > 0 and float(np.median(ring[deviant])) > AS_DEEP * marks[int(0.985 * (len(marks) - 1))]


def _surface(grey: np.ndarray) -> np.ndarray:
    """Fit the paper under light from one side: a quadratic surface through the pixels of the paper.

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
            scale = max(4 * MAD * float(np.median(np.abs(residual))), 0.01 * FULL_SCALE)
        weight = np.clip(1 - (residual / scale) ** 2, 0, None) ** 2
        weighted = design[chosen] * weight[:, None]
        c = np.linalg.solve(weighted.T @ design[chosen] + 1e-6 * np.eye(6), weighted.T @ values[chosen])
    rows, columns = c[0] + c[2] * y + c[5] * y * y, c[1] * x + c[4] * x * x
    surface: np.ndarray = rows[:, None] + columns[None] + c[3] * y[:, None] * x[None]
    return surface


def _surroundings(grey: np.ndarray, light_ink: bool) -> np.ndarray:
    """Return the paper around each pixel: the closing of the picture for dark ink, its opening for light ink.

    Both remove everything narrower than the window; shadows and folds are wider than strokes.
    J. Serra, Image Analysis and Mathematical Morphology, 1982.
    """
    window = max(3, int(WINDOW * max(grey.shape)))
    if light_ink:
        return _running(_running(grey, window, np.minimum), window, np.maximum)
    return _running(_running(grey, window, np.maximum), window, np.minimum)


def _mostly_light_on_dark(grey: np.ndarray) -> bool:
    """Return whether more of the picture is lighter than the border, its paper in light and shadow, than darker."""
    ring = np.sort(border(grey))
    darkest, lightest = (ring[int(q * (len(ring) - 1))] for q in UNEVEN_QUANTILES)
    above, below = np.maximum(grey - lightest, 0), np.maximum(darkest - grey, 0)
    return float((above * above).sum()) > float((below * below).sum())


def _running(grey: np.ndarray, window: int, extreme: np.ufunc) -> np.ndarray:
    """Take the maximum or minimum over a square window, mirrored at the border, in log₂(window) steps per axis."""
    for axis in (0, 1):
        n = grey.shape[axis]
        across = min(window, 2 * n - 1)  # covers the whole axis from any pixel; a wider window adds nothing
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
