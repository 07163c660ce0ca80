"""Images in, the digit of each out, a row for each image, with one recognizer in one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Literal, get_args

from inkdigits.errors import ImageError
from inkdigits.prediction import CLASSES, Prediction
from inkdigits.preprocess import ImageSource
from inkdigits.recognizer import BATCH_SIZE, Recognizer

__all__ = ["Digits", "Row", "Verdict", "read"]

Verdict = Literal["digit", "several digits", "not a digit", "unclear", "unsure", "blank", "error"]
# Of an explanation: for ink that mattered much, some, little, and for ink against the digit.
_MARKS = [(-0.1, "-"), (0.2, "."), (0.6, "+"), (1.1, "#")]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one image: its prediction, or the error that says why there is none.

    Attributes:
        name: of the image.
        prediction: None where the image could not be read.
        error: None where it could.
        min_confidence: the confidence that its digit needs to be accepted, 0 to 1.
        only_sure: whether its digit must be sure to be accepted, by the recognizer's profile.
        has_sure: whether the columns include ``is_sure``.
    """

    name: str
    prediction: Prediction | None
    error: ImageError | None
    min_confidence: float = 0.0
    only_sure: bool = False
    has_sure: bool = False
    size: ClassVar[int] = 1

    @property
    def verdict(self) -> Verdict:
        """What the row says of the image: the reason of a rejection; "unsure" is a digit that is accepted otherwise."""
        p = self.prediction
        if p is None:
            return "error"
        if p.reason:
            return p.reason
        is_unsure = p.confidence < self.min_confidence or (self.only_sure and not p.is_sure)
        return "unsure" if is_unsure else "digit"

    @property
    def accepted(self) -> bool:
        """Whether the image shows a digit, and ``prediction.digit`` is confident enough to be used."""
        return self.verdict == "digit"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: ``name``, what :meth:`Prediction.to_dict` gives or ``error``, and ``accepted``."""
        found = {"error": str(self.error)} if self.prediction is None else self.prediction.to_dict()
        return {"name": self.name, **found, "accepted": self.accepted}

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return :meth:`to_dict`, the only row."""
        return [self.to_dict()]

    def cells(self) -> list[list[object]]:
        """Return the values of :attr:`Digits.columns`."""
        p = self.prediction
        sure = [p and p.is_sure] if self.has_sure else []
        if p is None:
            return [[None, None, None, None, self.accepted, None, *sure, *[None] * CLASSES]]
        return [[p.digit, p.confidence, p.is_digit, p.digit_score, self.accepted, p.reason, *sure, *p.probabilities]]

    def lines(self) -> list[str]:
        """Return the digit, the confidence and the second-best digit; or why there is none."""
        p = self.prediction
        if p is None or p.digit is None or p.reason == "several digits":
            return [self.verdict]
        if not p.is_digit:  # how sure it is of the nearest digit would read as how sure it is
            return [f"{self.verdict} (nearest {p.digit})"]
        if not self.accepted:
            return [f"{self.verdict} (nearest {p.digit}, {p.confidence:.1%})"]
        second = max((d for d in range(CLASSES) if d != p.digit), key=p.probabilities.__getitem__)
        return [f"{p.digit}  {p.confidence:6.1%}   then {second} {p.probabilities[second]:6.1%}"]

    def below(self) -> list[str]:
        """Return the explanation as lines of characters."""
        if self.prediction is None or self.prediction.explanation is None:
            return []
        rows = self.prediction.explanation.tolist()
        lines = ["".join(" " if v == 0 else next(m for top, m in _MARKS if v < top) for v in line) for line in rows]
        return ["    " + line for line in lines if line.strip()]


@dataclass(frozen=True, slots=True)
class Digits:
    """Read the digit in each image: the options of :func:`read`."""

    explain: bool = False
    min_confidence: float = 0.0
    only_sure: bool = False
    has_sure: bool = False

    verdicts: ClassVar[tuple[Verdict, ...]] = get_args(Verdict)
    networks: ClassVar[tuple[str, ...]] = ("ink",)

    @property
    def columns(self) -> dict[str, str]:
        """Return the columns of a table. The page's own CSV has the same, but ``is_sure``: web/table.js."""
        return {
            **{"digit": "int8", "confidence": "float64", "is_digit": "bool", "digit_score": "float64"},
            **{"accepted": "bool", "reason": "string"},
            **({"is_sure": "bool"} if self.has_sure else {}),
            **{f"p{digit}": "float64" for digit in range(CLASSES)},
        }

    def read(self, recognizer: Recognizer, images: Iterable[tuple[str, ImageSource | ImageError]]) -> Iterator[Row]:
        """Call :func:`read` with these options."""
        return read(
            recognizer,
            images,
            explain=self.explain,
            min_confidence=self.min_confidence,
            only_sure=self.only_sure,
            has_sure=self.has_sure,
        )


def read(
    recognizer: Recognizer,
    images: Iterable[tuple[str, ImageSource | ImageError]],
    *,
    explain: bool = False,
    min_confidence: float = 0.0,
    only_sure: bool = False,
    has_sure: bool = False,
) -> Iterator[Row]:
    """Read the digit in each image.

    Args:
        recognizer: the model to read with.
        images: pairs of a name and what :meth:`Recognizer.predict` takes, or of a name and the error of an image that
            could not even be got; a generator is consumed a batch at a time, so that any number of images fits in
            memory.
        explain: also say how much each part of the ink mattered.
        min_confidence: that a digit needs to be accepted, 0 to 1.
        only_sure: whether a digit must be sure to be accepted, by the recognizer's profile.
        has_sure: whether tables have the column ``is_sure``.

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
                yield Row(name, None, result, min_confidence, only_sure, has_sure)
            else:
                yield Row(name, result, None, min_confidence, only_sure, has_sure)
