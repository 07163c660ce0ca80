"""Keeps corrections, each exactly once, and removes them for good.

A call is one transaction: what it returns is committed. A client that sends a correction again with the same key, as
after a lost answer, gets the receipt of the first one.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, delete, exists, func, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from inkdigits.errors import StoreError
from inkdigits.feedback import migrate
from inkdigits.feedback.answers import Answer
from inkdigits.feedback.database import connect, is_sqlite, reading, writing
from inkdigits.feedback.submission import Conflict, Receipt, Submission
from inkdigits.feedback.tables import HELD, PENDING, Correction, Picture, Reading, Secret, TrainingItem, UserSplit
from inkdigits.feedback.trust import Trust
from inkdigits.prediction import SIDE

__all__ = ["BATCH", "HELD", "PENDING", "Forgotten", "Store", "fingerprint_of"]

BATCH = 100  # corrections of a transaction
ATTEMPTS = 3  # of a transaction, where another process adds the same key at the same time
COMPARED = 1000  # corrections of pictures that look the same, the newest of which a new one is compared with
PURGED = 500  # pictures of a transaction
CELL = 2  # pixels per side, of which a fingerprint takes the mean
ID_BITS = 10  # random ones of an id, after its microseconds
ID_BYTES = 16  # random ones of a public id
_OF_OTHERS = ("40P01", "40001")  # PostgreSQL's deadlock, and serialization failure


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed.

    Attributes:
        models: SHA-256 of the models that were trained on any of it; they still hold what they learned.
    """

    pictures: int
    corrections: int
    models: tuple[str, ...] = ()


def fingerprint_of(answer: Answer, digest: str) -> int:
    """Return a number that is equal for pictures that look the same, 64 bits with a sign.

    It is made of the 28×28 image at a quarter of its pixels, in black and white; for a number, of its digest.
    """
    if answer.seen is None:
        data = digest.encode()
    else:
        pixels = np.frombuffer(answer.seen, np.uint8).reshape(SIDE // CELL, CELL, SIDE // CELL, CELL)
        data = np.packbits(pixels.sum(axis=(1, 3), dtype=np.uint16) >= CELL * CELL * 128).tobytes()
    return int.from_bytes(sha256(data).digest()[:8], signed=True)


class Store:
    """The database of corrections. Threads may share it.

    Args:
        url: of the database, or the path of a file, as the setting ``feedback`` has it.
        upgrade: whether to create or update its tables.

    Raises:
        SettingError: the URL names no database.
        StoreError: the database cannot be used.
    """

    def __init__(self, url: str, *, upgrade: bool = True) -> None:
        self.engine: Engine = connect(url)
        try:
            if upgrade:
                migrate.upgrade(self.engine)
        except BaseException:
            self.close()
            raise

    def secret(self) -> bytes:
        """Return the key that signs prediction ids."""
        with reading(self.engine) as connection:
            return connection.execute(select(Secret.key)).scalar_one()

    def close(self) -> None:
        """Close its connections."""
        self.engine.dispose()

    # In

    def add(self, submissions: Sequence[Submission]) -> list[Receipt | Conflict]:
        """Add corrections in one transaction; return a receipt for each, in order.

        Raises:
            StoreError: the database cannot be used; it may have kept all of them or none.
        """
        attempt = 1
        while True:
            try:
                with writing(self.engine) as connection:
                    return _add(connection, submissions, datetime.now(UTC))
            except StoreError as error:
                if attempt == ATTEMPTS or not _may_pass(error.__cause__):
                    raise
            attempt += 1

    # Out

    def forget(self, public_id: str) -> Forgotten:
        """Remove a correction with its picture, what was read in it, and all other corrections of it.

        Raises:
            StoreError: the database cannot be used.
        """
        return self._forget(Correction.public_id == public_id)

    def forget_client(self, client: str) -> Forgotten:
        """Remove all corrections of a client with their pictures; see :meth:`forget`."""
        found = self._forget(Correction.client == client)
        with writing(self.engine) as connection:
            connection.execute(delete(UserSplit).where(UserSplit.client == client))
        return found

    def purge(self, days: int, *, now: datetime | None = None) -> int:
        """Remove all pictures that are older than this many days; return their number."""
        before = (now or datetime.now(UTC)) - timedelta(days=days)
        total = 0
        while True:
            with writing(self.engine) as connection:
                old = select(Picture.id).where(Picture.created < before).order_by(Picture.created).limit(PURGED)
                pictures = connection.execute(old).scalars().all()
                if not pictures:
                    break
                _remove(connection, pictures)
                total += len(pictures)
        if total:
            with writing(self.engine) as connection:
                theirs = exists().where(Correction.client == UserSplit.client)
                connection.execute(delete(UserSplit).where(~theirs))
            self._truncate_log()
        return total

    def compact(self) -> None:
        """Rewrite the database, without the space and the traces of what was removed.

        It takes a second for each 100 MB or so, during which nothing else is written.

        Raises:
            StoreError: the database cannot be used.
        """
        if is_sqlite(self.engine.url):
            self._statement("VACUUM")
            self._truncate_log()
        else:
            self._statement("VACUUM (FULL) picture, reading, correction, review, training_item")

    def _forget(self, condition: Any) -> Forgotten:
        with writing(self.engine) as connection:
            named = select(Reading.picture_id).join(Correction, Correction.reading_id == Reading.id).where(condition)
            pictures = connection.execute(named.distinct()).scalars().all()
            corrections, models = _remove(connection, pictures)
        if pictures:
            self._truncate_log()
        return Forgotten(len(pictures), corrections, models)

    def _truncate_log(self) -> None:
        """Have SQLite write its log into the file, and empty it: it still has what was removed."""
        if is_sqlite(self.engine.url):
            self._statement("PRAGMA wal_checkpoint(TRUNCATE)")

    def _statement(self, sql: str) -> None:
        """Run a statement that cannot be part of a transaction."""
        with reading(self.engine) as connection:
            connection.rollback()
            driver: Any = connection.connection.dbapi_connection
            is_auto = getattr(
                driver, "autocommit", True
            )  # of PostgreSQL; the SQLite driver's is set by database.connect
            if not is_auto:
                driver.autocommit = True
            try:
                driver.execute(sql).fetchall() if is_auto else driver.execute(sql)
            finally:
                if not is_auto:
                    driver.autocommit = False


def _may_pass(cause: BaseException | None) -> bool:
    """Return whether a transaction failed because of another: it added the same key, or each waited for the other."""
    return isinstance(cause, IntegrityError) or (
        isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) in _OF_OTHERS
    )


