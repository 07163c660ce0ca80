"""Recognizer.read: what is drawn is what is read, wherever it stands on the page."""

import json

import numpy as np
import pytest
from PIL import Image

from inkdigits import Recognizer
from inkdigits.self_test import known_digit
from inkdigits.synthesis.strokes import draw

from support.drawings import number_strokes

SIDE = 64  # pixels of a digit's sheet
PITCH = 46  # pixels from a digit to the next


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer()


def write(page, text, left, top, pitch=PITCH):
    """Write digits, a point, a comma or a dash, dark, on a page."""
    for character in text:
        if character.isdigit():
            ink = np.asarray(known_digit(int(character)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
            part = page[top : top + SIDE, left : left + SIDE]
            np.minimum(part, ink, out=part)
            left += pitch
        elif character == "-":
            page[top + 31 : top + 36, left + 12 : left + 36] = 0
            left += pitch - 10
        else:
            page[top + 48 : top + 54 + 8 * (character == ","), left + 10 : left + 16] = 0
            left += 14
    return page


def sheet(*lines, size=(200, 600), **options):
    """A page with lines of text at places: (text, left, top)."""
    page = np.full(size, 255, np.uint8)
    for text, left, top in lines:
        write(page, text, left, top, **options)
    return page


@pytest.mark.parametrize("text", ["2026", "007", "1000", "31415926", "22", "54", "900", "8888"])
@pytest.mark.parametrize("is_light", [False, True])
def test_a_line_of_digits_is_read(recognizer, text, is_light):
    page = sheet((text, 20, 60))
    reading = recognizer.read(255 - page if is_light else page)
    assert reading.text == text
    assert reading.is_number
    assert reading.numbers[0].value == int(text)
    assert reading.polarity == ("light-on-dark" if is_light else "dark-on-light")
    assert [digit.digit for digit in reading.numbers[0].digits] == list(map(int, text))


def test_boxes_are_where_the_digits_are(recognizer):
    reading = recognizer.read(sheet(("2345", 50, 60)))
    [number] = reading.numbers
    for i, digit in enumerate(number.digits):
        middle = 50 + PITCH * i + SIDE / 2
        assert digit.box.left < middle < digit.box.right
        assert digit.box.right - digit.box.left < SIDE
        assert number.box.left <= digit.box.left
        assert digit.box.right <= number.box.right
        assert not digit.touching


def test_points_commas_and_dashes_are_read(recognizer):
    assert recognizer.read(sheet(("24.6", 40, 60))).numbers[0].value == 24.6
    assert recognizer.read(sheet(("-37", 40, 60))).numbers[0].value == -37


@pytest.mark.parametrize("length", [0.3, 0.5])
@pytest.mark.parametrize("start", [0.85, 1.0])
def test_a_comma_that_hangs_below_the_line_is_read(recognizer, length, start):
    """In ink and in strokes, however long it is."""
    height = 80.0
    first, last = number_strokes("31", height), number_strokes("5", height)
    right = max(stroke[:, 0].max() for stroke in first) + 0.2 * height
    comma = np.array([[right + 6, start * height], [right, (start + length) * height]])
    strokes = [*first, comma, *(np.add(stroke, (right + 0.3 * height, 0)) for stroke in last)]
    assert recognizer.read([stroke.tolist() for stroke in strokes]).text == "31,5"
    width, bottom = np.concatenate(strokes).max(axis=0).astype(int) + 80
    page = draw([stroke + 40 for stroke in strokes], int(width), int(bottom), pen=6, paper=255, ink=0)
    assert recognizer.read(page).text == "31,5"


@pytest.mark.parametrize("digit", range(10))
def test_one_digit_reads_as_predict_says(recognizer, digit):
    picture = known_digit(digit).resize((90, 90))
    prediction, reading = recognizer.predict(picture), recognizer.read(picture)
    assert reading.text == str(prediction.digit) == str(digit)
    assert reading.confidence == prediction.confidence
    assert reading.numbers[0].box == prediction.box


def test_digits_that_touch_are_said_to_touch(recognizer):
    reading = recognizer.read(sheet(("44", 60, 60), pitch=28))
    assert reading.text == "44"
    assert [digit.touching for digit in reading.numbers[0].digits] == [True, True]


def test_lines_and_columns_are_a_table(recognizer):
    places = [("25", 20, 20), ("340", 240, 20), ("7", 20, 120), ("99", 20, 220), ("68", 250, 220)]
    reading = recognizer.read(sheet(*places, size=(320, 500)))
    assert reading.text == "25 340\n7\n99 68"
    assert reading.rows() == [["25", "340"], ["7", None], ["99", "68"]]
    assert reading.to_csv() == "25,340\n7,\n99,68\n"
    assert reading.lines == ((0, 1), (2,), (3, 4))


def test_a_length_or_a_pattern_restricts_what_is_read(recognizer):
    page = sheet(("24.12.2026", 20, 60))
    assert recognizer.read(page, pattern="dd.dd.dddd").text == "24.12.2026"
    assert recognizer.read(sheet(("2026", 20, 60)), length=4).text == "2026"


@pytest.mark.parametrize("length", [1, 3, 5, 7])
def test_a_length_that_a_clear_number_does_not_have_is_not_accepted(recognizer, length):
    [number] = recognizer.read(sheet(("2026", 20, 60)), length=length, layout="line").numbers
    assert not number.is_number
    assert number.value is None
    assert number.confidence < 0.5


def test_a_page_of_many_digits_is_not_one(recognizer):
    """Even if the model sees one digit in it."""
    page = sheet(*((f"{i}07{i}", 20, 70 * i) for i in range(8)), size=(600, 260))
    reading = recognizer.read(page)
    assert reading.text.split() == [f"{i}07{i}" for i in range(8)]


def test_alternatives_are_other_texts_and_all_probabilities_sum_to_one_at_most(recognizer):
    [number] = recognizer.read(sheet(("2026", 20, 60)), alternatives=5).numbers
    texts = [alternative.text for alternative in number.alternatives]
    assert len(set(texts) | {number.text}) == 1 + len(texts)
    assert number.confidence + sum(alternative.confidence for alternative in number.alternatives) <= 1.0001
    assert recognizer.read(sheet(("2026", 20, 60))).numbers[0].alternatives == ()


def test_a_blank_page_is_blank(recognizer):
    reading = recognizer.read(np.full((300, 500), 240, np.uint8))
    assert reading.is_blank
    assert (reading.text, reading.confidence, reading.is_number, reading.lines) == ("", 0.0, False, ())
    assert reading.to_csv() == ""


def test_plain_values_are_json(recognizer):
    reading = recognizer.read(sheet(("12", 20, 60), ("345", 260, 60)), alternatives=1)
    plain = json.loads(json.dumps(reading.to_dict()))
    assert plain["text"] == "12 345"
    assert plain["lines"] == [[0, 1]]
    assert [number["text"] for number in plain["numbers"]] == ["12", "345"]
    assert plain["numbers"][0]["digits"][1]["digit"] == 2
    assert set(plain["numbers"][0]["box"]) == {"left", "top", "right", "bottom"}


def test_scans_on_uneven_paper_are_read(recognizer):
    """The ink network finds the ink there."""
    page = sheet(("5280", 40, 60)).astype(float)
    light = np.linspace(0.55, 1, page.shape[1])[None]
    noise = np.random.default_rng(0).normal(0, 2, page.shape)
    assert recognizer.read(np.clip(page * light * 0.9 + noise, 0, 255).astype(np.uint8)).text == "5280"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"layout": "spiral"}, "layout must be one of .*, not 'spiral'"),
        ({"decimal": ";"}, 'decimal must be "." or ",", not \';\''),
        ({"alternatives": -1}, "alternatives must be 0 or more, not -1"),
        ({"length": 0}, "length must be"),
    ],
)
def test_a_wrong_argument_is_named(recognizer, arguments, said):
    with pytest.raises(ValueError, match=said):
        recognizer.read(sheet(("12", 20, 60)), **arguments)


@pytest.mark.parametrize("shape", [(10, 4000), (4000, 12), (1, 1), (30, 30)])
def test_any_shape_of_noise_is_read_to_the_end(recognizer, shape):
    noise = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    if min(shape) < 2:
        noise = np.full((12, 12), 255, np.uint8)
    recognizer.read(noise, layout="lines")
