"""Shared by the corruptions: find ink and paper in a picture, draw smooth random fields, move and tint pixels.

Ink and paper are found in a clean picture, dark on light; after strong corruptions of the light they are a guess. That
is why kinds are applied in this order: hand, pen, paper, camera, scanner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from inkdigits.synthesis.strokes import draw

__all__ = [
    "Sheet",
    "amount",
    "blur",
    "colored",
    "darken",
    "either",
    "field",
    "grid",
    "line",
    "look",
    "recovered",
    "rounded",
    "shaded",
    "transformed",
    "warp",
]

_EXTREME = 4  # pixels, the darkest, that full ink is estimated from, or
_EXTREME_SHARE = 0.001  # of all pixels if that is more, so that one bad pixel does not set it
_LEAST_CONTRAST = 8.0  # grey levels; with less there is no ink


@dataclass(frozen=True, eq=False)
class Sheet:
    """The ink and paper of a picture.

    Attributes:
        cover: (H, W) float32, how much of each pixel is ink, 0 to 1; all 0 where there is no ink.
        paper: level of the paper, float32 of shape () or (3,), 0 to 255.
        ink: likewise.
        box: left, top, right, bottom of the ink in pixels; the middle of the picture if there is no ink.
        pen: mean width of the line in pixels.
    """

    cover: np.ndarray
    paper: np.ndarray
    ink: np.ndarray
    box: tuple[int, int, int, int]
    pen: float

    @property
    def size(self) -> int:
        """The longer side of the ink, in pixels."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)

    @property
    def center(self) -> tuple[float, float]:
        """x and y of the middle of the ink's bounds, in pixels."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


def look(picture: np.ndarray) -> Sheet:
    """Find ink and paper in a picture, (H, W) or (H, W, 3) uint8, dark on light."""
    h, w = picture.shape[:2]
    light = picture if picture.ndim == 2 else np.rint(picture.mean(axis=2)).astype(np.uint8)
    counts = np.cumsum(np.bincount(light.ravel(), minlength=256))
    few = max(_EXTREME, _EXTREME_SHARE * light.size)
    darkest, lightest = np.searchsorted(counts, [few, light.size - few])
    # Of the lighter pixels only: a thick pen may cover more than half of a tight crop.
    below = counts[(darkest + lightest) // 2] if darkest < lightest else 0
    paper = int(np.searchsorted(counts, (below + light.size) / 2))
    if paper - darkest < _LEAST_CONTRAST:
        nothing = np.zeros((h, w), np.float32)
        level = np.median(picture, axis=(0, 1)).astype(np.float32)
        return Sheet(nothing, level, np.zeros_like(level), (w // 4, h // 4, w - w // 4, h - h // 4), min(h, w) / 20)
    cover = np.clip((paper - light.astype(np.float32)) / (paper - darkest), 0, 1)
    rows, columns = (cover > 0.5).any(axis=1).nonzero()[0], (cover > 0.5).any(axis=0).nonzero()[0]
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    # A line's width is its area divided by half its outline.
    edge = np.abs(np.diff(cover, axis=0)).sum() + np.abs(np.diff(cover, axis=1)).sum()
    pen = 2.0 * float(cover.sum()) / max(float(edge) * np.pi / 4, 1.0)
    solid = cover > 0.8
    return Sheet(
        cover,
        np.median(picture[cover < 0.2], axis=0).astype(np.float32),
        picture[solid].mean(axis=0),
        box,
        max(pen, 1.0),
    )


def recovered(picture: np.ndarray, sheet: Sheet, cover: np.ndarray) -> np.ndarray:
    """Return the picture with its ink changed to ``cover``; the paper's own texture stays."""
    change = cover - sheet.cover
    return rounded(
        picture
        + (change * (sheet.ink - sheet.paper) if picture.ndim == 2 else change[..., None] * (sheet.ink - sheet.paper))
    )


def amount(severity: float, rng: np.random.Generator) -> float:
    """Draw the severity for one picture: 70 to 100% of the nominal one."""
    return severity * rng.uniform(0.7, 1)


def either(value: float, rng: np.random.Generator) -> float:
    """Return the value or its negative, at random."""
    return value if rng.random() < 0.5 else -value


def rounded(values: np.ndarray) -> np.ndarray:
    """Round to uint8, clipped."""
    levels: np.ndarray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels


