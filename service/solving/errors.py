"""Errors of solving in worker processes; each is of the family of what cannot be done now."""

from __future__ import annotations

from typing import Final

from service.errors import UnavailableError

AGAIN_AFTER_S: Final = 5
"""When to ask again for what a worker failed at, or a service that ends was asked for."""


class SolvingError(UnavailableError):
    """Work that was not done, and may well be another time."""

    def __init__(self, message: str, *, retry_after_s: int = AGAIN_AFTER_S) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class OverloadedError(SolvingError):
    """Too much is waiting already; nothing was taken on."""


class WorkerError(SolvingError):
    """The worker process ended, did not answer in time, or met a fault of its own."""


class WorkCancelledError(SolvingError):
    """It was cancelled before anything was found."""


class PoolClosedError(SolvingError):
    """The service is ending."""
