"""Estimates the cost of a request's images from their sizes and formats, before any is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from inkdigits.errors import ImageError
from inkdigits.preprocess import SIDE
from inkdigits.preprocess.files import JPEG, pixels_of, scans_of
from inkdigits.reading.ink import PAGE_PIXELS
from inkdigits.server.http.problems import TOO_MANY_IMAGES, Problem

__all__ = [
    "BATCH",
    "HEAVY_PIXELS",
    "PAGE_PIXELS",
    "READING",
    "REQUEST_IMAGES",
    "Source",
    "check_pixels",
    "is_heavy",
    "load_of",
    "parts_of",
]

BATCH = 64  # maximum number of images in a network run; more do not fit the cache and gain nothing
INLINE_IMAGES = 8  # of a request; one with more is heavy
HEAVY_PIXELS = 512 * 512  # of a request's images; a request with more is heavy
PART_PIXELS = BATCH * SIDE * SIDE  # of a request's images that are processed before the time is checked
# All images of a request may have as many pixels as this many images of the maximum size. That is the cost of a JPEG of
# few scans; other formats take up to three times as long, and so does a JPEG of many scans.
REQUEST_IMAGES = 4
OTHER_FORMATS = 3
PLAIN_SCANS = 16
# Reading numbers takes as long as decoding this many pixels of such a JPEG for each pixel of the page that is searched.
READING = 8

Source = bytes | np.ndarray  # the bytes of an image's file, or its pixels


def is_heavy(load: int) -> bool:
    """Return whether images of this load count as a large request."""
    return load > HEAVY_PIXELS


def load_of(sources: Sequence[Source]) -> int:
    """Return the pixels of a request's images, which decide where they are processed."""
    return HEAVY_PIXELS + 1 if len(sources) > INLINE_IMAGES else sum(map(pixels_of, sources))


def parts_of(sources: Sequence[Source]) -> Iterator[Sequence[Source]]:
    """Yield the images of a request in parts: several that are small together, or one that is large."""
    start = pixels = 0
    for i, source in enumerate(sources):
        size = pixels_of(source)
        if i > start and (pixels + size > PART_PIXELS or i - start == BATCH):
            yield sources[start:i]
            start, pixels = i, 0
        pixels += size
    if sources:
        yield sources[start:]


def check_pixels(sources: Sequence[Source], max_pixels: int, *, numbers: bool = False) -> None:
    """Reject images that take too long in total, though each is small enough.

    Args:
        max_pixels: limit for one image.
        numbers: whether they are read for numbers.

    Raises:
        Problem: they take too long.
    """
    most = max(REQUEST_IMAGES * max_pixels, HEAVY_PIXELS)
    # An image that is too large by itself gets its own error, and costs nothing.
    sizes = [(pixels, source) for source in sources if (pixels := pixels_of(source)) <= max_pixels]
    cost = sum(pixels * _weight(source) for pixels, source in sizes)
    if numbers:
        cost += sum(READING * min(pixels, PAGE_PIXELS) for pixels, _ in sizes)
    if cost > most:
        raise Problem(
            TOO_MANY_IMAGES,
            f"{'reading' if numbers else 'decoding'} this request takes as long as {cost:,.0f} pixels of JPEG, where "
            f"other formats count {OTHER_FORMATS} times; the limit is {most:,}: send fewer images, or smaller ones",
        )


def _weight(source: Source) -> float:
    """Return the cost per pixel of an image, by its format, relative to a JPEG of few scans."""
    if isinstance(source, np.ndarray):
        return 1
    try:
        scans = scans_of(source) if source.startswith(JPEG) else 0
    except ImageError:  # reported when it is decoded
        return 1
    return max(1, scans / PLAIN_SCANS) if scans else OTHER_FORMATS
