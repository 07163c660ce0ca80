"""Drawings as pen strokes: drawn as a canvas would, legible in any unit, and bounded."""

import numpy as np
import pytest

from inkdigits import InvalidStrokes
from inkdigits.preprocess.strokes import (
    DIGIT_HEIGHT,
    LONGEST_SIDE,
    MOST_PIXELS,
    OVERSAMPLED,
    PEN,
    check_strokes,
    draw_strokes,
)
from inkdigits.synthesis.strokes import draw

from support.drawings import number_strokes


def test_the_picture_is_that_of_the_exact_drawing():
    strokes = number_strokes("0123456789", 1.0)
    drawing = draw_strokes(check_strokes(strokes))
    width, height = drawing.picture.size
    placed = [(stroke - (drawing.left, drawing.top)) * drawing.scale for stroke in strokes]
    exact = draw(placed, width, height, pen=PEN * DIGIT_HEIGHT)
    far = np.abs(np.asarray(drawing.picture).astype(int) - exact)
    assert far.mean() < 2
    assert (far > 255 / OVERSAMPLED * 1.5).mean() < 0.002  # half a fine pixel at an edge


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("text", ["7", "2024", "11", "0" * 12])
def test_digits_have_one_height_in_any_unit(text, unit):
    drawing = draw_strokes(check_strokes(number_strokes(text, unit)))
    assert drawing.scale * unit == pytest.approx(DIGIT_HEIGHT, rel=0.02)
    same = draw_strokes(check_strokes(number_strokes(text, 1.0))).picture
    far = np.abs(np.asarray(drawing.picture).astype(int) - np.asarray(same))
    assert far.mean() < 1


@pytest.mark.parametrize(
    "strokes",
    [
        [np.array([[5.0, 5.0]])],
        [np.array([[5.0, 5.0]] * 3)],
        [np.array([[0.0, 0.0], [9.0, 0.0]])],
        [np.array([[0.0, 0.0], [0.0, 9.0]])],
        [np.array([[-1e9, -1e9], [1e9, 1e9]])],
        [np.array([[0.0, 0.0], [1e-300, 1e-300]])],
        [np.array([[x, x % 7] for x in range(10_000)], float)],
        [np.array([[x, 0.0], [x, 1.0]]) for x in range(2_000)],
        [np.array([[x, y], [x, y + 1.0]]) for x in range(0, 80, 2) for y in range(0, 100, 2)],
    ],
    ids=["point", "points", "dash", "one", "far", "near", "wide", "comb", "page"],
)
def test_any_drawing_has_ink_and_a_bounded_picture(strokes):
    picture = draw_strokes(check_strokes(strokes)).picture
    assert max(picture.size) <= LONGEST_SIDE
    assert picture.width * picture.height <= 1.1 * MOST_PIXELS  # and the margins
    levels = np.asarray(picture)
    assert levels.min() < 128
    assert levels[0].min() == levels[-1].min() == 255  # paper around it


def test_numbers_of_every_type_are_coordinates():
    expected = check_strokes([[[1, 2], [3, 4]]])
    for stroke in (
        [(1, 2), (3, 4)],
        [np.array([1, 2]), np.array([3, 4])],
        np.array([[1, 2], [3, 4]], np.uint8),
        np.array([[1, 2], [3, 4]], np.float32),
        [[np.int64(1), np.float32(2)], [3.0, 4]],
    ):
        [found] = check_strokes((stroke,))
        np.testing.assert_array_equal(found, expected[0])
        assert found.dtype == np.float64


@pytest.mark.parametrize(
    ("stroke", "words"),
    [
        (
            np.zeros((3, 3)),
            r"strokes\[0\] is an array of float64 of shape \(3, 3\); expected numbers of",
        ),
        (np.zeros((3, 2), bool), "an array of bool"),
        (np.zeros((0, 2)), r"strokes\[0\] has no points"),
        (np.array([[0, 0], [np.nan, 1]]), r"strokes\[0\]\[1\] is \[NaN, 1.0\]; expected \[x, y\]"),
        ([[0, 0], [10**50, 1]], r"strokes\[0\]\[1\] is \[a number of more than 40 digits, 1\]"),
        ([[0, 0], [1j, 1]], r"\[a complex, 1\]"),
        ("stroke", 'strokes.0. is "stroke"'),
        (b"bytes", "is a bytes"),
    ],
)
def test_what_is_no_stroke_is_named(stroke, words):
    with pytest.raises(InvalidStrokes, match=words):
        check_strokes([stroke])


def test_what_is_no_list_of_strokes_is_named():
    with pytest.raises(InvalidStrokes, match=r"^drawing is an array of shape \(2, 2\); expected a list of strokes"):
        check_strokes(np.zeros((2, 2)), "drawing")
