"""Many images in, rows out, in order and as they are ready. An image that cannot be read is a row with its error.

>>> from inkdigits import Recognizer
>>> from inkdigits.bulk import find_images, read
>>> for row in read(Recognizer(), find_images(["scans/"])):  # doctest: +SKIP
...     print(row.name, row.prediction.digit if row.prediction else row.error)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

from inkdigits.errors import ImageError
from inkdigits.image import ImageSource
from inkdigits.recognizer import BATCH_SIZE, Prediction, Recognizer

__all__ = ["SUFFIXES", "Row", "find_images", "read"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")  # of the images looked for in a folder


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


def read(recognizer: Recognizer, images: Iterable[tuple[str, ImageSource]], *, explain: bool = False) -> Iterator[Row]:
    """Read the digit in each image.

    Args:
        recognizer: the model to read with.
        images: pairs of a name and what :meth:`Recognizer.predict` takes; a generator is consumed a batch at a time, so
            that any number of images fits in memory.
        explain: also say how much each part of the ink mattered.

    Yields:
        One row for each image, in order.
    """
    iterator = iter(images)
    while batch := list(islice(iterator, BATCH_SIZE)):
        results = recognizer.predict_batch((source for _, source in batch), errors="return", explain=explain)
        for (name, _), result in zip(batch, results, strict=True):
            if isinstance(result, ImageError):
                yield Row(name, None, result)
            else:
                yield Row(name, result, None)


def find_images(paths: Iterable[str | PathLike[str]]) -> Iterator[tuple[str, Path]]:
    """The images that paths name: a file is itself, a folder every file in it and below that has one of ``SUFFIXES``.

    A folder's images come sorted by path. Hidden files and folders in it are left out.
    """
    for given in paths:
        path = Path(given)
        if not path.is_dir():
            yield str(given), path
            continue
        for found in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
            if found.suffix.lower() in SUFFIXES and not hidden and found.is_file():
                yield str(found), found
