"""benchmarks/pictures.py as a program, how it counts, and the pictures that it makes."""

import csv
import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from inkdigits.errors import ImageTooSmall
from inkdigits.prediction import Box, Prediction
from inkdigits.synthesis.strokes import draw

from picture_sets import dark_things, ink_box, real, scenes, several, structured
from picture_sets.digits import ink_of
from picture_sets.not_digits import ALLOWED, strict_threshold
from picture_sets.tally import NAME, Case, Measured, accepted, at_least, at_most
from support.drawings import DIGITS, picture
from support.paths import ROOT

BOX = Box(0, 0, 5, 5)


# --- the program ------------------------------------------------------------------------------------------------------


def run(data, *options):
    environ = {**os.environ, "INKDIGITS_DATA": str(data)}
    command = [sys.executable, "benchmarks/pictures.py", "--no-record", *map(str, options)]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)


def index(folder, rows):
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "kind"), *rows])


def test_the_program_counts_pictures_and_names_what_it_could_not_measure(tmp_path):
    folder = tmp_path / "data" / "pictures"
    folder.mkdir(parents=True)
    for digit in (2, 3):
        Image.fromarray(picture(digit)).save(folder / f"{digit}.png")
    Image.fromarray(picture(4)).save(folder / "4.png")
    index(folder, [("2.png", 2, "paint"), ("3.png", 3, "photo"), ("4.png", 9, "dida")])
    recorded = ROOT / "benchmarks" / "results" / "pictures.csv"
    before = recorded.read_bytes() if recorded.exists() else None
    done = run(tmp_path / "data", "--only", "pictures", "failing", "--sheets", tmp_path / "sheets")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line[:NAME].strip(): line[NAME:].split() for line in done.stdout.splitlines()}
    assert rows["pictures: paint"][:5] == ["1", "1", "0", "0", "100.00%"]
    assert rows["pictures: dida"][:5] == ["1", "0", "1", "0", "0.00%"]
    assert rows["pictures: all without dida"] == ["2", "2", "0", "0", "100.00%", ">=", "99.6%", "yes", "model's"]
    assert f"failing not measured: there is no failing in the folder that INKDIGITS_DATA names ({folder.parent})" in (
        done.stdout
    )
    assert (recorded.read_bytes() if recorded.exists() else None) == before
    assert [path.name for path in (tmp_path / "sheets").iterdir()] == ["pictures_dida.png"]  # what was read wrong


def test_an_unknown_set_is_an_error_that_lists_the_sets():
    done = run("data", "--only", "photos")
    assert done.returncode == 2
    assert "pictures" in done.stderr


# --- counting ---------------------------------------------------------------------------------------------------------


def prediction(digit, score, *, is_digit=None, confidence=0.9):
    blank = digit is None
    is_digit = not blank and score >= 0.5 if is_digit is None else is_digit
    shape = np.zeros((28, 28), np.float32)
    return Prediction(digit, confidence, (0.1,) * 10, shape, None if blank else BOX, None, is_digit, score)


def test_accepting_by_the_model_and_by_another_threshold(recognizer):
    assert 0.3 < recognizer.model.threshold < 0.9
    good, poor, vetoed = prediction(3, 0.9), prediction(3, 0.3), prediction(3, 0.99, is_digit=False)
    unread = [prediction(None, None), ImageTooSmall("1 × 1")]
    assert [accepted(a, recognizer) for a in (good, poor, vetoed, *unread)] == [True, False, False, False, False]
    assert [accepted(a, recognizer, 0.95) for a in (good, poor, vetoed, *unread)] == [False] * 5
    # A lower threshold lets in what the score kept out, and not what the model rejects for another reason.
    assert [accepted(a, recognizer, 0.1) for a in (good, poor, vetoed, *unread)] == [True, True, False, False, False]


def test_counting_right_wrong_and_rejected(recognizer):
    measured = Measured(recognizer, None)
    image = np.zeros((28, 28), np.uint8)
    cases = [Case(image, 3), Case(image, 3), Case(image, 3), Case(image, None)]
    answers = [prediction(3, 0.9), prediction(5, 0.9), prediction(3, 0.2), prediction(3, 0.2)]
    row = measured.count("all", cases, at_least(0.5), answers=answers)
    assert (row.n, row.right_accepted, row.wrong_accepted, row.rejected) == (4, 1, 1, 2)
    assert (row.share, row.met) == ("50.00%", "yes")  # one read right, one rejected as it must be
    assert measured.count("all", cases, at_most(0.4), answers=answers, of="accepted").met == "no"
    assert measured.count("all", cases, answers=answers, of="digit").share == "50.00%"
    assert measured.count("all", cases, answers=answers, of="rejected", threshold=0.95).share == "100.00%"


