"""Image → 28×28: find the ink in any picture and lay it out as MNIST's digits are. Used everywhere a digit is read.

The steps, each written with whole-array arithmetic that ports to another language as it stands:

1. grey      colour → one channel along the axis in colour space on which the picture varies most
2. paper     its level from the border of the picture; a smooth surface instead of a level where the light is uneven
3. polarity  ink is what lies on the heavier side of the paper's level
4. locate    connected pieces of ink, without specks; a small find in a large picture is looked at again, closer
5. lay out   MNIST's own normalisation: the ink scaled into a 20×20 box, aspect kept, area-averaged, then placed so that
             its centre of mass is at the centre of 28×28 (https://yann.lecun.com/exdb/mnist/)

An MNIST image comes out as it went in, but for faint pixels off the ink. Swapping ink and paper changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from inkdigits.decode import ImageSource, Limits, decode

__all__ = ["NORMALISATION_VERSION", "SIDE", "Box", "ImageSource", "Limits", "Normalised", "normalise"]

NORMALISATION_VERSION = "1"  # changes whenever the same picture would give other pixels: models are trained for one

SIDE = 28  # pixels, of what the network sees
BOX_SIDE = 20  # pixels, that the ink is scaled to fit
CENTRE = 14  # pixel index that the centre of mass is rounded to, in MNIST's own files too

WORK_SIDE = 192  # pixels, the longer side a picture is looked at with
WORK_SHORT = 32  # pixels that the shorter side keeps, where it has them: a strip is not reduced to a line
FINER = 5  # times finer is a picture looked at in which nothing was found
CLOSE_SIDE = 64  # pixels; ink found smaller than this in a reduced picture is looked at again, closer
CLOSE_MARGIN = 0.4  # of the ink's longer side, kept around it when looking closer
RING = 0.03  # of the shorter side: the border that shows the paper

FULL_SCALE = 255.0  # grey levels from black to white
MIN_CONTRAST = 15.0  # grey levels; less is a blank sheet
NOISE_FACTOR = 5.0  # ink differs from the paper by more than this many standard deviations of its grain
MASK_LEVEL = 0.2  # of full ink, from which a pixel counts as ink when looking for pieces
GRAIN_CUT = 2.0  # standard deviations of the paper's grain; fainter ink is paper
INK_QUANTILE = 0.1  # of the inked pixels are darker than what counts as full ink, so that no hot pixel sets it
PIECE_SHARE = 0.03  # of the largest piece's ink; smaller pieces are specks
UNEVEN = 5.0  # grey levels, standard deviation of the border from which uneven light is looked for
FULL_INK = 0.6  # of the darkest pixels after scaling down, taken as full ink: thin pens come out solid

_ISOLATED = 4  # pixels: full ink is never judged by fewer
_MAD = 1.4826  # median absolute deviation → standard deviation, for normal noise


class Box(NamedTuple):
    """A rectangle in pixels of the image; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Normalised:
    """One picture, ready for the network.

    Attributes:
        image: (28, 28) float32 in [0, 1], ink 1 on paper 0; all 0 when blank.
        box: where the ink was found, in pixels of the upright picture; None when blank.
        polarity: None when blank.
    """

    image: np.ndarray
    box: Box | None
    polarity: Literal["dark-on-light", "light-on-dark"] | None


BLANK = Normalised(np.zeros((SIDE, SIDE), np.float32), None, None)
BLANK.image.flags.writeable = False


