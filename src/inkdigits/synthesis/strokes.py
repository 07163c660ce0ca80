"""Place pen strokes and draw them as a canvas does, with round caps and joins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["draw", "place"]


def place(
    strokes: Sequence[np.ndarray], size: float, at: tuple[float, float], *, tilt: float = 0.0, aspect: float = 1.0
) -> list[np.ndarray]:
    """Scale, tilt and move strokes.

    Args:
        size: of the longer side of the strokes' bounds after scaling, in pixels.
        at: left and top of the result's bounds, in pixels.
        tilt: rotation in degrees, clockwise on screen.
        aspect: factor of the widths, before scaling.
    """
    angle = np.deg2rad(tilt)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = [(s * [aspect, 1.0]) @ turn for s in strokes]
    points = np.concatenate(turned)
    low, span = points.min(axis=0), np.ptp(points, axis=0).max()
    scale = size / span if span > 0 else 1.0
    return [(s - low) * scale + at for s in turned]


def draw(
    strokes: Sequence[np.ndarray],
    width: int,
    height: int,
    *,
    pen: float,
    widths: Sequence[np.ndarray] | None = None,
    paper: float | np.int64 = 255,
    ink: float | np.int64 = 0,
) -> np.ndarray:
    """Draw strokes as a canvas does: round caps and joins, anti-aliased, one tone.

    Coverage is computed from the distance to the line's middle, exact to a fraction of a grey level for a pen of at
    least a pixel.

    Args:
        strokes: each (n, 2), x and y in pixels of the picture.
        width, height: of the picture, in pixels.
        pen: width of the line, in pixels.
        widths: for each stroke (n,) factors of ``pen``, such as a pressure's; None is 1 throughout.
        paper, ink: grey levels, 0 to 255.

    Returns:
        (height, width) uint8.
    """
    cover = np.zeros((height, width), np.float32)
    for i, stroke in enumerate(strokes):
        radius = np.full(len(stroke), pen / 2) if widths is None else np.asarray(widths[i]) * (pen / 2)
        if len(stroke) == 1:
            stroke, radius = np.repeat(stroke, 2, axis=0), np.repeat(radius, 2)
        for (ax, ay), (bx, by), ra, rb in zip(stroke[:-1], stroke[1:], radius[:-1], radius[1:], strict=True):
            reach = max(ra, rb) + 1
            x0, x1 = max(int(min(ax, bx) - reach), 0), min(int(max(ax, bx) + reach) + 1, width)
            y0, y1 = max(int(min(ay, by) - reach), 0), min(int(max(ay, by) + reach) + 1, height)
            if x0 >= x1 or y0 >= y1:
                continue
            x = np.arange(x0, x1, dtype=np.float32) + np.float32(0.5 - ax)
            y = (np.arange(y0, y1, dtype=np.float32) + np.float32(0.5 - ay))[:, None]
            dx, dy = np.float32(bx - ax), np.float32(by - ay)
            t = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, np.float32(1e-9)), 0, 1)
            distance = np.sqrt((x - t * dx) ** 2 + (y - t * dy) ** 2)
            r = np.float32(ra) + t * np.float32(rb - ra)
            # A line thinner than a pixel covers at most its width.
            region = cover[y0:y1, x0:x1]
            np.maximum(region, np.clip(r + 0.5 - distance, 0, np.minimum(2 * r, 1)), out=region)
    picture: np.ndarray = np.rint(paper + cover * (ink - paper)).astype(np.uint8)
    return picture
