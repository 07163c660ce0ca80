"""Read the pen strokes of a drawing: which of them make a character, so that overlapping digits come uncut.

Strokes are sorted from left to right. A few neighbors may be one character, so that a bar or a flag that was added
later joins the stroke that it crosses. How well a text fits is that of the best way to share out the strokes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inkdigits.prediction import CHARACTERS, CLASSES, MARK, Box
from inkdigits.preprocess import Preprocessed
from inkdigits.preprocess.layout import lay_out
from inkdigits.preprocess.strokes import paint
from inkdigits.reading.layout import LONG
from inkdigits.reading.scoring import DASH_MIDDLE, LEAST, SHORTEST_DASH, SURE, digit_witness

if TYPE_CHECKING:
    from inkdigits.recognizer import Recognizer

__all__ = ["StrokeWitness", "draw_several", "witness_strokes"]

MOST_STROKES = 60  # of a number; with more, the strokes are no witness
TOGETHER = 4  # strokes of one character, at most
WIDEST = 1.7  # of a digit's height: the width of one character
GLYPH_SIDE, GLYPH_PEN = 20, 2.4  # pixels of a character as it is drawn, and of its pen
SMALL = 0.45  # of a digit's height: points, commas and dashes are lower
HANGING = 0.6  # of a digit's height from the top of the line: long commas start lower
FLAT = 0.6  # height by width, of a dash at most
POINT_MIDDLE = 0.6  # of the line's height from its top: the middle of a point or comma is lower
AS_HIGH = 0.8  # of the height of several digits: the height of each
SAME_PLACE = 0.5  # of the wider one's width, that two parts share: a digit that was gone over again, not two
NARROW, CLOSE = 0.3, 0.1  # of the height of several digits: narrow parts whose middles are closer are one, too
SURE_DIGITS = -0.2  # log-probability of all of them, at least
OVERLAPPING = 4.0  # by so much more strokes weigh whose ink looks like one digit: the line network cannot read it
NOT_ONE = -50.0  # log-probability that they are one character
MARKED = 0.9  # probability of a point, comma or dash whose shape and place fit


class StrokeWitness(NamedTuple):
    """How well each group of neighboring strokes fits each character.

    Attributes:
        scores: (N, TOGETHER, len(CHARACTERS)) log-probabilities of the strokes from n to n + k, from left to right;
            LEAST where they cannot be a character, NOT_ONE where they are surely several digits.
    """

    scores: np.ndarray

    def log_probability(self, text: str) -> float:
        """Return how well a text fits the strokes."""
        n = len(self.scores)
        best = np.full(n + 1, -math.inf)
        best[0] = 0.0
        for character in text:
            column = self.scores[:, :, CHARACTERS.index(character)]
            after = np.full(n + 1, -math.inf)
            for k in range(TOGETHER):
                if k < n:
                    np.maximum(after[k + 1 :], best[: n - k] + column[: n - k, k], out=after[k + 1 :])
            best = after
        found = float(best[n])
        return found if found > -math.inf else LEAST * max(len(text), n)

    def best_text(self) -> str:
        """Return the text that fits best."""
        n = len(self.scores)
        best: list[tuple[float, str]] = [(0.0, "")] + [(-math.inf, "")] * n
        top, which = self.scores.max(axis=2), self.scores.argmax(axis=2)
        for start in range(n):
            for k in range(min(TOGETHER, n - start)):
                value = best[start][0] + float(top[start, k])
                if value > best[start + k + 1][0]:
                    best[start + k + 1] = value, best[start][1] + CHARACTERS[which[start, k]]
        return best[n][1]


def witness_strokes(
    strokes: Sequence[np.ndarray], height: float, line: tuple[float, float], recognizer: Recognizer
) -> StrokeWitness | None:
    """Read each group of neighboring strokes by itself, in one network run; return None for too many strokes.

    Args:
        strokes: of one number, each (n, 2), y down.
        height: of a common digit.
        line: top and bottom of the digits, in the strokes' unit.
        recognizer: reads the groups.
    """
    n = len(strokes)
    if not 0 < n <= MOST_STROKES:
        return None
    bounds = np.array([np.concatenate([stroke.min(axis=0), stroke.max(axis=0)]) for stroke in strokes])
    order = np.argsort(bounds[:, 0] + bounds[:, 2], kind="stable")
    bounds = bounds[order]
    scores, heights = np.full((n, TOGETHER, len(CHARACTERS)), LEAST), np.zeros((n, TOGETHER))
    sides = np.zeros((n, TOGETHER, 2))
    seen, places = [], []
    for start in range(n):
        for k in range(min(TOGETHER, n - start)):
            left, top = bounds[start : start + k + 1, :2].min(axis=0)
            right, bottom = bounds[start : start + k + 1, 2:].max(axis=0)
            if right - left > WIDEST * height:
                break
            heights[start, k], sides[start, k] = bottom - top, (left, right)
            hangs = top > line[0] + HANGING * height and bottom - top < LONG * height
            if bottom - top < SMALL * height or hangs:
                scores[start, k] = _mark(left, top, right, bottom, height, line)
                continue
            ink = _drawn([strokes[i] for i in order[start : start + k + 1]], left, top, right, bottom)
            seen.append(Preprocessed(lay_out(ink), Box(left, top, right, bottom), "dark-on-light"))
            places.append((start, k))
    for (start, k), found in zip(places, recognizer.predict_preprocessed(seen), strict=True):
        alone = digit_witness(0.0, 0.0, found)
        scores[start, k, :CLASSES] = alone.scores[:CLASSES]
        if found.reason != "several digits":  # better read one by one than as one sign
            scores[start, k, CHARACTERS.index(MARK)] = alone.other
    several = _are_several(scores, heights, sides)
    scores[several, CHARACTERS.index(MARK)] = LEAST
    several &= scores[:, :, :CLASSES].max(axis=2) > SURE  # and their ink looks like one
    for start, k in np.argwhere(several).tolist():
        for i in range(k + 1):
            scores[start + i, : k + 1 - i] = np.maximum(OVERLAPPING * scores[start + i, : k + 1 - i], NOT_ONE)
    scores[several] = NOT_ONE
    return StrokeWitness(scores)


def draw_several(strokes: Sequence[np.ndarray], recognizer: Recognizer) -> bool:
    """Return whether strokes that look like one digit are surely several, which overlap."""
    if not 1 < len(strokes) <= TOGETHER:
        return False
    points = np.concatenate(strokes)
    top, bottom = float(points[:, 1].min()), float(points[:, 1].max())
    found = witness_strokes(strokes, bottom - top, (top, bottom), recognizer)
    return bool(found and (found.scores[0, len(strokes) - 1] == NOT_ONE).all() and found.best_text().isdigit())


def _are_several(scores: np.ndarray, heights: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Return which groups of strokes are surely several digits.

    The parts of one digit, such as those of a 4, may look like digits, too, but not all are as high as it is. A digit
    that was gone over again has its parts in the same place.

    Args:
        scores, heights: of each group.
        sides: (N, TOGETHER, 2), its left and right.
    """
    digits = scores[:, :, :CLASSES].max(axis=2)
    found = np.zeros(heights.shape, bool)
    for start in range(len(digits)):
        for k in range(1, min(TOGETHER, len(digits) - start)):
            height = float(heights[start, k])
            best: dict[tuple[int, int], float] = {}  # of the parts up to one, by its first and last stroke
            for last in range(k + 1):
                for first in range(last + 1):
                    part = start + first, last - first
                    if last - first == k or heights[part] < AS_HIGH * height:
                        continue
                    before = [
                        value
                        for (begin, end), value in best.items()
                        if end == first - 1 and not _same_place(sides[start + begin, end - begin], sides[part], height)
                    ]
                    if first == 0 or before:
                        best[first, last] = float(digits[part]) + max(before, default=0.0)
            found[start, k] = max((value for (_, end), value in best.items() if end == k), default=LEAST) > SURE_DIGITS
    return found


