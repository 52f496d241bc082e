"""Which databases are opened, made, brought up to date, and refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from service.store import schema
from service.store.engine import Database
from service.store.errors import StoreError
from service.store.sql import open_database, open_store
from service.store.tables import METADATA
from solver.domain.errors import InvalidInputError
from tests.postgresql import PostgreSQL


def set_version(url: str, version: str) -> None:
    """Pretend that another version of foreswap made the schema."""
    database = Database(url)
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
    database.close()


def test_the_steps_lead_to_the_tables_of_the_program(store_url: str) -> None:
    """Every table, column and index, of the same types."""
    open_store(store_url).close()
    database = Database(store_url)
    with database.reading() as connection:
        found = compare_metadata(MigrationContext.configure(connection), METADATA)
    database.close()
    assert found == []


def test_a_newer_schema_is_refused(store_url: str) -> None:
    """By all that would touch it, with both versions and what to do."""
    open_store(store_url).close()
    set_version(store_url, "9999")
    with pytest.raises(StoreError, match=r"has schema 9999, newer than .* up to 0001: use"):
        open_store(store_url)
    database = open_database(store_url)
    with pytest.raises(StoreError, match="newer"):
        schema.upgrade(database)
    database.close()


def test_a_store_notices_that_its_schema_was_changed(store_url: str) -> None:
    """Another replica may have brought it to a newer version meanwhile."""
    store = open_store(store_url)
    set_version(store_url, "9999")
    with pytest.raises(StoreError, match="9999"):
        store.check()
    store.close()


def test_upgrading_what_is_current_changes_nothing(store_url: str) -> None:
    """And what is empty is made."""
    database = open_database(store_url)
    latest = schema.versions()[-1]
    assert schema.upgrade(database) == (None, latest)
    assert schema.upgrade(database) == (latest, latest)
    database.close()
    open_store(store_url).check()


def test_a_database_of_something_else_is_left_alone(store_url: str) -> None:
    """Its tables are named, and none is added."""
    database = Database(store_url)
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE invoices (id integer)"))
    with pytest.raises(StoreError, match=r"no store of foreswap.*invoices"):
        open_store(store_url)
    with database.reading() as connection:
        assert connection.execute(text("SELECT * FROM invoices")).all() == []
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://u:secret@h/d",
        "postgresql+asyncpg://u:secret@h/d",
        "postgresql://u:secret@h",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    """With what is expected, and without the password."""
    with pytest.raises(InvalidInputError, match=r"store\.url: expected sqlite:///PATH") as error:
        open_store(url)
    assert "secret" not in str(error.value)


def test_a_database_out_of_reach_is_told_without_its_password(tmp_path: Path) -> None:
    """Neither a server that is not there nor a folder that is not there is waited for."""
    with pytest.raises(StoreError, match="nowhere") as error:
        open_store("postgresql://u:secret@/d?host=/nowhere")
    assert "secret" not in str(error.value)
    with pytest.raises(StoreError, match=r"store\.db' cannot be opened: No such file"):
        open_store(f"sqlite:///{tmp_path / 'nowhere' / 'store.db'}")


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """It holds the hashes of secrets."""
    path = tmp_path / "store.db"
    open_store(f"sqlite:///{path}").close()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"not a database, but a text of some length" * 100, b"\0" * 9])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """And left as it was found."""
    path = tmp_path / "store.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="not a database"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    """Wherever the damage is met; what is whole is still read."""
    path = tmp_path / "store.db"
    open_store(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path)
    page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'audit'").fetchone()
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    content = bytearray(path.read_bytes())
    content[(page[0] - 1) * size : page[0] * size] = b"\xa5" * size
    path.write_bytes(content)
    store = open_store(f"sqlite:///{path}")
    with pytest.raises(StoreError, match="malformed"), store.begin(read_only=True) as tx:
        tx.audit.page(limit=1)
    with store.begin(read_only=True) as tx:
        assert tx.jobs.page(limit=1) == []
    store.close()


def test_another_encoding_is_refused(postgresql_server: PostgreSQL) -> None:
    """Names of VMs may be of any script."""
    postgresql_server.ask("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreError, match="expected encoding UTF8, got LATIN1"):
        open_store(postgresql_server.url("latin"))
