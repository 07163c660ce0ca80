"""Corruptions by the paper: lines, borders, stains, ink from the other side, folds."""

from __future__ import annotations

import numpy as np
from PIL import Image

from inkdigits.synthesis.corruptions.sheet import (
    amount,
    blur,
    darken,
    field,
    grid,
    line,
    look,
    rounded,
    shaded,
    warp,
)
from inkdigits.synthesis.strokes import draw, place

__all__ = ["bleed", "crumpled", "graph", "inverted", "ruled", "stains", "table"]

RULED_APART = (0.55, 1.1)  # of the digit's size
RULES = ((110, 140, 215), (150, 150, 150), (200, 120, 130), (90, 90, 90))  # red, green, blue on white paper
TABLE_AWAY = 0.22  # of the digit's size, from its bounds: mild borders are clear of it, strong ones run through it
BORDERS = (40, 120)  # grey levels
GRAPH_APART = (0.25, 0.5)  # of the digit's size
GRAPHS = ((150, 185, 235), (175, 200, 190), (225, 190, 170))
STAINS = ((205, 170, 120), (220, 205, 150), (180, 190, 205))  # coffee, tea or oil, water
BLEED = 0.4  # of full ink
CREASES = 16  # of a crumpled sheet
CREASE_SIDE = 140  # pixels of the shorter side at which creases are drawn
CRUMPLED = 0.13  # of the light that a crease adds or takes
CHALK = (175, 255)  # grey levels of light ink
BOARD = 90  # grey levels of dark paper, at most

# Digits for the other side of the sheet, each a line in a unit box, x to the right and y down.
_OTHERS = (
    ((0.1, 0.2), (0.3, 0.0), (0.6, 0.1), (0.6, 0.35), (0.05, 1.0), (0.7, 0.95)),
    ((0.1, 0.05), (0.5, 0.0), (0.6, 0.25), (0.25, 0.45), (0.65, 0.6), (0.6, 0.9), (0.3, 1.0), (0.05, 0.9)),
    ((0.5, 1.0), (0.5, 0.0), (0.0, 0.65), (0.7, 0.65)),
    ((0.6, 0.0), (0.15, 0.0), (0.1, 0.4), (0.5, 0.4), (0.65, 0.65), (0.5, 0.95), (0.05, 1.0)),
    ((0.5, 0.0), (0.1, 0.4), (0.0, 0.75), (0.25, 1.0), (0.55, 0.85), (0.5, 0.55), (0.05, 0.65)),
    ((0.0, 0.0), (0.65, 0.0), (0.25, 1.0)),
    ((0.6, 0.3), (0.3, 0.5), (0.05, 0.3), (0.3, 0.0), (0.6, 0.1), (0.55, 1.0)),
)


