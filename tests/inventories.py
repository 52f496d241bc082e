"""A store with a small cluster in it, and people who ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.inventory.clusters import keep_snapshot, put_cluster
from service.inventory.policies import ClusterSettings, VmPolicy
from service.inventory.vm_policies import set_policy
from service.security.principal import Principal, Role
from service.store.base import Document, Kind, Store
from solver.domain.cluster import Cluster
from solver.domain.units import VmId
from tests.builders import NOW, make_cluster, make_host, make_vm

CLUSTER = "c1"
ADMIN = Principal(name="ada", role=Role.ADMIN, origin="10.0.0.1")
OPERATOR = Principal(name="olga", role=Role.OPERATOR)
VIEWER = Principal(name="vera", role=Role.VIEWER)
OWNER = Principal(name="tom", role=Role.OWNER, owner="tenant-1")


def small_cluster(**more: Any) -> Cluster:
    """Return three hosts with four VMs; ``v1`` and ``v2`` are of the group ``shop``."""
    hosts = [make_host(f"h{i}", zone="a" if i < 3 else "b") for i in (1, 2, 3)]
    vms = [
        make_vm("v1", "h1", group="shop", app_type="web"),
        make_vm("v2", "h1", group="shop", app_type="database", cores=4),
        make_vm("v3", "h2", priority=8),
        make_vm("v4", "h3"),
    ]
    return make_cluster(hosts, vms, **more)


def fill(store: Store, cluster: Cluster | None = None) -> Store:
    """Return the store with the cluster in it, of which ``tenant-1`` owns ``v1`` and ``v3``."""
    with store.begin() as tx:
        settings = ClusterSettings(name="Main")
        put_cluster(tx, ADMIN, CLUSTER, settings, expected_revision=0, now=NOW)
        keep_snapshot(tx, CLUSTER, cluster or small_cluster(), now=NOW)
        for vm_id, policy in {
            "v1": VmPolicy(owner="tenant-1", priority_min=3, priority_max=6),
            "v3": VmPolicy(owner="tenant-1"),
        }.items():
            set_policy(tx, ADMIN, CLUSTER, VmId(vm_id), policy, expected_revision=0, now=NOW)
    return store


def everything(store: Store) -> Mapping[str, Any]:
    """Return all that is kept of the cluster but its mark, to be compared."""
    with store.begin(read_only=True) as tx:
        items: dict[str, list[tuple[str, int, Document]]] = {
            kind.value: [
                (item.id, item.revision, dict(item.document))
                for item in tx.items.page(kind, _of(kind), limit=10_000)
            ]
            for kind in Kind
        }
        return {
            **items,
            "snapshot": tx.snapshots.get(CLUSTER),
            "plans": tx.plans.page(CLUSTER, limit=1000),
            "jobs": tx.jobs.page(limit=1000),
            "audit": tx.audit.page(limit=10_000),
        }


def _of(kind: Kind) -> str:
    return "" if kind in (Kind.CLUSTER, Kind.USER) else CLUSTER
