"""Tables of digits, one a row: CSV as Kaggle's Digit Recognizer has it, Parquet with the same columns, and NPZ.

A CSV or Parquet table has the columns ``pixel0`` … ``pixel783``, whole numbers from 0 to 255, row by row of the 28×28
image, and, where it is labelled, ``label``, 0 to 9. They are found by name, so they may stand in any order. An NPZ file
has the arrays ``images``, (N, 28, 28) or (N, 784), and ``labels``, (N,). Files are read in blocks: :func:`iter_table`
holds one block, :func:`read_table` the pixels as bytes and little more.

https://www.kaggle.com/c/digit-recognizer/data
"""

from __future__ import annotations

import csv
import gzip
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from inkdigits.errors import DataError
from inkdigits.image import SIDE

__all__ = ["LABEL", "PIXELS", "SUFFIXES", "iter_table", "read_table", "write_csv"]

LABEL = "label"
PIXELS = tuple(f"pixel{i}" for i in range(SIDE * SIDE))
SUFFIXES = (".csv", ".csv.gz", ".parquet", ".npz")
BLOCK_BYTES = 2 << 20  # of CSV text read at a time; about 1,100 rows of MNIST
BATCH_ROWS = 4096  # rows of Parquet and NPZ at a time
SHOWN = 40  # characters of a wrong value that a message shows

Batch = tuple[np.ndarray, "np.ndarray | None"]


def read_table(path: Path, *, labelled: bool) -> Batch:
    """Read a whole table.

    Args:
        path: a file whose suffix is .csv, .csv.gz, .parquet or .npz.
        labelled: whether labels are wanted; where not, a table may have them all the same.

    Returns:
        Images (N, 28, 28) uint8, N ≥ 1, as they stand in the table (in MNIST's and Kaggle's ink is 255 on paper 0), and
        labels (N,) int64, or None where they are not wanted.

    Raises:
        DataError: it cannot be read, a column is missing, double or unknown, a row is short, or a value is missing or
            out of its range; the message names the file, the line or row, the column and the value.
    """
    pixels = bytearray()  # grows in place, where joining the batches would hold everything twice
    labels: list[np.ndarray] = []
    for images, of_batch in iter_table(path, labelled=labelled):
        pixels += images.data
        if of_batch is not None:
            labels.append(of_batch)
    images = np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE)
    return images, np.concatenate(labels) if labelled else None


def iter_table(path: Path, *, labelled: bool) -> Iterator[Batch]:
    """Read a table of any length a few thousand rows at a time; arguments and errors as in :func:`read_table`."""
    path = Path(path)
    name = path.name.lower()
    readers = {".csv": _read_csv, ".csv.gz": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
    read = next((reader for suffix, reader in readers.items() if name.endswith(suffix)), None)
    if read is None:
        raise DataError(f"{path} is not a table by its name; expected a file {', '.join(SUFFIXES)}")
    rows = 0
    try:
        for images, labels in read(path, labelled):
            rows += len(images)
            yield images, labels
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if not rows:
        raise DataError(f"{path} holds no digit: there is nothing below its header")


def write_csv(out: TextIO, images: np.ndarray, labels: np.ndarray | None = None) -> None:
    """Write digits as Kaggle does: ``label`` first where there are labels, then ``pixel0`` … ``pixel783``.

    Args:
        out: text file.
        images: (N, 28, 28) uint8.
        labels: (N,) int, or None.
    """
    rows = images.reshape(len(images), -1).tolist()
    table = csv.writer(out, lineterminator="\n")
    if labels is None:
        table.writerow(PIXELS)
        table.writerows(rows)
    else:
        table.writerow([LABEL, *PIXELS])
        table.writerows([label, *row] for label, row in zip(labels.tolist(), rows, strict=True))


def _read_csv(path: Path, labelled: bool) -> Iterator[Batch]:
    with _text(path) as file:
        header = next(_rows(path, csv.reader(file)), None)
    if not header:
        raise DataError(f"{path} is empty; its first line must name the columns")
    columns = _columns(header, labelled, f"{path}, line 1")
    # Rows are checked as they are parsed; no value stands for a missing one.
    parsed = pa.csv.ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(columns, pa.uint8()), null_values=[]
    )
    # One thread: two gain nothing that could be measured, and hold more blocks at once.
    blocks = pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES)
    try:
        with pa.csv.open_csv(path, read_options=blocks, convert_options=parsed) as batches:
            for batch in batches:
                images, labels = _arrays(batch.columns, labelled)
                if labels is not None and labels.max(initial=0) > 9:
                    _explain_csv(path, columns, "a label above 9")
                yield images, labels
    except pa.ArrowException as error:
        _explain_csv(path, columns, str(error))


def _explain_csv(path: Path, columns: Sequence[str], reason: str) -> NoReturn:
    """Say where a CSV is wrong. Slow but exact: the fast reader knows that it is wrong, not always where."""
    with _text(path) as file:
        reader = csv.reader(file)
        rows = _rows(path, reader)
        header = next(rows)
        places = [(name, header.index(name)) for name in columns]
        for row in rows:
            if not row:  # an empty line is no row, for the fast reader, too
                continue
            where = f"{path}, line {reader.line_num}"
            if len(row) != len(header):
                raise DataError(f"{where}: {len(row)} values, where the header names {len(header)} columns")
            for name, place in places:
                _check(row[place], name, where)
    raise DataError(f"{path} cannot be read as CSV: {reason}")


