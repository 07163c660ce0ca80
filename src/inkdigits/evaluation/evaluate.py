"""Evaluate a model on labeled images: accuracy with its interval, per digit, confusion, calibration, rejection.

All images go through :class:`inkdigits.Recognizer`, so the figures are those that users get.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inkdigits.data.catalog import DATASETS, load, parts
from inkdigits.data.dataset import CLASSES, Dataset
from inkdigits.errors import DataError, ImageError
from inkdigits.prediction import Prediction
from inkdigits.preprocess import Preprocessed
from inkdigits.progress import Progress, bars
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings

__all__ = [
    "BLANK",
    "THRESHOLDS",
    "Answers",
    "Bin",
    "DigitScore",
    "Evaluation",
    "Rejection",
    "Share",
    "calibration_bins",
    "calibration_error",
    "evaluate",
    "read_answers",
    "rejection",
    "unseen",
    "wilson",
]

CHUNK = 512  # images per step of the progress bar
BINS = 15  # of confidence, for the calibration error
BLANK = CLASSES  # the column of the confusion matrix for images that were read as blank
Z95 = 1.959963984540054  # standard normal quantile of a two-sided 95% interval
CURVE_POINTS = 200  # of a rejection curve, at most
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)  # of confidence, as users set them

Share = tuple[float, float]


@dataclass(frozen=True)
class DigitScore:
    """Scores of one digit. A ratio whose denominator is 0 is 0.

    Attributes:
        n: images of the digit.
        precision: of the images read as the digit, the share that show it.
        recall: of the images of the digit, the share read as it.
        f1: harmonic mean of the two.
    """

    n: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Bin:
    """The answers in one range of confidence, open below and closed above.

    Attributes:
        low, high: its bounds, 0 to 1.
        n: answers in it.
        confidence: their mean confidence; 0 if there are none.
        accuracy: the share of them that is right; 0 if there are none.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Rejection:
    """The answers that remain when those with low confidence are rejected.

    Attributes:
        threshold: the lowest confidence that is accepted, 0 to 1.
        answered: share of the images that are answered.
        accuracy: share of these that are right; 1 if none are answered.
        wrong: mistakes among them.
    """

    threshold: float
    answered: float
    accuracy: float
    wrong: int


@dataclass(frozen=True, eq=False)
class Answers:
    """A model's answers to N images.

    Attributes:
        digits: (N,) int64, 0 to 9; BLANK where the image is blank.
        confidences: (N,) float64 in [0, 1].
        accepted: (N,) bool, whether the image is accepted as a digit.
    """

    digits: np.ndarray
    confidences: np.ndarray
    accepted: np.ndarray


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of :func:`evaluate`. Arrays have one item per readable image, in the order of the data set.

    Attributes:
        model: name of the model.
        sha256: hash of its file.
        dataset: name of the data set.
        part: its part: "train", "validation", "test" or "all".
        n: readable images; all figures are of these.
        accuracy: share read right, 0 to 1; blank is wrong.
        interval: 95% Wilson score interval of the accuracy.
        per_class: ten scores, digit 0 first.
        confusion: (10, 11) int64; row: the label, column: the digit read, last column: blank.
        confidence: mean confidence of the answers, 0 to 1.
        calibration_error: expected calibration error, 15 bins, 0 to 1.
        errors: (E,) int64, indices of the images read wrong, the most confident mistake first.
        confidences: (n,) float64 in [0, 1].
        right: (n,) bool.
        unreadable: index and error of each image that could not be read.
        rejected: labeled images with ink that the model reports as non-digits; their nearest digit counts in all other
            figures. None if the model does not detect non-digits.
    """

    model: str
    sha256: str
    dataset: str
    part: str
    n: int
    accuracy: float
    interval: Share
    per_class: tuple[DigitScore, ...]
    confusion: np.ndarray
    confidence: float
    calibration_error: float
    errors: np.ndarray
    confidences: np.ndarray
    right: np.ndarray
    unreadable: tuple[tuple[int, ImageError], ...] = ()
    rejected: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "model": self.model,
            "sha256": self.sha256,
            "data": self.dataset,
            "part": self.part,
            **self.figures(),
            "refused": self.rejected,
            "per_class": [{"digit": digit, **vars(score)} for digit, score in enumerate(self.per_class)],
            "confusion": self.confusion.tolist(),
            "calibration": [asdict(each) for each in calibration_bins(self.confidences, self.right)],
            "rejection": [asdict(each) for each in rejection(self.confidences, self.right, THRESHOLDS)],
            "errors": self.errors.tolist(),
            "unreadable": [{"at": at, "error": str(error)} for at, error in self.unreadable],
        }

    def figures(self) -> dict[str, Any]:
        """Return the main figures as plain values, as the registry keeps them."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "confidence": self.confidence,
            "calibration_error": self.calibration_error,
        }

    def table(self) -> str:
        """Format figures, scores by digit and confusion matrix for a terminal, in lines of at most 80 characters."""
        interval = "{:.2%} to {:.2%}".format(*self.interval)
        rejected = (self.rejected or 0) / self.n
        note = f"{self.rejected:,} rejected; the nearest digit counts above" if self.rejected else "none rejected"
        lines = [
            f"{self.model} on {self.dataset}, {self.part} part: {self.n:,} images",
            f"accuracy           {self.accuracy:8.2%}   {len(self.errors):,} wrong, 95% interval {interval}",
            f"mean confidence    {self.confidence:8.2%}",
            f"calibration error  {self.calibration_error:8.2%}   {BINS} bins",
            *([] if self.rejected is None else [f"not a digit        {rejected:8.2%}   {note}"]),
            "",
            "digit      n  precision   recall       F1",
        ]
        for digit, score in enumerate(self.per_class):
            lines.append(f"{digit:5}{score.n:7,}{score.precision:11.2%}{score.recall:9.2%}{score.f1:9.2%}")
        # The blank column only if there are blanks.
        columns = CLASSES + 1 if self.confusion[:, BLANK].any() else CLASSES
        heads = [*map(str, range(CLASSES)), "blank"][:columns]
        width = max(6, len(f"{self.confusion.max():,}") + 1)
        lines += ["", "label ↓ read as →", " " * 5 + "".join(head.rjust(width) for head in heads)]
        for digit, row in enumerate(self.confusion):
            lines.append(f"{digit:5}" + "".join((f"{n:,}" if n else "·").rjust(width) for n in row[:columns]))
        return "\n".join(lines)


