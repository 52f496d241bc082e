"""JSON in which long lists stand in lines, so that a cluster is read piece by piece.

Python's JSON reads a whole text without letting any other thread have its turn: a tenth of a second
for ten thousand VMs, in which nobody is answered. So the long lists of an object come last, one
item to the line, and are read and written line by line; an item that stands as it stood need not be
read at all. It is ordinary JSON to anyone else, and a text on one line is read as it is. Lists
deeper inside are not in lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

LONG: Final = 500
"""Items from which on a list stands in lines."""

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def dumps(document: Mapping[str, Any]) -> str:
    """Return an object as text in ASCII, its long lists last.

    Raises
    ------
    TypeError, ValueError
        If it holds anything that JSON has no form for.
    """
    short = {name: value for name, value in document.items() if not _is_long(value)}
    begin = _ENCODER.encode(short)
    if len(short) == len(document):
        return begin
    begin = begin[:-1] + ("," if short else "")
    lists = [
        "\n".join([f"{_ENCODER.encode(name)}:[", ",\n".join(map(_ENCODER.encode, items)), "]"])
        for name, items in document.items()
        if name not in short
    ]
    return "\n".join([begin, ",\n".join(lists)]) + "}"


def loads(text: str) -> dict[str, Any]:
    """Return the object of a text.

    Raises
    ------
    ValueError
        If it is no JSON.
    """
    document, lists = _parted(text)
    return document | {name: list(map(json.loads, items)) for name, items in lists.items()}


def split(text: str, name: str) -> tuple[dict[str, Any], list[str]]:
    """Return the object of a text without one of its lists, and the JSON of each of its items.

    Raises
    ------
    ValueError
        If it is no JSON; items that stand in lines are not looked at.
    """
    document, lists = _parted(text)
    texts = lists.pop(name, None)
    if texts is None:
        texts = list(map(_ENCODER.encode, document.pop(name, ())))
    return document | {of: list(map(json.loads, items)) for of, items in lists.items()}, texts


def _parted(text: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return what stands on the first line, and the items of the lists behind it."""
    if "\n" not in text:
        return json.loads(text), {}
    lines = iter(text.split("\n"))
    document = json.loads(next(lines).removesuffix(",") + "}")
    # The name of a list and its bracket, then its items up to the closing one.
    return document, {json.loads(line.removesuffix(":[")): list(_items(lines)) for line in lines}


def _items(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("]"):
            return
        yield line.removesuffix(",")
    raise ValueError("expected the end of a list, got the end of the text")


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= LONG
