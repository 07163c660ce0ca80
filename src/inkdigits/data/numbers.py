"""Pictures of numbers with their texts, named by a path: a table of files, a table of pictures, or a folder of both.

``texts.csv``        columns file (or file_name) and text (or label): a picture, by its path from the table's folder
``texts.jsonl``      an object per line with the same keys
``texts.parquet``    columns image, encoded as in Hugging Face's data sets, and text (or label)
``folder/``          that has one of ``TABLES`` next to its pictures
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inkdigits.errors import DataError
from inkdigits.preprocess import ImageSource

__all__ = ["TABLES", "NumberPictures", "read_number_pictures"]

TABLES = ("metadata.csv", "metadata.jsonl", "texts.csv", "labels.csv", "index.csv")  # of a folder; the first there is
FILE_COLUMNS, TEXT_COLUMNS, IMAGE_COLUMN = ("file", "file_name"), ("text", "label"), "image"
ENDINGS = (".csv", ".jsonl", ".parquet")
LIMIT_SEED = 0  # of which pictures are taken where only some are asked for


@dataclass(frozen=True, eq=False)
class NumberPictures:
    """Pictures of numbers.

    Attributes:
        name: of the table's file or its folder.
        titles: of each picture: its file, or its row from 1.
        images: as many: paths, or bytes of image files.
        texts: what is written in each: spaces between numbers, a line for each line; "" where there is no number.
        sha256: hash of the table by its name.
    """

    name: str
    titles: Sequence[str]
    images: Sequence[ImageSource]
    texts: Sequence[str]
    sha256: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.texts)

    def limited(self, n: int) -> NumberPictures:
        """Return at most n of the pictures, always the same ones, in their order."""
        if n >= len(self):
            return self
        chosen = np.sort(np.random.default_rng(LIMIT_SEED).choice(len(self), n, replace=False)).tolist()
        titles, images, texts = ([each[at] for at in chosen] for each in (self.titles, self.images, self.texts))
        return replace(self, titles=titles, images=images, texts=texts)


def read_number_pictures(text: str) -> NumberPictures:
    """Load pictures of numbers from a path.

    Args:
        text: in one of the forms above.

    Raises:
        DataError: there is nothing, in no known form, or damaged; the message names the file, and what in it is wrong.
    """
    path = Path(text).expanduser()
    name = path.name
    if path.is_dir():
        name = path.resolve().name
        table = next((path / each for each in TABLES if (path / each).is_file()), None)
        if table is None:
            raise DataError(f"folder {text} has no table of texts; write one of {', '.join(TABLES)} with file,text")
        path = table
    if not path.is_file():
        raise DataError(f"there is no file or folder {text!r}; expected a table with file,text, or a folder with one")
    if path.suffix.lower() not in ENDINGS:
        raise DataError(f"{text} is not a table of texts by its name; expected {', '.join(ENDINGS)}")
    try:
        rows = {".csv": _of_csv, ".jsonl": _of_json, ".parquet": _of_parquet}[path.suffix.lower()](path)
        titles, images, texts = zip(*rows, strict=True)
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:  # none to zip
        raise DataError(f"{path} has no rows") from None
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return NumberPictures(name, titles, images, texts, {path.name: sha256})


def _of_csv(path: Path) -> Iterator[tuple[str, Path, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        file_column, text_column = (
            _column(path, reader.fieldnames or (), names) for names in (FILE_COLUMNS, TEXT_COLUMNS)
        )
        try:
            for row in reader:
                if row[file_column] is None or row[text_column] is None:
                    raise DataError(f"{path}, line {reader.line_num}: expected {file_column} and {text_column}")
                yield row[file_column], path.parent / row[file_column], row[text_column]
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def _of_json(path: Path) -> Iterator[tuple[str, Path, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object, not {line!r:.60}")
        file, text = (row[_column(path, row, names)] for names in (FILE_COLUMNS, TEXT_COLUMNS))
        if not isinstance(file, str) or not isinstance(text, str):
            raise DataError(f'{path}, line {number}: file and text must be strings, as "007", not {line!r:.60}')
        yield file, path.parent / file, text


def _of_parquet(path: Path) -> Iterator[tuple[str, bytes, str]]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            text_column = _column(path, file.schema_arrow.names, TEXT_COLUMNS)
            _column(path, file.schema_arrow.names, (IMAGE_COLUMN,))
            rows = file.read([IMAGE_COLUMN, text_column]).to_pylist()
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    for number, row in enumerate(rows, 1):
        image, text = row[IMAGE_COLUMN], row[text_column]
        content = image.get("bytes") if isinstance(image, dict) else image
        if not isinstance(content, bytes) or not isinstance(text, str):
            raise DataError(f"{path}, row {number}: expected an encoded image and its text as a string")
        yield f"row {number}", content, text


def _column(path: Path, found: Iterable[str], names: Sequence[str]) -> str:
    columns = list(found)
    for name in names:
        if name in columns:
            return name
    raise DataError(f"{path} has no column {' or '.join(names)}; it has: {', '.join(map(str, columns)) or 'none'}")
