"""Choose the text of a number: the line network proposes texts, and the network for single digits is a witness.

A character whose ink stands alone is read by itself, too. The witness says how well each proposed text fits: the digit,
or that it is several digits, or none. The line network alone decides about digits that touch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inkdigits.network import shipped_entry
from inkdigits.prediction import CHARACTERS, Prediction
from inkdigits.reading.lines import Frames
from inkdigits.reading.search import Restriction, align, log_probability, search

if TYPE_CHECKING:
    from inkdigits.reading.strokes import StrokeWitness

__all__ = ["Calibration", "Scored", "Witness", "digit_witness", "features", "mark_witness", "score"]

LEAST = -7.0  # log-probability that the witness gives, at least
LEAST_DIGIT = -3.0  # log-probability that one digit is another than the witness says, at least
SURE = math.log(0.5)  # log-probability of the witness's own character, above which it is proposed, too
STROKES = 0.6  # weight of the log-probability of the strokes
DOUBT = 0.02  # prior probability that a restriction does not hold
NEARLY_NONE = 1e-9  # probability; its logarithm is taken
NO_MARK = -4.0  # log-probability that low ink is no sign, but a speck, or a part of a digit
DASH = 1.4  # width by height of a dash, at least
DASH_MIDDLE = (0.2, 0.8)  # how far down it is
SHORTEST_DASH = 0.15  # of the number's height
COMMA, COMMA_SHAPE = 0.26, 1.6  # height of a comma by that of the number, or by its width, at least
SUREST = 12.0  # largest logit of a text's probability


class Calibration(NamedTuple):
    """What scripts/calibrate_line.py fits on numbers by hands held back from training.

    Attributes:
        witness: weight of the log-probability of the network for single digits that ink is one digit, or is not.
        digit: weight of its log-probability of which digit that is.
        weights: of the :func:`features` of a text, in the logit of the probability that it is right.
    """

    witness: float = 0.5
    weights: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)
    digit: float = 0.5


@cache
def calibration() -> Calibration:
    """Return the calibration of the shipped line network."""
    fitted = shipped_entry("line").get("calibration", {})
    return Calibration(fitted["witness"], tuple(fitted["weights"]), fitted["digit"]) if fitted else Calibration()


class Witness(NamedTuple):
    """What is known of the ink of one character group by itself.

    Attributes:
        left, right: of the ink, in pixels of the number's ink.
        scores: log-probability of each of :data:`inkdigits.prediction.CHARACTERS`.
        other: log-probability that it is none of them, or several.
        one: log-probability that it is one digit, whichever.
        is_digit: whether it is accepted as a digit.
        is_mark: whether it is so low that it is a point, comma or dash.
    """

    left: float
    right: float
    scores: np.ndarray
    other: float
    is_digit: bool
    is_mark: bool = False
    one: float = 0.0


def digit_witness(left: float, right: float, read: Prediction) -> Witness:
    """Return what the network for single digits says."""
    certainty = 1.0 if read.digit_score is None else read.digit_score
    other = max(math.log(max(1 - certainty, NEARLY_NONE)), LEAST)
    scores = np.full(len(CHARACTERS), other)
    digits = np.log(np.maximum(read.probabilities, NEARLY_NONE)) + math.log(max(certainty, NEARLY_NONE))
    scores[: len(digits)] = np.maximum(digits, LEAST)
    one = max(math.log(max(certainty, NEARLY_NONE)), LEAST)
    return Witness(float(left), float(right), scores, other, read.is_digit, one=one)


def mark_witness(left: float, right: float, width: float, height: float, middle: float) -> Witness:
    """Return what the shape and the place of low ink say.

    Args:
        left, right: of the ink, in pixels of the number's ink.
        width, height: in heights of the number.
        middle: how far down it is, 0 to 1.
    """
    is_dash = width > DASH * height and DASH_MIDDLE[0] < middle < DASH_MIDDLE[1] and width > SHORTEST_DASH
    is_comma = height > COMMA or height > COMMA_SHAPE * width
    scores = np.full(len(CHARACTERS), NO_MARK)
    for sign, fits in ((".", not is_dash and not is_comma), (",", not is_dash and is_comma), ("-", is_dash)):
        scores[CHARACTERS.index(sign)] = math.log(0.75 if fits else 0.12)
    return Witness(float(left), float(right), scores, NO_MARK, False, True)


class Scored(NamedTuple):
    """A text of a number.

    Attributes:
        text: of characters.
        confidence: calibrated probability that it is right.
        frames: the frame of each character.
        groups: the group of each character; characters of one group touch.
        each: probability of each character, for the most likely text; for others, none.
    """

    text: str
    confidence: float
    frames: list[int]
    groups: list[int]
    each: list[float]


def score(
    frames: Frames,
    witnesses: Sequence[Witness],
    restriction: Restriction,
    strokes: StrokeWitness | None = None,
    fitted: Calibration | None = None,
) -> list[Scored]:
    """Return the texts that a number may be, the most likely first; none, if the restriction allows none.

    Args:
        frames: what the line network finds.
        witnesses: what the network for single digits says of each character group.
        restriction: which texts may be found.
        strokes: what it says of the pen strokes, if the number was drawn.
        fitted: the calibration; None: that of the shipped line network.
    """
    fitted = fitted or calibration()
    proposed = dict(search(frames.scores, restriction))
    if not proposed:
        return []
    aligned = dict(zip(proposed, align(frames.scores, list(proposed)), strict=True))
    best = next(iter(proposed))
    more = _corrected(best, aligned[best], frames, witnesses) + ([strokes.best_text()] if strokes else [])
    for text in more:
        if text and text not in proposed and restriction.allows(text):
            proposed[text] = log_probability(frames.scores, text)
    added = [text for text in proposed if text not in aligned]
    if added:
        aligned.update(zip(added, align(frames.scores, added), strict=True))
    group_of: dict[int, int] = {}  # of a frame; texts share most of their frames
    groups = {text: _groups(at, frames, witnesses, group_of) for text, at in aligned.items()}
    total = {
        text: p
        + _testimony(text, groups[text], witnesses, fitted)
        + (STROKES * strokes.log_probability(text) if strokes else 0.0)
        for text, p in proposed.items()
    }
    highest = max(total.values())
    weight = {text: math.exp(value - highest) for text, value in total.items()}
    whole = sum(weight.values())
    if not restriction.is_any:  # if another text is far more likely, the restriction may be wrong
        for text, likely in search(frames.scores)[:1]:
            if not restriction.allows(text):
                whole += DOUBT * math.exp(min(likely - max(proposed.values()), 700.0))
    probability = {text: value / whole for text, value in weight.items()}
    order = sorted(probability, key=lambda text: -probability[text])
    best = order[0]
    certainty = float(np.dot(fitted.weights, features(best, probability[best], groups[best])))
    confidence = 1 / (1 + math.exp(-max(-SUREST, min(SUREST, certainty))))
    # What the best text loses or gains by its calibration, the others gain or lose.
    times = (1 - confidence) / max(1 - probability[best], NEARLY_NONE)
    return [
        Scored(
            text,
            confidence if text == best else probability[text] * times,
            aligned[text],
            groups[text],
            [max(0.0, 1 - (1 - p) * times) for p in _each(text, probability)] if text == best else [],
        )
        for text in order
    ]


def features(text: str, probability: float, groups: Sequence[int]) -> tuple[float, float, float, float]:
    """Return what the probability that a text is right depends on.

    Returns:
        The logit of its probability among the proposed texts; 1; the share of characters that touch another; and the
        number of characters, 10 counting as 1.
    """
    p = min(max(probability, NEARLY_NONE), 1 - NEARLY_NONE)
    logit = max(-SUREST, min(SUREST, math.log(p / (1 - p))))
    touching = sum(groups.count(group) > 1 for group in groups) / len(text)
    return logit, 1.0, touching, len(text) / 10


def _groups(
    at: Sequence[int], frames: Frames, witnesses: Sequence[Witness], known: dict[int, int] | None = None
) -> list[int]:
    """Return the witness whose ink each character is; ``known`` are those of frames, and gets more."""
    if not witnesses:
        return [0] * len(at)
    known = {} if known is None else known
    for frame in at:
        if frame not in known:
            left, _, right, _ = frames.boxes[frame].tolist()
            middle = (left + right) / 2
            away = [
                (max(w.left - middle, middle - w.right, 0.0), abs((w.left + w.right) / 2 - middle)) for w in witnesses
            ]
            known[frame] = away.index(min(away))
    return [known[frame] for frame in at]


def _testimony(text: str, groups: Sequence[int], witnesses: Sequence[Witness], fitted: Calibration) -> float:
    """Return how well a text fits what the witnesses say; those of marks count in full."""
    of: list[str] = [""] * len(witnesses)
    for character, group in zip(text, groups, strict=True):
        if witnesses:
            of[group] += character
    total = 0.0
    for characters, witness in zip(of, witnesses, strict=True):
        is_one = len(characters) == 1
        said = float(witness.scores[CHARACTERS.index(characters)]) if is_one else witness.other
        if witness.is_mark:
            total += said
        elif is_one and characters.isdigit():
            total += fitted.witness * witness.one + fitted.digit * max(said - witness.one, LEAST_DIGIT)
        else:
            total += fitted.witness * said
    return total


def _corrected(text: str, at: Sequence[int], frames: Frames, witnesses: Sequence[Witness]) -> list[str]:
    """Return the text with one character as its witness reads it, for each that reads another, and with all of them."""
    groups = _groups(at, frames, witnesses)
    middles = [(frames.boxes[frame][0] + frames.boxes[frame][2]) / 2 for frame in at]
    changes: list[tuple[int, int, str]] = []  # from and to which character, and what is there
    for i, witness in enumerate(witnesses):
        of = [k for k, group in enumerate(groups) if group == i]
        best = int(witness.scores.argmax())
        if not of and witness.is_mark:
            k = sum(middle < (witness.left + witness.right) / 2 for middle in middles)
            changes.append((k, k, CHARACTERS[best]))
        elif len(of) == 1 and text[of[0]] != CHARACTERS[best] and (witness.is_mark or witness.scores[best] > SURE):
            changes.append((of[0], of[0] + 1, CHARACTERS[best]))
    every = text
    for start, end, character in sorted(changes, reverse=True):
        every = every[:start] + character + every[end:]
    each = [text[:start] + character + text[end:] for start, end, character in changes]
    return [*each, every] if len(each) > 1 else each


def _each(text: str, probability: dict[str, float]) -> list[float]:
    """Return the probability of each character: of all texts that have it there, from the front or from the back."""
    each = []
    for i, character in enumerate(text):
        back = len(text) - i
        shared = [p for other, p in probability.items() if character in (other[i : i + 1], other[-back:][:1])]
        each.append(min(1.0, sum(shared)))
    return each
