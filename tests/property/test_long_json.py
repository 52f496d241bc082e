"""What the store keeps as JSON in lines is ordinary JSON, and is read as it was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.store.long_json import LONG, dumps, loads, split

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["]", "[", "\n", ","]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Objects with some lists around the length from which on they stand in lines."""
    document = draw(st.dictionaries(st.text(), VALUES, max_size=4))
    for name in draw(st.lists(st.text(), max_size=3)):
        some = draw(st.lists(VALUES, min_size=1, max_size=5))
        length = draw(st.sampled_from([LONG - 1, LONG, LONG + 1]))
        document[name] = [some[i % len(some)] for i in range(length)]
    return document


@given(documents())
def test_every_document_is_read_as_it_was_written(document: dict[str, Any]) -> None:
    """By this reader and by any other."""
    text = dumps(document)
    assert loads(text) == document
    assert json.loads(text) == document


@given(documents())
def test_text_on_one_line_is_read_as_well(document: dict[str, Any]) -> None:
    """As older versions have written it."""
    assert loads(json.dumps(document)) == document


@given(documents(), st.data())
def test_a_list_is_split_from_its_document(document: dict[str, Any], data: st.DataObject) -> None:
    """Whether it stands in lines or not, its items have the same JSON."""
    lists = [name for name, value in document.items() if isinstance(value, list)]
    name = data.draw(st.sampled_from(lists or ["vms"]))
    left, texts = split(dumps(document), name)
    assert left == {of: value for of, value in document.items() if of != name}
    assert texts == split(json.dumps(document), name)[1]
    assert [json.loads(text) for text in texts] == document.get(name, [])


def test_items_of_long_lists_stand_on_lines_of_their_own() -> None:
    """So that reading one takes no longer than a moment."""
    lines = dumps({"vms": list(range(LONG))}).split("\n")
    assert lines == ["{", '"vms":[', *(f"{i}," for i in range(LONG - 1)), str(LONG - 1), "]}"]


def test_a_text_that_was_cut_is_refused() -> None:
    """Wherever it ends: a cluster must not lose VMs without a word."""
    whole = dumps({"a": 1, "vms": list(range(LONG)), "hosts": [{"id": "h"}] * LONG})
    for end in range(0, len(whole), 7):
        with pytest.raises(ValueError, match=r"\w"):
            loads(whole[:end])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_is_not_json_is_refused(value: object) -> None:
    """Long lists included."""
    for document in ({"a": value}, {"a": [value] * LONG}):
        with pytest.raises((TypeError, ValueError)):
            dumps(document)
