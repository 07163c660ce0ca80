"""Images in, a row for each out, with one recogniser in one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from inkdigits.errors import ImageError
from inkdigits.image import ImageSource
from inkdigits.recognizer import BATCH_SIZE, Prediction, Recognizer

__all__ = ["Row", "read"]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one image: its prediction, or the error that says why there is none."""

    name: str
    prediction: Prediction | None
    error: ImageError | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: ``name`` and what :meth:`Prediction.to_dict` gives, or ``name`` and ``error``."""
        if self.prediction is None:
            return {"name": self.name, "error": str(self.error)}
        return {"name": self.name, **self.prediction.to_dict()}


def read(
    recognizer: Recognizer, images: Iterable[tuple[str, ImageSource | ImageError]], *, explain: bool = False
) -> Iterator[Row]:
    """Read the digit in each image.

    Args:
        recognizer: the model to read with.
        images: pairs of a name and what :meth:`Recognizer.predict` takes, or of a name and the error of an image that
            could not even be got; a generator is consumed a batch at a time, so that any number of images fits in
            memory.
        explain: also say how much each part of the ink mattered.

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
                yield Row(name, None, result)
            else:
                yield Row(name, result, None)