def normalise(source: ImageSource, limits: Limits = Limits()) -> Normalised:  # noqa: B008 (frozen)
    """Find the digit in a picture and lay it out as the networks expect it.

    Args:
        source: a path, the bytes of an image file, a binary file object, a Pillow image, or a NumPy array of shape
            (H, W), (H, W, 3) or (H, W, 4), bool, uint8, uint16 or float in [0, 1].
        limits: largest and smallest image to accept.

    Raises:
        ImageError: it cannot be read as an image; the class says which way.
    """
    picture = decode(source, limits)
    left, top, right, bottom = 0.0, 0.0, float(picture.width), float(picture.height)
    while True:
        grey, step = _reduce(picture, left, top, right, bottom)
        found = _find_ink(grey)
        if found is None and step > 1:  # a speck at this size may be a digit in a huge picture
            grey, step = _reduce(picture, left, top, right, bottom, finer=FINER)
            found = _find_ink(grey)
        if found is None:
            return BLANK
        ink, (x0, y0, x1, y1), polarity = found
        long_side = max(x1 - x0, y1 - y0)
        if step <= 1 or long_side >= CLOSE_SIDE:
            break
        margin = max(CLOSE_MARGIN * long_side, 4.0)
        left, top, right, bottom = (
            max(left, left + (x0 - margin) * step),
            max(top, top + (y0 - margin) * step),
            min(right, left + (x1 + margin) * step),
            min(bottom, top + (y1 + margin) * step),
        )
        left, top, right, bottom = np.floor(left), np.floor(top), np.ceil(right), np.ceil(bottom)
    box = Box(left + x0 * step, top + y0 * step, left + x1 * step, top + y1 * step)
    return Normalised(_lay_out(ink[y0:y1, x0:x1]), Box(*(round(float(v), 2) for v in box)), polarity)


def _reduce(
    picture: Image.Image, left: float, top: float, right: float, bottom: float, *, finer: int = 1
) -> tuple[np.ndarray, float]:
    """A region, area-averaged to at most WORK_SIDE times ``finer``; and how many source pixels a pixel of it is.

    It is (h, w) float32 grey from 0 to 255, not 0 to 1: a file's own levels stay exact, and swapping ink and paper, too.
    """
    width, height = right - left, bottom - top
    step = max(1.0, min(max(width, height) / WORK_SIDE, min(width, height) / WORK_SHORT) / finer)
    if step > 1:
        size = (max(1, round(width / step)), max(1, round(height / step)))
        picture = picture.resize(size, Image.Resampling.BOX, box=(left, top, right, bottom))
    elif (width, height) != picture.size:
        picture = picture.crop((int(left), int(top), int(right), int(bottom)))
    pixels = np.asarray(picture, np.float32)
    return (_grey(pixels) if pixels.ndim == 3 else pixels), step


