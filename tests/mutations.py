"""JSON documents broken in one place or two."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

Place = tuple[Any, ...]

ODD: Sequence[Any] = (
    None, True, False, 0, -1, 1, 1.5, -0.0, 2**31, 2**53 + 1, 2**63, 10**30, 1e308, "", " ", "0",
    "v1", "h1", "..", "é\u202e", "x" * 300, [], {}, [None], [[]], {"": 0}, {"id": "v1"},
    "2026-03-02T12:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
)  # fmt: skip


@st.composite
def broken(draw: st.DrawFn, document: Any) -> Any:
    """Return a document with one to three places removed, doubled or replaced by something odd."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(changed))
        if not places:
            break
        *above, last = draw(st.sampled_from(places))
        inside = changed
        for part in above:
            inside = inside[part]
        _break(draw, inside, last)
    return changed


def _break(draw: st.DrawFn, inside: Any, last: Any) -> None:
    how = draw(st.sampled_from(("replace", "replace", "remove", "double", "name")))
    if how == "remove":
        del inside[last]
    elif how == "double" and isinstance(inside, list):
        inside.append(copy.deepcopy(inside[last]))
    elif how == "name" and isinstance(inside, dict):
        inside[draw(st.sampled_from(("id", "kind", "zz", "", "vm_ids")))] = inside[last]
    else:
        inside[last] = draw(st.sampled_from(ODD))


def _places(document: Any, above: Place = ()) -> Iterator[Place]:
    if isinstance(document, dict):
        parts: Any = document.items()
    elif isinstance(document, list):
        parts = enumerate(document)
    else:
        return
    for name, part in parts:
        yield (*above, name)
        yield from _places(part, (*above, name))
