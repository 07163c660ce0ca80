"""Tables of digits: what Kaggle's files hold, in any order and form, and where a wrong one is wrong."""

from __future__ import annotations

import csv
import gzip
import pickle
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from inkdigits import DataError
from inkdigits.data import tables
from inkdigits.data.tables import LABEL, PIXELS, iter_table, read_table, write_csv

N = 50


@pytest.fixture(scope="module")
def digits():
    """Images (50, 28, 28) uint8 of noise that is different in every pixel, and labels."""
    random = np.random.default_rng(5)
    images = random.integers(0, 256, (N, 28, 28), dtype=np.uint8)
    images[0, 0, :2] = 0, 255
    return images, np.arange(N) % 10


@pytest.fixture
def table(tmp_path, digits):
    """A labelled table as rows of text, header first, and a function that writes such rows: ``write(name)``."""
    images, labels = digits
    rows = [[LABEL, *PIXELS]]
    rows += [[str(v) for v in (label, *image.ravel())] for image, label in zip(images, labels, strict=True)]

    class Table:
        path = tmp_path / "train.csv"

        def write(self, name="train.csv", opened=open):
            self.path = tmp_path / name
            with opened(self.path, "wt", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(self.rows)
            return self.path

    Table.rows = rows
    return Table()


def same(found, digits, labelled=True):
    images, labels = found
    assert images.dtype == np.uint8
    assert (images == digits[0]).all()
    if labelled:
        assert labels.dtype == np.int64
        assert (labels == digits[1]).all()
    else:
        assert labels is None
    return True


def test_kaggles_files(table, digits):
    assert same(read_table(table.write(), labelled=True), digits)
    table.rows = [row[1:] for row in table.rows]
    assert same(read_table(table.write("test.csv"), labelled=False), digits, labelled=False)


def test_columns_are_found_by_name(table, digits):
    order = np.random.default_rng(1).permutation(785)
    table.rows = [[row[i] for i in order] for row in table.rows]
    assert same(read_table(table.write(), labelled=True), digits)


def test_labels_that_are_not_wanted_are_passed_over(table, digits):
    table.rows[3][0] = "not looked at"
    assert same(read_table(table.write(), labelled=False), digits, labelled=False)


def test_small_differences_of_form(table, digits):
    assert same(read_table(table.write("TRAIN.CSV"), labelled=True), digits)
    assert same(read_table(table.write("train.csv.gz", gzip.open), labelled=True), digits)
    text = table.write().read_text()
    table.path.write_text("\ufeff" + text.replace("\r\n", "\n").replace("pixel7,", '"pixel7",').rstrip() + "\n\n")
    assert same(read_table(table.path, labelled=True), digits)


def test_what_is_written_is_what_is_read(tmp_path, digits):
    for labels in (digits[1], None):
        with (tmp_path / "t.csv").open("w") as file:
            write_csv(file, digits[0], labels)
        found = read_table(tmp_path / "t.csv", labelled=labels is not None)
        assert same(found, digits, labelled=labels is not None)
    assert (tmp_path / "t.csv").read_text().startswith("pixel0,pixel1,")


@pytest.mark.parametrize("kind", [pa.uint8(), pa.int64(), pa.float64(), pa.string()])
def test_parquet(tmp_path, digits, kind):
    values = np.column_stack([digits[1], digits[0].reshape(N, -1)])
    columns = {name: pa.array(values[:, i]).cast(kind) for i, name in reversed([*enumerate([LABEL, *PIXELS])])}
    pa.parquet.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=7)
    assert same(read_table(tmp_path / "t.parquet", labelled=True), digits)
    assert same(read_table(tmp_path / "t.parquet", labelled=False), digits, labelled=False)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float32])
@pytest.mark.parametrize("shape", [(N, 28, 28), (N, 784)])
def test_npz(tmp_path, digits, kind, shape):
    np.savez_compressed(tmp_path / "t.npz", images=digits[0].reshape(shape).astype(kind), labels=digits[1])
    assert same(read_table(tmp_path / "t.npz", labelled=True), digits)


def test_npz_without_labels(tmp_path, digits):
    np.savez(tmp_path / "t.npz", images=digits[0])
    assert same(read_table(tmp_path / "t.npz", labelled=False), digits, labelled=False)
    with pytest.raises(DataError, match=r"t\.npz has no array 'labels'; it has: images"):
        read_table(tmp_path / "t.npz", labelled=True)


