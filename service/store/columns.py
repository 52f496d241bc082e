"""How instants, documents and names are kept, the same on every database.

An instant is whole microseconds since 1970 and a document is JSON in ASCII, so that both databases
give back exactly what was given, and a backup of one can be restored into the other. Texts sort by
code point on both.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from service.store import long_json
from service.store.base import Document
from solver.domain.errors import InvalidInputError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def to_microseconds(at: datetime) -> int:
    """Return an instant as whole microseconds since 1970.

    Raises
    ------
    InvalidInputError
        If the instant carries no time zone.
    """
    if at.tzinfo is None:
        raise InvalidInputError(f"expected an instant with its zone, got {at!r}")
    return (at - EPOCH) // MICROSECOND


def from_microseconds(value: int) -> datetime:
    """Return the aware UTC instant of whole microseconds since 1970."""
    return EPOCH + timedelta(microseconds=value)


class Instant(TypeDecorator[datetime]):
    """An aware instant, as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Return what is kept."""
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Return what was given."""
        return None if value is None else from_microseconds(value)


class Json(TypeDecorator[Document]):
    """A JSON object, as text in ASCII."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Document | None, dialect: Dialect) -> str | None:
        """Return what is kept."""
        if value is None:
            return None
        try:
            return long_json.dumps(dict(value))
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"expected a document of JSON values: {error}") from error

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, Any] | None:
        """Return what was given."""
        return None if value is None else long_json.loads(value)


class Name(TypeDecorator[str]):
    """A text that sorts by code point; one that a database cannot hold is refused."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Return the text type that sorts by code point."""
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(String(collation=collation))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text as it is.

        Raises
        ------
        InvalidInputError
            If it holds the character 0 or half a surrogate pair.
        """
        if value is None:
            return None
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidInputError(f"expected a text of whole Unicode characters, got {value!r}")
        return value
