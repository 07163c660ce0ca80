"""Read numbers of any length: picture → ink → layout → lines → the most likely texts.

1. ink      the ink of the whole page, with its components (:mod:`.ink`)
2. layout   components are grouped into numbers, lines and tables (:mod:`.layout`); or the picture has printed cells,
            and each is a number, or each row of them (:mod:`.rules`, :mod:`.lattice`, :mod:`.cells`, :mod:`.tables`)
3. lines    the line network reads each number as a whole, also digits that touch (:mod:`.lines`)
4. search   the most likely texts, of any kind or of a given length or pattern (:mod:`.search`)
5. scoring  characters that stand alone are read by the network for single digits, too (:mod:`.scoring`)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image

from inkdigits.prediction import MARK, Alternative, Box, Digit, Number, Prediction, Reading
from inkdigits.preprocess import Preprocessed
from inkdigits.preprocess.grey import to_grey
from inkdigits.preprocess.layout import lay_out
from inkdigits.preprocess.paper import level_paper
from inkdigits.reading.cells import Cells, find_cells, is_single
from inkdigits.reading.ink import PageInk, find_page_ink, page_grey
from inkdigits.reading.layout import Block, characters, group, table_of
from inkdigits.reading.lines import Frames, read_lines
from inkdigits.reading.scoring import Scored, Witness, digit_witness, mark_witness, score
from inkdigits.reading.search import ANY, Restriction
from inkdigits.reading.strokes import StrokeWitness, draw_several, witness_strokes
from inkdigits.reading.tables import in_boxes, in_grid, score_single
from inkdigits.reading.values import value_of

if TYPE_CHECKING:
    from inkdigits.recognizer import Recognizer

__all__ = ["LAYOUTS", "Layout", "Options", "Restriction", "propose", "read_page", "read_picture"]

Layout = Literal["auto", "line", "lines", "boxes", "grid"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

CHARACTER = 0.45  # of a number's height; lower ink is a point, comma or dash
SURE_DIGIT = 0.8  # score of a wide digit in a cell, from which it is one
WIDE = 0.5  # of a picture's width or height: what may be a page of digits that looks like one
PIECE = 0.3  # of the highest component's height: a large piece
MOST_PIECES = 4  # of a digit, as of a 5 in a dry pen
TALL_PART = 0.5  # of the highest component's height: parts that show where a drawn line of digits is
THRESHOLD = 0.5  # of a number's confidence, from which it is accepted


@dataclass(frozen=True)
class Options:
    """How to read: the arguments of :meth:`inkdigits.Recognizer.read`, checked.

    Raises:
        ValueError: one of them has no such value; the message begins with its name.
    """

    layout: Layout = "auto"
    length: int | None = None
    pattern: str | None = None
    decimal: Literal[".", ","] | None = None
    alternatives: int = 0

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(map(repr, LAYOUTS))}, not {self.layout!r}")
        if self.decimal not in (None, ".", ","):
            raise ValueError(f'decimal must be "." or ",", not {self.decimal!r}')
        if self.alternatives < 0:
            raise ValueError(f"alternatives must be 0 or more, not {self.alternatives}")
        Restriction(self.length, self.pattern)

    @property
    def restriction(self) -> Restriction:
        """Which texts may be found."""
        return Restriction(self.length, self.pattern)


def read_picture(
    picture: Image.Image,
    single: Prediction,
    recognizer: Recognizer,
    options: Options,
    strokes: Sequence[np.ndarray] = (),
) -> Reading:
    """Read the numbers in a picture; :meth:`inkdigits.Recognizer.read` is its public door.

    Args:
        picture: upright, from :func:`inkdigits.preprocess.decode.decode`.
        single: what it is as a single digit.
        recognizer: reads characters that stand alone.
        options: the arguments of :meth:`inkdigits.Recognizer.read`.
        strokes: pen strokes that the picture is drawn from, each (n, 2) in pixels of it.
    """
    layout = options.layout
    if single.is_blank and (layout in ("line", "lines") or _is_clean(picture)):
        return Reading((), (), None, None)
    is_one = layout == "auto" and single.is_digit and options.restriction.allows(str(single.digit))
    grey: tuple[np.ndarray, float] | None = None
    page = None
    if is_one and _is_wide(picture, single):
        grey = page_grey(picture)
        page = find_page_ink(*grey)
    is_one = is_one and not (page and _has_many(page, single))
    if is_one and draw_several(strokes, recognizer):
        page = page or find_page_ink(*(grey or page_grey(picture)))
        reading = read_page(page, recognizer, options, strokes) if page else None
        if reading and reading.is_number and sum(len(number.digits) for number in reading.numbers) > 1:
            return reading
    if is_one and _is_clean(picture):
        return _of_one(single, options.alternatives)
    grey = grey or page_grey(picture)
    if not strokes and layout in ("auto", "boxes", "grid") and (found := _found_cells(*grey, layout)):
        is_grid = layout == "grid" or not (layout == "boxes" or found[0].is_boxes)
        return _read_cells(found, recognizer, options, is_grid=is_grid)
    if is_one:
        return _of_one(single, options.alternatives)
    if single.is_blank:
        return Reading((), (), None, None)
    page = page or find_page_ink(*grey)
    return read_page(page, recognizer, options, strokes) if page else Reading((), (), None, None)


def read_page(page: PageInk, recognizer: Recognizer, options: Options, strokes: Sequence[np.ndarray] = ()) -> Reading:
    """Read the numbers in the ink of a page without cells: the steps after the first."""
    blocks = group(page.boxes, page.area, is_one=options.layout in ("line", "boxes"))
    drawn = _strokes_of(page, blocks, strokes, recognizer)
    numbers = _read_blocks(page, blocks, recognizer, options, drawn)
    rows: dict[int, list[int]] = {}
    for i, block in enumerate(blocks):
        rows.setdefault(block.row, []).append(i)
    table = table_of(blocks)
    cells = None if table is None else tuple(map(tuple, table))
    return Reading(tuple(numbers), tuple(map(tuple, rows.values())), cells, page.polarity)


def _is_wide(picture: Image.Image, single: Prediction) -> bool:
    """Return whether a digit fills so much of a picture that it may be a page of digits that looks like one."""
    assert single.box is not None  # as it is a digit
    left, top, right, bottom = single.box
    return right - left >= WIDE * picture.width or bottom - top >= WIDE * picture.height


def _has_many(page: PageInk, single: Prediction) -> bool:
    """Return whether what looks like one digit has more large pieces than one."""
    height = page.boxes[:, 3] - page.boxes[:, 1]
    most = MOST_PIECES if single.digit_score is not None else 1
    return int((height > PIECE * height.max()).sum()) > most


def _is_clean(picture: Image.Image) -> bool:
    """Return whether paper is clean, so that print counts as ink, and one digit is all that is there."""
    paper = level_paper(to_grey(picture, (0, 0, *picture.size))[0])
    return paper is not None and paper.is_clean


def _found_cells(page: np.ndarray, step: float, layout: Layout) -> list[Cells]:
    """Return the cells of a picture: the largest grid, or all boxes; for "auto", those that are clearly there."""
    found = find_cells(page, step, clear=layout == "auto")
    if not found or layout == "grid" or (layout == "auto" and not found[0].is_boxes):
        return found[:1]
    return [cells for cells in found if cells.is_boxes] or found[:1]


def _read_cells(found: Sequence[Cells], recognizer: Recognizer, options: Options, *, is_grid: bool) -> Reading:
    if is_grid:
        cells = found[0]
        return in_grid(cells, _read_in_cells(cells, recognizer, options))
    one = Options(length=None if options.restriction.is_any else 1, alternatives=options.alternatives)
    fields = [(cells, _read_in_cells(cells, recognizer, one)) for cells in found]
    return in_boxes(fields, options.restriction, options.decimal, options.alternatives)


def _read_blocks(
    page: PageInk,
    blocks: Sequence[Block],
    recognizer: Recognizer,
    options: Options,
    drawn: Sequence[StrokeWitness | None],
) -> list[Number]:
    inks = [_ink_of(page, block) for block in blocks]
    witnesses = _testify(page, blocks, recognizer)
    return [
        _number(page, block, frames, some, score(frames, some, options.restriction, own), options)
        for block, frames, some, own in zip(blocks, read_lines(inks), witnesses, drawn, strict=True)
    ]


def _read_in_cells(cells: Cells, recognizer: Recognizer, options: Options) -> list[Number]:
    """Read what is in each cell; ink that fits one digit as a single digit, drawn or printed."""
    page, blocks = cells.page, cells.blocks
    inks = [_ink_of(page, block) for block in blocks]
    restriction, numbers = options.restriction, []
    for block, frames, some in zip(blocks, read_lines(inks), _testify(page, blocks, recognizer), strict=True):
        alone = [witness for witness in some if not witness.is_mark]
        is_one = len(alone) == 1 and (is_single(block) or math.exp(alone[0].other) <= 1 - SURE_DIGIT)
        if is_one and restriction.allows("0"):
            numbers.append(_number(page, block, frames, (), score_single(frames, alone[0], restriction), options))
        else:
            numbers.append(_number(page, block, frames, some, score(frames, some, restriction), options))
    return numbers


def propose(picture: Image.Image, recognizer: Recognizer) -> tuple[Frames, list[Witness]] | None:
    """Return what the networks find in a picture of one number, to calibrate their scores; None for a blank one."""
    page = find_page_ink(*page_grey(picture))
    if page is None:
        return None
    [block] = group(page.boxes, page.area, is_one=True)
    return read_lines([_ink_of(page, block)])[0], _testify(page, [block], recognizer)[0]


def _of_one(single: Prediction, alternatives: int) -> Reading:
    """Return the reading of a single digit: the same digit, confidence and box as the prediction's."""
    assert single.box is not None  # as it is not blank
    digit = Digit(str(single.digit), single.digit, single.confidence, single.box, touching=False)
    others = sorted((p, d) for d, p in enumerate(single.probabilities) if d != single.digit)[::-1]
    more = tuple(Alternative(str(d), p) for p, d in others[:alternatives])
    number = Number(digit.char, single.digit, single.confidence, True, single.box, (digit,), more)
    return Reading((number,), ((0,),), None, single.polarity)


