"""Digits and numbers on composed pages, by hands that no model met in training: what each part of reading is worth.

They are for choosing between models and recipes, as no test data is among them: MNIST's held-out training images and
the pen writers of the validation part, on pages of ``synthesis/pages.py``. A digit is right if it is read right and
accepted; a number, if it is rejected. An older version of inkdigits can measure the same pages, from the file of
``--write``.

    python benchmarks/composed_pages.py
    python benchmarks/composed_pages.py --models cnn models/mine.onnx --write pages.npz
    python benchmarks/composed_pages.py --read pages.npz
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings

from _common import make_parser, percent, record

DIGITS, NUMBERS = 1500, 500
SIDES = ((160, 160), (160, 112), (240, 200), (96, 96), (64, 64), (40, 28))  # pixels
SEED = 99


def pages(settings: Settings) -> tuple[list[np.ndarray], list[int]]:
    """Compose the pages, and their labels; -1 for a number."""
    from inkdigits.synthesis.pages import Hands, compose
    from inkdigits.training.ink import hands

    held = hands(settings, "validation")
    rng = np.random.default_rng(SEED)
    labels = labels_of(settings)
    pictures, truth = [], []
    for i in range(DIGITS + NUMBERS):
        digits = 1 if i < DIGITS else int(rng.integers(2, 4))
        if rng.random() < 0.5:
            chosen = rng.integers(len(held.scans), size=digits)
            some, label = Hands(held.scans[chosen], [], []), labels[0][chosen[0]]
        else:
            chosen = rng.integers(len(held.pens), size=digits)
            some = Hands(held.scans[:0], [held.pens[j] for j in chosen], [])
            label = labels[1][chosen[0]]
        pictures.append(compose(some, *SIDES[rng.integers(len(SIDES))], rng, digits=digits).grey)
        truth.append(int(label) if digits == 1 else -1)
    return pictures, truth


def labels_of(settings: Settings) -> tuple[np.ndarray, list[int]]:
    """The labels of the scans and the pen digits that :func:`inkdigits.training.ink.hands` holds back."""
    from inkdigits.data.catalog import PEN_WRITERS, load
    from inkdigits.data.pen import load_pendigits
    from inkdigits.training.ink import SCANS_HELD_BACK

    scans = np.asarray(load("mnist", settings, part="train").labels)[-SCANS_HELD_BACK:]
    return scans, [d.label for d in load_pendigits(settings) if d.writer in PEN_WRITERS["validation"]]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=[None])
    parser.add_argument("--write", type=Path, help="an .npz file to keep the pages in")
    parser.add_argument("--read", type=Path, help="the pages of such a file, in place of new ones")
    options = parser.parse_args()
    if options.read:
        with np.load(options.read) as kept:
            truth = kept["labels"].tolist()
            pictures = [kept[f"page{i}"] for i in range(len(truth))]
    else:
        pictures, truth = pages(Settings.from_env())
    if options.write:
        np.savez_compressed(options.write, labels=truth, **{f"page{i}": page for i, page in enumerate(pictures)})
    for model in options.models:
        recognizer = Recognizer(model)
        count: Counter[str] = Counter()
        for found, label in zip(recognizer.predict_batch(pictures), truth, strict=True):
            verdict = "rejected" if not found.is_digit else "right" if found.digit == label else "wrong"
            count[f"{'number' if label < 0 else 'digit'} {verdict}"] += 1
        record(
            model=recognizer.model.name,
            sha256=recognizer.model.sha256[:12],
            digits=DIGITS,
            right=percent(count["digit right"] / DIGITS),
            wrong=percent(count["digit wrong"] / DIGITS),
            rejected=percent(count["digit rejected"] / DIGITS),
            numbers=NUMBERS,
            numbers_rejected=percent(count["number rejected"] / NUMBERS),
        )


if __name__ == "__main__":
    main()