def refused(path, labelled=True):
    with pytest.raises(DataError) as caught:
        read_table(path, labelled=labelled)
    message = str(caught.value)
    assert str(path) in message
    return message.removeprefix(f"{path}").removeprefix(", ")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("256", "'256' is not a whole number from 0 to 255"),
        ("-1", "'-1' is not a whole number from 0 to 255"),
        ("12.5", "'12.5' is not a whole number from 0 to 255"),
        ("ink", "'ink' is not a whole number from 0 to 255"),
        ("x" * 100, f"'{'x' * 39}… is not a whole number from 0 to 255"),
        ("", "the value is missing"),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_column(table, value, message):
    table.rows[17][1 + 300] = value
    assert refused(table.write()) == f"line 18, column pixel300: {message}"
    table.rows.insert(9, [])  # an empty line counts as a line
    assert refused(table.write("t.csv.gz", gzip.open)) == f"line 19, column pixel300: {message}"


def test_a_wrong_value_far_down_a_long_file(tmp_path, digits):
    images, labels = (np.tile(a, (60, *[1] * (a.ndim - 1))).reshape(60 * N, *a.shape[1:]) for a in digits)
    with (tmp_path / "t.csv").open("w") as file:
        write_csv(file, images, labels)
        file.write("3" + ",0" * 783 + ",900\n")
    assert refused(tmp_path / "t.csv").startswith("line 3002, column pixel783: '900' is not")


@pytest.mark.parametrize(
    ("label", "message"),
    [("", "the label is missing"), ("10", "'10' is not a whole number from 0 to 9"), ("seven", "'seven' is not")],
)
def test_a_wrong_label(table, label, message):
    table.rows[2][0] = label
    assert refused(table.write()).startswith(f"line 3, column label: {message}")


def test_a_short_row_and_a_long_one(table):
    del table.rows[4][-1]
    assert refused(table.write()) == "line 5: 784 values, where the header names 785 columns"
    table.rows[4] += ["0", "0"]
    assert refused(table.write()) == "line 5: 786 values, where the header names 785 columns"


def test_wrong_columns(table):
    header = table.rows[0]
    header[5] = "pixel784"
    message = refused(table.write())
    assert message.startswith("line 1, column 6: 'pixel784' is not a column of a table of digits; expected label and")
    header[5] = "pixel3"
    assert refused(table.write()) == "line 1, column 6: 'pixel3' stands there for the second time"
    table.rows = [[*row[:5], *row[6:]] for row in table.rows]
    assert refused(table.write()).startswith("line 1: there is no column 'pixel4'; expected label and pixel0 to")
    table.rows = [row[1:-3] for row in table.rows]
    assert refused(table.write()).startswith("line 1: there is no column 'label' and 4 others; expected label and")
    assert refused(table.path, labelled=False).startswith("line 1: there is no column 'pixel4' and 3 others; expected")


def test_a_table_without_header_is_told(table):
    del table.rows[0]
    assert refused(table.write()).startswith("line 1, column 1: '0' is not a column")


