"""Has the present model read what earlier ones were corrected on, a few pictures at a time.

What it answers is kept, so that a picture is read once by each model; where it differs from what was answered first,
the queue "changed" has it. Digits are read from the 28×28 pixels that are kept, numbers from the picture or strokes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Engine, exists, func, insert, select
from sqlalchemy.orm import aliased

from inkdigits.errors import ImageError
from inkdigits.feedback.answers import Answer
from inkdigits.feedback.database import reading, writing
from inkdigits.feedback.submission import STROKES
from inkdigits.feedback.tables import OPEN, Correction, Picture, Reading
from inkdigits.prediction import SIDE
from inkdigits.preprocess import Preprocessed
from inkdigits.preprocess.layout import from_pixels
from inkdigits.recognizer import Recognizer

__all__ = ["Reread"]

DIGITS, NUMBERS = 256, 4  # pictures that are read at a time: about 50 ms on one core
LOOKED_AT = 2000  # corrections that are looked at for them at a time


class Reread:
    """Goes through the open corrections, from the newest to the oldest, once.

    Corrections that come meanwhile were answered by the present model.

    Attributes:
        done: whether all have been looked at.
    """

    def __init__(self, engine: Engine, recognizer: Recognizer) -> None:
        self._engine = engine
        self._recognizer = recognizer
        self._below: int | None = None  # the number of the correction that was looked at last
        self.done = False

    def step(self) -> int:
        """Have the model read the next pictures; return how many it read.

        Raises:
            StoreError: the database cannot be used.
        """
        if self.done:
            return 0
        model = self._recognizer.model.sha256
        again = aliased(Reading)
        is_known = exists().where(again.picture_id == Reading.picture_id, again.model_sha256 == model)
        with reading(self._engine) as connection:
            if self._below is None:
                self._below = (connection.execute(select(func.max(Correction.id))).scalar_one() or 0) + 1
            scanned = (
                select(Correction.id, Correction.status, Correction.reading_id)
                .where(Correction.id < self._below)
                .order_by(Correction.id.desc())
                .limit(LOOKED_AT)
            ).subquery()
            end = connection.execute(select(func.min(scanned.c.id))).scalar_one()
            if end is None:
                self.done = True
                return 0
            wanted = (
                select(scanned.c.id, Reading.task)
                .join(Reading, Reading.id == scanned.c.reading_id)
                .where(scanned.c.status.in_(OPEN), ~is_known)
                .order_by(scanned.c.id.desc())
            )
            rows, end = _first(connection.execute(wanted).all(), end)
            columns = Reading.picture_id, Reading.task, Reading.text, Picture.seen, Picture.original, Picture.media
            found = (
                select(*columns)
                .join(Correction, Correction.reading_id == Reading.id)
                .join(Picture, Reading.picture_id == Picture.id)
                .where(Correction.id.in_(rows))
            )
            pictures = list({row.picture_id: row for row in connection.execute(found)}.values())
        readings = self._read(pictures)
        if readings:
            with writing(self._engine) as connection:
                ids = [each["picture_id"] for each in readings]
                there = set(connection.execute(select(Picture.id).where(Picture.id.in_(ids))).scalars())
                if kept := [each for each in readings if each["picture_id"] in there]:  # the others were removed
                    connection.execute(insert(Reading), kept)
        self._below = end
        return len(readings)

    def _read(self, pictures: Sequence[Any]) -> list[dict[str, Any]]:
        digits = [row for row in pictures if row.task == "digit" and row.seen is not None]
        seen = [from_pixels(np.frombuffer(row.seen, np.uint8).reshape(SIDE, SIDE)) for row in digits]
        found = [(row, Answer.of(p, self._model)) for row, p in zip(digits, self._predict(seen), strict=True)]
        for row in pictures:
            if row.task == "number" and row.original is not None:
                try:
                    is_drawn = row.media == STROKES
                    picture = orjson.loads(row.original)["strokes"] if is_drawn else row.original
                    found.append((row, Answer.of(self._recognizer.read(picture), self._model)))
                except ImageError:  # an import may keep what only this model cannot read
                    continue
        return [
            {
                "picture_id": row.picture_id,
                "uid": None,
                "model_sha256": answer.model,
                "profile": None,
                "task": row.task,
                "text": answer.text,
                "confidence": answer.confidence,
                "details": answer.details,
                "created": datetime.now(UTC),
                "is_change": answer.text != row.text,
            }
            for row, answer in found
        ]

    def _predict(self, seen: list[Preprocessed]) -> list[Any]:
        return self._recognizer.predict_preprocessed(seen) if seen else []

    @property
    def _model(self) -> str:
        return self._recognizer.model.sha256


def _first(wanted: Sequence[Any], end: int) -> tuple[list[int], int]:
    """Return the corrections that are read now, and where to go on below."""
    rows: list[int] = []
    numbers = 0
    for row, task in wanted:
        numbers += task == "number"
        if len(rows) == DIGITS or numbers > NUMBERS:
            return rows, rows[-1]
        rows.append(row)
    return rows, end