def evaluate(recognizer: Recognizer, dataset: Dataset, progress: Progress | None = None) -> Evaluation:
    """Read every image of a data set and compare it with its label.

    Args:
        recognizer: the model to measure.
        dataset: at least one image. Unreadable images are listed and left out of the figures.
        progress: reports progress; default: a bar on standard error when that is a terminal.

    Raises:
        DataError: no image can be read.
    """
    answers, unreadable = read_answers(recognizer, dataset, progress)
    good = np.delete(np.arange(len(dataset)), [at for at, _ in unreadable])
    read, confidence, labels = answers.digits, answers.confidences, dataset.labels[good]
    rejected = int((~answers.accepted & (read != BLANK)).sum())
    right = read == labels
    confusion = np.zeros((CLASSES, CLASSES + 1), np.int64)
    np.add.at(confusion, (labels, read), 1)
    wrong = np.flatnonzero(~right)
    return Evaluation(
        model=recognizer.model.name,
        sha256=recognizer.model.sha256,
        dataset=dataset.name,
        part=dataset.part,
        n=len(good),
        accuracy=float(right.mean()),
        interval=wilson(int(right.sum()), len(good)),
        per_class=_scores(confusion),
        confusion=confusion,
        confidence=float(confidence.mean()),
        calibration_error=calibration_error(confidence, right),
        errors=good[wrong[np.argsort(-confidence[wrong], kind="stable")]],
        confidences=confidence,
        right=right,
        unreadable=tuple(unreadable),
        rejected=None if recognizer.model.threshold is None else rejected,
    )


def read_answers(
    recognizer: Recognizer, dataset: Dataset, progress: Progress | None = None
) -> tuple[Answers, list[tuple[int, ImageError]]]:
    """Read every image of a data set.

    Returns:
        The answers to the readable images, in order; and index and error of each image that could not be read.

    Raises:
        DataError: no image can be read.
    """
    digits = np.empty(len(dataset), np.int64)
    confidences = np.zeros(len(dataset))
    accepted = np.zeros(len(dataset), bool)
    unreadable: list[tuple[int, ImageError]] = []
    with (progress or bars())(f"reading {dataset.name}", len(dataset), "") as advance:
        for start in range(0, len(dataset), CHUNK):
            answers = _read(recognizer, dataset.images[start : start + CHUNK])
            for at, answer in enumerate(answers, start):
                if isinstance(answer, ImageError):
                    unreadable.append((at, answer))
                    continue
                digits[at] = BLANK if answer.digit is None else answer.digit
                confidences[at] = answer.confidence
                accepted[at] = answer.is_digit
            advance(len(answers))
    if len(unreadable) == len(dataset):
        at, error = unreadable[0]
        raise DataError(f"no image of {dataset.name} can be read; {dataset.title(at)}: {error}")
    good = np.delete(np.arange(len(dataset)), [at for at, _ in unreadable])
    return Answers(digits[good], confidences[good], accepted[good]), unreadable


