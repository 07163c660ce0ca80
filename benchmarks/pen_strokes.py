"""Real pen strokes, drawn as a canvas draws them, at random width, size and place, black on white and white on black.

7,494 digits by 30 writers, https://archive.ics.uci.edu/dataset/81. Pens are 3 to 28 px wide (log-uniform, at most 0.22
of the digit), digits 50 to 240 px high or wide, on 280×280. Three seeds of width, size and place. What a model was
trained on stands in its row.
"""

from __future__ import annotations

import math
from statistics import mean, stdev

import numpy as np

from inkdigits.data.pen import PenDigit, read_unipen
from inkdigits.errors import DataError
from inkdigits.network import shipped_models
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.synthesis.strokes import draw, place

from _common import percent, record

CANVAS = 280  # pixels
PENS = (3.0, 28.0)  # pixels
SIZES = (50.0, 240.0)  # pixels of the longer side
WIDEST = 0.22  # of the digit's size
SEEDS = (0, 1, 2)


def drawn(digit: PenDigit, rng: np.random.Generator) -> np.ndarray:
    size = rng.uniform(*SIZES)
    pen = min(math.exp(rng.uniform(*map(math.log, PENS))), WIDEST * size)
    at = rng.uniform(pen / 2 + 1, CANVAS - 1 - size - pen / 2, 2)
    return draw(place(digit.strokes, size, (at[0], at[1])), CANVAS, CANVAS, pen=pen)


def main() -> None:
    folder = Settings.from_env().data_folder
    if folder is None:
        raise DataError("set INKDIGITS_DATA to the folder that holds pendigits/pendigits-orig.tra.gz")
    digits = read_unipen(folder / "pendigits" / "pendigits-orig.tra.gz")
    recognizers = [Recognizer(name) for name in shipped_models()]
    right = {(r.model.name, paper): [] for r in recognizers for paper in ("black on white", "white on black")}
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        images = [drawn(digit, rng) for digit in digits]
        for r in recognizers:
            for paper, answers in (
                ("black on white", r.predict_batch(images)),
                ("white on black", r.predict_batch(255 - image for image in images)),
            ):
                right[r.model.name, paper].append(
                    float(np.mean([p.digit == d.label for p, d in zip(answers, digits, strict=True)]))
                )
    for r in recognizers:
        for paper in ("black on white", "white on black"):
            runs = right[r.model.name, paper]
            record(
                model=r.model.name,
                sha256=r.model.sha256[:12],
                trained_on=r.model.entry["config"]["data"],
                paper=paper,
                n=len(digits),
                writers=len({d.writer for d in digits}),
                accuracy=percent(mean(runs)),
                sd=percent(stdev(runs)),
                seeds=len(SEEDS),
            )


if __name__ == "__main__":
    main()