def ruled(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate ruled paper: thin parallel lines, level to a degree or two."""
    h, w = picture.shape[:2]
    apart = look(picture).size * rng.uniform(*RULED_APART)
    width = max(1.0, apart * rng.uniform(0.012, 0.03))
    fall = np.tan(np.deg2rad(rng.uniform(-2, 2))) * w
    cover = np.zeros((h, w), np.float32)
    for y in np.arange(rng.uniform(-1, 0) * apart, h + abs(fall), apart):
        np.maximum(cover, line(picture, np.array([[-2.0, y], [w + 2.0, y + fall]]), width), out=cover)
    return darken(picture, cover * (0.2 + 0.8 * amount(severity, rng)), RULES[rng.integers(len(RULES))])


def table(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate the borders of a table's or form's cell, on two to four sides; strong ones cross the digit's edge."""
    h, w = picture.shape[:2]
    sheet = look(picture)
    left, top, right, bottom = sheet.box
    cover = np.zeros((h, w), np.float32)
    width = max(1.0, sheet.size * rng.uniform(0.012, 0.03))
    tilt = np.tan(np.deg2rad(rng.uniform(-2, 2)))
    for side in rng.permutation(4)[: rng.integers(2, 5)]:
        # Mild: 0.15 of the size away from the digit; strong: as much inside.
        away = TABLE_AWAY * sheet.size * (1.2 - 2 * severity + rng.uniform(0, 0.3))
        if side < 2:
            x = (left - away, right + away)[side]
            points = np.array([[x - tilt * h / 2, -2.0], [x + tilt * h / 2, h + 2.0]])
        else:
            y = (top - away, bottom + away)[side - 2]
            points = np.array([[-2.0, y + tilt * w / 2], [w + 2.0, y - tilt * w / 2]])
        np.maximum(cover, line(picture, points, width), out=cover)
    return darken(picture, cover * (0.4 + 0.6 * amount(severity, rng)), float(rng.integers(*BORDERS)))


def stains(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Draw coffee rings, drops of tea, oil or water."""
    h, w = picture.shape[:2]
    y, x = grid(picture)
    for _ in range(rng.integers(1, 4)):
        radius = min(h, w) * rng.uniform(0.12, 0.4)
        cx, cy = rng.uniform(0, 1, 2) * (w, h)
        distance = np.hypot(x - cx, y - cy) + 0.06 * radius * field(picture, radius / 2, rng)
        soft = rng.uniform(0.01, 0.04) * radius + 0.5
        cover = rng.uniform(0.3, 0.8) / (1 + np.exp(np.clip((distance - radius) / soft, -30, 30)))
        # Drying moves the pigment to the rim of the drop.
        cover += rng.uniform(0.2, 0.6) * np.exp(-(((distance - 0.96 * radius) / (0.05 * radius)) ** 2))
        cover = np.clip(cover, 0, 1) * (1 + 0.1 * field(picture, radius / 5, rng))
        picture = darken(picture, np.clip(cover, 0, 1) * amount(severity, rng), STAINS[rng.integers(len(STAINS))])
    return picture


def bleed(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a digit that shows through from the back of the sheet: mirrored, soft and faint."""
    h, w = picture.shape[:2]
    sheet = look(picture)
    strokes = [np.array(_OTHERS[rng.integers(len(_OTHERS))]) * [-1, 1]]
    size = sheet.size * rng.uniform(0.7, 1.2)
    at = np.array(sheet.center) + rng.uniform(-0.6, 0.6, 2) * sheet.size - [0.35 * size, 0.5 * size]
    strokes = place(strokes, size, (at[0], at[1]), tilt=rng.uniform(-15, 15))
    other = draw(strokes, w, h, pen=max(2.0, sheet.pen), paper=0, ink=255)
    bend = 0.04 * size
    other = warp(other, bend * field(picture, size / 4, rng), bend * field(picture, size / 4, rng))
    soft = blur(other, 0.15 * sheet.pen + 0.4)
    depth = amount(severity, rng) * BLEED
    return darken(picture, soft * np.float32(depth / 255), float(np.mean(sheet.ink)))


def inverted(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Draw light ink on dark paper; higher severities reduce the contrast, as with chalk."""
    white = 255 - severity * (255 - rng.uniform(*CHALK))
    black = severity * rng.uniform(0, BOARD)
    return rounded(black + (255.0 - picture) * ((white - black) / 255))


def graph(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate squared paper: a fine grid in a light color."""
    apart = look(picture).size * rng.uniform(*GRAPH_APART)
    half = max(1.0, apart * rng.uniform(0.02, 0.05)) / 2
    tilt = np.deg2rad(rng.uniform(-3, 3))
    y, x = grid(picture)
    cover = np.zeros(picture.shape[:2], np.float32)
    for across in (x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)):
        distance = np.abs((across + rng.uniform(0, 1) * apart) % apart - apart / 2)
        np.maximum(cover, np.clip(half + 0.5 - distance, 0, min(1.0, 2 * half)), out=cover)
    return darken(picture, cover * (0.25 + 0.75 * amount(severity, rng)), GRAPHS[rng.integers(len(GRAPHS))])


def crumpled(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a sheet that was crumpled and smoothed out: creases are lit on one side and shift the ink."""
    h, w = picture.shape[:2]
    side = min(h, w)
    # Creases are wide, so a coarser grid is enough.
    step = max(1, round(side / CREASE_SIDE))
    y, x = (step * positions for positions in grid(picture[::step, ::step]))
    light, dx, dy = np.zeros((3, y.shape[0], x.shape[1]), np.float32)
    for _ in range(CREASES):
        (cx, cy), angle = rng.uniform(0, 1, 2) * (w, h), rng.uniform(0, np.pi)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        along = (y - cy) * cos - (x - cx) * sin
        across = (x - cx) * cos + (y - cy) * sin + 0.015 * side * np.sin(along * (2 * np.pi / (0.4 * side)))
        reach, width = rng.uniform(0.15, 0.5) * side, rng.uniform(0.05, 0.15) * side
        bump = rng.normal() * np.exp(-np.abs(across) / width) / (1 + np.exp((np.abs(along) - reach) / (0.03 * side)))
        light += bump * np.clip(across / step, -1, 1)
        dx += bump * cos
        dy += bump * sin
    if step > 1:
        light, dx, dy = (
            np.asarray(Image.fromarray(v).resize((w, h), Image.Resampling.BILINEAR)) for v in (light, dx, dy)
        )
    depth = amount(severity, rng)
    shift = 0.012 * side * depth
    return shaded(warp(picture, shift * dx, shift * dy), np.clip(1 - depth * CRUMPLED * (1 + light), 0.2, 1.1))
