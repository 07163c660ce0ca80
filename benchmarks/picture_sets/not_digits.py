"""What is not a digit, at the model's own threshold and at one that rejects at most 0.5% of real digits.

That threshold is set by digits of the validation parts, MNIST's and the pen writers', and not by those of the tests.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inkdigits.data.catalog import PEN_WRITERS, load
from inkdigits.data.dataset import stratified
from inkdigits.data.omniglot import HELD_BACK, load_omniglot
from inkdigits.data.omniglot import LOOKALIKES as CHARACTERS_ALIKE
from inkdigits.data.pen import PenDigit, load_pendigits, pen_picture
from inkdigits.errors import DataError
from inkdigits.prediction import Prediction
from inkdigits.synthesis.non_digits import lookalikes, non_digit_pictures
from inkdigits.training.config import TrainConfig
from inkdigits.training.prepare import VALIDATION_SEED

from picture_sets.scenes import photographs, scenes
from picture_sets.tally import Case, Measured, Row, Target, accepted, at_least

__all__ = ["not_digits", "strict_threshold"]

ALLOWED = 0.005  # of the validation digits of each data set: what the strict threshold rejects at most
SEED = 41
PICTURES = 5000  # of non-digits: 500 of each kind
LOOKALIKES = 200  # letters that look like digits
SCENES, PHOTOGRAPHS = 160, 40
CLEAR = at_least(0.995)
TARGETS: dict[str, Target] = {
    **dict.fromkeys(("blank", "noise", "scribble", "shape"), CLEAR),
    **{kind: at_least(0.95) for kind in ("letter", "stroke letter")},
}


def strict_threshold(measured: Measured) -> float:
    """Find the highest threshold that rejects at most 0.5% of the validation digits of both data sets."""
    thresholds = []
    for cases in validation(measured):
        answers = measured.read(cases)
        scores = sorted(_score(answer) if accepted(answer, measured.recognizer, 0) else 0 for answer in answers)
        thresholds.append(scores[int(ALLOWED * len(scores))])
    return min(thresholds)


def validation(measured: Measured) -> Iterator[list[Case]]:
    """Digits that no model is trained on, and that are not of the tests."""
    mnist = load("mnist", measured.settings, part="train")
    chosen = stratified(mnist.labels, TrainConfig.validation, VALIDATION_SEED)[1]
    yield [Case(np.asarray(mnist.images[i]), int(mnist.labels[i])) for i in chosen]
    pens = [digit for digit in load_pendigits(measured.settings) if digit.writer in PEN_WRITERS["validation"]]
    yield [Case(pen_picture(digit, np.random.default_rng(i)), digit.label) for i, digit in enumerate(pens)]


def not_digits(measured: Measured) -> Iterator[Row]:
    """The share of each kind that is rejected."""
    for name in ("mnist", "pen"):
        data = load(name, measured.settings, part="test")
        yield from _both(measured, f"digits rejected: {name} test", [Case(i, None) for i in data.images])
    kinds: dict[str, list[Case]] = {}
    for kind, picture in non_digit_pictures(PICTURES, SEED, "test"):
        kinds.setdefault(kind, []).append(Case(picture, None))
    for kind, cases in kinds.items():
        yield from _both(measured, f"not a digit: {kind}", cases, TARGETS.get(kind))
    letters = [Case(picture, None) for _, picture in lookalikes(LOOKALIKES, SEED, "test")]
    yield from _both(measured, "letters that look like digits", letters)
    found = [Case(picture, None) for _, picture in scenes(SCENES) + photographs(PHOTOGRAPHS)]
    yield from _both(measured, "not a digit: textures and photographs", found, at_least(0.99))
    apart: dict[bool, list[Case]] = {False: [], True: []}
    for i, character in enumerate(load_omniglot(measured.settings)):
        if character.alphabet == HELD_BACK:
            drawing = PenDigit(-1, character.drawer, character.strokes)
            picture = pen_picture(drawing, np.random.default_rng((SEED, i)))
            apart[(character.alphabet, character.name) in CHARACTERS_ALIKE].append(Case(picture, None))
    yield from _both(measured, f"not a digit: {HELD_BACK}", apart[False], at_least(0.85))
    if apart[True]:
        yield from _both(measured, f"{HELD_BACK}'s characters that look like digits", apart[True])


def _both(measured: Measured, name: str, cases: list[Case], target: Target | None = None) -> Iterator[Row]:
    """Count at the strict threshold, which the target is for, and at the model's own."""
    answers = measured.read(cases)
    strict = measured.strict_threshold
    yield measured.count(name, cases, target, answers=answers, threshold=strict, of="rejected")
    yield measured.count(name, cases, answers=answers, of="rejected")


def _score(answer: object) -> float:
    if not isinstance(answer, Prediction):
        raise DataError(f"a validation digit cannot be read: {answer}")
    return float(answer.confidence if answer.digit_score is None else answer.digit_score)
