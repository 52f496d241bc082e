"""Whether the steps of a plan connect: each starts where its VM is and lasts as long as it must."""

from __future__ import annotations

import math
from collections.abc import Iterator

from solver.domain.checking.violation import SEVERITY_ONE, Violation
from solver.domain.cluster import VM, Cluster
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.units import HostId, VmId


def malformed_steps(cluster: Cluster, plan: Plan, least_sent: float) -> Iterator[Violation]:
    """Yield steps that do not connect: unknown names, wrong source, one VM moved twice at once.

    Parameters
    ----------
    least_sent
        See ``solver.domain.checking.replay.check_plan``.
    """
    hosts = {host.id for host in cluster.hosts}
    vms = {vm.id: vm for vm in cluster.vms}
    where = dict(cluster.placement)
    free_at: dict[VmId, int] = {}
    for i, step in enumerate(plan.steps):
        wrong = ""
        if step.vm_id not in vms:
            wrong = "names an unknown VM"
        elif step.destination_id not in hosts:
            wrong = f"goes to unknown host {step.destination_id!r}"
        elif step.start_ms < free_at.get(step.vm_id, 0):
            wrong = f"starts at {step.start_ms} ms while the VM is under way"
        else:
            wrong = _impossible(step, vms[step.vm_id], where[step.vm_id], least_sent)
        if wrong:
            yield Violation(
                key=("step", str(i), step.vm_id),
                amount=1,
                severity_ppm=SEVERITY_ONE,
                message=f"step {i} of VM {step.vm_id!r} {wrong}",
                vm_ids=(step.vm_id,),
            )
            continue
        where[step.vm_id] = step.destination_id
        free_at[step.vm_id] = step.end_ms


def _impossible(step: Step, vm: VM, host_id: HostId | None, least_sent: float) -> str:
    """Return why a VM on a host cannot make the step; empty when it can."""
    if step.source_id != host_id:
        return f"leaves {step.source_id!r}, but the VM is on {host_id!r}"
    if step.kind is StepKind.START:
        return ""
    if step.transferred_mib < math.floor(vm.memory_footprint_mib * least_sent):
        share = "" if least_sent == 1.0 else f", of which {least_sent:.1%} is sent at the least"
        return (
            f"sends {step.transferred_mib} MiB, but the VM has "
            f"{vm.memory_footprint_mib} MiB resident{share}"
        )
    if not _long_enough(step):
        return (
            f"sends {step.transferred_mib} MiB at {step.bandwidth_mib_per_s} MiB/s "
            f"in {step.end_ms - step.start_ms} ms"
        )
    return ""


def _long_enough(step: Step) -> bool:
    """Whether the step's bytes fit its bandwidth and duration."""
    if step.bandwidth_mib_per_s < 1:
        return False
    least_ms = math.floor(step.transferred_mib * 1000 / step.bandwidth_mib_per_s)
    return step.end_ms - step.start_ms >= least_ms
