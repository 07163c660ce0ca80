"""Choose the text of a number: the line network proposes texts, and the network for single digits is a witness.

A character whose ink stands alone is read by itself, too. The witness says how well each proposed text fits: the digit,
or that it is several digits, or none. The line network alone decides about digits that touch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from inkdigits.network import shipped_entry
from inkdigits.prediction import MARK
from inkdigits.reading.lines import Frames
from inkdigits.reading.search import Restriction, align, log_probability, search
from inkdigits.reading.strokes import StrokeWitness

__all__ = ["Calibration", "Scored", "Witness", "features", "score"]

LEAST = -7.0  # log-probability that the witness gives, at least
SURE = 0.5  # probability of the witness's own digit, above which it is proposed, too
STROKES = 0.6  # weight of the log-probability of the strokes
DOUBT = 0.02  # prior probability that a restriction does not hold
SUREST = 12.0  # largest logit of a text's probability


class Calibration(NamedTuple):
    """What scripts/calibrate_line.py fits on numbers by hands held back from training.

    Attributes:
        witness: weight of the witness's log-probabilities.
        weights: of the :func:`features` of a text, in the logit of the probability that it is right.
    """

    witness: float = 0.5
    weights: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)


@cache
def calibration() -> Calibration:
    """Return the calibration of the shipped line network."""
    fitted = shipped_entry("line").get("calibration", {})
    return Calibration(fitted["witness"], tuple(fitted["weights"])) if fitted else Calibration()


class Witness(NamedTuple):
    """What the network for single digits says of the ink of one character group.

    Attributes:
        left, right: of the ink, in pixels of the number's ink.
        digits: (10,) log-probabilities.
        score: probability that it is a digit at all.
        is_digit: whether it is accepted as one.
    """

    left: float
    right: float
    digits: np.ndarray
    score: float
    is_digit: bool


class Scored(NamedTuple):
    """A text of a number.

    Attributes:
        text: of characters.
        confidence: calibrated probability that it is right.
        frames: the frame of each character.
        groups: the group of each character; characters of one group touch.
        each: probability of each character.
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
    more = _corrected(next(iter(proposed)), frames, witnesses) + ([strokes.best_text()] if strokes else [])
    for text in more:
        if text and text not in proposed and restriction.allows(text):
            proposed[text] = log_probability(frames.scores, text)
    aligned = dict(zip(proposed, align(frames.scores, list(proposed)), strict=True))
    groups = {text: _groups(at, frames, witnesses) for text, at in aligned.items()}
    total = {
        text: p
        + fitted.witness * _testimony(text, groups[text], witnesses)
        + (STROKES * strokes.log_probability(text) if strokes else 0.0)
        for text, p in proposed.items()
    }
    highest = max(total.values())
    weight = {text: math.exp(value - highest) for text, value in total.items()}
    whole = sum(weight.values())
    if not restriction.is_any:  # if another text is far more likely, the restriction may be wrong
        likeliest = max((p for _, p in search(frames.scores)), default=-math.inf)
        whole += DOUBT * math.exp(min(likeliest - max(proposed.values()), 700.0))
    probability = {text: value / whole for text, value in weight.items()}
    order = sorted(probability, key=lambda text: -probability[text])
    best = order[0]
    certainty = float(np.dot(fitted.weights, features(best, probability[best], groups[best])))
    confidence = 1 / (1 + math.exp(-max(-SUREST, min(SUREST, certainty))))
    # What the best text loses or gains by its calibration, the others gain or lose.
    times = (1 - confidence) / max(1 - probability[best], 1e-9)
    return [
        Scored(
            text,
            confidence if text == best else probability[text] * times,
            aligned[text],
            groups[text],
            [max(0.0, 1 - (1 - p) * times) for p in _each(text, probability)],
        )
        for text in order
    ]


def features(text: str, probability: float, groups: Sequence[int]) -> tuple[float, float, float, float]:
    """Return what the probability that a text is right depends on.

    Returns:
        The logit of its probability among the proposed texts; 1; the share of characters that touch another; and the
        number of characters, 10 counting as 1.
    """
    p = min(max(probability, 1e-9), 1 - 1e-9)
    logit = max(-SUREST, min(SUREST, math.log(p / (1 - p))))
    touching = sum(groups.count(group) > 1 for group in groups) / len(text)
    return logit, 1.0, touching, len(text) / 10


def _groups(at: Sequence[int], frames: Frames, witnesses: Sequence[Witness]) -> list[int]:
    """Return the witness whose ink each character is."""
    if not witnesses:
        return [0] * len(at)
    edges = np.array([(witness.left, witness.right) for witness in witnesses])
    chosen = []
    for frame in at:
        left, _, right, _ = frames.boxes[frame]
        middle = (left + right) / 2
        away = np.maximum(np.maximum(edges[:, 0] - middle, middle - edges[:, 1]), 0)
        chosen.append(int(np.lexsort([np.abs(edges.mean(axis=1) - middle), away])[0]))
    return chosen


def _testimony(text: str, groups: Sequence[int], witnesses: Sequence[Witness]) -> float:
    total = 0.0
    for i, witness in enumerate(witnesses):
        of = [character for character, group in zip(text, groups, strict=True) if group == i]
        no_digit = max(float(np.log(max(1 - witness.score, 1e-9))), LEAST)
        if len(of) == 1 and of[0].isdigit():
            total += max(float(np.log(max(witness.score, 1e-9)) + witness.digits[int(of[0])]), LEAST)
        elif len(of) > 1 or (of and of[0] == MARK) or not of:
            total += no_digit
    return total


def _corrected(text: str, frames: Frames, witnesses: Sequence[Witness]) -> list[str]:
    """Return the text with one digit as its witness reads it, for each whose witness reads another, and all of them."""
    groups = _groups(align(frames.scores, [text])[0], frames, witnesses)
    changed, every = [], list(text)
    for i, (character, group) in enumerate(zip(text, groups, strict=True)):
        if not witnesses or groups.count(group) > 1 or not (character.isdigit() or character == MARK):
            continue
        digit = int(witnesses[group].digits.argmax())
        if str(digit) != character and np.exp(witnesses[group].digits[digit]) > SURE:
            changed.append(text[:i] + str(digit) + text[i + 1 :])
            every[i] = str(digit)
    return [*changed, "".join(every)] if len(changed) > 1 else changed


def _each(text: str, probability: dict[str, float]) -> list[float]:
    """Return the probability of each character: of all texts that have it there, from the front or from the back."""
    each = []
    for i, character in enumerate(text):
        back = len(text) - i
        shared = [p for other, p in probability.items() if character in (other[i : i + 1], other[-back:][:1])]
        each.append(min(1.0, sum(shared)))
    return each
