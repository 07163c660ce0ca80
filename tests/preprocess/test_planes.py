"""The input of the network that finds ink, against its definition."""

import numpy as np
import pytest

from inkdigits.preprocess.planes import EXTREME, FAINTEST, MOST, NEAR, planes


@pytest.mark.parametrize("shape", [(160, 160), (40, 160), (16, 16), (31, 17)])
@pytest.mark.parametrize("power", [0.3, 3])
def test_planes_equal_their_definition(shape, power):
    grey = np.rint(255 * np.random.default_rng(0).random(shape) ** power).astype(np.float32)
    whole, local = planes(grey)
    levels = np.sort(grey.ravel())
    k = int(EXTREME * (levels.size - 1))
    low, middle, high = levels[k], np.median(levels), levels[-1 - k]
    sign = -1 if high - middle > middle - low else 1  # as if the darkest pixels were farther from the median
    assert sign == (-1 if power > 1 else 1)
    assert np.allclose(whole, sign * (grey - middle) / (high - low), atol=1e-6)
    for y, x in [(0, 0), (shape[0] - 1, 3), (shape[0] // 2, shape[1] // 2)]:
        near = grey[max(y - NEAR, 0) : y + NEAR + 1, max(x - NEAR, 0) : x + NEAR + 1].astype(float)
        expected = sign * (grey[y, x] - near.mean()) / max(near.std(), FAINTEST)
        assert local[y, x] == pytest.approx(np.clip(expected, -MOST, MOST), abs=1e-4)


def test_planes_ignore_brightness_contrast_and_polarity():
    grey = np.rint(100 + 100 * np.random.default_rng(0).random((64, 48)) ** 0.5).astype(np.float32)
    assert np.allclose(planes(grey), planes(0.5 * grey + 20), atol=1e-5)
    assert np.allclose(planes(grey), planes(255 - grey), atol=1e-5)
    assert not planes(np.full((20, 20), 77, np.float32)).any()
