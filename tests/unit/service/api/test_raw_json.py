"""Passes over bytes say the same as looking at the value that was read."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.raw_json import is_deeper, is_suspicious

TEXTS = st.text(alphabet='ab"\\\\[]{}é', max_size=6)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=20,
)


def depth_of(value: object) -> int:
    """Return how many lists and objects stand within one another."""
    if isinstance(value, Mapping):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(VALUES, st.booleans(), st.integers(0, 5))
def test_depth_is_that_of_the_value(value: object, escaped: bool, depth: int) -> None:
    """Brackets and quotes in strings are no part of it, escaped or not."""
    body = json.dumps(value, ensure_ascii=escaped).encode()
    assert is_deeper(body, depth) == (depth_of(value) > depth)


@pytest.mark.parametrize("body", [b"[[[", b'{"a": [}', b'["[[[', b""])
def test_what_is_no_json_is_left_to_the_reader(body: bytes) -> None:
    """A text that is cut short is not called deep, and no bracket in a string counts."""
    assert not is_deeper(body, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"[1e400]",
        b"[1E+999]",
        b"[-2.5e308]",
        b"[" + b"9" * 400 + b"]",
        rb'["\u0000"]',
        rb'["\ud800"]',
        rb'["\uDfff"]',
    ],
)
def test_what_nothing_can_be_done_with_is_suspicious(body: bytes) -> None:
    """Numbers beyond floats, zero characters, halves of pairs."""
    assert is_suspicious(body)


@pytest.mark.parametrize(
    "body", [b"[1e30, 1.5E+12, 1e-300, 7000000]", rb'["\u00e9 \n", "\u1234"]', b'{"cpu": 12}']
)
def test_ordinary_documents_are_not_suspicious(body: bytes) -> None:
    """So that their values are not looked through."""
    assert not is_suspicious(body)
