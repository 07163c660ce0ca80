"""Images in, a row for each out, with one recognizer in one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, get_args

from inkdigits.errors import ImageError
from inkdigits.prediction import Prediction
from inkdigits.preprocess import ImageSource
from inkdigits.recognizer import BATCH_SIZE, Recognizer

__all__ = ["VERDICTS", "Row", "Verdict", "read"]

Verdict = Literal["digit", "several digits", "not a digit", "unclear", "unsure", "blank", "error"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one image: its prediction, or the error that says why there is none.

    Attributes:
        name: of the image.
        prediction: None where the image could not be read.
        error: None where it could.
        min_confidence: the confidence that its digit needs to be accepted, 0 to 1.
    """

    name: str
    prediction: Prediction | None
    error: ImageError | None
    min_confidence: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """What the row says of the image: the reason of a rejection; "unsure" is a digit below its confidence."""
        p = self.prediction
        if p is None:
            return "error"
        if p.reason:
            return p.reason
        return "digit" if p.confidence >= self.min_confidence else "unsure"

    @property
    def accepted(self) -> bool:
        """Whether the image shows a digit, and ``prediction.digit`` is confident enough to be used."""
        return self.verdict == "digit"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: ``name``, what :meth:`Prediction.to_dict` gives or ``error``, and ``accepted``."""
        found = {"error": str(self.error)} if self.prediction is None else self.prediction.to_dict()
        return {"name": self.name, **found, "accepted": self.accepted}


def read(
    recognizer: Recognizer,
    images: Iterable[tuple[str, ImageSource | ImageError]],
    *,
    explain: bool = False,
    min_confidence: float = 0.0,
) -> Iterator[Row]:
    """Read the digit in each image.

    Args:
        recognizer: the model to read with.
        images: pairs of a name and what :meth:`Recognizer.predict` takes, or of a name and the error of an image that
            could not even be got; a generator is consumed a batch at a time, so that any number of images fits in
            memory.
        explain: also say how much each part of the ink mattered.
        min_confidence: that a digit needs to be accepted, 0 to 1.

    Yields:
        One row for each image, in order.
    """
    iterator = iter(images)
    while batch := list(islice(iterator, BATCH_SIZE)):
        sources = (source for _, source in batch if not isinstance(source, ImageError))
        results = iter(recognizer.predict_batch(sources, errors="return", explain=explain))
        for name, source in batch:
            result = source if isinstance(source, ImageError) else next(results)
            if isinstance(result, ImageError):
                yield Row(name, None, result, min_confidence)
            else:
                yield Row(name, result, None, min_confidence)
