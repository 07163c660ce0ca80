"""Held-out digits: their ink at any size, for pictures that are made; and as they are, where nothing may be worse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from inkdigits.data.catalog import PEN_WRITERS, load
from inkdigits.data.pen import PenDigit, load_pendigits
from inkdigits.evaluation.evaluate import calibration_error
from inkdigits.prediction import Prediction
from inkdigits.settings import Settings
from inkdigits.synthesis.strokes import draw, place

from picture_sets.tally import Case, Measured, Row, at_least, at_most

__all__ = ["ink_of", "plain", "test_pens"]

PENS = (0.06, 0.13)  # of the digit's size
TILT = 8.0  # degrees, either way
SHARPENED = 2.2  # contrast of the edges, which enlarging softens


def ink_of(digit: np.ndarray | PenDigit, size: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a digit's ink.

    Args:
        digit: an MNIST image, which is enlarged, or pen strokes, which are drawn with any pen.
        size: the longer side in pixels.

    Returns:
        (h, w) float32 from 0 to 1, with at most a pixel of paper around the ink.
    """
    if isinstance(digit, PenDigit):
        pen = size * rng.uniform(*PENS)
        strokes = place(digit.strokes, size - pen, (pen / 2 + 1, pen / 2 + 1), tilt=rng.uniform(-TILT, TILT))
        width, height = (int(at) + 2 for at in np.concatenate(strokes).max(axis=0) + pen / 2)
        return draw(strokes, width, height, pen=pen, paper=0, ink=255).astype(np.float32) / 255
    image = Image.fromarray(digit)
    padded = np.pad(np.asarray(image.crop(image.getbbox())), 1)
    scale = size / max(padded.shape)
    sides = [max(1, round(side * scale)) for side in padded.shape[::-1]]
    cover = np.asarray(Image.fromarray(padded).resize(sides, Image.Resampling.BICUBIC), np.float32) / 255
    return np.clip((cover - 0.5) * SHARPENED + 0.5, 0, 1)


def test_pens(settings: Settings) -> list[PenDigit]:
    """The digits of the pen writers that nothing is trained on."""
    return [digit for digit in load_pendigits(settings) if digit.writer in PEN_WRITERS["test"]]


def plain(measured: Measured) -> Iterator[Row]:
    """The test parts of the data sets: the digit that is read, accepted or not; and the calibration on pens."""
    targets = {"mnist": at_least(0.9975), "pen": at_least(0.994), "digits": at_least(0.985)}
    for name, part in (("mnist", "test"), ("pen", "test"), ("digits", "all")):
        data = load(name, measured.settings, part=part)
        cases = [Case(data.images[i], int(label)) for i, label in enumerate(data.labels)]
        answers = measured.read(cases)
        yield measured.count(f"plain: {name} {part}", cases, targets[name], answers=answers, of="digit")
        if name == "mnist":
            swapped = [Case(255 - np.asarray(case.image), case.digit) for case in cases]
            yield measured.count("plain: mnist test, ink and paper swapped", swapped, targets[name], of="digit")
        if name == "pen":
            found = [(a.confidence, a.digit == c.digit) for a, c in zip(answers, cases, strict=True) if is_read(a)]
            confidence, right = (np.array(values) for values in zip(*found, strict=True))
            error, target = calibration_error(confidence, right), at_most(0.005)
            met = "yes" if target.met(error) else "no"
            name = "plain: calibration error, pen test"
            yield Row(set=name, n=len(right), share=f"{100 * error:.2f}%", target=target.text, met=met)


def is_read(answer: object) -> bool:
    return isinstance(answer, Prediction) and not answer.is_blank
