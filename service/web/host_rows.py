"""What is promised and used on one host, and why it is or stays hot, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from service.inventory.effective import Inventory
from service.store.base import KeptPlan, PlanStage, Transaction
from service.web.course import UNITS
from solver.domain.cluster import VM, Host, reserved_amounts
from solver.domain.result import Unmet
from solver.domain.units import FIELDS

MADE: Final = (
    PlanStage.PROPOSED,
    PlanStage.APPROVED,
    PlanStage.RUNNING,
    PlanStage.DONE,
    PlanStage.ENDED,
    PlanStage.REJECTED,
    PlanStage.SUPERSEDED,
)


def vms_on(inventory: Inventory, host: Host) -> list[VM]:
    """Return the VMs on a host, in the cluster's order."""
    return [vm for vm in inventory.cluster.vms if vm.host_id == host.id]


def guest_rows(inventory: Inventory, vms: Iterable[VM]) -> list[dict[str, Any]]:
    """Return a row for each VM of a host."""
    return [
        {
            "id": vm.id,
            "group": vm.group,
            "app_type": vm.app_type,
            "owner": inventory.owner(vm.id),
            "priority": vm.priority,
            "cores": vm.allocation.cpu_millicores / 1000,
            "memory_gib": round(vm.allocation.memory_mib / 1024, 2),
            "stays": vm.not_migratable_reason,
        }
        for vm in vms
    ]


def amount_rows(
    host: Host, vms: Sequence[VM], contention: Mapping[str, Any] | None
) -> list[tuple[str, ...]]:
    """Return for each limited resource: usable, promised to VMs, reserved, used now."""
    used = {} if contention is None else contention.get("used", {})
    promised = [sum(vm.allocation.as_tuple()[r] for vm in vms) for r in range(len(FIELDS))]
    reserved = [sum(reserved_amounts(vm, host)[r] for vm in vms) for r in range(len(FIELDS))]
    return [
        (
            f"{UNITS[field].name}, {UNITS[field].unit}",
            _told(field, usable),
            _share(field, promised[r], usable),
            _share(field, reserved[r], usable),
            _share(field, used[field], usable) if field in used else "not known",
        )
        for r, (field, usable) in enumerate(zip(FIELDS, host.usable(), strict=True))
        if usable is not None
    ]


def latest_made(tx: Transaction, cluster_id: str) -> KeptPlan | None:
    """Return the newest plan that was made; ``None`` before the first."""
    plans = tx.plans.page(cluster_id, stages=MADE, limit=1)
    return plans[0] if plans else None


def why_hot(kept: KeptPlan | None, host_id: str) -> list[str]:
    """Return what the last plan says of a host: what it relieves it of, why the rest stays."""
    result = {} if kept is None else kept.document.get("result") or {}
    steps = result.get("plan", {}).get("steps", ())
    leaving = {step["vm_id"] for step in steps if step["source_id"] == host_id}
    relieving = [
        item["sentence"] for item in result.get("explanations", ()) if item["vm_id"] in leaving
    ]
    left = [
        item["sentence"]
        for item in result.get("refusals", ())
        if item.get("unmet") == Unmet.HOT_HOST.value and item.get("subject") == host_id
    ]
    return [*left, *relieving]


def _told(field: str, amount: int) -> str:
    return f"{amount / UNITS[field].divisor:,.4g}"


def _share(field: str, amount: int, usable: int) -> str:
    told = _told(field, amount)
    return f"{told} ({100 * amount / usable:.0f} %)" if usable else told
