"""Digits on paper with structure of ten kinds that no training uses.

Digits are MNIST's test images, enlarged, and drawings by the pen writers of the test part. Each kind has its own random
generator per digit, so a new kind changes nothing of the others. People read all of them: look with ``pictures.py
--sheets``. Keep these kinds out of :mod:`inkdigits.synthesis`, whose pictures may be trained on.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from statistics import mean

import numpy as np
from scipy import ndimage

from inkdigits.data.catalog import load
from inkdigits.data.dataset import Dataset
from inkdigits.data.pen import PenDigit
from inkdigits.synthesis.corruptions.sheet import rounded
from inkdigits.synthesis.strokes import draw

from picture_sets.digits import ink_of, test_pens
from picture_sets.tally import Case, Measured, Row, at_least

__all__ = ["KINDS", "Sheet", "make", "structured"]

SEED = 17
EACH = 150  # digits of each of the two sources, per kind
SIZES = (80, 200)  # pixels, the longer side of the digit
AROUND = (0.25, 0.6)  # of the digit's size: paper on each side
PAPERS = (200, 255)  # grey levels
INKS = ((15, 15, 20), (25, 35, 110), (60, 60, 65), (110, 20, 30))  # black, blue, pencil, red
WEIGHTS = (0.5, 0.25, 0.15, 0.1)  # of these inks
NOISE = (0.5, 4.0)  # grey levels, standard deviation
BLUR = (0.0, 0.8)  # pixels, standard deviation


class Sheet:
    """A digit's ink, and where it lies.

    Attributes:
        cover: (H, W) float32, how much of each pixel is ink, 0 to 1.
        size: the longer side of the digit in pixels.
        box: left, top, right and bottom of the ink.
        paper, ink: colors, (3,) float32.
        x, y: of the pixels, (1, W) and (H, 1).
        rng: for all that is drawn on it.
    """

    def __init__(self, ink: np.ndarray, rng: np.random.Generator) -> None:
        self.size = max(ink.shape)
        before, after = (np.rint(rng.uniform(*AROUND, 2) * self.size).astype(int) for _ in range(2))
        self.cover = np.pad(ink, tuple(zip(before, after, strict=True))).astype(np.float32)
        top, left = before
        self.box = int(left), int(top), int(left + ink.shape[1]), int(top + ink.shape[0])
        self.paper = np.float32(rng.uniform(*PAPERS)) * rng.uniform(0.95, 1, 3).astype(np.float32)
        self.ink = np.array(INKS[rng.choice(len(INKS), p=WEIGHTS)], np.float32)
        height, width = self.cover.shape
        self.y, self.x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]
        self.rng = rng

    @property
    def plain(self) -> np.ndarray:
        """The paper, (H, W, 3) float32."""
        return np.zeros((*self.cover.shape, 3), np.float32) + self.paper

    def inked(self, ground: np.ndarray) -> np.ndarray:
        """Write the digit on a ground; ink lies over print."""
        return ground + self.cover[..., None] * (np.minimum(self.ink, ground) - ground)

    def printed(self, cover: np.ndarray, color: object, ground: np.ndarray | None = None) -> np.ndarray:
        """Print a color on the ground, or on the paper."""
        ground = self.plain if ground is None else ground
        return ground + np.clip(cover, 0, 1)[..., None] * (np.minimum(np.asarray(color, np.float32), ground) - ground)

    def turned(self, degrees: float) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates along and across lines that fall by so many degrees, (H, W) each."""
        angle = np.deg2rad(degrees)
        return self.x * np.cos(angle) + self.y * np.sin(angle), self.y * np.cos(angle) - self.x * np.sin(angle)

    def away(self) -> np.ndarray:
        """Distance of each pixel from the digit's ink, in pixels."""
        away: np.ndarray = ndimage.distance_transform_edt(self.cover < 0.3)
        return away

    def wave(self, apart: float, n: int) -> np.ndarray:
        """Draw a smooth random curve, (n,), with knots so many pixels apart: what is cut or torn by hand."""
        knots = self.rng.standard_normal(int(n / apart) + 4)
        curve: np.ndarray = ndimage.zoom(knots, apart, order=3)[int(apart) : int(apart) + n]
        return np.pad(curve, (0, n - len(curve)), mode="edge")


def _line(distance: np.ndarray, width: float) -> np.ndarray:
    """Return the cover of a line, from the distance of each pixel from its middle."""
    return np.clip(width / 2 + 0.5 - np.abs(distance), 0, min(1, width))


