"""Add to the ink of a digit what preprocessing leaves on hard pictures, or take away what it loses.

Rules, squares, frames, specks and pieces of neighbors remain next to a digit; strokes are interrupted or hidden; small
pictures are blocks. Each is a digit still. `residue` makes the same marks without a digit: non-digits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from inkdigits.synthesis.strings import cropped

__all__ = ["CHANGES", "HEIGHT", "changed", "enlarged", "residue"]

HEIGHT = 60.0  # pixels, of a digit
ROOM = (8, 30)  # pixels around the digit for what is added
LINES = (0.02, 0.07)  # of the height, width of a rule
TONES = (0.3, 1.0)  # cover of what is added
KEPT = 0.5  # share of the rules that are whole; others are left in pieces
PIECES = (0.1, 0.3)  # of a neighbor's width, that is in the picture
TALL = 0.5  # of the height; a taller piece, such as most of a 1, would make it a picture of two digits
APART = (0.06, 0.5)  # of the height, from a digit to the piece of a neighbor
SPECKS, SPECK = (1, 8), (0.015, 0.05)  # number; radius as a share of the height
BLOT = (0.05, 0.12)  # radius, as a share of the height
BREAK, SHIFT = (0.02, 0.09), 0.1  # of the height: width of a break, largest shift of what is behind it
HIDDEN, LEFT = (0.06, 0.13), 0.86  # radius of what hides, as a share of the height; share of the ink left, at least
SCAN, CELL, LEVELS = 32, 4, 16  # pixels, of a scan whose ink is counted in cells, as in scikit-learn's digits
BLOCKS = (7, 13)  # cells along the longer side, of other small pictures
ENLARGED = (2, 8)  # times

_Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def _axes(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    return x, y


def _line(
    shape: tuple[int, int], at: tuple[float, float], tilt: float, width: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw a line through a point, whole or in pieces: its cover."""
    x, y = _axes(shape)
    along = (x - at[0]) * np.cos(tilt) + (y - at[1]) * np.sin(tilt)
    across = (y - at[1]) * np.cos(tilt) - (x - at[0]) * np.sin(tilt)
    cover = np.clip(width / 2 + 0.5 - np.abs(across), 0, min(width, 1))
    if rng.random() > KEPT:
        knots = np.interp(along, np.linspace(along.min(), along.max(), 9), rng.uniform(-1, 1, 9))
        cover = cover * (knots > rng.uniform(-0.4, 0.5))
    lines: np.ndarray = cover * rng.uniform(*TONES)
    return lines


def _lines(
    shape: tuple[int, int], upright: bool, n: int, apart: float, rng: np.random.Generator, tilt: float = 0.04
) -> np.ndarray:
    """Draw parallel lines: their cover."""
    angle = rng.normal(0, tilt)
    width = HEIGHT * rng.uniform(*LINES)
    start = rng.uniform(0, max(1.0, shape[upright] - (n - 1) * apart))
    cover = np.zeros(shape, np.float32)
    for i in range(n):
        place = start + i * apart
        at = (place, shape[0] / 2) if upright else (shape[1] / 2, place)
        cover = np.maximum(cover, _line(shape, at, angle + upright * np.pi / 2, width, rng))
    return cover


