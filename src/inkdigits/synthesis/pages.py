"""Compose pictures of handwriting on paper, each with the exact cover of its ink: to train an ink finder on.

A page is made in the order in which light makes a photograph: ink and what is printed on the sheet darken the paper;
things lie on it; light and shadow fall on all; the camera blurs, adds noise and stores it. The ink of a digit, and of
whole digits next to it, is the target. Rules, frames, print, stains, and pieces of writing cut by the border are not.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from inkdigits.synthesis.doodles import SCRIBBLES
from inkdigits.synthesis.strokes import draw, place
from inkdigits.synthesis.surfaces import surface

__all__ = ["Hands", "Page", "compose"]

TIGHT = 0.25  # share of the pages that are cut at the ink
EMPTY = 0.1  # share of the pages without ink
EMPTY_UNREAD = 0.7  # share of the pages without ink among those without a digit
CLEAN = 0.12  # share of the pages without anything but ink
TRIES = 6  # pages drawn until the ink can be distinguished from its paper
VISIBLE = 3.5  # grey levels between ink and the paper around it, at least
NUMBER, TIGHT_NUMBER = 0.12, 0.4  # share of the digits that are numbers of two or three, and of those cut at the ink
APART = (0.0, 0.8)  # of the height, from one digit of a number to the next
SHARES = (0.34, 0.80, 0.93)  # cumulative: scanned digits, pen digits, characters; the rest are scribbles
STRAIGHT = 0.45  # share of the pen digits drawn with a few straight lines, as with a mouse
PEN = (1.0, 25.0)  # pixels
WIDEST_PEN = 0.24  # of the digit's size
THICK, THICKEST_PEN = 0.12, 0.34  # share of the pens that may be thicker, and the widest of them
SOFT = 0.08  # share of the digits whose strokes fade at their edges, as a brush's or an airbrush's
SOFTEST = 0.05  # of the digit's size, the largest standard deviation of that edge
PRINT = "abcdefghiklmnoprstuvwz ABCDEGHN0123456789.,:- "
PRINT_SIZES = (7, 8, 10, 12, 14, 18)  # pixels
OVERSAMPLED = 2  # times the resolution that shapes are drawn in

Strokes = Sequence[np.ndarray]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


@dataclass(frozen=True, eq=False)
class Hands:
    """Handwriting to compose pages of.

    Attributes:
        scans: (N, 28, 28) uint8 digits, ink 255 on paper 0, such as MNIST's.
        pens: digits as strokes, each (n, 2), x to the right and y downwards.
        characters: characters that are not digits, as strokes.
    """

    scans: np.ndarray
    pens: Sequence[Strokes]
    characters: Sequence[Strokes]


class Page(NamedTuple):
    """A picture and its ink.

    Attributes:
        grey: (H, W) uint8, of either polarity.
        ink: (H, W) float32, the share of each pixel that ink covers, 0 to 1.
    """

    grey: np.ndarray
    ink: np.ndarray


def compose(
    hands: Hands | None, height: int, width: int, rng: np.random.Generator, *, digits: int | None = None
) -> Page:
    """Compose a page; the same generator state gives the same page.

    Args:
        hands: handwriting to choose from; None only where there are 0 digits.
        height, width: of the page in pixels.
        rng: source of all randomness.
        digits: write this many digits in a row, and nothing else; 0: a scribble or nothing; None: anything or nothing.
    """
    for _ in range(TRIES):
        page = _Composer(hands, height, width, rng, digits).page()
        if _is_visible(page):
            break
    return page


def _is_visible(page: Page) -> bool:
    ink = page.ink > 0.6
    ring = (ndimage.maximum_filter(page.ink, 7) > 0.2) & (page.ink < 0.05)
    if not ink.any() or not ring.any():
        return True
    paper = page.grey[ring]
    return abs(float(page.grey[ink].mean()) - float(paper.mean())) > max(VISIBLE, 0.25 * float(paper.std()))


class _Composer:
    """Composes one page; each method adds one thing to it."""

    def __init__(
        self, hands: Hands | None, height: int, width: int, rng: np.random.Generator, digits: int | None
    ) -> None:
        self.hands = hands or Hands(np.zeros((0, 28, 28), np.uint8), [], [])
        self.h, self.w, self.rng, self.digits = height, width, rng, digits
        self.y, self.x = np.mgrid[0:height, 0:width].astype(np.float32)

    # --- random numbers ----------------------------------------------------------------------------------------------

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def scale(self, low: float, high: float) -> float:
        """Draw a number whose logarithm is uniform."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def field(self, apart: float) -> np.ndarray:
        """Draw smooth noise, (h, w) float32, standard normal at knots ``apart`` pixels apart."""
        rows, columns = max(2, int(self.h / apart) + 2), max(2, int(self.w / apart) + 2)
        knots = Image.fromarray(self.rng.standard_normal((rows, columns)).astype(np.float32))
        return np.asarray(knots.resize((self.w, self.h), Image.Resampling.BICUBIC))

    # --- the page ----------------------------------------------------------------------------------------------------

    def page(self) -> Page:
        tight, empty, clean = self.chance(TIGHT), self.chance(EMPTY), self.chance(CLEAN)
        ink = np.zeros((self.h, self.w), np.float32)
        if self.digits == 0:
            empty = self.chance(EMPTY_UNREAD)
        if self.digits or not empty:
            ink = self.handwriting(tight=tight)
            if self.digits is None and not tight and self.chance(0.10):
                ink = np.maximum(ink, self.handwriting(tight=False))
            if self.chance(SOFT):
                left, top, right, bottom = self.box(ink)
                ink = ndimage.gaussian_filter(ink, self.between(0, SOFTEST) * max(right - left, bottom - top))
        paper = self.between(0.35, 1) if self.chance(0.4) else self.between(0.75, 1)
        depth = self.between(0.08, 0.4) if self.chance(0.3) else self.between(0.4, 1)
        light = np.full((self.h, self.w), paper, np.float32)  # reflected by the sheet, 0 to 1
        if not clean:
            light = self.textured(light) * self.printed(ink, depth, tight)
        cover = ink
        if not clean and self.chance(0.3):  # a dry pen
            cover = ink * np.clip(1 - self.between(0.05, 0.45) * np.abs(self.field(self.between(0.8, 12))), 0.15, 1)
        light = light * (1 - depth * cover)
        if not clean:
            if self.chance(0.3):
                if self.chance(0.4):
                    light = self.laid(light, ink)
                else:
                    for _ in range(1 if self.chance(0.8) else 2):
                        light = self.covered(light, ink, paper)
            light = light * self.illumination()
        return self.captured(light, ink, clean)

    def textured(self, light: np.ndarray) -> np.ndarray:
        if self.chance(0.5):
            light = light * (1 + self.between(0.005, 0.05) * self.field(self.between(2, 30)))
        if self.chance(0.12):
            light = light * (1 + self.between(0.03, 0.12) * self.field(self.between(1, 5)))
        return light

    def printed(self, ink: np.ndarray, depth: float, tight: bool) -> np.ndarray:
        """Return what is on the sheet in addition to the ink: the share of light that is left, (h, w)."""
        left = np.ones((self.h, self.w), np.float32)
        box = self.box(ink)
        if self.chance(0.5):
            for _ in range(1 if self.chance(0.7) else int(self.rng.integers(2, 4))):
                dark = depth * self.between(0.8, 1.1) if self.chance(0.4) else self.between(0.05, 0.95)
                left *= 1 - min(dark, 1) * self.rules(box)
        if self.chance(0.13):
            left *= 1 - self.between(0.2, 0.95) * self.text(ink, box)
        if not tight and self.chance(0.09):
            for _ in range(int(self.rng.integers(1, 3))):
                left *= 1 - min(depth * self.between(0.7, 1.1), 1) * self.cut_neighbor(ink)
        if self.chance(0.22):
            left *= 1 - self.between(0.1, 1) * self.blots(ink, box)
        if self.chance(0.08):
            left *= 1 - self.between(0.03, 0.25) * np.clip(self.field(self.between(15, 60)), 0, 1)
        if self.chance(0.08):
            left *= self.fold()
        if self.chance(0.1):
            for _ in range(int(self.rng.integers(1, 4))):
                left *= self.tint(box)
        return left

    # --- handwriting -------------------------------------------------------------------------------------------------

    def handwriting(self, *, tight: bool) -> np.ndarray:
        """Draw one digit, character or scribble, anywhere or filling the page: its cover, (h, w) float32."""
        kind = int(np.searchsorted(SHARES, self.rng.random()))
        n = int(self.rng.integers(2, 4)) if self.chance(TIGHT_NUMBER if tight else NUMBER) else 1
        if self.digits is not None:
            kind, n = (3, 1) if self.digits == 0 else (int(len(self.hands.scans) == 0), self.digits)
        if kind == 0:
            return self.scanned(tight, n)
        if kind == 3:
            strokes: Strokes = SCRIBBLES["train"][self.rng.integers(len(SCRIBBLES["train"]))](self.rng)
        elif kind == 1 and n > 1:
            strokes = self.number(n)
        else:
            among = self.hands.pens if kind == 1 else self.hands.characters
            strokes = among[int(self.rng.integers(len(among)))]
        if kind < 3 and not self.digits and self.chance(STRAIGHT):  # such strokes may be no digit any more
            strokes = [self.straightened(stroke) for stroke in strokes]
        strokes, pen = self.filling(strokes) if tight else self.placed(strokes)
        widths = None
        if pen > 2.5 and self.chance(0.3):  # pressure
            widths = [self.pressure(len(stroke)) for stroke in strokes]
        return draw(strokes, self.w, self.h, pen=pen, widths=widths, paper=0, ink=255).astype(np.float32) / 255

    def size(self) -> float:
        """Draw the longer side of a digit in pixels."""
        longer, shorter = max(self.h, self.w), min(self.h, self.w)
        if self.chance(0.6):
            return self.scale(min(20 if longer > 60 else 12, longer), min(140, longer))
        return self.between(0.35, 0.95) * shorter

    def number(self, n: int) -> list[np.ndarray]:
        """Write digits in a row, as strokes of height 1."""
        strokes: list[np.ndarray] = []
        right = 0.0
        for _ in range(n):
            digit = self.hands.pens[int(self.rng.integers(len(self.hands.pens)))]
            points = np.concatenate(digit)
            height = max(float(np.ptp(points[:, 1])), 0.5 * float(np.ptp(points[:, 0])), 1e-3)
            moved = [(stroke - points.min(axis=0)) / height * self.between(0.85, 1.1) for stroke in digit]
            at = np.array([right, self.between(0, 0.1)])
            strokes += [stroke + at for stroke in moved]
            right = float(np.concatenate(strokes)[:, 0].max()) + self.between(*APART)
        return strokes

    def scan(self) -> np.ndarray:
        scan = self.hands.scans[self.rng.integers(len(self.hands.scans))]
        rows = np.nonzero(scan.max(axis=1) > 40)[0]
        columns = np.nonzero(scan.max(axis=0) > 40)[0]
        kept: np.ndarray = scan[:, columns[0] : columns[-1] + 1]
        return kept[rows[0] : rows[-1] + 1]

    def scanned(self, tight: bool, n: int) -> np.ndarray:
        parts = [self.scan()]
        for _ in range(n - 1):
            height = max(len(part) for part in parts)
            parts += [np.zeros((height, int(self.between(*APART) * height)), np.uint8), self.scan()]
        height = max(len(part) for part in parts)
        scan = np.hstack([np.pad(part, ((0, height - len(part)), (0, 0))) for part in parts])
        h, w = scan.shape
        factor = min(self.h / h, self.w / w) if tight else min(self.size() / max(h, w), self.h / h, self.w / w)
        th, tw = max(2, int(h * factor)), max(2, int(w * factor))
        cover = np.asarray(Image.fromarray(scan).resize((tw, th), Image.Resampling.BICUBIC), np.float32) / 255
        if self.chance(0.5):  # a sharp edge in place of an enlarged blur
            cover = (cover - 0.4) / max(0.08, min(0.5, 1.5 / max(factor, 0.5))) + 0.5
        out = np.zeros((self.h, self.w), np.float32)
        top, left = int(self.between(0, self.h - th + 0.99)), int(self.between(0, self.w - tw + 0.99))
        out[top : top + th, left : left + tw] = np.clip(cover, 0, 1)[: self.h - top, : self.w - left]
        return out

    def straightened(self, stroke: np.ndarray) -> np.ndarray:
        """Draw a stroke with few straight lines, level and upright ones exactly so."""
        corners = np.unique(np.linspace(0, len(stroke) - 1, int(self.rng.integers(3, 7))).astype(int))
        points = np.array(stroke[corners], np.float64)
        for a, b in pairwise(points):
            dx, dy = np.abs(b - a)
            if dy < 0.35 * dx:
                b[1] = a[1]
            elif dx < 0.35 * dy:
                b[0] = a[0]
        return points

    def placed(self, strokes: Strokes) -> tuple[list[np.ndarray], float]:
        size = self.size()
        widest = (THICKEST_PEN if self.chance(THICK) else WIDEST_PEN) * size
        pen = self.scale(*PEN) if self.chance(0.5) else self.between(2, max(2.0, widest))
        pen = max(min(pen, widest), 0.8)
        aspect = float(np.exp(self.rng.normal(0, 0.15)))
        moved = place(strokes, max(size - pen, 6), (0, 0), tilt=self.between(-15, 15), aspect=aspect)
        room = np.array([self.w, self.h]) - np.concatenate(moved).max(axis=0) - pen - 2
        at = pen / 2 + 1 + np.where(room > 0, self.rng.beta(1.6, 1.6, 2) * room, room / 2)
        return [stroke + at for stroke in moved], pen

    def filling(self, strokes: Strokes) -> tuple[list[np.ndarray], float]:
        """Place strokes so that they touch the border, stretched or not, as in a picture cut at the ink."""
        sides = np.array([self.w, self.h], np.float64)
        pen = max(self.scale(1.2, 18) * min(self.h, self.w) / 130, 1.0)
        moved = place(strokes, 100, (0, 0), tilt=self.between(-12, 12))
        margin = self.rng.uniform(-1.5, 3, 2)
        factor = (sides - pen - 2 * margin) / np.maximum(np.ptp(np.concatenate(moved), axis=0), 3)
        factor = np.clip(factor, factor.min(), factor.min() * self.between(1, 2.2))
        moved = [stroke * factor for stroke in moved]
        points = np.concatenate(moved)
        room = sides - np.ptp(points, axis=0) - pen - 2 * margin
        at = pen / 2 + margin + self.rng.uniform(0, 1, 2) * np.maximum(room, 0)
        return [stroke - points.min(axis=0) + at for stroke in moved], pen

    def pressure(self, n: int) -> np.ndarray:
        """Return the width at each point of a stroke, as a share of the pen's."""
        knots = self.rng.uniform(0.5, 1, int(self.rng.integers(2, 5)))
        return np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(knots)), knots)

    def box(self, ink: np.ndarray) -> Box:
        rows, columns = np.nonzero(ink.max(axis=1) > 0.3)[0], np.nonzero(ink.max(axis=0) > 0.3)[0]
        if not len(rows):
            return self.w * 0.3, self.h * 0.3, self.w * 0.7, self.h * 0.7
        return float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1])

    # --- on the sheet ------------------------------------------------------------------------------------------------

    def rules(self, box: Box) -> np.ndarray:
        """Draw ruled lines, squares, or a frame or table around the box: their cover, (h, w)."""
        tilt = np.deg2rad(self.rng.normal(0, 2.2) if self.chance(0.85) else self.between(-12, 12))
        wave = self.between(0, 1.5) if self.chance(0.3) else 0.0
        width, kind = self.scale(0.6, 5), self.rng.random()
        if kind < 0.45:
            angle = tilt if self.chance(0.75) else tilt + np.pi / 2
            cover = self.lines(angle, max(self.between(10, 90), width * 3.5) if self.chance(0.6) else 0.0, width, wave)
            if self.chance(0.35):  # a margin
                cover = np.maximum(cover, self.lines(angle + np.pi / 2, 0.0, width * self.between(0.7, 1.6), wave))
            return cover
        if kind < 0.7:
            apart = self.between(7, 70)
            both = (self.lines(angle, apart, min(width, apart / 4), wave) for angle in (tilt, tilt + np.pi / 2))
            squares: np.ndarray = np.maximum(*both)
            return squares
        return self.frame(box, tilt, width)

    def lines(self, angle: float, apart: float, width: float, wave: float) -> np.ndarray:
        """Draw parallel lines ``apart`` pixels apart, or one if 0."""
        cos, sin = np.cos(angle), np.sin(angle)
        along, across = cos * self.x + sin * self.y, cos * self.y - sin * self.x
        across = across - (cos * self.between(0, self.h) - sin * self.between(0, self.w))
        if wave:
            across = across + wave * np.sin(along * self.between(0.01, 0.06) + self.between(0, 6))
        distance = np.abs((across + apart / 2) % apart - apart / 2) if apart else np.abs(across)
        cover = np.clip(width / 2 + 0.5 - distance, 0, min(1, width))
        if self.chance(0.12):  # dashed
            period = self.between(3, 14)
            cover = cover * ((along % period) < period * self.between(0.4, 0.8))
        lines: np.ndarray = cover.astype(np.float32)
        return lines

    def frame(self, box: Box, tilt: float, width: float) -> np.ndarray:
        """Draw a box's border, whole or in part, a table's lines, or a rounded or round border."""
        left, top, right, bottom = box
        left, top, right, bottom = (
            side + sign * gap * max(right - left, bottom - top)
            for side, sign, gap in zip(box, (-1, -1, 1, 1), self.rng.uniform(-0.06, 0.5, 4), strict=True)
        )
        if self.chance(0.2) and right - left > 8 and bottom - top > 8:
            return self.shape(self.round_border(left, top, right, bottom, width))
        if self.chance(0.5):
            corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]])
            segments = list(pairwise(corners))
            start, kept = int(self.rng.integers(4)), 4 if self.chance(0.7) else int(self.rng.integers(1, 4))
            segments = [segments[(start + i) % 4] for i in range(kept)]
        else:
            across = [left, right, 2 * right - left][: 3 if self.chance(0.4) else 2]
            segments = [(np.array([x, -self.h]), np.array([x, 2 * self.h])) for x in across]
            segments += [(np.array([-self.w, y]), np.array([2 * self.w, y])) for y in (top, bottom)]
        middle = np.array([left + right, top + bottom]) / 2
        turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        strokes = [(np.stack(segment) - middle) @ turn + middle for segment in segments]
        return draw(strokes, self.w, self.h, pen=width * 1.3, paper=0, ink=255).astype(np.float32) / 255

    def round_border(self, left: float, top: float, right: float, bottom: float, width: float) -> Image.Image:
        image = Image.new("L", (self.w * OVERSAMPLED, self.h * OVERSAMPLED))
        corners = [round(side * OVERSAMPLED) for side in (left, top, right, bottom)]
        pen = max(1, int(width * OVERSAMPLED))
        if self.chance(0.6):
            room = min(corners[2] - corners[0], corners[3] - corners[1])
            radius = min(round(self.between(2, 20) * OVERSAMPLED), room // 2 - 1)
            ImageDraw.Draw(image).rounded_rectangle(corners, radius, outline=255, width=pen)
        else:
            more = 0.2 * (corners[2] - corners[0])
            around = [corners[0] - more, corners[1] - more, corners[2] + more, corners[3] + more]
            ImageDraw.Draw(image).ellipse(around, outline=255, width=pen)
        return image

    def shape(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image.reduce(OVERSAMPLED), np.float32) / 255

    def text(self, ink: np.ndarray, box: Box) -> np.ndarray:
        """Print lines of text, mostly above or below the ink, and never on it."""
        image = Image.new("L", (self.w, self.h))
        for _ in range(int(self.rng.integers(1, 5))):
            words = "".join(self.rng.choice(list(PRINT), int(self.rng.integers(2, 26))))
            y = self.between(-6, self.h)
            if box[1] - 14 < y < box[3] and self.chance(0.9):
                y = box[1] - self.between(16, 36) if self.chance(0.5) else box[3] + self.between(1, 20)
            font = ImageFont.load_default(PRINT_SIZES[self.rng.integers(len(PRINT_SIZES))])
            ImageDraw.Draw(image).text((self.between(-20, self.w * 0.7), y), words, fill=255, font=font)
        printed: np.ndarray = np.asarray(image, np.float32) / 255 * (ndimage.maximum_filter(ink, 5) < 0.3)
        return printed

    def cut_neighbor(self, ink: np.ndarray) -> np.ndarray:
        """Draw a piece of other handwriting that the border cuts, clear of the ink."""
        other = self.handwriting(tight=False)
        left, top, right, bottom = self.box(other)
        share = self.between(0.15, 0.6)  # that is left of it
        dx, dy = [
            (-right + share * (right - left), 0),
            (self.w - left - share * (right - left), 0),
            (0, -bottom + share * (bottom - top)),
            (0, self.h - top - share * (bottom - top)),
        ][self.rng.integers(4)]
        piece: np.ndarray = ndimage.shift(other, (round(dy), round(dx)), order=0)
        if (piece * ndimage.maximum_filter(ink, 5)).any() or piece.sum() > 0.6 * ink.sum():
            return np.zeros_like(ink)
        return piece

    def blots(self, ink: np.ndarray, box: Box) -> np.ndarray:
        image = Image.new("L", (self.w * OVERSAMPLED, self.h * OVERSAMPLED))
        longest = max(0.22 * max(box[2] - box[0], box[3] - box[1], 10), 1.5)
        for _ in range(int(self.rng.integers(1, 9))):
            cx, cy = self.between(0, self.w) * OVERSAMPLED, self.between(0, self.h) * OVERSAMPLED
            a = self.scale(1, longest)
            b = a * self.between(0.6, 1.6)
            ImageDraw.Draw(image).ellipse([cx - a, cy - b, cx + a, cy + b], fill=255)
        beside: np.ndarray = self.shape(image) * (ndimage.maximum_filter(ink, 3) < 0.2)
        return beside

    def fold(self) -> np.ndarray:
        across = self.across(self.between(0, np.pi), self.between(0, self.w), self.between(0, self.h))
        crease = 1 - self.between(0.05, 0.35) * np.exp(-((across / self.between(0.7, 4)) ** 2))
        return crease * (1 + self.between(-0.12, 0.12) * np.tanh(across / self.between(1, 20)))

    def tint(self, box: Box) -> np.ndarray:
        """Color a rectangle, as a marker, a note or a shaded cell does, at the ink or anywhere."""
        middle = self.rng.uniform((box[0], box[1]), (box[2] + 1, box[3] + 1))
        if self.chance(0.5):
            middle = self.rng.uniform(0, (self.w, self.h))
        turn = np.deg2rad(self.rng.normal(0, 5) if self.chance(0.5) else self.between(-90, 90))
        sides = [self.scale(0.06, 0.8) * max(self.h, self.w) for _ in range(2)]
        along, across = self.across(turn, *middle), self.across(turn + np.pi / 2, *middle)
        inside = np.minimum(sides[0] - np.abs(along), sides[1] - np.abs(across))
        cover = np.clip(inside / self.between(0.6, 3) + 0.5, 0, 1)
        if self.chance(0.3):  # its edge shows
            cover = cover + self.between(0.2, 1) * np.exp(-((inside / self.between(0.7, 2)) ** 2))
        tinted: np.ndarray = 1 - self.between(0.03, 0.45) * cover
        return tinted

    def across(self, angle: float, x: float, y: float) -> np.ndarray:
        """Return the distance of each pixel from a line through a point, positive on the side of its normal."""
        distance: np.ndarray = np.cos(angle) * (self.x - x) + np.sin(angle) * (self.y - y)
        return distance

    # --- on top of it, and light -------------------------------------------------------------------------------------

    def covered(self, light: np.ndarray, ink: np.ndarray, paper: float) -> np.ndarray:
        """Lay a thing over the page, or show the table beyond its edge; nothing, if it would hide the ink."""
        kind, turn = self.rng.random(), int(self.rng.integers(4)) * np.pi / 2
        if kind < 0.75:  # a straight edge at one side, or across a corner
            corner = kind >= 0.45
            angle = turn + np.deg2rad(self.rng.normal(45 if corner else 0, 18 if corner else 8))
            half = (abs(np.cos(angle)) * self.w + abs(np.sin(angle)) * self.h) / 2
            inside = self.across(angle, self.w / 2, self.h / 2) - half * self.between(0.45 if corner else 0.55, 1)
        else:  # a finger, a pen, a cap
            angle, radius = self.between(0, 2 * np.pi), self.between(0.1, 0.5) * max(self.h, self.w)
            away_x, away_y = self.rng.uniform(-0.2, 0.7, 2) * radius
            cx = self.w / 2 + np.cos(angle) * (self.w / 2 + away_x)
            cy = self.h / 2 + np.sin(angle) * (self.h / 2 + away_y)
            longer = self.between(0.6, 1.6)
            inside = radius - np.hypot((self.x - cx) * longer, (self.y - cy) / longer)
            inside = inside + self.between(0, 3) * self.field(14)
        cover = np.clip(inside / self.between(0.6, 4) + 0.5, 0, 1)
        if (cover * ink).sum() > 0.01 * ink.sum():
            return light
        level = self.between(0, 0.6) * paper if self.chance(0.8) else min(1, paper * self.between(1.1, 1.8))
        thing = np.clip(level * (1 + self.between(0, 0.3) * self.field(self.between(2, 20))), 0, 1)
        if kind < 0.75 and self.chance(0.5):
            thing = surface(self.h, self.w, self.rng)
        return self.shown(light, thing, inside, cover)

    def laid(self, light: np.ndarray, ink: np.ndarray) -> np.ndarray:
        """Lay the sheet, turned and cut on one to four sides, on a surface that is seen around it."""
        left, top, right, bottom = self.box(ink)
        size = max(right - left, bottom - top, 8)
        turn = np.deg2rad(self.rng.normal(0, 10))
        inside = np.full((self.h, self.w), np.float32(-1e3))
        sides = self.rng.permutation(4)[: int(self.rng.integers(1, 5))]
        for side in sides:
            angle = turn + side * np.pi / 2
            corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
            furthest = float((corners @ [np.cos(angle), np.sin(angle)]).max())
            edge = np.cos(angle) * self.x + np.sin(angle) * self.y - furthest - self.scale(0.03, 0.6) * size - 1
            if self.chance(0.4):  # cut by hand, or curved
                edge = edge + self.between(0, 0.04) * size * self.field(self.between(4, 40))
            inside = np.maximum(inside, edge)
        cover = np.clip(inside / self.between(0.6, 3) + 0.5, 0, 1)
        if (cover * ink).sum() > 0.01 * ink.sum():
            return light
        return self.shown(light, surface(self.h, self.w, self.rng), -inside if self.chance(0.3) else inside, cover)

    def shown(self, light: np.ndarray, thing: np.ndarray, inside: np.ndarray, cover: np.ndarray) -> np.ndarray:
        """Show a thing where it covers the page, with its shadow."""
        if self.chance(0.4):
            shade = np.clip((inside + self.between(2, 15)) / self.between(3, 20) + 0.5, 0, 1)
            light = light * (1 - self.between(0.05, 0.5) * shade)
        seen: np.ndarray = light * (1 - cover) + thing * cover
        return seen

    def illumination(self) -> np.ndarray:
        light = np.ones((self.h, self.w), np.float32)
        if self.chance(0.4):  # from one side
            angle = self.between(0, 2 * np.pi)
            slope = np.cos(angle) * (self.x / self.w - 0.5) + np.sin(angle) * (self.y / self.h - 0.5)
            light *= 1 + self.between(0.05, 0.8) * slope
        if self.chance(0.2):  # from a lamp
            away = (self.x - self.between(0, self.w)) ** 2 + (self.y - self.between(0, self.h)) ** 2
            light *= 1 - self.between(0.1, 0.6) * np.clip(away / (self.h**2 + self.w**2) * 2, 0, 1)
        if self.chance(0.4):  # a shadow, hard or soft
            x, y = self.between(0.1, 0.9) * self.w, self.between(0.1, 0.9) * self.h
            across = self.across(self.between(0, 2 * np.pi), x, y)
            if self.chance(0.4):
                across = across + self.between(2, 12) * self.field(40)
            light *= 1 - self.between(0.1, 0.75) * np.clip(across / self.scale(0.7, 40) + 0.5, 0, 1)
        if self.chance(0.12):
            light *= np.exp(self.between(0.05, 0.25) * self.field(self.between(30, 90)))
        return np.clip(light, 0.08, 2)

    # --- the camera --------------------------------------------------------------------------------------------------

    def captured(self, light: np.ndarray, ink: np.ndarray, clean: bool) -> Page:
        """Blur, add noise, change contrast and polarity, store as JPEG or as black and white."""
        grey = light * (255 / max(1.0, float(light.max())))
        if self.chance(0.15):
            sigma = self.between(0.5, 0.03 * max(self.h, self.w)) * (0.4 if ink.sum() < 0.04 * ink.size else 1)
            grey, ink = ndimage.gaussian_filter(grey, sigma), ndimage.gaussian_filter(ink, 0.8 * sigma)
        elif self.chance(0.5):
            grey = ndimage.gaussian_filter(grey, self.between(0.3, 1.3))
        if not clean and self.chance(0.6):
            grey = grey + self.rng.normal(0, self.scale(0.5, 10), grey.shape)
        if self.chance(0.5):
            span = self.between(0.15, 1)
            grey = self.between(0, 1 - span) * 255 + grey * span
        if self.chance(0.5):
            grey = 255 - grey
        if not clean and self.chance(0.07):  # hot and dead pixels
            hit, share = self.rng.random(grey.shape), self.between(0.002, 0.05)
            grey = np.where(hit < share, 0, np.where(hit > 1 - share, 255, grey))
        levels = np.rint(np.clip(grey, 0, 255)).astype(np.uint8)
        if self.chance(0.25):
            file = io.BytesIO()
            Image.fromarray(levels).save(file, "JPEG", quality=int(self.rng.integers(25, 90)))
            levels = np.asarray(Image.open(file))
        elif self.chance(0.04):
            extreme = levels.min() if self.chance(0.5) else levels.max()
            levels = np.where(levels > (np.median(levels) + extreme) / 2, 255, 0).astype(np.uint8)
        return Page(levels, ink.astype(np.float32))
