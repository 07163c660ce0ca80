"""Pen strokes instead of a picture: check them, and draw them as a canvas does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, isfinite, log10
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from inkdigits.errors import InvalidStrokes
from inkdigits.prediction import Box, Reading

__all__ = [
    "MAX_COORDINATE",
    "MAX_POINTS",
    "MAX_STROKES",
    "Drawing",
    "Strokes",
    "check_strokes",
    "draw_strokes",
    "paint",
    "weighted_median",
]

Strokes = list[Any] | tuple[Any, ...]  # of strokes, each a list or tuple of points, or an array of shape (n, 2)

MAX_STROKES = 2_000  # of a drawing
MAX_POINTS = 10_000  # of a drawing: some 150 digits
MAX_COORDINATE = 10**9  # either way
DIGIT_HEIGHT = 64  # pixels, that a digit of common height is drawn with
LEAST_HEIGHT = 0.1  # of the longest side of a stroke: a dash is as high, at least
PEN = 0.09  # of a digit's height
LEAST_PEN = 1.5  # pixels
MARGIN = 20  # pixels, of paper around the strokes
LONGEST_SIDE = 1600  # pixels of a drawing
MOST_PIXELS = 1_500_000  # of a drawing
OVERSAMPLED = 4  # times as many pixels per side are painted, for grey edges
QUOTED = 40  # characters of a value that an error message repeats
LONG_NUMBER = 10**40

_EXPECTED = "expected a list of strokes, each a list of points [x, y]"


class Drawing(NamedTuple):
    """A picture of strokes.

    Attributes:
        picture: dark on light, mode "L".
        scale: pixels of it per unit of the strokes.
        left, top: its corner, in units of the strokes.
        strokes: in pixels of it.
    """

    picture: Image.Image
    scale: float
    left: float
    top: float
    strokes: tuple[np.ndarray, ...] = ()

    def in_units(self, reading: Reading) -> Reading:
        """Return a reading of the picture with its boxes in units of the strokes."""
        decimals = 2 + max(0, ceil(log10(self.scale)))

        def moved(box: Box) -> Box:
            corner = (self.left, self.top) * 2
            return Box(*(round(v / self.scale + at, decimals) for v, at in zip(box, corner, strict=True)))

        numbers = (
            replace(n, box=moved(n.box), digits=tuple(replace(d, box=moved(d.box)) for d in n.digits))
            for n in reading.numbers
        )
        return replace(reading, numbers=tuple(numbers))


def check_strokes(strokes: Any, at: str = "strokes") -> tuple[np.ndarray, ...]:
    """Return strokes as arrays, (n, 2) float64 each.

    Args:
        strokes: a list or tuple of strokes, each a list or tuple of points (x, y), or an array of shape (n, 2); x to
            the right, y down, in any unit.
        at: what messages call them.

    Raises:
        InvalidStrokes: they are no strokes, or too many; the message names the place.
    """
    if not isinstance(strokes, (list, tuple)):
        raise InvalidStrokes(f"{at} is {_described(strokes)}; {_EXPECTED}")
    if len(strokes) > MAX_STROKES:
        raise InvalidStrokes(f"{at} has {len(strokes):,} strokes; the limit is {MAX_STROKES:,}")
    found, count = [], 0
    for i, stroke in enumerate(strokes):
        place = f"{at}[{i}]"
        if not isinstance(stroke, (list, tuple, np.ndarray)):
            raise InvalidStrokes(f"{place} is {_described(stroke)}; {_EXPECTED}")
        if not len(stroke):
            raise InvalidStrokes(f"{place} has no points; leave it out, or send at least one")
        count += len(stroke)
        if count > MAX_POINTS:
            raise InvalidStrokes(f"{at} has more than {MAX_POINTS:,} points, the limit; leave out some of each stroke")
        found.append(_array(stroke, place))
    return tuple(found)


def _array(stroke: Sequence[Any] | np.ndarray, at: str) -> np.ndarray:
    if isinstance(stroke, np.ndarray):
        if stroke.ndim != 2 or stroke.shape[1] != 2 or stroke.dtype.kind not in "iuf":
            raise InvalidStrokes(
                f"{at} is an array of {stroke.dtype} of shape {stroke.shape}; expected numbers of shape (n, 2)"
            )
        if not (np.abs(stroke) <= MAX_COORDINATE).all():  # NaN compares as False
            stroke = stroke.tolist()  # to name the point
        else:
            return stroke.astype(np.float64)
    for i, point in enumerate(stroke):
        if not isinstance(point, (list, tuple, np.ndarray)) or len(point) != 2 or not all(map(_is_coordinate, point)):
            raise InvalidStrokes(
                f"{at}[{i}] is {_described(point)}; "
                f"expected [x, y], two numbers from {-MAX_COORDINATE:,.0f} to {MAX_COORDINATE:,.0f}"
            )
    return np.array(stroke, np.float64)


def _is_coordinate(value: Any) -> bool:
    is_number = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    return is_number and abs(value) <= MAX_COORDINATE  # NaN compares as False


def _described(value: Any) -> str:
    """Return a value as JSON for an error message, or what it is if it is long."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        if len(value) == 2 and not any(isinstance(v, (list, tuple, dict)) for v in value):
            return f"[{', '.join(map(_described, value))}]"
        return f"a list of {len(value):,}"
    if isinstance(value, int) and abs(value) > LONG_NUMBER:
        return "a number of more than 40 digits"
    if isinstance(value, (str, int, float, type(None))):
        text = json.dumps(value)
        return text if len(text) <= QUOTED else f"{text[:QUOTED]}…"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"


