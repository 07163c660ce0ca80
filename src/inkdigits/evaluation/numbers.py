"""Measure how well numbers are read: whole strings, digits by edit distance, calibration, what can be answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from inkdigits.evaluation.evaluate import BINS, Share, calibration_error, wilson
from inkdigits.prediction import MARK, Reading

__all__ = ["ALMOST_ALL", "Group", "StringFigures", "same_text", "string_figures"]

ALMOST_ALL = 0.995  # of the answers, that are to be right
APART, TOUCHING = "apart", "touching"  # as the digits of a text are read


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the texts, such as those of one length.

    Attributes:
        n: how many.
        right: how many of them were read right.
    """

    n: int
    right: int

    @property
    def share(self) -> float:
        """Share read right, 0 to 1; 0 if there are none."""
        return self.right / self.n if self.n else 0.0


@dataclass(frozen=True, eq=False)
class StringFigures:
    """Result of :func:`string_figures`. Arrays have one item per picture with a number, in their order.

    Attributes:
        n: pictures with a number; all figures but the last two are of these.
        right: how many were read right: the whole text, accepted or not.
        digit_error_rate: digits to insert, delete or replace in what was read, per digit in the truth.
        by_length: by number of digits in the truth.
        by_contact: by whether some digits were read as touching: "apart" and "touching".
        ece: expected calibration error of the confidence of the whole text, 15 bins, 0 to 1.
        rejected: how many were not accepted.
        without: pictures without a number.
        without_rejected: how many of them were rejected, as they should be.
        confidences: (n,) float64 in [0, 1]; 0 where the text has a "?".
        is_right: (n,) bool.
    """

    n: int
    right: int
    digit_error_rate: float
    by_length: Mapping[int, Group]
    by_contact: Mapping[str, Group]
    ece: float
    rejected: int
    without: int
    without_rejected: int
    confidences: np.ndarray
    is_right: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of the texts read right, 0 to 1; 0 if there are none."""
        return self.right / self.n if self.n else 0.0

    @property
    def interval(self) -> Share:
        """95% Wilson score interval of the accuracy."""
        return wilson(self.right, self.n) if self.n else (0.0, 1.0)

    def answered_at(self, share: float = ALMOST_ALL) -> float:
        """Return the largest share of the texts that can be answered so that this share of the answers is right.

        The answers are those with at least a certain confidence.
        """
        order = np.argsort(-self.confidences, kind="stable")
        levels = self.confidences[order]
        accuracy = np.cumsum(self.is_right[order]) / np.arange(1, self.n + 1)
        is_last = np.append(levels[1:] < levels[:-1], True)[: self.n]  # of those with one confidence
        good = np.flatnonzero(is_last & (accuracy >= share) & (levels > 0))
        return float(good[-1] + 1) / self.n if len(good) else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""

        def groups(of: Mapping[Any, Group]) -> dict[str, dict[str, float]]:
            return {str(key): {"n": group.n, "right": group.right} for key, group in of.items()}

        return {
            "n": self.n,
            "right": self.right,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "digit_error_rate": self.digit_error_rate,
            "by_length": groups(self.by_length),
            "by_contact": groups(self.by_contact),
            "calibration_error": self.ece,
            f"answered_at_{ALMOST_ALL}": self.answered_at(),
            "rejected": self.rejected,
            "without_number": self.without,
            "without_number_rejected": self.without_rejected,
        }

    def table(self) -> str:
        """Format the figures for a terminal, in lines of at most 80 characters."""
        lines = []
        if self.n:
            low, high = self.interval
            lines += [
                f"whole strings right  {self.accuracy:8.2%}   {self.n - self.right:,} of {self.n:,} wrong, "
                f"95% interval {low:.2%} to {high:.2%}",
                f"digit error rate     {self.digit_error_rate:8.2%}",
                f"calibration error    {self.ece:8.2%}   {BINS} bins",
                f"answered             {self.answered_at():8.2%}   with {ALMOST_ALL:.1%} of the answers right",
                f"rejected             {self.rejected / self.n:8.2%}",
            ]
        if self.without:
            lines.append(
                f"without a number     {self.without_rejected / self.without:8.2%}   of {self.without:,} rejected"
            )
        for head, groups in (("digits", self.by_length), ("read as", self.by_contact)):
            if groups:
                lines += ["", f"{head:<10}{'n':>8}    right"]
                lines += [f"{key!s:<10}{group.n:8,}{group.share:9.2%}" for key, group in groups.items()]
        return "\n".join(lines)


def string_figures(truth: Sequence[str], readings: Sequence[Reading], *, digits_only: bool = False) -> StringFigures:
    """Compare readings with the texts that the pictures show.

    Args:
        truth: the text of each picture, several numbers with spaces and lines between them, of any width; empty for a
            picture without a number.
        readings: as many.
        digits_only: compare the digits alone, for truths that leave out points, commas and dashes.

    Raises:
        ValueError: there are not as many readings as truths.
    """
    confidences, rights, contact, lengths = [], [], [], []
    edits = digits = rejected = without = without_rejected = 0
    for text, reading in zip(truth, readings, strict=True):
        shown = _digits(text)
        if not text.strip():
            without += 1
            without_rejected += not reading.is_number
            continue
        read = _digits(reading.text)
        rights.append(same_text(text, reading.text, digits_only))
        confidences.append(0.0 if MARK in reading.text else reading.confidence)
        is_touching = any(digit.touching for number in reading.numbers for digit in number.digits)
        contact.append(TOUCHING if is_touching else APART)
        lengths.append(len(shown))
        rejected += not reading.is_number
        edits += Levenshtein.distance(shown, read)
        digits += len(shown)
    is_right, confidence = np.array(rights, bool), np.array(confidences, np.float64)
    return StringFigures(
        n=len(rights),
        right=sum(rights),
        digit_error_rate=edits / max(digits, 1),
        by_length=_grouped(lengths, rights),
        by_contact=_grouped(contact, rights),
        ece=calibration_error(confidence, is_right) if rights else 0.0,
        rejected=rejected,
        without=without,
        without_rejected=without_rejected,
        confidences=confidence,
        is_right=is_right,
    )


def same_text(text: str, read: str, digits_only: bool = False) -> bool:
    """Return whether a text was read right; between digits that are compared alone, spaces do not count."""
    return _digits(text) == _digits(read) if digits_only else text.split() == read.split()


def _digits(text: str) -> str:
    return "".join(character for character in text if character in "0123456789")


def _grouped(keys: Sequence[Any], rights: Iterable[bool]) -> dict[Any, Group]:
    found: dict[Any, list[bool]] = {}
    for key, is_right in zip(keys, rights, strict=True):
        found.setdefault(key, []).append(is_right)
    return {key: Group(len(each), sum(each)) for key, each in sorted(found.items())}
