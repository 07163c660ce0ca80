"""Adapt a model's answers to one hand, from some of its digits with their labels.

What is learned are prototypes: for each digit the mean direction of its features, which are a second output of the
``cnn`` networks. A digit that is near one gains probability, the more the more examples there are:

    log p(y) += STRENGTH · n(y) / (n(y) + 1) · max(cos(features, prototype(y)), 0) ^ POWER

Nothing else of the model changes, and one picture costs a product of 10 × 80 numbers. The prototypes are used only if
they help with the hand's own digits: each is read without itself among the examples, as it is and in distorted copies,
which are nearer to what the model confuses; more of them must be right than without prototypes.

Shrunken prototypes: R. Tibshirani et al., Diagnosis of multiple cancer types by shrunken centroids of gene expression,
2002, https://doi.org/10.1073/pnas.082099299. Cosine and additive scores: R. Zhang et al., Tip-Adapter, 2022,
https://arxiv.org/abs/2111.03930. ``web/hand/adaptation.js`` is the same in JavaScript.

Example:
    >>> import numpy as np
    >>> from inkdigits import Hand, Recognizer
    >>> hand = Hand()
    >>> recognizer = Recognizer(hand=hand)
    >>> one = np.full((100, 100), 255, np.uint8)
    >>> one[20:80, 48:52] = 0
    >>> hand.add(recognizer.predict(one).image, 1)
    >>> recognizer.predict(one).digit, len(hand)
    (1, 1)
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inkdigits.atomic import write_atomically
from inkdigits.errors import DataError, TrainingError
from inkdigits.prediction import CLASSES, SIDE

__all__ = ["Adaptation", "Correction", "Hand", "copies_of", "fit"]

STRENGTH = 24.0  # logits that a digit gains at most
POWER = 4.0  # of the cosine
MOST = 200  # digits of a hand that are kept; the oldest go first
TURNS = (-19.0, -10.0, 10.0, 19.0)  # degrees, of distorted copies
SLANTS = (-0.25, 0.25)  # pixels to the side a row
WIDTHS = (0.76, 1.32)  # of a digit by that of its copy
HEIGHTS = (0.81, 1.24)  # likewise
LEAST = 1e-9  # length of a direction, which is divided by it
FORMAT = "inkdigits-hand"  # of the file of a hand
VERSION = 1
FULL = 255  # level of full ink

Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Correction(NamedTuple):
    """A digit of a hand, or a drawing that is not a digit.

    Attributes:
        image: (28, 28) uint8, as the network saw it, ink 255.
        label: 0 to 9; None: it is not a digit, which is kept but does not change answers.
    """

    image: np.ndarray
    label: int | None


class Hand:
    """Digits of one hand with their labels, from which answers are adapted.

    Features belong to one model, so the pictures are kept, and a :class:`~inkdigits.recognizer.Recognizer` computes
    the features again.

    Args:
        corrections: the oldest first.

    Attributes:
        version: changes with each change.
    """

    def __init__(self, corrections: Sequence[Correction] = ()) -> None:
        self._corrections: list[Correction] = []
        self.version = 0
        for image, label in corrections:
            self.add(image, label)

    def __len__(self) -> int:
        return len(self._corrections)

    def __repr__(self) -> str:
        return f"Hand({len(self)} corrections)"

    @property
    def corrections(self) -> tuple[Correction, ...]:
        """The oldest first."""
        return tuple(self._corrections)

    def add(self, image: np.ndarray, label: int | None) -> None:
        """Add a digit, corrected or confirmed. Beyond :data:`MOST`, the oldest is removed.

        Args:
            image: what the network saw, such as ``Prediction.image``: (28, 28), float in [0, 1] or uint8.
            label: 0 to 9; None: it is not a digit.

        Raises:
            ValueError: the image or the label is no such thing.
        """
        pixels = np.asarray(image)
        if pixels.shape != (SIDE, SIDE) or (pixels.dtype != np.uint8 and pixels.dtype.kind != "f"):
            raise ValueError(
                f"a correction needs an image of ({SIDE}, {SIDE}) floats from 0 to 1, or uint8, "
                f"such as Prediction.image, not {pixels.shape} {pixels.dtype}"
            )
        label = _checked(label)
        if pixels.dtype != np.uint8:
            pixels = np.rint(np.clip(pixels, 0, 1) * FULL).astype(np.uint8)
        self._corrections.append(Correction(pixels.copy(), label))
        del self._corrections[:-MOST]
        self.version += 1

    def remove(self, index: int = -1) -> Correction:
        """Remove one correction, the latest by default, and return it.

        Raises:
            IndexError: there is none at the index.
        """
        removed = self._corrections.pop(index)
        self.version += 1
        return removed

    def clear(self) -> None:
        """Remove all corrections."""
        self._corrections.clear()
        self.version += 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the page exports and imports the same."""
        rows = [
            {"label": label, "image": base64.b64encode(image.tobytes()).decode()} for image, label in self._corrections
        ]
        return {"format": FORMAT, "version": VERSION, "corrections": rows}

    @classmethod
    def from_dict(cls, document: Any) -> Hand:
        """Return the hand that :meth:`to_dict` returned the values of.

        Raises:
            DataError: the document is of another format.
        """
        if not isinstance(document, dict) or (document.get("format"), document.get("version")) != (FORMAT, VERSION):
            raise DataError(f"not a hand: expected an object with format {FORMAT!r} and version {VERSION}")
        rows = document.get("corrections")
        if not isinstance(rows, list):
            raise DataError(f"not a hand: corrections is {rows!r:.40}, not a list")
        return cls([_correction(i, row) for i, row in enumerate(rows)])

    def save(self, path: str | Path) -> None:
        """Write the hand as JSON, atomically.

        Raises:
            DataError: the file cannot be written.
        """
        try:
            write_atomically(Path(path), (json.dumps(self.to_dict(), indent=1) + "\n").encode())
        except TrainingError as error:
            raise DataError(str(error)) from None

    @classmethod
    def load(cls, path: str | Path) -> Hand:
        """Read what :meth:`save` wrote, or what the page exported.

        Raises:
            DataError: the file cannot be read, or is of another format.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is not a hand: {error}; give a file that Hand.save or the page wrote") from None
        except DataError as error:
            raise DataError(f"{path} is {error}") from None


def _checked(label: Any) -> int | None:
    """Return a label.

    Raises:
        ValueError: it is neither 0 to 9 nor None.
    """
    if label is not None and (isinstance(label, bool) or label not in range(CLASSES)):
        raise ValueError(f"the label must be 0 to 9, or None for a non-digit, not {label!r}")
    return None if label is None else int(label)


def _correction(i: int, row: Any) -> Correction:
    try:
        pixels = np.frombuffer(base64.b64decode(row["image"], validate=True), np.uint8).reshape(SIDE, SIDE)
        return Correction(pixels, _checked(row["label"]))
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise DataError(
            f"not a hand: correction {i} is {row!r:.60}; expected a label, 0 to 9 or null, and an image, "
            f"{SIDE * SIDE} bytes in base64"
        ) from None


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What a model makes of a hand.

    Attributes:
        prototypes: (10, K) unit vectors; zero for a digit without examples.
        weights: (10,), n / (n + 1) for n examples.
        examples: digits of the hand.
        right_before, right_after: how many of the examples and their copies are read right without and with the others'
            prototypes.
    """

    prototypes: np.ndarray
    weights: np.ndarray
    examples: int
    right_before: int
    right_after: int

    @property
    def is_on(self) -> bool:
        """Whether the prototypes help with the hand's own digits; if not, answers stay as they are."""
        return self.right_after > self.right_before

    def boosts(self, features: np.ndarray) -> np.ndarray:
        """Return what the logits of ten digits, divided by the temperature, gain: (N, 10) float64; 0 if it is off.

        Args:
            features: (N, K) of the pictures.
        """
        if not self.is_on:
            return np.zeros((len(features), CLASSES))
        return _boosts(_directions(features), self.prototypes, self.weights)


