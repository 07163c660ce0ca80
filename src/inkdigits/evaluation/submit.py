"""A submission for Kaggle's Digit Recognizer: a table of digits in, ``ImageId,Label`` out.

https://www.kaggle.com/c/digit-recognizer/overview/evaluation
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from inkdigits.data.tables import iter_table
from inkdigits.preprocess import SIDE
from inkdigits.progress import Progress, bars
from inkdigits.recognizer import Recognizer

__all__ = ["HEADER", "Submission", "submit"]

HEADER = "ImageId,Label"
NAMED = 10  # ids of rows without a digit that are kept, of each kind


@dataclass(slots=True)
class Submission:
    """What was written.

    Attributes:
        rows: how many, each with a label.
        not_digits: how many of them look like no digit; their label is the nearest digit.
        blanks: how many of them have no ink.
        not_digit_ids: ``ImageId`` of the first of them, ``NAMED`` at most.
        blank_ids: likewise.
    """

    rows: int = 0
    not_digits: int = 0
    blanks: int = 0
    not_digit_ids: list[int] = field(default_factory=list)
    blank_ids: list[int] = field(default_factory=list)

    def notice(self) -> str:
        """Return what a reader of the labels has to know; empty where every row shows a digit."""
        kinds = [
            (self.not_digits, "not a digit" if self.not_digits == 1 else "not digits", self.not_digit_ids),
            (self.blanks, "blank", self.blank_ids),
        ]
        told = ", ".join(f"{n:,} {what} (ImageId {_listed(ids, n)})" for n, what, ids in kinds if n)
        without = self.not_digits + self.blanks
        shows = "shows no digit but has" if without == 1 else "show no digit but have"
        return f"{without:,} of {self.rows:,} rows {shows} a label, as Kaggle demands: {told}" if without else ""


def _listed(ids: Sequence[int], n: int) -> str:
    return ", ".join(map(str, ids)) + (", …" if n > len(ids) else "")


def submit(recognizer: Recognizer, path: Path, out: TextIO, progress: Progress | None = None) -> Submission:
    """Read every digit of a table and write a line for each, as they come; any number fits in memory.

    A submission needs a label in each line. What looks like no digit gets the nearest one, and a row without ink the
    digit that the network finds most probable on empty paper, always the same one; both are counted.

    Args:
        recognizer: the model.
        path: a table that :func:`inkdigits.data.tables.read_table` takes; labels in it are passed over.
        out: text file for the lines: a header, then ``ImageId`` from 1, and ``Label``, 0 to 9.
        progress: shows the rows; default a bar on standard error when that is a terminal.

    Returns:
        How many rows there were, and which of them show no digit.

    Raises:
        DataError: the table cannot be read, or something in it is wrong; what came before has been written.
    """
    blank = int(recognizer.logits(np.zeros((1, 1, SIDE, SIDE), np.float32))[0, :10].argmax())
    done = Submission()
    with (progress or bars())(f"reading {path.name}", None, "") as advance:
        for images, _ in iter_table(path, labelled=False):
            if not done.rows:
                out.write(f"{HEADER}\n")
            for answer in recognizer.predict_batch(images):
                done.rows += 1
                out.write(f"{done.rows},{blank if answer.digit is None else answer.digit}\n")
                if answer.is_blank:
                    done.blanks += 1
                    done.blank_ids += [done.rows] * (done.blanks <= NAMED)
                elif not answer.is_digit:
                    done.not_digits += 1
                    done.not_digit_ids += [done.rows] * (done.not_digits <= NAMED)
            advance(len(images))
    return done
