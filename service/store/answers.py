"""Answers to requests that must not act twice."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from service.store.base import Answer
from service.store.revisions import where
from service.store.tables import ANSWERS


class SqlAnswers:
    """``base.Answers`` in a table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take(self, answer: Answer) -> Answer | None:
        """Reserve a key for a request."""
        query = select(ANSWERS).where(where(ANSWERS, _key(answer.actor, answer.key)))
        row = self._connection.execute(query).one_or_none()
        if row is not None:
            return Answer(**row._mapping)
        self._connection.execute(ANSWERS.insert().values(**_values(answer)))
        return None

    def put(self, answer: Answer) -> None:
        """Write the answer to a reserved key."""
        self.drop(answer.actor, answer.key)
        self._connection.execute(ANSWERS.insert().values(**_values(answer)))

    def drop(self, actor: str, key: str) -> None:
        """Give a reserved key back."""
        self._connection.execute(ANSWERS.delete().where(where(ANSWERS, _key(actor, key))))

    def forget(self, before: datetime) -> int:
        """Remove answers older than an instant."""
        return self._connection.execute(ANSWERS.delete().where(ANSWERS.c.at < before)).rowcount


def _key(actor: str, key: str) -> dict[str, str]:
    return {"actor": actor, "key": key}


def _values(answer: Answer) -> dict[str, Any]:
    return {column.name: getattr(answer, column.name) for column in ANSWERS.columns}