def fit(hand: Hand, run: Run) -> Adaptation:
    """Compute a hand's prototypes for a model, and whether they help.

    Args:
        hand: any number of digits.
        run: returns the logits, divided by the temperature, and the features of (N, 1, 28, 28) float32 images.
    """
    labelled = [each for each in hand.corrections if each.label is not None]
    if not labelled:
        return Adaptation(np.zeros((CLASSES, 1)), np.zeros(CLASSES), 0, 0, 0)
    labels = np.array([each.label for each in labelled])
    images = np.concatenate([copies_of(each.image.astype(np.float32) / FULL) for each in labelled])
    logits, features = run(images[:, None])
    logits = logits[:, :CLASSES].reshape(len(labels), -1, CLASSES).astype(np.float64)
    directions = _directions(features).reshape(*logits.shape[:2], -1)
    plain = directions[:, 0]
    before = int((logits.argmax(axis=2) == labels[:, None]).sum())
    after = 0
    for i, label in enumerate(labels):
        others = np.arange(len(labels)) != i
        boosts = _boosts(directions[i], *_prototypes(plain[others], labels[others]))
        after += int(((logits[i] + boosts).argmax(axis=1) == label).sum())
    return Adaptation(*_prototypes(plain, labels), len(labels), before, after)


def copies_of(image: np.ndarray) -> np.ndarray:
    """Return an image and its distorted copies, (11, 28, 28) float32.

    Args:
        image: (28, 28) float32.
    """
    padded = np.pad(image.astype(np.float64), 1)  # paper around it, so that all that is sampled is inside
    found = [image.astype(np.float32)]
    for rows, columns in _places():
        top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
        down, right = rows - top, columns - left
        above = padded[top, left] * (1 - right) + padded[top, left + 1] * right
        below = padded[top + 1, left] * (1 - right) + padded[top + 1, left + 1] * right
        found.append((above * (1 - down) + below * down).astype(np.float32))
    return np.stack(found)


@cache
def _places() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return where the pixels of each copy come from: rows and columns of the image with a margin of a pixel."""
    maps: list[tuple[float, float, float, float]] = []
    for turn in np.deg2rad(TURNS):
        maps.append((np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)))
    maps += [(1, 0, slant, 1) for slant in SLANTS]
    maps += [(1, 0, 0, width) for width in WIDTHS]
    maps += [(height, 0, 0, 1) for height in HEIGHTS]
    middle = (SIDE - 1) / 2
    y, x = np.mgrid[:SIDE, :SIDE] - middle
    return [
        tuple(np.clip(place + middle + 1, 0, SIDE + 1 - LEAST) for place in (a * y + b * x, c * y + d * x))
        for a, b, c, d in maps
    ]


def _directions(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float64)
    length: np.ndarray = np.sqrt((features**2).sum(axis=-1, keepdims=True))
    directions: np.ndarray = features / np.maximum(length, LEAST)
    return directions


def _prototypes(directions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (10, K) prototypes of directions (n, K), and the (10,) weights."""
    one_hot = (labels[:, None] == np.arange(CLASSES)).astype(np.float64)
    count = one_hot.sum(axis=0)
    return _directions(one_hot.T @ directions), count / (count + 1)


def _boosts(directions: np.ndarray, prototypes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    near: np.ndarray = np.maximum(directions @ prototypes.T, 0) ** POWER
    boosts: np.ndarray = STRENGTH * weights * near
    return boosts
