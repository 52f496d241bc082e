"""Lists in pages: ``?limit=`` and an opaque ``?after=``, answered with the next one's."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from pydantic import Field

from service.api.asking import Query
from solver.domain.errors import InvalidInputError
from solver.schema import show

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000

Thing = TypeVar("Thing")


class PageQuery(Query):
    """Which part of a list; models of lists with filters derive from it."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="most things")
    after: str = Field(default="", max_length=2000, description="`next` of the page before")


def start(query: PageQuery) -> str:
    """Return the key behind which a page starts, empty for the first.

    Raises
    ------
    InvalidInputError
        If ``after`` is no cursor of ours.
    """
    text = query.after
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        plain = key.decode("utf-8")
    except (binascii.Error, ValueError):
        plain = "\x00"
    if "\x00" in plain:
        raise InvalidInputError(
            f"expected the `next` of another page, got {show(text)}", path="query.after"
        )
    return plain


def page(
    things: Sequence[Thing],
    query: PageQuery,
    *,
    key: Callable[[Thing], str],
    show: Callable[[Thing], Any],
) -> dict[str, Any]:
    """Return the body of one page.

    Parameters
    ----------
    things
        One more than ``query.limit`` if there are that many: the last only tells that the list
        goes on.
    key
        Behind which the next page starts.
    show
        What is answered of each.
    """
    shown = things[: query.limit]
    following = cursor(key(shown[-1])) if len(things) > query.limit else None
    return {"items": [show(thing) for thing in shown], "next": following}


def cursor(key: str) -> str:
    """Return the opaque form of the key behind which a page starts."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