def _read(recognizer: Recognizer, images: Any) -> Sequence[Prediction | ImageError]:
    if isinstance(images[0], Preprocessed):  # what a network saw of pictures that are not kept themselves
        return recognizer.predict_preprocessed(list(images))
    return recognizer.predict_batch(images, errors="return")


def unseen(name: str, settings: Settings, recognizer: Recognizer, progress: Progress | None = None) -> Dataset:
    """Load the images of a data set that a model was not trained on.

    That is the test part, or the whole set if it can be loaded whole and the registry does not say that the model was
    trained on it: under that name or, for a path, on a file with the same content.

    Raises:
        DataError: as in :func:`inkdigits.data.catalog.load`.
    """
    if "all" not in parts(name):
        return load(name, settings, part="test", progress=progress)
    entry = recognizer.model.entry
    trained_on = set(entry.get("config", {}).get("data", "").split("+"))
    whole = load(name, settings, part="all", progress=progress)
    # The hashes of named sets include those of their test parts, which no model is trained on.
    own = trained_on - set(DATASETS) and set(whole.sha256.values()) & set(entry.get("data", {}).values())
    return load(name, settings, part="test") if own or name in trained_on else whole


def wilson(right: int, n: int) -> Share:
    """Return the 95% Wilson score interval of a share ``right / n``.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    share = right / n
    spread = Z95 * math.sqrt(share * (1 - share) / n + (Z95 / (2 * n)) ** 2)
    center = share + Z95**2 / (2 * n)
    scale = 1 + Z95**2 / n
    return max(0.0, (center - spread) / scale), min(1.0, (center + spread) / scale)


def calibration_bins(confidence: np.ndarray, right: np.ndarray) -> list[Bin]:
    """Sort answers by confidence into 15 bins of equal width.

    Args:
        confidence: (N,) in [0, 1].
        right: (N,) bool.

    C. Guo et al., On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    n = np.bincount(bins, minlength=BINS)
    divisor = np.maximum(n, 1)
    means = np.bincount(bins, weights=confidence, minlength=BINS) / divisor
    shares = np.bincount(bins, weights=right, minlength=BINS) / divisor
    return [Bin(i / BINS, (i + 1) / BINS, int(n[i]), float(means[i]), float(shares[i])) for i in range(BINS)]


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error: the mean over answers of |accuracy - mean confidence| in their bin."""
    bins = calibration_bins(confidence, right)
    return sum(each.n * abs(each.accuracy - each.confidence) for each in bins) / len(confidence)


def rejection(confidence: np.ndarray, right: np.ndarray, thresholds: Sequence[float] | None = None) -> list[Rejection]:
    """Return the share answered and its accuracy for rising thresholds of confidence.

    Args:
        confidence: (N,) in [0, 1].
        right: (N,) bool.
        thresholds: thresholds of confidence; None: at most 200 for the whole curve, denser where few are rejected, as
            most mistakes are there.
    """
    order = np.argsort(confidence, kind="stable")
    n, levels = len(order), confidence[order]
    left = np.append(np.cumsum(~right[order][::-1])[::-1], 0)  # mistakes at or above each confidence
    if thresholds is None:
        ranks = np.unique(np.geomspace(1, n, CURVE_POINTS).astype(int) - 1)
        thresholds = [0.0, *np.unique(levels[ranks]).tolist()[1:]]  # at 0, none is rejected
    first = np.searchsorted(levels, thresholds, side="left").tolist()
    return [
        Rejection(float(t), (n - i) / n, float(1 - left[i] / (n - i)) if i < n else 1.0, int(left[i]))
        for t, i in zip(thresholds, first, strict=True)
    ]


def _scores(confusion: np.ndarray) -> tuple[DigitScore, ...]:
    hits = confusion.diagonal()
    shown, read = confusion.sum(axis=1), confusion[:, :CLASSES].sum(axis=0)

    def ratio(a: np.ndarray, b: np.ndarray) -> list[float]:
        ratios: list[float] = np.divide(a, b, out=np.zeros(CLASSES), where=b > 0).tolist()
        return ratios

    columns = zip(shown.tolist(), ratio(hits, read), ratio(hits, shown), ratio(2 * hits, shown + read), strict=True)
    return tuple(DigitScore(*column) for column in columns)
