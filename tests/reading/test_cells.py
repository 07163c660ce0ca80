"""Boxes, tables and sudokus: what was drawn into printed cells is what is read, from any side and in any light."""

import numpy as np
import pytest
from PIL import Image

from support.cells import PAPER, Mixed, drawn, page, photographed, printed, put, table

FLAT = {}
PHOTO = {"tilt": 0.12, "turn": 5.0, "shade": 0.45, "noise": 5.0, "blur": 0.8}
OTHER_PHOTO = {"tilt": -0.1, "turn": -6.0, "shade": 0.3, "noise": 3.0, "seed": 1}
VIEWS = pytest.mark.parametrize("view", [FLAT, PHOTO, OTHER_PHOTO], ids=["flat", "photo", "other photo"])
HANDS = pytest.mark.parametrize("ink", [drawn, printed], ids=["drawn", "printed"])
SERIF = ("font_source_serif_pro", "SourceSerifPro-Regular.ttf")

TABLE = [["12", "305", "7"], ["48", "", "90"], ["", "61", "222"], ["5", "83", "19"]]
WIDTHS = [120, 160, 120]


def sudoku(seed=0, empty=0.4):
    rng = np.random.default_rng(seed)
    return [["" if rng.random() < empty else str(rng.integers(1, 10)) for _ in range(9)] for _ in range(9)]


def texts(reading):
    return [[text or "" for text in row] for row in reading.rows()]


# Boxes: digits that are one number


@VIEWS
@HANDS
@pytest.mark.parametrize("gaps", [None, 12], ids=["comb", "boxes apart"])
def test_digits_in_a_row_of_boxes_are_one_number(recognizer, view, ink, gaps):
    picture = photographed(table([list("402958")], ink=ink, gaps=gaps), **view)
    for layout in ("auto", "boxes"):
        reading = recognizer.read(picture, layout=layout)
        assert reading.text == "402958", layout
        assert reading.is_number
        assert reading.table == ((0,),)
        assert reading.numbers[0].value == 402958


def test_empty_boxes_at_the_ends_are_no_digits_and_one_between_digits_is_a_mark(recognizer):
    ends = recognizer.read(table([["", "", "7", "0", "4", ""]]))
    assert (ends.text, ends.numbers[0].value) == ("704", 704)
    between = recognizer.read(table([["5", "", "7", "0", "4", ""]]))
    assert between.text == "5?704"
    assert not between.is_number
    mark = between.numbers[0].digits[1]
    assert mark.digit is None
    assert (
        between.numbers[0].digits[0].box.right
        <= mark.box.left
        < mark.box.right
        <= between.numbers[0].digits[2].box.left
    )


def test_boxes_that_are_all_empty_are_none(recognizer):
    reading = recognizer.read(table([[""] * 6]), layout="boxes")
    assert reading.numbers == ()
    assert reading.table == ((None,),)


def test_each_row_of_boxes_is_a_number(recognizer):
    picture = np.vstack([table([list("20241")]), table([list("00537")]), table([[""] * 5])])
    reading = recognizer.read(picture, layout="boxes")
    assert reading.table == ((0,), (1,), (None,))
    assert texts(reading) == [["20241"], ["00537"], [""]]


def test_fields_on_one_row_are_numbers_of_their_own(recognizer):
    picture = np.hstack([table([list("24")]), table([list("12")]), table([list("1987")])])
    reading = recognizer.read(picture, layout="boxes")
    assert texts(reading) == [["24", "12", "1987"]]
    assert reading.text == "24 12 1987"


def test_boxes_keep_the_restriction(recognizer):
    picture = table([list("402958")])
    assert recognizer.read(picture, layout="boxes", length=6).is_number
    assert recognizer.read(picture, layout="boxes", pattern="dddddd").text == "402958"
    other = recognizer.read(picture, layout="boxes", length=5)
    assert (other.text, other.is_number, other.confidence) == ("402958", False, 0.0)


def test_boxes_have_alternatives_of_the_whole_number(recognizer):
    [number] = recognizer.read(table([list("402958")]), layout="boxes", alternatives=3).numbers
    assert len(number.alternatives) == 3
    for text, confidence in number.alternatives:
        assert len(text) == 6
        assert sum(a != b for a, b in zip(text, "402958", strict=True)) == 1
        assert confidence <= number.confidence


def test_boxes_of_digits_are_where_they_were_drawn(recognizer):
    picture = photographed(table([list("402958")], gaps=12))  # shrunk to 92 % about its middle
    number = recognizer.read(picture).numbers[0]
    middle = np.array(picture.shape[::-1]) / 2
    for i, digit in enumerate(number.digits):
        expected = ([70 + 76 * i + 32, 70 + 32] - middle) * 0.92 + middle
        found = np.array([digit.box.left + digit.box.right, digit.box.top + digit.box.bottom]) / 2
        assert np.abs(found - expected).max() < 8, i


def test_boxes_without_rules_are_a_line(recognizer):
    picture = page(500, 140)
    for i, text in enumerate("4029"):
        put(picture, drawn(text, 50), (80 + 110 * i, 70))
    assert recognizer.read(picture, layout="boxes").text == "4029"


# Grids: a number in each cell


@VIEWS
@HANDS
def test_cells_of_a_table_are_numbers(recognizer, view, ink):
    picture = photographed(table(TABLE, widths=WIDTHS, ink=ink), **view)
    reading = recognizer.read(picture)
    assert texts(reading) == TABLE
    assert reading.table[1][1] is None
    assert reading.to_csv().splitlines()[1] == "48,,90"


