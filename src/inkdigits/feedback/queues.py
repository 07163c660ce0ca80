"""What a reviewer is given next. Each queue comes from an index, however many corrections there are.

A correction stays in the queues while it is open, and leaves those of a reviewer with their verdict. Those of the audit
sample are *blind* wherever they turn up: the reviewer sees neither the answer nor the label, which would sway them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Select, and_, false, func, or_, select, true, union_all
from sqlalchemy.orm import aliased

from inkdigits.errors import SettingError
from inkdigits.feedback.database import reading
from inkdigits.feedback.queries import Listed, of_rows
from inkdigits.feedback.tables import HELD, OPEN, SETTLED, Correction, Picture, Reading, Review
from inkdigits.options import did_you_mean

__all__ = ["GROUP", "QUEUES", "Item", "next_items", "sizes", "to_group"]

SKIP_TIME = timedelta(hours=12)  # for which a correction that a reviewer skipped is not offered to them
SECOND_WINDOW = 2000  # verdicts, the newest, that others are asked to repeat
GROUP = 200  # corrections of pictures that look the same, which one verdict may settle
COUNTED = 100  # corrections of a queue that are counted; more are "100 or more"


@dataclass(frozen=True, slots=True)
class Item:
    """A correction to review.

    Attributes:
        blind: whether neither the answer nor the label may be shown before the verdict.
        now: what the present model answers, if that differs and the queue is "changed".
        group: all corrections of pictures that look the same, this one included, if the queue is "duplicates".
    """

    listed: Listed
    blind: bool
    now: str | None = None
    group: list[Listed] = field(default_factory=list)


# A condition of its own that no index serves: SQLite would go through all rows of the index instead of a few others.
_NO_AUDIT = func.coalesce(Correction.is_audit, true()) == false()


def _not_seen_by(reviewer: str) -> Any:
    """Return the condition that a reviewer has no verdict on a correction that still holds."""
    fresh = datetime.now(UTC) - SKIP_TIME
    mine = (
        select(Review.verdict)
        .where(Review.correction_id == Correction.id, Review.reviewer == reviewer)
        .where(or_(Review.verdict != "skip", Review.created > fresh))
        .order_by(Review.id.desc())
        .limit(1)
        .correlate(Correction)
        .scalar_subquery()
    )
    return func.coalesce(mine, "undo") == "undo"


def _open(reviewer: str, limit: int, order: Any, *where: Any, descends: bool = True) -> Select[Any]:
    """Return the numbers of open corrections: the first of each status from its index, then the first of those."""
    by = order.desc() if descends else order
    parts = [
        select(Correction.id.label("id"), order.label("key"))
        .where(Correction.status == status, *where, _not_seen_by(reviewer))
        .order_by(by)
        .limit(limit)
        .subquery()
        for status in OPEN
    ]
    both = union_all(*(select(part.c.id, part.c.key) for part in parts)).subquery()
    return select(both.c.id).order_by(both.c.key.desc() if descends else both.c.key).limit(limit)


def _held(reviewer: str, model: str, limit: int) -> Select[Any]:
    found = select(Correction.id).where(Correction.status == HELD, _not_seen_by(reviewer))
    return found.order_by(Correction.created).limit(limit)


def _least_sure(reviewer: str, model: str, limit: int) -> Select[Any]:
    return _open(reviewer, limit, Correction.confidence, descends=False)


def _disputed(reviewer: str, model: str, limit: int) -> Select[Any]:
    return _open(reviewer, limit, Correction.disputes, Correction.disputes > 0)


def _suspected(reviewer: str, model: str, limit: int) -> Select[Any]:
    return _open(reviewer, limit, Correction.suspicion, Correction.suspicion > 0)


def _audit(reviewer: str, model: str, limit: int) -> Select[Any]:
    return _open(reviewer, limit, Correction.created, Correction.is_audit == true())


def _duplicates(reviewer: str, model: str, limit: int) -> Select[Any]:
    is_copy = Correction.is_copy == true(), _NO_AUDIT
    return _open(reviewer, limit, Correction.id, *is_copy, descends=False)


def _changed(reviewer: str, model: str, limit: int) -> Select[Any]:
    again = aliased(Reading)
    return (
        select(Correction.id)
        .select_from(again)
        .join(Reading, Reading.picture_id == again.picture_id)
        .join(Correction, Correction.reading_id == Reading.id)
        .where(again.model_sha256 == model, again.is_change == true())
        # Not by the index of statuses, which would go through all that are open.
        .where(func.coalesce(Correction.status, "").in_(OPEN), _not_seen_by(reviewer))
        .distinct()  # two processes may have read it at the same time
        .limit(limit)
    )


def _second(reviewer: str, model: str, limit: int) -> Select[Any]:
    """Return what another reviewer has settled, for the agreement between them."""
    newest = (
        select(Review.id, Review.correction_id, Review.reviewer).order_by(Review.id.desc()).limit(SECOND_WINDOW)
    ).subquery()
    settled = and_(Correction.status.in_(SETTLED), newest.c.reviewer != reviewer, _not_seen_by(reviewer))
    found = select(Correction.id).join(newest, newest.c.correction_id == Correction.id).where(settled)
    return found.group_by(Correction.id).order_by(func.max(newest.c.id).desc()).limit(limit)


QUEUES: dict[str, Callable[[str, str, int], Select[Any]]] = {
    "held": _held,
    "suspected": _suspected,
    "disputed": _disputed,
    "least-sure": _least_sure,
    "changed": _changed,
    "duplicates": _duplicates,
    "audit": _audit,
    "second": _second,
}
BLIND = ("audit", "second")


def next_items(engine: Engine, queue: str, reviewer: str, *, model: str, limit: int = 1) -> list[Item]:
    """Return the next corrections of a queue, the most interesting first.

    Args:
        queue: one of :data:`QUEUES`.
        reviewer: whose own verdicts leave corrections out.
        model: SHA-256 of the present model, for the queue "changed".

    Raises:
        SettingError: there is no such queue.
        StoreError: the database cannot be used.
    """
    if queue not in QUEUES:
        raise SettingError(f"queue is {queue!r}; {did_you_mean(queue, tuple(QUEUES), 'queues')}")
    with reading(engine) as connection:
        rows = connection.execute(QUEUES[queue](reviewer, model, limit)).scalars().all()
        return [_item(connection, listed, queue, model) for listed in of_rows(connection, rows)]


def _item(connection: Connection, listed: Listed, queue: str, model: str) -> Item:
    blind = listed.is_audit or queue in BLIND
    now, group = None, []
    if queue == "changed" and not blind:
        again = aliased(Reading)
        query = (
            select(again.text)
            .join(Reading, Reading.picture_id == again.picture_id)
            .join(Correction, Correction.reading_id == Reading.id)
            .where(Correction.id == listed.row, again.model_sha256 == model, again.is_change == true())
        )
        now = connection.execute(query.limit(1)).scalar_one_or_none()
    if queue == "duplicates":
        group = of_rows(connection, to_group(connection, listed.row))
    return Item(listed, blind, now, group)


def to_group(connection: Connection, row: int) -> list[int]:
    """Return the numbers of the corrections of pictures that look the same as a correction's, itself included.

    Those of the audit sample are left out, as they are labeled one by one.
    """
    look = (
        select(Picture.fingerprint)
        .join(Reading, Reading.picture_id == Picture.id)
        .join(Correction, Correction.reading_id == Reading.id)
        .where(Correction.id == row)
        .scalar_subquery()
    )
    query = (
        select(Correction.id)
        .join(Reading, Correction.reading_id == Reading.id)
        .join(Picture, Reading.picture_id == Picture.id)
        .where(Picture.fingerprint == look, _NO_AUDIT)
    )
    return sorted(connection.execute(query.limit(GROUP)).scalars())  # ordered by SQLite, it would go through all


def sizes(engine: Engine, reviewer: str, *, model: str) -> dict[str, int]:
    """Return how many corrections each queue has for a reviewer, up to :data:`COUNTED`."""
    with reading(engine) as connection:
        return {
            name: len(connection.execute(query(reviewer, model, COUNTED)).scalars().all())
            for name, query in QUEUES.items()
        }
