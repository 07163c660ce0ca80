"""Brings a database up to date, and back: the revisions in :mod:`inkdigits.feedback.migrations`, by Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from inkdigits.errors import StoreError
from inkdigits.feedback.database import is_sqlite, reading, shown, writing

__all__ = ["BASE", "HEAD", "downgrade", "head", "revision", "upgrade"]

HEAD, BASE = "head", "base"
_LOCK = 0x696E6B64  # of PostgreSQL, held by who migrates


def head() -> str:
    """Return the newest revision."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def revision(engine: Engine) -> str | None:
    """Return the revision of a database; None if it is empty.

    Raises:
        StoreError: the database cannot be used.
    """
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine, to: str = HEAD) -> bool:
    """Bring a database up to a revision, in one transaction; return whether there was anything to do.

    Several processes may do so at once.

    Raises:
        StoreError: the database cannot be used, or is of a newer inkdigits.
    """
    if to == HEAD and revision(engine) == head():
        return False
    with writing(engine) as connection:
        _lock(connection)
        before = MigrationContext.configure(connection).get_current_revision()
        _run(connection, command.upgrade, to)
        return MigrationContext.configure(connection).get_current_revision() != before


def downgrade(engine: Engine, to: str) -> None:
    """Take a database back to a revision, "base" for an empty one; what the newer tables held is lost.

    Raises:
        StoreError: the database cannot be used, or there is no such revision.
    """
    with writing(engine) as connection:
        _lock(connection)
        _run(connection, command.downgrade, to)


def _run(connection: Connection, step: object, to: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    try:
        step(config, to)  # type: ignore[operator]
    except CommandError as error:
        raise StoreError(
            f"the database {shown(connection.engine.url)} cannot be brought to revision {to}: {error}; "
            "was it made by a newer inkdigits?"
        ) from None


def _lock(connection: Connection) -> None:
    if not is_sqlite(connection.engine.url):  # a transaction of SQLite that writes has locked the file
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config
