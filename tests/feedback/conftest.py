"""Stores in both databases."""

import itertools
import os
from collections.abc import Iterator

import pytest

from inkdigits.feedback.store import Store

from support.postgres import postgres, programs

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server():
    """A server of the machine's own PostgreSQL."""
    bin = programs()
    if bin is None:
        assert not os.environ.get("CI"), "install PostgreSQL: scripts/get-postgres.sh"
        pytest.skip("no PostgreSQL server is installed: scripts/get-postgres.sh; its half of the tests did not run")
    with postgres(bin) as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request, tmp_path) -> str:
    """A new, empty database."""
    if request.param == "sqlite":
        return str(tmp_path / "feedback.db")
    return request.getfixturevalue("postgres_server").database(f"test_{os.getpid()}_{next(_numbers)}")


@pytest.fixture
def store(url) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()