@VIEWS
@pytest.mark.parametrize("broken", [0.0, 0.3], ids=["whole", "broken rules"])
def test_a_sudoku_is_nine_rows_of_nine(recognizer, view, broken):
    expected = sudoku()
    ink = Mixed(drawn, printed, lambda text, height: printed(text, height, SERIF))
    picture = photographed(table(expected, ink=ink, thick=3, height=48, broken=broken), **view)
    for layout in ("auto", "grid"):
        assert texts(recognizer.read(picture, layout=layout)) == expected, layout


def test_light_rules_on_a_board_are_rules(recognizer):
    reading = recognizer.read(255 - table(TABLE, widths=WIDTHS))
    assert texts(reading) == TABLE
    assert reading.polarity == "light-on-dark"


def test_shaded_cells_are_read(recognizer):
    picture = table(TABLE, widths=WIDTHS).astype(float)
    picture[72:132, 72:188] *= 0.7
    picture[136:196, 192:348] *= 0.6
    assert texts(recognizer.read(picture.astype(np.uint8))) == TABLE


def test_ink_that_crosses_a_rule_stays_with_its_cell(recognizer):
    picture = table([["", ""], ["", ""], ["", ""]], height=90)
    put(picture, drawn("7", 76), (70 + 45, 70 + 90 + 38))  # its foot and its top reach over rules
    put(picture, drawn("4", 60), (70 + 135, 70 + 90 + 62))
    put(picture, drawn("3", 50), (70 + 135, 70 + 45))
    assert texts(recognizer.read(picture, layout="grid")) == [["", "3"], ["7", "4"], ["", ""]]


def test_a_grid_without_rules_is_read_by_lines(recognizer):
    picture = page(600, 300)
    for i, row in enumerate([["12", "305"], ["48", "90"]]):
        for j, text in enumerate(row):
            put(picture, drawn(text, 50), (150 + 280 * j, 80 + 130 * i))
    assert texts(recognizer.read(picture, layout="grid")) == [["12", "305"], ["48", "90"]]


# Pictures that have rules, but no cells


def squared(text, *, step, size, line=185):
    picture = page(600, 400)
    picture[::step] = line
    picture[:, ::step] = line
    put(picture, drawn(text, size), (300, 200))
    return picture


@pytest.mark.parametrize(("step", "size"), [(32, 90), (32, 40), (20, 60)])
def test_a_number_on_squared_paper_is_a_line(recognizer, step, size):
    reading = recognizer.read(squared("7352", step=step, size=size))
    assert (reading.text, reading.table) == ("7352", None)


def test_a_digit_on_squared_paper_is_a_digit(recognizer):
    picture = squared("7", step=64, size=40)
    assert recognizer.read(picture).text == str(recognizer.predict(picture).digit) == "7"


def test_a_number_on_ruled_paper_with_a_margin_is_a_line(recognizer):
    picture = page(600, 400)
    for y in range(30, 400, 40):
        picture[y : y + 2] = 160
    picture[:, 80:82] = 160
    put(picture, drawn("7352", 50), (300, 200))
    reading = recognizer.read(picture)
    assert (reading.text, reading.table) == ("7352", None)


@pytest.mark.parametrize("view", [FLAT, PHOTO], ids=["flat", "photo"])
def test_a_frame_around_one_digit_is_no_grid(recognizer, view):
    picture = photographed(table([["7"]]), **view)
    reading = recognizer.read(picture)
    assert (reading.text, reading.table) == ("7", None)
    assert reading.confidence == pytest.approx(recognizer.predict(picture).confidence, abs=1e-6)


def test_a_frame_around_a_number_is_no_grid(recognizer):
    reading = recognizer.read(table([["352"]], widths=[220]))
    assert (reading.text, reading.table) == ("352", None)


def _noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def _stripes(height, width):
    return np.where(np.arange(height)[:, None] % 6 < 3, 60, 220).repeat(width, axis=1).astype(np.uint8)


@pytest.mark.parametrize(
    "picture",
    [
        np.full((300, 400), 255, np.uint8),
        np.full((3, 2000), PAPER, np.uint8),
        np.full((1, 10), 0, np.uint8),
        _noise(300, 400),
        _noise(1, 900),
        _stripes(400, 600),
        _stripes(400, 600).T,
    ],
    ids=["blank", "strip", "dash", "noise", "noise strip", "stripes", "upright stripes"],
)
@pytest.mark.parametrize("layout", ["auto", "boxes", "grid"])
def test_pictures_without_cells_have_none(recognizer, picture, layout):
    from inkdigits.reading.cells import find_cells
    from inkdigits.reading.ink import page_grey

    assert find_cells(*page_grey(Image.fromarray(picture)), clear=True) == []
    assert not any(number.is_number for number in recognizer.read(picture, layout=layout).numbers)


def test_a_huge_noisy_picture_costs_no_more_than_a_page():
    from inkdigits.reading.cells import find_cells
    from inkdigits.reading.ink import PAGE_PIXELS, page_grey

    page = page_grey(Image.fromarray(_noise(7000, 7200)))
    assert page[0].size <= 1.01 * PAGE_PIXELS
    assert find_cells(*page) == []


def test_a_layout_that_does_not_exist_is_named(recognizer):
    with pytest.raises(ValueError, match=r"layout must be one of .*'boxes', 'grid', not 'table'"):
        recognizer.read(table([["7"]]), layout="table")
