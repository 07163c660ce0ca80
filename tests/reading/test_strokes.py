"""Strokes are shared out between digits: also where these overlap so much that their ink looks like one digit."""

import numpy as np
import pytest

from inkdigits import Recognizer
from inkdigits.preprocess.strokes import check_strokes, draw_strokes
from inkdigits.reading.strokes import draw_several, witness_strokes

from support.drawings import DIGITS, number_strokes

HEIGHT = 80.0
LINE = (0.0, HEIGHT)
OVERLAPPING = [("10", -0.05), ("13", -0.15), ("15", -0.3), ("18", -0.3), ("51", -0.15), ("91", -0.3)]


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer()


@pytest.mark.parametrize("text", ["84", "1009", "62996", "2048", "57"])
@pytest.mark.parametrize("gap", [0.35, 0.05])
def test_digits_side_by_side_are_read_one_by_one(recognizer, text, gap):
    """Two that are taken for one character are several digits, not one sign."""
    found = witness_strokes(number_strokes(text, HEIGHT, gap), HEIGHT, LINE, recognizer)
    assert found.best_text() == text
    assert found.log_probability(text) > -0.5


@pytest.mark.parametrize(("text", "gap"), OVERLAPPING)
def test_overlapping_digits_whose_ink_looks_like_one_are_several(recognizer, text, gap):
    strokes = number_strokes(text, HEIGHT, gap)
    plain = [stroke.tolist() for stroke in strokes]
    ink = draw_strokes(check_strokes(plain)).picture
    assert recognizer.predict(ink).is_digit
    assert draw_several(strokes, recognizer)
    reading = recognizer.read(plain)
    assert reading.text == text
    assert reading.is_number


@pytest.mark.parametrize("digit", range(10))
def test_the_strokes_of_one_digit_are_not_several(recognizer, digit):
    strokes = number_strokes(str(digit), HEIGHT)
    assert not draw_several(strokes, recognizer)
    assert recognizer.read([stroke.tolist() for stroke in strokes]).text == str(digit)


@pytest.mark.parametrize("digit", range(10))
@pytest.mark.parametrize("shift", [0.02, 0.05])
def test_a_digit_that_is_gone_over_again_is_one(recognizer, digit, shift):
    rng = np.random.default_rng(digit)
    again = [s * HEIGHT + rng.normal(0, 1, s.shape) + [shift * HEIGHT, shift * HEIGHT / 2] for s in DIGITS[digit]]
    strokes = [*(s * HEIGHT for s in DIGITS[digit]), *again]
    assert not draw_several(strokes, recognizer)
    assert recognizer.read([stroke.tolist() for stroke in strokes]).text == str(digit)


def test_the_parts_of_a_digit_that_look_like_digits_are_not_as_high(recognizer):
    """A 4 whose second stroke reads as a 1."""
    angle, stem = DIGITS[4]
    strokes = [angle * HEIGHT, stem * HEIGHT]
    assert recognizer.read([(stem * HEIGHT).tolist()]).text == "1"
    assert not draw_several(strokes, recognizer)


def test_many_strokes_are_no_overlapping_digits(recognizer):
    rng = np.random.default_rng(0)
    assert not draw_several([rng.uniform(0, HEIGHT, (4, 2)) for _ in range(5)], recognizer)
    assert not draw_several([], recognizer)
