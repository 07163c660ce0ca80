"""What reviewers settle, and what newer models read.

Revision: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDICES = (
    ("ix_reading_model_sha256_is_change", "reading", ["model_sha256", "is_change"]),
    ("ix_correction_client_status", "correction", ["client", "status"]),
    ("ix_correction_status_is_audit_created", "correction", ["status", "is_audit", "created"]),
    ("ix_correction_status_is_copy", "correction", ["status", "is_copy"]),
)


def upgrade() -> None:
    """Add the columns and their indices."""
    for table, name in (("reading", "is_change"), ("correction", "is_copy")):
        op.add_column(table, sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("correction", sa.Column("final", sa.Text(), nullable=True))
    op.add_column("review", sa.Column("was", sa.String(length=9), nullable=False, server_default="pending"))
    for name, table, columns in INDICES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Drop them, and what they hold."""
    for name, table, _ in INDICES:
        op.drop_index(name, table)
    for table, name in (
        ("reading", "is_change"),
        ("correction", "is_copy"),
        ("correction", "final"),
        ("review", "was"),
    ):
        op.drop_column(table, name)
