"""What every test may ask for: the data folder, databases, and how hard Hypothesis tries.

Builders of clusters stand in ``tests/builders.py``; fixtures of one room stand beside its tests.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import postgresql
from tests.machine import without

REPOSITORY = Path(__file__).resolve().parent.parent

# No deadline: on a busy machine it tells of the neighbours, not of the code under test.
settings.register_profile(
    "modest",
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough",
    max_examples=1000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("modest")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real traces and public instances, read in place."""
    named = os.environ.get("FORESWAP_SHARED_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        without(f"no data folder at {folder}; name one in FORESWAP_SHARED_DATA")
    return folder


@pytest.fixture(autouse=True)
def no_engine_fails(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which an engine did: the others' answer would hide it."""
    logger, told = logging.getLogger("solver.portfolio"), _Errors()
    logger.addHandler(told)
    yield
    logger.removeHandler(told)
    if request.node.get_closest_marker("engine_fails") is None:
        assert told.messages == []


class _Errors(logging.Handler):
    """Keeps what errors are logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message with what raised it."""
        self.messages.append(self.format(record))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.PostgreSQL]:
    """A PostgreSQL server of this run's own."""
    programs = postgresql.programs()
    if programs is None:
        without("PostgreSQL is not installed; run: sudo apt-get install postgresql")
    with postgresql.running(programs) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a new, empty database, of each kind the store knows."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    server: postgresql.PostgreSQL = request.getfixturevalue("postgresql_server")
    return server.new_database()
