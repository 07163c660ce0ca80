"""Composed lines: the text that was asked for, boxes around its characters, contact as asked, the same for a seed."""

import numpy as np
import pytest
from scipy import ndimage

from inkdigits.prediction import CHARACTERS
from inkdigits.preprocess.layout import LINE_HEIGHT
from inkdigits.self_test import known_digit
from inkdigits.synthesis.lines import Hand, compose_line, line_text, sample


@pytest.fixture(scope="module")
def hand():
    """The digits that code draws, as one writer's."""
    digits = {}
    for digit in range(10):
        ink = 255 - np.asarray(known_digit(digit))
        rows, columns = np.flatnonzero(ink.max(axis=1) > 60), np.flatnonzero(ink.max(axis=0) > 60)
        digits[digit] = [ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]]
    return Hand(digits, 18.0, 2.2)


def pieces(cover):
    return ndimage.label(cover > 0.3, np.ones((3, 3)))[1]


def test_digits_apart_are_in_their_boxes_and_do_not_touch(hand):
    for seed in range(20):
        line = compose_line("2307148", hand, np.random.default_rng(seed), contact="apart", is_varied=False)
        assert pieces(line.cover) == 7
        for left, top, right, bottom in line.boxes.astype(int):
            inside = line.cover[top:bottom, left:right]
            assert inside.max(axis=0).min() > 0.1  # the box is tight
            assert inside.max(axis=1).min() > 0.1


def test_tight_digits_are_close_and_touching_ones_are_one_piece(hand):
    touching = tight = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        line = compose_line("20683", hand, rng, contact="touching", is_varied=False)
        touching += pieces(line.cover)
        line = compose_line("20683", hand, rng, contact="tight", is_varied=False)
        tight += pieces(line.cover)
        gaps = line.boxes[1:, 0] - line.boxes[:-1, 2]
        assert (gaps < 0.5 * hand.size).all()
    assert touching < 2 * 30
    assert tight > 3.8 * 30


def test_the_same_seed_gives_the_same_line(hand):
    one, other = (sample(compose_line("120", hand, np.random.default_rng(5)), np.random.default_rng(6)) for _ in "ab")
    assert np.array_equal(one.ink, other.ink)
    assert np.array_equal(one.boxes, other.boxes)


def test_marks_stand_where_people_write_them(hand):
    low = 0
    for seed in range(20):
        line = compose_line("4.4,4-4", hand, np.random.default_rng(seed), contact="apart", is_varied=False)
        digit, point, _, comma, _, dash, _ = line.boxes
        middle, height = (digit[1] + digit[3]) / 2, digit[3] - digit[1]
        assert point[3] > middle - 0.1 * height  # some people write it at half height
        low += point[3] > digit[3] - 0.1 * height
        assert comma[3] > digit[3] - 0.1 * height
        assert digit[1] < (dash[1] + dash[3]) / 2 < digit[3]
        assert dash[3] - dash[1] < 0.5 * height
    assert 12 <= low < 20


def test_samples_have_the_height_of_the_network_and_boxes_on_the_ink(hand):
    inked = total = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        line = sample(compose_line(line_text(rng, 5), hand, rng, marks=[[np.array([[0, 0], [5.0, 9], [0, 9]])]]), rng)
        assert line.ink.shape[0] == LINE_HEIGHT
        assert line.ink.dtype == np.float32
        assert 0 <= line.ink.min() <= line.ink.max() <= 1
        for left, top, right, bottom in line.boxes:
            part = line.ink[max(0, int(top)) : int(bottom) + 1, max(0, int(left)) : int(right) + 1]
            inked += bool(part.size) and part.max() > 0.3
            total += 1
    assert inked > 0.97 * total


def test_texts_are_of_known_characters_and_of_all_kinds():
    rng = np.random.default_rng(0)
    texts = [line_text(rng, n) for n in range(1, 11) for _ in range(200)]
    assert set("".join(texts)) == set(CHARACTERS)
    assert sum(text.startswith("00") for text in texts) > 20
    assert sum(text.startswith("-") for text in texts) > 50
    assert sum("." in text for text in texts) > 100
    assert all(texts)
