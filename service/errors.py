"""Errors of the service that no other room has, a branch of the tree in ``solver.domain.errors``::

    ForeswapError
    ├── UnauthenticatedError        nobody, or nobody known
    ├── ForbiddenError              known, but not allowed
    ├── PreconditionRequiredError   a change that does not say what it changes
    ├── WrongStateError             what stands does not allow it, whatever its revision
    ├── KeyInUseError               an idempotency key whose first request is not answered yet
    ├── TooLargeError               a request beyond a limit of size
    ├── UnsupportedMediaError       a request in a form that is not read
    ├── TooManyError                carries .retry_after_s
    └── UnavailableError            carries .retry_after_s: cannot be done now
    InvalidInputError
    ├── MalformedError              no JSON at all
    └── InvalidRequestError         carries .errors: everything wrong, not only the first

Only ``service.api.problems`` knows which status code each of them gets.
"""

from __future__ import annotations

from collections.abc import Sequence

from solver.domain.errors import ForeswapError, InvalidInputError


class UnauthenticatedError(ForeswapError):
    """Who asks has shown no credential, or none that is valid."""


class ForbiddenError(ForeswapError):
    """Who asks is known and may not do this.

    Parameters
    ----------
    reason
        ``role`` where the role never may, ``object`` where it may not with this object,
        ``password`` where the password has to be changed first, ``csrf`` where the request may
        come from a page of somebody else.
    """

    def __init__(self, message: str, *, reason: str = "object") -> None:
        super().__init__(message)
        self.reason = reason


class PreconditionRequiredError(ForeswapError):
    """A change of something that stands, without the revision it was read at."""


class WrongStateError(ForeswapError):
    """A change that what stands does not allow, such as removing the last admin."""


class KeyInUseError(ForeswapError):
    """The first request with an idempotency key has not been answered yet."""


class TooLargeError(ForeswapError):
    """A request larger than is read."""


class UnsupportedMediaError(ForeswapError):
    """A request whose body is in a form that is not read."""


class TooManyError(ForeswapError):
    """More requests than are allowed.

    Parameters
    ----------
    retry_after_s
        Seconds after which another try makes sense.
    """

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnavailableError(ForeswapError):
    """Something that cannot be done at present, such as a full queue.

    Parameters
    ----------
    retry_after_s
        Seconds after which another try makes sense.
    """

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MalformedError(InvalidInputError):
    """Text that is not JSON, or JSON of a kind that is refused whatever it says."""


class InvalidRequestError(InvalidInputError):
    """Everything that is wrong with a request.

    Parameters
    ----------
    errors
        Path and message of each.
    """

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        path, message = errors[0]
        others = len(errors) - 1
        more = f" (and {others} more error{'s' if others > 1 else ''})" if others else ""
        super().__init__(f"{message}{more}", path=path)
        self.errors = tuple(errors)
