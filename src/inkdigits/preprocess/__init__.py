"""Any picture → 28×28 as MNIST's digits lie, ink 1 on paper 0. The one door: every digit that is read comes through it.

A picture is decoded first (:mod:`.decode`, :mod:`.files`). Then five steps, each a call of :func:`preprocess_picture`:

1. grey        the picture reduced, its colors along the axis on which they vary most
2. background  how far each pixel lies above its paper: one level, or a smooth surface where the light is uneven
3. segment     what is ink, on the heavier side of the paper's level
4. components  the connected pieces that are the digit, without ruled lines and specks
5. layout      MNIST's own: scaled into 20×20, its center of mass at the center of 28×28

A small find in a large picture is looked at again, closer. 28×28 pictures of 8-bit grey take the steps together
(:mod:`.fast28`), to the same bits. Swapping ink and paper changes nothing but the polarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from PIL import Image

from inkdigits.errors import ImageError
from inkdigits.prediction import SIDE, Box
from inkdigits.preprocess.background import background
from inkdigits.preprocess.components import components
from inkdigits.preprocess.decode import ImageSource, decode
from inkdigits.preprocess.fast28 import Plain28, preprocess28
from inkdigits.preprocess.files import Limits
from inkdigits.preprocess.grey import Region, closer, to_grey
from inkdigits.preprocess.layout import BLANK, NORMALIZATION_VERSION, Preprocessed, lay_out
from inkdigits.preprocess.segment import segment

__all__ = [
    "NORMALIZATION_VERSION",
    "SIDE",
    "ImageSource",
    "Limits",
    "Preprocessed",
    "Spent",
    "preprocess",
    "preprocess_batch",
    "preprocess_picture",
]


@dataclass(slots=True)
class Spent:
    """Seconds that pictures took: to decode, and for the steps after that."""

    decode: float = 0.0
    normalize: float = 0.0


def preprocess(image: ImageSource, limits: Limits = Limits()) -> Preprocessed:  # noqa: B008 (frozen)
    """Find the digit in a picture and lay it out as the networks expect it.

    Args:
        image: a path, the bytes of an image file, a binary file object, a Pillow image, or a NumPy array of shape
            (H, W), (H, W, 3) or (H, W, 4), bool, uint8, uint16 or float in [0, 1].
        limits: largest and smallest image to accept.

    Raises:
        ImageError: it cannot be read as an image; the class says which way.
    """
    [seen] = preprocess_batch([image], limits)
    if isinstance(seen, ImageError):
        raise seen
    return seen


def preprocess_batch(
    images: Sequence[ImageSource],
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    spent: Spent | None = None,
) -> list[Preprocessed | ImageError]:
    """:func:`preprocess` each image, in order; its error stands in place of one that cannot be read.

    Args:
        spent: gets what this took added.
    """
    seen: list[Any] = [None] * len(images)
    plain = Plain28(len(images))
    spent = spent or Spent()
    start, steps = perf_counter(), 0.0
    for place, image in enumerate(images):
        if plain.take(place, image, limits):
            continue
        try:
            picture = decode(image, limits)
        except ImageError as error:
            seen[place] = error
            continue
        if not plain.add(place, picture):  # at once, so that one large picture is held at a time
            decoded = perf_counter()
            seen[place] = preprocess_picture(picture)
            steps += perf_counter() - decoded
    levels = plain.levels()
    decoded = perf_counter()
    for place, grey, found in zip(plain.places, levels, preprocess28(levels), strict=True):
        seen[place] = found or preprocess_picture(Image.fromarray(grey))
    spent.decode += decoded - start - steps
    spent.normalize += perf_counter() - decoded + steps
    return seen


def preprocess_picture(picture: Image.Image) -> Preprocessed:
    """Take the five steps, of a picture as :func:`.decode.decode` gives it."""
    region: Region = (0, 0, *picture.size)
    finer = False
    while True:
        grey, step = to_grey(picture, region, finer=finer)
        relief = background(grey)
        marks = segment(relief)
        ink = components(marks) if marks else None
        if ink:
            again = closer(region, ink.bounds, step)
            if again is None:
                return Preprocessed(lay_out(ink.cover), _box(region, ink.bounds, step), ink.polarity)
            region, finer = again, False
        elif step > 1 and not finer:
            finer = True  # a speck at this size may be a digit in a huge picture
        else:
            return BLANK


def _box(region: Region, bounds: tuple[int, int, int, int], step: float) -> Box:
    left, top, right, bottom = region
    x0, y0, x1, y1 = bounds
    # A pixel may reach beyond a strip that was reduced to few of them.
    box = (left + x0 * step, top + y0 * step, min(left + x1 * step, right), min(top + y1 * step, bottom))
    return Box(*(round(float(v), 2) for v in box))
