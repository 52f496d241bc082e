"""Errors of solving in worker processes, a branch of the tree in ``solver.domain.errors``."""

from __future__ import annotations

from solver.domain.errors import ForeswapError


class SolvingError(ForeswapError):
    """Work that was not done."""


class OverloadedError(SolvingError):
    """Too much is waiting already; nothing was taken on.

    Parameters
    ----------
    retry_after_s
        When there may be room again.
    """

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class WorkerError(SolvingError):
    """The worker process ended, did not answer in time, or met a fault of its own."""


class WorkCancelledError(SolvingError):
    """It was cancelled before anything was found."""


class PoolClosedError(SolvingError):
    """The service is ending."""
