"""Corrections out of the store: CSV without pictures, JSON lines with them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from typing import Any, TextIO

from inkdigits.feedback.queries import Listed
from inkdigits.feedback.submission import STROKES, data_url

__all__ = ["FORMATS", "row_of", "write"]

FORMATS = ("csv", "jsonl")


def row_of(each: Listed) -> dict[str, Any]:
    """Return a correction without its picture, as plain values."""
    return {
        "id": each.id,
        "label": each.label,
        "answer": each.text,
        "reading": each.task,
        "kind": each.kind,
        "status": each.status,
        "final": each.final,
        "audit": each.is_audit,
        "confidence": each.confidence,
        "suspicion": each.suspicion,
        "disputes": each.disputes,
        "source": each.source,
        "client": each.client,
        "model": each.model,
        "created": each.created.isoformat(timespec="seconds"),
    }


def _with_picture(each: Listed) -> dict[str, Any]:
    """Return a correction with what was answered in detail, and its picture as ``POST /feedback`` takes it."""
    row = {**row_of(each), "details": each.details}
    if each.seen is not None:
        row["pixels"] = list(each.seen)
    if each.original is not None and each.media == STROKES:
        row |= json.loads(each.original)
    elif each.original is not None and each.media is not None:
        row["image"] = data_url(each.original, each.media)
    return row


def write(out: TextIO, rows: Iterable[Listed], format: str) -> int:
    """Write corrections in one of :data:`FORMATS`; return their number."""
    count = 0
    table: Any = None
    for each in rows:
        if format == "csv":
            if table is None:
                table = csv.DictWriter(out, list(row_of(each)), lineterminator="\n")
                table.writeheader()
            table.writerow(row_of(each))
        else:
            out.write(json.dumps(_with_picture(each), ensure_ascii=False) + "\n")
        count += 1
    return count
