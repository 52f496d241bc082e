"""Errors of the store, a branch of the tree in ``solver.domain.errors``."""

from __future__ import annotations

from solver.domain.errors import ForeswapError


class StoreError(ForeswapError):
    """The database cannot be used: out of reach, full, of another version, damaged."""


class NotFoundError(StoreError):
    """What was asked for is not there."""


class ConflictError(StoreError):
    """What was to be changed is no longer as it was read.

    Parameters
    ----------
    revision
        At which it stands; 0 if it does not exist.
    """

    def __init__(self, message: str, *, revision: int) -> None:
        super().__init__(message)
        self.revision = revision
