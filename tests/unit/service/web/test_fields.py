"""Fields of forms, and errors beside them."""

from __future__ import annotations

import pytest

from service.errors import InvalidRequestError, WrongStateError
from service.plans.schedule import ScheduleModel
from service.web.fields import flat, nested, placed, typed, validated, whole
from solver.domain.errors import InvalidInputError

PATHS = ("time_zone", "limits.window_minutes", "blackouts[1].days", "vm_ids")


def test_what_is_flat_can_be_nested_again() -> None:
    """Every value stands at its path, lists of plain values as one of them."""
    document = {"a": {"b": 1, "c": [1, 2]}, "d": [{"e": 1}, {"e": 2}], "f": []}
    assert flat(document)["d[1].e"] == 2
    assert nested(flat(document)) == document


def test_a_path_made_by_hand_takes_no_memory() -> None:
    """A list is not filled up to whatever number somebody names."""
    with pytest.raises(InvalidInputError, match="at most 1000 entries"):
        nested({"blackouts[999999999].start": "22:00"})


def test_numbers_of_the_browser_are_whole_again() -> None:
    """What has no fraction is whole; everything else is left to who judges it."""
    assert [whole(value) for value in (3.0, 3.5, " x ", None, "")] == [3, 3.5, "x", None, ""]
    assert typed([{"form": "f", "path": "a"}], [2.0]) == {"a": 2}


def test_an_error_stands_beside_the_field_it_is_about() -> None:
    """A part of what a field says is the field's; what is of no field is told apart."""
    error = InvalidRequestError(
        [("vm_ids[3]", "not there"), ("blackouts[1].days", "none"), ("blackouts[10].days", "odd")]
    )
    beside, apart = placed(error, PATHS)
    assert beside == ["", "", "none", "not there"]
    assert apart == "odd"


def test_an_error_about_several_fields_stands_at_the_first() -> None:
    """It is found where somebody who mends it would begin."""
    paths = ["horizon", "added_vms[0].count", "added_vms[0].like_vm_id"]
    beside, apart = placed(InvalidInputError("got neither", path="added_vms[0]"), paths)
    assert (beside, apart) == (["", "got neither", ""], "")


def test_a_path_is_not_said_twice() -> None:
    """The field says where it is already."""
    beside, apart = placed(InvalidInputError("expected a zone", path="time_zone"), PATHS)
    assert (beside[0], apart) == ("expected a zone", "")


def test_an_error_of_no_field_is_a_sentence() -> None:
    """What does not concern what was typed is told all the same."""
    assert placed(WrongStateError("the last admin"), PATHS) == ([""] * 4, "the last admin")


def test_everything_wrong_is_told_at_once() -> None:
    """Nobody has to save again and again to be told the next slip."""
    with pytest.raises(InvalidRequestError) as caught:
        validated(ScheduleModel, {"retries": 99, "limits": {"window_minutes": 1}})
    assert [path for path, _ in caught.value.errors] == ["limits.window_minutes", "retries"]