def _staves(sheet: Sheet) -> np.ndarray:
    """Draw music paper: five lines close together, space, five lines; here and there a bar line clear of the digit."""
    rng, size = sheet.rng, sheet.size
    gap = size * rng.uniform(0.07, 0.12)
    width = max(1.0, gap * rng.uniform(0.06, 0.12))
    along, across = sheet.turned(rng.uniform(-2, 2))
    period = gap * rng.uniform(8, 11)
    at = (across + rng.uniform(0, period)) % period
    cover = np.max([_line(at - gap * (2 + i), width) for i in range(5)], axis=0)
    left, _, right, _ = sheet.box
    for edge in (left - rng.uniform(0.08, 0.2) * size, right + rng.uniform(0.08, 0.2) * size):
        if rng.random() < 0.5:
            staff = (at >= 2 * gap) & (at <= 6 * gap)
            np.maximum(cover, _line(along - edge, 1.5 * width) * staff, out=cover)
    return sheet.inked(sheet.printed(cover, rng.uniform(20, 130)))


def _dots(sheet: Sheet) -> np.ndarray:
    """Draw isometric dot paper: rows of dots, every other one shifted by half."""
    rng = sheet.rng
    apart = sheet.size * rng.uniform(0.12, 0.24)
    radius = max(0.8, sheet.size * rng.uniform(0.01, 0.018))
    u, v = sheet.turned(rng.uniform(-4, 4))
    row = apart * np.sqrt(3) / 2
    index = np.floor(v / row + 0.5)
    du = (u + (index % 2) * apart / 2) % apart
    distance = np.hypot(np.minimum(du, apart - du), v - index * row)
    tone = np.array((rng.uniform(60, 150), rng.uniform(70, 160), rng.uniform(90, 190)))
    return sheet.inked(sheet.printed(np.clip(radius + 0.5 - distance, 0, 1), tone))


def _hatching(sheet: Sheet) -> np.ndarray:
    """Draw pencil hatching on part of the paper, behind part of the digit."""
    rng, size = sheet.rng, sheet.size
    along, across = sheet.turned(rng.uniform(25, 65) * rng.choice([-1, 1]))
    apart = size * rng.uniform(0.05, 0.1)
    index = np.floor(across / apart + 0.5)
    sway = 0.15 * apart * np.sin(along / (0.3 * size) + index * 2.4)
    cover = _line(across - index * apart + sway, max(1.0, size * rng.uniform(0.008, 0.016)))
    side, _ = sheet.turned(rng.uniform(0, 360))
    ends = 0.08 * size * np.sin(index * 12.9898) + rng.uniform(-0.25, 0.25) * size
    part = side - side.mean() + ends > 0
    return sheet.inked(sheet.printed(cover * part * rng.uniform(0.45, 0.8), rng.uniform(60, 110)))


def _torn(sheet: Sheet) -> np.ndarray:
    """Tear the sheet off on one to three sides; the dark table shows, and a white edge of fibers."""
    rng, size = sheet.rng, sheet.size
    height, width = sheet.cover.shape
    inside = np.full((height, width), 1e9, np.float32)
    left, top, right, bottom = sheet.box
    sides = ((sheet.x, left, width), (width - 1 - sheet.x, width - right, width))
    sides += ((sheet.y, top, height), (height - 1 - sheet.y, height - bottom, height))
    for i in rng.permutation(4)[: rng.integers(1, 4)]:
        distance, room, _ = sides[i]
        length = height if i < 2 else width
        edge = room * rng.uniform(0.25, 0.6)
        edge = edge + 0.03 * size * sheet.wave(0.15 * size, length) + 0.008 * size * sheet.wave(3.0, length)
        edge = np.clip(edge, 1, 0.8 * room)
        np.minimum(inside, distance - (edge[:, None] if i < 2 else edge[None]), out=inside)
    table = rng.uniform(20, 110) * rng.uniform(0.7, 1.2, 3) * (1 + 0.1 * rng.standard_normal((height, width, 1)))
    fibers = (inside > 0) & (inside < size * rng.uniform(0.015, 0.04))
    ground = np.where(fibers[..., None], np.minimum(sheet.plain * 1.08, 255), sheet.plain)
    picture = sheet.inked(ground)
    on = np.clip(inside + 0.5, 0, 1)[..., None]
    return picture * on + table * (1 - on)


def _spiral(sheet: Sheet) -> np.ndarray:
    """Punch a row of holes along one side, as of a spiral notebook, with or without its wire."""
    rng, size = sheet.rng, sheet.size
    left, top, _, _ = sheet.box
    turned = rng.random() < 0.5  # along the top
    along, across, room = (sheet.x, sheet.y, top) if turned else (sheet.y, sheet.x, left)
    apart, radius = size * rng.uniform(0.13, 0.25), min(size * rng.uniform(0.03, 0.055), 0.3 * room)
    middle = room * rng.uniform(0.35, 0.5)
    at = (along + rng.uniform(0, apart)) % apart - apart / 2
    square = rng.random() < 0.5
    distance = np.maximum(np.abs(at), np.abs(across - middle)) if square else np.hypot(at, across - middle)
    hole = np.clip(radius + 0.5 - distance, 0, 1)
    picture = sheet.inked(sheet.plain)
    picture = picture + hole[..., None] * (rng.uniform(10, 90) - picture)
    if rng.random() < 0.6:
        wire = _line(at - 0.25 * radius, max(1.2, 0.5 * radius)) * (across < middle)
        picture = picture + wire[..., None] * (rng.uniform(60, 170) - picture)
    return picture


