"""How well a model rejects non-digits: the blanks, noise, scribbles, shapes and letters of :mod:`.non_digits`.

A model with an opinion of its own on that (``Prediction.is_digit``) is measured by it. Every model is measured by its
score, too, at the threshold that would reject 1% of the data's own digits: that compares models whatever they think.
Letters that are digits to the eye, such as O, l and S, are reported apart: to read them as digits is no mistake.
"""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass
from statistics import mean
from typing import Any

import numpy as np

from inkdigits.data.dataset import Dataset
from inkdigits.prediction import Prediction
from inkdigits.progress import Progress, bars
from inkdigits.recognizer import Recognizer
from inkdigits.synthesis.non_digits import NON_DIGITS, lookalikes, non_digit_pictures

__all__ = ["NonDigitScore", "OutOfDistribution", "out_of_distribution", "sample"]

DIGITS = 2000  # of the data set, at most, that the threshold is set by
PICTURES = 4000  # of non-digits, in all: 400 of a kind
LOOKALIKES = 200  # letters that are digits to the eye, such as O and l
SEED = 0
ALLOWED = 0.01  # share of the digits that the threshold rejects
CHUNK = 200  # pictures between two steps of the progress bar
CURVE_POINTS = 60
DIGIT, LOOKALIKE = "digit", "lookalike"  # next to the kinds of non-digits


@dataclass(frozen=True)
class NonDigitScore:
    """How one kind of non-digit was scored.

    Attributes:
        n: pictures.
        refused: share of them whose score is under the threshold.
        own: share of them that the model itself calls no digit; None where it has no opinion.
    """

    n: int
    refused: float
    own: float | None


@dataclass(frozen=True)
class OutOfDistribution:
    """What :func:`out_of_distribution` measured.

    Attributes:
        digits: images of the data set that were read.
        score: what the threshold is on: "digit score" or "confidence".
        threshold: under which at most 1% of these images lie.
        digits_refused: share of them that do.
        digits_own: share of them that the model itself calls no digit; None where it has no opinion.
        kinds: scores by kind, in the order of ``non_digits.NON_DIGITS``.
        lookalikes: the score of letters that look like digits.
        curve: (share of digits rejected, share of non-digits rejected) as the threshold rises.
    """

    digits: int
    score: str
    threshold: float
    digits_refused: float
    digits_own: float | None
    kinds: dict[str, NonDigitScore]
    lookalikes: NonDigitScore
    curve: tuple[tuple[float, float], ...]

    @property
    def mean(self) -> float:
        """Mean over kinds of the share rejected."""
        return mean(found.refused for found in self.kinds.values())

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        kinds = [{"name": kind, "help": NON_DIGITS[kind].help, **asdict(found)} for kind, found in self.kinds.items()]
        return {
            **vars(self),
            "mean": self.mean,
            "kinds": kinds,
            "lookalikes": asdict(self.lookalikes),
            "curve": [list(point) for point in self.curve],
        }

    def table(self) -> str:
        """Format as text for a terminal, lines of at most 80 characters."""
        own = self.digits_own is not None

        def line(name: str, n: int, refused: float, by_model: float | None) -> str:
            return f"{name:<30}{n:6,}{refused:10.1%}" + (f"{by_model:14.1%}" if own else "")

        return "\n".join(
            [
                f"pictures of no digit, refused where {self.score} is under {self.threshold:.4f}",
                f"{'kind':<30}{'n':>6}{'refused':>10}" + (f"{'by the model':>14}" if own else ""),
                *(line(f"  {kind}", found.n, found.refused, found.own) for kind, found in self.kinds.items()),
                line("letters that look like digits", *astuple(self.lookalikes)),
                line("digits of the data", self.digits, self.digits_refused, self.digits_own),
            ]
        )


def out_of_distribution(
    recognizer: Recognizer, dataset: Dataset, *, progress: Progress | None = None
) -> OutOfDistribution:
    """Read non-digits, and digits to compare with.

    Args:
        recognizer: the model to measure.
        dataset: digits that can all be read.
        progress: shows the pictures; default a bar on standard error when that is a terminal.

    Raises:
        ImageError: an image cannot be read.
    """
    chosen = dataset.limited(DIGITS)
    kinds, pictures = zip(*non_digit_pictures(PICTURES, SEED, "test"), strict=True)
    letters = [picture for _, picture in lookalikes(LOOKALIKES, SEED, "test")]
    answers: list[Prediction] = []
    with (progress or bars())("reading what is no digit", len(chosen) + PICTURES + LOOKALIKES, "") as advance:
        for images in (chosen.images, pictures, letters):
            for start in range(0, len(images), CHUNK):
                answers += (found := recognizer.predict_batch(images[start : start + CHUNK]))
                advance(len(found))
    what = np.array([DIGIT] * len(chosen) + list(kinds) + [LOOKALIKE] * len(letters))
    scores = np.array([_score(answer) for answer in answers])
    own = None if recognizer.model.threshold is None else np.array([not answer.is_digit for answer in answers])
    of_digits, of_others = np.sort(scores[what == DIGIT]), scores[np.isin(what, kinds)]
    threshold = float(of_digits[int(ALLOWED * len(chosen))])

    def scored(name: str) -> NonDigitScore:
        at = what == name
        return NonDigitScore(
            int(at.sum()), float((scores[at] < threshold).mean()), None if own is None else float(own[at].mean())
        )

    levels = np.append(of_digits[np.unique(np.geomspace(1, len(chosen), CURVE_POINTS).astype(int) - 1)], np.inf)
    digits = scored(DIGIT)
    return OutOfDistribution(
        digits=digits.n,
        score="digit score" if recognizer.model.threshold is not None else "confidence",
        threshold=threshold,
        digits_refused=digits.refused,
        digits_own=digits.own,
        kinds={kind: scored(kind) for kind in NON_DIGITS},
        lookalikes=scored(LOOKALIKE),
        curve=tuple((float((of_digits < t).mean()), float((of_others < t).mean())) for t in levels),
    )


def sample(kind: str) -> np.ndarray:
    """Return a picture of a kind, (H, W) uint8; always the same."""
    return NON_DIGITS[kind].make(np.random.default_rng((SEED, list(NON_DIGITS).index(kind))), "test")


def _score(answer: Prediction) -> float:
    return 0.0 if answer.is_blank else float(answer.confidence if answer.digit_score is None else answer.digit_score)
