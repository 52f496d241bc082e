"""Clusters: made, changed and removed, and what was seen of them kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from service.errors import WrongStateError
from service.inventory.effective import remember
from service.inventory.marks import changing
from service.inventory.policies import ClusterSettings
from service.security.auditing import entry, put_item
from service.security.principal import Principal
from service.store.base import Item, Kind, PlanStage, Snapshot, Transaction
from solver.domain.cluster import Cluster, require_id
from solver.domain.errors import InvalidInputError
from solver.instances import cluster_to_document

OF_CLUSTERS: Final = (
    Kind.VM_POLICY,
    Kind.HOST_POLICY,
    Kind.RULE,
    Kind.SCHEDULE,
    Kind.INVENTORY,
)
"""What is removed with a cluster."""

NEW: Final = "new"
"""No cluster is called so: the page that connects one has its address."""

UNFINISHED: Final = (PlanStage.APPROVED, PlanStage.RUNNING)


def put_cluster(
    tx: Transaction,
    principal: Principal,
    cluster_id: str,
    settings: ClusterSettings,
    *,
    expected_revision: int | None,
    now: datetime,
) -> Item:
    """Make a cluster, or change its settings.

    A new one begins without anything of an earlier cluster of the same id.

    Raises
    ------
    InvalidInputError
        If the id is not printable, or taken by a page.
    ConflictError
        If it stands at another revision.
    """
    require_id(cluster_id, "cluster")
    if cluster_id == NEW:
        raise InvalidInputError(f"expected another id for a cluster, got {NEW!r}", path="id")
    item = Item(
        kind=Kind.CLUSTER,
        cluster_id="",
        id=cluster_id,
        document=settings.to_document(),
        changed_at=now,
    )
    if not tx.items.find(Kind.CLUSTER, "", [cluster_id]):
        tx.remains.delete_of(cluster_id)
    return put_item(tx, principal, "clusters.put", "", item, expected_revision=expected_revision)


def get_cluster(tx: Transaction, cluster_id: str) -> Item:
    """Return the item of a cluster.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    return tx.items.get(Kind.CLUSTER, "", cluster_id)


def page_of_clusters(
    tx: Transaction, principal: Principal, *, after: str, limit: int
) -> list[Item]:
    """Return up to ``limit`` clusters within somebody's reach, from behind the id ``after``."""
    if not principal.cluster_id:
        return tx.items.page(Kind.CLUSTER, "", after=after, limit=limit)
    found = tx.items.find(Kind.CLUSTER, "", [principal.cluster_id])
    return [item for item in found.values() if item.id > after]


def delete_cluster(
    tx: Transaction,
    principal: Principal,
    cluster_id: str,
    *,
    expected_revision: int | None,
    now: datetime,
) -> None:
    """Remove a cluster with all that is known of it: policies, plans, telemetry, models.

    The audit log stays.

    Raises
    ------
    NotFoundError
        If there is none.
    ConflictError
        If it stands at another revision.
    WrongStateError
        If a plan is approved or running.
    """
    removed = tx.items.delete(Kind.CLUSTER, "", cluster_id, expected_revision=expected_revision)
    _require_no_plan(tx, cluster_id)
    for kind in OF_CLUSTERS:
        tx.items.delete_of(kind, cluster_id)
    tx.remains.delete_of(cluster_id)
    tx.audit.append(
        entry(
            principal, "clusters.delete", cluster_id, "", now, before=removed.document, after=None
        )
    )


def put_snapshot(
    tx: Transaction, principal: Principal, cluster_id: str, cluster: Cluster, *, now: datetime
) -> None:
    """Keep a snapshot that somebody uploads, instead of one that is no later.

    Its priorities, groups and rules hold where no policy and no rule of its own id says otherwise.

    Raises
    ------
    NotFoundError
        If there is no such cluster.
    WrongStateError
        If its driver looks for itself, or a later snapshot is there.
    """
    settings = get_cluster(tx, cluster_id).document
    driver = settings.get("driver", {}).get("kind", "none")
    if driver == "libvirt":
        raise WrongStateError(
            f"cluster {cluster_id!r}: its driver {driver!r} looks at the hosts by itself, "
            "expected a cluster without such a driver",
        )
    before_at = tx.snapshots.observed_at(cluster_id)
    if not keep_snapshot(tx, cluster_id, cluster, now=now):
        raise WrongStateError(
            f"cluster {cluster_id!r}: expected a snapshot no older than that of {before_at}, "
            f"got one of {cluster.observed_at}",
        )
    tx.audit.append(
        entry(
            principal,
            "snapshots.put",
            cluster_id,
            "snapshot",
            now,
            before=None if before_at is None else {"observed_at": before_at.isoformat()},
            after=_summary(cluster),
        )
    )


def keep_snapshot(tx: Transaction, cluster_id: str, cluster: Cluster, *, now: datetime) -> bool:
    """Keep what a driver has seen, unless something later is there; return whether it was kept.

    What is seen is no change that anybody made, and so not in the audit log.
    """
    snapshot = Snapshot(
        cluster_id=cluster_id,
        observed_at=cluster.observed_at,
        document=cluster_to_document(cluster),
    )
    with changing(tx, cluster_id, "snapshot", now):
        kept = tx.snapshots.put(snapshot)
    if kept:
        remember(tx, cluster_id, cluster)
    return kept


def _require_no_plan(tx: Transaction, cluster_id: str) -> None:
    plans = tx.plans.page(cluster_id, stages=UNFINISHED, limit=1)
    if plans:
        raise WrongStateError(
            f"cluster {cluster_id!r}: plan {plans[0].id!r} is {plans[0].stage.value}, "
            "expected it to have ended",
        )


def _summary(cluster: Cluster) -> dict[str, Any]:
    return {
        "observed_at": cluster.observed_at.isoformat(),
        "num_hosts": len(cluster.hosts),
        "num_vms": len(cluster.vms),
        "num_rules": len(cluster.rules),
    }