def _add(connection: Connection, submissions: Sequence[Submission], now: datetime) -> list[Receipt | Conflict]:
    columns = Correction.key, Correction.body_sha256, Correction.public_id, Correction.status
    keys = list({s.key for s in submissions})
    known = {row.key: row for row in connection.execute(select(*columns).where(Correction.key.in_(keys)))}
    fresh = {s.key: s for s in reversed(submissions) if s.key not in known}  # the first one of each key
    new = _insert(connection, list(fresh.values())[::-1], now) if fresh else {}
    receipts: list[Receipt | Conflict] = []
    added = set[str]()
    for s in submissions:
        if s.key in known:
            row = known[s.key]
            same = row.body_sha256 == s.body_sha256
            receipts.append(Receipt(row.public_id, row.status, False) if same else Conflict(s.key))
        elif fresh[s.key].body_sha256 != s.body_sha256:
            receipts.append(Conflict(s.key))
        else:
            receipts.append(Receipt(*new[s.key], s.key not in added))
            added.add(s.key)
    return receipts


def _insert(connection: Connection, fresh: list[Submission], now: datetime) -> dict[str, tuple[str, str]]:
    """Insert corrections that are not there yet; return the public id and the status of each, by key."""
    uids = [s.answer.uid for s in fresh]
    ids = dict(connection.execute(select(Reading.uid, Reading.id).where(Reading.uid.in_(uids))).all())
    looks = {s.answer.uid: fingerprint_of(s.answer, s.answer.source) for s in fresh}
    seen_before = _known(connection, looks.values())
    answers = {s.answer.uid: s for s in fresh if s.answer.uid not in ids}
    if answers:
        ids |= _insert_readings(connection, list(answers.values()), looks, set(seen_before), now)
    others = _labels(connection, looks, seen_before | {looks[uid] for uid in uids if uid not in answers})
    trust = Trust(connection, [s.client for s in fresh], now)
    rows, receipts, disputed = [], {}, []
    together: dict[int, list[dict[str, Any]]] = {}
    for s in fresh:
        look = looks[s.answer.uid]
        contrary = [id for id, label in others.get(look, ()) if label != s.label]
        disputed += contrary
        suspicion = s.answer.suspicion(s.label)
        alike = together.setdefault(look, [])
        against = [row for row in alike if row["label"] != s.label]
        copies = len(others.get(look, ())) + len(alike)
        is_held = trust.holds(s.client, suspicion=suspicion, copies=copies)
        receipts[s.key] = secrets.token_urlsafe(ID_BYTES), HELD if is_held else PENDING
        for row in against:
            row["disputes"] += 1
        rows.append(
            {
                "public_id": receipts[s.key][0],
                "key": s.key,
                "body_sha256": s.body_sha256,
                "reading_id": ids[s.answer.uid],
                "label": s.label,
                "kind": s.kind,
                "status": receipts[s.key][1],
                "is_audit": s.answer.audit,
                "source": s.source,
                "client": s.client,
                "consent": s.consent,
                "confidence": s.answer.confidence,
                "suspicion": suspicion,
                "disputes": len(contrary) + len(against),
                "is_copy": copies > 0,
                "created": now,
            }
        )
        alike.append(rows[-1])
    connection.execute(insert(Correction), rows)
    for times, members in _by_count(disputed):
        one_more = update(Correction).where(Correction.id.in_(members))
        connection.execute(one_more.values(disputes=Correction.disputes + times))
    return receipts


