"""Lists of corrections, as a reviewer looks through them. Each comes from an index, however many rows there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, func, select, true

from inkdigits.errors import SettingError
from inkdigits.feedback.database import reading
from inkdigits.feedback.tables import OPEN, REJECTED, SETTLED, Correction, Picture, Reading
from inkdigits.options import did_you_mean

__all__ = ["LIMIT", "ORDERS", "STATUSES", "Listed", "count", "every", "listed", "of_rows"]

LIMIT = 50  # corrections of a list
CHUNK = 500  # rows that are read at a time
STATUSES = (*OPEN, *SETTLED)


@dataclass(frozen=True, slots=True)
class Listed:
    """One correction, with what was read and the picture.

    Attributes:
        id: its public id.
        row: its number, for going on after it.
        text: what was answered.
        seen: 28×28 bytes; None for a number.
        original: the picture or strokes that are kept; None if there is only ``seen``.
        final: the label that reviewers settled on; None if they did not, or rejected it.
    """

    id: str
    row: int
    label: str
    kind: str
    status: str
    is_audit: bool
    source: str
    client: str | None
    confidence: float
    suspicion: float
    disputes: int
    created: datetime
    task: str
    text: str
    model: str
    details: dict[str, Any]
    fingerprint: int
    seen: bytes | None
    original: bytes | None
    media: str | None
    final: str | None = None

    @property
    def truth(self) -> str | None:
        """What the picture is; "" for no digit, or no number; None if its correction was rejected."""
        if self.status == REJECTED:
            return None
        return self.label if self.final is None else self.final


_COLUMNS = (
    *(Correction.public_id, Correction.id, Correction.label, Correction.kind, Correction.status, Correction.is_audit),
    *(Correction.source, Correction.client, Correction.confidence, Correction.suspicion, Correction.disputes),
    *(Correction.created, Reading.task, Reading.text, Reading.model_sha256, Reading.details),
    *(Picture.fingerprint, Picture.seen, Picture.original, Picture.media, Correction.final),
)


def _all() -> Select[Any]:
    joined = select(*_COLUMNS).select_from(Correction).join(Reading, Correction.reading_id == Reading.id)
    return joined.join(Picture, Reading.picture_id == Picture.id)


def _of_status(status: str, limit: int, *order: Any, where: Any = None) -> Select[Any]:
    """Return a query that finds its rows in one index before it joins the other tables."""
    found = select(Correction.id).where(Correction.status == status).order_by(*order).limit(limit)
    if where is not None:
        found = found.where(where)
    return _all().where(Correction.id.in_(found.scalar_subquery())).order_by(*order)


def _newest(status: str, limit: int) -> Select[Any]:
    return _of_status(status, limit, Correction.created.desc())


def _least_sure(status: str, limit: int) -> Select[Any]:
    return _of_status(status, limit, Correction.confidence)


def _suspected(status: str, limit: int) -> Select[Any]:
    return _of_status(status, limit, Correction.suspicion.desc(), where=Correction.suspicion > 0)


def _disputed(status: str, limit: int) -> Select[Any]:
    return _of_status(status, limit, Correction.disputes.desc(), where=Correction.disputes > 0)


def _audit(status: str, limit: int) -> Select[Any]:
    found = select(Correction.id).where(Correction.is_audit == true()).order_by(Correction.created.desc()).limit(limit)
    return _all().where(Correction.id.in_(found.scalar_subquery())).order_by(Correction.created.desc())


def _duplicates(status: str, limit: int) -> Select[Any]:
    """Pictures that look the same, next to each other; of any status, as one of them may have been reviewed."""
    looks = select(Picture.fingerprint).where(Picture.is_duplicate == true()).group_by(Picture.fingerprint)
    groups = looks.order_by(Picture.fingerprint).limit(limit)
    theirs = _all().where(Picture.fingerprint.in_(groups.scalar_subquery()))
    return theirs.order_by(Picture.fingerprint, Correction.id).limit(limit)


_QUERIES: dict[str, Callable[[str, int], Select[Any]]] = {
    "newest": _newest,
    "least-sure": _least_sure,
    "disputed": _disputed,
    "suspected": _suspected,
    "duplicates": _duplicates,
    "audit": _audit,
}
ORDERS = tuple(_QUERIES)


def listed(engine: Engine, order: str = "newest", *, status: str = "pending", limit: int = LIMIT) -> list[Listed]:
    """Return corrections, the most interesting first.

    Args:
        order: one of :data:`ORDERS`. "audit" and "duplicates" are of any status.

    Raises:
        SettingError: there is no such order or status.
        StoreError: the database cannot be used.
    """
    for name, value, known in (("order", order, ORDERS), ("status", status, STATUSES)):
        if value not in known:
            raise SettingError(f"{name} is {value!r}; {did_you_mean(value, known, f'{name}s')}")
    with reading(engine) as connection:
        return [Listed(*row) for row in connection.execute(_QUERIES[order](status, limit))]


def of_rows(connection: Connection, rows: Sequence[int]) -> list[Listed]:
    """Return the corrections with these numbers, in this order; those that are gone are left out."""
    found = {row.id: Listed(*row) for row in connection.execute(_all().where(Correction.id.in_(rows)))}
    return [found[row] for row in rows if row in found]


def every(engine: Engine, *, status: str | None = None) -> Iterator[Listed]:
    """Yield all corrections in the order in which they came, a few at a time."""
    after = 0
    while True:
        query = _all().where(Correction.id > after).order_by(Correction.id).limit(CHUNK)
        if status is not None:
            query = query.where(Correction.status == status)
        with reading(engine) as connection:
            rows = [Listed(*row) for row in connection.execute(query)]
        yield from rows
        if len(rows) < CHUNK:
            return
        after = rows[-1].row


def count(engine: Engine) -> dict[str, int]:
    """Return the number of corrections of each status; those without any are left out."""
    with reading(engine) as connection:
        rows = connection.execute(select(Correction.status, func.count()).group_by(Correction.status))
        return {row[0]: row[1] for row in rows}