def _grey(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3) → (h, w) along the first principal axis of the colours, so that red on green of one lightness shows.

    The axis comes from power iteration from grey, which ends on the same axis in any language; it points to lighter.
    The scale keeps black to white 0 to 255.
    """
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2]):
        return pixels[..., 0]
    flat = pixels.reshape(-1, 3)
    centred = flat - flat.mean(axis=0)
    covariance = (centred.T @ centred).astype(np.float64) / len(flat)
    axis = np.full(3, 3**-0.5)
    for _ in range(32):
        image_of_axis = covariance @ axis
        length = np.sqrt(image_of_axis @ image_of_axis)
        if length < 1e-9:
            break
        axis = image_of_axis / length
    if axis.sum() < 0:
        axis = -axis
    return pixels @ (axis * 3**-0.5).astype(np.float32)


def _find_ink(
    grey: np.ndarray,
) -> tuple[np.ndarray, tuple[int, int, int, int], Literal["dark-on-light", "light-on-dark"]] | None:
    """Separate ink from paper: (h, w) float32 ink in [0, 1], bounds (x0, y0, x1, y1), polarity; None when blank."""
    ring = _ring(grey)
    paper: np.ndarray | np.float32 = np.median(ring)
    grain = _MAD * np.median(np.abs(ring - paper))
    if grain > UNEVEN:
        paper, grain = _paper_surface(grey, grain)
    signed = grey - paper
    if isinstance(paper, np.ndarray):
        # In half the light the ink stands out half as much: level that by the contrast that each place has to give.
        room = np.where(signed < 0, paper, FULL_SCALE - paper)
        signed *= np.clip(np.median(room) / np.maximum(room, 1), 0.5, 4)
    floor = max(MIN_CONTRAST, NOISE_FACTOR * float(grain))
    marks = signed[np.abs(signed) >= floor]
    polarity: Literal["dark-on-light", "light-on-dark"] = "light-on-dark" if marks.sum() > 0 else "dark-on-light"
    depth, marks = (signed, marks) if polarity == "light-on-dark" else (-signed, -marks)
    rank = max(_ISOLATED, int(INK_QUANTILE * len(marks)))
    if len(marks) < rank:
        return None
    full = float(np.partition(marks, -rank)[-rank])
    if full < floor:  # what is there lies on the other side of the paper's level
        return None
    keep = _pieces(depth > max(MASK_LEVEL * full, min(floor, 0.5 * full)))
    if keep is None:
        return None
    rows, columns = keep.any(axis=1).nonzero()[0], keep.any(axis=0).nonzero()[0]
    ink = np.clip(depth * np.float32(1 / full), 0, 1)
    if grain > 0:
        ink[ink < GRAIN_CUT * float(grain) / full] = 0
    ink *= _grow(keep)
    return ink, (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1), polarity


def _ring(values: np.ndarray) -> np.ndarray:
    """The pixels of the border, flat."""
    b = max(1, int(RING * min(values.shape) + 0.5))
    return np.concatenate(
        [values[:b].ravel(), values[-b:].ravel(), values[b:-b, :b].ravel(), values[b:-b, -b:].ravel()]
    )


def _paper_surface(grey: np.ndarray, grain: float) -> tuple[np.ndarray | np.float32, float]:
    """The paper under uneven light: a quadratic surface through the pixels that are paper, and the grain around it.

    Iteratively reweighted least squares with Tukey's biweight (A. Beaton and J. Tukey, 1974, doi:10.2307/1267936),
    first on the border, which is mostly paper, then on the whole picture, where ink is the outlier.
    """
    h, w = grey.shape
    stride = max(1, max(h, w) // 64)
    sample = grey[::stride, ::stride]
    y, x = np.meshgrid(
        np.arange(0, h, stride, np.float32) * (2 / h) - 1,
        np.arange(0, w, stride, np.float32) * (2 / w) - 1,
        indexing="ij",
    )
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    values, design = sample.ravel().astype(np.float64), terms.reshape(-1, 6).astype(np.float64)
    edge = np.ones(sample.shape, bool)
    edge[2:-2, 2:-2] = False
    chosen, scale = edge.ravel(), max(3 * float(grain), 0.1 * FULL_SCALE)
    coefficients = np.zeros(6)
    coefficients[0] = np.median(values[chosen])
    for step in range(12):
        if step == 6:
            chosen = np.ones(values.size, bool)
        residual = values[chosen] - design[chosen] @ coefficients
        if step:
            scale = max(4 * _MAD * float(np.median(np.abs(residual))), 0.01 * FULL_SCALE)
        weight = np.clip(1 - (residual / scale) ** 2, 0, None) ** 2
        weighted = design[chosen] * weight[:, None]
        coefficients = np.linalg.solve(weighted.T @ design[chosen] + 1e-6 * np.eye(6), weighted.T @ values[chosen])
    y, x = np.arange(h) * (2 / h) - 1, np.arange(w) * (2 / w) - 1
    c = coefficients
    surface = (c[0] + c[2] * y + c[5] * y * y)[:, None] + (c[1] * x + c[4] * x * x)[None] + c[3] * y[:, None] * x[None]
    surface = surface.astype(np.float32)
    ring = _ring(grey - surface)
    return surface, _MAD * float(np.median(np.abs(ring)))


def _pieces(mask: np.ndarray) -> np.ndarray | None:
    """The mask without specks: 8-connected pieces of at least PIECE_SHARE of the largest; None when nothing is left.

    Works on runs of a row instead of pixels: two runs of neighbouring rows that touch are joined, and every run takes
    the smallest label among its neighbours until nothing changes (pointer jumping keeps that to a few rounds).
    """
    h, w = mask.shape
    padded = np.zeros((h, w + 2), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded.ravel())
    starts, ends = (change == 1).nonzero()[0], (change == -1).nonzero()[0]
    if not len(starts):
        return None
    stride = w + 2
    # A run [s, e) touches those of the next row that end after s - 1 and start before e + 1 there.
    first = np.searchsorted(ends, starts + stride, side="left")
    last = np.searchsorted(starts, ends + stride, side="right")
    counts = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), counts)
    lower = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    label = np.arange(len(starts))
    while True:
        before = label.copy()
        smallest = np.minimum(label[upper], label[lower])
        np.minimum.at(label, label[upper], smallest)
        np.minimum.at(label, label[lower], smallest)
        np.minimum.at(label, upper, smallest)
        np.minimum.at(label, lower, smallest)
        label = label[label]
        if np.array_equal(label, before):
            break
    area = np.bincount(label, weights=ends - starts, minlength=len(starts))
    good = area[label] >= max(PIECE_SHARE * area.max(), 2 if mask.size > SIDE * SIDE else 1)
    if good.all():
        return mask
    if not good.any():
        return None
    steps = np.zeros(padded.size, np.int8)
    steps[starts[good] + 1] = 1
    steps[ends[good] + 1] = -1
    return np.cumsum(steps, dtype=np.int8).reshape(h, stride)[:, 1:-1].astype(bool)


def _grow(mask: np.ndarray) -> np.ndarray:
    """The mask and its neighbours, so that the soft edge of the ink is kept."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    grown = wide.copy()
    grown[:, 1:] |= wide[:, :-1]
    grown[:, :-1] |= wide[:, 1:]
    return grown


