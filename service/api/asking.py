"""Reads requests: bounded, unpacked, as strict as the documents of ``solver.schema``.

Models of bodies derive from ``solver.schema.Strict``, of query strings from ``Query``, of paths
from ``Path``. Errors name the path of what is wrong: ``vms[3].priority`` in a body, ``query.limit``
and ``path.cluster_id`` elsewhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from flask import Request, g, request
from pydantic import BaseModel, ConfigDict, ValidationError

from service.api.operations import Operation
from service.api.raw_json import is_deeper, is_suspicious
from service.errors import (
    InvalidRequestError,
    MalformedError,
    TooLargeError,
    UnsupportedMediaError,
)
from service.security.principal import Principal
from solver.domain.errors import InvalidInputError
from solver.schema import errors_of, parse_json, show

MAX_DEPTH: Final = 64
"""Objects and lists within one another; no document needs ten."""

MAX_ERRORS: Final = 20
"""Errors that one answer lists."""

_MAX_PATH: Final = 300
"""Longest path in an error: names of unknown fields are as long as somebody likes."""


_SCHEMAS: Final[dict[type[BaseModel], dict[str, Any]]] = {}


class Query(BaseModel):
    """Base of all models of query strings: texts are read as numbers, unknown names refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the schema; kept, for flask-openapi3 asks for it with every request."""
        if args or kwargs:
            return super().model_json_schema(*args, **kwargs)
        found = _SCHEMAS.get(cls)
        if found is None:
            found = _SCHEMAS[cls] = super().model_json_schema()
        return found


class Path(BaseModel):
    """Base of all models of paths."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StrictRequest(Request):
    """A request whose JSON is read by the rules of this module."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the value of the body."""
        return json_body()


def principal() -> Principal:
    """Return who asks."""
    found: Principal = g.principal
    return found


def json_body() -> Any:
    """Return the value of the body, which must be an object or a list.

    Raises
    ------
    MalformedError
        If it is no JSON, or JSON that nothing could be done with.
    UnsupportedMediaError, TooLargeError
        As ``body_bytes`` does, or if it is said to be something else than JSON.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaError(
            f"expected a body of application/json, got {show(request.mimetype or None)}"
        )
    body = body_bytes()
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"expected text in UTF-8, got byte {error.start}: {error}") from error
    return _value(body, text)


def body_bytes() -> bytes:
    """Return the body, unpacked.

    Raises
    ------
    TooLargeError
        If it is larger than the operation allows, packed or unpacked.
    UnsupportedMediaError
        If it is packed otherwise than by gzip.
    MalformedError
        If it cannot be unpacked.
    """
    operation: Operation = g.operation
    limit_bytes = operation.max_body_mib * 2**20
    packed = _read(limit_bytes)
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding == "identity":
        return packed
    if coding not in ("gzip", "x-gzip"):
        raise UnsupportedMediaError(f"expected Content-Encoding gzip or none, got {show(coding)}")
    return _unpacked(packed, limit_bytes)


def refuse(error: ValidationError) -> NoReturn:
    """Raise what is wrong with a request that pydantic refused."""
    place = _place(error.title)
    found = errors_of(error)[:MAX_ERRORS]
    raise InvalidRequestError([(_joined(place, path), message) for path, message in found])


def _value(body: bytes, text: str) -> Any:
    if is_deeper(body, MAX_DEPTH):
        raise MalformedError(f"expected at most {MAX_DEPTH} levels, got a document nested deeper")
    try:
        value = parse_json(text)
    except InvalidInputError as error:
        raise MalformedError(str(error)) from error
    if not isinstance(value, Mapping | list):
        raise InvalidInputError(f"expected a JSON object, got {show(value)}")
    if is_suspicious(body):
        _refuse_unusable(value)
    return value


def _refuse_unusable(value: object) -> None:
    for part in _scalars(value):
        if isinstance(part, str):
            if "\x00" in part or _has_surrogate(part):
                raise MalformedError(f"expected text without NUL or half pairs, got {show(part)}")
        elif isinstance(part, float) and abs(part) == float("inf"):
            raise MalformedError("expected finite numbers, got one beyond 1.8e308")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _scalars(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield name
            yield from _scalars(part)
    elif isinstance(value, list):
        for part in value:
            yield from _scalars(part)
    else:
        yield value


def _read(limit_bytes: int) -> bytes:
    length = request.content_length
    if length is not None and length > limit_bytes:
        _too_large(limit_bytes)
    cached: bytes | None = g.get("body")
    if cached is None:
        cached = request.stream.read(limit_bytes + 1)
        g.body = cached
    if len(cached) > limit_bytes:
        _too_large(limit_bytes)
    return cached


def _unpacked(packed: bytes, limit_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(packed, limit_bytes + 1)
    except zlib.error as error:
        raise MalformedError(f"expected a body packed by gzip: {error}") from error
    if len(plain) > limit_bytes:
        _too_large(limit_bytes)
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedError("expected one whole gzip stream, got one cut short or more than one")
    return plain


def _too_large(limit_bytes: int) -> NoReturn:
    raise TooLargeError(f"expected a body of at most {limit_bytes} bytes")


def _joined(place: str, path: str) -> str:
    path = path if len(path) <= _MAX_PATH else path[: _MAX_PATH - 1] + "…"
    if not place or not path:
        return place or path
    return f"{place}{path}" if path.startswith("[") else f"{place}.{path}"


def _place(title: str) -> str:
    """Return which part of a request a model reads, by the title in its errors."""
    for place, base in (("query", Query), ("path", Path)):
        if title in _names(base):
            return place
    return ""


def _names(base: type[BaseModel]) -> set[str]:
    """Return the names of all models below one."""
    below = base.__subclasses__()
    return {model.__name__ for model in below}.union(*map(_names, below))
