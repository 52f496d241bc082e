"""The log of changes as people read it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from service.errors import InvalidRequestError
from service.store.base import AuditEntry
from service.web.audit_rows import Difference, address, asked_by, csv_of, differences, wanted_of
from tests.builders import NOW


def entry(subject: str = "vms/v1", cluster_id: str = "c1", **more: Any) -> AuditEntry:
    """Return a change."""
    return AuditEntry(
        at=NOW, actor="eve", action="x.put", cluster_id=cluster_id, subject=subject, **more
    )


def test_only_what_differs_is_told() -> None:
    """Each by its path, in words; what stayed is left out."""
    before = {"name": "a", "driver": {"kind": "none"}, "gone": True}
    after = {"name": "a", "driver": {"kind": "libvirt"}, "days": ["mon", "tue"]}
    assert differences(entry(before=before, after=after)) == [
        Difference(name="driver.kind", before="none", after="libvirt"),
        Difference(name="gone", before="yes", after="–"),
        Difference(name="days", before="–", after="mon, tue"),
    ]
    assert differences(entry()) == []


@pytest.mark.parametrize(
    ("subject", "cluster_id", "expected"),
    [
        ("vms/v 1", "c1", "/clusters/c1/vms/v%201"),
        ("hosts/h1", "c1", "/clusters/c1/hosts/h1"),
        ("plans/p1/steps/3", "c1", "/clusters/c1/plans/p1"),
        ("rules/r&1", "c1", "/clusters/c1/rules?rule=r%261"),
        ("schedule", "c1", "/clusters/c1/schedule"),
        ("", "c/1", "/clusters/c%2F1"),
        ("users/anna/sessions", "", "/users/anna"),
        ("tokens/t1", "", "/tokens"),
        ("jobs/j1", "c1", ""),
        ("", "", ""),
    ],
)
def test_subjects_lead_to_their_page(subject: str, cluster_id: str, expected: str) -> None:
    """Where there is one; names are written as addresses take them."""
    assert address(entry(subject, cluster_id)) == expected


def test_an_address_asks() -> None:
    """What is known of it, and nothing else; times are aware."""
    asked = asked_by("?actor=eve&since=2026-03-02T12%3A00%3A00.000Z&odd=1&subject=")
    wanted = wanted_of(asked, "c1")
    assert (wanted.actor, wanted.subject, wanted.cluster_id) == ("eve", "", "c1")
    assert wanted.since == datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert wanted_of({"cluster_id": "c2"}, "c1").cluster_id == "c1"


def test_a_wrong_question_names_the_field() -> None:
    """A time without a zone would be another for everybody."""
    with pytest.raises(InvalidRequestError) as caught:
        wanted_of({"since": "2026-03-02"}, "")
    assert caught.value.errors[0][0] == "since"


def test_no_cell_of_a_file_is_a_formula() -> None:
    """What somebody else named is text for the spreadsheet, too."""
    text = csv_of([entry("=cmd()", before={"priority": 1}, after={"priority": 9})])
    head, row = text.splitlines()
    assert head.startswith("number,at,actor")
    assert "'=cmd()" in row
    assert row.endswith("priority: 1 → 9")
