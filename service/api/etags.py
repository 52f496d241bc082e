"""Revisions as entity tags: what a change was made upon.

``If-Match: "3"`` changes revision 3 and nothing else. Without it, or with ``If-None-Match: *``,
only what is not there yet can be made; a change of what stands is then refused.
"""

from __future__ import annotations

import re
from typing import Final

from flask import request

from service.errors import MalformedError
from service.store.errors import ConflictError
from solver.schema import show

NOTHING: Final = 0
"""Revision of what is not there yet."""

_TAG: Final = re.compile(r'"(0|[1-9][0-9]{0,17})"')


def etag(revision: int) -> str:
    """Return the entity tag of a revision."""
    return f'"{revision}"'


def expected_revision() -> int | None:
    """Return the revision a change expects, 0 for nothing, ``None`` for whatever stands.

    Raises
    ------
    MalformedError
        If a header does not hold one entity tag, or ``*``.
    ConflictError
        If the tag is none of ours, so that nothing can stand at it.
    """
    wanted = request.headers.get("If-Match")
    if wanted is None:
        return _unless_there()
    wanted = wanted.strip()
    if wanted == "*":
        return None
    found = _TAG.fullmatch(wanted)
    if found is not None:
        return int(found[1])
    if re.fullmatch(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"', wanted):
        raise ConflictError(f"If-Match: no revision has the tag {wanted}", revision=NOTHING)
    raise MalformedError(f'If-Match: expected one entity tag such as "3", got {show(wanted)}')


def _unless_there() -> int:
    wanted = request.headers.get("If-None-Match", "*").strip()
    if wanted != "*":
        raise MalformedError(f"If-None-Match: expected * with a change, got {show(wanted)}")
    return NOTHING
