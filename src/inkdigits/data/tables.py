"""Tables of digits, one per row: CSV as Kaggle's Digit Recognizer has it, Parquet with the same columns, and NPZ.

A CSV or Parquet table has the columns ``pixel0`` … ``pixel783``, integers from 0 to 255, row by row of the 28×28
image, and, where it is labelled, ``label``, 0 to 9. They are found by name, so they may be in any order. An NPZ file
has the arrays ``images``, (N, 28, 28) or (N, 784), and ``labels``, (N,). A column ``writer`` is ignored here; see
:mod:`.writers`. Files are read in blocks: :func:`iter_table` holds one block, :func:`read_table` the pixels as bytes
and little more; :func:`iter_rows` goes on after a wrong row.

https://www.kaggle.com/c/digit-recognizer/data
"""

from __future__ import annotations

import csv
import gzip
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from inkdigits.errors import DataError
from inkdigits.prediction import SIDE

__all__ = ["LABEL", "PIXELS", "SUFFIXES", "WRITER", "iter_rows", "iter_table", "read_table", "write_csv"]

LABEL = "label"
WRITER = "writer"  # a column that may be there; inkdigits.data.writers reads it
PIXELS = tuple(f"pixel{i}" for i in range(SIDE * SIDE))
SUFFIXES = (".csv", ".csv.gz", ".parquet", ".npz")
BLOCK_BYTES = 2 << 20  # of CSV text read at a time; about 1,100 rows of MNIST
COLUMN_BYTES = 1 << 14  # of each of the columns of Parquet read at a time; without it, a whole row group is
BATCH_ROWS = 4096  # rows of Parquet and NPZ at a time
SHOWN = 40  # characters of a wrong value that a message shows

# What reading one raises where it is encrypted or damaged, or says of itself what is not so.
_DAMAGED_NPZ = (
    *(ValueError, MemoryError, RuntimeError, OverflowError, LookupError, struct.error),
    *(zipfile.BadZipFile, lzma.LZMAError),
)

Batch = tuple[np.ndarray, "np.ndarray | None"]
_Block = tuple[np.ndarray, "np.ndarray | None", dict[int, DataError]]  # with what is wrong, by row


def read_table(path: Path, *, labelled: bool) -> Batch:
    """Read a whole table.

    Args:
        path: a file whose suffix is .csv, .csv.gz, .parquet or .npz.
        labelled: whether labels are wanted; where not, a table may have them all the same.

    Returns:
        Images (N, 28, 28) uint8, N ≥ 1, as in the table (in MNIST's and Kaggle's ink is 255 on paper 0), and
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
    for images, labels, wrong in _blocks(Path(path), labelled):
        if wrong:
            raise wrong[min(wrong)]
        yield images, labels


def iter_rows(path: Path) -> Iterator[tuple[np.ndarray, dict[int, DataError]]]:
    """Read the pixels of a table as :func:`iter_table` does, and continue after an invalid row.

    Yields:
        Images (N, 28, 28) uint8, and the error of each row of them that cannot be read, by its index; such a row's
        pixels are 0.

    Raises:
        DataError: the file cannot be read on, or its columns are wrong.
    """
    for images, _, wrong in _blocks(Path(path), False):
        yield images, wrong


def _blocks(path: Path, labelled: bool) -> Iterator[_Block]:
    name = path.name.lower()
    readers = {".csv": _read_csv, ".csv.gz": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
    read = next((reader for suffix, reader in readers.items() if name.endswith(suffix)), None)
    if read is None:
        raise DataError(f"{path} is not a table by its name; expected a file {', '.join(SUFFIXES)}")
    rows = 0
    try:
        for block in read(path, labelled):
            rows += len(block[0])
            yield block
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


def _read_csv(path: Path, labelled: bool) -> Iterator[_Block]:
    opened: Any = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as file:
        try:
            text = file.readline(BLOCK_BYTES).decode("utf-8-sig")
            if "\0" in text:
                raise csv.Error("line contains NUL")
            header = next(csv.reader([text]), None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}, line 1: not CSV text in UTF-8 ({error})") from None
        if not header:
            raise DataError(f"{path} is empty; its first line must name the columns")
        columns = _columns(header, labelled, f"{path}, line 1")
        # Values are checked as they are parsed, and none stands for a missing one.
        types = pa.csv.ConvertOptions(
            include_columns=columns, column_types=dict.fromkeys(columns, pa.uint8()), null_values=[]
        )
        line = 2
        for lines in _whole_lines(path, file):
            # One thread: two gain nothing that could be measured, and hold more at once.
            whole = pa.csv.ReadOptions(use_threads=False, column_names=header, block_size=len(lines))
            try:
                parsed = pa.csv.read_csv(pa.BufferReader(lines), whole, convert_options=types).combine_chunks()
                images, labels = _arrays(parsed.columns, labelled)
                yield _checked_labels(images, labels)
            except (pa.ArrowException, ValueError):
                yield _row_by_row(_csv_rows(path, lines, line, header, columns), columns, labelled)
            line += lines.count(b"\n")


def _whole_lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Yield what is left of a file, in blocks that end where a line ends."""
    while block := file.read(BLOCK_BYTES):
        end = b"" if block.endswith(b"\n") else file.readline(BLOCK_BYTES)
        if len(end) == BLOCK_BYTES and not end.endswith(b"\n"):
            raise DataError(f"{path} has a line of more than {BLOCK_BYTES:,} bytes, which is not a row of 785 numbers")
        yield block + end


