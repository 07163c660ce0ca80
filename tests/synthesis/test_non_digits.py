"""Non-digits: every kind in both parts, their fonts, and that none shows a digit."""

import importlib.util
import sys
from collections import Counter

import numpy as np
import pytest

from inkdigits import DataError, SettingError
from inkdigits.synthesis import doodles as forms
from inkdigits.synthesis import fonts
from inkdigits.synthesis.corruptions.sheet import look
from inkdigits.synthesis.fonts import DIGIT_LIKE, FONTS, LETTERS, STROKE_FONTS, SYMBOLS, fonts_for, rendered, strokes_of
from inkdigits.synthesis.non_digits import INKS, NON_DIGITS, PAPERS, SIDES, lookalikes, non_digit_pictures

from support.paths import ROOT

PARTS = ["train", "test"]
DOCS = ROOT / "docs"
NOT_DEFINED = "\uffff"  # a character that no font has


def test_the_table_is_whole():
    for name, kind in NON_DIGITS.items():
        assert kind.name == name
        assert kind.help


def test_the_documentation_shows_every_kind():
    text = (DOCS / "augmentation.md").read_text(encoding="utf-8")
    for name, kind in NON_DIGITS.items():
        assert f"| `{name}` | {kind.help} |" in text
    assert f"\n{DIGIT_LIKE}\n" in text
    for image in ("non-digits-train", "non-digits-test", "lookalikes"):
        assert f"(images/augmentation-{image}.png)" in text
        assert (DOCS / "images" / f"augmentation-{image}.png").stat().st_size < 100_000


@pytest.mark.parametrize("part", PARTS)
def test_every_kind_comes_equally_often(part):
    found = non_digit_pictures(6 * len(NON_DIGITS) + 3, 0, part)
    counts = Counter(kind for kind, _ in found)
    assert set(counts) == set(NON_DIGITS)
    assert set(counts.values()) == {6, 7}
    for _, picture in found:
        assert picture.dtype == np.uint8
        assert picture.ndim == 2
        assert SIDES[0] <= min(picture.shape) <= max(picture.shape) <= SIDES[1]


@pytest.mark.parametrize("make", [non_digit_pictures, lookalikes])
def test_a_seed_gives_the_same_pictures_whatever_their_number(make):
    short, long, other = make(12, 5, "train"), make(30, 5, "train"), make(12, 6, "train")
    for (name, picture), (again, same), (_, different) in zip(short, long, other, strict=False):
        assert name == again
        np.testing.assert_array_equal(picture, same)
        assert picture.shape != different.shape or (picture != different).any()


@pytest.mark.parametrize("make", [non_digit_pictures, lookalikes])
def test_there_are_two_parts(make):
    with pytest.raises(SettingError, match="part must be train or test, not 'validation'"):
        make(3, 0, "validation")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["line", "scribble", "shape", "letter", "stroke letter", "symbol", "word"])
def test_drawings_are_dark_on_light_and_whole(name, part):
    sizes = []
    for seed in range(40):
        picture = NON_DIGITS[name].make(np.random.default_rng(seed), part)
        sheet = look(picture)
        assert PAPERS[0] <= sheet.paper <= PAPERS[1]
        assert picture.min() <= INKS[1] + 60
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert border.min() > picture.min() + 40, "ink is cut off"
        sizes.append(sheet.size / len(picture))
    assert min(sizes) < 0.45
    assert max(sizes) > 0.7


@pytest.mark.parametrize("name", ["noise", "texture"])
def test_pictures_without_a_drawing_have_no_one_place(name):
    for seed in range(30):
        picture = NON_DIGITS[name].make(np.random.default_rng(seed), "test").astype(float)
        assert picture.std() > 5
        half = len(picture) // 2
        quarters = [picture[:half, :half], picture[:half, half:], picture[half:, :half], picture[half:, half:]]
        assert min(quarter.std() for quarter in quarters) > 0.2 * picture.std()