def _ink_of(page: PageInk, block: Block, parts: np.ndarray | None = None) -> np.ndarray:
    """Return the cover of a block, or some of its parts, within the block's box, without other ink."""
    left, top, right, bottom = block.box
    window = slice(top, bottom), slice(left, right)
    chosen = np.zeros(len(page.area) + 1, bool)
    chosen[1 + (block.parts if parts is None else parts)] = True
    ink: np.ndarray = np.where(chosen[page.labels[window]], page.cover[window], 0)
    return ink


def _testify(page: PageInk, blocks: Sequence[Block], recognizer: Recognizer) -> list[list[Witness]]:
    """Read each character group of each block by itself, in one network run; judge low ones by their shape."""
    seen, places = [], []
    witnesses: list[list[Witness]] = [[] for _ in blocks]
    for of, block in enumerate(blocks):
        boxes = page.boxes[block.parts]
        start, head, _, foot = block.box
        for members in characters(boxes):
            left, top = boxes[members, :2].min(axis=0)
            right, bottom = boxes[members, 2:].max(axis=0)
            if bottom - top < CHARACTER * (foot - head):
                width, height = (right - left) / (foot - head), (bottom - top) / (foot - head)
                middle = ((top + bottom) / 2 - head) / (foot - head)
                witnesses[of].append(mark_witness(left - start, right - start, width, height, middle))
                continue
            ink = _ink_of(page, Block(block.parts, (left, top, right, bottom), 0), block.parts[members])
            seen.append(Preprocessed(lay_out(ink), Box(left, top, right, bottom), page.polarity))
            places.append((of, left - start, right - start))
    for (of, left, right), read in zip(places, recognizer.predict_preprocessed(seen), strict=True):
        witnesses[of].append(digit_witness(left, right, read))
    return witnesses


