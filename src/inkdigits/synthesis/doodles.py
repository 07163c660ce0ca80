"""Scribbles, lines and shapes as pen strokes: what people draw when they do not draw a digit.

A form is a function of a random generator that returns strokes, each (n, 2), x to the right and y down, in a box of
about 1. No person would read one as a digit: no single upright line, no circle, no spiral of one turn, no single curve.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from inkdigits.synthesis.fonts import Part

__all__ = ["LINES", "SCRIBBLES", "SHAPES", "Form", "Strokes"]

GENTLE = (-38, 38)  # degrees from level; a single steeper line may be a 1

Strokes = list[np.ndarray]
Form = Callable[[np.random.Generator], Strokes]


def _curve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x, y], axis=1)


def _circle(cx: float, cy: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> np.ndarray:
    angle = np.deg2rad(np.linspace(start, end, 40))
    return _curve(cx + rx * np.cos(angle), cy + ry * np.sin(angle))


def _turned(strokes: Strokes, angle: float) -> Strokes:
    """Turn strokes around the middle of the unit box by an angle in degrees."""
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return [(s - 0.5) @ np.array([[cos, sin], [-sin, cos]]) + 0.5 for s in strokes]


def _fixed(*strokes: list[tuple[float, float]]) -> Form:
    """Draw a form that is always the same."""
    return lambda rng: [np.array(stroke, float) for stroke in strokes]


# --- scribbles -------------------------------------------------------------------------------------------------------


def _wandering(rng: np.random.Generator) -> Strokes:
    """Draw a line that wanders about in smooth turns, long enough to cross itself again and again."""
    n = int(rng.integers(120, 260))
    bend = np.convolve(rng.normal(0, 1, n + 12), np.ones(12) / 12, "valid")[:n] * rng.uniform(0.6, 1.2)
    heading = np.cumsum(bend) + rng.uniform(0, 2 * np.pi)
    steps = 0.045 * _curve(np.cos(heading), np.sin(heading))
    points, at = np.empty((n, 2)), np.array([0.5, 0.5])
    for i, step in enumerate(steps):
        # The pen turns back at the edge of the sheet.
        at = at + np.where((at + step < 0) | (at + step > 1), -step, step)
        points[i] = at
    return [points]


def _zigzag(rng: np.random.Generator) -> Strokes:
    n = int(rng.integers(7, 16))
    y = np.where(np.arange(n) % 2, 1.0, 0.0) + rng.normal(0, 0.08, n)
    return _turned([_curve(np.linspace(0, 1, n) * rng.uniform(0.8, 2), y)], rng.uniform(0, 360))


def _spiral(rng: np.random.Generator) -> Strokes:
    turns = rng.uniform(2.5, 5)
    angle = np.linspace(0, turns * 2 * np.pi, int(30 * turns))
    radius = angle / angle[-1] / 2
    swing = rng.choice([-1, 1])
    return _turned([_curve(0.5 + radius * np.cos(angle), 0.5 + swing * radius * np.sin(angle))], rng.uniform(0, 360))


def _hatching(rng: np.random.Generator) -> Strokes:
    def layer() -> Strokes:
        n = int(rng.integers(5, 11))
        at = np.linspace(0, 1, n) + rng.normal(0, 0.02, n)
        ends = zip(at, rng.normal(0, 0.05, n), 1 + rng.normal(0, 0.05, n), strict=True)
        return _turned([np.array([[x, low], [x, high]]) for x, low, high in ends], rng.uniform(0, 180))

    return layer() + (layer() if rng.random() < 0.5 else [])


def _coil(rng: np.random.Generator) -> Strokes:
    """Draw loops in a row, as people do to try a pen."""
    turns = rng.uniform(4, 8)
    angle = np.linspace(0, turns * 2 * np.pi, int(24 * turns))
    width = rng.uniform(0.15, 0.3)
    return [_curve(angle / angle[-1] * rng.uniform(1, 2.2) + width * np.cos(angle), 0.5 + 0.45 * np.sin(angle))]


def _crossed_out(rng: np.random.Generator) -> Strokes:
    """Draw strokes to and fro, as people do to cross out a word."""
    n = int(rng.integers(16, 40))
    y = np.linspace(0.1, 0.9, n) + rng.normal(0, 0.12, n)
    x = np.where(np.arange(n) % 2, 1.0, 0.0) + rng.normal(0, 0.1, n)
    return _turned([_curve(x * rng.uniform(0.8, 1.6), y)], rng.uniform(-40, 40))


def _jagged(rng: np.random.Generator) -> Strokes:
    """Draw one line of long straight parts, with more corners than any digit: with eight, some look like a 4."""
    return [rng.uniform(0, 1, (int(rng.integers(11, 20)), 2))]


def _tangle(rng: np.random.Generator) -> Strokes:
    return [rng.uniform(0, 1, (2, 2)) for _ in range(rng.integers(6, 14))]


def _dots(rng: np.random.Generator) -> Strokes:
    return [point[None] for point in rng.uniform(0, 1, (int(rng.integers(5, 30)), 2))]


# --- lines -----------------------------------------------------------------------------------------------------------


def _level(rng: np.random.Generator) -> Strokes:
    """Draw one straight line, level or rising, but not steep enough for a 1."""
    return _turned([np.array([[0.0, 0.5], [1.0, 0.5]])], rng.uniform(*GENTLE))


def _parallel(rng: np.random.Generator) -> Strokes:
    at = np.linspace(0, 1, int(rng.integers(3, 6))) * rng.uniform(0.5, 1)
    return _turned([np.array([[0.0, y], [1.0 + rng.normal(0, 0.05), y]]) for y in at], rng.uniform(0, 180))


def _corner(rng: np.random.Generator) -> Strokes:
    """Draw a right angle, as of a frame, but not one that looks like a 7."""
    corner = np.array([[0.0, 0.0], [0.0, 1.0], [rng.uniform(0.7, 1.3), 1.0]])
    return [corner * (1, rng.choice([-1, 1]))]


def _wave(rng: np.random.Generator) -> Strokes:
    x = np.linspace(0, 1, 80)
    y = 0.5 + rng.uniform(0.05, 0.15) * np.sin(x * 2 * np.pi * rng.uniform(2.5, 6) + rng.uniform(0, 6))
    return _turned([_curve(x, y)], rng.uniform(*GENTLE))


def _dashed(rng: np.random.Generator) -> Strokes:
    at = np.linspace(0, 1, int(rng.integers(5, 10)))
    length = rng.uniform(0.2, 0.6) * at[1]
    return _turned([np.array([[x, 0.5], [x + length, 0.5]]) for x in at], rng.uniform(*GENTLE))


def _arch(rng: np.random.Generator) -> Strokes:
    """Draw a flat arc, open above or below."""
    arc = _circle(0.5, 0.5, 0.5, rng.uniform(0.15, 0.45), 190, 350)
    return [arc * (1, rng.choice([-1, 1]))]


def _steps(rng: np.random.Generator) -> Strokes:
    n = int(rng.integers(3, 6))
    across = np.repeat(np.arange(n + 1), 2)
    stairs = _curve(across[1:] / n, across[:-1] / n)
    return [stairs * (rng.choice([-1, 1]), 1)]


# --- shapes ----------------------------------------------------------------------------------------------------------


def _star(rng: np.random.Generator) -> Strokes:
    points = int(rng.integers(5, 8))
    angle = np.arange(2 * points + 1) * np.pi / points - np.pi / 2
    radius = np.where(np.arange(2 * points + 1) % 2, rng.uniform(0.18, 0.28), 0.5)
    return [_curve(0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle))]


def _arrow(rng: np.random.Generator) -> Strokes:
    head = rng.uniform(0.2, 0.35)
    shaft = np.array([[0.0, 0.5], [1.0, 0.5]])
    point = np.array([[1 - head, 0.5 - head], [1.0, 0.5], [1 - head, 0.5 + head]])
    # An upright arrow may look like a 1.
    return _turned([shaft, point], rng.uniform(-50, 50) + rng.choice([0, 180]))


def _heart(rng: np.random.Generator) -> Strokes:
    t = np.linspace(0, 2 * np.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [_curve(0.5 + x / 34, 0.5 - y / 34)]


def _percent(rng: np.random.Generator) -> Strokes:
    r = rng.uniform(0.12, 0.2)
    return [_circle(0.2, 0.25, r, r), _circle(0.8, 0.75, r, r), np.array([[0.85, 0.0], [0.15, 1.0]])]


def _smiley(rng: np.random.Generator) -> Strokes:
    mouth = _circle(0.5, 0.55, 0.25, 0.22, 20, 160)
    return [_circle(0.5, 0.5, 0.5, 0.5), np.array([[0.35, 0.38]]), np.array([[0.65, 0.38]]), mouth]


def _cloud(rng: np.random.Generator) -> Strokes:
    bumps = int(rng.integers(6, 10))
    angle = np.linspace(0, 2 * np.pi, 160)
    radius = 0.36 + 0.1 * np.abs(np.sin(bumps / 2 * angle))
    return [_curve(0.5 + 1.3 * radius * np.cos(angle), 0.5 + 0.8 * radius * np.sin(angle))]


def _flower(rng: np.random.Generator) -> Strokes:
    petals = int(rng.integers(5, 8))
    angles = np.arange(petals) * 2 * np.pi / petals
    leaves = [_circle(0.5 + 0.3 * np.cos(a), 0.5 + 0.3 * np.sin(a), 0.17, 0.17) for a in angles]
    return [_circle(0.5, 0.5, 0.13, 0.13), *leaves]


def _asterisk(rng: np.random.Generator) -> Strokes:
    rays = int(rng.integers(3, 6))
    return [_turned([np.array([[0.0, 0.5], [1.0, 0.5]])], 180 * i / rays + 10)[0] for i in range(rays)]


def _polygon(rng: np.random.Generator) -> Strokes:
    """Draw a polygon of three to five corners around the middle: closed like a 0, but not round."""
    n = int(rng.integers(3, 6))
    angle = (np.arange(n) + rng.uniform(-0.25, 0.25, n)) * 2 * np.pi / n + rng.uniform(0, 2 * np.pi)
    corners = 0.5 + rng.uniform(0.35, 0.5, (n, 1)) * _curve(np.cos(angle), np.sin(angle))
    return [corners[[*range(n), 0]] * (rng.uniform(0.7, 1.6), 1)]


def _wobbly(rng: np.random.Generator) -> Strokes:
    """Draw a closed line that swings in and out, such as a gear or a splash."""
    angle = np.linspace(0, 2 * np.pi, 200)
    swing = np.sin(rng.integers(4, 10) * angle + rng.uniform(0, 2 * np.pi))
    radius = 0.35 * (1 + rng.uniform(0.18, 0.4) * (swing if rng.random() < 0.5 else 1 - 2 * np.abs(swing)))
    return [_curve(0.5 + rng.uniform(0.8, 1.5) * radius * np.cos(angle), 0.5 + radius * np.sin(angle))]


def _nested(rng: np.random.Generator) -> Strokes:
    """Draw one outline within another, such as a target or a window."""

    def outline(size: float) -> np.ndarray:
        if rng.random() < 0.5:
            return _circle(0.5, 0.5, 0.5 * size, 0.5 * size)
        [corners] = _polygon(rng)
        return (corners - 0.5) * size + 0.5

    return [outline(1.0), outline(rng.uniform(0.25, 0.6))]


def _solid(outline: Form) -> Form:
    """Draw the form's outline filled with ink: level lines so close that they touch."""

    def filled(rng: np.random.Generator) -> Strokes:
        [points] = outline(rng)
        rows: Strokes = [points]
        (x0, y0), (x1, y1) = points[:-1].T, points[1:].T
        for y in np.linspace(points[:, 1].min(), points[:, 1].max(), 60):
            hit = (y0 <= y) != (y1 <= y)
            ends = np.sort(x0[hit] + (y - y0[hit]) / (y1 - y0)[hit] * (x1 - x0)[hit])
            rows += [np.array([[a, y], [b, y]]) for a, b in zip(ends[::2], ends[1::2], strict=False)]
        return rows

    return filled


