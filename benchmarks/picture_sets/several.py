"""Two and three digits in a row, which must not be read as one.

MNIST's test images and the pen writers of the test part, from digits that touch to digits a digit's width apart; and
the numbers of CROHME (``numbers/crohme.jsonl.gz`` of the folder that ``INKDIGITS_DATA`` names) as people wrote them,
drawn with varied pens. Those are for measuring: nothing is trained on them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence

import numpy as np

from inkdigits.data.catalog import load
from inkdigits.data.pen import PenDigit
from inkdigits.synthesis.corruptions.sheet import rounded
from inkdigits.synthesis.strokes import draw, place

from picture_sets.digits import ink_of, test_pens
from picture_sets.tally import Answer, Case, Measured, Row, at_most

__all__ = ["GAPS", "in_a_row", "several"]

SEED = 23
REASON = "several digits"
TARGET = at_most(0.02)  # accepted as one digit
EACH = 150  # numbers per source, gap and count of digits
GAPS = {"touching": None, "0.1 widths": 0.1, "0.25 widths": 0.25, "0.5 widths": 0.5, "1 width": 1.0}
WIDTH = 0.62  # of the height: a digit's width
HEIGHTS = (50, 110)  # pixels
UNEVEN = 0.12  # log of a digit's height compared with the next one's, either way
UNLEVEL = 0.06  # of the height, that a digit lies higher or lower, either way
MARGINS = (0.1, 0.9)  # of the height: paper around
PAPERS, INKS = (215, 255), (0, 75)  # grey levels
NOISE = 2.0  # grey levels, standard deviation
PENS = (0.03, 0.14)  # of the height of CROHME's numbers


def several(measured: Measured) -> Iterator[Row]:
    """The share that is accepted as one digit: for each source and gap, and in all."""
    images = load("mnist", measured.settings, part="test").images
    pens = test_pens(measured.settings)
    sources: dict[str, list[list[np.ndarray | PenDigit]]] = {
        "MNIST": [[np.asarray(image) for image in images]],
        "pens": [[digit for digit in pens if digit.writer == writer] for writer in sorted({d.writer for d in pens})],
    }
    for source, hands in sources.items():
        together: tuple[list[Case], list[Answer]] = ([], [])
        for number, (gap, widths) in enumerate(GAPS.items()):
            cases = [
                Case(
                    number_picture(hands, digits, widths, np.random.default_rng((SEED, number, digits, i))),
                    None,
                    REASON,
                )
                for digits in (2, 3)
                for i in range(EACH)
            ]
            answers = measured.read(cases)
            yield measured.count(f"several: {source}, {gap}", cases, answers=answers, of="accepted")
            together[0].extend(cases)
            together[1].extend(answers)
        yield measured.count(f"several: {source}, all", together[0], TARGET, answers=together[1], of="accepted")
    yield from crohme(measured)


def crohme(measured: Measured) -> Iterator[Row]:
    """CROHME's numbers of two and of three digits."""
    path = measured.folder("numbers") / "crohme.jsonl.gz"
    numbers: dict[int, list[Case]] = {2: [], 3: []}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for i, row in enumerate(map(json.loads, lines)):
            if row["text"].isdigit() and len(row["text"]) in numbers:
                strokes = [np.array(s, float) for symbol in row["symbols"] for s in symbol["strokes"] if s]
                picture = written(strokes, np.random.default_rng((SEED, i)))
                numbers[len(row["text"])].append(Case(picture, None, REASON))
    for digits, cases in numbers.items():
        yield measured.count(f"several: CROHME, {digits} digits", cases, TARGET, of="accepted")


def number_picture(
    hands: Sequence[Sequence[np.ndarray | PenDigit]], digits: int, widths: float | None, rng: np.random.Generator
) -> np.ndarray:
    """Write random digits of one hand in a row, (H, W) uint8; ``widths`` apart, or touching."""
    hand = hands[rng.integers(len(hands))]
    height = rng.uniform(*HEIGHTS)
    inks = [
        ink_of(hand[rng.integers(len(hand))], height * np.exp(rng.uniform(-UNEVEN, UNEVEN)), rng) for _ in range(digits)
    ]
    gap = None if widths is None else round(widths * WIDTH * height)
    cover = in_a_row(inks, gap, [int(rng.uniform(-UNLEVEL, UNLEVEL) * height) for _ in inks])
    margins = np.rint(rng.uniform(*MARGINS, (2, 2)) * height).astype(int)
    paper, ink = rng.uniform(*PAPERS), rng.uniform(*INKS)
    picture = paper + np.pad(cover, margins) * (ink - paper)
    return rounded(picture + NOISE * rng.standard_normal(picture.shape))


def in_a_row(inks: Sequence[np.ndarray], gap: int | None, levels: Sequence[int]) -> np.ndarray:
    """Put inks next to each other, on one line.

    Args:
        inks: each (h, w) float32 from 0 to 1.
        gap: pixels of paper between the boxes of two; None: each is moved left until its ink touches what is there.
        levels: pixels that each lies lower than the line.

    Returns:
        (H, W) float32, cropped to the ink.
    """
    tall = max(len(ink) for ink in inks) + 2 * max(map(abs, levels))
    line = np.zeros((tall, sum(ink.shape[1] for ink in inks) + (gap or 0) * len(inks)), np.float32)
    end = 0
    for ink, level in zip(map(_cropped, inks), levels, strict=True):
        top = (tall - len(ink)) // 2 + level
        left = end
        if end:
            left = end + gap if gap is not None else max(0, end - _shift(line[top : top + len(ink), :end], ink))
        room = line[top : top + len(ink), left : left + ink.shape[1]]
        np.maximum(room, ink, out=room)
        end = max(end, left + ink.shape[1])
    return _cropped(line)


def _shift(before: np.ndarray, ink: np.ndarray) -> int:
    """Return by how many pixels ink right of others must move left to touch them."""
    there, here = before > 0.5, ink > 0.5
    free = np.where(there.any(axis=1), np.argmax(there[:, ::-1], axis=1), before.shape[1])
    free = free + np.where(here.any(axis=1), np.argmax(here, axis=1), before.shape[1])
    return int(free.min()) + 1


def _cropped(ink: np.ndarray) -> np.ndarray:
    rows, columns = ((ink > 0.3).any(axis=axis).nonzero()[0] for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def written(strokes: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Draw a number as it was written, with any pen and size, (H, W) uint8."""
    height, span = rng.uniform(*HEIGHTS), np.ptp(np.concatenate(strokes), axis=0)
    size = height * max(span) / max(span[1], 0.25 * span[0], 1e-9)
    pen = max(1.5, height * np.exp(rng.uniform(*np.log(PENS))))
    margins = pen / 2 + 1 + rng.uniform(*MARGINS, (2, 2)) * height
    placed = place(strokes, size, (margins[0, 0], margins[0, 1]))
    width, tall = (int(side) for side in np.concatenate(placed).max(axis=0) + margins[1])
    picture = draw(placed, width, tall, pen=pen, paper=rng.uniform(*PAPERS), ink=rng.uniform(*INKS))
    return rounded(picture + NOISE * rng.standard_normal(picture.shape))
