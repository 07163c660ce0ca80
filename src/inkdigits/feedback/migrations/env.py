"""What Alembic runs: the revisions, in the transaction that :mod:`inkdigits.feedback.migrate` has opened."""

from __future__ import annotations

from alembic import context

from inkdigits.feedback.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite's, too: the transaction is not the driver's
    compare_type=True,
)
context.run_migrations()
