"""Labelled images of one's own: tables, IDX pairs and folders are read alike, and a fault in them is told."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inkdigits import DataError
from inkdigits.data.catalog import fetch, load, parts
from inkdigits.data.dataset import Lazy
from inkdigits.evaluation.evaluate import evaluate
from inkdigits.settings import Settings

from support.drawings import picture
from support.files import idx

LABELS = np.array([label for label in range(10) for _ in range(4)])  # sorted, as folders are
SETTINGS = Settings()


@pytest.fixture(scope="module")
def images():
    """40 digits of this project's own drawing, 28×28, ink 255 on 0, every one of another pen."""
    return np.stack([255 - picture(label, 28, ink_size=20, pen=1.5 + 0.1 * i) for i, label in enumerate(LABELS)])


@pytest.fixture
def pair(tmp_path, images):
    """Two IDX files named as MNIST's are, in a folder of their own."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS)))
    return folder


@pytest.fixture
def folder(tmp_path):
    """A folder a class: pictures of several sizes, tones and formats, one a level deeper, and what systems litter."""
    root = tmp_path / "scans"
    forms = [(60, "a.png", 255, 0), (333, "b.JPG", 230, 40), (28, "c.bmp", 0, 255), (150, "more/d.webp", 255, 90)]
    for label in range(10):
        for size, name, paper, ink in forms:
            path = root / str(label) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(label, size, paper=paper, ink=ink)).save(path)
    (root / "3" / ".DS_Store").write_bytes(b"\0")
    (root / "3" / "Thumbs.db").write_bytes(b"\0")
    (root / ".cache").mkdir()
    return root


def write_csv(path: Path, images: np.ndarray) -> Path:
    names = ["label", *(f"pixel{i}" for i in range(784))]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *([y, *x.ravel()] for x, y in zip(images, LABELS, strict=True))])
    return path


def test_every_form_gives_the_same_images(tmp_path, pair, images):
    (tmp_path / "x").write_bytes((pair / "train-images-idx3-ubyte").read_bytes())
    (tmp_path / "y").write_bytes(idx(LABELS))
    names = [
        pair,
        pair / "train-images-idx3-ubyte",
        f"{tmp_path / 'x'},{tmp_path / 'y'}",
        write_csv(tmp_path / "mine.csv", images),
    ]
    for name in map(str, names):
        found = load(name, SETTINGS, part="all")
        assert np.array_equal(found.images, images)
        assert np.array_equal(found.labels, LABELS)
        assert found.labels.dtype == np.int64
        assert found.sha256
        assert fetch(name, SETTINGS) == name


def test_a_plain_idx_file_is_not_read_into_memory(pair):
    assert isinstance(load(str(pair), SETTINGS, part="all").images, np.memmap)
    train = load(str(pair), SETTINGS, part="train")
    assert isinstance(train.images, Lazy)
    assert isinstance(train.images[0], np.memmap)


def test_a_folder_a_class_is_read_picture_by_picture(folder, recognizer):
    found = load(str(folder), SETTINGS, part="all")
    assert np.array_equal(found.labels, LABELS)
    assert found.images[13] == folder / "3" / "b.JPG"
    assert found.title(15) == str(folder / "3" / "more" / "d.webp")
    assert found.name == "scans"
    assert evaluate(recognizer, found).accuracy == 1


def test_the_hash_of_a_folder_is_that_of_its_pictures(folder):
    before = load(str(folder), SETTINGS, part="all").sha256
    (folder / "3" / "Thumbs.db").write_bytes(b"other litter")
    assert load(str(folder), SETTINGS, part="all").sha256 == before
    (folder / "3" / "a.png").write_bytes((folder / "5" / "a.png").read_bytes())
    assert load(str(folder), SETTINGS, part="all").sha256 != before


def test_data_without_a_test_part_is_split_9_to_1_by_class(folder, pair):
    for name in (str(folder), str(pair)):
        train, test = (load(name, SETTINGS, part=part) for part in ("train", "test"))
        assert parts(name) == ("train", "test", "all")
        assert (len(train), len(test)) == (36, 4)
        assert sorted([*train.numbers, *test.numbers]) == list(range(40))
        assert np.array_equal(test.labels, LABELS[test.numbers])
        assert len(set(test.labels.tolist())) == 4
        assert test.numbers.tolist() == load(name, SETTINGS, part="test").numbers.tolist()


def test_a_test_pair_beside_a_train_pair_is_the_test_part(pair, images):
    (pair / "t10k-images-idx3-ubyte").write_bytes(idx(images[:7]))
    (pair / "t10k-labels-idx1-ubyte").write_bytes(idx(LABELS[:7]))
    assert parts(str(pair)) == ("train", "test")
    assert [len(load(str(pair), SETTINGS, part=part)) for part in ("train", "test")] == [40, 7]
    assert load(str(pair), SETTINGS, part="test").part == "test"
    with pytest.raises(DataError, match="has no part 'all'; its parts are: train, test"):
        load(str(pair), SETTINGS, part="all")


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (None, "gone.csv", "there is no file or folder 'gone.csv'; expected a CSV"),
        (None, "mine/gone,mine/train-labels-idx1-ubyte.gz", "cannot read mine/gone"),
        (lambda p: (p / "train-labels-idx1-ubyte.gz").unlink(), "mine", "no train-labels-idx1-ubyte beside"),
        (
            lambda p: (p / "train-labels-idx1-ubyte.gz").write_bytes(idx(LABELS[:-1])),
            "mine",
            r"40 images but labels of shape \(39,\)",
        ),
        (
            lambda p: (p / "train-labels-idx1-ubyte.gz").write_bytes(idx(LABELS + 5)),
            "mine",
            "label of image 20 is 10; digits are 0 to 9",
        ),
        (lambda p: (p / "a-images").write_bytes(idx(np.zeros((1, 9, 9)))), "mine", "several IDX files of images: a-im"),
        (lambda p: (p / "train-images-idx3-ubyte").unlink(), "mine", "neither folders 0 to 9 nor IDX files"),
        (
            None,
            "mine/train-labels-idx1-ubyte.gz,mine/train-labels-idx1-ubyte.gz",
            "expected IDX images, N×height×width",
        ),
        (lambda p: (p / "x").write_bytes(idx(np.zeros((1, 9, 9)))), "mine/x", "give IMAGES,LABELS"),
        (lambda p: (p / "x.txt").write_text("hello"), "mine/x.txt", "x.txt is not a table by its name"),
    ],
)
def test_what_is_wrong_is_told(pair, monkeypatch, change, name, message):
    monkeypatch.chdir(pair.parent)
    if change:
        change(pair)
    with pytest.raises(DataError, match=message):
        load(name, SETTINGS, part="train")


def test_a_folder_that_is_no_digit_is_told_and_an_empty_one(folder):
    (folder / "ten").mkdir()
    with pytest.raises(DataError, match="has folder 'ten', which is no digit"):
        load(str(folder), SETTINGS, part="all")
    (empty := folder / "empty").mkdir()
    (empty / "0").mkdir()
    with pytest.raises(DataError, match="empty holds no image"):
        load(str(empty), SETTINGS, part="all")


def test_a_bad_value_in_a_table_names_line_column_and_value(tmp_path, images):
    path = write_csv(tmp_path / "mine.csv", images)
    lines = path.read_text().splitlines()
    cells = lines[5].split(",")
    cells[101] = "300"
    path.write_text("\n".join([*lines[:5], ",".join(cells), *lines[6:]]))
    with pytest.raises(DataError, match=r"mine\.csv.*line 6.*pixel100.*300"):
        load(str(path), SETTINGS, part="all")
