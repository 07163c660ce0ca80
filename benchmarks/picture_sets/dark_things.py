"""Put a dark thing into a photograph, at an edge or in a corner, clear of the digit.

Book, table, finger and the shadow of a hand: what lies on a desk next to what is photographed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from inkdigits.prediction import Box
from inkdigits.synthesis.corruptions.sheet import field, grid, rounded

__all__ = ["THINGS", "add"]

CLEAR = 0.04  # of the picture's longer side: what stays free around the digit
COVERED = (0.03, 0.4)  # of the picture
SEEN = 0.02  # of the thing's darkness: what of it may fall into that room
TRIES = 60

# A thing: how much it covers of each pixel, 0 to 1, and its colors; or None where a try gave none.
_Thing = tuple[np.ndarray, np.ndarray]


def add(picture: np.ndarray, box: Box, thing: str, rng: np.random.Generator) -> np.ndarray | None:
    """Add one of :data:`THINGS` to a picture, (H, W, 3) uint8; None where there is no room for it."""
    height, width = picture.shape[:2]
    free = CLEAR * max(height, width)
    top, left = max(0, int(box.top - free)), max(0, int(box.left - free))
    around = slice(top, int(box.bottom + free) + 1), slice(left, int(box.right + free) + 1)
    for _ in range(TRIES):
        turns = int(rng.integers(4))  # things come from the left; the picture is turned for other edges
        turned = np.rot90(picture, turns)
        cover, colors = THINGS[thing](turned, rng)
        cover, colors = (np.rot90(part, -turns) for part in (cover, colors))
        if COVERED[0] <= (cover > 0.5 * cover.max()).mean() <= COVERED[1] and cover[around].max() <= SEEN:
            return rounded(picture * (1 - cover[..., None]) + colors * cover[..., None])
    return None


def _book(picture: np.ndarray, rng: np.random.Generator) -> _Thing:
    """Draw the edge of a book: a dark cover, and sometimes the lines of its pages."""
    y, x = grid(picture)
    height, width = picture.shape[:2]
    inside = rng.uniform(0.04, 0.35) * width - x + (y - height / 2) * np.tan(np.deg2rad(rng.uniform(-8, 8)))
    tone = _tone(rng, 15, 80)
    shade = 1 + 0.12 * field(picture, min(height, width) / 3, rng)
    if rng.random() < 0.5:
        pages = rng.uniform(0.25, 0.6) * inside.max()
        lines = np.where((inside > 0.15 * pages) & (inside < pages), rng.uniform(1.2, 2.2), 1)
        shade = shade * lines * (1 + 0.2 * np.sin(inside * rng.uniform(0.8, 2)))
    return _cover(picture, inside, rng), shade[..., None] * tone


def _table(picture: np.ndarray, rng: np.random.Generator) -> _Thing:
    """Draw a corner of the table under the sheet, of plain or grained wood."""
    y, x = grid(picture)
    height, width = picture.shape[:2]
    slope = np.exp(rng.uniform(-0.9, 0.9)) * height / width
    inside = rng.uniform(0.15, 0.9) * width - x - y / slope
    angle = rng.uniform(0, np.pi)
    grain = np.sin((x * np.cos(angle) + y * np.sin(angle)) / rng.uniform(1, 4) + 3 * field(picture, width / 6, rng))
    tone = _tone(rng, 20, 90) * [1.15, 0.95, 0.75]
    return _cover(picture, inside, rng), (1 + rng.uniform(0, 0.25) * grain)[..., None] * tone


def _finger(picture: np.ndarray, rng: np.random.Generator) -> _Thing:
    """Draw the tip of a finger that holds the sheet, dim as seen against the light."""
    y, x = grid(picture)
    height, width = picture.shape[:2]
    radius = rng.uniform(0.07, 0.16) * min(height, width)
    at, length, angle = rng.uniform(0, 1) * height, rng.uniform(0.05, 0.4) * width, rng.uniform(-0.6, 0.6)
    inside = radius - _to_line(x, y, (-radius, at - length * np.sin(angle)), (length - radius, at))
    tone = rng.uniform(0.25, 0.75) * np.array(SKINS[rng.integers(len(SKINS))])
    shade = 0.55 + 0.45 * np.clip(inside / radius, 0, 1) ** 0.5  # round
    return _cover(picture, inside, rng), shade[..., None] * tone


def _shadow(picture: np.ndarray, rng: np.random.Generator) -> _Thing:
    """Draw the soft shadow of a hand that reaches in, fingers and palm."""
    y, x = grid(picture)
    height, width = picture.shape[:2]
    side = min(height, width)
    at, spread = rng.uniform(-0.1, 1.1) * height, rng.uniform(0.09, 0.16) * side
    reach = rng.uniform(0.1, 0.45) * width
    inside = np.full((height, width), -1e9, np.float32)
    for finger in range(-2, 3):
        start = (-0.2 * width, at + 0.6 * finger * spread)
        tip = (reach * rng.uniform(0.7, 1), at + finger * spread * rng.uniform(0.9, 1.3))
        np.maximum(inside, 0.5 * spread - _to_line(x, y, start, tip), out=inside)
    np.maximum(inside, 1.4 * spread - np.hypot(x + 0.3 * spread, y - at), out=inside)
    soft = rng.uniform(0.005, 0.02) * side
    cover = ndimage.gaussian_filter((inside > 0).astype(np.float32), soft) * rng.uniform(0.45, 0.75)
    return cover, np.zeros(picture.shape, np.float32)


SKINS = ((235, 190, 165), (200, 150, 120), (140, 95, 70), (95, 65, 50))

#: Every thing by name.
THINGS: dict[str, Callable[[np.ndarray, np.random.Generator], _Thing]] = {
    "book": _book,
    "table": _table,
    "finger": _finger,
    "shadow of a hand": _shadow,
}


def _tone(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    return rng.uniform(low, high) * rng.uniform(0.75, 1.25, 3)


def _cover(picture: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the cover of what is so many pixels ``inside`` an outline, which is a little out of focus."""
    soft = max(0.7, rng.uniform(0.001, 0.008) * max(picture.shape[:2]))
    return np.clip(inside / (2 * soft) + 0.5, 0, 1).astype(np.float32) + np.zeros(picture.shape[:2], np.float32)


def _to_line(x: np.ndarray, y: np.ndarray, a: tuple[float, float], b: tuple[float, float]) -> np.ndarray:
    """Return the distance of each pixel from the line between two points, in pixels."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    t = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
    return np.hypot(x - a[0] - t * dx, y - a[1] - t * dy)
