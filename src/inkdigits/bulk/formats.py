"""The formats that rows are written in: lines for people, CSV, one JSON object per line, and Parquet.

Rows are written a block at a time and independently, so that processes can write them in parallel; :func:`join` joins
the blocks to one file.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import orjson

from inkdigits.bulk.rows import Row
from inkdigits.text import defused, json_safe, visible

if TYPE_CHECKING:
    import pyarrow

__all__ = ["COLUMNS", "ENDINGS", "NAME_WIDTH", "Format", "block", "format_of", "heading", "join"]

Format = Literal["lines", "csv", "json", "parquet"]

_FORM_OF: dict[str, Format] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
ENDINGS = (*_FORM_OF, ".txt", "")  # of an output's name; the last two are lines
_PLAIN = re.compile(r'[^",\r\n]*')
NAME_WIDTH = 60  # characters; longer names are not aligned with
#: Of a table. The page's own CSV has the same: web/table.js.
COLUMNS = (
    *("name", "digit", "confidence", "is_digit", "digit_score", "accepted", "reason"),
    *(f"p{digit}" for digit in range(10)),
    "error",
)
# Of an explanation: for ink that mattered much, some, little, and for ink against the digit.
_MARKS = [(-0.1, "-"), (0.2, "."), (0.6, "+"), (1.1, "#")]


def heading(form: Format) -> bytes:
    """Return what comes before the first block of a text format."""
    return (",".join(COLUMNS) + "\n").encode() if form == "csv" else b""


def block(rows: Sequence[Row], form: Format) -> bytes:
    """Rows in a form: text in UTF-8, or, for Parquet, a stream in Arrow's own format."""
    if form == "parquet":
        return _arrow(rows)
    out = io.StringIO(newline="")
    if form == "csv":
        out.writelines(_csv(rows))
    elif form == "json":
        out.writelines(json_safe(json.dumps(row.to_dict(), ensure_ascii=False)) + "\n" for row in rows)
    else:
        width = max((size for row in rows if (size := len(visible(row.name))) <= NAME_WIDTH), default=0)
        for row in rows:
            out.writelines(line + "\n" for line in (_line(row, width), *_map(row)))
    return out.getvalue().encode("utf-8", "backslashreplace")  # a file name need not be text


def join(blocks: Iterable[bytes], form: Format, out: BinaryIO) -> None:
    """Write one file of blocks that :func:`block` gave, in their order."""
    if form != "parquet":
        out.write(heading(form))
        out.writelines(blocks)
        return
    import pyarrow.parquet

    with pyarrow.parquet.ParquetWriter(out, _schema(), compression="zstd") as table:
        for content in blocks:
            with pyarrow.ipc.open_stream(content) as stream:
                table.write_table(stream.read_all())


def format_of(path: str) -> Format:
    """Return the format that a file's extension names, else lines."""
    return _FORM_OF.get(Path(path).suffix.lower(), "lines")


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    kinds = {"name": pa.string(), "digit": pa.int8(), "reason": pa.string(), "error": pa.string()}
    kinds |= {"is_digit": pa.bool_(), "accepted": pa.bool_()}
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in COLUMNS])


def _cells(row: Row) -> list[object]:
    """By :data:`COLUMNS`, None for none."""
    name = row.name.encode("utf-8", "backslashreplace").decode()
    return [name, *_values(row), None if row.error is None else str(row.error)]


def _values(row: Row) -> list[object]:
    """Return all cells but the name and the error."""
    p = row.prediction
    if p is None:
        return [None, None, None, None, row.accepted, None, *[None] * 10]
    return [p.digit, p.confidence, p.is_digit, p.digit_score, row.accepted, p.reason, *p.probabilities]


def _arrow(rows: Sequence[Row]) -> bytes:
    import pyarrow as pa

    cells = [_cells(row) for row in rows]
    schema = _schema()
    columns = [pa.array(column, field.type) for column, field in zip(zip(*cells, strict=True), schema, strict=True)]
    out = io.BytesIO()
    with pa.ipc.new_stream(out, schema) as stream:
        stream.write_batch(pa.record_batch(columns, schema=schema))
    return out.getvalue()


def _csv(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of CSV. orjson writes all but text, a quarter of what a row costs otherwise; each number reads the same."""
    plain = orjson.dumps([_values(row) for row in rows])[2:-2].decode().replace("null", "").replace('"', "")
    values = plain.split("],[")
    for row, cells in zip(rows, values, strict=True):
        yield f"{_quoted(row.name)},{cells},{'' if row.error is None else _quoted(str(row.error))}\n"


def _quoted(text: str) -> str:
    """Text as a cell of CSV, https://www.rfc-editor.org/rfc/rfc4180, that no spreadsheet takes for a formula."""
    text = defused(text)
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _line(row: Row, width: int) -> str:
    name = visible(row.name).ljust(width)
    p = row.prediction
    if p is None or p.digit is None:
        return f"{name}  {row.verdict}"
    if p.reason == "several digits":
        return f"{name}  {row.verdict}"
    if not p.is_digit:  # how sure it is of the nearest digit would read as how sure it is
        return f"{name}  {row.verdict} (nearest {p.digit})"
    if not row.accepted:
        return f"{name}  {row.verdict} (nearest {p.digit}, {p.confidence:.1%})"
    second = max((d for d in range(10) if d != p.digit), key=p.probabilities.__getitem__)
    return f"{name}  {p.digit}  {p.confidence:6.1%}   then {second} {p.probabilities[second]:6.1%}"


def _map(row: Row) -> list[str]:
    """Return the explanation as lines of characters."""
    if row.prediction is None or row.prediction.explanation is None:
        return []
    rows = row.prediction.explanation.tolist()
    lines = ["".join(" " if v == 0 else next(m for top, m in _MARKS if v < top) for v in line) for line in rows]
    return ["    " + line for line in lines if line.strip()]
