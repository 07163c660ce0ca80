"""Measure a model on labeled data in all ways, as one report: an HTML page and JSON.

:func:`measure` returns a :class:`Report`; :mod:`.report_page` renders it as one HTML file.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from inkdigits.atomic import write_atomically
from inkdigits.data.dataset import Dataset
from inkdigits.errors import ImageError, SettingError
from inkdigits.evaluation.evaluate import Evaluation, evaluate
from inkdigits.evaluation.latency import Cost, cost, environment
from inkdigits.evaluation.ood import OutOfDistribution, out_of_distribution
from inkdigits.evaluation.robustness import PICTURES, Robustness, robustness
from inkdigits.prediction import ModelInfo
from inkdigits.preprocess import NORMALIZATION_VERSION, ImageSource
from inkdigits.progress import Progress
from inkdigits.recognizer import Recognizer

__all__ = ["Mistake", "Report", "Written", "check_path", "measure"]

WORST = 24  # mistakes that are shown, the most confident first


@dataclass(frozen=True, eq=False)
class Mistake:
    """One image that was read wrong.

    Attributes:
        title: its file, or its number in the data set.
        label: the digit it shows.
        digit: the digit it was read as; None: blank.
        confidence: confidence of that, 0 to 1.
        second: the digit that came second.
        second_confidence: its probability.
        source: the image in the data set.
        seen: the network's input, (28, 28) float32 in [0, 1], ink 1.
    """

    title: str
    label: int
    digit: int | None
    confidence: float
    second: int | None
    second_confidence: float
    source: ImageSource
    seen: np.ndarray


class Written:
    """A report that is written as an HTML page and as JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain values for JSON."""
        raise NotImplementedError

    def html(self) -> str:
        """Return one self-contained page with pictures, charts and style, without script."""
        raise NotImplementedError

    def json(self) -> str:
        """Return the numbers as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> Path:
        """Write the page, and the numbers next to it with the suffix .json; return the latter's path.

        Raises:
            SettingError: the path is not that of an HTML file.
            TrainingError: a file cannot be written.
        """
        check_path(path)
        write_atomically(path, self.html().encode())
        write_atomically(path.with_suffix(".json"), self.json().encode())
        return path.with_suffix(".json")


@dataclass(frozen=True, eq=False)
class Report(Written):
    """Result of :func:`measure`.

    Attributes:
        model: the model.
        dataset: the images it was measured on.
        whole: number of images before the limit.
        evaluation: accuracy and related figures.
        mistakes: the most confident mistakes.
        cost: latency and size.
        robustness, ood: None if not measured.
        command: command that made the report.
        created: time in UTC.
        environment: processor and versions.
    """

    model: ModelInfo
    dataset: Dataset
    whole: int
    evaluation: Evaluation
    mistakes: tuple[Mistake, ...]
    cost: Cost
    robustness: Robustness | None
    ood: OutOfDistribution | None
    command: str
    created: datetime
    environment: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain values for JSON."""
        number = self.dataset.number
        found = self.evaluation.to_dict()
        shown = ("title", "label", "digit", "confidence", "second", "second_confidence")
        return {
            **found,
            "errors": [number(at) for at in found["errors"]],
            "unreadable": [{"title": title, "error": str(error)} for title, error in self.unreadable],
            "of": self.whole,
            "data_sha256": self.dataset.sha256,
            "mistakes": [{name: getattr(each, name) for name in shown} for each in self.mistakes],
            "cost": asdict(self.cost),
            "robustness": self.robustness and self.robustness.to_dict(),
            "refusal": self.ood and self.ood.to_dict(),
            "temperature": self.model.temperature,
            "normalisation": NORMALIZATION_VERSION,
            "command": self.command,
            "created": self.created.isoformat(timespec="seconds"),
            "environment": self.environment,
        }

    @property
    def unreadable(self) -> list[tuple[str, ImageError]]:
        """Title and error of each image that could not be read."""
        return [(self.dataset.title(at), error) for at, error in self.evaluation.unreadable]

    def table(self) -> str:
        """Format the figures for a terminal, in lines of at most 80 characters."""
        measured = (self.evaluation, self.robustness, self.ood)
        return "\n\n".join(part.table() for part in measured if part)

    def html(self) -> str:
        """Return one self-contained page with pictures, charts and style, without script."""
        from inkdigits.evaluation.report_page import page

        return page(self)


def check_path(path: Path) -> None:
    """Check a report's path before anything is measured.

    Raises:
        SettingError: its suffix is not .html or .htm, or its folder does not exist or is not writable.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise SettingError(f"the report must be a file with suffix .html, not {str(path)!r}")
    if not path.parent.is_dir():
        raise SettingError(f"there is no folder {str(path.parent)!r} to write the report in; make it first")
    if not os.access(path.parent, os.W_OK):
        raise SettingError(f"cannot write in folder {str(path.parent)!r}; name another --report")


def check_limit(limit: int | None) -> None:
    """Check how many images to measure.

    Raises:
        ValueError: it is less than 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more, not {limit}; None measures all images")


def measure(
    recognizer: Recognizer,
    dataset: Dataset,
    *,
    corrupt: bool = False,
    limit: int | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Report:
    """Measure a model on labeled images.

    Args:
        recognizer: the model.
        dataset: labeled images; unreadable ones are listed and left out.
        corrupt: also read corrupted pictures of them, and non-digits; takes minutes.
        limit: at most this many images, every digit by its share.
        command: the command that makes the report, which it shows.
        progress: reports progress; default: bars on standard error when that is a terminal.

    Raises:
        DataError: no image can be read.
        ValueError: ``limit`` is less than 1.
    """
    check_limit(limit)
    whole = len(dataset)
    if limit is not None:
        dataset = dataset.limited(limit)
    evaluation = evaluate(recognizer, dataset, progress)
    readable = dataset.take(np.delete(np.arange(len(dataset)), [at for at, _ in evaluation.unreadable]))
    return Report(
        model=recognizer.model,
        dataset=dataset,
        whole=whole,
        evaluation=evaluation,
        mistakes=tuple(_mistake(recognizer, dataset, int(at)) for at in evaluation.errors[:WORST]),
        cost=cost(recognizer, readable.images[0]),
        robustness=robustness(recognizer, readable, pictures=PICTURES, progress=progress) if corrupt else None,
        ood=out_of_distribution(recognizer, readable, progress=progress) if corrupt else None,
        command=command,
        created=datetime.now(UTC),
        environment=environment(),
    )


def _mistake(recognizer: Recognizer, dataset: Dataset, at: int) -> Mistake:
    source = dataset.images[at]
    answer = recognizer.predict(source)
    order = np.argsort(answer.probabilities)[::-1].tolist()
    second = None if answer.is_blank else order[1]
    return Mistake(
        title=dataset.title(at),
        label=int(dataset.labels[at]),
        digit=answer.digit,
        confidence=answer.confidence,
        second=second,
        second_confidence=0.0 if second is None else answer.probabilities[second],
        source=source,
        seen=answer.image,
    )