def _rules(digit: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = int(rng.integers(1, 4))
    both: np.ndarray = np.maximum(digit, _lines(digit.shape, False, n, HEIGHT * rng.uniform(0.25, 0.9), rng))
    return both


def _squares(digit: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    apart = HEIGHT * rng.uniform(0.2, 0.7)
    fade = rng.uniform(0.4, 1)
    for upright in (False, True):
        lines = _lines(digit.shape, upright, int(rng.integers(1, 5)), apart, rng, tilt=0.02)
        digit = np.maximum(digit, fade * lines)
    return digit


def _frame(digit: np.ndarray, other: np.ndarray, rng: np.random.Generator, sides: int = 1) -> np.ndarray:
    """Draw at least ``sides`` of the four sides of a frame around the digit."""
    h, w = digit.shape
    width, tilt = HEIGHT * rng.uniform(*LINES), rng.normal(0, 0.03)
    gaps = rng.uniform(1, ROOM[0] - 1, 4) if digit.any() else rng.uniform(1, ROOM[1], 4)
    borders = [
        ((w / 2, gaps[0]), 0.0),
        ((w - gaps[1], h / 2), np.pi / 2),
        ((w / 2, h - gaps[2]), 0.0),
        ((gaps[3], h / 2), np.pi / 2),
    ]
    for i in rng.permutation(4)[: int(rng.integers(sides, 5))]:
        at, angle = borders[i]
        digit = np.maximum(digit, _line(digit.shape, at, tilt + angle, width, rng))
    return digit


def _disc(shape: tuple[int, int], radius: float, rng: np.random.Generator) -> np.ndarray:
    x, y = _axes(shape)
    at = rng.uniform(0, 1, 2) * (shape[1], shape[0])
    stretch = np.exp(rng.normal(0, 0.25))
    cover: np.ndarray = np.clip(radius + 0.5 - np.hypot((x - at[0]) * stretch, (y - at[1]) / stretch), 0, 1)
    return cover


def _specks(digit: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    for _ in range(int(rng.integers(*SPECKS, endpoint=True))):
        disc = _disc(digit.shape, HEIGHT * rng.uniform(*SPECK), rng)
        digit = np.maximum(digit, disc * rng.uniform(*TONES))
    if rng.random() < 0.3:
        digit = np.maximum(digit, _disc(digit.shape, HEIGHT * rng.uniform(*BLOT), rng) * rng.uniform(*TONES))
    return digit


def _neighbor(digit: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a piece of the next digit, cut by the border of the picture, on one side or both."""
    inner = cropped(digit)
    for side in rng.permutation([0, 2, 0, 2, 1, 3])[: 1 + int(rng.random() < 0.2)]:
        turned = np.rot90(inner, side)
        next_one = np.rot90(other, side)
        piece = cropped(next_one[:, : max(2, round(next_one.shape[1] * rng.uniform(*PIECES)))])
        tall = int(TALL * HEIGHT)
        if len(piece) > tall:
            top = int(rng.integers(len(piece) - tall))
            piece = piece[top : top + tall]
        rows = max(len(turned), len(piece))
        shift = int(rng.uniform(-0.25, 0.25) * rows)
        left = _rows(turned, rows, shift if shift > 0 else 0, abs(shift))
        right = _rows(piece, rows, -shift if shift < 0 else 0, abs(shift))
        gap = np.zeros((len(left), round(HEIGHT * rng.uniform(*APART))), np.float32)
        inner = np.rot90(np.hstack([left, gap, right]), -side)
    found: np.ndarray = inner
    return found


def _rows(cover: np.ndarray, rows: int, above: int, more: int) -> np.ndarray:
    start = (rows - len(cover)) // 2 + above
    return np.pad(cover, ((start, rows + more - len(cover) - start), (0, 0)))


def _broken(digit: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Interrupt strokes along one or two lines, and move what is behind each line away."""
    for _ in range(1 + int(rng.random() < 0.3)):
        x, y = _axes(digit.shape)
        at, angle = rng.normal(0.5, 0.15, 2) * (digit.shape[1], digit.shape[0]), rng.uniform(0, np.pi)
        across = (x - at[0]) * np.sin(angle) - (y - at[1]) * np.cos(angle)
        gap = HEIGHT * rng.uniform(*BREAK)
        near, far = digit * (across < -gap / 2), digit * (across > gap / 2)
        if rng.random() < 0.5:
            shift = HEIGHT * rng.uniform(0, SHIFT)
            down, right = round(-np.cos(angle) * shift), round(np.sin(angle) * shift)
            far = np.roll(far, (down, right), axis=(0, 1))  # there is room around the digit
        digit = np.maximum(near, far)
    return digit


def _hidden(digit: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hide a little of the strokes behind a disc or beyond an edge."""
    for _ in range(20):
        cover = 1 - _disc(digit.shape, HEIGHT * rng.uniform(*HIDDEN), rng)
        if rng.random() < 0.4:
            x, y = _axes(digit.shape)
            angle = rng.uniform(0, 2 * np.pi)
            along = x * np.cos(angle) + y * np.sin(angle)
            cover = np.where(along > along[digit > 0].min() + HEIGHT * rng.uniform(*HIDDEN), 1.0, 0.0)
        left: np.ndarray = digit * cover
        if LEFT < left.sum() / digit.sum() < 0.99:
            return left
    return digit


#: Changes of a digit's cover by name, and their frequency.
CHANGES: dict[str, tuple[_Change, int]] = {
    "rules": (_rules, 4),
    "squares": (_squares, 3),
    "frame": (_frame, 3),
    "specks": (_specks, 3),
    "neighbor": (_neighbor, 3),
    "broken": (_broken, 4),
    "hidden": (_hidden, 2),
}

_NAMES = [name for name, (_, often) in CHANGES.items() for _ in range(often)]


def enlarged(digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Enlarge a small picture of a digit: the cover of its ink to a picture, (H, W) uint8, dark on light."""
    if rng.random() < 0.5:  # ink counted in 4×4 pixels, as in scikit-learn's digits
        scale = SCAN / max(digit.shape)
        size = max(1, round(digit.shape[1] * scale)), max(1, round(digit.shape[0] * scale))
        scan = (_resized(digit, size, Image.Resampling.BOX) > rng.uniform(0.3, 0.6)).astype(np.float32)
        extra = SCAN - scan.shape[0], SCAN - scan.shape[1]
        scan = np.pad(scan, [(n // 2, n - n // 2) for n in extra])
        cells = scan.reshape(SCAN // CELL, CELL, SCAN // CELL, CELL).sum(axis=(1, 3))
        cells = np.rint(cells * (LEVELS / CELL**2)) / LEVELS
    else:
        scale = rng.integers(*BLOCKS, endpoint=True) / max(digit.shape)
        size = max(2, round(digit.shape[1] * scale)), max(2, round(digit.shape[0] * scale))
        cells = _resized(digit, size, Image.Resampling.BOX)
    cells = np.pad(cells, int(rng.integers(0, 3)))
    times = int(rng.integers(*ENLARGED, endpoint=True))
    way = (Image.Resampling.NEAREST, Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
    size = cells.shape[1] * times, cells.shape[0] * times
    large = np.clip(_resized(cells.astype(np.float32), size, way[rng.integers(4)]), 0, 1)
    paper, ink = rng.uniform(190, 255), rng.uniform(0, 60)
    picture: np.ndarray = np.rint(paper + large * (ink - paper)).astype(np.uint8)
    return picture


def _resized(cover: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(cover).resize(size, how), np.float32)


def changed(digit: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change the ink of a digit in one or two ways: its cover, cropped, (h, w) float32.

    Args:
        digit: cover of HEIGHT pixels, cropped to the ink, (h, w) float32 of 0 to 1.
        other: of another digit, the neighbor.
        rng: source of all randomness.
    """
    cover = np.pad(digit, int(rng.integers(*ROOM, endpoint=True)))
    for name in dict.fromkeys(rng.choice(_NAMES, 1 + int(rng.random() < 0.25))):
        cover = CHANGES[str(name)][0](cover, other, rng)
    return cropped(cover).astype(np.float32)


def residue(rng: np.random.Generator) -> np.ndarray:
    """Draw what preprocessing may leave of an empty page: rules, squares, frames and specks, (h, w) float32.

    Never a single upright line, nor a corner, which may be read as a 1 or a 7.
    """
    side = int(HEIGHT) + 2 * ROOM[1]
    empty = np.zeros((side, side), np.float32)
    for _ in range(20):
        cover = empty
        kind = rng.integers(5)
        if kind == 0:
            apart = HEIGHT * rng.uniform(0.25, 0.9)
            cover = _lines(cover.shape, bool(rng.random() < 0.3), int(rng.integers(2, 4)), apart, rng)
        elif kind == 1:
            for upright in (False, True):
                apart = HEIGHT * rng.uniform(0.2, 0.6)
                cover = np.maximum(cover, _lines(cover.shape, upright, int(rng.integers(2, 5)), apart, rng, tilt=0.02))
        elif kind == 2:
            cover = _frame(cover, cover, rng, sides=3)
        elif kind == 3:
            for _ in range(int(rng.integers(1, 4))):
                cover = _specks(cover, cover, rng)
        else:
            cover = _lines(cover.shape, False, int(rng.integers(1, 3)), HEIGHT * rng.uniform(0.3, 0.8), rng)
            cover = _specks(_specks(cover, cover, rng), cover, rng)
        if cropped(cover).shape != cover.shape or cover.max() > 0.5:
            break
    return cropped(cover).astype(np.float32)
