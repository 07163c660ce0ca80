"""Labelled images: in memory, or read and drawn one by one as they are asked for, so that any number can be held.

How they are split is here, too, for every data set in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from inkdigits.errors import DataError
from inkdigits.preprocess import ImageSource, Preprocessed

__all__ = [
    "CLASSES",
    "NON_DIGIT",
    "VALIDATION",
    "VALIDATION_SEED",
    "Dataset",
    "Lazy",
    "Part",
    "checked_labels",
    "stratified",
]

CLASSES = 10
NON_DIGIT = -1  # label of a picture that does not show a digit
VALIDATION = 5000  # training images that trainings hold out by default
VALIDATION_SEED = 0  # of which: the same in every run, so that runs can be compared
LIMIT_SEED = 0  # of which images are taken where only some are asked for

Part = Literal["train", "validation", "test", "all"]


class Lazy(Sequence[Any]):
    """Images that are made on each access.

    Args:
        make: gives the image of a number; the same number, the same image.
        numbers: of the images in this sequence, in its order.
    """

    def __init__(self, make: Callable[[int], ImageSource | Preprocessed], numbers: Iterable[int]) -> None:
        self._make = make
        self._numbers = np.asarray(numbers if isinstance(numbers, np.ndarray) else list(numbers), np.int64)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> ImageSource: ...

    @overload
    def __getitem__(self, at: slice | np.ndarray) -> Lazy: ...

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice | np.ndarray):
            return Lazy(self._make, self._numbers[at])
        return self._make(int(self._numbers[at]))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images.

    Attributes:
        name: of the data set, such as "mnist".
        part: "train", "validation", "test" or "all".
        images: (N, H, W) uint8, raw as the data set has them, ink 255 on paper 0 for "mnist" and "digits"; or a
            :class:`Lazy` sequence of whatever ``Recognizer.predict`` takes, of any sizes; or one of ``Preprocessed``.
        labels: (N,) int64, 0 to 9.
        sha256: hash by file or array that the images and labels came from.
        numbers: (N,) int64, the index of each image in the data set that it was taken from; None: 0 to N - 1.
        writers: (N,) text, who wrote each image; None where the data do not say.
    """

    name: str
    part: Part
    images: np.ndarray | Lazy
    labels: np.ndarray
    sha256: dict[str, str]
    numbers: np.ndarray | None = None
    writers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def number(self, at: int) -> int:
        """Return the index of image ``at`` in the whole data set."""
        return int(at if self.numbers is None else self.numbers[at])

    def title(self, at: int) -> str:
        """Return the name of image ``at``: its file's path, or its number."""
        image = self.images[at]
        return str(image) if isinstance(image, str | Path) else f"image {self.number(at):,}"

    def take(self, at: np.ndarray, part: Part | None = None) -> Dataset:
        """Return the images at these indices, (M,) int64; as another part if one is given."""
        numbers = at if self.numbers is None else self.numbers[at]
        # Taken from a file that is mapped, images would be read into memory all at once.
        mapped = isinstance(self.images, np.memmap)
        images = Lazy(self.images.__getitem__, at) if mapped else self.images[at]
        writers = None if self.writers is None else self.writers[at]
        return replace(
            self, part=part or self.part, images=images, labels=self.labels[at], numbers=numbers, writers=writers
        )

    def limited(self, most: int) -> Dataset:
        """Return at most ``most`` images, stratified by digit; always the same ones."""
        return self if most >= len(self) else self.take(stratified(self.labels, most, LIMIT_SEED)[1])


def stratified(labels: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split into the rest and ``size`` held back, every class by its share; the same for the same seed, for ever.

    Args:
        labels: (N,) int.
        size: how many to hold back, 0 to N.
        seed: any int from 0 to 2³² - 1.

    Returns:
        Indices of the rest and of those held back, each (·,) int64 in rising order.
    """
    # RandomState's stream is frozen by NumPy's own promise, default_rng's is not: a split must outlive upgrades.
    order = np.random.RandomState(seed).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        place[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    held = np.argsort(place, kind="stable")[:size]
    rest = np.setdiff1d(np.arange(len(labels)), held)
    return rest, np.sort(held)


def checked_labels(labels: np.ndarray, images: int, where: object) -> np.ndarray:
    """Labels as int64, one for each image.

    Raises:
        DataError: there are more or fewer labels than images, no images at all, or a label is not a digit.
    """
    if labels.shape != (images,):
        raise DataError(f"{where} has {images:,} images but labels of shape {labels.shape}; each image needs one label")
    if not images:
        raise DataError(f"{where} holds no image")
    if len(wrong := np.flatnonzero((labels < 0) | (labels >= CLASSES))):
        raise DataError(f"{where}: the label of image {wrong[0]:,} is {labels[wrong[0]]}; digits are 0 to 9")
    return labels.astype(np.int64)
