"""Step 1, grey: reduce a region of a picture, and mix its colors to the channel that shows the ink best."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from PIL import Image

__all__ = ["Region", "closer", "reduced", "to_grey"]

WORK_SIDE = 160  # pixels, the longer side of a reduced picture
WORK_SHORT = 32  # pixels that the shorter side keeps, if it has them: a strip is not reduced to a line
FINER = 5  # times the resolution, for a second pass over a picture in which nothing was found
# Most pixels of a reduced picture, in the first and the finer pass: a strip longer than 25 times its height is reduced
# further, so that the longest one costs no more than a square.
WORK_PIXELS = 4 * WORK_SIDE**2
FINER_PIXELS = (FINER * WORK_SIDE) ** 2
GAP = 2  # times the wanted size, that a larger picture is first reduced to by whole factors, which is faster
CLOSE_SIDE = 56  # pixels; smaller ink in a reduced picture is processed again at a higher resolution
CLOSE_MARGIN = 0.4  # of the ink's longer side, kept around it then

Region = tuple[float, float, float, float]  # left, top, right, bottom in pixels, integers, right and bottom exclusive


def to_grey(picture: Image.Image, region: Region, *, finer: bool = False) -> tuple[np.ndarray, float]:
    """Area-average a region to about :data:`WORK_SIDE`, or :data:`FINER` times that, and mix its colors to grey.

    Returns:
        (h, w) float32 grey, 0 to 255, not 0 to 1, so that a file's levels stay exact, swapped or not; and the pixels of
        the picture per pixel of it.
    """
    left, top, right, bottom = region
    width, height = right - left, bottom - top
    scale, most = (FINER, FINER_PIXELS) if finer else (1, WORK_PIXELS)
    step = max(
        1.0,
        min(max(width, height) / WORK_SIDE, min(width, height) / WORK_SHORT) / scale,
        (width * height / most) ** 0.5,
        max(width, height) * WORK_SHORT / most,  # bounds the length of a strip thinner than WORK_SHORT, too
    )
    if step == 1 and (width, height) != picture.size:
        picture = picture.crop((int(left), int(top), int(right), int(bottom)))
    return _grey(picture, step, region), step


def reduced(picture: Image.Image, side: int, pixels: int) -> tuple[np.ndarray, float]:
    """Area-average a picture to at most ``side`` pixels of its longer side, and ``pixels`` of all, and mix its colors.

    Returns:
        As :func:`to_grey`.
    """
    width, height = picture.size
    step = max(1.0, max(width, height) / side, (width * height / pixels) ** 0.5)
    return _grey(picture, step, (0, 0, width, height)), step


def _grey(picture: Image.Image, step: float, region: Region) -> np.ndarray:
    if step > 1:
        left, top, right, bottom = region
        size = (max(1, round((right - left) / step)), max(1, round((bottom - top) / step)))
        picture = picture.resize(size, Image.Resampling.BOX, box=region, reducing_gap=GAP)
    pixels = np.asarray(picture, np.float32)
    return _mixed(pixels) if pixels.ndim == 3 else pixels


def closer(region: Region, bounds: tuple[int, int, int, int], step: float) -> Region | None:
    """Return the region around ink that is too small in a reduced picture; None if the ink is large enough.

    Args:
        region: the region that was reduced.
        bounds: x0, y0, x1, y1 of the ink, in pixels of the reduced picture.
        step: pixels of the picture per pixel of the reduced one.
    """
    left, top, right, bottom = region
    x0, y0, x1, y1 = bounds
    long_side = max(x1 - x0, y1 - y0)
    if step <= 1 or long_side >= CLOSE_SIDE:
        return None
    margin = max(CLOSE_MARGIN * long_side, 4.0)
    return (
        floor(max(left, left + (x0 - margin) * step)),
        floor(max(top, top + (y0 - margin) * step)),
        ceil(min(right, left + (x1 + margin) * step)),
        ceil(min(bottom, top + (y1 + margin) * step)),
    )


def _mixed(pixels: np.ndarray) -> np.ndarray:
    """Project (h, w, 3) colors on their first principal axis, so that red on green of the same lightness is visible.

    Power iteration starts from grey, so it ends on the same axis in every language. The axis points to lighter colors.
    The scale maps black to 0 and white to 255.
    """
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2]):
        return pixels[..., 0]
    flat = pixels.reshape(-1, 3)
    centered = flat - flat.mean(axis=0)
    covariance = (centered.T @ centered).astype(np.float64) / len(flat)
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