def _same_place(one: np.ndarray, other: np.ndarray, height: float) -> bool:
    """Return whether two parts, given by left and right, are a digit and what goes over it again."""
    widths = one[1] - one[0], other[1] - other[0]
    shared = min(one[1], other[1]) - max(one[0], other[0])
    is_close = abs(one.sum() - other.sum()) / 2 < CLOSE * height
    return bool(shared > SAME_PLACE * max(widths) or (is_close and max(widths) < NARROW * height))


def _mark(left: float, top: float, right: float, bottom: float, height: float, line: tuple[float, float]) -> np.ndarray:
    """Return the log-probabilities of small strokes: a point or comma at the base line, or a dash in the middle."""
    scores = np.full(len(CHARACTERS), LEAST)
    middle = ((top + bottom) / 2 - line[0]) / max(line[1] - line[0], 1e-9)
    width, is_inside = right - left, DASH_MIDDLE[0] < middle < DASH_MIDDLE[1]
    is_dash = bottom - top < FLAT * width and is_inside and width > SHORTEST_DASH * height
    fits = "-" if is_dash else ".," if middle > POINT_MIDDLE else MARK
    for character in fits:
        scores[CHARACTERS.index(character)] = math.log(MARKED)
    return scores


def _drawn(strokes: Sequence[np.ndarray], left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Draw strokes so that their longer side fits a character: their cover, cropped to the ink."""
    scale = (GLYPH_SIDE - GLYPH_PEN) / max(right - left, bottom - top, 1e-9)
    width, height = (max(1, math.ceil(scale * side + GLYPH_PEN)) for side in (right - left, bottom - top))
    placed = [scale * (stroke - [left, top]) + GLYPH_PEN / 2 for stroke in strokes]
    return np.asarray(paint(placed, (width, height), GLYPH_PEN, ink=255, paper=0), np.float32) / 255
