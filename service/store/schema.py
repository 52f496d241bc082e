"""Which schema a database has, and how it comes to have this version's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from service.store.engine import Database
from service.store.errors import StoreError

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_VERSION_TABLE: Final = "alembic_version"


@cache
def versions() -> tuple[str, ...]:
    """Return the names of all versions that this program knows, the oldest first."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(_MIGRATIONS)).walk_revisions()
    return tuple(reversed([script.revision for script in scripts]))


def version_of(connection: Connection) -> str | None:
    """Return the version of a database's schema; ``None`` if it holds nothing.

    Raises
    ------
    StoreError
        If it holds something else.
    """
    names = set(inspect(connection).get_table_names())
    if not names:
        return None
    found = None
    if _VERSION_TABLE in names:
        found = connection.scalar(text(f"SELECT version_num FROM {_VERSION_TABLE}"))
    if found is None:
        raise StoreError(
            f"the database is no store of foreswap: expected a table {_VERSION_TABLE!r} with its "
            f"version, got tables {', '.join(sorted(names)[:5])}"
        )
    return str(found)


def require_current(found: str | None) -> None:
    """Return if a schema is this version's.

    Raises
    ------
    StoreError
        If it is not, and what to do.
    """
    latest = versions()[-1]
    if found is None:
        raise StoreError(f"the store is empty: expected schema {latest}")
    if found not in versions():
        raise StoreError(
            f"the store has schema {found}, newer than this program, which knows up to {latest}: "
            "use the version of foreswap that wrote it, or a later one"
        )
    if found != latest:
        raise StoreError(
            f"the store has schema {found}, this program needs {latest}: stop every foreswap that "
            "uses it, make a backup, and run: foreswap upgrade"
        )


def prepare(database: Database) -> None:
    """Make the tables of a database that holds nothing; others must be current.

    Raises
    ------
    StoreError
        If the schema is of another version.
    """
    with database.reading() as connection:
        found = version_of(connection)
    if found is None:
        upgrade(database)
    else:
        require_current(found)


def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring a database to this version's schema, wholly or not at all.

    Returns
    -------
    tuple[str | None, str]
        The version before, ``None`` if it held nothing, and now.

    Raises
    ------
    StoreError
        If it is of a newer version, or cannot be upgraded.
    """
    latest = versions()[-1]
    with database.writing() as connection:
        found = version_of(connection)
        if found is not None and found not in versions():
            require_current(found)
        migrate(connection, latest)
    return found, latest


def migrate(connection: Connection, version: str) -> None:
    """Take the steps to a version, in the transaction of the connection."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, version)
