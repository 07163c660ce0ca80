"""Read the ink of numbers with the line network: the character of each frame, two columns of pixels, and its box."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from inkdigits.network import ShippedNetwork
from inkdigits.prediction import CHARACTERS
from inkdigits.preprocess.layout import LINE_HEIGHT, LINE_MARGIN, lay_out_line

__all__ = ["BOX", "FRAME", "LOGITS", "Frames", "read_lines"]

FRAME = 2  # pixels of a line's width per frame
LOGITS = 1 + len(CHARACTERS)  # of a frame; the first is that of no character
BOX = 4  # values per frame, in units of the line's height: to the left and right, and top and bottom of the character
BATCH_PIXELS = 1 << 19  # of the lines of one network run
ALIKE = 0.6  # of the widest line of a network run: the width of the others, which are padded to it


class Frames(NamedTuple):
    """What the network finds in a line of T frames.

    Attributes:
        scores: (T, LOGITS) float64, log-probabilities.
        boxes: (T, 4) float64, left, top, right and bottom of the character there, in pixels of the ink.
    """

    scores: np.ndarray
    boxes: np.ndarray


@cache
def _network() -> ShippedNetwork:
    return ShippedNetwork("line")


def read_lines(inks: Sequence[np.ndarray]) -> list[Frames]:
    """Read lines of ink: (h, w) float32 each, 0 to 1, cropped to the ink; lines of about one length in one run."""
    laid_out = [lay_out_line(ink) for ink in inks]
    order = sorted(range(len(inks)), key=lambda i: laid_out[i][0].shape[1])
    found: list[Frames | None] = [None] * len(inks)
    while order:
        widest = laid_out[order[-1]][0].shape[1]
        most = max(1, BATCH_PIXELS // (LINE_HEIGHT * widest))
        some = [i for i in order[-most:] if laid_out[i][0].shape[1] >= ALIKE * widest]
        del order[-len(some) :]
        batch = np.zeros((len(some), 1, LINE_HEIGHT, widest), np.float32)
        for row, i in zip(batch, some, strict=True):
            row[0, :, : laid_out[i][0].shape[1]] = laid_out[i][0]
        output = _network().run(batch).astype(np.float64)
        for frames, i in zip(output, some, strict=True):
            line, scale = laid_out[i]
            found[i] = _frames(frames[:, : line.shape[1] // FRAME].T, scale, inks[i].shape)
    return [frames for frames in found if frames]


def _frames(output: np.ndarray, scale: float, shape: tuple[int, ...]) -> Frames:
    scores = output[:, :LOGITS] - output[:, :LOGITS].max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    x = FRAME * np.arange(len(output)) + FRAME / 2 - LINE_MARGIN
    top = (LINE_HEIGHT - round(scale * shape[0])) / 2
    before, above, after, below = LINE_HEIGHT * output[:, LOGITS:].T
    boxes = np.stack([x - before, above - top, x + after, below - top], axis=1) / scale
    h, w = shape
    return Frames(scores, np.clip(boxes, 0, [w, h, w, h]))
