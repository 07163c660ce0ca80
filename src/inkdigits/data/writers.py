"""Who wrote each row of a table: its column ``writer``, or ``writers`` in an NPZ file."""

from __future__ import annotations

import csv
import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from inkdigits.data.tables import WRITER
from inkdigits.errors import DataError

__all__ = ["read_writers"]

ARRAY = f"{WRITER}s"


def read_writers(path: Path, rows: int) -> np.ndarray | None:
    """Read the writers of a table that :func:`inkdigits.data.tables.read_table` has read.

    Args:
        path: of the table.
        rows: that it has.

    Returns:
        (N,) text, one for each row; None where the table has no such column.

    Raises:
        DataError: a row has no writer.
    """
    name = path.name.lower()
    try:
        found = _of_npz(path) if name.endswith(".npz") else _of_table(path, is_parquet=name.endswith(".parquet"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, pa.ArrowException) as error:
        raise DataError(f"{path}: the writers cannot be read: {str(error).splitlines()[0]}") from None
    if found is None:
        return None
    writers = np.asarray(found)
    if writers.shape != (rows,):
        raise DataError(f"{path}: {rows:,} digits, but writers of shape {writers.shape}; each needs one")
    if empty := [row for row, writer in enumerate(writers.tolist(), 1) if writer in (None, "")]:
        raise DataError(f"{path}, row {empty[0]:,}, column {WRITER}: the writer is missing")
    return writers.astype(str)


def _of_table(path: Path, *, is_parquet: bool) -> list[Any] | None:
    if is_parquet:
        with pa.parquet.ParquetFile(path) as file:
            if WRITER not in file.schema_arrow.names:
                return None
            column: list[Any] = file.read([WRITER]).column(0).to_pylist()
            return column
    opened: Any = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as text:
        header = next(csv.reader([text.readline()]))
    if WRITER not in header:
        return None
    only = pa.csv.ConvertOptions(include_columns=[WRITER], column_types={WRITER: pa.string()})
    read = pa.csv.read_csv(path, pa.csv.ReadOptions(use_threads=False), convert_options=only)
    column = read.column(0).to_pylist()
    return column


def _of_npz(path: Path) -> np.ndarray | None:
    with np.load(path, allow_pickle=False) as arrays:
        found: np.ndarray | None = arrays.get(ARRAY)
        return found