def _rows(path: Path, reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}, line {reader.line_num + 1}: not CSV text in UTF-8 ({error})") from None


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    opened: Any = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        yield file


def _read_parquet(path: Path, labelled: bool) -> Iterator[Batch]:
    try:
        with pa.parquet.ParquetFile(path) as file:
            columns = _columns(file.schema_arrow.names, labelled, str(path))
            start = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                batch = batch.select(columns)  # they come in the file's order
                try:
                    images, labels = _arrays([column.cast(pa.uint8()) for column in batch.columns], labelled)
                except (pa.ArrowException, ValueError):
                    images = labels = None
                if images is None or (labels is not None and labels.max(initial=0) > 9):
                    _explain_batch(path, batch, start)
                yield images, labels
                start += len(batch)
    except pa.ArrowException as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _explain_batch(path: Path, batch: pa.RecordBatch, start: int) -> NoReturn:
    for row, values in enumerate(zip(*(column.to_pylist() for column in batch.columns), strict=True), start + 1):
        for name, value in zip(batch.schema.names, values, strict=True):
            _check(value, name, f"{path}, row {row:,}")
    types = {str(column.type) for column in batch.columns}
    raise DataError(f"{path} has columns of type {', '.join(sorted(types))}; expected whole numbers")


def _read_npz(path: Path, labelled: bool) -> Iterator[Batch]:
    try:
        # Without pickles, which would run whatever code the file holds.
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        with file:
            if missing := [name for name in ("images", "labels")[: 1 + labelled] if name not in file]:
                raise DataError(f"{path} has no array {missing[0]!r}; it has: {', '.join(file) or 'none'}")
            images = file["images"]
            labels = file["labels"] if labelled else None
    except (ValueError, MemoryError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as NPZ without pickles: {error}") from None
    shape = "×".join(map(str, images.shape))
    if images.ndim < 2 or images.shape[1:] not in ((SIDE, SIDE), (SIDE * SIDE,)):
        raise DataError(f"{path}: array images has shape {shape}; expected N×28×28 or N×784")
    images = images.reshape(-1, SIDE * SIDE)
    if labels is not None and labels.shape != (len(images),):
        raise DataError(f"{path}: {len(images):,} images, but labels of shape {labels.shape}; each needs one")
    for start in range(0, len(images), BATCH_ROWS):
        stop = start + BATCH_ROWS
        pixels = _bytes(images[start:stop], PIXELS, 255, path, start)
        digits = _bytes(labels[start:stop, None], (LABEL,), 9, path, start) if labels is not None else None
        yield pixels.reshape(-1, SIDE, SIDE), digits[:, 0].astype(np.int64) if digits is not None else None


def _bytes(values: np.ndarray, names: Sequence[str], most: int, path: Path, start: int) -> np.ndarray:
    """Numbers of any type as uint8, where all are whole and from 0 to ``most``."""
    if values.dtype.kind not in "uif":
        raise DataError(f"{path} has an array of type {values.dtype}; expected whole numbers")
    wrong = np.argwhere(~((values >= 0) & (values <= most) & (np.floor(values) == values)))  # NaN is wrong, too
    for row, column in wrong:
        _check(values[row, column].item(), names[column], f"{path}, row {start + row + 1:,}")
    return np.ascontiguousarray(values.astype(np.uint8))


def _columns(header: Sequence[str], labelled: bool, where: str) -> list[str]:
    """The columns to read, label first, once it is sure that each is there once and no other is."""
    wanted = [LABEL, *PIXELS] if labelled else list(PIXELS)
    known, seen = {LABEL, *PIXELS}, set()
    expected = f"expected {LABEL} and pixel0 to {PIXELS[-1]}" if labelled else f"expected pixel0 to {PIXELS[-1]}"
    for number, name in enumerate(header, 1):
        if name not in known:
            raise DataError(
                f"{where}, column {number}: {_shown(name)} is not a column of a table of digits; {expected}"
            )
        if name in seen:
            raise DataError(f"{where}, column {number}: {_shown(name)} stands there for the second time")
        seen.add(name)
    if missing := [name for name in wanted if name not in seen]:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise DataError(f"{where}: there is no column {missing[0]!r}{others}; {expected}")
    return wanted


def _arrays(columns: Sequence[pa.Array], labelled: bool) -> Batch:
    if any(column.null_count for column in columns):
        raise ValueError("a value is missing")
    pixels = columns[labelled:]
    turned = np.empty((len(pixels), len(columns[0])), np.uint8)
    for row, column in zip(turned, pixels, strict=True):
        row[:] = column
    images = np.ascontiguousarray(turned.T).reshape(-1, SIDE, SIDE)
    return images, columns[0].to_numpy(zero_copy_only=False).astype(np.int64) if labelled else None


def _check(value: object, column: str, where: str) -> None:
    """Raise where a value, text or number, is not what its column holds."""
    where = f"{where}, column {column}"
    if value is None or value == "":
        raise DataError(f"{where}: the {'label' if column == LABEL else 'value'} is missing")
    most = 9 if column == LABEL else 255
    try:
        whole = int(value) if isinstance(value, str) else value
        right = 0 <= whole <= most and whole == int(whole)
    except (TypeError, ValueError, OverflowError):
        right = False
    if not right:
        raise DataError(f"{where}: {_shown(value)} is not a whole number from 0 to {most}")


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
