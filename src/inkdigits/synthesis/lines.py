"""Compose lines of handwriting with their text and the box of each character: to train a reader of numbers.

The digits of a line are by one hand. They stand apart, close, or touch as hands make them touch: strokes meet, overlap,
or run on from one digit into the next. Between them are decimal points, commas and dashes, and other letters and
signs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from inkdigits.prediction import MARK
from inkdigits.preprocess.layout import LINE_FILL, LINE_HEIGHT
from inkdigits.synthesis.corruptions import corrupt
from inkdigits.synthesis.strings import cropped
from inkdigits.synthesis.strokes import draw, place

__all__ = [
    "CORRUPTED",
    "LENGTHS",
    "Contact",
    "Hand",
    "Line",
    "Sample",
    "compose_line",
    "line_text",
    "put_on_paper",
    "sample",
]

INK = 0.3  # cover, at least, of what touches

Contact = Literal["apart", "tight", "touching", "mixed"]
CONTACTS: tuple[Contact, ...] = ("apart", "tight", "touching", "mixed")
CONTACT_SHARES = (0.3, 0.25, 0.25, 0.2)
TIGHT = (0.03, 0.10)  # of a digit's height, between the ink of digits that are close
OVERLAP = 0.09  # of a digit's height, that touching digits overlap by at most
WIDE = 0.15  # share of lines with digits far apart
CONNECTED = 0.2  # share of touching digits with a stroke from one to the next
RAISED = 0.15  # share of decimal points above the base line
LONG = 0.25  # share of long commas
PAPERS, INKS = (200, 255), (0, 90)  # grey levels
MARGINS = (0.1, 0.8)  # of the line's height
HEIGHTS = (30, 110)  # pixels, of a line on paper
CORRUPTED = 0.35  # share of papers
CORRUPTIONS = ("texture", "faint", "light", "shadow", "blur", "noise", "jpeg")
LENGTHS = (7, 12, 14, 15, 15, 12, 9, 7, 5, 4)  # weights of 1 to 10 digits


@dataclass(frozen=True, eq=False)
class Hand:
    """The digits of one writer with one pen.

    Attributes:
        digits: for each digit, covers cropped to the ink, (h, w) uint8, ink 255.
        size: height of a common digit in pixels.
        pen: width of the strokes in pixels.
    """

    digits: Mapping[int, Sequence[np.ndarray]]
    size: float
    pen: float


class Line(NamedTuple):
    """A line of handwriting.

    Attributes:
        cover: (h, w) float32, the share of each pixel that ink covers, cropped to the ink.
        text: of :data:`inkdigits.prediction.CHARACTERS`.
        boxes: (n, 4) float64, left, top, right and bottom of each character in pixels.
    """

    cover: np.ndarray
    text: str
    boxes: np.ndarray


class Sample(NamedTuple):
    """A line as the network sees it: ink (LINE_HEIGHT, W) float32, 0 to 1, text, and boxes (n, 4) in pixels of it."""

    ink: np.ndarray
    text: str
    boxes: np.ndarray


def line_text(rng: np.random.Generator, n: int) -> str:
    """Draw a number of about n digits as people write them: with zeros in front, repeats, points, commas, dashes."""
    kind = rng.random()
    among = "0123456789" if kind < 0.75 else "000111117799"  # zeros and ones are lost most easily
    text = "".join(rng.choice(list(among), n))
    if kind > 0.93:  # 7777, 5000
        first = str(rng.integers(10))
        text = first * n if rng.random() < 0.5 else first + "0" * (n - 1)
    elif kind > 0.88:
        text = "0" * int(rng.integers(1, 4)) + text
    style, point = rng.random(), str(rng.choice(list(".,")))
    if style < 0.14 and n > 1:
        at = int(rng.integers(1, n))
        text = text[:at] + point + text[at:]
    elif style < 0.22 and len(text) > 3:
        text = text[:-3] + point + text[-3:]
        if rng.random() < 0.4:
            text += ("," if point == "." else ".") + "".join(rng.choice(list("0123456789"), 2))
    elif style < 0.27:
        text += ("-", ".-", ",-", ".")[int(rng.integers(4))]
    elif style < 0.32 and n > 3:  # a date, a code
        sign = str(rng.choice(list(".-")))
        text = sign.join([text[:2], text[2:4], text[4:]]).rstrip(sign)
    if rng.random() < 0.07:
        text = "-" + text
    kind = rng.random()
    if kind < 0.06:
        at = (0, len(text), int(rng.integers(len(text) + 1)))[int(rng.integers(3))]
        text = text[:at] + MARK * int(rng.integers(1, 4)) + text[at:]
    elif kind < 0.08:
        text = MARK * int(rng.integers(1, 8))
    return text


def compose_line(
    text: str,
    hand: Hand,
    rng: np.random.Generator,
    *,
    contact: Contact | None = None,
    marks: Sequence[Sequence[np.ndarray]] = (),
    is_varied: bool = True,
) -> Line:
    """Write text in one hand.

    Args:
        text: of :data:`inkdigits.prediction.CHARACTERS`.
        hand: whose digits to take.
        rng: source of all randomness.
        contact: how digits stand next to each other, "mixed" for each pair its own; None: any of these.
        marks: strokes of letters and signs, for "?".
        is_varied: whether to vary sizes, and to write some 1s with an upstroke and some 7s with a bar.
    """
    kind = contact or CONTACTS[rng.choice(len(CONTACTS), p=CONTACT_SHARES)]
    size, pen = hand.size, hand.pen
    height, base = int(3 * size), int(2 * size)
    cover = np.zeros((height, int((len(text) + 2) * 1.9 * size)), np.float32)
    right = np.full(height, -(10**6))  # of the ink so far, in each row
    gap, drift = rng.uniform(0.06, 0.45), rng.normal(0, 0.03) if is_varied else 0.0
    if is_varied and rng.random() < WIDE:
        gap = rng.uniform(0.45, 1.3)
    habit = rng.random(2) < (0.4, 0.35)  # of an upstroke, of a bar
    boxes: list[tuple[int, int, int, int]] = []
    x = 4
    for i, character in enumerate(text):
        if character.isdigit():
            glyph, rise = _digit(int(character), hand, rng, habit & is_varied, is_varied), rng.normal(0, 0.04)
        else:
            glyph, rise = _mark(character, rng, size, pen, marks)
        h, w = glyph.shape
        bottom = min(max(int(base - rise * size + drift * size * i), h), height)
        top = bottom - h
        if i:
            ink = glyph > INK
            first = np.where(ink.any(axis=1), ink.argmax(axis=1), 10**6)
            meets = int(np.max(right[top:bottom] - first))  # where a row of it just touches
            way = kind if kind != "mixed" else str(rng.choice(["apart", "tight", "touching"]))
            if way == "touching" and not (character.isdigit() and text[i - 1].isdigit()):
                way = "tight"
            if meets < -(10**5):  # no row in common
                x = boxes[-1][2] + int(0.1 * size)
            elif way == "touching":
                x = meets + 1 - int(rng.integers(0, max(2, int(OVERLAP * size))))
            elif way == "tight":
                x = max(meets + 1 + max(1, int(rng.uniform(*TIGHT) * size)), boxes[-1][0] + 1)
            else:
                x = boxes[-1][2] + max(1, int((gap + rng.normal(0, 0.05)) * size))
            x = max(x, boxes[-1][0] + 2, 1)
            if way == "touching" and is_varied and rng.random() < CONNECTED:
                _connect(cover, boxes[-1], glyph, (x, top), pen, rng)
        if x + w + 4 > cover.shape[1]:
            cover = np.pad(cover, ((0, 0), (0, x + w + 8 - cover.shape[1])))
        part = cover[top:bottom, x : x + w]
        np.maximum(part, glyph, out=part)
        ink = glyph > INK
        last = np.where(ink.any(axis=1), x + w - 1 - ink[:, ::-1].argmax(axis=1), -(10**6))
        right[top:bottom] = np.maximum(right[top:bottom], last)
        boxes.append((x, top, x + w, bottom))
    found = np.array(boxes, np.float64).reshape(-1, 4)
    rows = np.flatnonzero((cover > 0.1).any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, end = int(found[:, 0].min()), int(found[:, 2].max())
    return Line(cover[top:bottom, left:end], text, found - [left, top, left, top])


def _digit(digit: int, hand: Hand, rng: np.random.Generator, habit: np.ndarray, is_varied: bool) -> np.ndarray:
    among = hand.digits[digit]
    glyph = among[int(rng.integers(len(among)))]
    if digit == 1 and habit[0]:
        glyph = _with_upstroke(glyph, hand, rng)
    elif digit == 7 and habit[1]:
        glyph = _with_bar(glyph, hand, rng)
    if is_varied and rng.random() < 0.35:
        # A 1 is as often higher than its neighbors.
        times = np.exp(rng.normal(0, 0.12)) * np.exp(rng.normal(0, [0.2 if digit == 1 else 0.03, 0.1]))
        h, w = glyph.shape
        size = max(1, round(w * times[1])), max(1, round(h * times[0]))
        glyph = np.asarray(Image.fromarray(glyph).resize(size, Image.Resampling.BILINEAR))
        glyph = glyph[-int(2 * hand.size) :]
    covered: np.ndarray = glyph.astype(np.float32) / 255
    return covered


def _with_upstroke(glyph: np.ndarray, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Add the stroke that leads up to a 1 in many countries, short or from the base line, and sometimes a foot."""
    h, w = glyph.shape
    down, across = rng.uniform(0.15, 1.0) * h, rng.uniform(0.12, 0.6) * h
    bend = rng.normal(0, 0.08, 2) * h
    left = int(across + hand.pen + abs(bend[0])) + 1
    image = Image.fromarray(np.pad(glyph, ((0, 0), (left, left))))
    top = np.flatnonzero(glyph[: max(1, h // 8)].max(axis=0) > 128)
    x = left + (float(top.mean()) if len(top) else w / 2)
    width = max(1, round(hand.pen * rng.uniform(0.7, 1)))
    tip = hand.pen / 2
    start, end = np.array([x - across, min(tip + down, h - tip - 1)]), np.array([x, tip])
    t = np.linspace(0, 1, 7)[:, None]
    curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * ((start + end) / 2 + bend) + t**2 * end
    ImageDraw.Draw(image).line([tuple(point) for point in curve.tolist()], fill=255, width=width, joint="curve")
    if rng.random() < 0.15:
        foot = rng.uniform(0.15, 0.3) * h
        ImageDraw.Draw(image).line([(x - foot, h - 1 - tip), (x + foot, h - 1 - tip)], fill=255, width=width)
    return _tight(np.asarray(image))


def _with_bar(glyph: np.ndarray, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Cross the stem of a 7."""
    h = len(glyph)
    y = rng.uniform(0.4, 0.65) * h
    stem = np.flatnonzero(glyph[int(y)] > 100)
    if not len(stem):
        return glyph
    x, half, rise = float(stem[-1]) - hand.pen / 2, rng.uniform(0.15, 0.35) * h, rng.normal(0, 0.06) * h
    side = int(half) + 1
    image = Image.fromarray(np.pad(glyph, ((0, 0), (side, side))))
    ends = [(side + x - half * rng.uniform(0.7, 1.1), y + rise), (side + x + half * rng.uniform(0.7, 1.1), y - rise)]
    ImageDraw.Draw(image).line(ends, fill=255, width=max(1, round(hand.pen * rng.uniform(0.7, 1))))
    return _tight(np.asarray(image))


def _tight(glyph: np.ndarray) -> np.ndarray:
    columns = np.flatnonzero(glyph.max(axis=0) > 40)
    return glyph[:, columns[0] : columns[-1] + 1]


def _connect(
    cover: np.ndarray,
    before: tuple[int, int, int, int],
    glyph: np.ndarray,
    at: tuple[int, int],
    pen: float,
    rng: np.random.Generator,
) -> None:
    """Draw the stroke of a pen that was not lifted, from the end of one digit to the start of the next."""
    left, top, right, bottom = before
    row = int(rng.uniform(top + 0.4 * (bottom - top), bottom - 1))
    ends = np.flatnonzero(cover[row, left:right] > INK)
    into = int(rng.uniform(0, 0.7) * len(glyph))
    starts = np.flatnonzero(glyph[into] > INK)
    if not len(ends) or not len(starts):
        return
    start, end = (left + ends[-1], row), (at[0] + starts[0], at[1] + into)
    if abs(end[0] - start[0]) > 0.6 * (bottom - top):
        return
    x0, y0 = min(start[0], end[0]) - 4, min(start[1], end[1]) - 4
    x1, y1 = max(start[0], end[0]) + 5, max(start[1], end[1]) + 5
    x0, y0 = max(x0, 0), max(y0, 0)
    x1, y1 = min(x1, cover.shape[1]), min(y1, cover.shape[0])
    image = Image.new("L", (x1 - x0, y1 - y0))
    line = [(start[0] - x0, start[1] - y0), (end[0] - x0, end[1] - y0)]
    ImageDraw.Draw(image).line(line, fill=255, width=max(1, round(pen * rng.uniform(0.6, 1))))
    part = cover[y0:y1, x0:x1]
    np.maximum(part, np.asarray(image, np.float32) / 255, out=part)


def _mark(
    character: str, rng: np.random.Generator, size: float, pen: float, marks: Sequence[Sequence[np.ndarray]]
) -> tuple[np.ndarray, float]:
    """Draw a point, comma, dash or sign: its cover, and how far it stands above the line as a share of the size."""
    width = max(pen, 1.0)
    if character == ".":
        strokes = [np.array([[0, 0], rng.uniform(-0.4, 0.4, 2) * width])]
        rise, width = rng.uniform(-0.05, 0.06), width * rng.uniform(0.9, 1.6)
        if rng.random() < RAISED:
            rise = rng.uniform(0.06, 0.5)
    elif character == ",":
        length = size * (rng.uniform(0.3, 0.5) if rng.random() < LONG else rng.uniform(0.14, 0.3))
        middle = [-length * rng.uniform(0, 0.3), length * 0.5]
        strokes = [np.array([[0, 0], middle, [-length * rng.uniform(0.2, 0.7), length]])]
        rise, width = rng.uniform(-0.25, -0.08), width * rng.uniform(0.8, 1.2)
    elif character == "-" or not marks:
        length = size * rng.uniform(0.3, 0.75)
        strokes = [
            np.array([[0, 0], [length / 2, rng.normal(0, 0.04) * length], [length, rng.normal(0, 0.07) * length]])
        ]
        rise = rng.uniform(0.35, 0.55)
    else:
        chosen = marks[int(rng.integers(len(marks)))]
        tilt, aspect = rng.uniform(-10, 10), float(np.exp(rng.uniform(-0.2, 0.2)))
        strokes = place(chosen, size * rng.uniform(0.6, 1.15), (0, 0), tilt=tilt, aspect=aspect)
        strokes = [stroke + rng.normal(0, 0.012 * size, stroke.shape) for stroke in strokes]
        rise = rng.uniform(-0.15, 0.15)
    points = np.concatenate(strokes)
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    moved = [stroke - low + width / 2 + 1 for stroke in strokes]
    picture = draw(moved, int(span[0] + width + 3), int(span[1] + width + 3), pen=width, paper=0, ink=255)
    return cropped(picture.astype(np.float32) / 255), rise


def put_on_paper(
    cover: np.ndarray, rng: np.random.Generator, *, corrupted: float = CORRUPTED
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Write a line on paper of any tone, at any size, as people may photograph it.

    Args:
        cover: of a :class:`Line`.
        rng: source of all randomness.
        corrupted: probability that there is a texture, a shadow, blur or noise.

    Returns:
        The picture, (H, W) uint8, and where the line is in it: left, top, right and bottom in pixels.
    """
    scale = rng.uniform(*HEIGHTS) / len(cover)
    w, h = max(1, round(cover.shape[1] * scale)), max(1, round(len(cover) * scale))
    ink = np.clip(np.asarray(Image.fromarray(cover).resize((w, h), Image.Resampling.BICUBIC)), 0, 1)
    margins = np.rint(rng.uniform(*MARGINS, (2, 2)) * h).astype(int)
    sheet = np.pad(ink, margins)
    picture = np.rint(rng.uniform(*PAPERS) * (1 - sheet) + rng.uniform(*INKS) * sheet).astype(np.uint8)
    if rng.random() < corrupted:
        picture = corrupt(picture, str(rng.choice(CORRUPTIONS)), rng.uniform(0.1, 0.7), rng)
    left, top = int(margins[1, 0]), int(margins[0, 0])
    return picture, (left, top, left + w, top + h)


def sample(line: Line, rng: np.random.Generator, *, is_varied: bool = True, is_damaged: bool = True) -> Sample:
    """Scale a line to the network's height, slanted, turned, stretched, and damaged as ink on paper is.

    Args:
        line: as :func:`compose_line` returns it.
        rng: source of all randomness.
        is_varied: whether to do more than scaling.
        is_damaged: whether to damage the ink, if it is varied.
    """
    h, w = line.cover.shape
    slant = float(np.clip(rng.normal(0, 0.14), -0.45, 0.45)) if is_varied else 0.0
    turn = float(np.clip(rng.normal(0, 0.02), -0.06, 0.06)) if is_varied else 0.0
    fill = rng.uniform(0.6, 0.98) if is_varied else LINE_FILL
    aspect = float(np.exp(rng.normal(-0.05, 0.2))) if is_varied else 1.0
    scale = fill * LINE_HEIGHT / (h + abs(turn) * w)
    across = scale * aspect
    width = max(12, int((w + abs(slant) * h) * across + (rng.uniform(0.15, 0.9) if is_varied else 0.3) * LINE_HEIGHT))
    top = (rng.uniform(0, 1 - fill) if is_varied else (1 - fill) / 2) * LINE_HEIGHT
    back = np.array([[1 / across, slant / scale], [turn / across, 1 / scale]])  # from the sample to the line
    middle = np.array([width / 2, top + fill * LINE_HEIGHT / 2])
    offset = np.array([w / 2, h / 2]) - back @ middle
    image = Image.fromarray(np.rint(np.clip(line.cover, 0, 1) * 255).astype(np.uint8))
    shrunk = np.ones(2)
    if scale < 0.8:  # so that no pixel is skipped
        size = max(1, round(w * min(1, 1.25 * scale))), max(1, round(h * min(1, 1.25 * scale)))
        image = image.resize(size, Image.Resampling.BOX)
        shrunk = np.array(size) / (w, h)
    rows = np.column_stack([back, offset]) * shrunk[:, None]
    warped = image.transform(
        (width, LINE_HEIGHT), Image.Transform.AFFINE, tuple(rows.ravel()), Image.Resampling.BILINEAR
    )
    ink = np.asarray(warped, np.float32) / 255
    corners = np.stack([line.boxes[:, [0, 2, 0, 2]], line.boxes[:, [1, 1, 3, 3]]], axis=2)  # (n, 4, 2)
    moved = (corners - offset) @ np.linalg.inv(back).T
    # A slanted box's bounds would be wider than the ink; its middle row gives the sides.
    left, right = moved[:, [0, 2], 0].mean(axis=1), moved[:, [1, 3], 0].mean(axis=1)
    boxes = np.column_stack([left, moved[:, :2, 1].mean(axis=1), right, moved[:, 2:, 1].mean(axis=1)])
    return Sample(_damaged(ink, rng) if is_varied and is_damaged else ink, line.text, boxes)


def _damaged(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make ink what a finder of ink makes of it: sharper or softer, thinner or thicker, with gaps and traces."""
    h, w = ink.shape
    kind = rng.random()
    if kind < 0.35:  # sharp, and of another width
        level = rng.uniform(0.25, 0.65)
        ink = (ink - level) * rng.uniform(1.5, 5) + 0.5
    elif kind < 0.5:
        ink = ndimage.gaussian_filter(ink, rng.uniform(0.3, 0.9)) * rng.uniform(1, 1.5)
    elif kind < 0.6:
        ink = ink ** rng.uniform(0.5, 1.6)
    if rng.random() < 0.12:  # a dry pen, or holes
        field = Image.fromarray(rng.random((max(2, h // 5), max(2, w // 5))).astype(np.float32))
        ink = ink * np.clip(
            np.asarray(field.resize((w, h), Image.Resampling.BICUBIC)) * 3 + rng.uniform(-0.3, 0.5), 0, 1
        )
    ink = np.clip(ink, 0, 1)
    if rng.random() < 0.12:  # of rules, of neighbors above and below, of frames
        ink = ink.copy()
        tone = rng.uniform(0.3, 1)
        for _ in range(int(rng.integers(1, 3))):
            if rng.random() < 0.6:
                y = int(rng.choice([rng.uniform(0, 4), rng.uniform(h - 4, h - 0.01)]))
                start = int(rng.uniform(0, w))
                trace = ink[y : y + int(rng.integers(1, 3)), start : start + int(rng.uniform(3, 40))]
            else:
                x = int(rng.choice([rng.uniform(0, 3), rng.uniform(w - 3, w - 0.01)]))
                trace = ink[int(rng.uniform(0, h / 2)) : int(rng.uniform(h / 2, h)), x : x + 1]
            np.maximum(trace, tone, out=trace)
    if rng.random() < 0.08:
        ink = np.clip(ink + rng.normal(0, rng.uniform(0.02, 0.12), ink.shape) * (rng.random(ink.shape) < 0.3), 0, 1)
    kept: np.ndarray = np.where(ink < rng.uniform(0, 0.2), 0, ink).astype(np.float32)
    return kept