def test_files_that_are_no_tables(tmp_path, table, digits):
    (tmp_path / "empty.csv").touch()
    assert refused(tmp_path / "empty.csv").endswith("is empty; its first line must name the columns")
    table.rows = table.rows[:1]
    assert refused(table.write()).endswith("holds no digit: there is nothing below its header")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 9)
    assert "not CSV text in UTF-8" in refused(tmp_path / "binary.csv")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(table.path.read_bytes())[:-20])
    assert "cannot read " in refused(tmp_path / "cut.csv.gz")
    (tmp_path / "t.parquet").write_bytes(b"no parquet at all, but long enough")
    assert "cannot be read as Parquet" in refused(tmp_path / "t.parquet")
    (tmp_path / "t.npz").write_bytes(b"no zip")
    assert "cannot be read as NPZ" in refused(tmp_path / "t.npz")
    with (tmp_path / "t.npz").open("wb") as file:
        np.save(file, digits[0])
    assert "it is a single array" in refused(tmp_path / "t.npz")
    assert "there is no file" in refused(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "cannot read" in refused(tmp_path / "folder.csv")
    assert "is not a table by its name; expected a file .csv, " in refused(tmp_path / "t.xlsx")


def test_wrong_values_in_parquet_are_named(tmp_path, digits):
    values = np.column_stack([digits[1], digits[0].reshape(N, -1)]).astype(float)

    def write(**types):
        names = [LABEL, *PIXELS]
        pa.parquet.write_table(
            pa.table({name: values[:, i].astype(types.get(name, float)) for i, name in enumerate(names)}),
            tmp_path / "t.parquet",
            row_group_size=20,
        )
        return tmp_path / "t.parquet"

    values[30, 785 - 1] = 0.5
    assert refused(write()) == "row 31, column pixel783: 0.5 is not a whole number from 0 to 255"
    values[30, 784] = np.nan
    assert refused(write()) == "row 31, column pixel783: nan is not a whole number from 0 to 255"
    values[30, 784], values[6, 0] = 0, 12
    assert refused(write(label=int)) == "row 7, column label: 12 is not a whole number from 0 to 9"
    whole = pa.parquet.read_table(write())
    whole = whole.set_column(0, "label", pa.array([None if i == 3 else 1 for i in range(N)]))
    pa.parquet.write_table(whole, tmp_path / "t.parquet")
    assert refused(tmp_path / "t.parquet") == "row 4, column label: the label is missing"
    pa.parquet.write_table(whole.drop_columns(["pixel9"]), tmp_path / "t.parquet")
    assert "there is no column 'pixel9'" in refused(tmp_path / "t.parquet")
    dates = whole.set_column(0, "label", pa.array([1] * N, pa.timestamp("s")))
    pa.parquet.write_table(dates, tmp_path / "t.parquet")
    assert "row 1, column label: 1970" in refused(tmp_path / "t.parquet")


def test_wrong_values_in_npz_are_named(tmp_path, digits):
    path = tmp_path / "t.npz"
    images, labels = digits[0].astype(float), digits[1].astype(float)
    images[7, 2, 3] = 0.25
    np.savez(path, images=images, labels=labels)
    assert refused(path) == "row 8, column pixel59: 0.25 is not a whole number from 0 to 255"
    labels[49] = 11
    np.savez(path, images=digits[0], labels=labels)
    assert refused(path) == "row 50, column label: 11.0 is not a whole number from 0 to 9"
    np.savez(path, images=digits[0], labels=labels[:-1])
    assert refused(path).startswith(": 50 images, but labels of shape (49,)")
    np.savez(path, images=digits[0][:, :20], labels=labels)
    assert refused(path) == ": array images has shape 50×20×28; expected N×28×28 or N×784"
    np.savez(path, images=digits[0].astype("S3"), labels=labels)
    assert "array of type |S3; expected whole numbers" in refused(path)


class Trap:
    """Says so when it is unpickled."""

    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


def test_pickles_are_never_opened(tmp_path, digits):
    np.savez(tmp_path / "t.npz", images=np.array([Trap()], object), labels=digits[1])
    assert "without pickles" in refused(tmp_path / "t.npz")
    (tmp_path / "p.npz").write_bytes(pickle.dumps(Trap()))
    assert "without pickles" in refused(tmp_path / "p.npz")
    assert not Trap.sprung


def test_a_long_table_is_read_in_small_pieces(tmp_path, digits, monkeypatch):
    monkeypatch.setattr(tables, "BATCH_ROWS", 256)
    monkeypatch.setattr(tables, "BLOCK_BYTES", 1 << 18)
    images = np.tile(digits[0], (60, 1, 1))
    with (tmp_path / "t.csv").open("w") as file:
        write_csv(file, images)
    pa.parquet.write_table(
        pa.table({name: images.reshape(-1, 784)[:, i] for i, name in enumerate(PIXELS)}), tmp_path / "t.parquet"
    )
    np.savez(tmp_path / "t.npz", images=images)
    for name in ("t.csv", "t.parquet", "t.npz"):
        sizes = [len(batch) for batch, _ in iter_table(tmp_path / name, labelled=False)]
        assert sum(sizes) == 3000
        assert max(sizes) <= 256
    tracemalloc.start()
    for _ in iter_table(tmp_path / "t.csv", labelled=False):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes
