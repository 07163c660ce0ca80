"""Corruptions by the pen: thick, thin, grainy, skipping, faint, scratched, spattered."""

from __future__ import annotations

import numpy as np

from inkdigits.synthesis.corruptions.sheet import amount, field, grid, line, look, recovered

__all__ = ["broken", "faint", "scratches", "spatter", "texture", "thickness"]

THICKER = 0.6  # of the pen's width, added on each side
THICKEST = 0.2  # of the digit's size; a wider line closes the loops
THINNER = 0.27  # of the pen's width, removed on each side
GRAIN = 0.85  # of the ink that is missing in the deepest hollows of rough paper
GAPS = 4  # breaks in the line
GAP = 0.07  # of the digit's size
FAINT = 0.82  # of the contrast that is lost
PRESSURE = 0.35  # of the ink that the lighter end of the line loses
SCRATCHES = 9
SCRATCH = (0.1, 0.28)  # of the pen's width
DROPS = 26
DROP = 0.42  # of the pen's width, radius


def thickness(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a felt-tip or a fineliner: the line grows or loses part of its width."""
    sheet = look(picture)
    if rng.random() < 0.5:
        widest = max(0.0, (THICKEST * sheet.size - sheet.pen) / 2)
        return recovered(
            picture, sheet, _dilated(sheet.cover, min(amount(severity, rng) * THICKER * sheet.pen, widest))
        )
    thinner = 1 - _dilated(1 - sheet.cover, amount(severity, rng) * THINNER * sheet.pen)
    return recovered(picture, sheet, thinner)


def texture(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate pencil, chalk or crayon on rough paper, which takes ink only where it is raised."""
    sheet = look(picture)
    apart = max(1.2, sheet.size * rng.uniform(0.012, 0.03))
    tooth = field(picture, apart, rng) + 0.5 * field(picture, 4 * apart, rng)
    hollow = np.clip(0.5 + tooth, 0, 1)
    return recovered(picture, sheet, sheet.cover * (1 - amount(severity, rng) * GRAIN * hollow))


def broken(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a pen that skips: short gaps across the line."""
    sheet = look(picture)
    cover = sheet.cover.copy()
    places = np.argwhere(cover > 0.5)
    if not len(places):
        return picture.copy()
    y, x = grid(picture)
    near = max(0.9 * sheet.pen, 0.05 * sheet.size)
    for at in places[rng.integers(len(places), size=round(1 + severity * (GAPS - 1)))]:
        down, right = y - at[0], x - at[1]
        inside = np.hypot(right, down) < near
        here, there = np.nonzero(inside)
        # The line's direction is the axis along which the ink nearby is spread out most.
        weight = sheet.cover[inside]
        offsets = np.stack([there + 0.5 - at[1], here + 0.5 - at[0]], axis=1)
        offsets -= weight @ offsets / weight.sum()
        axis = np.linalg.eigh((offsets * weight[:, None]).T @ offsets)[1][:, 1]
        half = max(amount(severity, rng) * GAP * sheet.size / 2, 0.75)
        along = np.abs(right * axis[0] + down * axis[1])
        cover *= np.where(inside, np.clip(along - half + 0.5, 0, 1), 1)
    return recovered(picture, sheet, cover)


def faint(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate a hard pencil or a dying pen: little contrast, and less on one side."""
    sheet = look(picture)
    y, x = grid(picture)
    angle = rng.uniform(0, 2 * np.pi)
    (cx, cy), half = sheet.center, sheet.size / 2
    side = np.clip(0.5 + ((x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)) / (2 * half), 0, 1)
    left = (1 - amount(severity, rng) * FAINT) * (1 - severity * PRESSURE * side)
    return recovered(picture, sheet, sheet.cover * left)


def scratches(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Scrape off ink in thin lines."""
    sheet = look(picture)
    cover = sheet.cover.copy()
    left, top, right, bottom = sheet.box
    for _ in range(round(2 + severity * (SCRATCHES - 2))):
        middle = rng.uniform((left, top), (right, bottom))
        angle, reach = rng.uniform(0, np.pi), rng.uniform(0.3, 0.8) * sheet.size
        way = reach * np.array([np.cos(angle), np.sin(angle)])
        width = max(1.0, sheet.pen * rng.uniform(*SCRATCH))
        cover *= 1 - line(picture, np.stack([middle - way, middle + way]), width)
    return recovered(picture, sheet, cover)


def spatter(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Draw drops of ink around the digit, most of them small."""
    sheet = look(picture)
    cover = sheet.cover.copy()
    y, x = grid(picture)
    for _ in range(round(3 + severity * (DROPS - 3))):
        cx, cy = np.array(sheet.center) + rng.normal(0, 0.45 * sheet.size, 2)
        radius = 0.5 + severity * DROP * sheet.pen * rng.uniform(0.2, 1) ** 2
        reach = int(radius + 2)
        top, left = max(int(cy) - reach, 0), max(int(cx) - reach, 0)
        part = cover[top : int(cy) + reach + 1, left : int(cx) + reach + 1]
        if cy < -reach or cx < -reach or not part.size:
            continue
        distance = np.hypot(x[:, left : left + part.shape[1]] - cx, y[top : top + part.shape[0]] - cy)
        np.maximum(part, np.clip(radius + 0.5 - distance, 0, 1), out=part)
    return recovered(picture, sheet, cover)


def _dilated(cover: np.ndarray, radius: float) -> np.ndarray:
    """Dilate grey levels by an octagon of this radius in pixels, fractions of a pixel included."""
    levels = np.rint(cover * 255).astype(np.uint8)
    rest, step = radius, 0
    while rest > 0:
        wide = _neighbor_max(levels, corners=step % 3 == 1)
        if rest < 1:
            between: np.ndarray = (levels + rest * (wide.astype(np.float32) - levels)) / np.float32(255)
            return between
        levels, rest, step = wide, rest - 1, step + 1
    widened: np.ndarray = levels.astype(np.float32) / 255
    return widened


def _neighbor_max(levels: np.ndarray, corners: bool) -> np.ndarray:
    """Take the maximum over each pixel's four or eight neighbors. Eight in one step of three gives an octagon."""
    out = levels.copy()
    np.maximum(out[1:], levels[:-1], out=out[1:])
    np.maximum(out[:-1], levels[1:], out=out[:-1])
    source = out.copy() if corners else levels
    np.maximum(out[:, 1:], source[:, :-1], out=out[:, 1:])
    np.maximum(out[:, :-1], source[:, 1:], out=out[:, :-1])
    return out