def _csv_rows(
    path: Path, lines: bytes, number: int, header: Sequence[str], columns: Sequence[str]
) -> Iterator[list[str] | DataError]:
    """Yield the wanted values of each row, or what is wrong with it. Slow but exact, where the fast reader gives up."""
    places = [header.index(name) for name in columns]
    for at, line in enumerate(lines.split(b"\n"), number):
        try:
            row = next(csv.reader([line.decode()]), None)
        except (csv.Error, UnicodeDecodeError) as error:
            yield DataError(f"{path}, line {at}: not CSV text in UTF-8 ({error})")
            continue
        if not row:  # an empty line is no row, for the fast reader, too
            continue
        where = f"{path}, line {at}"
        if len(row) != len(header):
            yield DataError(f"{where}: {len(row)} values, where the header names {len(header)} columns")
        else:
            yield _wrong(values := [row[place] for place in places], columns, where) or values


def _row_by_row(rows: Iterable[Sequence[Any] | DataError], columns: Sequence[str], labelled: bool) -> _Block:
    """Return a block of rows some of which are wrong."""
    rows = list(rows)
    values = np.zeros((len(rows), len(columns)), np.uint8)
    wrong = {}
    for i, row in enumerate(rows):
        if isinstance(row, DataError):
            wrong[i] = row
        else:
            values[i] = [int(value) for value in row]
    images = np.ascontiguousarray(values[:, labelled:]).reshape(-1, SIDE, SIDE)
    return images, values[:, 0].astype(np.int64) if labelled else None, wrong


def _read_parquet(path: Path, labelled: bool) -> Iterator[_Block]:
    try:
        with pa.parquet.ParquetFile(path, pre_buffer=False, buffer_size=COLUMN_BYTES) as file:
            columns = _columns(file.schema_arrow.names, labelled, str(path))
            start = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                batch = batch.select(columns)  # they come in the file's order
                try:
                    images, labels = _arrays([column.cast(pa.uint8()) for column in batch.columns], labelled)
                    yield _checked_labels(images, labels)
                except (pa.ArrowException, ValueError):
                    block = _row_by_row(_parquet_rows(path, batch, start), columns, labelled)
                    if not block[2]:
                        types = {str(column.type) for column in batch.columns}
                        raise DataError(
                            f"{path} has columns of type {', '.join(sorted(types))}; expected integers"
                        ) from None
                    yield block
                start += len(batch)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _parquet_rows(path: Path, batch: pa.RecordBatch, start: int) -> Iterator[Sequence[Any] | DataError]:
    for row, values in enumerate(zip(*(column.to_pylist() for column in batch.columns), strict=True), start + 1):
        yield _wrong(values, batch.schema.names, f"{path}, row {row:,}") or values


def _read_npz(path: Path, labelled: bool) -> Iterator[_Block]:
    try:
        with path.open("rb") as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
                raise ValueError("it is a single array")
        with zipfile.ZipFile(path) as archive:
            arrays = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            if missing := [name for name in ("images", "labels")[: 1 + labelled] if name not in arrays]:
                raise DataError(f"{path} has no array {missing[0]!r}; it has: {', '.join(arrays) or 'none'}")
            with archive.open("images.npy") as file:
                shape, rows = _npy_rows(file, path)
                text = "×".join(map(str, shape))
                if shape[1:] not in ((SIDE, SIDE), (SIDE * SIDE,)):
                    raise DataError(f"{path}: array images has shape {text}; expected N×28×28 or N×784")
                labels = _labels_of(archive, shape[0], path) if labelled else None
                start = 0
                for images in rows:
                    yield _npz_block(images, labels, start, path)
                    start += len(images)
    # The last four: encrypted, of an unknown method, or saying of itself what is not so.
    except (
        ValueError,
        MemoryError,
        zipfile.BadZipFile,
        RuntimeError,
        OverflowError,
        LookupError,
        struct.error,
    ) as error:
        raise DataError(f"{path} cannot be read as NPZ without pickles: {error}") from None


