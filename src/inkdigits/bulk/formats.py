"""The formats that rows are written in: lines for people, CSV, one JSON object per line, and Parquet.

Rows are written a block at a time and independently, so that processes can write them in parallel; :func:`join` joins
the blocks to one file. What the columns are, the task says.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import orjson

from inkdigits.bulk.task import Found, Task
from inkdigits.text import defused, json_safe, visible

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ENDINGS", "NAME_WIDTH", "Format", "block", "format_of", "heading", "join"]

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


def heading(form: Format, task: Task) -> bytes:
    """Return what comes before the first block of a text format."""
    return (",".join(["name", *task.columns, "error"]) + "\n").encode() if form == "csv" else b""


def block(found: Sequence[Found], form: Format, task: Task) -> bytes:
    """Rows in a form: text in UTF-8, or, for Parquet, a stream in Arrow's own format."""
    if form == "parquet":
        return _arrow(found, task)
    out = io.StringIO(newline="")
    if form == "csv":
        out.writelines(_csv(found, task))
    elif form == "json":
        rows = (row for each in found for row in each.to_dicts())
        out.writelines(json_safe(json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
    else:
        names = [visible(each.name) for each in found]
        width = max((len(name) for name in names if len(name) <= NAME_WIDTH), default=0)
        for name, each in zip(names, found, strict=True):
            out.writelines(f"{name.ljust(width)}  {line}\n" for line in each.lines())
            out.writelines(f"{line}\n" for line in each.below())
    return out.getvalue().encode("utf-8", "backslashreplace")  # a file name need not be text


def join(blocks: Iterable[bytes], form: Format, task: Task, out: BinaryIO) -> None:
    """Write one file of blocks that :func:`block` gave, in their order."""
    if form != "parquet":
        out.write(heading(form, task))
        out.writelines(blocks)
        return
    import pyarrow.parquet

    with pyarrow.parquet.ParquetWriter(out, _schema(task), compression="zstd") as table:
        for content in blocks:
            with pyarrow.ipc.open_stream(content) as stream:
                table.write_table(stream.read_all())


def format_of(path: str) -> Format:
    """Return the format that a file's extension names, else lines."""
    return _FORM_OF.get(Path(path).suffix.lower(), "lines")


def _schema(task: Task) -> pyarrow.Schema:
    import pyarrow as pa

    kinds = {"name": "string", **task.columns, "error": "string"}
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()])


def _arrow(found: Sequence[Found], task: Task) -> bytes:
    import pyarrow as pa

    cells = []
    for each in found:
        name = each.name.encode("utf-8", "backslashreplace").decode()
        error = None if each.error is None else str(each.error)
        cells += [[name, *row, error] for row in each.cells()]
    schema = _schema(task)
    columns = [pa.array(column, field.type) for column, field in zip(zip(*cells, strict=True), schema, strict=True)]
    out = io.BytesIO()
    with pa.ipc.new_stream(out, schema) as stream:
        stream.write_batch(pa.record_batch(columns, schema=schema))
    return out.getvalue()


def _csv(found: Sequence[Found], task: Task) -> Iterator[str]:
    """Lines of CSV. orjson writes all but text, a quarter of what a row costs otherwise; each number reads the same."""
    texts = [i for i, kind in enumerate(task.columns.values()) if kind == "string"]
    rows, strings = [], []
    for each in found:
        for row in each.cells():
            strings.append([(i, str(row[i])) for i in texts if row[i]])
            for i in texts:
                row[i] = None
            rows.append((each, row))
    plain = orjson.dumps([row for _, row in rows])[2:-2].decode().replace("null", "").split("],[")
    for (each, _), values, quoted in zip(rows, plain, strings, strict=True):
        if quoted:
            cells = values.split(",")
            for i, text in quoted:
                cells[i] = _quoted(text)
            values = ",".join(cells)
        error = "" if each.error is None else _quoted(defused(str(each.error)))
        yield f"{_quoted(defused(each.name))},{values},{error}\n"


def _quoted(text: str) -> str:
    """Text as a cell of CSV, https://www.rfc-editor.org/rfc/rfc4180."""
    return text if _PLAIN.fullmatch(text) else '"' + text.replace('"', '""') + '"'
