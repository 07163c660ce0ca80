"""Opens the store's database: SQLite in a file, or PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from inkdigits.errors import SettingError, StoreError

__all__ = ["connect", "is_sqlite", "reading", "shown", "writing"]

BUSY_SECONDS = 10  # that a connection waits for another one that writes to the same SQLite file
RETRY_SECONDS = 0.02
CONNECT_SECONDS = 5  # to connect to PostgreSQL
POOL = 2  # connections of a process: one that writes, one that reads
EXPECTED = "a file, such as feedback.db or sqlite:////var/lib/inkdigits/feedback.db, or postgresql://USER@HOST/DATABASE"
_WRITES = "inkdigits_writes"
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}",
    "PRAGMA journal_mode=WAL",  # readers and the one writer do not wait for each other
    "PRAGMA synchronous=FULL",  # what is acknowledged survives a power failure, too
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # what is removed is overwritten
)


def connect(text: str) -> Engine:
    """Return the database at a URL or in a file; the file is created where there is none.

    Args:
        text: as the setting ``feedback`` has it.

    Raises:
        SettingError: it names no database.
    """
    url = _url_of(text)
    if is_sqlite(url):
        return _sqlite(url)
    return create_engine(
        url,
        json_serializer=_json,
        pool_size=POOL,
        pool_pre_ping=True,
        connect_args={"connect_timeout": CONNECT_SECONDS},
        pool_timeout=BUSY_SECONDS,
    )


def is_sqlite(url: URL) -> bool:
    """Return whether a database is SQLite."""
    return url.get_backend_name() == "sqlite"


def shown(url: URL) -> str:
    """Return the address of a database for messages, without its password."""
    return url.render_as_string(hide_password=True)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _url_of(text: str) -> URL:
    if "://" not in text:
        text = f"sqlite:///{Path(text).expanduser()}"
    try:
        url = make_url(text)
    except ArgumentError:  # its text is not shown: it may hold a password
        raise SettingError(f"feedback (INKDIGITS_FEEDBACK) is no address of a database; expected {EXPECTED}") from None
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise SettingError(f"feedback (INKDIGITS_FEEDBACK) is {shown(url)}; expected {EXPECTED}")
    if driver == "sqlite" and url.database in (None, "", ":memory:"):
        raise SettingError(f"feedback (INKDIGITS_FEEDBACK) is {shown(url)}, which names no file; expected {EXPECTED}")
    return url.set(drivername=driver)


def _sqlite(url: URL) -> Engine:
    path = Path(str(url.database))
    try:  # the owner alone may read it; SQLite gives its other files the same mode
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise SettingError(
            f"cannot open the database {path}: {error.strerror}; is its folder there, and writable?"
        ) from None
    options = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(url, json_serializer=_json, pool_size=POOL, connect_args=options)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver's own transactions would end before each CREATE TABLE
        for pragma in _PRAGMAS:
            _execute(connection, pragma)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and then writes could not wait for another writer.
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _execute(connection: Any, pragma: str) -> None:
    """Execute a PRAGMA, again while another process has the file; the first change to WAL does not wait by itself."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(pragma)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(RETRY_SECONDS)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that writes; it is committed at the end of the ``with`` block.

    Raises:
        StoreError: the database cannot be used.
    """
    with _named(engine), engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that only reads; errors as for :func:`writing`."""
    with _named(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def _named(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        # Its text has the statement and its values, which are personal; the driver's first line says what is wrong.
        reason = (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
        raise StoreError(f"cannot use the database {shown(engine.url)}: {reason}") from error
    except SQLAlchemyError as error:
        raise StoreError(f"cannot use the database {shown(engine.url)}: {type(error).__name__}") from error