_TRIANGLE = _fixed([(0, 0.9), (0.5, 0), (1, 0.9), (0, 0.9)])
_SQUARE = _fixed([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])

#: Forms by part: "train" for training and testing, "test" for testing only.
SCRIBBLES: dict[Part, tuple[Form, ...]] = {
    "train": (_wandering, _zigzag, _spiral, _hatching, _coil, _crossed_out, _jagged),
    "test": (_tangle, _dots),
}
LINES: dict[Part, tuple[Form, ...]] = {
    "train": (_level, _parallel, _corner, _wave, _dashed),
    "test": (_arch, _steps),
}
SHAPES: dict[Part, tuple[Form, ...]] = {
    "train": (
        _TRIANGLE,
        _SQUARE,
        _solid(_TRIANGLE),
        _solid(lambda rng: [_circle(0.5, 0.5, 0.5, rng.uniform(0.3, 0.5))]),
        *(_polygon, _wobbly) * 4,  # random families, as frequent as all fixed forms
        *(_nested, _solid(_polygon), _solid(_wobbly)) * 2,
        _star,
        _arrow,
        _heart,
        _percent,
        _smiley,
        _fixed([(0, 0.55), (0.3, 1), (1, 0)]),  # check mark
        _fixed([(0, 0), (1, 1)], [(1, 0), (0, 1)]),  # cross
        _fixed([(0.5, 0), (0.5, 1)], [(0, 0.5), (1, 0.5)]),  # plus
        _fixed([(0, 0.3), (1, 0.3)], [(0, 0.7), (1, 0.7)]),  # equals
        _fixed([(0.35, 0), (0.25, 1)], [(0.75, 0), (0.65, 1)], [(0, 0.33), (1, 0.33)], [(0, 0.67), (1, 0.67)]),  # hash
    ),
    "test": (
        _fixed([(0.5, 0), (0.9, 0.5), (0.5, 1), (0.1, 0.5), (0.5, 0)]),  # diamond
        _fixed(
            [(0, 1), (0, 0.45), (0.5, 0), (1, 0.45), (1, 1), (0, 1)], [(0.4, 1), (0.4, 0.65), (0.6, 0.65), (0.6, 1)]
        ),
        _fixed([(0, 0.1), (1.2, 0.1), (1.2, 0.9), (0, 0.9), (0, 0.1), (0.6, 0.55), (1.2, 0.1)]),  # envelope
        _fixed(
            [(0.5, 0), (0.85, 0.7), (0.15, 0.7), (0.5, 0)], [(0.45, 0.7), (0.45, 1), (0.55, 1), (0.55, 0.7)]
        ),  # tree
        _solid(_SQUARE),
        _cloud,
        _flower,
        _asterisk,
    ),
}
