"""Corrections as data sets for other programs: Parquet, COCO, and tasks of Label Studio.

A correction's *truth* is the label that reviewers settled on, else the one that was sent. Rejected corrections have
none: Parquet has them with a null, the others leave them out.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from inkdigits.feedback.export import row_of
from inkdigits.feedback.imports import NOTHING
from inkdigits.feedback.queries import Listed
from inkdigits.feedback.submission import JPEG, PNG, STROKES, data_url
from inkdigits.prediction import CLASSES, SIDE
from inkdigits.preprocess.strokes import check_strokes, draw_strokes

__all__ = ["DATASETS"]

ROWS = 1000  # of a row group
NUMBER = "number"
CATEGORIES = (*map(str, range(CLASSES)), NOTHING, NUMBER)
COCO_FILE = "annotations/instances_default.json"
_ENDINGS = {PNG: "png", JPEG: "jpg"}


def _picture(each: Listed) -> tuple[bytes, str]:
    """Return the file of a picture and its media type: of a digit, what the network saw, dark on light."""
    if each.seen is not None:
        return _png(Image.fromarray(255 - np.frombuffer(each.seen, np.uint8).reshape(SIDE, SIDE))), PNG
    assert each.original is not None and each.media is not None  # a number is kept with its picture
    if each.media == STROKES:
        return _png(draw_strokes(check_strokes(json.loads(each.original)["strokes"])).picture), PNG
    return each.original, each.media


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _parquet(out: BinaryIO, rows: Iterable[Listed]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    text, number, switch = pa.string(), pa.float64(), pa.bool_()
    names = {
        **dict.fromkeys(("id", "label", "answer", "reading", "kind", "status", "final"), text),
        **{"audit": switch, "confidence": number, "suspicion": number, "disputes": pa.int32()},
        **dict.fromkeys(("source", "client", "model", "created", "truth", "details"), text),
        **{"pixels": pa.list_(pa.uint8()), "image": pa.binary(), "media": text, "strokes": text},
    }
    schema = pa.schema(list(names.items()))
    count, iterator = 0, iter(rows)
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        while part := [_flat(each) for each in islice(iterator, ROWS)]:
            writer.write_table(pa.Table.from_pylist(part, schema))
            count += len(part)
    return count


def _flat(each: Listed) -> dict[str, Any]:
    is_drawn = each.media == STROKES
    return {
        **row_of(each),
        "truth": each.truth,
        "details": json.dumps(each.details),
        "pixels": None if each.seen is None else np.frombuffer(each.seen, np.uint8),
        "image": None if is_drawn else each.original,
        "media": each.media,
        "strokes": each.original.decode() if is_drawn and each.original is not None else None,
    }


def _coco(out: BinaryIO, rows: Iterable[Listed]) -> int:
    """Write a zip with COCO's instances and the pictures, as CVAT, FiftyOne and others take it."""
    images, annotations = [], []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # the pictures are compressed already
        for each, label in _labeled(rows):
            data, media = _picture(each)
            with Image.open(io.BytesIO(data)) as picture:
                width, height = picture.size
                box = _ink(np.asarray(picture)) if each.seen is not None else [0, 0, width, height]
            name = f"{each.row:09}.{_ENDINGS[media]}"
            archive.writestr(zipfile.ZipInfo(f"images/{name}"), data)
            images.append({"id": each.row, "file_name": name, "width": width, "height": height})
            category = NUMBER if each.task == NUMBER and label else label or NOTHING
            annotations.append(
                {
                    "id": each.row,
                    "image_id": each.row,
                    "category_id": CATEGORIES.index(category) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "segmentation": [],
                    "iscrowd": 0,
                    "utf8_string": label,
                    "attributes": row_of(each),
                }
            )
        document = {
            "info": {"description": "corrections of inkdigits"},
            "licenses": [],
            "categories": [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, 1)],
            "images": images,
            "annotations": annotations,
        }
        archive.writestr(
            zipfile.ZipInfo(COCO_FILE), json.dumps(document, ensure_ascii=False), compress_type=zipfile.ZIP_DEFLATED
        )
    return len(images)


def _ink(picture: np.ndarray) -> list[int]:
    """Return the bounds of dark ink, [left, top, width, height]; of the whole picture if it is blank."""
    rows, columns = (np.flatnonzero((picture < 255).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return [0, 0, picture.shape[1], picture.shape[0]]
    return [int(v) for v in (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)]


def _label_studio(out: BinaryIO, rows: Iterable[Listed]) -> int:
    """Write a list of tasks, with the truth as an annotation and the answer as a prediction."""
    count = 0
    out.write(b"[")
    for each, label in _labeled(rows):
        data, media = _picture(each)
        task = {
            "data": {"image": data_url(data, media), **row_of(each)},
            "annotations": [{"result": [_result(each, label)]}],
            "predictions": [
                {"model_version": each.model[:12], "score": each.confidence, "result": [_result(each, each.text)]}
            ],
        }
        out.write((",\n" if count else "\n").encode() + json.dumps(task, ensure_ascii=False).encode())
        count += 1
    out.write(b"\n]\n")
    return count


def _result(each: Listed, label: str) -> dict[str, Any]:
    kind: dict[str, Any] = {"from_name": "label", "type": "choices", "value": {"choices": [label or NOTHING]}}
    if each.task == NUMBER:
        kind = {"from_name": "text", "type": "textarea", "value": {"text": [label or NOTHING]}}
    return {"to_name": "image", **kind}


def _labeled(rows: Iterable[Listed]) -> Iterator[tuple[Listed, str]]:
    for each in rows:
        if each.truth is not None:
            yield each, each.truth


# Format → ending of the file's name, and what writes it and returns the number of corrections.
DATASETS: dict[str, tuple[str, Callable[[BinaryIO, Iterable[Listed]], int]]] = {
    "parquet": (".parquet", _parquet),
    "coco": (".zip", _coco),
    "label-studio": (".json", _label_studio),
}