def _strokes_of(
    page: PageInk, blocks: Sequence[Block], strokes: Sequence[np.ndarray], recognizer: Recognizer
) -> list[StrokeWitness | None]:
    """Read the strokes of each block by themselves; a stroke is of the block that its middle is in or nearest to."""
    if not strokes or not blocks:
        return [None] * len(blocks)
    boxes = np.array([block.box for block in blocks]) * page.step
    middles = np.array([(stroke.min(axis=0) + stroke.max(axis=0)) / 2 for stroke in strokes])
    away = np.maximum(np.maximum(boxes[None, :, :2] - middles[:, None], middles[:, None] - boxes[None, :, 2:]), 0)
    of = np.hypot(away[..., 0], away[..., 1]).argmin(axis=1)
    found = []
    for i, block in enumerate(blocks):
        own = [stroke for stroke, block_of in zip(strokes, of, strict=True) if block_of == i]
        tops, heights = page.boxes[block.parts, 1], page.boxes[block.parts, 3] - page.boxes[block.parts, 1]
        tall = heights >= TALL_PART * heights.max()
        line = float(tops[tall].min()) * page.step, float((tops + heights)[tall].max()) * page.step
        height = float(np.median(heights[tall])) * page.step
        found.append(witness_strokes(own, height, line, recognizer))
    return found


def _number(
    page: PageInk,
    block: Block,
    frames: Frames,
    witnesses: Sequence[Witness],
    scored: Sequence[Scored],
    options: Options,
) -> Number:
    is_allowed = bool(scored)
    best, *others = scored or score(frames, witnesses, ANY) or [Scored(MARK, 0.0, [0], [0], [0.0])]
    digits = tuple(
        Digit(
            character,
            int(character) if character.isdigit() else None,
            round(each, 6) if is_allowed else 0.0,
            _box(page, block, frames.boxes[frame]),
            best.groups.count(of) > 1,
        )
        for character, frame, of, each in zip(best.text, best.frames, best.groups, best.each, strict=True)
    )
    confidence = best.confidence if is_allowed else 0.0
    is_number = confidence >= THRESHOLD and MARK not in best.text and any(digit.digit is not None for digit in digits)
    alone = [witness for witness in witnesses if not witness.is_mark]
    if len(digits) == 1 == len(alone):  # a digit by itself is one if it is accepted as one
        is_number = is_number and alone[0].is_digit
    more = tuple(Alternative(other.text, round(other.confidence, 6)) for other in others[: options.alternatives])
    box = _box(page, block, (0, 0, block.box[2] - block.box[0], block.box[3] - block.box[1]))
    value = value_of(best.text, options.decimal) if is_number else None
    return Number(best.text, value, round(confidence, 6), is_number, box, digits, more)


def _box(page: PageInk, block: Block, of: Sequence[float]) -> Box:
    """Return a box within a block, in pixels of the picture."""
    corner = block.box[:2] * 2
    x0, y0, x1, y1 = page.place([float(v) + at for v, at in zip(of, corner, strict=True)])
    return Box(x0, y0, max(x0, x1), max(y0, y1))
