"""Fields of forms: each is named by the path of what it says in a document, as errors name it.

So a form needs no table of its own that says which error belongs where.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from dash import ALL
from pydantic import BaseModel, ValidationError

from service.errors import InvalidRequestError
from service.web.errors import sentence
from solver.domain.errors import InvalidInputError
from solver.schema import errors_of

MOST_ENTRIES: Final = 1_000
"""Entries of a list that has fields of its own; no page shows as many."""

_PARTS: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")

Model = TypeVar("Model", bound=BaseModel)


def field_id(form: str, path: str) -> dict[str, str]:
    """Return the id of the component at a path of a form."""
    return {"form": form, "path": path}


def every_field(form: str) -> dict[str, Any]:
    """Return what stands for all fields of a form in callbacks."""
    return {"form": form, "path": ALL}


def typed(ids: Iterable[Mapping[str, str]], values: Iterable[Any]) -> dict[str, Any]:
    """Return what was typed by path; numbers of the browser, which knows no whole ones, as such."""
    return {each["path"]: whole(value) for each, value in zip(ids, values, strict=True)}


def whole(value: Any) -> Any:
    """Return a number without a fraction as a whole one, text without blanks around it."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.strip() if isinstance(value, str) else value


def nested(by_path: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of which something is said at each path.

    >>> nested({"limits.moves": 3, "days[0].start": "22:00", "days[1].start": "23:00"})
    {'limits': {'moves': 3}, 'days': [{'start': '22:00'}, {'start': '23:00'}]}
    """
    document: dict[str, Any] = {}
    for path, value in by_path.items():
        steps = [int(number) if number else name for name, number in _PARTS.findall(path)]
        _put(document, steps, value)
    return document


def flat(document: Any, path: str = "") -> dict[str, Any]:
    """Return what a document says by path; lists of anything but objects are one value.

    >>> flat({"limits": {"moves": 3}, "days": [{"start": "22:00", "on": ["mon"]}]})
    {'limits.moves': 3, 'days[0].start': '22:00', 'days[0].on': ['mon']}
    """
    if isinstance(document, Mapping):
        parts = [(f"{path}.{name}" if path else name, each) for name, each in document.items()]
    elif isinstance(document, list) and any(isinstance(each, Mapping) for each in document):
        parts = [(f"{path}[{i}]", each) for i, each in enumerate(document)]
    else:
        return {path: document}
    return {name: value for part, each in parts for name, value in flat(each, part).items()}


def without_empty(by_path: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was said, without fields that were left empty."""
    return {path: value for path, value in by_path.items() if value is not None and value != ""}


def validated(model: type[Model], document: Any) -> Model:
    """Return a document as its model.

    Raises
    ------
    InvalidRequestError
        With everything that is wrong.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InvalidRequestError(errors_of(error)) from error


def placed(error: Exception, paths: Sequence[str]) -> tuple[list[str], str]:
    """Return what is wrong at each field, empty for nothing, and what belongs to none of them.

    What concerns several fields at once stands at the first of them.
    """
    beside: dict[str, list[str]] = {}
    for path, message in _found(error):
        around = [each for each in paths if _within(path, each)]
        inside = [each for each in paths if path and _within(each, path)]
        field = max(around, key=len, default=(inside or [""])[0])
        beside.setdefault(field, []).append(message)
    return ["; ".join(beside.get(path, ())) for path in paths], "; ".join(beside.get("", ()))


def _found(error: Exception) -> Sequence[tuple[str, str]]:
    if isinstance(error, InvalidRequestError):
        return error.errors
    if isinstance(error, InvalidInputError):
        return [(error.path, str(error).removeprefix(f"{error.path}: "))]
    return [("", sentence(error))]


def _within(path: str, field: str) -> bool:
    """Tell whether a path is that of a field, or of a part of what it says."""
    return path == field or (path.startswith(field) and path[len(field)] in ".[")


def _put(into: Any, steps: Sequence[int | str], value: Any) -> None:
    """Say something at the end of some steps, making what is on the way."""
    step, *left = steps
    if isinstance(step, int):
        if step >= MOST_ENTRIES:
            raise InvalidInputError(f"expected at most {MOST_ENTRIES} entries, got number {step}")
        into.extend({} for _ in range(step + 1 - len(into)))
    if not left:
        into[step] = value
        return
    if isinstance(step, str) and step not in into:
        into[step] = [] if isinstance(left[0], int) else {}
    _put(into[step], left, value)
