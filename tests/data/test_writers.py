"""Who wrote the digits: a column of a table, or a folder below the digit's."""

import csv
import gzip
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from inkdigits import DataError
from inkdigits.bulk import find_images
from inkdigits.data.catalog import load
from inkdigits.data.tables import PIXELS
from inkdigits.settings import Settings

from support.drawings import picture

SETTINGS = Settings()
WRITERS = ["anna", "007", "7", "anna", "Zoë, B."] * 2
LABELS = np.arange(10)


@pytest.fixture(scope="module")
def images():
    return np.stack([255 - picture(label, 28, ink_size=20, pen=2) for label in LABELS])


def write(path, images, writers):
    columns = ["writer", "label", *PIXELS]
    rows = [[w, label, *i.ravel().tolist()] for w, label, i in zip(writers, LABELS.tolist(), images, strict=True)]
    if path.suffix == ".npz":
        np.savez(path, images=images, labels=LABELS, writers=np.array(writers))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.table(dict(zip(columns, zip(*rows, strict=True), strict=True))), path)
    else:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([columns, *rows])
        content = text.getvalue().encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.npz"])
def test_the_column_writer_of_a_table(tmp_path, images, name):
    dataset = load(write(tmp_path / name, images, WRITERS), SETTINGS, part="all")
    assert dataset.writers.tolist() == WRITERS
    assert (dataset.images == images).all()
    assert (dataset.labels == LABELS).all()
    assert dataset.take(np.array([4, 1])).writers.tolist() == ["Zoë, B.", "007"]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npz"])
def test_a_row_without_a_writer_is_told(tmp_path, images, name):
    path = write(tmp_path / name, images, [*WRITERS[:3], "", *WRITERS[4:]])
    with pytest.raises(DataError, match="row 4, column writer: the writer is missing"):
        load(path, SETTINGS, part="all")


def test_a_table_without_the_column_says_nothing_of_writers(tmp_path, images):
    path = tmp_path / "a.npz"
    np.savez(path, images=images, labels=LABELS)
    assert load(str(path), SETTINGS, part="all").writers is None
    np.savez(path, images=images, labels=LABELS, writers=np.array(["a"]))
    with pytest.raises(DataError, match="10 digits, but writers of shape"):
        load(str(path), SETTINGS, part="all")


def test_folders_below_the_digits_name_the_writers(tmp_path):
    for label in range(10):
        for writer in ("anna", "bo"):
            path = tmp_path / str(label) / writer / "monday" / "1.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(picture(label, 60)).save(path)
    assert len(list(find_images([str(tmp_path)]))) == 20
    assert load(str(tmp_path), SETTINGS, part="all").writers.tolist() == ["anna", "bo"] * 10
    Image.fromarray(picture(3, 60)).save(tmp_path / "3" / "nobody.png")
    assert load(str(tmp_path), SETTINGS, part="all").writers is None
