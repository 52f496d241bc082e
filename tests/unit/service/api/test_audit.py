"""The log of changes: who sees what of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from service.security import audit
from service.security.principal import Role
from service.store.base import AuditEntry, Item, Kind, Store
from tests.answers import document, problem
from tests.unit.service.api.conftest import NOW, Ask

AUDIT = "/api/v1/audit"


def entry(
    subject: str,
    cluster_id: str = "c1",
    *,
    minute: int = 0,
    actor: str = "eve",
    action: str = "x.put",
) -> AuditEntry:
    """Return a change of something."""
    return AuditEntry(
        at=NOW + timedelta(minutes=minute),
        actor=actor,
        action=action,
        cluster_id=cluster_id,
        subject=subject,
        before={"x": 1},
        after=None,
        origin="10.0.0.1",
    )


def policy(cluster_id: str, vm_id: str, owner: str) -> Item:
    """Return the policy that says whose a VM is."""
    return Item(
        kind=Kind.VM_POLICY,
        cluster_id=cluster_id,
        id=vm_id,
        document={"owner": owner},
        changed_at=NOW,
        changed_by="t",
    )


@pytest.fixture
def log(store: Store) -> None:
    """Changes of two clusters and of the service, the VM ``v1`` of ``c1`` being tenant-1's."""
    with store.begin() as tx:
        tx.items.put(policy("c1", "v1", "tenant-1"), expected_revision=0)
        tx.items.put(policy("c1", "v2", "tenant-2"), expected_revision=0)
        tx.audit.append(
            entry("users/anna", ""),
            entry("rules/r1", minute=1, action="rules.put"),
            entry("vms/v1", minute=2),
            entry("vms/v2", minute=3),
            entry("vms/v1", "c2", minute=4, actor="bob"),
            entry("vms/v1x", minute=5),
        )


def seen(client: FlaskClient, query: str = "") -> list[str]:
    """Return the entries a client sees, but those of its own token."""
    return [
        f"{one['cluster_id']}:{one['subject']}"
        for one in document(client.get(f"{AUDIT}{query}"))["items"]
        if not one["subject"].startswith("tokens/")
    ]


ALL = ["c1:vms/v1x", "c2:vms/v1", "c1:vms/v2", "c1:vms/v1", "c1:rules/r1", ":users/anna"]


def test_everybody_sees_their_part(client_of: Ask, log: None) -> None:
    """Admins all, others what is of clusters, owners what was done to their VMs."""
    assert seen(client_of(Role.ADMIN)) == ALL
    assert seen(client_of(Role.OPERATOR)) == ALL[:-1]
    assert seen(client_of(Role.VIEWER)) == ALL[:-1]
    assert seen(client_of(Role.OWNER)) == ["c1:vms/v1"]
    assert client_of(Role.AGENT).get(AUDIT).status_code == 403


def test_a_bound_token_sees_its_cluster(client_of: Ask, log: None) -> None:
    """Nothing of the others, even when asked for."""
    bound = client_of(Role.ADMIN, cluster_id="c2")
    assert seen(bound) == ["c2:vms/v1"]
    assert seen(bound, "?cluster_id=c1") == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?cluster_id=c2", ["c2:vms/v1"]),
        ("?subject=vms/v1", ["c1:vms/v1x", "c2:vms/v1", "c1:vms/v1"]),
        ("?actor=bob", ["c2:vms/v1"]),
        ("?action=rules.", ["c1:rules/r1"]),
        ("?since=2026-03-02T12:04:00Z", ["c1:vms/v1x", "c2:vms/v1"]),
        ("?until=2026-03-02T12:02:00Z&subject=rules/", ["c1:rules/r1"]),
    ],
)
def test_entries_are_filtered(
    admin: FlaskClient, log: None, query: str, expected: list[str]
) -> None:
    """By cluster, by how the subject begins, by who did it, by time."""
    assert seen(admin, query) == expected


def test_pages_lead_through_all_that_is_seen(
    client_of: Ask, store: Store, log: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the log is cut, everything visible comes once."""
    monkeypatch.setattr(audit, "_BATCH", 2)
    monkeypatch.setattr(audit, "_MAX_BATCHES", 1)
    for role, expected in ((Role.OPERATOR, ALL[:-1]), (Role.OWNER, ["c1:vms/v1"])):
        client, found, after = client_of(role), [], ""
        for _ in range(20):
            answer = document(client.get(f"{AUDIT}?limit=1&after={after}"))
            found += [f"{one['cluster_id']}:{one['subject']}" for one in answer["items"]]
            after = answer["next"]
            if after is None:
                break
        assert found == expected


def test_an_entry_tells_before_and_after(admin: FlaskClient, log: None) -> None:
    """And who, what, when and from where."""
    (told,) = document(admin.get(f"{AUDIT}?actor=bob"))["items"]
    assert [told] == [
        {
            "number": told["number"],
            "at": "2026-03-02T12:04:00Z",
            "actor": "bob",
            "action": "x.put",
            "cluster_id": "c2",
            "subject": "vms/v1",
            "before": {"x": 1},
            "after": None,
            "origin": "10.0.0.1",
        }
    ]


def test_bad_questions_name_the_parameter(admin: FlaskClient) -> None:
    """Instants without a time zone, and cursors of another list."""
    for query, path in (("since=2026-03-02", "query.since"), ("after=YWJj", "query.after")):
        answer = admin.get(f"{AUDIT}?{query}")
        assert answer.status_code == 422
        assert problem(answer)["errors"][0]["path"] == path
