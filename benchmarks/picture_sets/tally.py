"""Read the pictures of a set, count the answers, compare the count with a target, and draw what was read wrong."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw

from inkdigits.errors import DataError, ImageError
from inkdigits.prediction import Prediction
from inkdigits.preprocess import ImageSource, Limits
from inkdigits.preprocess.decode import decode
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings

__all__ = ["Answer", "Case", "Measured", "Row", "Target", "accepted", "at_least", "at_most", "contact_sheet"]

NAME = 64  # characters of a set's name in the table
TILE, COLUMNS, LINE = 120, 12, 13  # pixels, tiles, pixels: of a contact sheet
SHOWN = 144  # pictures of a sheet, at most

Answer = Prediction | ImageError


@dataclass(frozen=True)
class Target:
    """A bound of a figure; it is met when the figure is on its side of it."""

    text: str
    met: Callable[[float], bool]


def at_least(share: float) -> Target:
    return Target(f">= {100 * share:g}%", lambda found: found >= share)


def at_most(share: float) -> Target:
    return Target(f"<= {100 * share:g}%", lambda found: found <= share)


@dataclass(frozen=True)
class Case:
    """A picture and its right answer.

    Attributes:
        image: whatever ``Recognizer.predict`` takes.
        digit: what it shows; None where it must be rejected.
        reason: why it must be rejected, a value of ``Prediction.reason``; None: any reason is right.
    """

    image: ImageSource
    digit: int | None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. ``share`` is what the target bounds; a cost has no counts."""

    set: str
    n: int | str = ""
    right_accepted: int | str = ""
    wrong_accepted: int | str = ""
    rejected: int | str = ""
    share: str
    target: str = ""
    met: str = ""
    threshold: str = ""

    def __str__(self) -> str:
        counts = "".join(f"{v:>7}" for v in (self.n, self.right_accepted, self.wrong_accepted, self.rejected))
        return f"{self.set:<{NAME}}{counts}{self.share:>10}  {self.target:<10}{self.met:<4}{self.threshold}".rstrip()


HEADING = str(
    Row(
        set="set",
        n="n",
        right_accepted="right",
        wrong_accepted="wrong",
        rejected="reject",
        share="share",
        target="target",
        met="met",
        threshold="threshold",
    )
)


