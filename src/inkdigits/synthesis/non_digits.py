"""Render non-digits: pictures that a recognizer should reject.

:data:`NON_DIGITS` lists the kinds. Each makes dark-on-light pictures of any tone, size and place, for one of two parts:
"train", for training and validation, and "test", with letters from held-out font families and with held-out sorts of
scribbles, lines, shapes, textures and noise. Letters that look like digits, such as O, l and S, are not among them:
:func:`lookalikes` makes those, and they are reported separately.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import numpy as np
from PIL import Image

from inkdigits.errors import SettingError
from inkdigits.synthesis.corruptions import corrupt
from inkdigits.synthesis.corruptions.sheet import field, grid, rounded
from inkdigits.synthesis.doodles import LINES, SCRIBBLES, SHAPES, Form, Strokes
from inkdigits.synthesis.fonts import (
    DIGIT_LIKE,
    FONTS,
    LETTERS,
    STROKE_FONTS,
    SYMBOLS,
    Part,
    fonts_for,
    rendered,
    strokes_of,
)
from inkdigits.synthesis.strokes import draw, place

__all__ = ["DIGIT_LIKE", "NON_DIGITS", "NonDigitKind", "drawn", "lookalikes", "non_digit_pictures"]

SIDES = (100, 260)  # pixels of a picture
PAPERS = (205, 255)  # grey levels
INKS = (0, 90)  # grey levels
SIZES = (0.3, 0.85)  # of the picture, the longer side of the drawing
PENS = (0.02, 0.13)  # of the drawing's size
MARGIN = 0.09  # of the drawing's size, kept free at the edge for the elastic deformation
TILT = 12.0  # degrees, either way
ASPECT = 0.2  # log of width : height, either way
WORD = (2, 5)  # letters

_Maker = Callable[[np.random.Generator, Part], np.ndarray]
_T = TypeVar("_T")


@dataclass(frozen=True)
class NonDigitKind:
    """One kind of non-digit.

    Attributes:
        name: as in :data:`NON_DIGITS`.
        help: what it shows, in one line.
        make: random generator and part → (H, W) uint8, dark on light.
    """

    name: str
    help: str
    make: _Maker


def non_digit_pictures(n: int, seed: int, part: Part) -> list[tuple[str, np.ndarray]]:
    """Render ``n`` non-digits, every kind equally often, as (kind, picture).

    Args:
        n: how many.
        seed: 0 or more. The first pictures of a seed are the same for any ``n``; use another seed for validation.
        part: "train" or "test".

    Raises:
        SettingError: there is no such part.
        DataError: the fonts are not installed.
    """
    _check(part)
    kinds = list(NON_DIGITS.values())
    chosen = ((kinds[i % len(kinds)], np.random.default_rng((seed, i))) for i in range(n))
    return [(kind.name, kind.make(rng, part)) for kind, rng in chosen]


def lookalikes(n: int, seed: int, part: Part) -> list[tuple[str, np.ndarray]]:
    """Render ``n`` letters and symbols that look like digits, :data:`DIGIT_LIKE` in turn, as (character, picture).

    Args and errors as for :func:`non_digit_pictures`.
    """
    _check(part)
    pairs = ((DIGIT_LIKE[i % len(DIGIT_LIKE)], np.random.default_rng((seed, i))) for i in range(n))
    return [
        (character, (_letter, _stroke_letter)[i % 2](character, rng, part)) for i, (character, rng) in enumerate(pairs)
    ]


def _check(part: str) -> None:
    if part not in FONTS:
        raise SettingError(f"part must be train or test, not {part!r}")


def _one(choices: dict[Part, tuple[_T, ...]], rng: np.random.Generator, part: Part) -> _T:
    """Choose from "train"; for the part "test", from both."""
    among = choices["train"] + (choices["test"] if part == "test" else ())
    return among[rng.integers(len(among))]


# --- pictures of strokes and letters ---------------------------------------------------------------------------------


def _side(rng: np.random.Generator) -> int:
    return int(rng.integers(*SIDES, endpoint=True))


def _tones(rng: np.random.Generator) -> tuple[np.int64, np.int64]:
    """Return the tones of paper and ink."""
    return rng.integers(*PAPERS, endpoint=True), rng.integers(*INKS, endpoint=True)


def drawn(strokes: Strokes, rng: np.random.Generator) -> np.ndarray:
    """Draw strokes with any pen, at any size and place, slightly deformed."""
    side = _side(rng)
    size = side * rng.uniform(*SIZES)
    pen = max(1.5, size * np.exp(rng.uniform(*np.log(PENS))))
    size = min(size, side - pen - 4)
    margin = min(pen / 2 + 1 + MARGIN * size, (side - size) / 2)
    placed = place(strokes, size, (0, 0), tilt=rng.uniform(-TILT, TILT), aspect=np.exp(rng.uniform(-ASPECT, ASPECT)))
    at = margin + rng.uniform(0, 1, 2) * (side - 2 * margin - np.concatenate(placed).max(axis=0))
    paper, ink = _tones(rng)
    picture = draw([s + at for s in placed], side, side, pen=pen, paper=paper, ink=ink)
    return corrupt(picture, "elastic", rng.uniform(0, 0.5), rng)


def _printed(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Render a letter's ink, (h, w) with 255 on 0, as if drawn by hand: turned, bent, thicker or thinner."""
    side = _side(rng)
    scale = side * rng.uniform(*SIZES) / max(ink.shape)
    height, width = (max(1, round(length * scale)) for length in ink.shape)
    cover = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32) / 255
    paper, black = _tones(rng)
    picture = np.full((side, side), paper, np.float32)
    margin = min(MARGIN * max(height, width), (side - max(height, width)) / 2)
    top, left = (round(rng.uniform(margin, side - margin - length)) for length in (height, width))
    picture[top : top + height, left : left + width] += cover * (black - paper)
    picture = rounded(picture)
    for kind, severity in (("elastic", 0.6), ("thickness", 0.5), ("affine", 0.6)):
        picture = corrupt(picture, kind, rng.uniform(0, severity), rng)
    return picture


