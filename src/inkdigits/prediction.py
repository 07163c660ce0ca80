"""What an image was read as, and by which model: plain data, which needs no ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

__all__ = ["CLASSES", "SIDE", "Box", "ModelInfo", "Polarity", "Prediction", "Reason"]

SIDE = 28  # pixels, of the image that a network sees
CLASSES = 10  # digits

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
        if image:
            answer["image"] = np.rint(self.image * 255).astype(int).tolist()
        if self.explanation is not None:
            answer["explanation"] = np.round(self.explanation.astype(float), 3).tolist()
        return answer


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
