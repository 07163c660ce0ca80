"""Write a submission for Kaggle's Digit Recognizer: a table of digits in, ``ImageId,Label`` out.

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
NAMED = 10  # ids kept of non-digits, and of blanks


@dataclass(slots=True)
class Submission:
    """Counts of a submission.

    Attributes:
        rows: rows written, each with a label.
        not_digits: how many of them are non-digits; their label is the nearest digit.
        blanks: how many of them have no ink.
        not_digit_ids: ``ImageId`` of the first ``NAMED`` non-digits.
        blank_ids: likewise of the blanks.
    """

    rows: int = 0
    not_digits: int = 0
    blanks: int = 0
    not_digit_ids: list[int] = field(default_factory=list)
    blank_ids: list[int] = field(default_factory=list)

    def notice(self) -> str:
        """Return a warning about rows without a digit; "" if every row shows a digit."""
        kinds = [
            (self.not_digits, "not a digit" if self.not_digits == 1 else "not digits", self.not_digit_ids),
            (self.blanks, "blank", self.blank_ids),
        ]
        listed = ", ".join(f"{n:,} {what} (ImageId {_listed(ids, n)})" for n, what, ids in kinds if n)
        without = self.not_digits + self.blanks
        shows = "does not show a digit but has" if without == 1 else "do not show a digit but have"
        return f"{without:,} of {self.rows:,} rows {shows} a label, as Kaggle demands: {listed}" if without else ""


def _listed(ids: Sequence[int], n: int) -> str:
    return ", ".join(map(str, ids)) + (", …" if n > len(ids) else "")


def submit(recognizer: Recognizer, path: Path, out: TextIO, progress: Progress | None = None) -> Submission:
    """Read every digit of a table and write a line for each, in batches, so that a table need not fit in memory.

    Kaggle wants a label in each line. The label of a non-digit is its nearest digit. The label of a row without ink is
    the network's digit for empty paper, always the same. Both are counted.

    Args:
        recognizer: the model.
        path: a table that :func:`inkdigits.data.tables.read_table` takes; labels in it are ignored.
        out: text file for the lines: a header, then ``ImageId`` from 1, and ``Label``, 0 to 9.
        progress: reports progress; default: a bar on standard error when that is a terminal.

    Returns:
        Counts of rows, non-digits and blanks.

    Raises:
        DataError: the table cannot be read or has an error; the rows before it are written.
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