def _letter(text: str, rng: np.random.Generator, part: Part) -> np.ndarray:
    fonts = fonts_for(text, part)
    return _printed(rendered(text, *fonts[rng.integers(len(fonts))]), rng)


def _stroke_letter(text: str, rng: np.random.Generator, part: Part) -> np.ndarray:
    fonts = STROKE_FONTS[part]
    return drawn(strokes_of(text, fonts[rng.integers(len(fonts))]), rng)


def _character(characters: str, rng: np.random.Generator) -> str:
    return characters[rng.integers(len(characters))]


def _sketch(forms: dict[Part, tuple[Form, ...]]) -> _Maker:
    return lambda rng, part: drawn(_one(forms, rng, part)(rng), rng)


def _single(characters: str, *ways: Callable[[str, np.random.Generator, Part], np.ndarray]) -> _Maker:
    return lambda rng, part: ways[rng.integers(len(ways))](_character(characters, rng), rng, part)


def _word(rng: np.random.Generator, part: Part) -> np.ndarray:
    letters = LETTERS if rng.random() < 0.7 else "".join(c for c in LETTERS if c.isupper())
    text = "".join(_character(letters, rng) for _ in range(rng.integers(*WORD, endpoint=True)))
    return (_letter if rng.random() < 0.5 else _stroke_letter)(text, rng, part)


# --- pictures without ink --------------------------------------------------------------------------------------------


def _empty(rng: np.random.Generator) -> np.ndarray:
    side = _side(rng)
    return np.full((side, side), rng.integers(120, 255, endpoint=True), np.uint8)


def _blank(rng: np.random.Generator, part: Part) -> np.ndarray:
    kinds: dict[Part, tuple[str, ...]] = {
        "train": ("", "noise", "light", "shadow", "fog"),
        "test": ("vignette", "crumpled"),  # also held out of training as corruptions
    }
    kind, picture = _one(kinds, rng, part), _empty(rng)
    return corrupt(picture, kind, rng.uniform(0.1, 0.8), rng) if kind else picture


