"""A fast path for 28×28 pictures of 8-bit grey: whole batches, bit for bit the same as the four steps.

Data sets bring millions of these, and the NumPy calls of the four steps would cost more than the network. This module
needs few calls for the plain case: no grain, level paper. Levels are arrays of all pictures. Masks are Python
integers, one bit per pixel, so that an operation on a whole picture is one integer operation. A test compares both
paths bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from inkdigits.prediction import SIDE, Box
from inkdigits.preprocess.components import PIECE_SHARE, REACH
from inkdigits.preprocess.files import Limits, plain_png
from inkdigits.preprocess.layout import BLANK, BOX_SIDE, CENTER, TIE, Preprocessed, lay_out
from inkdigits.preprocess.paper import (
    FULL_SHARE,
    ISOLATED,
    MIN_CONTRAST,
    SOFT,
    SOFT_MOST,
    SOLID,
    SOLID_MOST,
    border,
)

__all__ = ["Plain28", "preprocess28"]

BLOCK = 32  # pictures at a time, so that intermediate arrays stay in the cache
_NO_TIE = 1e-3  # pixels; a center of mass this close to a tie is computed by layout.py
WHITE = 255

_BORDER = border(np.arange(SIDE * SIDE).reshape(SIDE, SIDE))  # where the border is in a flat picture
_NO_GRAIN = SIDE * (SIDE - 2) // 2  # triples of pixels; if more of them are flat, the median second difference is 0
_SHAPE = (SIDE, SIDE)
_PNG_SIZE, _SIZE = slice(16, 24), 2 * SIDE.to_bytes(4)  # where a PNG header has its size, and 28×28 there
# Full ink is the level of this pixel in order of depth: in so small a picture, ISOLATED pixels are always enough.
assert FULL_SHARE * SIDE * SIDE < ISOLATED
_FULL = SIDE * SIDE - ISOLATED

# By the depth of full ink: the thresholds of solid and soft ink, and the factor from depth to cover.
_DEPTHS = np.arange(WHITE + 1)
_SOLID, _SOFT = (
    np.maximum(share * _DEPTHS, np.minimum(MIN_CONTRAST, most * _DEPTHS)).astype(np.float32).astype(np.uint8)
    for share, most in ((SOLID, SOLID_MOST), (SOFT, SOFT_MOST))
)
_COVER = (1 / np.maximum(_DEPTHS, 1)).astype(np.float32)
# Sums of ink, of ink × row and of ink × column; exact for integers, as all are below 2²⁴.
_MOMENTS = np.stack([np.ones(_SHAPE), *np.indices(_SHAPE)], axis=-1).reshape(-1, 3).astype(np.float32)

# A mask as an integer: rows of this many bits, so that a dilation over the edge of a row meets no other pixel.
_ROW = 32
_BYTES = _ROW * _ROW // 8
_COLUMN = sum(1 << _ROW * y for y in range(SIDE))  # the first one
assert _ROW - SIDE > REACH == 3


class Plain28:
    """Collects the 28×28 pictures of 8-bit grey in a batch.

    Plain PNGs are pasted into one tall image, as each export of pixels from Pillow costs as much as decoding.

    Args:
        most: the largest number of pictures.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._arrays: dict[int, np.ndarray] = {}
        self._pages: list[int] = []

    @property
    def places(self) -> list[int]:
        """Return the places of the pictures, in the order of :meth:`levels`."""
        return [*self._arrays, *self._pages]

    def levels(self) -> np.ndarray:
        """Return (N, 28, 28) uint8."""
        parts = [np.stack([*self._arrays.values()])] if self._arrays else []
        if self._pages:
            sheet = np.frombuffer(self._sheet.tobytes(), np.uint8, SIDE * SIDE * len(self._pages))
            parts.append(sheet.reshape(-1, *_SHAPE))
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, *_SHAPE), np.uint8)

    def take(self, place: int, source: object, limits: Limits) -> bool:
        """Take a plain PNG's bytes or an array if it is such a picture and within the limits; else return False."""
        if isinstance(source, np.ndarray):
            is_small = limits.min_side <= SIDE and limits.max_pixels >= SIDE * SIDE
            fits = is_small and source.shape == _SHAPE and source.dtype == np.uint8
            if fits:
                self._arrays[place] = source
            return fits
        # Check the size first: a large file would otherwise be parsed here and again in decode().
        plain = plain_png(source, limits) if isinstance(source, bytes) and source[_PNG_SIZE] == _SIZE else None
        if plain is None:
            return False
        if not self._pages:
            self._page = Image.new("L", _SHAPE)
            self._sheet = Image.new("L", (SIDE, SIDE * self._most)) if self._most > 1 else self._page
        try:
            self._page.frombytes(plain[1], "zip", "L")
        except ValueError:
            return False
        if self._sheet is not self._page:
            self._sheet.paste(self._page, (0, SIDE * len(self._pages)))
        self._pages.append(place)
        return True

    def add(self, place: int, picture: Image.Image) -> bool:
        """Take a decoded picture; return False if it has another size or mode."""
        fits = picture.mode == "L" and picture.size == _SHAPE
        if fits:
            self._arrays[place] = np.asarray(picture)
        return fits


