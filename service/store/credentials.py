"""Tokens and sessions, and the logins that failed."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from service.store.base import Credential
from service.store.errors import NotFoundError
from service.store.tables import ATTEMPTS, CREDENTIALS

_FIND: Final = select(CREDENTIALS).where(
    CREDENTIALS.c.kind == bindparam("kind"), CREDENTIALS.c.digest == bindparam("digest")
)
"""Made once: every request asks for one."""


class SqlCredentials:
    """``base.Credentials`` in a table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, kind: str, digest: str) -> Credential | None:
        """Return the credential of a digest."""
        row = self._connection.execute(_FIND, {"kind": kind, "digest": digest}).one_or_none()
        return None if row is None else Credential(**row._mapping)

    def page(
        self, kind: str, *, subject: str | None = None, after: str = "", limit: int
    ) -> list[Credential]:
        """Return up to ``limit`` credentials in the order of their ids."""
        query = select(CREDENTIALS).where(CREDENTIALS.c.kind == kind, CREDENTIALS.c.id > after)
        if subject is not None:
            query = query.where(CREDENTIALS.c.subject == subject)
        query = query.order_by(CREDENTIALS.c.id).limit(limit)
        return [Credential(**row._mapping) for row in self._connection.execute(query)]

    def put(self, credential: Credential) -> None:
        """Write a credential, over one of the same id."""
        values = {column.name: getattr(credential, column.name) for column in CREDENTIALS.columns}
        self._connection.execute(CREDENTIALS.delete().where(CREDENTIALS.c.id == credential.id))
        self._connection.execute(CREDENTIALS.insert().values(**values))

    def delete(self, credential_id: str) -> Credential:
        """Remove a credential and return it."""
        of_id = CREDENTIALS.c.id == credential_id
        row = self._connection.execute(select(CREDENTIALS).where(of_id)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no credential {credential_id!r}")
        self._connection.execute(CREDENTIALS.delete().where(of_id))
        return Credential(**row._mapping)

    def delete_of(self, kind: str, subject: str) -> int:
        """Remove all of a subject."""
        of_subject = (CREDENTIALS.c.kind == kind) & (CREDENTIALS.c.subject == subject)
        return self._connection.execute(CREDENTIALS.delete().where(of_subject)).rowcount

    def forget_expired(self, now: datetime) -> int:
        """Remove those that have expired."""
        expired = CREDENTIALS.c.expires_at <= now
        return self._connection.execute(CREDENTIALS.delete().where(expired)).rowcount


class SqlAttempts:
    """``base.Attempts`` in a table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note(self, key: str, at: datetime) -> None:
        """Note one attempt."""
        self._connection.execute(ATTEMPTS.insert().values(key=key, at=at))

    def count(self, key: str, since: datetime) -> int:
        """Return how many there were."""
        query = select(func.count()).where(ATTEMPTS.c.key == key, ATTEMPTS.c.at >= since)
        return self._connection.scalar(query) or 0

    def forget(self, key: str) -> None:
        """Forget those of a key."""
        self._connection.execute(ATTEMPTS.delete().where(ATTEMPTS.c.key == key))

    def forget_before(self, before: datetime) -> int:
        """Forget those of every key before an instant."""
        return self._connection.execute(ATTEMPTS.delete().where(ATTEMPTS.c.at < before)).rowcount