def colored(picture: np.ndarray) -> np.ndarray:
    """Return a picture that may be grey as (H, W, 3)."""
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def shaded(picture: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Multiply the picture by ``factor``, (H, W)."""
    return rounded(picture * (factor if picture.ndim == 2 else factor[..., None]))


def darken(picture: np.ndarray, cover: np.ndarray, color: float | tuple[float, float, float]) -> np.ndarray:
    """Print on the picture with transparent ink.

    Args:
        cover: (H, W), 0 to 1.
        color: color of the ink on white paper: a grey level, or red, green and blue, which gives a colored picture.
    """
    if not isinstance(color, tuple):
        return shaded(picture, 1 - cover * (1 - np.float32(color) / 255))
    loss = 1 - np.array(color, np.float32) / 255
    return rounded(colored(picture) * (1 - cover[..., None] * loss))


def grid(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return y (H, 1) and x (1, W) of the pixels' centers, float32, in pixels from the top left."""
    h, w = picture.shape[:2]
    return np.arange(h, dtype=np.float32)[:, None] + 0.5, np.arange(w, dtype=np.float32)[None] + 0.5


def field(picture: np.ndarray, apart: float, rng: np.random.Generator) -> np.ndarray:
    """Draw smooth noise, (H, W) float32: standard normal at knots ``apart`` pixels apart, cubic in between."""
    h, w = picture.shape[:2]
    apart = max(apart, 1.0)
    rows, columns = int(h / apart) + 4, int(w / apart) + 4
    knots = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
    x, y = rng.uniform(1, 2, 2)
    box = (x, y, x + w / apart, y + h / apart)
    return np.asarray(knots.resize((w, h), Image.Resampling.BICUBIC, box=box))


def blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a uint8 picture by a Gaussian; sigma in pixels."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma)))


def line(picture: np.ndarray, points: np.ndarray, width: float) -> np.ndarray:
    """Return the cover, (H, W) float32 from 0 to 1, of a line through the points, (n, 2) as x and y."""
    h, w = picture.shape[:2]
    return draw([points], w, h, pen=width, paper=0, ink=255).astype(np.float32) / 255


def warp(picture: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Sample each pixel ``dx``, ``dy`` pixels away, bilinear; the edge continues beyond the picture."""
    h, w = picture.shape[:2]
    y = np.clip(np.arange(h, dtype=np.float32)[:, None] + dy, 0, h - 1)
    x = np.clip(np.arange(w, dtype=np.float32)[None] + dx, 0, w - 1)
    y, x = np.broadcast_arrays(y, x)
    top, left = np.minimum(y.astype(np.int32), h - 2), np.minimum(x.astype(np.int32), w - 2)
    down, right = y - top, x - left
    flat = picture.reshape(h * w, -1).astype(np.float32)
    at = (top * w + left).ravel()
    down, right = down.reshape(-1, 1), right.reshape(-1, 1)
    upper = flat[at] + right * (flat[at + 1] - flat[at])
    lower = flat[at + w] + right * (flat[at + w + 1] - flat[at + w])
    return rounded(upper + down * (lower - upper)).reshape(picture.shape)


def transformed(
    picture: np.ndarray, sheet: Sheet, matrix: np.ndarray, rng: np.random.Generator, shift: float = 0.0
) -> np.ndarray:
    """Turn, scale, shear or tilt the picture around its ink, then move it; all ink stays within the picture.

    Args:
        matrix: (2, 2), or (3, 3) for homogeneous coordinates; maps offsets (x, y) from the center of the ink.
        shift: largest move in pixels, in each direction.
    """
    h, w = picture.shape[:2]
    left, top, right, bottom = sheet.box
    forward = np.eye(3)
    forward[: len(matrix), : len(matrix)] = matrix
    forward = forward @ _moving(-(left + right) / 2, -(top + bottom) / 2)
    corners = forward @ [[left, right, right, left], [top, top, bottom, bottom], [1, 1, 1, 1]]
    corners = corners[:2] / corners[2]
    low, high = corners.min(axis=1), corners.max(axis=1)
    # Ink that fills the picture has no room to turn: make it smaller.
    room = np.array([w, h], float) - 2
    fit = min(1.0, *(room / (high - low)))
    low, high = low * fit, high * fit
    at = np.array([left + right, top + bottom]) / 2 - (low + high) / 2 + rng.uniform(-shift, shift, 2)
    at = np.clip(at, 1 - low, room + 1 - high)
    back = np.linalg.inv(_moving(*at) @ np.diag([fit, fit, 1]) @ forward)
    fill = tuple(int(v) for v in np.rint(np.atleast_1d(sheet.paper)))
    image = Image.fromarray(picture).transform(
        (w, h),
        Image.Transform.PERSPECTIVE,
        tuple((back / back[2, 2]).ravel()[:8]),
        Image.Resampling.BICUBIC,
        fillcolor=fill if len(fill) > 1 else fill[0],
    )
    return np.asarray(image)


def _moving(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