def _npy_rows(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], Iterator[np.ndarray]]:
    """Yield the shape of an array in NumPy's own format, and its rows, (n, …) at a time: it need not fit in memory.

    The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"its array is of version {version[0]}.{version[1]} of NumPy's format")
    try:
        shape, by_column, dtype = readers[version](file)
    except Exception as error:  # its header is Python's text, and what is wrong with that can be anything
        raise ValueError(f"the header of its array is damaged: {error}") from None
    if dtype.hasobject:
        raise ValueError("it holds objects")
    if dtype.kind not in "uif":
        raise DataError(f"{path} has an array of type {str(dtype)[:SHOWN]}; expected integers")
    if by_column or not shape:
        raise ValueError("its array is stored column by column; save np.ascontiguousarray of it")

    def rows() -> Iterator[np.ndarray]:
        size = math.prod(shape[1:]) * dtype.itemsize
        for start in range(0, shape[0], BATCH_ROWS):
            n = min(BATCH_ROWS, shape[0] - start)
            content = file.read(n * size)
            if len(content) != n * size:
                raise ValueError("it is cut short")
            yield np.frombuffer(content, dtype).reshape(n, *shape[1:])

    return shape, rows()


def _labels_of(archive: zipfile.ZipFile, n: int, path: Path) -> np.ndarray:
    with archive.open("labels.npy") as file:
        labels = np.lib.format.read_array(file, allow_pickle=False)
    if labels.shape != (n,):
        raise DataError(f"{path}: {n:,} images, but labels of shape {labels.shape}; each needs one")
    return labels


def _npz_block(images: np.ndarray, labels: np.ndarray | None, start: int, path: Path) -> _Block:
    pixels, wrong = _bytes(images.reshape(len(images), -1), PIXELS, 255, path, start)
    if labels is None:
        return pixels.reshape(-1, SIDE, SIDE), None, wrong
    digits, also = _bytes(labels[start : start + len(images), None], (LABEL,), 9, path, start)
    return pixels.reshape(-1, SIDE, SIDE), digits[:, 0].astype(np.int64), also | wrong


def _bytes(
    values: np.ndarray, names: Sequence[str], most: int, path: Path, start: int
) -> tuple[np.ndarray, dict[int, DataError]]:
    """Numbers of any type as uint8, and the rows in which not all are whole and from 0 to ``most``."""
    if values.dtype.kind not in "uif":
        raise DataError(f"{path} has an array of type {values.dtype}; expected integers")
    if values.dtype == np.uint8 and most == 255:
        return values, {}
    bad = ~((values >= 0) & (values <= most) & (np.floor(values) == values))  # NaN is wrong, too
    wrong: dict[int, DataError] = {}
    for row in bad.any(axis=1).nonzero()[0].tolist():
        if error := _wrong(values[row].tolist(), names, f"{path}, row {start + row + 1:,}"):
            wrong[row] = error
    good = np.where(bad.any(axis=1, keepdims=True), 0, values) if wrong else values
    return np.ascontiguousarray(good.astype(np.uint8)), wrong


def _columns(header: Sequence[str], labelled: bool, where: str) -> list[str]:
    """Return the columns to read, label first; each must be there once, and no other."""
    wanted = [LABEL, *PIXELS] if labelled else list(PIXELS)
    known, seen = {LABEL, WRITER, *PIXELS}, set()
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


def _checked_labels(images: np.ndarray, labels: np.ndarray | None) -> _Block:
    if labels is not None and labels.max(initial=0) > 9:
        raise ValueError("a label above 9")
    return images, labels, {}


def _wrong(values: Sequence[Any], columns: Sequence[str], where: str) -> DataError | None:
    """Return what is wrong in a row of values, text or numbers: the first that is not what its column holds."""
    for value, column in zip(values, columns, strict=True):
        if value is None or value == "":
            return DataError(f"{where}, column {column}: the {'label' if column == LABEL else 'value'} is missing")
        most = 9 if column == LABEL else 255
        try:
            whole = int(value) if isinstance(value, str) else value
            right = 0 <= whole <= most and whole == int(whole)
        except (TypeError, ValueError, OverflowError):
            right = False
        if not right:
            return DataError(f"{where}, column {column}: {_shown(value)} is not an integer from 0 to {most}")
    return None


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
