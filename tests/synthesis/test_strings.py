"""Numbers of several digits: whole after preprocessing, at all distances, the same for the same generator."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits

from inkdigits.preprocess import preprocess
from inkdigits.synthesis.strings import GAPS, cover_of, cropped, number, number_picture

DIGITS, LABELS = load_digits(return_X_y=True)
ZEROS = [
    np.kron(image.reshape(8, 8), np.ones((3, 3))).astype(np.uint8) * 15
    for image, label in zip(DIGITS, LABELS, strict=True)
    if label == 0
]
ANGLE = np.linspace(0, 2 * np.pi, 30)
RING = (np.stack([100 + 60 * np.cos(ANGLE), 200 + 100 * np.sin(ANGLE)], axis=1),)


def rings(image):
    """How many pieces of paper the ink encloses."""
    return ndimage.label(np.pad(image, 1) < 0.3)[1] - 1


@pytest.mark.parametrize("source", [ZEROS[0], RING])
def test_cover_has_the_height_and_slant_that_were_asked_for(source):
    upright = cover_of(source, 60, 6, 0.0)
    assert max(upright.shape) == pytest.approx(60, abs=2)
    assert rings(upright) == 1
    slanted = cover_of(RING, 60, 6, 0.3)
    top, bottom = (np.average(np.arange(slanted.shape[1]), weights=slanted[rows]) for rows in (3, -3))
    assert top > bottom  # to the right


@pytest.mark.parametrize("count", [2, 3])
def test_every_digit_is_left_at_every_distance(count):
    """As many rings as zeros were written, but for those that a thick pen or few pixels close."""
    whole = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sources = [RING] * count
        cover = number(sources, np.random.default_rng(seed))
        assert rings(cover) >= count - 1  # touching rings may enclose one more, or overlap
        picture, written = number_picture(sources, rng)
        np.testing.assert_array_equal(written, cover)
        ink = cropped(preprocess(picture).image)
        whole += ink.shape[1] / ink.shape[0] == pytest.approx(cover.shape[1] / cover.shape[0], rel=0.3)
    assert whole >= 50


def test_distances_reach_from_touching_to_more_than_a_width():
    apart = []
    for seed in range(80):
        columns = (number([RING, RING], np.random.default_rng(seed)) > 0.25).any(axis=0)
        between = np.flatnonzero(~columns)
        apart.append(len(between) / (len(columns) - len(between)) * 2)
    assert min(apart) == 0
    assert 0.9 < max(apart) < 1.3 * GAPS[1]


def test_the_same_generator_gives_the_same_image():
    first, again = (number_picture([RING, ZEROS[1]], np.random.default_rng(3))[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