def _insert_readings(
    connection: Connection, answers: list[Submission], looks: dict[str, int], before: set[int], now: datetime
) -> dict[str | None, int]:
    """Insert pictures and what was read in them; return the id of each reading by its uid."""
    pictures, first = [], _new_ids()
    for i, s in enumerate(answers):
        look = looks[s.answer.uid]
        pictures.append(
            {
                "id": first + i,
                "digest": s.answer.source,
                "fingerprint": look,
                "is_duplicate": look in before,
                "seen": s.answer.seen,
                "original": s.original.data if s.original else None,
                "media": s.original.media if s.original else None,
                "created": now,
            }
        )
        before.add(look)
    connection.execute(insert(Picture), pictures)
    readings = [
        {
            "id": first + i,
            "picture_id": first + i,
            "uid": s.answer.uid,
            "model_sha256": s.answer.model,
            "profile": None,
            "task": s.answer.task,
            "text": s.answer.text,
            "confidence": s.answer.confidence,
            "details": s.answer.details,
            "created": datetime.fromtimestamp(s.answer.at, UTC),
        }
        for i, s in enumerate(answers)
    ]
    connection.execute(insert(Reading), readings)
    return {s.answer.uid: first + i for i, s in enumerate(answers)}


def _new_ids() -> int:
    """Return the first of :data:`BATCH` ids or more, later than those before.

    Asking the database for them takes as long as all the rest. Two transactions would have to draw the same number in
    the same microsecond to get the same ids, and then the second one is done again.
    """
    return (time.time_ns() // 1000 << ID_BITS) + secrets.randbits(ID_BITS)


def _known(connection: Connection, looks: Iterable[int]) -> set[int]:
    """Return which of these fingerprints pictures have."""
    return set(
        connection.execute(select(Picture.fingerprint).where(Picture.fingerprint.in_(set(looks))).distinct()).scalars()
    )


def _labels(connection: Connection, looks: dict[str, int], wanted: set[int]) -> dict[int, list[tuple[int, str]]]:
    """Return the newest corrections of pictures with these fingerprints: their id and label."""
    found: dict[int, list[tuple[int, str]]] = {}
    if not wanted:
        return found
    query = (
        select(Picture.fingerprint, Correction.id, Correction.label)
        .join(Reading, Reading.picture_id == Picture.id)
        .join(Correction, Correction.reading_id == Reading.id)
        .where(Picture.fingerprint.in_(wanted))
        .order_by(Correction.id.desc())
        .limit(COMPARED)
    )
    for look, id, label in connection.execute(query):
        found.setdefault(look, []).append((id, label))
    return found


def _by_count(ids: Iterable[int]) -> list[tuple[int, list[int]]]:
    """Return ids by how often they occur."""
    groups: dict[int, list[int]] = {}
    for id, times in Counter(ids).items():
        groups.setdefault(times, []).append(id)
    return list(groups.items())


def _remove(connection: Connection, pictures: Sequence[int]) -> tuple[int, tuple[str, ...]]:
    """Remove pictures and all that hangs on them; return the number of corrections, and the models trained on any."""
    if not pictures:
        return 0, ()
    theirs = (
        select(Correction.id).join(Reading, Correction.reading_id == Reading.id).where(Reading.picture_id.in_(pictures))
    )
    trained = select(TrainingItem.model_sha256).where(TrainingItem.correction_id.in_(theirs)).distinct()
    models = tuple(sorted(connection.execute(trained).scalars()))
    count = connection.execute(select(func.count()).select_from(theirs.subquery())).scalar_one()
    connection.execute(delete(Picture).where(Picture.id.in_(pictures)))
    return count, models
