"""Figures of whole numbers, against sums written out by hand."""

import numpy as np
import pytest

from inkdigits.evaluation.evaluate import calibration_error
from inkdigits.evaluation.numbers import Group, string_figures
from inkdigits.prediction import Box, Digit, Number, Reading

BOX = Box(0, 0, 9, 9)


def reading(*lines, confidence=0.9, accepted=True, touching=False):
    """A reading of lines of numbers, all with one confidence."""
    numbers, rows = [], []
    for line in lines:
        row = []
        for text in line.split():
            digits = tuple(Digit(c, int(c) if c.isdigit() else None, confidence, BOX, touching) for c in text)
            row.append(len(numbers))
            numbers.append(Number(text, None, confidence, accepted, BOX, digits))
        rows.append(tuple(row))
    return Reading(tuple(numbers), tuple(rows), None, "dark-on-light" if numbers else None)


BLANK = reading()


def test_whole_strings_and_digits_are_counted():
    truth = ["2024", "007", "12.50", "13"]
    readings = [reading("2024"), reading("07", touching=True), reading("12,50"), reading("1?", accepted=False)]
    found = string_figures(truth, readings)
    assert (found.n, found.right, found.accuracy) == (4, 1, 0.25)
    # A zero is lost, and a 3 of the last. A comma for a point is no mistake of a digit.
    assert found.digit_error_rate == 2 / (4 + 3 + 4 + 2)
    assert found.by_length == {2: Group(1, 0), 3: Group(1, 0), 4: Group(2, 1)}
    assert found.by_contact == {"apart": Group(3, 1), "touching": Group(1, 0)}
    assert found.rejected == 1
    assert found.confidences.tolist() == [0.9, 0.9, 0.9, 0.0]  # the text with a ? is no answer
    assert found.is_right.tolist() == [True, False, False, False]
    assert found.ece == calibration_error(found.confidences, found.is_right)


def test_digits_alone_are_compared_where_asked():
    truth, readings = ["1250", "77"], [reading("12.50"), reading("7 7")]
    assert string_figures(truth, readings).right == 0
    assert string_figures(truth, readings, digits_only=True).right == 2


def test_numbers_in_lines_are_one_text():
    truth = ["12 34\n56", "12  34\r\n56\n", "12 3456"]
    readings = [reading("12 34", "56")] * 3
    assert string_figures(truth, readings).is_right.tolist() == [True, True, False]


def test_pictures_without_a_number_are_counted_apart():
    readings = [BLANK, reading("1", accepted=False), reading("5"), reading("3")]
    found = string_figures(["", " \n", "", "3"], readings)
    assert (found.n, found.right, found.without, found.without_rejected) == (1, 1, 3, 2)
    nothing = string_figures(["", ""], [BLANK, BLANK])
    assert (nothing.n, nothing.accuracy, nothing.ece, nothing.answered_at()) == (0, 0, 0, 0)
    assert nothing.table() == "without a number      100.00%   of 2 rejected"


@pytest.mark.parametrize(
    ("confidences", "right", "share", "answered"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1], 1.0, 0.5),
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1], 0.75, 1.0),
        ([0.9, 0.8, 0.7, 0.6], [0, 1, 1, 1], 0.75, 1.0),
        ([0.9, 0.9, 0.7, 0.6], [1, 0, 1, 1], 1.0, 0.0),  # those of one confidence are answered together
        ([0.7, 0.9], [0, 1], 0.995, 0.5),
        ([0.0, 0.0], [1, 1], 0.5, 0.0),  # no answers
    ],
)
def test_the_share_that_can_be_answered(confidences, right, share, answered):
    readings = [
        reading("12" if is_right else "13", confidence=c) for c, is_right in zip(confidences, right, strict=True)
    ]
    assert string_figures(["12"] * len(readings), readings).answered_at(share) == answered


def test_the_share_answered_against_every_threshold():
    rng = np.random.default_rng(5)
    confidences = np.round(rng.random(300), 2)
    right = rng.random(300) < confidences
    readings = [reading("7" if r else "8", confidence=float(c)) for c, r in zip(confidences, right, strict=True)]
    found = string_figures(["7"] * 300, readings)
    for share in (0.8, 0.9, 0.995):
        kept = [(confidences >= t, t) for t in np.unique(confidences) if t > 0]
        expected = max((k.mean() for k, _ in kept if right[k].mean() >= share), default=0.0)
        assert found.answered_at(share) == pytest.approx(expected)


def test_as_many_readings_as_truths():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        string_figures(["1", "2"], [BLANK])
