"""Turn any picture into 28×28 pixels in MNIST's layout, ink 1 on paper 0. Every digit is preprocessed here.

A picture is decoded first (:mod:`.decode`, :mod:`.files`). :func:`preprocess_picture` then takes four steps:

1. grey        reduce the picture; project its colors on the axis along which they vary most
2. ink         find the ink: on clean paper by thresholds (:mod:`.paper`), else by a network (:mod:`.planes`)
3. components  choose the connected components of the digit, without specks and pieces of neighbors
4. layout      scale the ink to 20×20 and move its center of mass to the center of 28×28, as MNIST does

Small ink in a large picture is processed again at a higher resolution. 28×28 pictures of 8-bit grey are processed in
batches by :mod:`.fast28`, bit for bit the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from PIL import Image

from inkdigits.errors import ImageError
from inkdigits.prediction import SIDE, Box
from inkdigits.preprocess.components import Ink
from inkdigits.preprocess.decode import ImageSource, decode
from inkdigits.preprocess.fast28 import Plain28, preprocess28
from inkdigits.preprocess.files import Limits
from inkdigits.preprocess.grey import Region, closer, to_grey
from inkdigits.preprocess.ink import find_ink
from inkdigits.preprocess.layout import BLANK, NORMALIZATION_VERSION, Preprocessed, lay_out

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
    """Seconds spent on decoding, and on the four steps after it."""

    decode: float = 0.0
    normalize: float = 0.0


def preprocess(image: ImageSource, limits: Limits = Limits()) -> Preprocessed:  # noqa: B008 (frozen)
    """Find the digit in a picture and lay it out as the networks expect.

    Args:
        image: a path, the bytes of an image file, a binary file object, a Pillow image, or a NumPy array of shape
            (H, W), (H, W, 3) or (H, W, 4), bool, uint8, uint16 or float in [0, 1].
        limits: largest and smallest image to accept.

    Raises:
        ImageError: the image cannot be read; the subclass says why.
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
    """Preprocess images, in order; an image that cannot be read gives its error instead.

    Args:
        spent: the seconds that this took are added to it.
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
        if not plain.add(place, picture):  # now, so that only one large picture is in memory
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
    """Take the four steps for a picture from :func:`.decode.decode`."""
    region: Region = (0, 0, *picture.size)
    finer = False
    while True:
        grey, step = to_grey(picture, region, finer=finer)
        found = find_ink(grey)
        if found.inks:
            again = closer(region, found.inks[0].bounds, step / found.times)
            if again is None:
                otherwise = _laid_out(found.otherwise, region, step) if found.otherwise else None
                return replace(_laid_out(found.inks, region, step / found.times), otherwise=otherwise)
            region, finer = again, False
        elif step > 1 and not finer:
            finer = True  # a speck at this resolution may be a digit in a huge picture
        else:
            return BLANK


def _laid_out(inks: Sequence[Ink], region: Region, step: float) -> Preprocessed:
    """Lay out ink and its parts, the rest of the inks."""
    whole, *parts = inks
    left, top, right, bottom = region
    x0, y0, x1, y1 = whole.bounds
    # The last pixel of a strip that was reduced to few pixels may reach beyond its edge.
    box = (left + x0 * step, top + y0 * step, min(left + x1 * step, right), min(top + y1 * step, bottom))
    laid_out = tuple(_laid_out([part], region, step) for part in parts)
    return Preprocessed(lay_out(whole.cover), Box(*(round(float(v), 2) for v in box)), whole.polarity, laid_out)
