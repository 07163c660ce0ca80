"""How well a model reads labelled images: accuracy with its interval, per digit, confusion, calibration.

Everything goes through :class:`inkdigits.Recognizer` on raw images, so what is measured is what users get.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.data import Dataset, load
from inkdigits.training.progress import Progress, bars

__all__ = ["DigitScore", "Evaluation", "calibration_error", "evaluate", "unseen", "wilson"]

CHUNK = 512  # images between two steps of the progress bar
BINS = 15  # of confidence, for the calibration error
CLASSES = 10
BLANK = CLASSES  # the column of the confusion matrix for images that were taken for blank
Z95 = 1.959963984540054  # standard normal quantile of a two-sided 95% interval


@dataclass(frozen=True)
class DigitScore:
    """How one digit was read. A ratio whose denominator is 0 counts as 0.

    Attributes:
        n: images that show it.
        precision: of the images read as it, the share that show it.
        recall: of the images that show it, the share read as it.
        f1: harmonic mean of the two.
    """

    n: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What :func:`evaluate` measured.

    Attributes:
        model: name of the model.
        sha256: hash of its file.
        dataset: name of the data set.
        part: "train", "test" or "all" of it.
        n: images.
        accuracy: share read right, 0 to 1; a blank answer is wrong.
        interval: 95% Wilson score interval of the accuracy.
        per_class: ten scores, digit 0 first.
        confusion: (10, 11) int64; row: the label, column: the digit read, the last: blank.
        confidence: mean confidence of the answers, 0 to 1.
        calibration_error: expected calibration error, 15 bins, 0 to 1.
        errors: indices of the images that were read wrong, (E,) int64, the most confident mistake first.
    """

    model: str
    sha256: str
    dataset: str
    part: str
    n: int
    accuracy: float
    interval: tuple[float, float]
    per_class: tuple[DigitScore, ...]
    confusion: np.ndarray
    confidence: float
    calibration_error: float
    errors: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        return {
            "model": self.model,
            "sha256": self.sha256,
            "data": self.dataset,
            "part": self.part,
            **self.figures(),
            "per_class": [{"digit": digit, **vars(score)} for digit, score in enumerate(self.per_class)],
            "confusion": self.confusion.tolist(),
            "errors": self.errors.tolist(),
        }

    def figures(self) -> dict[str, Any]:
        """The few figures that sum it up, as plain values; what the registry keeps."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "confidence": self.confidence,
            "calibration_error": self.calibration_error,
        }

    def table(self) -> str:
        """Everything but the errors' indices as text for a terminal, lines of at most 80 characters."""
        interval = "{:.2%} to {:.2%}".format(*self.interval)
        lines = [
            f"{self.model} on {self.dataset}, {self.part} part: {self.n:,} images",
            f"accuracy           {self.accuracy:8.2%}   {len(self.errors):,} wrong, 95% interval {interval}",
            f"mean confidence    {self.confidence:8.2%}",
            f"calibration error  {self.calibration_error:8.2%}   {BINS} bins",
            "",
            "digit      n  precision   recall       F1",
        ]
        for digit, score in enumerate(self.per_class):
            lines.append(f"{digit:5}{score.n:7,}{score.precision:11.2%}{score.recall:9.2%}{score.f1:9.2%}")
        # A column of blanks only where there are any.
        columns = CLASSES + 1 if self.confusion[:, BLANK].any() else CLASSES
        heads = [*map(str, range(CLASSES)), "blank"][:columns]
        width = max(6, len(f"{self.confusion.max():,}") + 1)
        lines += ["", "label ↓ read as →", " " * 5 + "".join(head.rjust(width) for head in heads)]
        for digit, row in enumerate(self.confusion):
            lines.append(f"{digit:5}" + "".join((f"{n:,}" if n else "·").rjust(width) for n in row[:columns]))
        return "\n".join(lines)


def evaluate(recognizer: Recognizer, dataset: Dataset, progress: Progress | None = None) -> Evaluation:
    """Read every image of a data set and compare with its labels.

    Args:
        recognizer: the model to measure.
        dataset: at least one image.
        progress: shows the images; default a bar on standard error when that is a terminal.

    Raises:
        ImageError: an image cannot be read.
    """
    read = np.empty(len(dataset), np.int64)
    confidence = np.empty(len(dataset))
    with (progress or bars())(f"reading {dataset.name}", len(dataset), "") as advance:
        for start in range(0, len(dataset), CHUNK):
            answers = recognizer.predict_batch(dataset.images[start : start + CHUNK])
            stop = start + len(answers)
            read[start:stop] = [BLANK if a.digit is None else a.digit for a in answers]
            confidence[start:stop] = [a.confidence for a in answers]
            advance(len(answers))
    right = read == dataset.labels
    confusion = np.zeros((CLASSES, CLASSES + 1), np.int64)
    np.add.at(confusion, (dataset.labels, read), 1)
    wrong = np.flatnonzero(~right)
    return Evaluation(
        model=recognizer.model.name,
        sha256=recognizer.model.sha256,
        dataset=dataset.name,
        part=dataset.part,
        n=len(dataset),
        accuracy=float(right.mean()),
        interval=wilson(int(right.sum()), len(dataset)),
        per_class=_scores(confusion),
        confusion=confusion,
        confidence=float(confidence.mean()),
        calibration_error=calibration_error(confidence, right),
        errors=wrong[np.argsort(-confidence[wrong], kind="stable")],
    )


def unseen(name: str, settings: Settings, recognizer: Recognizer, progress: Progress | None = None) -> Dataset:
    """The images of a data set that a model has not been trained on.

    That is the test part; of "digits" it is all of it, unless the registry says that the model was trained on it.

    Raises:
        DataError: as in :func:`inkdigits.training.data.load`.
    """
    trained_on = recognizer.model.entry.get("config", {}).get("data")
    part = "all" if name == "digits" and trained_on != "digits" else "test"
    return load(name, settings, part=part, progress=progress)


def wilson(right: int, n: int) -> tuple[float, float]:
    """95% Wilson score interval of a share ``right / n``.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    share = right / n
    spread = Z95 * math.sqrt(share * (1 - share) / n + (Z95 / (2 * n)) ** 2)
    centre = share + Z95**2 / (2 * n)
    scale = 1 + Z95**2 / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: mean over answers of |accuracy - mean confidence| of their bin of confidence.

    Args:
        confidence: (N,) in [0, 1].
        right: (N,) bool.

    15 bins of equal width, closed above, as in C. Guo et al., On Calibration of Modern Neural Networks, 2017,
    https://arxiv.org/abs/1706.04599
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gap = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gap).sum() / len(confidence))


def _scores(confusion: np.ndarray) -> tuple[DigitScore, ...]:
    hits = confusion.diagonal()
    shown, read = confusion.sum(axis=1), confusion[:, :CLASSES].sum(axis=0)

    def ratio(a: np.ndarray, b: np.ndarray) -> list[float]:
        return np.divide(a, b, out=np.zeros(CLASSES), where=b > 0).tolist()

    columns = zip(shown.tolist(), ratio(hits, read), ratio(hits, shown), ratio(2 * hits, shown + read), strict=True)
    return tuple(DigitScore(*column) for column in columns)
