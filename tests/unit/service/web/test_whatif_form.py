"""What-if questions as forms and addresses."""

from __future__ import annotations

from typing import Any

import pytest

from service.web.whatif_form import FIELDS, address_of, document_of, fields_of, question_in
from service.whatif.schema import WhatIfRequest

FLAVOUR = {"allocation": {"cpu_millicores": 1500, "memory_mib": 4096}, "apart": True}
DOCUMENTS: tuple[dict[str, Any], ...] = (
    {"lost_host_ids": ["h1", "h2"], "maintenance_host_ids": ["h3"], "removed_host_ids": ["h4"]},
    {"added_hosts": [{"count": 2, "like_host_id": "h1"}], "removed_vm_ids": ["v1", "v2"]},
    {"added_vms": [{"count": 3, **FLAVOUR}], "room": {"vms": FLAVOUR}},
    {"room": {"vms": {"like_vm_id": "v1", "apart": False}}},
    {"room": {"vms": FLAVOUR}},
    {"demand_factors": [{"factor": 1.3, "group": "shop"}], "horizon": "present"},
    {"horizon": "busiest", "busiest_hours": 4, "busiest_days": 7, "options": {"limit_s": 5}},
    {"hosts_needed": {"types": [{"like_host_id": "h1"}], "target": 0.02, "survive_loss": True}},
)
UNSEEN: tuple[dict[str, Any], ...] = (
    {"priorities": {"v1": 9}},
    {"removed_rule_ids": ["r1"]},
    {"added_vms": [{"count": 1, "like_vm_id": "v1"}, {"count": 1, "like_vm_id": "v2"}]},
    {"added_vms": [{"count": 1, "like_vm_id": "v1", "name": "web"}]},
    {"demand_factors": [{"factor": 2, "vm_id": "v1"}]},
    {"hosts_needed": {"types": [{"like_host_id": "h1", "price": 3}]}},
    {"room": {"vms": {"like_vm_id": "v1"}, "target": 0.5}},
)


def asked(document: dict[str, Any]) -> WhatIfRequest:
    """Return what a document asks, everything spelled out."""
    return WhatIfRequest.model_validate(document)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: next(iter(document)))
def test_a_question_survives_the_form(document: dict[str, Any]) -> None:
    """Whatever the fields can show is shown, and asked again as it was."""
    shown, rest = fields_of(document)
    assert rest == {}
    assert set(shown) <= set(FIELDS)
    assert asked(document_of(shown, rest)) == asked(document)


@pytest.mark.parametrize("document", UNSEEN, ids=lambda document: next(iter(document)))
def test_what_no_field_shows_is_asked_all_the_same(document: dict[str, Any]) -> None:
    """A link made elsewhere loses nothing by being opened here."""
    shown, rest = fields_of(document)
    assert rest == document
    assert asked(document_of(shown, rest)) == asked(document)


def test_the_address_says_the_question_and_its_answer() -> None:
    """Both are read back from it, whatever stands in names."""
    document = {"lost_host_ids": ["häuptling & co?"], "horizon": "present"}
    assert question_in(address_of(document, "job-1")) == (document, "job-1")


@pytest.mark.parametrize(
    "query", ["", "?ask=", "?ask={", "?ask=" + 99_999 * "[", "?ask=[]", '?ask={"lost":1}']
)
def test_a_broken_link_asks_nothing(query: str) -> None:
    """The page is there all the same."""
    assert question_in(query) == ({}, "")


def test_what_is_expressly_not_asked_is_not_asked() -> None:
    """The API takes null for a question that is left out."""
    shown, rest = fields_of({"room": None, "hosts_needed": None, "usage": None})
    assert document_of(shown, rest) == document_of(*fields_of({}))


def test_units_are_those_of_people() -> None:
    """Cores, GiB and percent are typed; fields left empty are not asked."""
    typed = {
        "added_vms[0].count": 2,
        "added_vms[0].allocation.cpu_millicores": 1.5,
        "added_vms[0].allocation.memory_mib": 4,
        "added_hosts[0].count": "",
        "added_hosts[0].like_host_id": None,
        "lost_host_ids": [],
        "hosts_needed.target": 1,
        "hosts_needed.survive_loss": "yes",
        "horizon": "present",
        "busiest_hours": 8,
    }
    allocation = {"cpu_millicores": 1500, "memory_mib": 4096}
    added = [{"count": 2, "allocation": allocation}]
    assert document_of(typed, {}) == {"added_vms": added, "horizon": "present"}


def test_a_form_that_was_not_touched_asks_nothing() -> None:
    """How VMs would be added is no wish for VMs."""
    untouched = {"added_vms[0].apart": "no", "room": "no", "busiest_hours": 8}
    assert document_of(untouched, {}) == {}
    assert document_of({"added_vms[0].apart": "yes"}, {}) == {}
