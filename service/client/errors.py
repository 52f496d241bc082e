"""What may come of a request to the service, and the exit code each gets."""

from __future__ import annotations

import enum

from solver.domain.errors import ForeswapError


class ExitCode(enum.IntEnum):
    """How a command that asks the service ends."""

    FAILED = 1
    """It could not be done, or the service has an error."""
    USAGE = 2
    """What was asked for is wrong: options, or what the service says is not valid."""
    REFUSED = 3
    """Not logged in, or not allowed."""
    NOT_FOUND = 4
    CONFLICT = 5
    """It is not as it was when it was read, or cannot be done as things stand."""
    AWAY = 6
    """The service cannot be reached, or has too much to do: try again later."""


class ServiceError(ForeswapError):
    """A request to the service that was not done.

    Parameters
    ----------
    status
        Of HTTP; 0 where there was no answer.
    """

    def __init__(self, message: str, *, status: int, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.status = status
        self.exit_code = exit_code


def exit_code(status: int) -> ExitCode:
    """Return the exit code of an answer.

    >>> exit_code(404).name, exit_code(422).name, exit_code(503).name
    ('NOT_FOUND', 'USAGE', 'AWAY')
    """
    if status in (401, 403):
        return ExitCode.REFUSED
    if status == 404:
        return ExitCode.NOT_FOUND
    if status in (409, 412):
        return ExitCode.CONFLICT
    if status in (429, 502, 503, 504):
        return ExitCode.AWAY
    return ExitCode.USAGE if 400 <= status < 500 else ExitCode.FAILED
