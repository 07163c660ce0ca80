"""Non-digits are reported as such by every command, in every output format, without a confidence next to them."""

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from inkdigits.bulk.inputs import CHUNK_PICTURES
from inkdigits.data.tables import write_csv

pytestmark = pytest.mark.slow

DIGITS = {"eight.png": 8, "three.png": 3, "zero.png": 0}
REFUSED = ("letter.png", "scribble.png", "triangle.png")
COUNT = "inkdigits: 7 images: 3 digits, 3 not digits, 1 blank\n"
VALUES = ["digit", "confidence", "is_digit", "digit_score", "accepted", "reason", *(f"p{digit}" for digit in range(10))]


def sheet(size=200):
    image = Image.new("L", (size, size), 255)
    return image, ImageDraw.Draw(image)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of three real digits, a letter, a scribble, a triangle and a blank sheet."""
    folder = tmp_path_factory.mktemp("pictures")
    triangle, pen = sheet()
    pen.polygon([(100, 30), (170, 165), (30, 165)], outline=0, width=10)
    letter, pen = sheet()
    pen.line([(40, 160), (100, 30), (160, 160)], fill=0, width=14)
    pen.line([(62, 115), (138, 115)], fill=0, width=14)
    scribble, pen = sheet()
    way = [
        (100 + 80 * math.sin(3.1 * t) * math.cos(0.7 * t), 100 + 70 * math.sin(2.3 * t + 1))
        for t in np.linspace(0, 9, 90)
    ]
    pen.line(way, fill=0, width=6, joint="curve")
    scans, labels = load_digits(return_X_y=True)
    for name, digit in DIGITS.items():
        scan = scans[labels.tolist().index(digit)].reshape(8, 8)
        Image.fromarray((255 - 15.9 * scan).astype(np.uint8)).resize((80, 80)).save(folder / name)
    for name, image in (("triangle", triangle), ("letter", letter), ("scribble", scribble), ("blank", sheet()[0])):
        image.save(folder / f"{name}.png")
    return folder


@pytest.fixture
def run(tmp_path):
    """Runs one command as a user does: (exit code, standard output, standard error)."""

    def run(*argv):
        command = [sys.executable, "-m", "inkdigits", *map(str, argv)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture(scope="module")
def answers(pictures, recognizer):
    """What the library says of each, by name; the pictures are what their names say."""
    answers = {path.name: recognizer.predict(path) for path in sorted(pictures.iterdir())}
    assert {name: p.digit for name, p in answers.items() if p.is_digit} == DIGITS
    assert [name for name, p in answers.items() if not p.is_digit and not p.is_blank] == sorted(REFUSED)
    assert max(answers[name].confidence for name in REFUSED) > 0.9  # which must not be seen
    return answers


def test_a_line_says_not_a_digit_and_no_percentage(run, pictures, answers, tmp_path):
    pictures = Path(os.path.relpath(pictures, tmp_path))  # long names are not aligned
    code, out, err = run("predict", pictures)
    assert (code, err) == (0, COUNT)
    lines = {Path(line[: line.index(".png") + 4]).name: line for line in out.splitlines()}
    assert list(lines) == list(answers)
    for name in REFUSED:
        assert lines[name].endswith(f"  not a digit (nearest {answers[name].digit})")
        assert "%" not in lines[name]
    assert lines["blank.png"].endswith("  blank")
    for name, digit in DIGITS.items():
        assert f"  {digit}  {answers[name].confidence:6.1%}   then " in lines[name]
    width = len(str(pictures / "triangle.png")) + 2  # the longest name
    assert {line[:width].rstrip() for line in lines.values()} == {str(pictures / name) for name in answers}


def read_table(path):
    """The rows of an output in any form, by name: cells as Python values, None for none."""
    if path.suffix == ".parquet":
        rows = pa.parquet.read_table(path).to_pylist()
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            row |= {f"p{digit}": p for digit, p in enumerate(row.pop("probabilities", []))}
    else:
        text = list(csv.DictReader(io.StringIO(path.read_text())))
        verbatim = ("name", "reason", "error")
        rows = [{k: (v or None) if k in verbatim else json.loads(v or "null") for k, v in r.items()} for r in text]
    return {Path(row["name"]).name: row for row in rows}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("model", ["cnn", "lenet"])
def test_tables_have_the_api_s_own_names(run, tmp_path, pictures, answers, ending, model):
    from inkdigits import Recognizer

    (tmp_path / "notes.png").write_text("hello")
    out = tmp_path / f"o.{ending}"
    code, _, err = run("predict", pictures, "notes.png", "-o", out, "--model", model)
    told, count = err.splitlines()
    assert (code, told.startswith("inkdigits: notes.png: not an image")) == (1, True)
    recognizer = Recognizer(model)
    if model == "cnn":
        assert count == "inkdigits: 8 images: 3 digits, 3 not digits, 1 blank, 1 error"
    else:  # it cannot tell
        assert count == "inkdigits: 8 images: 6 digits, 1 blank, 1 error"
    rows = read_table(out)
    assert rows.keys() == {*answers, "notes.png"}
    for name in answers:
        p, row = recognizer.predict(pictures / name), rows[name]
        assert [row["digit"], row["is_digit"], row["digit_score"] is None] == [
            p.digit,
            p.is_digit,
            p.is_blank or model == "lenet",
        ]
        assert row["accepted"] is p.is_digit
        # Of one image the network's sums come in another order than of several.
        assert row["digit_score"] == pytest.approx(p.digit_score, abs=1e-6)
        assert row["confidence"] == pytest.approx(p.confidence, abs=1e-6)
        assert [row[f"p{digit}"] for digit in range(10)] == pytest.approx(p.probabilities, abs=1e-6)
        assert row.get("error") is None
    bad = rows["notes.png"]
    assert bad["accepted"] is False
    assert all(bad.get(name) is None for name in VALUES if name != "accepted")
    assert bad["error"] in told
    if ending == "csv":
        assert out.read_text().splitlines()[0] == ",".join(["name", *VALUES, "error"])
    elif ending == "parquet":
        assert pa.parquet.read_schema(out).names == ["name", *VALUES, "error"]


def test_the_lines_of_a_file_say_it_too(run, tmp_path, pictures):
    _, printed, _ = run("predict", pictures)
    code, out, err = run("predict", pictures, "-o", "o.txt")
    assert (code, out, err) == (0, "", COUNT)
    assert (tmp_path / "o.txt").read_text() == printed
    assert printed.count("not a digit (nearest ") == 3


def test_archives_and_tables_say_it_too(run, tmp_path, pictures, answers):
    names = sorted(answers)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in names:
            archive.write(pictures / name, name)
            tar.add(pictures / name, name)
    images = np.stack([np.rint(answers[name].image * 255) for name in names]).astype(np.uint8)
    with (tmp_path / "t.csv").open("w") as file:
        write_csv(file, images)
    content = [(pictures / name).read_bytes() for name in names]
    pa.parquet.write_table(pa.table({"image": content}), tmp_path / "t.parquet")
    expected = [answers[name].is_digit for name in names]
    for given in ("a.zip", "a.tar", "t.csv", "t.parquet"):
        code, out, err = run("predict", given, "--csv")
        assert (code, err) == (0, COUNT), given
        assert [row["accepted"] == "true" for row in csv.DictReader(io.StringIO(out))] == expected, given


def test_many_processes_count_as_one(run, tmp_path, pictures):
    times = 2 * CHUNK_PICTURES // 7  # more than a chunk
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(times):
            for path in sorted(pictures.iterdir()):
                archive.writestr(f"{i:03}-{path.name}", path.read_bytes())
        archive.writestr("notes.png", "hello")
    told = f"inkdigits: {7 * times + 1} images: {3 * times} digits, {3 * times} not digits, {times} blank, 1 error\n"
    for out, options in (("one.csv", ["--processes", "1"]), ("many.csv", ["--processes", "3"])):
        code, _, err = run("predict", "a.zip", "-o", out, *options)
        assert code == 1
        assert err.startswith("inkdigits: a.zip/notes.png: not an image")
        assert err.endswith(f"\n{told}")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "many.csv").read_bytes()


def test_a_run_that_was_stopped_counts_all_its_rows(run, tmp_path, pictures):
    for part in ("a", "b"):
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
            for i in range(CHUNK_PICTURES):
                archive.write(pictures / "triangle.png", f"{i}.png")
    stop = (
        "import sys; from inkdigits.bulk.journal import Journal\n"
        "def finish(self): raise KeyboardInterrupt\n"
        "Journal.finish = finish\n"
        "from inkdigits.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = ["predict", "a.zip", "b.zip", "-o", "o.csv", "--processes", "1"]
    stopped = subprocess.run([sys.executable, "-c", stop, *command], cwd=tmp_path, capture_output=True, text=True)
    assert stopped.returncode == 130
    assert "512 rows are kept in o.csv.part; --resume continues" in stopped.stderr

    # What was begun with other rows is not mixed with these.
    code, _, err = run(*command, "--resume", "--min-confidence", "0.5")
    assert code == 2
    assert "o.csv.part is of another run (another --min-confidence: 0.0 then, 0.5 now) and holds 512 finished " in err
    kept = (tmp_path / "o.csv.part").read_bytes()
    magic, first, rest = kept.split(b"\n", 2)
    about = json.loads(first)
    about["layout of rows"] -= 1  # as an earlier version of the program would leave it
    (tmp_path / "o.csv.part").write_bytes(b"\n".join([magic, json.dumps(about, sort_keys=True).encode(), rest]))
    code, _, err = run(*command, "--resume")
    assert code == 2
    assert "o.csv.part is of another run (another layout of rows: 2 then, 3 now)" in err

    (tmp_path / "o.csv.part").write_bytes(kept)
    code, _, err = run(*command, "--resume")
    count = "inkdigits: 512 images: 0 digits, 512 not digits\n"
    assert (code, err) == (0, count)

    # A finished output is compared with, and counted the same; one of other rows stays as it is.
    whole = (tmp_path / "o.csv").read_bytes()
    assert run(*command, "--resume") == (0, "", count)
    code, _, err = run(*command, "--resume", "--model", "lenet")
    assert (code, "o.csv is finished, and another run's" in err) == (2, True)
    assert (tmp_path / "o.csv").read_bytes() == whole


def test_below_a_confidence_a_digit_is_unsure(run, tmp_path, pictures, answers):
    sure = {name: answers[name].confidence for name in DIGITS}
    low = min(sure, key=sure.__getitem__)
    least = sorted(sure.values())[1] - 1e-5
    assert sure[low] < least < 1
    options = ["--min-confidence", f"{least:.6f}"]
    code, out, err = run("predict", pictures, *options)
    assert (code, err) == (0, "inkdigits: 7 images: 2 digits, 3 not digits, 1 unsure, 1 blank\n")
    [line] = [line for line in out.splitlines() if low in line]
    assert line.endswith(f"  unsure (nearest {DIGITS[low]}, {sure[low]:.1%})")
    assert out.count("not a digit") == 3
    for ending in ("csv", "jsonl", "parquet"):
        assert run("predict", pictures, "-o", f"o.{ending}", *options)[0] == 0
        rows = read_table(tmp_path / f"o.{ending}")
        assert {name for name, row in rows.items() if row["accepted"]} == {*DIGITS} - {low}
        assert (rows[low]["digit"], rows[low]["is_digit"]) == (DIGITS[low], True)


@pytest.mark.parametrize("given", ["-0.1", "1.5", "90", "nan", "inf"])
def test_a_confidence_that_is_none_is_rejected(run, pictures, given):
    code, out, err = run("predict", pictures, f"--min-confidence={given}")
    expected = f"inkdigits: error: --min-confidence must be from 0 to 1, such as 0.9, not {given}\n"
    assert (code, out, err) == (2, "", expected)


def test_one_image_is_not_counted(run, pictures):
    code, out, err = run("predict", pictures / "triangle.png")
    assert (code, err) == (0, "")
    assert re.fullmatch(r".*triangle\.png  not a digit \(nearest \d\)\n", out)


def test_a_submission_tells_which_of_its_labels_are_no_digits(run, tmp_path, pictures, answers):
    names = sorted(answers)  # blank, eight, letter, scribble, three, triangle, zero
    images = np.stack([np.rint(answers[name].image * 255) for name in names]).astype(np.uint8)
    with (tmp_path / "t.csv").open("w") as file:
        write_csv(file, images)
    code, out, err = run("submit", "t.csv", "-o", "s.csv")
    assert (code, out) == (0, "wrote s.csv: 7 rows read by cnn\n")
    assert err == (
        "inkdigits: 4 of 7 rows do not show a digit but have a label, as Kaggle demands: "
        "3 not digits (ImageId 3, 4, 6), 1 blank (ImageId 1)\n"
    )
    labels = [int(row["Label"]) for row in csv.DictReader(io.StringIO((tmp_path / "s.csv").read_text()))]
    assert labels[1:] == [answers[name].digit for name in names[1:]]
    code, out, printed = run("submit", "t.csv")
    assert (code, out, printed) == (0, (tmp_path / "s.csv").read_text(), err)

    with (tmp_path / "many.csv").open("w") as file:
        write_csv(file, np.repeat(images[[2]], 30, axis=0))
    _, _, err = run("submit", "many.csv", "-o", "s.csv")
    assert "30 of 30 rows do not show a digit" in err
    assert "30 not digits (ImageId 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …)" in err

    with (tmp_path / "good.csv").open("w") as file:
        write_csv(file, images[[1, 4, 6]])
    assert run("submit", "good.csv", "-o", "s.csv") == (0, "wrote s.csv: 3 rows read by cnn\n", "")


def test_an_evaluation_reports_how_many_digits_are_rejected(run, tmp_path, pictures):
    labels = {**DIGITS, "triangle.png": 4, "letter.png": 4, "blank.png": 1}
    for name, label in labels.items():
        (tmp_path / "scans" / str(label)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "scans" / str(label) / name).write_bytes((pictures / name).read_bytes())
    code, out, err = run("evaluate", "cnn", "--data", "scans")
    assert (code, err) == (0, "")
    assert "not a digit          33.33%   2 rejected; the nearest digit counts above\n" in out
    assert json.loads(run("evaluate", "cnn", "--data", "scans", "--json")[1])["refused"] == 2
    code, out, _ = run("evaluate", "lenet", "--data", "scans")  # which cannot tell
    assert (code, "not a digit" in out) == (0, False)
    assert json.loads(run("evaluate", "lenet", "--data", "scans", "--json")[1])["refused"] is None
