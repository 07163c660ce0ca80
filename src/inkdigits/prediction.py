"""What was read in an image, one digit or numbers, and by which model: plain data, which needs no ONNX Runtime."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

__all__ = [
    "CHARACTERS",
    "CLASSES",
    "MARK",
    "SIDE",
    "Alternative",
    "Box",
    "Digit",
    "ModelInfo",
    "Number",
    "Polarity",
    "Prediction",
    "Reading",
    "Reason",
]

SIDE = 28  # pixels, of the image that a network sees
CLASSES = 10  # digits
CHARACTERS = "0123456789.,-?"  # that numbers are read as
MARK = "?"  # stands for any other ink

Polarity = Literal["dark-on-light", "light-on-dark"]
Reason = Literal["blank", "several digits", "not a digit", "unclear"]  # why an image is rejected


class Box(NamedTuple):
    """A rectangle in pixels of the image; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was read in one image.

    Attributes:
        digit: 0 to 9, or None when the image is blank.
        confidence: probability of ``digit``, 0 to 1; 0.0 when the image is blank.
        probabilities: ten floats that sum to 1, one a digit; all 0.1 when the image is blank.
        image: what the network saw, (28, 28) float32 in [0, 1], ink 1 on paper 0.
        box: where the ink was found, in pixels of the image as displayed (after its EXIF turn); None when blank.
        polarity: "dark-on-light" or "light-on-dark"; None when blank.
        is_digit: whether the ink looks like a digit at all. False when blank; True from a model that cannot tell.
        digit_score: 0 to 1, how much it does; ``is_digit`` where it reaches the model's threshold. None from a model
            that cannot tell, and when blank.
        explanation: where asked for, how much each part of the ink mattered for ``digit``, (28, 28) float32 in [-1, 1]:
            the strongest part has size 1, negative spoke against it, paper is 0.
        reason: why the image is rejected; None where it is accepted, so where ``is_digit`` is true.
            "blank": no ink was found. "several digits": the ink is a number of more than one digit.
            "unclear": the score is below the threshold, but a digit is more likely than not. "not a digit": any other
            ink, and all rejected ink of a model that cannot tell.
        is_sure: whether the digit is accepted with the confidence that the recognizer's profile asks for; see
            :mod:`inkdigits.profile`. None without a profile.
    """

    digit: int | None
    confidence: float
    probabilities: tuple[float, ...]
    image: np.ndarray = field(repr=False, compare=False)
    box: Box | None
    polarity: Polarity | None
    is_digit: bool
    digit_score: float | None
    explanation: np.ndarray | None = field(default=None, repr=False, compare=False)
    reason: Reason | None = None
    is_sure: bool | None = None

    def __post_init__(self) -> None:
        if self.reason is None and not self.is_digit:
            object.__setattr__(self, "reason", "blank" if self.digit is None else "not a digit")

    @property
    def is_blank(self) -> bool:
        """No ink was found."""
        return self.digit is None

    def to_dict(self, *, image: bool = False) -> dict[str, Any]:
        """Return plain values for JSON; ``image=True`` adds the network's input, 28 rows of 0–255.

        An explanation, where there is one, is 28 rows of -1 to 1.
        """
        answer: dict[str, Any] = {
            "digit": self.digit,
            "confidence": self.confidence,
            "probabilities": list(self.probabilities),
            "is_digit": self.is_digit,
            "reason": self.reason,
            "digit_score": self.digit_score,
            "blank": self.is_blank,
            "box": self.box._asdict() if self.box else None,
            "polarity": self.polarity,
        }
        if self.is_sure is not None:
            answer["is_sure"] = self.is_sure
        if image:
            answer["image"] = np.rint(self.image * 255).astype(int).tolist()
        if self.explanation is not None:
            answer["explanation"] = np.round(self.explanation.astype(float), 3).tolist()
        return answer


@dataclass(frozen=True, slots=True)
class Digit:
    """One character of a number.

    Attributes:
        char: "0" to "9"; ".", "," or "-"; "?" for any other ink.
        digit: 0 to 9; None where ``char`` is not a digit.
        confidence: probability of ``char``, 0 to 1.
        box: where it is, in pixels of the upright image.
        touching: whether its ink touches that of the character before or after it.
    """

    char: str
    digit: int | None
    confidence: float
    box: Box
    touching: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "char": self.char,
            "digit": self.digit,
            "confidence": self.confidence,
            "box": self.box._asdict(),
            "touching": self.touching,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Digit:
        """Return the digit that :meth:`to_dict` returned the values of."""
        return cls(
            document["char"],
            document["digit"],
            document["confidence"],
            Box(**document["box"]),
            document["touching"],
        )


class Alternative(NamedTuple):
    """Another text that a number may be, and its probability."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written.

    Attributes:
        text: its digits, with zeros in front, points, commas and dashes; "?" for any other ink.
        value: what it is worth; None where the text is ambiguous, as "1.420" is, or has a "?".
        confidence: probability that all of the text is right, 0 to 1.
        is_number: whether it is accepted: its confidence reaches the threshold, and it has a digit and no "?".
        box: where it is, in pixels of the upright image.
        digits: each character of the text, in order.
        alternatives: other texts, the most likely first, as many as were asked for.
    """

    text: str
    value: int | float | None
    confidence: float
    is_number: bool
    box: Box
    digits: tuple[Digit, ...]
    alternatives: tuple[Alternative, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "text": self.text,
            "value": self.value,
            "confidence": self.confidence,
            "is_number": self.is_number,
            "box": self.box._asdict(),
            "digits": [digit.to_dict() for digit in self.digits],
            "alternatives": [alternative._asdict() for alternative in self.alternatives],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Number:
        """Return the number that :meth:`to_dict` returned the values of."""
        return cls(
            document["text"],
            document["value"],
            document["confidence"],
            document["is_number"],
            Box(**document["box"]),
            tuple(map(Digit.from_dict, document["digits"])),
            tuple(Alternative(**each) for each in document["alternatives"]),
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """The numbers in an image.

    Attributes:
        numbers: from top to bottom, and from left to right.
        lines: the numbers of each line, by their indices.
        table: rows of cells, each the index of a number, or None for an empty cell; None where the image has no table.
        polarity: whether the ink is darker or lighter than the paper; None when blank.
    """

    numbers: tuple[Number, ...]
    lines: tuple[tuple[int, ...], ...]
    table: tuple[tuple[int | None, ...], ...] | None
    polarity: Polarity | None

    @property
    def text(self) -> str:
        """The text of all numbers: a line for each of :attr:`lines`, with spaces between numbers; "" when blank."""
        return "\n".join(" ".join(self.numbers[i].text for i in line) for line in self.lines)

    @property
    def confidence(self) -> float:
        """Probability that every number is right, if they are independent; 0.0 when blank."""
        return math.prod(number.confidence for number in self.numbers) if self.numbers else 0.0

    @property
    def is_number(self) -> bool:
        """Whether there are numbers and each of them is accepted."""
        return bool(self.numbers) and all(number.is_number for number in self.numbers)

    @property
    def is_blank(self) -> bool:
        """No ink was found."""
        return not self.numbers

    def rows(self) -> list[list[str | None]]:
        """Return the texts in rows, those of the table if there is one, else those of the lines."""
        cells: Sequence[Sequence[int | None]] = self.lines if self.table is None else self.table
        return [[None if i is None else self.numbers[i].text for i in row] for row in cells]

    def to_csv(self) -> str:
        """Return :meth:`rows` as CSV; an empty cell is empty."""
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(self.rows())
        return file.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "text": self.text,
            "confidence": self.confidence,
            "is_number": self.is_number,
            "numbers": [number.to_dict() for number in self.numbers],
            "lines": [list(line) for line in self.lines],
            "table": None if self.table is None else [list(row) for row in self.table],
            "blank": self.is_blank,
            "polarity": self.polarity,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Reading:
        """Return the reading that :meth:`to_dict` returned the values of; other keys are ignored.

        Raises:
            KeyError, TypeError: the document is not of a reading.
        """
        table = document["table"]
        return cls(
            tuple(map(Number.from_dict, document["numbers"])),
            tuple(map(tuple, document["lines"])),
            None if table is None else tuple(map(tuple, table)),
            document["polarity"],
        )


@dataclass(frozen=True)
class ModelInfo:
    """Which model answers: its name, file, SHA-256, and what the registry and the file itself say of it."""

    name: str
    path: Path
    sha256: str
    temperature: float
    threshold: float | None  # digit score below which the ink is a non-digit; None: the model does not detect them
    entry: Mapping[str, Any]  # the registry's entry; empty for a file that no registry lists

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Measured figures, such as ``{"mnist": {"accuracy": …}}``; empty when nothing is known."""
        metrics: Mapping[str, Any] = self.entry.get("metrics", {})
        return metrics
