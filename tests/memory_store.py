"""A store in memory, of the parts that the API's foundation needs; one transaction at a time."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from service.store.base import Answer, AuditEntry, Credential, Store, Transaction
from service.store.errors import NotFoundError


class MemoryCredentials:
    """Tokens and sessions."""

    def __init__(self) -> None:
        self.kept: dict[str, Credential] = {}

    def find(self, kind: str, digest: str) -> Credential | None:
        """Return the credential of a digest."""
        for one in self.kept.values():
            if (one.kind, one.digest) == (kind, digest):
                return one
        return None

    def page(
        self, kind: str, *, subject: str | None = None, after: str = "", limit: int
    ) -> list[Credential]:
        """Return credentials in the order of their ids."""
        found = [
            one
            for name, one in sorted(self.kept.items())
            if one.kind == kind and name > after and subject in (None, one.subject)
        ]
        return found[:limit]

    def put(self, credential: Credential) -> None:
        """Write a credential."""
        self.kept[credential.id] = credential

    def delete(self, credential_id: str) -> Credential:
        """Remove a credential."""
        if credential_id not in self.kept:
            raise NotFoundError(f"credential {credential_id!r}: expected one, got none")
        return self.kept.pop(credential_id)


class MemoryAudit:
    """The log of changes."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def append(self, *entries: AuditEntry) -> None:
        """Add entries."""
        for entry in entries:
            self.entries.append(replace(entry, number=len(self.entries) + 1))


class MemoryAnswers:
    """Answers to requests that must not act twice."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Answer] = {}

    def take(self, answer: Answer) -> Answer | None:
        """Reserve a key, or return what stands."""
        there = self.kept.get((answer.actor, answer.key))
        if there is None:
            self.kept[answer.actor, answer.key] = answer
        return there

    def put(self, answer: Answer) -> None:
        """Write an answer."""
        self.kept[answer.actor, answer.key] = answer

    def drop(self, actor: str, key: str) -> None:
        """Give a key back."""
        del self.kept[actor, key]


class MemoryTransaction:
    """The parts there are."""

    def __init__(self) -> None:
        self.credentials = MemoryCredentials()
        self.audit = MemoryAudit()
        self.answers = MemoryAnswers()


class MemoryStore:
    """A whole transaction takes effect, or nothing of it."""

    def __init__(self) -> None:
        self.tx = MemoryTransaction()
        self._lock = threading.Lock()

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """Return a transaction."""
        with self._lock:
            before = {name: copy.copy(vars(part)) for name, part in vars(self.tx).items()}
            before = copy.deepcopy(before)
            try:
                yield cast("Transaction", self.tx)
            except BaseException:
                for name, fields in before.items():
                    vars(getattr(self.tx, name)).update(fields)
                raise


def memory_store() -> Store:
    """Return an empty store."""
    return cast("Store", cast("Any", MemoryStore()))