class Measured:
    """A model, and what is measured with it.

    Args:
        recognizer: the model.
        settings: ``data`` names the folder of real pictures.
        sheets: folder for contact sheets of what was read wrong; None: draw none.
    """

    def __init__(self, recognizer: Recognizer, settings: Settings, sheets: Path | None = None) -> None:
        self.recognizer, self.settings, self._sheets = recognizer, settings, sheets

    @cached_property
    def strict_threshold(self) -> float:
        """The threshold of the digit score at which at most 0.5% of the validation digits are rejected."""
        from picture_sets.not_digits import strict_threshold  # which counts with this class

        return strict_threshold(self)

    def folder(self, name: str) -> Path:
        """The folder of a set of real pictures.

        Raises:
            DataError: it is not there.
        """
        data = self.settings.data_folder
        if data is None or not (data / name).exists():
            raise DataError(f"there is no {name} in the folder that INKDIGITS_DATA names ({data or 'not set'})")
        return data / name

    def read(self, cases: Sequence[Case]) -> list[Answer]:
        return list(self.recognizer.predict_batch((case.image for case in cases), errors="return"))

    def count(
        self,
        name: str,
        cases: Sequence[Case],
        target: Target | None = None,
        *,
        answers: Sequence[Answer] | None = None,
        threshold: float | None = None,
        of: str = "right",
    ) -> Row:
        """Read a set and count: right and accepted, wrong and accepted, rejected.

        Args:
            answers: to the cases, where they have been read already.
            threshold: of the digit score; None is the model's own.
            of: what the share is of: "right" (read right and accepted; or rejected, where the case asks for that),
                "digit" (the digit is right, accepted or not), "accepted" or "rejected".
        """
        answers = self.read(cases) if answers is None else answers
        passed = [accepted(answer, self.recognizer, threshold) for answer in answers]
        right = [_right(case, answer, ok) for case, answer, ok in zip(cases, answers, passed, strict=True)]
        read_right = sum(ok and good for ok, good in zip(passed, right, strict=True))
        counted = {
            "right": right,
            "digit": [getattr(a, "digit", None) == case.digit for case, a in zip(cases, answers, strict=True)],
            "accepted": passed,
            "rejected": [not ok for ok in passed],
        }[of]
        share = round(sum(counted) / len(cases), 4)  # compared as it is printed
        faults = counted if of == "accepted" else [not good for good in counted]
        self._draw(name, [(c, a) for c, a, fault in zip(cases, answers, faults, strict=True) if fault])
        return Row(
            set=name,
            share=f"{100 * share:.2f}%",
            target=target.text if target else "",
            met="" if target is None else "yes" if target.met(share) else "no",
            n=len(cases),
            right_accepted=read_right,
            wrong_accepted=sum(passed) - read_right,
            rejected=len(cases) - sum(passed),
            threshold="model's" if threshold is None else f"{threshold:.4f}",
        )

    def _draw(self, name: str, wrong: Sequence[tuple[Case, Answer]]) -> None:
        if self._sheets and wrong:
            tiles = ((case.image, f"{'-' if case.digit is None else case.digit}: {_said(a)}") for case, a in wrong)
            file = re.sub(r"[^\w.-]+", "_", name) + ".png"
            contact_sheet(tiles, len(wrong)).save(self._sheets / file)


def accepted(answer: Answer, recognizer: Recognizer, threshold: float | None = None) -> bool:
    """Whether it was read as a digit: by the model, or at another threshold of its score.

    What the model rejects in spite of a good score, such as several digits, stays rejected.
    """
    if isinstance(answer, ImageError) or answer.digit is None:
        return False
    if threshold is None:
        return answer.is_digit
    if answer.digit_score is None or recognizer.model.threshold is None:
        return answer.confidence >= threshold
    return answer.digit_score >= threshold and (answer.is_digit or answer.digit_score < recognizer.model.threshold)


def contact_sheet(tiles: Iterator[tuple[ImageSource, str]], n: int) -> Image.Image:
    """Draw pictures in rows, each under a line of text."""
    n = min(n, SHOWN)
    sheet = Image.new("RGB", (COLUMNS * TILE, ceil(n / COLUMNS) * (TILE + LINE)), "#557")
    pen = ImageDraw.Draw(sheet)
    for i, (source, text) in zip(range(n), tiles, strict=False):
        picture = decode(source, Limits()).convert("RGB")
        scale = (TILE - 4) / max(picture.size)
        picture = picture.resize([max(1, round(side * scale)) for side in picture.size])
        left, top = i % COLUMNS * TILE, i // COLUMNS * (TILE + LINE)
        sheet.paste(picture, (left + 2, top + LINE))
        pen.text((left + 2, top + 1), textwrap.shorten(text, 20, placeholder=""), fill="white")
    return sheet


def _right(case: Case, answer: Answer, passed: bool) -> bool:
    if case.digit is not None:
        return passed and isinstance(answer, Prediction) and answer.digit == case.digit
    reason = getattr(answer, "reason", None)  # a Prediction of a version without reasons is right without one
    return not passed and (case.reason is None or not hasattr(answer, "reason") or reason == case.reason)


def _said(answer: Answer) -> str:
    if isinstance(answer, ImageError):
        return type(answer).__name__
    if answer.digit is None:
        return "blank"
    score = answer.confidence if answer.digit_score is None else answer.digit_score
    return f"{answer.digit} {score:.3f}" if answer.is_digit else f"no ({answer.digit} {score:.2f})"
