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
from typing import Literal

import numpy as np
from PIL import Image

from inkdigits.decode import ImageSource, Limits, decode
from inkdigits.ink import find_ink
from inkdigits.prediction import Box

__all__ = [
    "NORMALISATION_VERSION",
    "SIDE",
    "Box",
    "ImageSource",
    "Limits",
    "Normalised",
    "normalise",
    "normalise_picture",
]

NORMALISATION_VERSION = "2"  # changes when pictures that models learn from would give other pixels: 24 and more a side

SIDE = 28  # pixels, of what the network sees
BOX_SIDE = 20  # pixels, that the ink is scaled to fit
CENTRE = 14  # pixel index that the centre of mass is rounded to, in MNIST's own files too

WORK_SIDE = 160  # pixels, the longer side a picture is looked at with
WORK_SHORT = 32  # pixels that the shorter side keeps, where it has them: a strip is not reduced to a line
FINER = 5  # times finer is a picture looked at in which nothing was found
# Most pixels that a picture is looked at with, and finer: a strip is reduced further when it is longer than 25 times
# its height. So the longest one costs no more than a square.
WORK_PIXELS = 4 * WORK_SIDE**2
FINER_PIXELS = (FINER * WORK_SIDE) ** 2
CLOSE_SIDE = 56  # pixels; ink found smaller than this in a reduced picture is looked at again, closer
CLOSE_MARGIN = 0.4  # of the ink's longer side, kept around it when looking closer
FULL_INK = 0.6  # of the darkest pixels after scaling down, taken as full ink: thin pens come out solid

_ISOLATED = 4  # pixels: the peak is never judged by fewer
TIE = 1e-5  # pixels: a symmetric digit's centre lies between two, and goes to the same one whatever sums round to


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
    return normalise_picture(decode(source, limits))


def normalise_picture(picture: Image.Image) -> Normalised:
    """:func:`normalise`, of a picture as :func:`inkdigits.decode.decode` gives it."""
    left, top, right, bottom = 0.0, 0.0, float(picture.width), float(picture.height)
    while True:
        grey, step = _reduce(picture, left, top, right, bottom)
        found = find_ink(grey)
        if found is None and step > 1:  # a speck at this size may be a digit in a huge picture
            grey, step = _reduce(picture, left, top, right, bottom, finer=FINER)
            found = find_ink(grey)
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
    # A pixel may reach beyond a strip that was reduced to few of them.
    box = Box(left + x0 * step, top + y0 * step, min(left + x1 * step, right), min(top + y1 * step, bottom))
    return Normalised(lay_out(ink), Box(*(round(float(v), 2) for v in box)), polarity)


def _reduce(
    picture: Image.Image, left: float, top: float, right: float, bottom: float, *, finer: int = 1
) -> tuple[np.ndarray, float]:
    """A region, area-averaged to WORK_SIDE times ``finer`` or so; and how many source pixels a pixel of it is.

    It is (h, w) float32 grey, 0 to 255 and not 0 to 1, which keeps a file's own levels exact, swapped or not.
    """
    width, height = right - left, bottom - top
    most = WORK_PIXELS if finer == 1 else FINER_PIXELS
    step = max(
        1.0,
        min(max(width, height) / WORK_SIDE, min(width, height) / WORK_SHORT) / finer,
        (width * height / most) ** 0.5,
        max(width, height) * WORK_SHORT / most,  # one thinner than WORK_SHORT is no longer either
    )
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


def lay_out(ink: np.ndarray) -> np.ndarray:
    """Ink cropped to its bounds, any (h, w) → (28, 28): into a 20×20 box, area-averaged, by its centre of mass."""
    h, w = ink.shape
    scale = max(h, w) / BOX_SIDE
    if scale != 1:
        rows, columns = max(1, int(h / scale + 0.5)), max(1, int(w / scale + 0.5))
        ink = _resampling(h, rows) @ ink @ _resampling(w, columns).T
        # Scaled down, a thin pen's line fades to grey; MNIST's lines are solid.
        peak = np.partition(ink, -_ISOLATED, axis=None)[-_ISOLATED:].mean() if ink.size >= _ISOLATED else ink.max()
        if peak < 1:
            ink = ink * np.float32(1 / (peak * (FULL_INK + (1 - FULL_INK) * peak)))
        ink = np.minimum(ink, 1)  # rounding may go beyond by a bit, too
    h, w = ink.shape
    mass = ink.sum()
    y = int((np.arange(h) @ ink.sum(axis=1)) / mass + 0.5 + TIE)
    x = int((np.arange(w) @ ink.sum(axis=0)) / mass + 0.5 + TIE)
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
    shares: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
