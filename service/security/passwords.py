"""Passwords: hashed by argon2id, checked in the same time whether the user exists or not."""

from __future__ import annotations

import secrets
import threading
import unicodedata
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from service.errors import UnavailableError
from solver.domain.errors import InvalidInputError

MIN_CHARACTERS: Final = 12
MAX_CHARACTERS: Final = 256

# A hash takes 64 MiB and about a tenth of a second: a few at once, or logging in exhausts the host.
_AT_ONCE: Final = 2
_WAIT_S: Final = 10.0

# No 0/O, 1/I/l: somebody types it from a screen.
_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"


class Passwords:
    """Hashes passwords and checks them.

    Parameters
    ----------
    time_cost, memory_kib, parallelism
        Of argon2id. The defaults are the second choice of RFC 9106, for machines that have
        something else to do with their memory.
    """

    def __init__(
        self, *, time_cost: int = 3, memory_kib: int = 64 * 1024, parallelism: int = 4
    ) -> None:
        self._hasher = PasswordHasher(
            time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism
        )
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._nobodys = self._hasher.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """Return what is kept of a password.

        :raises UnavailableError: if too many are being hashed already
        """
        with self._turn():
            return self._hasher.hash(_normal(password))

    def fits(self, password: str, kept: str | None) -> bool:
        """Return whether a password is the one that was kept.

        Parameters
        ----------
        kept
            ``None`` if there is no such user: takes as long, and is never right.

        Raises
        ------
        UnavailableError
            If too many are being checked already.
        """
        with self._turn():
            try:
                right = self._hasher.verify(kept or self._nobodys, _normal(password))
            except (VerificationError, InvalidHashError):
                return False
            return right and kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Return whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    def _turn(self) -> _Turn:
        return _Turn(self._turns)


class _Turn:
    """One of the few places to hash at."""

    def __init__(self, turns: threading.BoundedSemaphore) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        if not self._turns.acquire(timeout=_WAIT_S):
            raise UnavailableError("too many logins at once", retry_after_s=int(_WAIT_S))

    def __exit__(self, *_: object) -> None:
        self._turns.release()


def require_good(password: str, name: str, *, path: str) -> None:
    """Return if somebody may have a password.

    Length is what makes it hard to guess; demands of digits and signs make it hard to remember.

    Raises
    ------
    InvalidInputError
        Saying what is expected, and never the password.
    """
    normal = _normal(password)
    if not MIN_CHARACTERS <= len(normal) <= MAX_CHARACTERS:
        raise InvalidInputError(
            f"expected {MIN_CHARACTERS} to {MAX_CHARACTERS} characters, got {len(normal)}",
            path=path,
        )
    if len(set(normal)) < 5 or normal.casefold() == name.casefold() * (len(normal) // len(name)):
        raise InvalidInputError(
            "expected at least five different characters, and more than the name over and over",
            path=path,
        )


def one_time_password() -> str:
    """Return a password for a first login: 100 random bits in four groups."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))
    return "-".join(groups)


def _normal(password: str) -> str:
    # The same password typed on another keyboard may come in another form of Unicode.
    return unicodedata.normalize("NFKC", password)