def _noise(rng: np.random.Generator, part: Part) -> np.ndarray:
    sheet = _empty(rng)
    sorts: dict[Part, tuple[Callable[[], np.ndarray], ...]] = {
        "train": (
            lambda: rng.normal(0, rng.uniform(25, 90), sheet.shape),
            lambda: rng.uniform(30, 80) * field(sheet, rng.uniform(1.5, 5), rng),
            lambda: np.where(rng.random(sheet.shape) < rng.uniform(0.02, 0.3), -200, 0),
            lambda: reduce(np.add, (rng.uniform(10, 40) * field(sheet, apart, rng) for apart in (2, 4, 8, 16, 32))),
        ),
        "test": (
            lambda: np.where(field(sheet, rng.uniform(4, 12), rng) > 0.6, -150.0, 0.0),
            lambda: rng.normal(0, rng.uniform(20, 60), (1, sheet.shape[1])) + np.zeros((sheet.shape[0], 1)),
        ),
    }
    return rounded(sheet + _one(sorts, rng, part)())


def _texture(rng: np.random.Generator, part: Part) -> np.ndarray:
    sheet = _empty(rng)
    side = len(sheet)
    y, x = grid(sheet)
    apart, angle = side * rng.uniform(0.04, 0.15), rng.uniform(0, np.pi)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)

    def waves(along: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * along / apart)

    def wood() -> np.ndarray:
        rings = np.hypot(u - side * rng.uniform(-1, 2), 0.15 * v) + 0.6 * apart * field(sheet, side / 3, rng)
        return waves(rings) + 0.3 * field(sheet, 2, rng)

    def bricks() -> np.ndarray:
        row = np.floor(y / apart)
        joint = np.minimum(y % apart, (x + row % 2 * apart) % (2 * apart)) < 0.12 * apart
        return np.where(joint, 2.0, 0.3 * field(sheet, 3, rng))

    sorts: dict[Part, tuple[Callable[[], np.ndarray], ...]] = {
        "train": (
            lambda: waves(u) + waves(v) + 0.3 * rng.standard_normal(sheet.shape),  # weave
            lambda: np.sign(waves(u)),  # stripes
            lambda: np.sign(waves(u) * waves(v)),  # checkers
            lambda: reduce(np.add, (k * field(sheet, side / 12 * k, rng) for k in (0.5, 1, 2, 4))),  # clouds
        ),
        "test": (
            wood,
            bricks,
            lambda: (np.hypot(waves(u), waves(v)) < rng.uniform(0.5, 0.9)) * 2.0,  # dots
            lambda: np.maximum(waves(u) > 0.9, waves(v) > 0.9) * 2.0,  # squared paper
        ),
    }
    return rounded(sheet - rng.uniform(15, 70) * _one(sorts, rng, part)())


#: Every kind by name.
NON_DIGITS: dict[str, NonDigitKind] = {
    kind.name: kind
    for kind in (
        NonDigitKind("blank", "empty paper: grain, uneven light, shadows", _blank),
        NonDigitKind("noise", "grain, spots, blotches, streaks", _noise),
        NonDigitKind("texture", "weave, stripes, checkers, clouds, grids, wood, bricks, dots", _texture),
        NonDigitKind("line", "lines that are not a 1: level, parallel, bent, wavy, dashed", _sketch(LINES)),
        NonDigitKind("scribble", "zigzags, spirals, hatching, coils, tangles", _sketch(SCRIBBLES)),
        NonDigitKind("shape", "triangle, square, star, arrow, check mark, heart, …", _sketch(SHAPES)),
        NonDigitKind("letter", "letters of printed and handwritten fonts", _single(LETTERS, _letter)),
        NonDigitKind("stroke letter", "letters drawn in single strokes", _single(LETTERS, _stroke_letter)),
        NonDigitKind("symbol", "punctuation and signs of fonts", _single(SYMBOLS, _letter, _stroke_letter)),
        NonDigitKind("word", "two to five letters in a row", _word),
    )
}
