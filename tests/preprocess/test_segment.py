"""Ink on any paper: uneven light, shadow, rules, stains, grain; and each step against an oracle."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from inkdigits.preprocess.background import _running, _smooth, background
from inkdigits.preprocess.components import SMALL, components, connected_components
from inkdigits.preprocess.segment import segment

from support.drawings import DIGITS, picture

MODES = ("nearest", "mirror")  # beyond the border of an axis that is no longer than a window, and of a longer one


def ink_of(grey):
    marks = segment(background(grey))
    return components(marks) if marks else None


def apart(found, clean):
    """Share of the clean ink that differs, of two covers laid over the whole picture."""
    return float(np.abs(found - clean).sum() / clean.sum())


def laid_out(ink, shape):
    whole = np.zeros(shape, np.float32)
    x0, y0, x1, y1 = ink.bounds
    whole[y0:y1, x0:x1] = ink.cover
    return whole


def test_clean_ink_is_its_own_cover():
    for digit in DIGITS:
        image = picture(digit, 140)
        ink = ink_of(image.astype(np.float32))
        assert ink.polarity == "dark-on-light"
        assert apart(laid_out(ink, image.shape), 1 - image / 255) < 0.03
        x0, y0, x1, y1 = ink.bounds
        rows, columns = np.nonzero((image < 255 * 0.8).any(axis=1))[0], np.nonzero((image < 255 * 0.8).any(axis=0))[0]
        assert (x0, y0, x1, y1) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("digit", [2, 5, 8])
def test_a_hard_shadow(digit, swap):
    clean = picture(digit, 150)
    shadow = np.where(np.add.outer(np.arange(150), np.arange(150)) < 140, 0.6, 1.0)
    image = np.rint(clean * 0.9 * shadow + 10)
    ink = ink_of((255 - image if swap else image).astype(np.float32))
    assert ink.polarity == ("light-on-dark" if swap else "dark-on-light")
    assert apart(laid_out(ink, image.shape), 1 - clean / 255) < 0.35


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("level", [30, 120, 190])
def test_ruled_lines_go_and_the_digit_stays(level, across):
    for digit in DIGITS:
        clean = picture(digit, 150)
        image = clean.copy()
        for at in (20, 75, 131) if across else (20, 131):
            ruled = image[at : at + 2] if across else image[:, at : at + 2]
            np.minimum(ruled, level, out=ruled)
        ink = ink_of(image.astype(np.float32))
        expected = ink_of(clean.astype(np.float32)).bounds
        assert max(abs(a - b) for a, b in zip(ink.bounds, expected, strict=True)) <= 3, digit
        assert apart(laid_out(ink, image.shape), 1 - clean / 255) < 0.2, digit


def test_bars_of_a_digit_that_fills_the_picture_are_not_ruled_lines():
    for digit in (2, 4, 5, 7):
        image = picture(digit, 150, pen=4)
        x0, y0, x1, y1 = ink_of(image.astype(np.float32)).bounds
        crop = image[y0:y1, x0:x1].astype(np.float32)
        assert apart(laid_out(ink_of(crop), crop.shape), 1 - crop / 255) < 0.05, digit


def test_what_shines_through_and_stains_are_not_ink():
    clean = picture(5, 150)
    image = np.minimum(clean, 255 - (255 - picture(8, 150)[:, ::-1]) // 4)  # another digit, mirrored, at a quarter
    y, x = np.mgrid[:150, :150]
    image = np.where((x - 40) ** 2 + (y - 110) ** 2 < 900, np.minimum(image, 205), image)
    ink = ink_of(image.astype(np.float32))
    assert apart(laid_out(ink, image.shape), 1 - clean / 255) < 0.12


def test_grain_is_smoothed_by_what_a_box_filter_leaves():
    rng = np.random.default_rng(0)
    noise = (200 + rng.normal(0, 20, (160, 160))).astype(np.float32)
    smooth, grain = _smooth(noise)
    np.testing.assert_allclose(smooth, ndimage.uniform_filter(noise, 5, mode="nearest"), atol=0.01)
    assert grain == pytest.approx(20 / 5, rel=0.5)
    assert ink_of(noise) is None


@pytest.mark.parametrize("side", [10, 12, 16, 20])
@pytest.mark.parametrize("swap", [False, True])
def test_the_edges_of_a_ring_that_fills_a_tiny_picture_are_not_grain(side, swap):
    large = Image.new("L", (side * 20, side * 20), 255)
    box = (side * 2, side * 2, side * 18, side * 18)
    ImageDraw.Draw(large).ellipse(box, outline=0, width=side * 20 // 12)
    grey = np.asarray(large.resize((side, side), Image.Resampling.BOX), np.float32)
    found = ink_of(255 - grey if swap else grey)
    assert found is not None
    assert found.polarity == ("light-on-dark" if swap else "dark-on-light")
    margin = side // 10
    assert found.bounds == (margin, margin, side - margin, side - margin)


@pytest.mark.parametrize("window", [3, 4, 9, 48])
def test_running_extremes_against_scipy(window):
    grey = np.random.default_rng(window).random((60, 71)).astype(np.float32)
    for ours, theirs in ((np.maximum, ndimage.maximum_filter), (np.minimum, ndimage.minimum_filter)):
        expected = theirs(grey, window, mode="mirror")
        # A window of even size has no middle: both conventions are a shift by one pixel apart.
        inside = slice(window, -window) if window < 20 else slice(None)
        seen = _running(grey, window, ours)
        if window % 2:
            np.testing.assert_array_equal(seen, expected)
        elif window < 20:
            np.testing.assert_array_equal(seen[inside, inside], expected[inside, inside])
        assert seen.shape == grey.shape


@pytest.mark.parametrize("shape", [(5, 300), (300, 5), (1, 40)])
def test_a_window_wider_than_a_strip_sees_all_of_its_width(shape):
    grey = np.random.default_rng(1).random(shape).astype(np.float32)
    np.testing.assert_array_equal(
        _running(grey, 39, np.maximum), ndimage.maximum_filter(grey, 39, mode=[MODES[n > 39] for n in shape])
    )


def test_connected_components_against_scipy():
    rng = np.random.default_rng(3)
    for _ in range(60):
        mask = rng.random(rng.integers(1, 60, 2)) < rng.uniform(0.02, 0.7)
        labels, n = ndimage.label(mask, np.ones((3, 3)))
        seen = connected_components(mask)
        if not n:
            assert seen is None
            continue
        area = np.bincount(labels.ravel())[1:]
        least = max(0.03 * area.max(), 2 if mask.size > SMALL else 1)
        expected = np.isin(labels, np.nonzero(area >= least)[0] + 1)
        np.testing.assert_array_equal(expected, np.zeros_like(mask) if seen is None else seen)
