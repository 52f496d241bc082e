"""Whether plans of a cluster are ever carried out; if not, why, and what to change about it.

At ``recommend`` plans are made, shown and judged by what was then observed, and that is all: who
lets the service loose on a cluster says so in its schedule, once, and not by the way, by approving
a plan. Asked before a plan is approved and again before it is begun.
"""

from __future__ import annotations

from service.errors import WrongStateError
from service.plans.schedule import Automation, schedule_from_document
from service.store.base import Kind, Transaction


def why_not(tx: Transaction, cluster_id: str) -> str:
    """Return why no plan of a cluster is carried out, and what to change; empty if they are.

    Raises
    ------
    NotFoundError
        If there is no such cluster.
    """
    settings = tx.items.get(Kind.CLUSTER, "", cluster_id).document
    if settings.get("driver", {}).get("kind", "none") == "none":
        return (
            f"cluster {cluster_id!r} has no driver, so its plans are recommendations: "
            "expected 'driver.kind' of the cluster to be 'libvirt' or 'simulated', got 'none'"
        )
    item = tx.items.find(Kind.SCHEDULE, cluster_id, [cluster_id]).get(cluster_id)
    schedule = schedule_from_document(None if item is None else item.document)
    if schedule.automation is Automation.RECOMMEND:
        return (
            f"cluster {cluster_id!r} only recommends, nothing is carried out: expected "
            "'automation' of its schedule to be 'approve' or 'automatic', got 'recommend'"
        )
    return ""


def require_acting(tx: Transaction, cluster_id: str) -> None:
    """Return if plans of a cluster are carried out.

    Raises
    ------
    WrongStateError
        If they are not, saying what to change.
    """
    if reason := why_not(tx, cluster_id):
        raise WrongStateError(reason)