def test_a_rejection_for_another_reason_is_not_right(recognizer):
    class Rejected:
        digit, is_digit, digit_score = 3, False, 0.2
        reason = "not a digit"

    case = [Case(np.zeros((28, 28), np.uint8), None, real.SEVERAL)]
    measured = Measured(recognizer, None)
    assert measured.count("one", case, answers=[Rejected()]).share == "0.00%"
    Rejected.reason = real.SEVERAL
    assert measured.count("one", case, answers=[Rejected()]).share == "100.00%"


def test_the_strict_threshold_rejects_at_most_its_share_of_each_data_set(recognizer, monkeypatch):
    rng = np.random.default_rng(0)
    scores = [np.sort(rng.uniform(0.5, 1, n)) for n in (5000, 1500)]
    sets = [[Case(np.zeros((28, 28), np.uint8), 3)] * len(each) for each in scores]
    monkeypatch.setattr("picture_sets.not_digits.validation", lambda measured: iter(sets))
    measured = Measured(recognizer, None)
    answers = iter([[prediction(3, float(score)) for score in each] for each in scores])
    measured.read = lambda cases: next(answers)
    found = strict_threshold(measured)
    shares = [float((each < found).mean()) for each in scores]
    assert max(shares) <= ALLOWED
    assert max(shares) > ALLOWED - 1 / 1500  # and no lower than it need be


# --- ink and dark things ----------------------------------------------------------------------------------------------


def uneven(pixels):
    light = np.linspace(1, 0.75, pixels.shape[1])[None] * np.linspace(0.9, 1, pixels.shape[0])[:, None]
    return np.rint(pixels * light).astype(np.uint8)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("digit", DIGITS)
def test_the_box_of_ink_on_uneven_paper(digit, swap):
    clean = picture(digit, 200, at=(70, 40), paper=230, ink=40)
    rows, columns = ((clean < 140).any(axis=axis).nonzero()[0] for axis in (1, 0))
    true = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    pixels = uneven(clean)
    found = ink_box.find(Image.fromarray(255 - pixels if swap else pixels))
    assert found.dark is not swap
    assert np.abs(np.subtract(found.box, true)).max() <= 2
    left, top, right, bottom = true
    assert found.filled == pytest.approx((clean[top:bottom, left:right] < 140).mean(), abs=0.08)


def test_a_large_picture_has_its_box_in_its_own_pixels():
    small = ink_box.find(Image.fromarray(picture(5, 300, at=(60, 90)))).box
    large = ink_box.find(Image.fromarray(picture(5, 1500, at=(300, 450), ink_size=900))).box
    assert np.abs(np.subtract(large, np.multiply(small, 5))).max() <= 10


def test_the_lines_of_a_form_are_left_out():
    framed = picture(4, 200, ink_size=90, ink=110)
    for at in (10, 186):
        framed[at : at + 4] = framed[:, at : at + 4] = 10
    plain = picture(4, 200, ink_size=90, ink=110)
    found, true = (ink_box.find(Image.fromarray(p), lines=True).box for p in (framed, plain))
    assert np.abs(np.subtract(found, true)).max() <= 2


def test_a_blank_page_has_no_ink():
    assert ink_box.find(Image.fromarray(np.full((80, 80), 200, np.uint8))) is None


def test_only_a_bar_is_a_tall_box_full_of_ink():
    bar, slanted = picture(1, 200, pen=20), np.full((200, 200), 255, np.uint8)
    bar[:] = 255
    bar[40:160, 90:110] = 0
    slanted = draw([np.array([(60.0, 40.0), (140.0, 160.0)])], 200, 200, pen=16)
    eight = picture(8, 200, pen=24)
    found = [real.only_a_bar(ink_box.find(Image.fromarray(p))) for p in (bar, slanted, eight)]
    assert found == [True, False, False]


@pytest.mark.parametrize("thing", dark_things.THINGS)
def test_a_dark_thing_covers_part_of_the_picture_and_nothing_near_the_digit(thing):
    page = np.repeat(picture(6, 240, ink_size=90, paper=220)[..., None], 3, axis=2)
    box = Box(*ink_box.find(Image.fromarray(page)).box)
    made = [dark_things.add(page, box, thing, np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3)]
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[1], made[2])
    for found in made:
        changed = np.abs(found.astype(int) - page).max(axis=2)
        assert changed[int(box.top) : int(box.bottom), int(box.left) : int(box.right)].max() <= 6
        dark = (found.mean(axis=2) < 180) & (changed > 20)
        assert 0.02 < dark.mean() < 0.45
        parts, n = ndimage.label(dark)
        border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
        at_edge = np.isin(parts, border[border > 0])
        assert n and at_edge.sum() > 0.9 * dark.sum()  # it reaches in from outside the picture


def test_there_is_no_room_for_a_thing_where_the_digit_fills_the_picture():
    page = np.full((120, 120, 3), 220, np.uint8)
    for thing in dark_things.THINGS:
        assert dark_things.add(page, Box(4, 4, 116, 116), thing, np.random.default_rng(0)) is None