def _lay_out(ink: np.ndarray) -> np.ndarray:
    """Ink cropped to its bounds, any (h, w) → (28, 28): into a 20×20 box, area-averaged, by its centre of mass."""
    h, w = ink.shape
    scale = max(h, w) / BOX_SIDE
    if scale != 1:
        rows, columns = max(1, int(h / scale + 0.5)), max(1, int(w / scale + 0.5))
        ink = _resampling(h, rows) @ ink @ _resampling(w, columns).T
        # Scaled down, a thin pen's line fades to grey; MNIST's lines are solid.
        peak = np.partition(ink, -_ISOLATED, axis=None)[-_ISOLATED:].mean() if ink.size >= _ISOLATED else ink.max()
        if peak < 1:
            ink = np.minimum(ink * np.float32(1 / (peak * (FULL_INK + (1 - FULL_INK) * peak))), 1)
    h, w = ink.shape
    mass = ink.sum()
    y = int((np.arange(h) @ ink.sum(axis=1)) / mass + 0.5)
    x = int((np.arange(w) @ ink.sum(axis=0)) / mass + 0.5)
    top, left = min(max(CENTRE - y, 0), SIDE - h), min(max(CENTRE - x, 0), SIDE - w)
    out = np.zeros((SIDE, SIDE), np.float32)
    out[top : top + h, left : left + w] = ink
    return out


def _resampling(size: int, to: int) -> np.ndarray:
    """(to, size) float32 weights that resample a line: area average when scaling down, linear when scaling up."""
    scale = size / to
    if scale >= 1:
        edge = np.arange(to + 1) * scale
        low, high = edge[:-1, None], edge[1:, None]
        pixel = np.arange(size)[None]
        weights = np.clip(np.minimum(pixel + 1, high) - np.maximum(pixel, low), 0, None)
    else:
        centre = np.clip((np.arange(to)[:, None] + 0.5) * scale - 0.5, 0, size - 1)
        weights = np.clip(1 - np.abs(np.arange(size)[None] - centre), 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
