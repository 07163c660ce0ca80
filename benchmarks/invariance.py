"""MNIST's test digits plain, with ink and paper swapped, and pasted at random size and place into a canvas.

A recognizer should read all of them the same. Sizes are 40 to 240 px of the 28×28 image, places anywhere in 280×280,
scaled by Pillow's bicubic filter; black on white and white on black. Three seeds of size and place.
"""

from __future__ import annotations

import sys
from statistics import mean, stdev

import numpy as np
from PIL import Image

from inkdigits.data.catalog import load
from inkdigits.network import shipped_models
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings

from _common import percent, record

CANVAS = 280  # pixels
SIZES = (40, 240)  # pixels of the pasted 28×28 image
SEEDS = (0, 1, 2)


def pasted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = int(rng.integers(SIZES[0], SIZES[1] + 1))
    x, y = rng.integers(0, CANVAS - side + 1, 2)
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    canvas[y : y + side, x : x + side] = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    return canvas


def main() -> None:
    test = load("mnist", Settings.from_env(), part="test")
    for name in sys.argv[1:] or shipped_models():
        recognizer = Recognizer(name)

        def accuracy(images, recognizer=recognizer) -> float:
            answers = recognizer.predict_batch(images)
            return float(np.mean([p.digit == label for p, label in zip(answers, test.labels, strict=True)]))

        plain = accuracy(test.images)
        inverted = accuracy(255 - image for image in test.images)
        runs = [np.random.default_rng(seed) for seed in SEEDS]
        canvas = [accuracy(pasted(image, rng) for image in test.images) for rng in runs]
        runs = [np.random.default_rng(seed) for seed in SEEDS]
        swapped = [accuracy(255 - pasted(image, rng) for image in test.images) for rng in runs]
        record(
            model=name,
            sha256=recognizer.model.sha256[:12],
            n=len(test.labels),
            plain=percent(plain),
            inverted=percent(inverted),
            canvas_white_on_black=f"{percent(mean(canvas))} ± {percent(stdev(canvas))}",
            canvas_black_on_white=f"{percent(mean(swapped))} ± {percent(stdev(swapped))}",
            seeds=len(SEEDS),
        )


if __name__ == "__main__":
    main()
