"""Whole copies of a store: one SQLite file, whichever database they come from or go to.

Of SQLite the copy is made by its own backup, page by page, while the service goes on. Of PostgreSQL
every row is read in one transaction that sees one instant. Nobody holds a lease in a copy.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Table, func, select, text

from executor.durable import sync_folder
from service.store import schema
from service.store.engine import Database
from service.store.errors import StoreError
from service.store.tables import ATTEMPTS, LEASES, METADATA

_ROWS_AT_ONCE: Final = 200


def back_up(database: Database, path: Path) -> None:
    """Write a whole, consistent copy to a new file.

    Raises
    ------
    StoreError
        If the file exists or cannot be written, or the store cannot be read.
    """
    with _new_file(path) as beside:
        if database.is_sqlite:
            _copy_pages(database.path, beside)
        else:
            _copy_rows_out(database, beside)
        _seal(beside)


def restore(path: Path, database: Database) -> str:
    """Fill a database that holds nothing with a copy, and bring it to this version's schema.

    The copy stays as it is. If this fails the database holds nothing.

    Returns
    -------
    str
        The version of the schema that the copy has.

    Raises
    ------
    StoreError
        If the file is no copy of a store, is damaged, or is of a newer version; or if the database
        holds anything.
    """
    version = _require_whole(path)
    if database.is_sqlite:
        return _restore_file(path, database, version)
    with tempfile.TemporaryDirectory(prefix="foreswap-restore-") as folder:
        current = _current_copy(path, Path(folder) / "copy.db")
        with closing(current):
            _copy_rows_in(current, database)
    return version


# Files -----------------------------------------------------------------------------------------


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Return where to write what becomes a new file, whole or not at all."""
    try:
        # Reserves the name: of two that want it, one is told.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise StoreError(f"{str(path)!r} exists already; nothing was written") from error
    except OSError as error:
        raise StoreError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    beside = path.with_name(f"{path.name}.part")
    try:
        beside.unlink(missing_ok=True)
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield beside
        beside.replace(path)
        sync_folder(path.parent)
    except (OSError, sqlite3.Error) as error:
        _remove(beside, path)
        raise StoreError(f"{str(path)!r} cannot be written: {error}") from error
    except BaseException:
        _remove(beside, path)
        raise


def _remove(*paths: Path) -> None:
    for path in paths:
        for end in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                path.with_name(path.name + end).unlink(missing_ok=True)


def _copy_pages(source: Path, target: Path) -> None:
    """Copy in one reading transaction, which writers need not wait for: the log grows meanwhile.

    In pieces it would begin anew with every change, and under telemetry never end.
    """
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there)


def _seal(path: Path) -> None:
    """Make a copy one whole file on disk, in which nobody holds a lease."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute(f"UPDATE {LEASES.name} SET holder = ''")
        connection.commit()
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _require_whole(path: Path) -> str:
    """Return the version of a copy's schema.

    Raises
    ------
    StoreError
        If it is no whole copy of a store that this program knows.
    """
    if not path.is_file():
        raise StoreError(f"there is no file {str(path)!r}")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if ("alembic_version",) not in tables.fetchall():
                raise StoreError(f"{str(path)!r} is no backup of a store of foreswap")
            version = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreError(f"backup {str(path)!r} cannot be read: {error}") from error
    if found != "ok":
        raise StoreError(f"backup {str(path)!r} is damaged: {found}")
    if version not in schema.versions():
        schema.require_current(version)
    return str(version)


def _restore_file(path: Path, database: Database, version: str) -> str:
    target = database.path
    leftovers = [target.with_name(target.name + end) for end in ("", "-wal", "-shm")]
    for each in leftovers:
        if each.exists() and each.stat().st_size:
            raise StoreError(f"{str(each)!r} exists: expected a new database; nothing was changed")
    database.close()
    _remove(target)
    with _new_file(target) as beside:
        _current_copy(path, beside).close()
        _seal(beside)
    return version


def _current_copy(path: Path, target: Path) -> Database:
    """Return a copy of a backup that has this version's schema."""
    shutil.copyfile(path, target)
    copy = Database(f"sqlite:///{target}")
    try:
        schema.upgrade(copy)
    except BaseException:
        copy.close()
        raise
    return copy


# Rows ------------------------------------------------------------------------------------------


def _copy_rows_out(source: Database, target: Path) -> None:
    copy = Database(f"sqlite:///{target}")
    with closing(copy), source.reading() as here:
        schema.require_current(schema.version_of(here))
        schema.upgrade(copy)
        with copy.writing() as there:
            _copy_tables(here, there)


def _copy_rows_in(copy: Database, target: Database) -> None:
    with target.writing() as there:
        if schema.version_of(there) is not None:
            raise StoreError(
                f"store {target.shown_url} holds a store already: expected an empty database; "
                "nothing was changed"
            )
        schema.migrate(there, schema.versions()[-1])
        with copy.reading() as here:
            _copy_tables(here, there)
        last = there.scalar(select(func.max(ATTEMPTS.c.number)))
        sequence = f"pg_get_serial_sequence('{ATTEMPTS.name}', 'number')"
        there.execute(text(f"SELECT setval({sequence}, :next, false)"), {"next": (last or 0) + 1})


def _copy_tables(here: Connection, there: Connection) -> None:
    for table in METADATA.sorted_tables:
        _copy_table(here, there, table)


def _copy_table(here: Connection, there: Connection, table: Table) -> None:
    found = here.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(table))
    for some in found.mappings().partitions():
        there.execute(table.insert(), [dict(row) for row in some])
