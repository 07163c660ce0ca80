"""A submission for Kaggle's Digit Recognizer: a table of digits in, ``ImageId,Label`` out.

https://www.kaggle.com/c/digit-recognizer/overview/evaluation
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import numpy as np

from inkdigits.image import SIDE
from inkdigits.recognizer import Recognizer
from inkdigits.tables import iter_table
from inkdigits.training.progress import Progress, bars

__all__ = ["HEADER", "submit"]

HEADER = "ImageId,Label"


def submit(recognizer: Recognizer, path: Path, out: TextIO, progress: Progress | None = None) -> int:
    """Read every digit of a table and write a line for each, as they come; any number fits in memory.

    A submission needs a label in each line. A row without ink gets the digit that the network finds most probable on
    empty paper, always the same one.

    Args:
        recognizer: the model.
        path: a table that :func:`inkdigits.tables.read_table` takes; labels in it are passed over.
        out: text file for the lines: a header, then ``ImageId`` from 1, and ``Label``, 0 to 9.
        progress: shows the rows; default a bar on standard error when that is a terminal.

    Returns:
        How many digits there were.

    Raises:
        DataError: the table cannot be read, or something in it is wrong; what came before has been written.
    """
    blank = int(recognizer.logits(np.zeros((1, 1, SIDE, SIDE), np.float32))[0, :10].argmax())
    number = 0
    with (progress or bars())(f"reading {path.name}", None, "") as advance:
        for images, _ in iter_table(path, labelled=False):
            if not number:
                out.write(f"{HEADER}\n")
            for answer in recognizer.predict_batch(images):
                number += 1
                out.write(f"{number},{blank if answer.digit is None else answer.digit}\n")
            advance(len(images))
    return number
