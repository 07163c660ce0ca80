"""The hands that lines of numbers are composed of: MNIST's digits by writer, pen strokes by writer, and other signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from inkdigits.data.catalog import PEN_WRITERS, load
from inkdigits.data.omniglot import HELD_BACK, LOOKALIKES, load_omniglot
from inkdigits.data.pen import load_pendigits
from inkdigits.data.qmnist import load_writers
from inkdigits.settings import Settings
from inkdigits.synthesis.fonts import DIGIT_LIKE, FONTS, STROKE_FONTS, SYMBOLS, rendered, strokes_of
from inkdigits.synthesis.lines import Hand
from inkdigits.synthesis.strings import cropped
from inkdigits.synthesis.strokes import draw

__all__ = [
    "LineHands",
    "line_hands",
    "mixed_writers",
    "pen_hands",
    "printed_hands",
    "scanned_hands",
    "stroke_width",
]

HELD_BACK_SHARE = 10  # every tenth of MNIST's writers validates
SCAN_SIZE = 20.0  # pixels, the height of MNIST's digits
PEN_SIZE = 40.0  # pixels, the height that strokes are drawn at
MIXED_DIGITS = 110  # as many as a writer of MNIST has
PENS = (1.8, 2.8, 4.2, 6.0, 8.0)  # pixels
SIGNS = "ABCDEFGHJKLMNPRSTUVWXYZabcdefhkmnprstuvwxyz€$£&%#@+=*<>~():;"


@dataclass(frozen=True, eq=False)
class LineHands:
    """What lines of one part are composed of.

    Attributes:
        scanned, pens: hands.
        printed: digits in print.
        signs: strokes of signs that are not digits.
    """

    scanned: Sequence[Hand]
    pens: Sequence[Hand]
    printed: Sequence[Hand]
    signs: Sequence[Sequence[np.ndarray]]


def stroke_width(image: np.ndarray) -> float:
    """Return the mean width of the strokes of a (h, w) uint8 digit, in pixels."""
    mask = np.pad(image > 100, 1)
    runs = max(int((np.diff(mask.astype(np.int8), axis=axis) == 1).sum()) for axis in (0, 1))
    return float(np.clip(mask.sum() / max(1, runs), 1.2, 5.0))


def scanned_hands(images: np.ndarray, labels: np.ndarray, writers: np.ndarray) -> list[Hand]:
    """Group (N, 28, 28) uint8 digits by their writer; a writer without all ten digits is left out."""
    hands = []
    order = np.argsort(writers, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(writers[order])) + 1):
        digits = {d: [_cropped(images[i]) for i in group[labels[group] == d]] for d in range(10)}
        if all(digits.values()):
            pen = float(np.median([stroke_width(images[i]) for i in group[:20]]))
            hands.append(Hand(digits, SCAN_SIZE, pen))
    return hands


def mixed_writers(images: np.ndarray, digits: int = MIXED_DIGITS) -> np.ndarray:
    """Return, for each (N, 28, 28) uint8 digit, a hand of digits with strokes of about one width, by many writers.

    Args:
        images: the digits.
        digits: of a hand.
    """
    order = np.argsort([stroke_width(image) for image in images], kind="stable")
    of = np.empty(len(images), int)
    of[order] = np.arange(len(images)) // digits
    return of


def printed_hands() -> list[Hand]:
    """Render the digits in each font that is for training.

    Raises:
        DataError: a font is not installed.
    """
    hands = []
    for package, file in FONTS["train"]:
        glyphs = [rendered(str(d), package, file) for d in range(10)]
        scale = PEN_SIZE / len(glyphs[0])
        sizes = [(max(1, round(w * scale)), max(1, round(h * scale))) for h, w in (glyph.shape for glyph in glyphs)]
        shrunk = [np.asarray(Image.fromarray(g).resize(size)) for g, size in zip(glyphs, sizes, strict=True)]
        pen = float(np.median([stroke_width(glyph) for glyph in shrunk]))
        hands.append(Hand({d: [_cropped(glyph)] for d, glyph in enumerate(shrunk)}, PEN_SIZE, pen))
    return hands


def pen_hands(settings: Settings, part: str, pens: Sequence[float] = PENS) -> list[Hand]:
    """Draw the digits of each pen writer of a part with pens of several widths; sizes within a hand are as written."""
    drawn = [digit for digit in load_pendigits(settings) if digit.writer in PEN_WRITERS[part]]
    hands = []
    for writer in PEN_WRITERS[part]:
        own = [digit for digit in drawn if digit.writer == writer]
        mean = float(np.mean([np.ptp(np.concatenate(digit.strokes)[:, 1]) for digit in own]))
        for pen in pens:
            digits: dict[int, list[np.ndarray]] = {d: [] for d in range(10)}
            for digit in own:
                points = np.concatenate(digit.strokes)
                low, span = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1)
                scale = float(np.clip(PEN_SIZE / mean, 0.5 * PEN_SIZE / span[1], 1.5 * PEN_SIZE / span[1]))
                strokes = [(stroke - low) * scale + pen / 2 + 1 for stroke in digit.strokes]
                side = (span * scale + pen + 3).astype(int)
                digits[digit.label].append(_cropped(draw(strokes, *side, pen=pen, paper=0, ink=255)))
            if all(digits.values()):
                hands.append(Hand(digits, PEN_SIZE, pen))
    return hands


def line_hands(settings: Settings, part: str) -> LineHands:
    """Load the hands of one part, "train" or "validation", of MNIST's training images and the pen strokes.

    Raises:
        DataError: MNIST, QMNIST's writers, the pen strokes or Omniglot cannot be loaded.
    """
    data, writers = load("mnist", settings, part="train"), load_writers(settings)
    chosen = np.flatnonzero((writers % HELD_BACK_SHARE == 0) == (part == "validation"))
    images, labels = np.asarray(data.images)[chosen], data.labels[chosen]
    scanned = scanned_hands(images, labels, writers[chosen])
    scanned += scanned_hands(images, labels, mixed_writers(images))
    return LineHands(scanned, pen_hands(settings, part), printed_hands(), _signs(settings, part))


def _signs(settings: Settings, part: str) -> list[list[np.ndarray]]:
    known = [c for c in load_omniglot(settings) if c.alphabet != HELD_BACK and (c.alphabet, c.name) not in LOOKALIKES]
    characters = [list(c.strokes) for c in known if (c.drawer % 5 == 0) == (part == "validation")]
    fonts = STROKE_FONTS["train"][::2] if part == "train" else STROKE_FONTS["train"][1::2]
    letters = [c for c in SIGNS if c not in DIGIT_LIKE or c in "$"]
    drawn = [strokes_of(c, font) for font in fonts for c in [*letters, *SYMBOLS]]
    return characters + [strokes for strokes in drawn if strokes] * 3


def _cropped(image: np.ndarray) -> np.ndarray:
    return np.rint(cropped(image.astype(np.float32) / 255) * 255).astype(np.uint8)
