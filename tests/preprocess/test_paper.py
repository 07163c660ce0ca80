"""Paper of one level: which pictures have it, and thresholds that separate its ink."""

import numpy as np
import pytest

from inkdigits.preprocess.paper import GRAINY, LARGE, MIN_CONTRAST, TINY, border, level_paper, threshold

from support.drawings import DIGITS, picture

SIDE = 100


def sheet(level=200.0, side=SIDE):
    return np.full((side, side), level, np.float32)


@pytest.mark.parametrize("level", [0.0, 90.0, 255.0])
def test_an_empty_sheet_is_clean_and_blank(level):
    paper = level_paper(sheet(level))
    assert paper == (level, 0.0, True)
    assert threshold(sheet(level), paper) is None


def test_what_touches_the_border_makes_it_level_but_not_clean():
    grey = sheet()
    grey[40:44, :] = 60
    assert level_paper(grey) == (200.0, 0.0, False)
    small = sheet(side=LARGE - 1)
    small[10:14, :] = 60
    assert level_paper(small) == (200.0, 0.0, True), "it is ink there"


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_border_varies_by_no_more_than_the_least_contrast(sign):
    grey = sheet(120)
    grey[0, 5] += sign * MIN_CONTRAST
    assert level_paper(grey).is_clean
    grey[0, 5] += sign
    assert not level_paper(grey).is_clean


def test_marks_of_both_signs_on_the_border_are_not_level():
    grey = sheet()
    grey[0, 3:9], grey[-1, 3:9] = 100, 255
    assert level_paper(grey) is None


@pytest.mark.parametrize("spread", [0.5, 1.5, 2.0, 3.5, 6])
def test_grain_is_measured_and_bounded(spread):
    grain = np.random.default_rng(0).normal(0, spread, (SIDE, SIDE)).astype(np.float32)
    paper = level_paper(128 + np.clip(grain, -14, 14))
    if spread > GRAINY:
        assert paper is None
    else:
        assert paper.grain == pytest.approx(spread, rel=0.15)


def test_tiny_pictures_are_always_clean():
    noise = np.random.default_rng(0).integers(0, 256, (TINY - 1, TINY - 1)).astype(np.float32)
    assert level_paper(noise).is_clean


@pytest.mark.parametrize("digit", DIGITS)
def test_swapping_ink_and_paper_changes_only_the_polarity(digit):
    grey = picture(digit, 90).astype(np.float32)
    marks, swapped = (threshold(each, level_paper(each)) for each in (grey, 255 - grey))
    np.testing.assert_array_equal(marks.depth, swapped.depth)
    assert marks[1:5] == swapped[1:5]
    assert (marks.polarity, swapped.polarity) == ("dark-on-light", "light-on-dark")


def test_the_border_is_each_outer_pixel_once():
    numbers = np.arange(70 * 90).reshape(70, 90)
    ring = border(numbers)
    inner = numbers[2:-2, 2:-2]
    assert sorted(ring) == sorted(set(numbers.ravel()) - set(inner.ravel()))
