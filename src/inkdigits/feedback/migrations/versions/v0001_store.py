"""The first tables.

Revision: 0001
"""

from __future__ import annotations

import secrets
from functools import partial

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
SECRET_BYTES = 32

column = partial(sa.Column, nullable=False)

# Of these, children come first.
TABLES = (
    *("training_item", "review", "correction", "reading", "picture", "user_split"),
    *("promotion", "gate_run", "certificate", "model", "secret"),
)
_APPEND_ONLY = "rows of promotion are only added; a rollback is a new row"
_FORBID_SQLITE = """
    CREATE TRIGGER promotion_no_{verb} BEFORE {verb} ON promotion
    BEGIN SELECT RAISE(ABORT, '{why}'); END
"""
_FUNCTION = """
    CREATE FUNCTION promotion_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION '{why}'; END$$
"""
_FORBID_POSTGRESQL = """
    CREATE TRIGGER promotion_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON promotion
    FOR EACH STATEMENT EXECUTE FUNCTION promotion_append_only()
"""


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "certificate",
        column("id", KEY),
        column("model_sha256", sa.String(length=64)),
        column("profile", sa.String(length=64), nullable=True),
        column("error", sa.Float(53)),
        column("confidence", sa.Float(53)),
        column("grid", sa.JSON()),
        column("source", sa.Text()),
        column("users", sa.Integer()),
        column("pictures", sa.Integer()),
        column("accepted", sa.Integer()),
        column("wrong", sa.Integer()),
        column("threshold", sa.Float(53), nullable=True),
        column("created", MOMENT),
        column("withdrawn", MOMENT, nullable=True),
        column("withdrawn_why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_certificate"),
    )
    op.create_index("ix_certificate_model_sha256_created", "certificate", ["model_sha256", "created"])
    op.create_table(
        "gate_run",
        column("id", KEY),
        column("challenger", sa.String(length=64)),
        column("champion", sa.String(length=64)),
        column("set_sha256", sa.String(length=64)),
        column("try_number", sa.Integer()),
        column("users", sa.Integer()),
        column("pictures", sa.Integer()),
        column("fixed", sa.Integer()),
        column("broken", sa.Integer()),
        column("p_pictures", sa.Float(53)),
        column("p_users", sa.Float(53)),
        column("level", sa.Float(53)),
        column("decision", sa.String(length=9)),
        column("record", sa.JSON()),
        column("created", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_gate_run"),
    )
    op.create_index("ix_gate_run_set_sha256_try_number", "gate_run", ["set_sha256", "try_number"])
    op.create_table(
        "model",
        column("sha256", sa.String(length=64)),
        column("parent", sa.String(length=64), nullable=True),
        column("name", sa.String(length=64)),
        column("path", sa.Text(), nullable=True),
        column("recipe", sa.JSON()),
        column("created", MOMENT),
        sa.PrimaryKeyConstraint("sha256", name="pk_model"),
    )
    op.create_table(
        "picture",
        column("id", KEY),
        column("digest", sa.String(length=32)),
        column("fingerprint", sa.BigInteger()),
        column("is_duplicate", sa.Boolean()),
        column("seen", sa.LargeBinary(), nullable=True),
        column("original", sa.LargeBinary(), nullable=True),
        column("media", sa.String(length=64), nullable=True),
        column("created", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_picture"),
    )
    op.create_index("ix_picture_created", "picture", ["created"])
    op.create_index("ix_picture_fingerprint", "picture", ["fingerprint"])
    op.create_index("ix_picture_is_duplicate_fingerprint", "picture", ["is_duplicate", "fingerprint"])
    op.create_table(
        "secret",
        column("id", sa.Integer(), autoincrement=False),
        column("key", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name="pk_secret"),
    )
    op.create_table(
        "user_split",
        column("client", sa.String(length=64)),
        column("part", sa.String(length=9)),
        column("created", MOMENT),
        sa.PrimaryKeyConstraint("client", name="pk_user_split"),
    )
    op.create_table(
        "promotion",
        column("id", KEY),
        column("slot", sa.String(length=64)),
        column("model_sha256", sa.String(length=64)),
        column("replaced", sa.String(length=64), nullable=True),
        column("gate_run_id", KEY, nullable=True),
        column("by", sa.String(length=64)),
        column("reason", sa.Text()),
        column("created", MOMENT),
        sa.ForeignKeyConstraint(["gate_run_id"], ["gate_run.id"], name="fk_promotion_gate_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_promotion"),
    )
    op.create_index("ix_promotion_slot_id", "promotion", ["slot", "id"])
    op.create_table(
        "reading",
        column("id", KEY),
        column("picture_id", KEY),
        column("uid", sa.String(length=32), nullable=True),
        column("model_sha256", sa.String(length=64)),
        column("profile", sa.String(length=64), nullable=True),
        column("task", sa.String(length=6)),
        column("text", sa.Text()),
        column("confidence", sa.Float(53)),
        column("details", sa.JSON()),
        column("created", MOMENT),
        sa.ForeignKeyConstraint(["picture_id"], ["picture.id"], name="fk_reading_picture_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_reading"),
        sa.UniqueConstraint("uid", name="uq_reading_uid"),
    )
    op.create_index("ix_reading_picture_id_model_sha256", "reading", ["picture_id", "model_sha256"])
    op.create_table(
        "correction",
        column("id", KEY),
        column("public_id", sa.String(length=22)),
        column("key", sa.String(length=64)),
        column("body_sha256", sa.String(length=64)),
        column("reading_id", KEY),
        column("label", sa.Text()),
        column("kind", sa.String(length=9)),
        column("status", sa.String(length=9)),
        column("is_audit", sa.Boolean()),
        column("source", sa.String(length=64)),
        column("client", sa.String(length=64), nullable=True),
        column("consent", sa.String(length=8)),
        column("confidence", sa.Float(53)),
        column("suspicion", sa.Float(53)),
        column("disputes", sa.Integer()),
        column("created", MOMENT),
        sa.ForeignKeyConstraint(["reading_id"], ["reading.id"], name="fk_correction_reading_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_correction"),
        sa.UniqueConstraint("key", name="uq_correction_key"),
        sa.UniqueConstraint("public_id", name="uq_correction_public_id"),
    )
    op.create_index("ix_correction_client_created", "correction", ["client", "created"])
    op.create_index("ix_correction_created", "correction", ["created"])
    op.create_index("ix_correction_is_audit_created", "correction", ["is_audit", "created"])
    op.create_index("ix_correction_reading_id", "correction", ["reading_id"])
    op.create_index("ix_correction_status_confidence", "correction", ["status", "confidence"])
    op.create_index("ix_correction_status_created", "correction", ["status", "created"])
    op.create_index("ix_correction_status_disputes", "correction", ["status", "disputes"])
    op.create_index("ix_correction_status_suspicion", "correction", ["status", "suspicion"])
    op.create_table(
        "review",
        column("id", KEY),
        column("correction_id", KEY),
        column("reviewer", sa.String(length=64)),
        column("verdict", sa.String(length=9)),
        column("label", sa.Text(), nullable=True),
        column("reason", sa.Text(), nullable=True),
        column("created", MOMENT),
        sa.ForeignKeyConstraint(
            ["correction_id"], ["correction.id"], name="fk_review_correction_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_review"),
    )
    op.create_index("ix_review_correction_id", "review", ["correction_id"])
    op.create_index("ix_review_reviewer_created", "review", ["reviewer", "created"])
    op.create_table(
        "training_item",
        column("model_sha256", sa.String(length=64)),
        column("correction_id", KEY),
        sa.ForeignKeyConstraint(
            ["correction_id"], ["correction.id"], name="fk_training_item_correction_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["model_sha256"], ["model.sha256"], name="fk_training_item_model_sha256", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_sha256", "correction_id", name="pk_training_item"),
    )
    op.create_index("ix_training_item_correction_id", "training_item", ["correction_id"])
    # ### end Alembic commands ###
    secret = sa.table("secret", sa.column("id", sa.Integer), sa.column("key", sa.LargeBinary))
    op.bulk_insert(secret, [{"id": 1, "key": secrets.token_bytes(SECRET_BYTES)}])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(_FORBID_SQLITE.format(verb=verb, why=_APPEND_ONLY))
    else:
        op.execute(_FUNCTION.format(why=_APPEND_ONLY))
        op.execute(_FORBID_POSTGRESQL)


def downgrade() -> None:
    """Drop them, and all that they hold."""
    for name in TABLES:
        op.drop_table(name)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION promotion_append_only()")