# --- structured paper -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", structured.KINDS)
def test_structured_paper_leaves_the_digit_to_be_read(kind):
    """The ink keeps its tone, and is darker than what is right next to it."""
    for number in range(6):
        rng = np.random.default_rng((1, number))
        digit = 255 - picture(number, 28, pen=3)
        sheet = structured.Sheet(ink_of(digit, 120, rng), rng)
        found = structured.KINDS[kind](sheet)
        plain = sheet.inked(sheet.plain)
        assert found.shape == (*sheet.cover.shape, 3)
        inked = sheet.cover > 0.95
        around = (away := sheet.away()) * (away < 8) > 2
        assert np.abs(found[inked] - sheet.ink).mean() < 45
        assert np.median(found[around].mean(axis=1)) - np.median(found[inked].mean(axis=1)) > 60
        assert (np.abs(found - plain).max(axis=2) > 10).mean() > 0.005  # there is structure


@pytest.mark.parametrize("kind", structured.KINDS)
def test_structured_pictures_are_the_same_for_the_same_number(kind):
    digit = 255 - picture(3, 28, pen=3)
    one, again, other = (structured.make(kind, digit, number) for number in (7, 7, 8))
    assert one.dtype == np.uint8
    assert np.array_equal(one, again)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_structured_kinds_are_not_among_those_that_training_may_use():
    from inkdigits.synthesis.corruptions import CORRUPTIONS

    assert len(structured.KINDS) == 10
    assert not {*structured.KINDS} & {*CORRUPTIONS}
    for path in (ROOT / "src").rglob("*.py"):
        assert "picture_sets" not in path.read_text(encoding="utf-8"), path


# --- several digits ---------------------------------------------------------------------------------------------------


def inks(*digits, size=60):
    return [ink_of(255 - picture(d, 28, pen=3), size, np.random.default_rng(0)) for d in digits]


@pytest.mark.parametrize("gap", [5, 37])
def test_digits_in_a_row_have_the_gap_between_them(gap):
    row = several.in_a_row(inks(3, 0, 8), gap, [0, 0, 0])
    paper = ~(row > 0.3).any(axis=0)
    runs = [len(run) for run in "".join("-" if p else "#" for p in paper).split("#") if run]
    assert runs == [gap, gap]


@pytest.mark.parametrize("digits", [(0, 0), (4, 7), (1, 1), (5, 6, 8)])
def test_touching_digits_are_one_piece_of_ink(digits):
    row = several.in_a_row(inks(*digits), None, [0] * len(digits))
    assert ndimage.label(row > 0.5, np.ones((3, 3)))[1] == 1
    alone = sum((ink > 0.3).any(axis=0).sum() for ink in inks(*digits))
    assert 0.5 * alone < row.shape[1] <= alone + 1


def test_a_written_number_has_all_its_strokes_on_the_picture():
    strokes = [np.array([(1000.0, 3000.0), (1040.0, 3090.0)]), np.array([(1100.0, 3000.0), (1100.0, 3100.0)])]
    for seed in range(8):
        found = several.written(strokes, np.random.default_rng(seed))
        dark = found < (int(found.max()) + int(found.min())) / 2
        assert ndimage.label(dark, np.ones((3, 3)))[1] == 2
        assert not (dark[0].any() or dark[-1].any() or dark[:, 0].any() or dark[:, -1].any())


def test_numbers_of_crohme_are_taken_by_their_count_of_digits(tmp_path, recognizer, monkeypatch):
    (tmp_path / "numbers").mkdir()
    symbol = {"strokes": [[[0, 0], [5, 40]]]}
    lines = [{"text": t, "symbols": [symbol, {"strokes": [[[30, 0], [30, 40]]]}]} for t in ("43", "1.1", "170", "2000")]
    with gzip.open(tmp_path / "numbers" / "crohme.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    measured = Measured(recognizer, None)
    monkeypatch.setattr(measured, "folder", lambda name: tmp_path / name)
    rows = list(several.crohme(measured))
    assert [(row.set, row.n) for row in rows] == [("several: CROHME, 2 digits", 1), ("several: CROHME, 3 digits", 1)]


# --- scenes -----------------------------------------------------------------------------------------------------------


def test_scenes_and_photographs_are_color_pictures_and_always_the_same():
    made, again = scenes.scenes(20), scenes.scenes(20)
    assert [kind for kind, _ in made] == [*scenes.SCENES] * 2
    for (_, one), (_, other) in zip(made, again, strict=True):
        assert one.dtype == np.uint8 and one.ndim == 3
        assert np.array_equal(one, other)
        assert one.astype(float).std() > 3
    parts = scenes.photographs(4)
    assert [name for name, _ in parts] == ["china", "flower"] * 2
    assert all(part.ndim == 3 and min(part.shape[:2]) >= scenes.PARTS[0] for _, part in parts)