def draw_strokes(strokes: Sequence[np.ndarray]) -> Drawing:
    """Draw strokes from :func:`check_strokes`: each digit about as high, with round caps and joins.

    The time is proportional to the ink and the picture, whatever the strokes, unlike that of
    :func:`inkdigits.synthesis.strokes.draw`.
    """
    if not strokes:
        return Drawing(Image.new("L", (DIGIT_HEIGHT, DIGIT_HEIGHT), 255), 1.0, 0.0, 0.0)
    points = np.concatenate(strokes)
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    height = _height(strokes)
    scale = DIGIT_HEIGHT / height
    longest, area = scale * span.max(), scale**2 * span.prod()
    scale *= min(1.0, (LONGEST_SIDE - 2 * MARGIN) / max(longest, 1), (MOST_PIXELS / max(area, 1)) ** 0.5)
    corner = low - MARGIN / scale
    width, rows = (int(side) + 2 * MARGIN for side in np.ceil(scale * span))
    placed = tuple(scale * (stroke - corner) for stroke in strokes)
    picture = paint(placed, (width, rows), max(LEAST_PEN, PEN * height * scale), ink=0, paper=255)
    return Drawing(picture, float(scale), float(corner[0]), float(corner[1]), placed)


def paint(strokes: Sequence[np.ndarray], size: tuple[int, int], pen: float, *, ink: int, paper: int) -> Image.Image:
    """Paint strokes on a sheet of a size with a pen of a width, in pixels of it: mode "L"."""
    sheet = Image.new("L", (OVERSAMPLED * size[0], OVERSAMPLED * size[1]), paper)
    canvas = ImageDraw.Draw(sheet)
    pen *= OVERSAMPLED
    for stroke in strokes:
        placed = OVERSAMPLED * stroke
        canvas.line(placed.ravel().tolist(), fill=ink, width=round(pen))
        for x, y in placed.tolist():
            canvas.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=ink)
    return sheet.reduce(OVERSAMPLED)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the value below which lies half of the weight of (n,) values."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(total, total[-1] / 2)]])


def _height(strokes: Sequence[np.ndarray]) -> float:
    """Return the common height of digits: that of the strokes, weighted by their length."""
    spans = np.array([np.ptp(stroke, axis=0) for stroke in strokes])
    lengths = np.array([np.hypot(*np.diff(stroke, axis=0).T).sum() for stroke in strokes])
    height = max(weighted_median(spans[:, 1], lengths), LEAST_HEIGHT * float(spans.max()))
    return height if isfinite(height) and height > 1 / MAX_COORDINATE else 1.0
