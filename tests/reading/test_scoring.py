"""Texts are chosen by the line network and by what stands alone; low ink is a sign, and none is left out lightly."""

import numpy as np
import pytest

from inkdigits.prediction import CHARACTERS, Prediction
from inkdigits.reading.lines import Frames
from inkdigits.reading.scoring import Calibration, digit_witness, mark_witness, score
from inkdigits.reading.search import Restriction

PLAIN = Calibration(0.5, (1.0, 0.0, 0.0, 0.0), 0.5)


def frames(*columns, width=10.0):
    """Frames that are sure of these characters, each with none after it: {character: probability} or a character."""
    rows, boxes = [], []
    for i, column in enumerate(columns):
        wanted = column if isinstance(column, dict) else {column: 0.98}
        row = np.full(1 + len(CHARACTERS), 1e-5)
        row[0] = 1e-3
        for character, probability in wanted.items():
            row[0 if character == "" else 1 + CHARACTERS.index(character)] = probability
        blank = np.full(len(row), 1e-5)
        blank[0] = 1.0
        rows += [row / row.sum(), blank / blank.sum()]
        boxes += [[width * i, 0, width * i + 8, 20]] * 2
    return Frames(np.log(np.array(rows)), np.array(boxes))


def read(digit, probability=0.99, certainty=0.99):
    rest = (1 - probability) / 9
    probabilities = tuple(probability if d == digit else rest for d in range(10))
    image = np.zeros((28, 28))
    return Prediction(digit, probability, probabilities, image, None, None, certainty > 0.5, certainty)


def witnesses(*digits):
    return [digit_witness(10.0 * i, 10.0 * i + 8, read(digit)) for i, digit in enumerate(digits)]


def test_a_digit_that_stands_alone_decides_where_the_line_is_unsure():
    seen = frames("2", {"4": 0.5, "9": 0.45}, "6")
    assert score(seen, witnesses(2, 9, 6), Restriction(), fitted=PLAIN)[0].text == "296"
    assert score(seen, witnesses(2, 4, 6), Restriction(), fitted=PLAIN)[0].text == "246"
    sure = score(seen, witnesses(2, 4, 6), Restriction(), fitted=PLAIN)[0].confidence
    unsure = score(seen, [], Restriction(), fitted=PLAIN)[0].confidence
    assert sure > unsure > 0.4


def test_a_digit_that_the_line_missed_is_proposed_by_its_witness():
    seen = frames("2", {"4": 0.93, "9": 0.0005}, "6")
    assert "296" in [found.text for found in score(seen, witnesses(2, 9, 6), Restriction(), fitted=PLAIN)]


def test_which_digit_stands_alone_may_weigh_more_than_whether_one_does():
    seen = frames("2", {"5": 0.9, "3": 0.09}, "6")
    some = witnesses(2, 3, 6)
    for weight, text in ((0.3, "256"), (1.0, "236")):
        fitted = Calibration(0.3, PLAIN.weights, weight)
        assert score(seen, some, Restriction(), fitted=fitted)[0].text == text
    two = frames("2", "5", "6")  # the second and third touch, and look like one 3
    wide = [*witnesses(2), digit_witness(10.0, 28.0, read(3, certainty=0.8))]
    for weight in (0.3, 1.0):
        fitted = Calibration(0.3, PLAIN.weights, weight)
        assert score(two, wide, Restriction(), fitted=fitted)[0].text == "256"


def test_a_witness_that_is_too_sure_of_a_digit_does_not_overrule_a_sure_line():
    seen = frames("2", {"5": 0.999, "3": 0.0008}, "6")
    sure = [*witnesses(2), digit_witness(10.0, 18.0, read(3, probability=1.0, certainty=1.0)), *witnesses(2, 2, 6)[2:]]
    fitted = Calibration(0.3, PLAIN.weights, 1.0)
    assert score(seen, sure, Restriction(), fitted=fitted)[0].text == "256"


def test_low_ink_that_the_line_leaves_out_is_a_sign():
    seen = frames("5", {"": 0.9, ".": 0.09}, "4")
    point = mark_witness(11.0, 13.0, 0.1, 0.1, 0.5)
    digits = [digit_witness(0.0, 8.0, read(5)), digit_witness(20.0, 28.0, read(4))]
    assert score(seen, digits, Restriction(), fitted=PLAIN)[0].text == "54"
    assert score(seen, [point, *digits], Restriction(), fitted=PLAIN)[0].text == "5.4"


@pytest.mark.parametrize(
    ("width", "height", "middle", "sign"),
    [
        (0.12, 0.12, 0.95, "."),
        (0.12, 0.12, 0.5, "."),  # at half height
        (0.1, 0.32, 0.95, ","),
        (0.08, 0.2, 1.0, ","),
        (0.45, 0.1, 0.5, "-"),
        (0.45, 0.1, 0.95, "."),  # an underline is no minus
    ],
)
def test_the_shape_and_place_of_low_ink(width, height, middle, sign):
    scores = mark_witness(0, 10, width, height, middle).scores
    assert CHARACTERS[int(scores.argmax())] == sign


def test_a_restriction_against_clear_ink_is_doubted():
    seen = frames("2", "0", "2", "4")
    [best, *_] = score(seen, [], Restriction(length=3), fitted=PLAIN)
    assert len(best.text) == 3
    assert best.confidence < 0.1
    free = score(seen, [], Restriction(), fitted=PLAIN)[0].confidence
    assert score(seen, [], Restriction(length=4), fitted=PLAIN)[0].confidence >= free > 0.9


def test_the_calibration_changes_confidence_and_not_the_order():
    seen = frames("2", {"4": 0.5, "9": 0.45}, "6")
    plain = score(seen, [], Restriction(), fitted=PLAIN)
    doubting = score(seen, [], Restriction(), fitted=Calibration(0.5, (0.5, -1.0, 0.0, 0.0), 0.5))
    assert [found.text for found in plain] == [found.text for found in doubting]
    assert doubting[0].confidence < plain[0].confidence
    for found in (plain, doubting):
        assert sum(each.confidence for each in found) == pytest.approx(1)
        assert all(0 <= p <= 1 for each in found for p in each.each)


def test_characters_of_one_group_touch():
    seen = frames("1", "1")
    both = [digit_witness(0.0, 18.0, read(1, certainty=0.02))]
    assert score(seen, both, Restriction(), fitted=PLAIN)[0].groups == [0, 0]
