"""Digits in pictures of 10 to 20 pixels: how small may a picture be?

MNIST's digits and pen drawings of writers that no model meets, each cut out with a margin and reduced by averaging to
this many pixels per side. Recipes are chosen by ``--part validation``, digits that no model was trained on.

    python benchmarks/small_pictures.py
    python benchmarks/small_pictures.py --part validation --models cnn models/mine.onnx
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from inkdigits.data.catalog import PEN_WRITERS, load
from inkdigits.data.dataset import stratified
from inkdigits.data.pen import load_pendigits, pen_picture
from inkdigits.network import shipped_models
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.prepare import VALIDATION_SEED

from _common import make_parser, percent, record

SIDES = (10, 12, 14, 16, 20)  # pixels
MARGIN = 0.12  # of the digit's longer side, left around it


def cut_out(picture: np.ndarray) -> Image.Image:
    """The ink of a dark-on-light picture in the middle of a square."""
    paper = int(np.bincount(picture.ravel()).argmax())
    rows, columns = ((picture < 128).any(axis=axis).nonzero()[0] for axis in (1, 0))
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    side = round(max(bottom - top, right - left) * (1 + 2 * MARGIN))
    square = Image.new("L", (side, side), paper)
    ink = Image.fromarray(picture[top:bottom, left:right])
    square.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
    return square


def mnist(part: str, settings: Settings) -> Iterator[tuple[Image.Image, int]]:
    data = load("mnist", settings, part="test" if part == "test" else "train")
    chosen = range(len(data))
    if part == "validation":
        chosen = stratified(data.labels, TrainConfig.validation, VALIDATION_SEED)[1]
    for i in chosen:
        yield cut_out(255 - np.asarray(data.images[i])), int(data.labels[i])


def pen(part: str, settings: Settings) -> Iterator[tuple[Image.Image, int]]:
    digits = [digit for digit in load_pendigits(settings) if digit.writer in PEN_WRITERS[part]]
    for i, digit in enumerate(digits):
        yield cut_out(pen_picture(digit, np.random.default_rng(i))), digit.label


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--models", nargs="+", default=list(shipped_models()))
    options = parser.parse_args()
    settings = Settings.from_env()
    for data, source in (("mnist", mnist), ("pen", pen)):
        pictures, labels = zip(*source(options.part, settings), strict=True)
        small = {side: [p.resize((side, side), Image.Resampling.BOX) for p in pictures] for side in SIDES}
        for model in options.models:
            recognizer = Recognizer(model)
            found = {}
            for side in SIDES:
                answers = recognizer.predict_batch(small[side])
                right = np.mean([p.digit == label for p, label in zip(answers, labels, strict=True)])
                found[f"{side}_px"] = percent(float(right))
            record(
                model=recognizer.model.name,
                sha256=recognizer.model.sha256[:12],
                data=f"{data} {options.part}",
                n=len(labels),
                **found,
            )


if __name__ == "__main__":
    main()
