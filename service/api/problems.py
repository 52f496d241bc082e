"""Errors as problem details (RFC 9457); the only place that chooses status codes.

Every answer of 400 and above is one: of our own error tree, of Flask (404, 405, 413), and what
nobody expected, of which the asker learns nothing but that it is in the log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Final

from flask import Flask, Response, g, request
from pydantic import BaseModel, Field
from werkzeug.exceptions import HTTPException

from service.api.operations import Operation
from service.errors import (
    ForbiddenError,
    InvalidRequestError,
    KeyInUseError,
    MalformedError,
    PreconditionRequiredError,
    TooLargeError,
    TooManyError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedMediaError,
    WrongStateError,
)
from service.store.errors import ConflictError, NotFoundError, StoreError
from solver.domain.errors import (
    ExecutionError,
    ForecastError,
    ForeswapError,
    InvalidInputError,
    TemporaryError,
)

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:foreswap:problem:"

_log = logging.getLogger(__name__)


class WrongPart(BaseModel):
    """One thing that is wrong with a request."""

    path: str
    message: str


class Problem(BaseModel):
    """Why a request was not done."""

    type: str = Field(description="what kind of problem it is; a name, nothing to open")
    title: str
    status: int
    detail: str
    errors: list[WrongPart] = Field(default=[], description="what is wrong in the request, where")


# The first that fits: a branch of the error tree stands behind its leaves.
_KINDS: Final[tuple[tuple[type[ForeswapError], int, str, str], ...]] = (
    (MalformedError, 400, "malformed", "Not readable"),
    (InvalidInputError, 422, "invalid", "Not valid"),
    (UnauthenticatedError, 401, "unauthenticated", "Not logged in"),
    (ForbiddenError, 403, "forbidden", "Not allowed"),
    (NotFoundError, 404, "not-found", "Not found"),
    (ConflictError, 409, "conflict", "In conflict with what stands"),
    (WrongStateError, 409, "wrong-state", "Not possible as things stand"),
    (KeyInUseError, 409, "key-in-use", "Not answered yet"),
    (PreconditionRequiredError, 428, "revision-required", "Revision required"),
    (TooLargeError, 413, "too-large", "Too large"),
    (UnsupportedMediaError, 415, "unsupported-media", "Not read in this form"),
    (TooManyError, 429, "too-many", "Too many"),
    (UnavailableError, 503, "unavailable", "Not possible now"),
    (StoreError, 503, "store", "The store cannot be used"),
    (TemporaryError, 503, "temporary", "Not possible now"),
    (ForecastError, 409, "forecast", "No forecast"),
    (ExecutionError, 409, "execution", "Not executed"),
)


def install(app: Flask) -> None:
    """Make every error of an application a problem."""
    app.register_error_handler(ForeswapError, _own)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _unexpected)


def problem(
    status: int,
    kind: str,
    title: str,
    detail: str,
    *,
    errors: tuple[tuple[str, str], ...] = (),
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, object] | None = None,
) -> Response:
    """Return an answer of problem details, with ``more`` members where an operation has some."""
    told: dict[str, object] = {
        "type": f"{TYPE_PREFIX}{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        **(more or {}),
    }
    if errors:
        told["errors"] = [{"path": path, "message": message} for path, message in errors]
    # Values that are quoted may hold half of a surrogate pair, which only an escape can carry.
    return Response(json.dumps(told), status, headers, content_type=MEDIA_TYPE)


def _own(error: ForeswapError) -> Response:
    if isinstance(error, ConflictError):
        return _conflict(error)
    for family, status, kind, title in _KINDS:
        if isinstance(error, family):
            if status == 503:
                _log.warning("%s: %s", kind, error)
            return problem(
                status,
                f"{kind}-{error.reason}" if isinstance(error, ForbiddenError) else kind,
                title,
                str(error),
                errors=_parts(error),
                headers=_headers(error),
            )
    return _unexpected(error)


def _conflict(error: ConflictError) -> Response:
    """Return 412 if the request said a revision, 428 if it had to, else 409."""
    if "If-Match" in request.headers or "If-None-Match" in request.headers:
        return problem(412, "revision-stale", "Changed meanwhile", str(error))
    operation: Operation | None = g.get("operation")
    if operation is not None and operation.revisioned:
        detail = f"{error}; expected If-Match with the ETag it was read with"
        return problem(428, "revision-required", "Revision required", detail)
    return problem(409, "conflict", "In conflict with what stands", str(error))


def _parts(error: ForeswapError) -> tuple[tuple[str, str], ...]:
    if isinstance(error, InvalidRequestError):
        return error.errors
    if isinstance(error, InvalidInputError) and not isinstance(error, MalformedError):
        return ((error.path, str(error).removeprefix(f"{error.path}: ")),)
    return ()


def _headers(error: ForeswapError) -> dict[str, str]:
    if isinstance(error, UnauthenticatedError):
        return {"WWW-Authenticate": 'Bearer realm="foreswap"'}
    if isinstance(error, TooManyError | UnavailableError):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, TemporaryError):
        return {"Retry-After": str(max(1, round(error.delay_s)))}
    if isinstance(error, StoreError) and not isinstance(error, NotFoundError):
        return {"Retry-After": "5"}
    return {}


def _of_http(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < 400:
        return error
    kept = ("Allow", "Retry-After")
    headers = {name: value for name, value in error.get_headers() if name in kept}
    kind = error.name.lower().replace(" ", "-")
    return problem(error.code, kind, error.name, error.description or "", headers=headers)


def _unexpected(error: Exception) -> Response:
    _log.error("unexpected error at %s %s", request.method, request.path, exc_info=error)
    return problem(500, "unexpected", "Unexpected", "an unexpected error; it is in the log")