def _guilloche(sheet: Sheet) -> np.ndarray:
    """Print the fine interwoven waves of cheques and certificates."""
    rng, size = sheet.rng, sheet.size
    ground = sheet.plain
    tones = np.array([(150, 175, 200), (200, 160, 165), (150, 190, 160), (190, 180, 140)], np.float32)
    for tone in tones[rng.permutation(4)[: rng.integers(1, 3)]] - rng.uniform(0, 30):
        along, across = sheet.turned(rng.uniform(-90, 90))
        apart, length = size * rng.uniform(0.07, 0.13), size * rng.uniform(0.5, 1.2)
        for phase in np.linspace(0, 2 * np.pi, 4, endpoint=False):
            bent = across + 1.2 * apart * np.sin(2 * np.pi * along / length + phase)
            at = bent % apart - apart / 2
            ground = sheet.printed(_line(at, max(0.9, size * 0.006)), tone, ground)
    return sheet.inked(ground)


def _floor(sheet: Sheet) -> np.ndarray:
    """Lay the sheet, turned, on a checkered floor, which shows at the sides."""
    rng, size = sheet.rng, sheet.size
    u, v = sheet.turned(rng.uniform(-25, 25))
    tile = size * rng.uniform(0.12, 0.3)
    odd = (np.floor(u / tile) + np.floor(v / tile)) % 2
    light, dark = rng.uniform(150, 235) * rng.uniform(0.85, 1, 3), rng.uniform(15, 90) * rng.uniform(0.8, 1.2, 3)
    floor = np.where(odd[..., None] > 0, dark, light)
    left, top, right, bottom = sheet.box
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)
    turn = rng.uniform(-12, 12)
    angle = np.deg2rad(turn)
    a, b = sheet.turned(turn)
    along = corners @ [np.cos(angle), np.sin(angle)]
    across = corners @ [-np.sin(angle), np.cos(angle)]
    margins = size * rng.uniform(0.06, 0.16, 4)
    inside = np.minimum(
        np.minimum(a - along.min() + margins[0], along.max() + margins[1] - a),
        np.minimum(b - across.min() + margins[2], across.max() + margins[3] - b),
    )
    shadow = 1 - rng.uniform(0, 0.5) * np.exp(-np.clip(-inside, 0, None) / (0.03 * size))
    on = np.clip(inside + 0.5, 0, 1)[..., None]
    return sheet.inked(sheet.plain) * on + floor * shadow[..., None] * (1 - on)


def _cutting(sheet: Sheet) -> np.ndarray:
    """Print the dashed line of a coupon around the digit, or on some of its sides."""
    rng, size = sheet.rng, sheet.size
    left, top, right, bottom = sheet.box
    dash, width = size * rng.uniform(0.05, 0.12), max(1.2, size * rng.uniform(0.012, 0.025))
    free = [rng.uniform(0.4, 0.8) * room for room in (left, top)]
    free += [rng.uniform(0.4, 0.8) * room for room in (sheet.x.size - right, sheet.y.size - bottom)]
    lines = (left - free[0], sheet.x, sheet.y), (top - free[1], sheet.y, sheet.x)
    lines += (right + free[2], sheet.x, sheet.y), (bottom + free[3], sheet.y, sheet.x)
    cover = np.zeros_like(sheet.cover)
    for i in rng.permutation(4)[: rng.choice([1, 2, 4])]:
        at, across, along = lines[i]
        # Dashes, or dashes and dots.
        on = (along + rng.uniform(0, dash)) % (1.6 * dash) < dash
        np.maximum(cover, _line(across - at, width) * on, out=cover)
    return sheet.inked(sheet.printed(cover, rng.uniform(10, 90)))


