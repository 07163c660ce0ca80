"""Pen strokes: files that are read, data sets that are found, and drawings of them."""

import gzip
import hashlib
import os
from collections import Counter

import numpy as np
import pytest

from inkdigits import DataError
from inkdigits.data import pen
from inkdigits.data.pen import CANVAS, INKS, PAPERS, PENS, PenDigit, load_pendigits, pen_picture, read_unipen
from inkdigits.settings import Settings
from inkdigits.synthesis.corruptions.sheet import look
from inkdigits.synthesis.strokes import draw

from support.drawings import DIGITS

UNIPEN = """
.VERSION 1.0
.SEGMENT DIGIT 0 ? "8"
.COMMENT 8 12 224
.DT 100
.PEN_DOWN
  10   20
  11   25

  13   31
.PEN_UP
.PEN_DOWN
  40   50
.PEN_UP
.SEGMENT DIGIT 1 ? "3"
.COMMENT 3 2 225
.PEN_DOWN
  7 7
.PEN_UP
"""


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_unipen_file_is_read(tmp_path, pack):
    path = tmp_path / "some.tra"
    path.write_bytes(pack(UNIPEN.encode()))
    eight, three = read_unipen(path, hashlib.sha256(UNIPEN.encode()).hexdigest())
    assert (eight.label, eight.writer, three.label, three.writer) == (8, 12, 3, 2)
    # y runs upwards in the file and downwards in a picture.
    np.testing.assert_array_equal(eight.strokes[0], [[10, -20], [11, -25], [13, -31]])
    np.testing.assert_array_equal(eight.strokes[1], [[40, -50]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no .SEGMENT DIGIT"),
        (b"label,pixel0\n", "holds no .SEGMENT DIGIT"),
        (UNIPEN.replace("13   31", "13 x").encode(), "line 10: expected the x and y of a point, not '13 x'"),
        (UNIPEN.replace('? "3"', "?").encode(), r'line 15: expected .SEGMENT DIGIT n \? "label"'),
        (gzip.compress(UNIPEN.encode(), mtime=0)[:-20], "cannot be read as UNIPEN text"),
        (gzip.compress(UNIPEN.encode(), mtime=0)[:12] + b"\xff" * 30, "cannot be read as UNIPEN text"),
        ("é".encode(), "cannot be read as UNIPEN text"),
    ],
)
def test_a_file_that_is_no_unipen_is_told(tmp_path, content, message):
    path = tmp_path / "some.tra"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_unipen(path)


def test_another_content_than_expected_is_told(tmp_path):
    path = tmp_path / "some.tra"
    path.write_text(UNIPEN)
    with pytest.raises(
        DataError, match=r"some.tra is not the file it should be: its content has SHA-256 \w{64}, expected 00"
    ):
        read_unipen(path, "00")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_pendigits_are_found(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(pen, "PENDIGITS_SHA256", hashlib.sha256(UNIPEN.encode()).hexdigest())
    (tmp_path / "pendigits").mkdir()
    packed = gzip.compress(UNIPEN.encode()) if suffix else UNIPEN.encode()
    (tmp_path / "pendigits" / f"pendigits-orig.tra{suffix}").write_bytes(packed)
    assert [digit.label for digit in load_pendigits(Settings(data=str(tmp_path)))] == [8, 3]


def test_pendigits_that_are_not_there_are_told(tmp_path):
    with pytest.raises(DataError, match=r"set INKDIGITS_DATA to .* https://archive.ics.uci.edu/.*zip"):
        load_pendigits(Settings(data=""))
    with pytest.raises(DataError, match=r"no pen strokes in .*pendigits: get https://archive.ics.uci.edu/.*zip"):
        load_pendigits(Settings(data=str(tmp_path)))
    (tmp_path / "pendigits").mkdir()
    (tmp_path / "pendigits" / "pendigits-orig.tra").write_text(UNIPEN)
    with pytest.raises(DataError, match="is not the file it should be"):
        load_pendigits(Settings(data=str(tmp_path)))


@pytest.mark.skipif(not os.environ.get("INKDIGITS_DATA"), reason="INKDIGITS_DATA names no folder with the pen strokes")
def test_the_real_pendigits():
    digits = load_pendigits(Settings.from_env())
    assert len(digits) == 7494
    writers = Counter(digit.writer for digit in digits)
    assert sorted(writers) == list(range(1, 31))
    assert set(Counter(digit.label for digit in digits)) == set(range(10))


def test_a_line_is_as_wide_and_as_dark_as_asked():
    across = draw([np.array([[-10.0, 20.0], [50.0, 20.0]])], 40, 40, pen=7.5, paper=250, ink=10)
    column = (250 - across[:, 20].astype(float)) / 240
    assert column.sum() == pytest.approx(7.5, abs=0.02)
    assert column[17:23].min() == 1


def digit(label):
    return PenDigit(label, 1, tuple(DIGITS[label]))


def test_pictures_of_pen_strokes_are_what_a_canvas_sends():
    pens, papers, inks, sizes = [], [], [], []
    for seed in range(60):
        picture = pen_picture(digit(seed % 10), np.random.default_rng(seed))
        assert picture.shape == (CANVAS, CANVAS)
        assert picture.dtype == np.uint8
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert np.ptp(border) == 0, "ink is cut off"
        sheet = look(picture)
        pens.append(sheet.pen)
        sizes.append(sheet.size)
        papers.append(int(sheet.paper))
        inks.append(int(picture.min()))
    assert min(pens) < 5
    assert max(pens) > 18
    assert max(pens) <= PENS[1] + 2
    assert min(sizes) < 100 < 200 < max(sizes)
    assert PAPERS[0] <= min(papers) <= max(papers) <= PAPERS[1]
    assert INKS[0] <= min(inks)


def test_the_same_generator_draws_the_same():
    first, again = (pen_picture(digit(5), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (pen_picture(digit(5), np.random.default_rng(4)) != first).any()


def test_a_dot_can_be_drawn():
    dot = PenDigit(1, 1, (np.array([[3.0, 4.0]]),))
    for seed in range(8):
        assert pen_picture(dot, np.random.default_rng(seed)).min() < 100
