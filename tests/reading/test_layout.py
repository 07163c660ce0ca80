"""Components become lines, numbers and tables: those that were laid out."""

import numpy as np
import pytest

from inkdigits.reading.layout import characters, group, table_of

DIGIT = (24, 40)  # pixels, width and height


def laid_out(*places, size=DIGIT):
    """Boxes of digits with these left and top, and their areas."""
    boxes = np.array([(x, y, x + size[0], y + size[1]) for x, y in places])
    return boxes, np.full(len(boxes), 200)


def texts(blocks):
    return [sorted(map(int, block.parts)) for block in blocks]


def test_digits_of_a_line_are_one_number_and_far_ones_are_another():
    boxes, area = laid_out((0, 100), (30, 104), (62, 98), (160, 100), (190, 103))
    assert texts(group(boxes, area)) == [[0, 1, 2], [3, 4]]
    assert texts(group(boxes, area, is_one=True)) == [[0, 1, 2, 3, 4]]


def test_lines_are_read_from_top_to_bottom_and_left_to_right():
    boxes, area = laid_out((200, 110), (0, 100), (0, 0), (200, 10), (100, 210))
    assert texts(group(boxes, area)) == [[2], [3], [1], [0], [4]]
    assert [block.row for block in group(boxes, area)] == [0, 0, 1, 1, 2]


def test_a_line_may_rise():
    places = [(30 * i, 400 - 12 * i) for i in range(12)]  # by three times a digit's height
    boxes, area = laid_out(*places)
    assert texts(group(boxes, area)) == [list(range(12))]


def test_points_commas_and_dashes_belong_to_their_number():
    boxes, area = laid_out((30, 100), (60, 100), (100, 100))
    marks = np.array([[90, 134, 96, 140], [8, 118, 24, 122], [130, 132, 136, 146]])  # a point, a minus, a comma
    boxes, area = np.concatenate([boxes, marks]), np.append(area, [36, 64, 60])
    assert texts(group(boxes, area)) == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("top", [128, 136, 143])
def test_a_long_comma_that_hangs_below_its_line_belongs_to_its_number(top):
    boxes, area = laid_out((30, 100), (60, 100), (100, 100))
    comma = [88, top, 97, top + 26]  # two thirds of a digit
    boxes, area = np.vstack([boxes, [comma]]), np.append(area, 90)
    [block] = group(boxes, area)
    assert sorted(map(int, block.parts)) == [0, 1, 2, 3]


@pytest.mark.parametrize("place", [(64, 146), (64, 160), (190, 124)])
def test_a_small_digit_of_another_line_is_not_a_comma(place):
    boxes, area = laid_out((30, 100), (60, 100), (100, 100))
    left, top = place
    boxes, area = np.vstack([boxes, [[left, top, left + 18, top + 28]]]), np.append(area, 120)
    assert [len(block.parts) for block in group(boxes, area)] != [4]


def test_a_speck_far_from_all_digits_is_left_out():
    boxes, area = laid_out((30, 100), (60, 100))
    boxes, area = np.vstack([boxes, [[300, 300, 304, 304]]]), np.append(area, 16)
    assert texts(group(boxes, area)) == [[0, 1]]


def test_parts_of_one_digit_are_one_character():
    boxes = np.array([[0, 0, 20, 30], [4, 32, 22, 60], [40, 0, 60, 60], [58, 0, 90, 60]])
    assert [list(map(int, group)) for group in characters(boxes)] == [[0, 1], [2], [3]]


def test_numbers_in_columns_are_a_table_with_empty_cells():
    boxes, area = laid_out((0, 0), (200, 4), (400, 0), (0, 100), (404, 98), (204, 200))
    blocks = group(boxes, area)
    assert table_of(blocks) == [[0, 1, 2], [3, None, 4], [None, 5, None]]


@pytest.mark.parametrize("places", [[(0, 0), (200, 0)], [(0, 0), (0, 100)], [(0, 0), (100, 0), (50, 100), (150, 100)]])
def test_a_line_a_column_and_ragged_lines_are_no_table(places):
    boxes, area = laid_out(*places, size=(60, 40))
    assert table_of(group(boxes, area)) is None


def test_as_many_components_as_a_page_has_are_grouped():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 1500, (20_000, 2))
    boxes = np.hstack([corners, corners + rng.integers(1, 40, (20_000, 2))])
    blocks = group(boxes, rng.integers(1, 500, 20_000))
    assert 0 < sum(len(block.parts) for block in blocks) <= 3000