def _marks(sheet: Sheet) -> np.ndarray:
    """Make small crosses, check marks and arrows around the digit, with the same pen or a red one."""
    rng, size = sheet.rng, sheet.size
    height, width = sheet.cover.shape
    forms = (
        [((0, 0), (1, 1)), ((1, 0), (0, 1))],  # cross
        [((0, 0.55), (0.35, 1), (1, 0))],  # check mark
        [((0, 0.5), (1, 0.5)), ((0.7, 0.2), (1, 0.5), (0.7, 0.8))],  # arrow
        [((0.5, 0), (0.5, 1)), ((0, 0.5), (1, 0.5))],  # plus
    )
    color = sheet.ink if rng.random() < 0.6 else np.array((170, 30, 30), np.float32)
    pen = max(1.5, size * rng.uniform(0.02, 0.035))
    free = sheet.away()
    picture, placed = sheet.inked(sheet.plain), 0
    for _ in range(60):
        length = size * rng.uniform(0.1, 0.17)
        at = rng.uniform(2, np.array([width, height]) - length - 2)
        strokes = [np.array(line) * length + at for line in forms[rng.integers(len(forms))]]
        mark = draw(strokes, width, height, pen=pen, paper=0, ink=255).astype(np.float32) / 255
        if free[mark > 0].min() > 0.08 * size:
            picture = sheet.printed(mark, color, picture)
            free = np.minimum(free, ndimage.distance_transform_edt(mark < 0.3))
            placed += 1
            if placed == 5:
                break
    return picture


def _tape(sheet: Sheet) -> np.ndarray:
    """Stick strips of clear or yellowed tape over the sheet, with a glossy streak and jagged ends."""
    rng, size = sheet.rng, sheet.size
    picture = sheet.inked(sheet.plain)
    for _ in range(rng.integers(1, 3)):
        along, across = sheet.turned(rng.uniform(-70, 70))
        half = size * rng.uniform(0.1, 0.2)
        middle = float(np.mean(across) + rng.uniform(-0.45, 0.45) * size)
        start = float(np.quantile(along, rng.uniform(0, 0.35)))
        jag = 0.02 * size * np.abs((across / (0.03 * size)) % 2 - 1)
        inside = np.minimum(half - np.abs(across - middle), along - start + jag)
        on = np.clip(inside + 0.5, 0, 1)
        tint = np.array(((0.93, 0.93, 0.93), (0.9, 0.85, 0.68), (0.82, 0.8, 0.75))[rng.integers(3)])
        picture = picture * (1 - on[..., None] * (1 - tint))
        streak = on * np.exp(-(((across - middle - 0.4 * half) / (0.15 * half)) ** 2)) * rng.uniform(0.1, 0.35)
        picture = picture + streak[..., None] * (255 - picture)
        picture = picture * (1 - 0.3 * _line(inside, max(1.0, 0.01 * size))[..., None])
    return picture


#: Every kind by name.
KINDS: dict[str, Callable[[Sheet], np.ndarray]] = {
    "music staves": _staves,
    "isometric dots": _dots,
    "hatching": _hatching,
    "torn paper": _torn,
    "spiral holes": _spiral,
    "guilloche": _guilloche,
    "checkered floor": _floor,
    "cutting line": _cutting,
    "marks around": _marks,
    "tape": _tape,
}


def make(kind: str, digit: np.ndarray | PenDigit, number: int) -> np.ndarray:
    """Make a picture of a digit; always the same for the same kind, digit and number.

    Args:
        kind: one of :data:`KINDS`.
        digit: an MNIST image, ink 255 on 0, or pen strokes.
        number: of the digit, which seeds what is random.

    Returns:
        (H, W, 3) uint8.
    """
    rng = np.random.default_rng((SEED, zlib.crc32(kind.encode()), number))
    size = rng.uniform(*SIZES)
    sheet = Sheet(ink_of(digit, size, rng), rng)
    picture = KINDS[kind](sheet)
    picture = ndimage.gaussian_filter(picture, (blur := rng.uniform(*BLUR), blur, 0))
    return rounded(picture + rng.uniform(*NOISE) * rng.standard_normal(picture.shape[:2])[..., None])


def structured(measured: Measured) -> Iterator[Row]:
    """Each kind, and the mean of them."""
    images = load("mnist", measured.settings, part="test")
    pens = test_pens(measured.settings)
    shares = []
    for number, kind in enumerate(KINDS):
        row = measured.count(f"structured: {kind}", cases(kind, number, images, pens), at_least(0.8))
        shares.append(row.right_accepted / row.n)
        yield row
    share, target = mean(shares), at_least(0.95)
    met = "yes" if target.met(share) else "no"
    yield Row(set=f"structured: mean of {len(KINDS)} kinds", share=f"{100 * share:.2f}%", target=target.text, met=met)


def cases(kind: str, number: int, images: Dataset, pens: list[PenDigit], each: int = EACH) -> list[Case]:
    """Make a kind's pictures, of other digits than the other kinds' where there are enough."""
    found = []
    for i, at in enumerate(np.random.RandomState(SEED).permutation(len(images))[number * each :][:each]):
        found.append(Case(make(kind, np.asarray(images.images[at]), 2 * i), int(images.labels[at])))
    order = np.random.RandomState(SEED).permutation(len(pens))
    for i, at in enumerate(np.roll(order, -number * each)[:each]):
        found.append(Case(make(kind, pens[at], 2 * i + 1), pens[at].label))
    return found
