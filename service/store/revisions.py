"""Rows with a revision: written only by whoever has seen them as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, select

from service.store.errors import ConflictError


def where(table: Table, key: Mapping[str, Any]) -> ColumnElement[bool]:
    """Return the condition that a row has a key."""
    return and_(*(table.c[name] == value for name, value in key.items()))


def standing(connection: Connection, table: Table, key: Mapping[str, Any]) -> int:
    """Return the revision of a row, 0 if there is none."""
    found = connection.scalar(select(table.c.revision).where(where(table, key)))
    return int(found or 0)


def require_revision(what: str, found: int, expected: int | None) -> None:
    """Refuse a change of what is no longer as it was read.

    Raises
    ------
    ConflictError
        If another revision stands than is expected.
    """
    if expected is not None and found != expected:
        stands = f"revision {found}" if found else "nothing"
        wanted = f"revision {expected}" if expected else "nothing"
        raise ConflictError(f"{what}: expected {wanted}, found {stands}", revision=found)


def write(
    connection: Connection,
    table: Table,
    key: Mapping[str, Any],
    values: Mapping[str, Any],
    *,
    expected: int | None,
    what: str,
) -> int:
    """Write a row and return its new revision; nobody else writes meanwhile.

    Raises
    ------
    ConflictError
        If it stands at another revision than expected.
    """
    found = standing(connection, table, key)
    require_revision(what, found, expected)
    revision = found + 1
    if found:
        change = table.update().where(where(table, key)).values(**values, revision=revision)
        connection.execute(change)
    else:
        connection.execute(table.insert().values(**key, **values, revision=revision))
    return revision
