"""Which components of the ink are the digit: against SciPy's labels, and pictures with neighbors, frames and parts."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from inkdigits.preprocess.components import MOST_COMPONENTS, MOST_PARTS, PIECE_SHARE, SMALL, components, connected
from inkdigits.preprocess.paper import Marks

SIDE = 160


def marks_of(mask):
    return Marks(np.asarray(mask, np.float32), 1.0, 0.5, 0.2, 0.0, "dark-on-light")


def blocks(*boxes, side=SIDE):
    """A mask of filled boxes, each x0, y0, x1, y1."""
    mask = np.zeros((side, side), bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def bounds_of(*boxes, side=SIDE):
    return [ink.bounds for ink in components(marks_of(blocks(*boxes, side=side)))]


def test_labels_are_the_numbers_of_the_components():
    mask = np.random.default_rng(4).random((40, 60)) < 0.4
    found = connected(mask)
    labels = found.labels(np.arange(1, len(found.area) + 1))
    assert np.array_equal(labels > 0, mask)
    expected, n = ndimage.label(mask, np.ones((3, 3)))
    assert n == len(found.area)
    assert len(set(zip(labels[mask], expected[mask], strict=True))) == n
    assert np.array_equal(np.bincount(labels.ravel())[1:], found.area)


def test_connected_components_against_scipy():
    rng = np.random.default_rng(3)
    for _ in range(60):
        mask = rng.random(rng.integers(1, 60, 2)) < rng.uniform(0.02, 0.7)
        labels, n = ndimage.label(mask, np.ones((3, 3)))
        found = connected(mask)
        assert len(found.area) == n
        boxes = [(c.start, r.start, c.stop, r.stop) for r, c in ndimage.find_objects(labels)]
        expected = sorted(zip(np.bincount(labels.ravel(), minlength=n + 1)[1:], boxes, strict=True))
        assert sorted(zip(found.area, map(tuple, found.boxes()), strict=True)) == expected
        for i in range(n):
            drawn = found.drawn(np.arange(n) == i)
            assert drawn.sum() == found.area[i]
            assert len(np.unique(labels[drawn])) == 1


def test_specks_are_dropped_in_pictures_of_any_size():
    rng = np.random.default_rng(4)
    for _ in range(60):
        mask = rng.random(rng.integers(2, 40, 2)) < rng.uniform(0.02, 0.5)
        labels, n = ndimage.label(mask, np.ones((3, 3)))
        found = components(marks_of(mask))
        if not n:
            assert found == []
            continue
        area = np.bincount(labels.ravel())[1:]
        kept = np.isin(labels, np.nonzero(area >= max(PIECE_SHARE * area.max(), 2 if mask.size > SMALL else 1))[0] + 1)
        if not kept.any():
            assert found == []
            continue
        rows, columns = kept.any(axis=1).nonzero()[0], kept.any(axis=0).nonzero()[0]
        x0, y0, x1, y1 = found[0].bounds  # soft ink around what is kept may be a speck
        assert (x0, y0) <= (columns[0], rows[0])
        assert x1 > columns[-1]
        assert y1 > rows[-1]


def test_a_piece_of_a_neighbor_that_the_border_cuts_is_dropped():
    digit = (60, 40, 80, 120)
    assert bounds_of(digit, (150, 60, 160, 100)) == [digit]
    assert bounds_of(digit, (0, 60, 8, 100)) == [digit]
    touching = (83, 60, 160, 70)  # a stroke of the digit's that leaves the picture
    assert bounds_of(digit, touching) == [(60, 40, 160, 120)]


def test_small_ink_far_from_the_digit_is_dropped_and_near_it_is_kept():
    digit = (60, 40, 80, 120)
    assert bounds_of(digit, (84, 40, 94, 50)) == [(60, 40, 94, 120)]
    assert bounds_of(digit, (140, 40, 150, 50)) == [digit]


def test_parts_that_are_far_apart_follow_the_whole_the_largest_first():
    left, right = (20, 40, 40, 120), (100, 40, 130, 120)
    assert bounds_of(left, right) == [(20, 40, 130, 120), right, left]
    near = (60, 40, 80, 120)
    assert bounds_of(left, near) == [(20, 40, 80, 120)]
    low = (100, 100, 130, 120)
    assert bounds_of(left, low) == [(20, 40, 130, 120)], "too short to be a digit of its own"
    assert bounds_of((3, 8, 8, 36), (30, 8, 35, 36), side=40) == [(3, 8, 35, 36)], "not in a small picture"


def test_a_part_has_no_ink_of_another():
    mask = blocks((20, 40, 40, 120), (100, 40, 130, 120))
    whole, *parts = components(marks_of(mask))
    assert len(parts) == 2
    assert sum(part.cover.sum() for part in parts) == whole.cover.sum() == mask.sum()


def test_ink_within_the_bounds_of_other_ink_is_framed():
    digit = (70, 60, 90, 100)
    frame = blocks((40, 30, 120, 130)) & ~blocks((44, 34, 116, 126))
    [found] = components(marks_of(frame | blocks(digit)))
    assert found.is_framed
    three_sides = frame.copy()
    three_sides[:, 116:] = False
    [found] = components(marks_of(three_sides | blocks(digit)))
    assert found.is_framed
    [found] = components(marks_of(blocks(digit, (70, 104, 90, 110))))
    assert not found.is_framed


@pytest.mark.parametrize("side", [10, 12, 16, 20])
def test_a_ring_that_fills_a_tiny_picture_is_kept(side):
    large = Image.new("L", (side * 20, side * 20))
    box = (side * 2, side * 2, side * 18, side * 18)
    ImageDraw.Draw(large).ellipse(box, outline=255, width=side * 20 // 12)
    [found] = components(marks_of(np.asarray(large.resize((side, side), Image.Resampling.BOX)) / 255))
    margin = side // 10
    assert found.bounds == (margin, margin, side - margin, side - margin)


def test_of_many_components_the_largest_are_taken():
    """A page of dots costs no more than one of few."""
    page = np.zeros((900, 900), np.float32)
    for y in range(3):
        for x in range(3):
            page[y::12, x::12] = 1
    whole, *parts = components(Marks(page, 1.0, 0.5, 0.2, 0.0, "dark-on-light"))
    assert (whole.cover > 0.5).sum() <= 9 * MOST_COMPONENTS
    assert len(parts) <= MOST_PARTS
