"""Digits by who wrote them, so that a number is of one hand, and whole hands are held out for validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inkdigits.data.dataset import Dataset
from inkdigits.data.pen import PenDigit
from inkdigits.data.qmnist import QMNIST_FILE, QMNIST_SHA256, load_writers
from inkdigits.settings import Settings

__all__ = ["DataSets", "Hands", "hands_of"]

VALIDATION_WRITERS = 10  # every tenth of QMNIST's writers is for validation

DataSets = Mapping[str, tuple[Dataset, np.ndarray, np.ndarray]]  # with the numbers of training and held-out images


@dataclass(frozen=True, eq=False)
class Hands:
    """Digits by writer, to compose numbers of one hand.

    Attributes:
        groups: for each group of writers, such as those of a data set, the digits, as images or strokes, and labels
            of each writer.
    """

    groups: list[list[tuple[Sequence[Any], np.ndarray]]]

    def draw(self, sizes: Iterable[int], seed: int) -> tuple[list[tuple[Any, ...]], list[int]]:
        """Draw digits of one writer at a time, each group equally often; also return the label of the first of each."""
        rng = np.random.default_rng((6, seed))
        drawn, labels = [], []
        for size in sizes:
            group = self.groups[int(rng.integers(len(self.groups)))]
            digits, truth = group[int(rng.integers(len(group)))]
            chosen = rng.integers(len(digits), size=size)
            drawn.append(tuple(digits[int(i)] for i in chosen))
            labels.append(int(truth[chosen[0]]))
        return drawn, labels


def hands_of(
    sets: DataSets, pen: Mapping[str, list[PenDigit]], settings: Settings, sha256: dict[str, str]
) -> dict[str, Hands]:
    """Sort digits by writer, for each part. The digits of a data set without names of writers are of one writer each.

    To train on are the training images of training writers; to validate on, the held-out images of validation writers.
    """
    groups: dict[str, list[Any]] = {"train": [], "validation": []}
    for name, (dataset, fitting, held) in sets.items():
        if name == "mnist":
            writers = load_writers(settings)
            sha256[QMNIST_FILE] = QMNIST_SHA256
            validating = np.isin(writers, np.unique(writers)[::VALIDATION_WRITERS])
            chosen = {"train": fitting[~validating[fitting]], "validation": held[validating[held]]}
            by_writer = {p: [n[writers[n] == w] for w in np.unique(writers[n])] for p, n in chosen.items()}
        else:
            by_writer = {"train": [fitting], "validation": [held]}
        for part, hands in by_writer.items():
            groups[part].append([(dataset.images[chosen], dataset.labels[chosen]) for chosen in hands])
    for part, digits in pen.items():
        by_pen = [[d for d in digits if d.writer == w] for w in sorted({d.writer for d in digits})]
        groups[part].append([([d.strokes for d in hand], np.array([d.label for d in hand])) for hand in by_pen])
    return {part: Hands(found) for part, found in groups.items()}
