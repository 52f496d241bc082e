"""Rules as forms and in words."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import InvalidRequestError
from service.web.pages.rule_fields import KNOWN
from service.web.rule_form import (
    MODELS,
    document_of,
    fields_of,
    paths_of,
    rule_of,
    selected,
    with_more,
)
from service.web.rule_words import KINDS, says, some, strength
from solver.domain.errors import InvalidInputError
from solver.domain.rules import RULES
from solver.instances import rule_from_document, rule_to_document
from tests.builders import make_vm

DOCUMENTS: tuple[dict[str, Any], ...] = (
    {"kind": "pin", "vm_ids": ["a"], "host_ids": ["h1", "h2"]},
    {"kind": "ban", "vm_ids": ["a"], "host_ids": ["h1"], "penalty_host_s": 2.5},
    {"kind": "affinity", "vm_ids": ["a", "b"]},
    {"kind": "anti_affinity", "vm_ids": ["a", "b c"], "continuous": False},
    {"kind": "among", "vm_ids": ["a"], "parts": [["h1", "h2"], ["h3"]]},
    {"kind": "spread", "vm_ids": ["a", "b"], "min_domains": 2, "level": "rack"},
    {"kind": "dependency", "vm_ids": ["a"], "on_vm_ids": ["b"]},
    {"kind": "split", "vm_ids": ["a"], "other_vm_ids": ["b", "c"]},
    {"kind": "per_host_limit", "vm_ids": ["a"], "max_vms": 3, "host_ids": ["h1"]},
    {"kind": "licence_limit", "vm_ids": ["a"], "max_hosts": 2},
)


def test_every_kind_of_rule_can_be_typed() -> None:
    """Each has a name, and a component for each of its fields."""
    assert set(MODELS) == {rule.kind for rule in RULES} == set(KINDS)
    assert all(set(paths_of(kind)) <= KNOWN for kind in MODELS)
    assert {document["kind"] for document in DOCUMENTS} == set(MODELS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document["kind"]))
def test_a_rule_survives_the_form(document: dict[str, Any]) -> None:
    """What stands is shown, and saved as it was."""
    rule = rule_from_document({"id": "r1", **document})
    spelled = rule_to_document(rule)
    assert rule_of(rule.kind, fields_of(spelled)) == rule
    assert says(spelled).endswith(".")
    assert "None" not in says(spelled)


def test_fields_of_another_kind_are_left_out() -> None:
    """Changing the kind keeps what was typed, and does not save it."""
    typed = {"id": "r1", "vm_ids": "a\nb\n", "host_ids": ["h1"], "level": "zone"}
    assert document_of("affinity", typed) == {"kind": "affinity", "id": "r1", "vm_ids": ["a", "b"]}


def test_everything_wrong_is_told_at_its_field() -> None:
    """A name and hosts that are missing are told together, in words for people."""
    with pytest.raises(InvalidRequestError) as caught:
        rule_of("pin", {"id": "", "vm_ids": "a"})
    assert caught.value.errors == (("id", "expected a value"), ("host_ids", "expected a value"))


def test_what_spans_fields_is_told_as_well() -> None:
    """Two VMs are needed to keep them apart."""
    with pytest.raises(InvalidInputError, match="at least 2 different VMs") as caught:
        rule_of("anti_affinity", {"id": "r1", "vm_ids": "a"})
    assert caught.value.path == "vm_ids"
    with pytest.raises(InvalidInputError, match="expected a kind of rule"):
        rule_of("odd", {})


def test_vms_are_selected_by_group_and_pattern() -> None:
    """Both narrow the selection; nothing is an error rather than everything."""
    vms = [make_vm(name, "h1", group=group) for name, group in (("web-1", "a"), ("web-2", "b"))]
    assert selected(vms, group="", pattern="web-*") == ["web-1", "web-2"]
    assert selected(vms, group="b", pattern="web-*") == ["web-2"]
    with pytest.raises(InvalidInputError, match="no VM fits"):
        selected(vms, group="a", pattern="db-*")
    with pytest.raises(InvalidInputError, match="expected a group or a pattern"):
        selected(vms, group="", pattern="")


def test_more_vms_are_added_once() -> None:
    """Those that stand there already stay where they are."""
    assert with_more("b\na", ["a", "c"]) == "b\na\nc"
    assert with_more(None, ["a"]) == "a"


def test_many_names_are_counted() -> None:
    """A sentence stays one however many VMs a rule names."""
    assert some(["a", "b"], "or") == "a or b"
    assert some([str(i) for i in range(1_000)]) == "0, 1, 2 and 997 more"
    assert (strength({"penalty_host_s": None}), strength({"penalty_host_s": 2.5})) == (
        "hard",
        "soft, 2.5 host-s",
    )
