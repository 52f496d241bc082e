"""Names in paths: whatever is written ``%2F`` is part of a name, and does not end it.

The gateway interface of Python hands a path over unpacked, in which the two cannot be told apart.
So the path is unpacked again from the request's own line, with a character in place of the packed
slash that no id holds; routes give names back with their slash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from flask import Flask
from werkzeug.routing import UnicodeConverter

PACKED: Final = "\x1f"
"""Stands for a slash within a name; ids are printable."""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class NameConverter(UnicodeConverter):
    """A name in a path, as it is."""

    def to_python(self, value: str) -> str:
        """Return the name with its slashes."""
        return value.replace(PACKED, "/")


def install(app: Flask) -> None:
    """Let names in paths hold slashes; to be called before an application gets its routes."""
    app.url_map.converters["default"] = NameConverter
    app.wsgi_app = _telling_apart(app.wsgi_app)  # type: ignore[method-assign,assignment]


def path_of(*names: str) -> str:
    """Return the part of a path that names make.

    >>> path_of("clusters", "lab/a", "plans")
    '/clusters/lab%2Fa/plans'
    """
    return "".join("/" + quote(name, safe="") for name in names)


def _telling_apart(wsgi: Wsgi) -> Wsgi:
    def serve(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = urlsplit(environ.get("REQUEST_URI", "")).path
        # Written by an asker it stands for nothing: no name holds a zero character either.
        unpacked = environ["PATH_INFO"].replace(PACKED, "\0")
        if re.search("%2f", path, re.IGNORECASE):
            unpacked = _with_marks(path, unpacked)
        return wsgi({**environ, "PATH_INFO": unpacked}, start)

    return serve


def _with_marks(path: str, unpacked: str) -> str:
    """Return an unpacked path with its packed slashes marked; as it is where it is another's."""
    marked = _unpacked(re.sub("%2f", PACKED, path, flags=re.IGNORECASE))
    return marked if marked.replace(PACKED, "/") == unpacked else unpacked


def _unpacked(path: str) -> str:
    return unquote_to_bytes(path).decode("latin-1")
