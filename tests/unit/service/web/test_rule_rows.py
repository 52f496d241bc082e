"""The table of rules."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.inventory.clusters import put_cluster, put_snapshot
from service.inventory.policies import ClusterSettings
from service.inventory.rules import keep_rule
from service.security.principal import Principal, Role
from service.store.sql import open_store
from service.web.rule_rows import rule_rows
from solver.domain.cluster import Cluster
from solver.instances import rule_from_document
from tests.builders import make_host, make_vm

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ADMIN = Principal(name="ada", role=Role.ADMIN)
RULES: tuple[dict[str, Any], ...] = (
    {"id": "apart", "kind": "anti_affinity", "vm_ids": ["v1", "v2"]},
    {"id": "gone", "kind": "pin", "vm_ids": ["v1"], "host_ids": ["h9"]},
    {"id": "home", "kind": "pin", "vm_ids": ["v1", "v9"], "host_ids": ["h1"]},
)


def test_rules_say_whether_they_are_met(tmp_path: Path) -> None:
    """One is broken, one waits for its host, one is met but for a VM that is not there."""
    hosts = (make_host("h1"), make_host("h2"))
    vms = (make_vm("v1", "h1"), make_vm("v2", "h1"))
    store: Any = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    with store.begin() as tx:
        put_cluster(tx, ADMIN, "c1", ClusterSettings(name="C"), expected_revision=0, now=NOW)
        put_snapshot(tx, ADMIN, "c1", Cluster(observed_at=NOW, hosts=hosts, vms=vms), now=NOW)
    for document in RULES:
        rule = rule_from_document(document)
        keep_rule(store, ADMIN, "c1", rule, force=True, expected_revision=0, now=NOW)
    with store.begin(read_only=True) as tx:
        apart, gone, home = rule_rows(tx, "c1")
    store.close()
    assert apart["now"].startswith("not met: VMs share hosts")
    assert (apart["says"], apart["changed_by"]) == ("No two of v1 and v2 may share a host.", "ada")
    assert gone["now"] == "waits: none of its hosts is there"
    assert home["now"] == "met; not there: v9"
