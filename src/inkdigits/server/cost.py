"""What the images of a request cost: by their pixels and formats, before any of them is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from inkdigits.errors import ImageError
from inkdigits.preprocess import SIDE
from inkdigits.preprocess.files import JPEG, pixels_of, scans_of
from inkdigits.server.http.problems import TOO_MANY_IMAGES, Problem

__all__ = ["BATCH", "HEAVY_PIXELS", "REQUEST_IMAGES", "Source", "check_pixels", "is_heavy", "load_of", "parts_of"]

BATCH = 64  # most images of a network run; more leave the cache, and gain nothing
INLINE_IMAGES = 8  # of a request; with more it is heavy
HEAVY_PIXELS = 512 * 512  # of a request's images; with more it is heavy
PART_PIXELS = BATCH * SIDE * SIDE  # of a request's images that are read before it is looked how long that took
# Images of a request may have so many pixels together, in the largest images that there may be. In that time a JPEG of
# one scan or a few is decoded; other formats take up to three times as long, and so does one of many scans.
REQUEST_IMAGES = 4
OTHER_FORMATS = 3
PLAIN_SCANS = 16

Source = bytes | np.ndarray  # the bytes of an image's file, or its pixels


def is_heavy(load: int) -> bool:
    """Return whether images of this load take a place among the large requests."""
    return load > HEAVY_PIXELS


def load_of(sources: Sequence[Source]) -> int:
    """Return the pixels of a request's images, by which it is decided where they are read."""
    return HEAVY_PIXELS + 1 if len(sources) > INLINE_IMAGES else sum(map(pixels_of, sources))


def parts_of(sources: Sequence[Source]) -> Iterator[Sequence[Source]]:
    """Yield the images of a request in turn: as many at a time as are not large together, or one that is."""
    start = pixels = 0
    for i, source in enumerate(sources):
        size = pixels_of(source)
        if i > start and (pixels + size > PART_PIXELS or i - start == BATCH):
            yield sources[start:i]
            start, pixels = i, 0
        pixels += size
    if sources:
        yield sources[start:]


def check_pixels(sources: Sequence[Source], max_pixels: int) -> None:
    """Reject images that take too long together, each of which may be read.

    Args:
        max_pixels: of one image.

    Raises:
        Problem: they do.
    """
    most = max(REQUEST_IMAGES * max_pixels, HEAVY_PIXELS)
    # One that is too large by itself gets an error of its own, and costs nothing.
    cost = sum(pixels * _weight(source) for source in sources if (pixels := pixels_of(source)) <= max_pixels)
    if cost > most:
        raise Problem(
            TOO_MANY_IMAGES,
            f"decoding this request takes as long as {cost:,.0f} pixels of JPEG, where other formats count "
            f"{OTHER_FORMATS} times; at most {most:,} are read at once: send fewer images, or smaller ones",
        )


def _weight(source: Source) -> float:
    """Return how many times as long as a JPEG of one scan a picture takes, by its format."""
    if isinstance(source, np.ndarray):
        return 1
    try:
        scans = scans_of(source) if source.startswith(JPEG) else 0
    except ImageError:  # reported when it is read
        return 1
    return max(1, scans / PLAIN_SCANS) if scans else OTHER_FORMATS
