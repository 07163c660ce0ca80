"""Ink on any paper: clean, in uneven light and shadow, with rules, stains and grain; and the page's twin of planes."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from inkdigits.preprocess import ink as module
from inkdigits.preprocess.components import Ink
from inkdigits.preprocess.ink import LEAST_SIDE, STRIDE, find_ink, ink_probability
from inkdigits.preprocess.paper import Paper, level_paper
from inkdigits.synthesis.non_digits import NON_DIGITS

from support.drawings import DIGITS, picture


def ink_of(grey):
    found = find_ink(grey)
    assert found.times == 1
    return found.inks[0] if found.inks else None


def apart(found, clean):
    """Share of the clean ink that differs, of two covers laid over the whole picture."""
    return float(np.abs(found - clean).sum() / clean.sum())


def laid_out(ink, shape):
    whole = np.zeros(shape, np.float32)
    x0, y0, x1, y1 = ink.bounds
    whole[y0:y1, x0:x1] = ink.cover
    return whole


@pytest.fixture
def no_network(monkeypatch):
    def fail():
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(module, "_network", fail)


@pytest.mark.usefixtures("no_network")
def test_clean_ink_is_its_own_cover_without_the_network():
    for digit in DIGITS:
        image = picture(digit, 140)
        ink = ink_of(image.astype(np.float32))
        assert ink.polarity == "dark-on-light"
        assert apart(laid_out(ink, image.shape), 1 - image / 255) < 0.03
        x0, y0, x1, y1 = ink.bounds
        rows, columns = np.nonzero((image < 255 * 0.8).any(axis=1))[0], np.nonzero((image < 255 * 0.8).any(axis=0))[0]
        assert (x0, y0, x1, y1) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("side", [10, 12, 16, 20])
@pytest.mark.parametrize("swap", [False, True])
def test_tiny_pictures_need_no_network(side, swap):
    large = Image.new("L", (side * 20, side * 20), 255)
    box = (side * 2, side * 2, side * 18, side * 18)
    ImageDraw.Draw(large).ellipse(box, outline=0, width=side * 20 // 12)
    grey = np.asarray(large.resize((side, side), Image.Resampling.BOX), np.float32)
    found = ink_of(255 - grey if swap else grey)
    assert found.polarity == ("light-on-dark" if swap else "dark-on-light")
    margin = side // 10
    assert found.bounds == (margin, margin, side - margin, side - margin)


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
def test_ruled_lines_are_not_ink(level, across):
    for digit in DIGITS:
        clean = picture(digit, 150)
        image = clean.copy()
        for at in (20, 75, 131) if across else (20, 131):
            ruled = image[at : at + 2] if across else image[:, at : at + 2]
            np.minimum(ruled, level, out=ruled)
        ink = ink_of(image.astype(np.float32))
        expected = ink_of(clean.astype(np.float32)).bounds
        assert max(abs(a - b) for a, b in zip(ink.bounds, expected, strict=True)) <= 4, digit
        assert apart(laid_out(ink, image.shape), 1 - clean / 255) < 0.3, digit


def test_all_ink_of_a_tight_crop_is_there_in_case_the_network_misses_some():
    for digit in DIGITS:
        image = picture(digit, 150, pen=4)
        x0, y0, x1, y1 = ink_of(image.astype(np.float32)).bounds
        crop = image[y0:y1, x0:x1].astype(np.float32)
        found = find_ink(crop)
        everything = (found.otherwise or found.inks)[0]
        assert apart(laid_out(everything, crop.shape), 1 - crop / 255) < 0.05, digit


def test_what_shines_through_and_stains_are_not_ink():
    clean = picture(5, 150)
    image = np.minimum(clean, 255 - (255 - picture(8, 150)[:, ::-1]) // 4)  # another digit, mirrored, at a quarter
    y, x = np.mgrid[:150, :150]
    image = np.where((x - 40) ** 2 + (y - 110) ** 2 < 900, np.minimum(image, 205), image)
    ink = ink_of(image.astype(np.float32))
    assert apart(laid_out(ink, image.shape), 1 - clean / 255) < 0.3


@pytest.mark.parametrize("spread", [5, 10, 20])
def test_grain_is_not_a_digit(recognizer, spread):
    noise = np.clip(200 + np.random.default_rng(0).normal(0, spread, (160, 160)), 0, 255).astype(np.uint8)
    assert level_paper(noise.astype(np.float32)) is None
    assert not recognizer.predict(noise).is_digit


def test_what_the_network_is_not_sure_of_is_not_ink(monkeypatch):
    pictures = [NON_DIGITS["noise"].make(np.random.default_rng(seed), "test").astype(np.float32) for seed in range(40)]
    pictures = [picture for picture in pictures if level_paper(picture) is None]
    kept = sum(bool(find_ink(picture).inks) for picture in pictures)
    monkeypatch.setattr(module, "SURE", 0.0)
    found = sum(bool(find_ink(picture).inks) for picture in pictures)
    assert found >= 8
    assert kept <= found / 2


def test_pale_ink_is_sure_where_all_of_it_is_not_soft():
    digit = 1 - picture(7, 150).astype(np.float32) / 255
    assert module.is_sure(digit)
    assert module.is_sure(0.8 * digit)
    assert not module.is_sure(np.minimum(digit, 0.4))


def test_thresholds_find_the_whole_of_a_picture_that_ink_fills_or_nothing(monkeypatch):
    grey = np.random.default_rng(0).integers(0, 256, (150, 150)).astype(np.float32)
    plain = [Ink(np.ones((150, 150), np.float32), (0, 0, 150, 150), "dark-on-light")]
    plain += [Ink(np.ones((3, 1), np.float32), (9, 9, 10, 12), "dark-on-light")]
    monkeypatch.setattr(module, "level_paper", lambda grey: Paper(200.0, 1.0, False))
    monkeypatch.setattr(module, "threshold", lambda grey, paper: "marks")
    monkeypatch.setattr(module, "components", lambda marks: plain if marks == "marks" else [])
    assert find_ink(grey).inks == plain[:1]


@pytest.mark.parametrize("side", [28, 40, 60])
def test_small_pictures_are_enlarged_for_the_network(side):
    large = np.minimum(picture(3, 240), 255 - 120 * (np.arange(240) % 60 < 5)[:, None]).astype(np.uint8)
    small = np.asarray(Image.fromarray(large).resize((side, side), Image.Resampling.BOX), np.float32)
    found = find_ink(small + np.random.default_rng(0).normal(0, 4, small.shape).astype(np.float32))
    assert found.times * side >= LEAST_SIDE
    clean = np.asarray(Image.fromarray(picture(3, 240)).resize((side, side), Image.Resampling.BOX), np.float32)
    [expected] = find_ink(clean).inks
    assert np.abs(np.array(found.inks[0].bounds) / found.times - expected.bounds).max() <= 1.5


def test_the_probability_has_the_picture_s_size_and_ignores_its_negative():
    rng = np.random.default_rng(1)
    for shape in ((160, 160), (90, 131), (5 * STRIDE + 1, 83)):
        grey = np.clip(picture(4, max(shape))[: shape[0], : shape[1]] * 0.7 + rng.normal(0, 6, shape), 0, 255)
        grey = np.rint(grey).astype(np.float32)
        seen = ink_probability(grey)
        assert seen.shape == shape
        assert seen.dtype == np.float32
        assert seen.min() >= 0
        assert seen.max() <= 1
        np.testing.assert_allclose(ink_probability(255 - grey), seen, atol=1e-4)
