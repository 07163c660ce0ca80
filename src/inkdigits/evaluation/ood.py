"""Measure how well a model rejects non-digits: the blanks, noise, scribbles, shapes and letters of :mod:`.non_digits`.

Every model is measured by its score, at the threshold that rejects 1% of the data's digits, so that models can be
compared. A model that detects non-digits (``Prediction.is_digit``) is also measured by its own threshold. Letters that
look like digits, such as O, l and S, are reported separately: reading them as digits is not a mistake.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from statistics import mean
from typing import Any

import numpy as np

from inkdigits.data.dataset import Dataset
from inkdigits.prediction import Prediction
from inkdigits.progress import Progress, bars
from inkdigits.recognizer import Recognizer
from inkdigits.synthesis.non_digits import NON_DIGITS, lookalikes, non_digit_pictures

__all__ = ["NonDigitScore", "OutOfDistribution", "out_of_distribution", "sample"]

DIGITS = 2000  # of the data set, at most, that set the threshold
PICTURES = 4000  # of non-digits: 400 of each kind
LOOKALIKES = 200  # letters that look like digits, such as O and l
SEED = 0
ALLOWED = 0.01  # share of the digits that the threshold rejects
CHUNK = 200  # pictures per step of the progress bar
CURVE_POINTS = 60
DIGIT, LOOKALIKE = "digit", "lookalike"  # next to the kinds of non-digits


@dataclass(frozen=True)
class NonDigitScore:
    """Scores of one kind of non-digit.

    Attributes:
        n: pictures.
        rejected: share of them whose score is under the threshold.
        own: share of them that the model's own threshold rejects; None if it has none.
    """

    n: int
    rejected: float
    own: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {"n": self.n, "refused": self.rejected, "own": self.own}


@dataclass(frozen=True)
class OutOfDistribution:
    """Result of :func:`out_of_distribution`.

    Attributes:
        digits: images of the data set that were read.
        score: the score with the threshold: "digit score" or "confidence".
        threshold: at most 1% of these images have a lower score.
        digits_rejected: share of them that do.
        digits_own: share of them that the model's own threshold rejects; None if it has none.
        kinds: scores by kind, in the order of ``non_digits.NON_DIGITS``.
        lookalikes: scores of letters that look like digits.
        curve: (share of digits rejected, share of non-digits rejected) as the threshold rises.
    """

    digits: int
    score: str
    threshold: float
    digits_rejected: float
    digits_own: float | None
    kinds: dict[str, NonDigitScore]
    lookalikes: NonDigitScore
    curve: tuple[tuple[float, float], ...]

    @property
    def mean(self) -> float:
        """Mean over kinds of the share rejected."""
        return mean(found.rejected for found in self.kinds.values())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        kinds = [{"name": kind, "help": NON_DIGITS[kind].help, **found.to_dict()} for kind, found in self.kinds.items()]
        return {
            "digits": self.digits,
            "score": self.score,
            "threshold": self.threshold,
            "digits_refused": self.digits_rejected,
            "digits_own": self.digits_own,
            "kinds": kinds,
            "lookalikes": self.lookalikes.to_dict(),
            "curve": [list(point) for point in self.curve],
            "mean": self.mean,
        }

    def table(self) -> str:
        """Format as text for a terminal, lines of at most 80 characters."""
        own = self.digits_own is not None

        def line(name: str, n: int, rejected: float, by_model: float | None) -> str:
            return f"{name:<30}{n:6,}{rejected:10.1%}" + (f"{by_model:14.1%}" if own else "")

        return "\n".join(
            [
                f"non-digits, rejected if {self.score} is under {self.threshold:.4f}",
                f"{'kind':<30}{'n':>6}{'rejected':>10}" + (f"{'by the model':>14}" if own else ""),
                *(line(f"  {kind}", found.n, found.rejected, found.own) for kind, found in self.kinds.items()),
                line("letters that look like digits", *astuple(self.lookalikes)),
                line("digits of the data", self.digits, self.digits_rejected, self.digits_own),
            ]
        )


def out_of_distribution(
    recognizer: Recognizer, dataset: Dataset, *, progress: Progress | None = None
) -> OutOfDistribution:
    """Read non-digits, and digits for comparison.

    Args:
        recognizer: the model to measure.
        dataset: digits, all readable.
        progress: reports progress; default: a bar on standard error when that is a terminal.

    Raises:
        ImageError: an image cannot be read.
    """
    chosen = dataset.limited(DIGITS)
    kinds, pictures = zip(*non_digit_pictures(PICTURES, SEED, "test"), strict=True)
    letters = [picture for _, picture in lookalikes(LOOKALIKES, SEED, "test")]
    answers: list[Prediction] = []
    with (progress or bars())("reading non-digits", len(chosen) + PICTURES + LOOKALIKES, "") as advance:
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
        digits_rejected=digits.rejected,
        digits_own=digits.own,
        kinds={kind: scored(kind) for kind in NON_DIGITS},
        lookalikes=scored(LOOKALIKE),
        curve=tuple((float((of_digits < t).mean()), float((of_others < t).mean())) for t in levels),
    )


def sample(kind: str) -> np.ndarray:
    """Return a sample picture of a kind, (H, W) uint8; always the same."""
    return NON_DIGITS[kind].make(np.random.default_rng((SEED, list(NON_DIGITS).index(kind))), "test")


def _score(answer: Prediction) -> float:
    return 0.0 if answer.is_blank else float(answer.confidence if answer.digit_score is None else answer.digit_score)
