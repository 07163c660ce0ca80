"""From a table as Kaggle has it to a model and a submission, through the command line, on real digits."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from inkdigits import DataError, Recognizer
from inkdigits.cli import main
from inkdigits.data.catalog import load
from inkdigits.data.tables import write_csv
from inkdigits.evaluation.submit import submit
from inkdigits.network import find_model
from inkdigits.preprocess import preprocess
from inkdigits.progress import silent
from inkdigits.settings import Settings


@pytest.fixture(scope="module")
def digits():
    """Scikit-learn's 1,797 digits as 28×28 uint8, ink 255 on paper 0, and labels."""
    whole = load("digits", Settings(), part="all")
    images = np.stack([np.rint(preprocess(image).image * 255) for image in whole.images]).astype(np.uint8)
    return images, whole.labels


def write(path, images, labels=None):
    with path.open("w") as file:
        write_csv(file, images, labels)
    return path


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs one command line in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INKDIGITS_CACHE", str(tmp_path / "cache"))

    def run(*argv):
        capsys.readouterr()
        code = main([str(a) for a in argv])
        return code, *capsys.readouterr()

    return run


@pytest.mark.slow
def test_from_kaggles_tables_to_a_submission(run, tmp_path, digits):
    images, labels = digits
    order = np.random.default_rng(0).permutation(len(images))
    write(tmp_path / "train.csv", images[order[:1400]], labels[order[:1400]])
    write(tmp_path / "test.csv", images[order[1400:]])
    code, out, err = run("train", "--data", "train.csv", "--network", "mlp", "--batch-size", 16, "--out", "m/mine.onnx")
    assert (code, err) == (0, "")
    # A tenth of the table is held back to test on, a fifth of the rest to validate on.
    assert "1,008 images to train on, 252 to validate on" in out
    assert "train.csv test: " in out
    assert "of 140 right" in out
    name, _, entry = find_model("m/mine.onnx")
    assert (name, entry["config"]["data"]) == ("mine", "train.csv")
    assert list(entry["data"]) == ["train.csv"]

    code, out, err = run("submit", "test.csv", "--model", "m/mine.onnx", "-o", "submission.csv")
    assert (code, out, err) == (0, "wrote submission.csv: 397 rows read by mine\n", "")
    assert (tmp_path / "submission.csv").read_bytes().startswith(b"ImageId,Label\n1,")
    rows = rows_of(tmp_path / "submission.csv")
    assert [int(row["ImageId"]) for row in rows] == list(range(1, 398))
    read = np.array([int(row["Label"]) for row in rows])
    assert (read == labels[order[1400:]]).mean() > 0.92
    recognizer = Recognizer("m/mine.onnx")
    assert read.tolist() == [p.digit for p in recognizer.predict_batch(images[order[1400:]])]


def test_without_a_file_it_is_printed(run, tmp_path, digits, recognizer):
    write(tmp_path / "t.csv", digits[0][:5], digits[1][:5])  # labels are passed over
    code, out, _ = run("submit", "t.csv")
    expected = [p.digit for p in recognizer.predict_batch(digits[0][:5])]
    assert code == 0
    assert out == "ImageId,Label\n" + "".join(f"{i},{digit}\n" for i, digit in enumerate(expected, 1))


def test_a_row_without_ink_gets_a_label_too(tmp_path, digits, recognizer):
    images = digits[0][:4].copy()
    images[1], images[3] = 0, 255
    out = io.StringIO()
    done = submit(recognizer, write(tmp_path / "t.csv", images), out, silent)
    assert (done.rows, done.blanks, done.blank_ids) == (4, 2, [2, 4])
    labels = [int(line.split(",")[1]) for line in out.getvalue().splitlines()[1:]]
    empty = int(recognizer.logits(np.zeros((1, 1, 28, 28), np.float32))[0, :10].argmax())
    assert labels[1] == labels[3] == empty
    assert labels[0] == recognizer.predict(images[0]).digit


def test_parquet_and_npz_give_the_same(tmp_path, digits, recognizer):
    images = digits[0][:60]
    np.savez(tmp_path / "t.npz", images=images)
    found = []
    for path in (write(tmp_path / "t.csv", images), tmp_path / "t.npz"):
        out = io.StringIO()
        assert submit(recognizer, path, out, silent).rows == 60
        found.append(out.getvalue())
    assert found[0] == found[1]


def test_a_wrong_table_leaves_an_older_submission_as_it_is(run, tmp_path, digits):
    images = np.tile(digits[0], (2, 1, 1))
    path = write(tmp_path / "t.csv", images)
    path.write_text(path.read_text()[:-2] + "999\n")
    (tmp_path / "s.csv").write_text("older")
    code, out, err = run("submit", "t.csv", "-o", "s.csv")
    assert (code, out) == (2, "")
    assert err == "inkdigits: error: t.csv, line 3595, column pixel783: '999' is not an integer from 0 to 255\n"
    assert (tmp_path / "s.csv").read_text() == "older"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.csv", "t.csv"]


def test_mistakes_are_one_line(run, tmp_path, digits):
    write(tmp_path / "t.csv", digits[0][:2])
    for argv, message in (
        (["submit", "none.csv"], "there is no file none.csv"),
        (["submit", "t.csv", "--model", "none.onnx"], "no model 'none.onnx'"),
        (["train", "--data", "t.csv", "--out", "m.onnx"], "t.csv, line 1: there is no column 'label'"),
        (
            ["train", "--network", "mlp", "--resume", "--out", "m.onnx"],
            "network mlp writes no checkpoint",
        ),
        (
            ["train", "--network", "mlp", "--augment", "1", "--out", "m.onnx"],
            "network mlp has no training option 'augment'",
        ),
        (["train", "--hidden", "5", "--out", "m.onnx"], "network cnn has no training option 'hidden'"),
        (["train", "--network", "mlp", "--hidden", "wide", "--out", "m.onnx"], "hidden must be widths such as 100,40"),
        (["train", "--network", "mpl", "--out", "m.onnx"], "unknown network 'mpl'; known are: "),
    ):
        code, out, err = run(*argv)
        assert (code, out) == (2, ""), argv
        assert message in err
        assert err.count("\n") == 1


def test_the_part_before_a_fault_is_written_as_it_comes(tmp_path, digits, recognizer):
    path = write(tmp_path / "t.csv", digits[0][:3])
    path.write_text(path.read_text() + "1,2,3\n")
    with pytest.raises(DataError, match="line 5: 3 values, where the header names 784 columns"):
        submit(recognizer, path, io.StringIO(), silent)
