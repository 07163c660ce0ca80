"""The input of the network that finds ink: a grey picture as two planes, without its brightness and contrast."""

from __future__ import annotations

import numpy as np

__all__ = ["PLANES", "planes"]

PLANES = 2
EXTREME = 0.01  # share of the pixels that are darker, or lighter, than the range of the whole picture
NEAR = 15  # pixels to each side that the local contrast is taken over
FAINTEST = 3.0  # grey levels; a smaller deviation is taken as this one, so that noise does not fill the range
MOST = 4.0  # standard deviations, or ranges of the picture, to which values are clipped


def planes(grey: np.ndarray) -> np.ndarray:
    """Return a picture relative to all of it, and relative to the surroundings of each pixel.

    A picture and its negative give the same planes: those of the one whose darkest pixels are farther from the median.

    Args:
        grey: (h, w) float32, 0 to 255.

    Returns:
        (2, h, w) float32: grey less the median, as a share of the range; grey less the local mean, in local standard
        deviations.
    """
    n, k = grey.size, int(EXTREME * (grey.size - 1))
    levels = np.partition(grey, sorted({k, (n - 1) // 2, n // 2, n - 1 - k}), axis=None)
    low, high = float(levels[k]), float(levels[n - 1 - k])
    middle = (float(levels[(n - 1) // 2]) + float(levels[n // 2])) / 2
    centered = grey.astype(np.float64) - middle  # small sums, so that the difference of squares stays exact
    if high - middle > middle - low:
        centered = -centered
    whole = centered.astype(np.float32) * np.float32(1 / max(high - low, FAINTEST))
    mean = _near_mean(centered)
    deviation = np.sqrt(np.maximum(_near_mean(centered * centered) - mean * mean, FAINTEST**2))
    local = (centered - mean) / deviation
    both: np.ndarray = np.clip(np.stack([whole, local.astype(np.float32)]), -MOST, MOST)
    return both


def _near_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of the square of ``2 * NEAR + 1`` pixels around each pixel, within the picture."""
    for axis in (0, 1):
        n = values.shape[axis]
        total = np.concatenate([np.zeros_like(values.take([0], axis)), np.cumsum(values, axis=axis)], axis=axis)
        at = np.arange(n)
        first, last = np.maximum(at - NEAR, 0), np.minimum(at + NEAR + 1, n)
        count = (last - first).reshape((n, 1) if axis == 0 else (1, n))
        values = total.take(last, axis)
        values -= total.take(first, axis)
        values /= count
    return values
