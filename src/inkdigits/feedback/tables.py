"""The tables of the store, as SQLAlchemy maps them; :mod:`inkdigits.feedback.migrations` creates them.

A picture has readings, a reading has corrections, a correction has reviews, and all of them go with the picture. What
is forgotten is removed from these tables; the tables of models hold counts and decisions, and refer to no picture,
except ``training_item``, which goes with its correction.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

__all__ = [
    "ACCEPTED",
    "HELD",
    "OPEN",
    "PENDING",
    "REJECTED",
    "RELABELED",
    "SETTLED",
    "Base",
    "Certificate",
    "Correction",
    "GateRun",
    "Model",
    "Moment",
    "Picture",
    "Promotion",
    "Reading",
    "Review",
    "Secret",
    "TrainingItem",
    "UserSplit",
]

Key = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers the rows of an INTEGER PRIMARY KEY alone
SHA256 = 64  # hex digits
NAME = 64  # characters of names and ids
PUBLIC_ID = 22  # characters
PENDING, HELD, ACCEPTED, RELABELED, REJECTED = "pending", "held", "accepted", "relabeled", "rejected"
OPEN = (PENDING, HELD)  # statuses of corrections that wait for a reviewer
SETTLED = (ACCEPTED, RELABELED, REJECTED)


class Moment(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Moment, dict[str, Any]: JSON}  # noqa: RUF012  # SQLAlchemy's own form


class Secret(Base):
    """The key that signs prediction ids; one row."""

    __tablename__ = "secret"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[bytes] = mapped_column(LargeBinary)


class Picture(Base):
    """An image that somebody agreed to have kept.

    Attributes:
        digest: of the image as it was sent, in hex.
        fingerprint: of what it looks like: equal for copies, and for nearly all pictures that look the same.
        is_duplicate: whether a picture with this fingerprint was there before.
        seen: what the network saw, 28×28 bytes; None for a number.
        original: the file or the strokes without metadata; None if only ``seen`` is kept.
        media: its media type.
    """

    __tablename__ = "picture"
    __table_args__ = (Index(None, "is_duplicate", "fingerprint"), Index(None, "fingerprint"), Index(None, "created"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    digest: Mapped[str] = mapped_column(String(32))
    fingerprint: Mapped[int] = mapped_column(BigInteger)
    is_duplicate: Mapped[bool]
    seen: Mapped[bytes | None] = mapped_column(LargeBinary)
    original: Mapped[bytes | None] = mapped_column(LargeBinary)
    media: Mapped[str | None] = mapped_column(String(NAME))
    created: Mapped[datetime]

    readings: Mapped[list[Reading]] = relationship(back_populates="picture", passive_deletes=True)


class Reading(Base):
    """What a model answered for a picture.

    Attributes:
        uid: of the answer; None if the model read the picture later on.
        task: "digit" or "number".
        text: the accepted answer; "" if the picture was rejected or blank.
        confidence: probability of that.
        details: see :class:`inkdigits.feedback.answers.Answer`.
        profile: of the user whose hand the model was adapted to; None for the model alone.
        is_change: whether a model that read the picture later on answered something else than was answered first.
    """

    __tablename__ = "reading"
    __table_args__ = (Index(None, "picture_id", "model_sha256"), Index(None, "model_sha256", "is_change"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    picture_id: Mapped[int] = mapped_column(Key, ForeignKey("picture.id", ondelete="CASCADE"))
    uid: Mapped[str | None] = mapped_column(String(32), unique=True)
    model_sha256: Mapped[str] = mapped_column(String(SHA256))
    profile: Mapped[str | None] = mapped_column(String(NAME))
    task: Mapped[str] = mapped_column(String(6))
    text: Mapped[str] = mapped_column(Text)
    confidence: Mapped[float] = mapped_column(Float(53))
    details: Mapped[dict[str, Any]]
    created: Mapped[datetime]
    is_change: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())

    picture: Mapped[Picture] = relationship(back_populates="readings")
    corrections: Mapped[list[Correction]] = relationship(back_populates="reading", passive_deletes=True)


class Correction(Base):
    """What somebody says that a picture is.

    Attributes:
        public_id: unguessable; who knows it may remove the correction.
        key: chosen by who sent it, for exactly one correction each.
        body_sha256: of what came with the key.
        label: "" for no digit, or no number.
        kind: "corrected" or "confirmed".
        status: of :data:`OPEN` or :data:`SETTLED`.
        is_audit: whether the answer belongs to the random sample; only these may measure a model.
        source: where it comes from.
        client: a random id, or None.
        consent: who agreed to keep it: "client" or "operator".
        confidence: of the reading, repeated for the index.
        suspicion: how much more probable the model found its own answer than the label, 0 to 1.
        disputes: how many corrections of pictures that look the same have another label.
        is_copy: whether a picture that looks the same had been corrected before.
        final: the label that reviewers settled on; None if they did not, or rejected it.
    """

    __tablename__ = "correction"
    __table_args__ = (
        Index(None, "reading_id"),
        Index(None, "created"),
        Index(None, "client", "created"),
        Index(None, "client", "status"),
        Index(None, "status", "created"),
        Index(None, "status", "confidence"),
        Index(None, "status", "suspicion"),
        Index(None, "status", "disputes"),
        Index(None, "status", "is_audit", "created"),
        Index(None, "status", "is_copy"),
        Index(None, "is_audit", "created"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(PUBLIC_ID), unique=True)
    key: Mapped[str] = mapped_column(String(NAME), unique=True)
    body_sha256: Mapped[str] = mapped_column(String(SHA256))
    reading_id: Mapped[int] = mapped_column(Key, ForeignKey("reading.id", ondelete="CASCADE"))
    label: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(9))
    status: Mapped[str] = mapped_column(String(9))
    is_audit: Mapped[bool] = mapped_column(Boolean)
    source: Mapped[str] = mapped_column(String(NAME))
    client: Mapped[str | None] = mapped_column(String(NAME))
    consent: Mapped[str] = mapped_column(String(8))
    confidence: Mapped[float] = mapped_column(Float(53))
    suspicion: Mapped[float] = mapped_column(Float(53))
    disputes: Mapped[int]
    created: Mapped[datetime]
    is_copy: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    final: Mapped[str | None] = mapped_column(Text)

    reading: Mapped[Reading] = relationship(back_populates="corrections")


class Review(Base):
    """A reviewer's verdict on a correction. Rows are only added: taking one back is another row.

    Attributes:
        verdict: "accept", "relabel" with another label, "reject"; "skip", or "undo", which takes back the last one.
        was: the status of the correction before.
    """

    __tablename__ = "review"
    __table_args__ = (Index(None, "correction_id"), Index(None, "reviewer", "created"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    correction_id: Mapped[int] = mapped_column(Key, ForeignKey("correction.id", ondelete="CASCADE"))
    reviewer: Mapped[str] = mapped_column(String(NAME))
    verdict: Mapped[str] = mapped_column(String(9))
    label: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    created: Mapped[datetime]
    was: Mapped[str] = mapped_column(String(9), server_default="pending")


class UserSplit(Base):
    """What all corrections of a client are for: "train", "gate" or "guarantee". It never changes."""

    __tablename__ = "user_split"

    client: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    part: Mapped[str] = mapped_column(String(9))
    created: Mapped[datetime]


class Model(Base):
    """A model that was trained from corrections, or served."""

    __tablename__ = "model"

    sha256: Mapped[str] = mapped_column(String(SHA256), primary_key=True)
    parent: Mapped[str | None] = mapped_column(String(SHA256))
    name: Mapped[str] = mapped_column(String(NAME))
    path: Mapped[str | None] = mapped_column(Text)
    recipe: Mapped[dict[str, Any]]
    created: Mapped[datetime]


class TrainingItem(Base):
    """That a model was trained on a correction. It goes with the correction; removing that reports the model."""

    __tablename__ = "training_item"
    __table_args__ = (Index(None, "correction_id"),)

    model_sha256: Mapped[str] = mapped_column(
        String(SHA256), ForeignKey("model.sha256", ondelete="CASCADE"), primary_key=True
    )
    correction_id: Mapped[int] = mapped_column(Key, ForeignKey("correction.id", ondelete="CASCADE"), primary_key=True)


class GateRun(Base):
    """One comparison of a challenger with the champion, and its decision: "promote", "keep" or "too few"."""

    __tablename__ = "gate_run"
    __table_args__ = (Index(None, "set_sha256", "try_number"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    challenger: Mapped[str] = mapped_column(String(SHA256))
    champion: Mapped[str] = mapped_column(String(SHA256))
    set_sha256: Mapped[str] = mapped_column(String(SHA256))
    try_number: Mapped[int]
    users: Mapped[int]
    pictures: Mapped[int]
    fixed: Mapped[int]
    broken: Mapped[int]
    p_pictures: Mapped[float] = mapped_column(Float(53))
    p_users: Mapped[float] = mapped_column(Float(53))
    level: Mapped[float] = mapped_column(Float(53))
    decision: Mapped[str] = mapped_column(String(9))
    record: Mapped[dict[str, Any]]
    created: Mapped[datetime]


class Promotion(Base):
    """A model that was put in a slot such as "champion". Rows are only added: taking one back is another row."""

    __tablename__ = "promotion"
    __table_args__ = (Index(None, "slot", "id"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    slot: Mapped[str] = mapped_column(String(NAME))
    model_sha256: Mapped[str] = mapped_column(String(SHA256))
    replaced: Mapped[str | None] = mapped_column(String(SHA256))
    gate_run_id: Mapped[int | None] = mapped_column(Key, ForeignKey("gate_run.id"))
    by: Mapped[str] = mapped_column(String(NAME))
    reason: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime]


class Certificate(Base):
    """A threshold above which, with this confidence, at most this share of the accepted answers is wrong.

    It holds for one model and profile, until it is withdrawn.
    """

    __tablename__ = "certificate"
    __table_args__ = (Index(None, "model_sha256", "created"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    model_sha256: Mapped[str] = mapped_column(String(SHA256))
    profile: Mapped[str | None] = mapped_column(String(NAME))
    error: Mapped[float] = mapped_column(Float(53))
    confidence: Mapped[float] = mapped_column(Float(53))
    grid: Mapped[dict[str, Any]]
    source: Mapped[str] = mapped_column(Text)
    users: Mapped[int]
    pictures: Mapped[int]
    accepted: Mapped[int]
    wrong: Mapped[int]
    threshold: Mapped[float | None] = mapped_column(Float(53))
    created: Mapped[datetime]
    withdrawn: Mapped[datetime | None]
    withdrawn_why: Mapped[str | None] = mapped_column(Text)