def test_blank_paper_has_no_ink():
    for seed in range(30):
        picture = NON_DIGITS["blank"].make(np.random.default_rng(seed), "train").astype(float)
        # Grain and light, but no line: neighboring means hardly differ.
        smooth = picture[: len(picture) // 10 * 10, : len(picture) // 10 * 10].reshape(len(picture) // 10, 10, -1, 10)
        assert np.median(np.abs(np.diff(smooth.mean(axis=(1, 3)), axis=0))) < 12


@pytest.mark.parametrize("part", PARTS)
def test_no_line_is_a_1(part):
    for seed in range(150):
        left, top, right, bottom = look(NON_DIGITS["line"].make(np.random.default_rng(seed), part)).box
        assert (right - left) / (bottom - top) > 0.45


def test_forms_lie_in_their_box():
    for table in (forms.LINES, forms.SCRIBBLES, forms.SHAPES):
        assert set(table) == set(PARTS)
        for form in table["train"] + table["test"]:
            for seed in range(5):
                strokes = form(np.random.default_rng(seed))
                points = np.concatenate(strokes)
                assert points.shape[1] == 2
                assert np.isfinite(points).all()
                assert 0.5 < np.ptp(points, axis=0).max() < 3.5


def test_a_filled_shape_is_filled():
    [triangle] = forms._TRIANGLE(np.random.default_rng(0))
    rows = forms._solid(forms._TRIANGLE)(np.random.default_rng(0))[1:]
    assert len(rows) > 50
    x, y = np.array([row[:, 0] for row in rows]), np.array([row[0, 1] for row in rows])
    height = triangle[:, 1].max()
    np.testing.assert_allclose(x[:, 1] - x[:, 0], y / height, atol=1e-9)


def test_letters_do_not_look_like_digits():
    alphabet = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    assert set(LETTERS) | (set(DIGIT_LIKE) & alphabet) == alphabet
    assert not (set(LETTERS) | set(SYMBOLS)) & set(DIGIT_LIKE)
    assert set("OolISZ") <= set(DIGIT_LIKE)
    assert len(set(DIGIT_LIKE)) == len(DIGIT_LIKE)


def test_no_font_is_in_both_parts():
    families = {part: {package for package, _ in FONTS[part]} for part in PARTS}
    assert not families["train"] & families["test"]
    assert not set(STROKE_FONTS["train"]) & set(STROKE_FONTS["test"])


@pytest.mark.parametrize("font", FONTS["train"] + FONTS["test"], ids=lambda font: font[1])
def test_a_font_has_every_character(font):
    missing = rendered(NOT_DEFINED, *font)
    seen = set()
    for character in LETTERS + SYMBOLS + DIGIT_LIKE:
        ink = rendered(character, *font)
        assert ink.dtype == np.uint8
        assert ink.max() > 200
        assert min(ink[0].max(), ink[-1].max(), ink[:, 0].max(), ink[:, -1].max()) > 0, "not cut to its ink"
        assert ink.shape != missing.shape or (ink != missing).any(), character
        seen.add(ink.tobytes())
    # Small capitals show some letters twice, and a font may draw | as its l.
    assert len(seen) > 0.6 * len(LETTERS + SYMBOLS + DIGIT_LIKE)


@pytest.mark.parametrize("font", STROKE_FONTS["train"] + STROKE_FONTS["test"])
def test_a_stroke_font_has_every_character(font):
    for character in LETTERS + SYMBOLS + DIGIT_LIKE:
        strokes = strokes_of(character, font)
        assert strokes, character
        assert np.ptp(np.concatenate(strokes), axis=0).max() > 2


def test_small_capitals_show_no_lower_case():
    assert any(package == "font_amatic_sc" for package, _ in fonts_for("ANY", "train"))
    assert not any(package == "font_amatic_sc" for package, _ in fonts_for("Any", "train"))
    a, b = (rendered(letter, "font_amatic_sc", "AmaticSC-Bold.ttf") for letter in "dD")
    assert a.shape[0] < 1.2 * b.shape[0]


def test_lookalikes_come_in_turn():
    found = lookalikes(len(DIGIT_LIKE) + 2, 0, "test")
    assert "".join(character for character, _ in found) == DIGIT_LIKE + DIGIT_LIKE[:2]
    for _, picture in found:
        assert picture.dtype == np.uint8
        assert look(picture).cover.any()


def test_missing_fonts_are_an_error(monkeypatch):
    fonts._font.cache_clear()
    fonts._hershey.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "HersheyFonts", None)
    with pytest.raises(DataError, match=r"font font-manrope is not installed: pip install 'inkdigits\[eval\]'"):
        rendered("a", "font_manrope", "Manrope-Light.ttf")
    with pytest.raises(DataError, match="Hershey-Fonts, are not installed: pip install"):
        strokes_of("a", "futural")
