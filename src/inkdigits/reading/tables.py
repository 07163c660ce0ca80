"""Make a reading of the numbers in cells: a table, or rows of boxes whose digits are one number each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from inkdigits.prediction import CHARACTERS, CLASSES, MARK, Alternative, Box, Digit, Number, Reading
from inkdigits.reading.cells import Cells
from inkdigits.reading.lines import Frames
from inkdigits.reading.scoring import LEAST, Scored, Witness
from inkdigits.reading.search import NEVER, Restriction
from inkdigits.reading.values import value_of

__all__ = ["in_boxes", "in_grid", "score_single"]

MARKS = 0.03  # of the cells hold a mark, not a digit
LINE = 0.3  # weight of the line network for a digit that stands alone; the network for single digits knows more
SAME_ROW = 0.5  # of the lower height: fields whose boxes overlap so much are on one row


def score_single(frames: Frames, witness: Witness, restriction: Restriction) -> list[Scored]:
    """Return what one character may be, a digit or a mark, the most likely first."""
    texts = "0123456789" + (MARK if restriction.is_any else "")
    columns = [1 + CHARACTERS.index(text) for text in texts]
    line = np.maximum(_of_one_character(frames.scores)[columns], LEAST)
    own = np.append(witness.scores[:CLASSES], witness.other + math.log(MARKS))
    total = own[: len(texts)] + LINE * line
    weight = np.exp(total - total.max())
    weight /= weight.sum()
    order = np.argsort(-weight, kind="stable")
    at = frames.scores[:, columns].argmax(axis=0)
    return [Scored(texts[i], float(weight[i]), [int(at[i])], [0], [float(weight[i])]) for i in order]


def _of_one_character(scores: np.ndarray) -> np.ndarray:
    """Return the log-probability that a line is one character alone, for the column of each."""
    none, of = scores[:, :1], scores
    before, within = none[0] + np.zeros(scores.shape[1]), of[0]
    after = np.full(scores.shape[1], NEVER)
    for i in range(1, len(scores)):
        after = np.logaddexp(after, within) + none[i]
        within = np.logaddexp(within, before) + of[i]
        before = before + none[i]
    return np.asarray(np.logaddexp(within, after))


def in_grid(cells: Cells, numbers: Sequence[Number]) -> Reading:
    """Return a table, a number in each cell that is not empty."""
    index = {place: i for i, place in enumerate(cells.places)}
    rows, columns = cells.shape
    table = tuple(tuple(index.get((row, column)) for column in range(columns)) for row in range(rows))
    lines = (tuple(i for i in row if i is not None) for row in table)
    return Reading(tuple(numbers), tuple(line for line in lines if line), table, cells.page.polarity)


def in_boxes(
    fields: Sequence[tuple[Cells, Sequence[Number]]], restriction: Restriction, decimal: str | None, alternatives: int
) -> Reading:
    """Return a number for each row of boxes, and a table of them; None for boxes that are all empty.

    Args:
        fields: the boxes, and the characters in those that are not empty.
        restriction, decimal, alternatives: as for :meth:`inkdigits.Recognizer.read`.
    """
    numbers: list[Number] = []
    table = []
    for row in _rows([cells.bounds for cells, _ in fields]):
        height = max(fields[i][0].shape[0] for i in row)
        for line in range(height):
            found: list[int | None] = []
            for cells, characters in (fields[i] for i in row):
                inked = {place[1]: c for place, c in zip(cells.places, characters, strict=True) if place[0] == line}
                if inked:
                    numbers.append(_joined(inked, restriction, decimal, alternatives))
                found.append(len(numbers) - 1 if inked else None)
            table.append(tuple(found))
    lines = (tuple(i for i in row if i is not None) for row in table)
    polarity = fields[0][0].page.polarity if numbers else None
    return Reading(tuple(numbers), tuple(line for line in lines if line), tuple(table), polarity)


def _rows(bounds: Sequence[Box]) -> list[list[int]]:
    """Put fields at one height on one row: their indices, from top to bottom and from left to right."""
    rows: list[list[int]] = []
    for i in sorted(range(len(bounds)), key=lambda i: bounds[i].top + bounds[i].bottom):
        if rows:
            first = bounds[rows[-1][0]]
            shared = min(first.bottom, bounds[i].bottom) - max(first.top, bounds[i].top)
            lower = min(first.bottom - first.top, bounds[i].bottom - bounds[i].top)
            if shared >= SAME_ROW * lower:
                rows[-1].append(i)
                continue
        rows.append([i])
    return [sorted(row, key=lambda i: bounds[i].left) for row in rows]


def _joined(inked: dict[int, Number], restriction: Restriction, decimal: str | None, alternatives: int) -> Number:
    """Join the characters in a row of boxes to a number; an empty box between others is a mark."""
    digits: list[Digit] = []
    others: list[Alternative] = []
    parts = [inked.get(column) for column in range(min(inked), max(inked) + 1)]
    text = "".join(MARK if part is None else part.text for part in parts)
    confidence = math.prod(part.confidence for part in parts if part)
    at = 0
    for i, part in enumerate(parts):
        if part is None:
            before, after = parts[i - 1], next(p for p in parts[i:] if p)
            left = before.box.right if before else digits[-1].box.right
            box = Box(left, after.box.top, max(left, after.box.left), after.box.bottom)
            digits.append(Digit(MARK, None, 1.0, box, touching=False))
            at += 1
            continue
        digits += part.digits
        for other in part.alternatives:
            share = confidence / part.confidence if part.confidence else 0.0
            others.append(
                Alternative(text[:at] + other.text + text[at + len(part.text) :], round(share * other.confidence, 6))
            )
        at += len(part.text)
    boxes = [part.box for part in parts if part]
    box = Box(
        min(b.left for b in boxes), min(b.top for b in boxes), max(b.right for b in boxes), max(b.bottom for b in boxes)
    )
    is_allowed = restriction.allows(text)
    is_number = is_allowed and all(part and part.is_number for part in parts)
    others = sorted((other for other in others if restriction.allows(other.text)), key=lambda other: -other.confidence)
    return Number(
        text,
        value_of(text, decimal) if is_number else None,
        round(confidence, 6) if is_allowed else 0.0,
        is_number,
        box,
        tuple(digits),
        tuple(others[:alternatives]),
    )