def preprocess28(levels: np.ndarray) -> list[Preprocessed | None]:
    """Preprocess (N, 28, 28) uint8; return None for a picture that is not the plain case."""
    return [found for start in range(0, len(levels), BLOCK) for found in _block(levels[start : start + BLOCK])]


def _block(levels: np.ndarray) -> list[Preprocessed | None]:
    n = len(levels)
    border = levels.reshape(n, -1).take(_BORDER, axis=1)
    border.sort(axis=1)
    paper = border[:, len(_BORDER) // 2]
    is_level = _is_level(border, paper).tolist()
    light = _is_light(levels, paper)
    depth = _depth(levels, paper, light)
    full = np.partition(depth.reshape(n, -1), _FULL, axis=1)[:, _FULL]

    masks = np.zeros((3, n, _ROW, _ROW), bool)
    np.greater(depth, _SOLID[full][:, None, None], out=masks[0, :, :SIDE, :SIDE])
    np.greater(depth, _SOFT[full][:, None, None], out=masks[1, :, :SIDE, :SIDE])
    np.equal(levels[:, :, 1:], levels[:, :, :-1], out=masks[2, :, :SIDE, : SIDE - 1])
    solid, soft, same = _numbers(masks)

    found: list[Preprocessed | None] = [BLANK] * n
    inks, bounds = [0] * n, {}
    for i, deepest in enumerate(full.tolist()):
        if not is_level[i] or (same[i] & same[i] >> 1).bit_count() <= _NO_GRAIN:
            found[i] = None
        elif deepest >= MIN_CONTRAST:
            inks[i], bounds[i] = _ink(_without_specks(solid[i]), soft[i])
    if bounds:
        for i, image in _laid_out(depth, full, _pictures(inks), bounds):
            box = Box(*map(float, bounds[i]))
            found[i] = Preprocessed(image, box, "light-on-dark" if light[i] else "dark-on-light")
    return found


def _laid_out(
    depth: np.ndarray, full: np.ndarray, mask: np.ndarray, bounds: dict[int, tuple[int, int, int, int]]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number and the (28, 28) float32 layout of each picture with ink.

    Args:
        depth: (N, 28, 28) uint8.
        full: (N,) uint8, the depth of full ink.
        mask: (N, 28, 28) uint8, 1 where there is ink.
        bounds: x0, y0, x1, y1 of the ink by the picture's number.
    """
    n = len(depth)
    depth = depth * mask
    cover = depth * _COVER[full][:, None, None]
    np.minimum(cover, 1, out=cover)
    clipped = np.minimum(depth, full[:, None, None])
    moments = (clipped.reshape(n, -1).astype(np.float32) @ _MOMENTS).tolist()
    for i, (x0, y0, x1, y1) in bounds.items():
        h, w = y1 - y0, x1 - x0
        mass, down, right = moments[i]
        y, x = down / mass - y0 + 0.5 + TIE, right / mass - x0 + 0.5 + TIE
        row, column = int(y), int(x)
        if max(h, w) != BOX_SIDE or not (_NO_TIE < y - row < 1 - _NO_TIE and _NO_TIE < x - column < 1 - _NO_TIE):
            yield i, lay_out(cover[i, y0:y1, x0:x1])
            continue
        top, left = min(max(CENTER - row, 0), SIDE - h), min(max(CENTER - column, 0), SIDE - w)
        if top == y0 and left == x0:
            yield i, cover[i]  # already in place
        else:
            sheet = np.zeros(_SHAPE, np.float32)
            sheet[top : top + h, left : left + w] = cover[i, y0:y1, x0:x1]
            yield i, sheet


def _is_level(border: np.ndarray, paper: np.ndarray) -> np.ndarray:
    """Return (N,) bool, whether no (N, B) sorted levels are darker than the paper, or none are lighter."""
    paper = paper.astype(np.int16)
    level: np.ndarray = (border[:, 0] >= paper - MIN_CONTRAST) | (border[:, -1] <= paper + MIN_CONTRAST)
    return level


def _is_light(levels: np.ndarray, paper: np.ndarray) -> np.ndarray:
    """Return (N,) bool, whether the ink is lighter than the paper."""
    light: np.ndarray = paper == 0
    if (light | (paper == WHITE)).all():
        return light
    above = levels - paper.astype(np.int16)[:, None, None]
    above *= np.abs(above) >= MIN_CONTRAST
    light = above.sum(axis=(1, 2), dtype=np.int64) > 0
    return light


def _depth(levels: np.ndarray, paper: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Return (N, 28, 28) uint8, how far each pixel lies from the paper's level towards the ink's, else 0."""
    if not light.all():
        turn = np.where(light, 0, WHITE).astype(np.uint8)
        levels, paper = levels ^ turn[:, None, None], paper ^ turn
    if not paper.any():
        return levels
    paper = paper[:, None, None]
    ink: np.ndarray = np.maximum(levels, paper) - paper
    return ink


def _numbers(masks: np.ndarray) -> list[list[int]]:
    """Pack (K, N, 32, 32) bool into K lists of N masks."""
    kinds, n = masks.shape[:2]
    data = np.packbits(masks, bitorder="little").tobytes()
    every = [int.from_bytes(data[i : i + _BYTES], "little") for i in range(0, len(data), _BYTES)]
    return [every[k * n : (k + 1) * n] for k in range(kinds)]


def _pictures(masks: list[int]) -> np.ndarray:
    """Unpack N masks into (N, 28, 28) uint8, 0 and 1."""
    data = np.frombuffer(b"".join([mask.to_bytes(_BYTES, "little") for mask in masks]), np.uint8)
    return np.unpackbits(data, bitorder="little").reshape(-1, _ROW, _ROW)[:, :SIDE, :SIDE]


def _dilated(mask: int) -> int:
    """Dilate by one pixel; the caller cuts off what grows over the edges."""
    mask |= mask << 1 | mask >> 1
    return mask | mask << _ROW | mask >> _ROW


def _within_reach(mask: int) -> int:
    """Dilate by :data:`REACH` pixels: by one, then by two."""
    mask |= mask << 1 | mask >> 1
    mask |= mask << 2 | mask >> 2
    mask |= mask << _ROW | mask >> _ROW
    return mask | mask << 2 * _ROW | mask >> 2 * _ROW


def _without_specks(mask: int) -> int:
    """Remove specks from a mask that is not empty: keep its large connected components."""
    if _no_specks(mask):
        return mask
    components, rest = [], mask
    while rest:
        component = rest & -rest
        while (more := _dilated(component) & rest) != component:
            component = more
        components.append(component)
        rest ^= component
    least = max(PIECE_SHARE * max(component.bit_count() for component in components), 1)
    return sum(component for component in components if component.bit_count() >= least)


def _no_specks(mask: int) -> bool:
    """Return whether all components are certainly large enough: each is connected to a block of the size needed."""
    needed = PIECE_SHARE * mask.bit_count()  # an upper bound: the largest component has at most all pixels
    if needed <= 1:
        return True
    pairs = mask & mask >> 1
    if needed <= 4:
        seen = pairs & pairs >> _ROW
    elif needed <= 6:
        triples = pairs & pairs >> 1
        seen = pairs & pairs >> _ROW & pairs >> 2 * _ROW | triples & triples >> _ROW
    else:
        return False
    reached = 0
    while seen != reached:
        reached = seen
        seen |= seen << 1 | seen >> 1
        seen |= seen << _ROW | seen >> _ROW
        seen &= mask
    return seen == mask


def _ink(solid: int, soft: int) -> tuple[int, tuple[int, int, int, int]]:
    """Return the mask of the ink, from its solid and soft pixels, and its bounds."""
    keep = _within_reach(solid) & soft
    y0, y1 = ((keep & -keep).bit_length() - 1) // _ROW, (keep.bit_length() - 1) // _ROW + 1
    columns = keep
    for rows in (16, 8, 4, 2, 1):
        columns |= columns >> rows * _ROW
    columns &= (1 << _ROW) - 1
    x0, x1 = (columns & -columns).bit_length() - 1, columns.bit_length()
    within = ((1 << x1) - (1 << x0)) * (_COLUMN & (1 << _ROW * y1) - (1 << _ROW * y0))
    return _dilated(keep) & within, (x0, y0, x1, y1)
